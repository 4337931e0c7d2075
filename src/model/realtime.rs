//! Values in the tables that Asterisk reads live: how they are escaped.

use std::fmt;

use serde::Serialize;

/// A value as Asterisk sees it and people read it; [`Text::encoded`] is what the column holds.
///
/// res_config_pgsql splits a column at `;`, strips each part of spaces and then decodes `^XX`
/// (`ast_realtime_decode_chunk` in Asterisk's main/config.c).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Text {
    /// The column's form: `;`, `^` and spaces at the ends as `^XX`.
    #[must_use]
    pub fn encoded(&self) -> String {
        let inner = self.0.trim_matches(' ');
        let first = self.0.len() - self.0.trim_start_matches(' ').len();
        let mut out = String::with_capacity(self.0.len());
        for (at, c) in self.0.char_indices() {
            match c {
                ';' => out.push_str("^3B"),
                '^' => out.push_str("^5E"),
                ' ' if at < first || at >= first + inner.len() => out.push_str("^20"),
                _ => out.push(c),
            }
        }
        out
    }

    /// Reads a column. A bare `;`, which v3.0 may have stored, stays one.
    #[must_use]
    pub fn decode(column: &str) -> Self {
        let mut bytes = Vec::with_capacity(column.len());
        let mut rest = column.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            match tail {
                [high, low, after @ ..] if *first == b'^' => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => {
                        bytes.push(high << 4 | low);
                        rest = after;
                    }
                    _ => bytes.push(*first),
                },
                _ => bytes.push(*first),
            }
        }
        Text(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What realtime_pgsql makes of a column.
    fn as_asterisk_reads(column: &str) -> Vec<String> {
        column.split(';').map(|chunk| Text::decode(chunk.trim()).0).filter(|chunk| !chunk.is_empty()).collect()
    }

    #[test]
    fn parameters_are_escaped() {
        let contact = Text("sip:pbx.example.com;transport=tcp".into());
        assert_eq!(contact.encoded(), "sip:pbx.example.com^3Btransport=tcp");
        assert_eq!(as_asterisk_reads(&contact.encoded()), [contact.0]);
    }

    #[test]
    fn what_v3_stored_stays_readable() {
        for column in ["sip:a;transport=tcp", "a^b", "50^", "^3", "^zz"] {
            assert_eq!(Text::decode(column).0, column);
        }
    }

    proptest! {
        #[test]
        fn asterisk_sees_what_was_given(text in "[^\r\n\0]{1,40}") {
            let column = Text(text.clone()).encoded();
            prop_assert!(!column.contains(';'));
            // Asterisk strips what its locale calls space; only U+0020 can end a value here
            if text.trim_matches(' ') != text.trim() || text.trim().is_empty() {
                return Ok(());
            }
            prop_assert_eq!(Text::decode(&column).0, text.clone());
            prop_assert_eq!(as_asterisk_reads(&column), vec![text]);
        }
    }
}
