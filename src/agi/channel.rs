//! Several dialplan expressions in one exchange, whatever bytes they hold.

use std::borrow::Cow;
use std::io::{BufRead, Write};

use percent_encoding::percent_decode;

use crate::agi::session::{AgiError, Session};
use crate::model::call_id::kept_id;
use crate::text;

/// What a channel said: name and text of each expression asked for.
#[derive(Debug, Default)]
pub struct Channel(Vec<(&'static str, String)>);

impl Channel {
    /// Asks for `(name, expression)` pairs, such as `("number", "CALLERID(num)")`, in one exchange.
    ///
    /// # Errors
    /// See [`AgiError`].
    pub fn ask<R: BufRead, W: Write>(
        session: &mut Session<R, W>,
        wanted: &[(&'static str, &str)],
    ) -> Result<Self, AgiError> {
        // Encoded, a value cannot hold the separator, a newline or a parenthesis.
        let expression: Vec<String> = wanted.iter().map(|(_, e)| format!("${{URIENCODE(${{{e}}})}}")).collect();
        let answer = session.evaluate(&expression.join("&"))?.unwrap_or_default();
        let mut values = answer.split(|&b| b == b'&');
        let decode = |value: &[u8]| text::decode(&Cow::from(percent_decode(value)));
        Ok(Channel(wanted.iter().map(|(name, _)| (*name, values.next().map(decode).unwrap_or_default())).collect()))
    }

    /// A channel's answers that were written down earlier, by name.
    #[must_use]
    pub fn of(wanted: &[(&'static str, &str)], value: impl Fn(&str) -> String) -> Self {
        Channel(wanted.iter().map(|(name, _)| (*name, value(name))).collect())
    }

    /// The text of an expression; empty where it is unset.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// The number that was dialled, from a variable of the dialplan that holds it URI-encoded, and so is
    /// harmless wherever a dialplan puts it. A number by itself is the same either way.
    #[must_use]
    pub fn dialled(&self, name: &str) -> String {
        text::decode(&Cow::from(percent_decode(self.get(name).as_bytes())))
    }

    /// The text, cut to a column's length; None where it is empty.
    #[must_use]
    pub fn text(&self, name: &str, max: usize) -> Option<String> {
        Some(text::truncate(self.get(name), max)).filter(|t| !t.is_empty()).map(str::to_owned)
    }

    /// An id as it is kept; None where it is empty.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<String> {
        Some(kept_id(self.get(name))).filter(|id| !id.is_empty())
    }

    /// A whole number; None where it is none.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i32> {
        self.get(name).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn values_come_back_by_name_with_their_bytes() {
        let input = b"\n200 result=1 (1%2C%22x%22%26%0A&&Zo%C3%AB&17)\n".to_vec();
        let mut session = Session::start(Cursor::new(input), Vec::new()).expect("valid");
        let wanted = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("missing", "E")];
        let channel = Channel::ask(&mut session, &wanted).expect("answered");
        assert_eq!(channel.get("a"), "1,\"x\"&\n");
        assert_eq!(channel.text("b", 9), None);
        assert_eq!(channel.text("c", 2).as_deref(), Some("Zo"));
        assert_eq!(channel.number("d"), Some(17));
        assert_eq!(channel.get("missing"), "");
    }

    #[test]
    fn what_was_dialled_is_encoded_once_more() {
        for (sent, dialled) in [
            ("%2B18005550101", "+18005550101"),
            ("%2B1800555010%253Bext%253D1", "+1800555010;ext=1"),
            ("1800%2525350101", "1800%350101"),
            ("%25FF", "ÿ"),
            ("", ""),
        ] {
            let input = format!("\n200 result=1 ({sent})\n");
            let mut session = Session::start(Cursor::new(input), Vec::new()).expect("valid");
            let channel = Channel::ask(&mut session, &[("did", "CC_DID")]).expect("answered");
            assert_eq!(channel.dialled("did"), dialled, "{sent}");
        }
    }
}
