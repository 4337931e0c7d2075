//! Text from outside: bytes of unknown encoding and length, made fit for a `varchar` column.

use std::borrow::Cow;

/// Decodes bytes that a caller controls: UTF-8 where they are, else ISO 8859-1, in which every byte
/// is a character, so that nothing is lost. NUL, which PostgreSQL cannot store, is dropped.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()),
    };
    text.chars().filter(|&c| c != '\0').collect()
}

/// The text with a `?` for each character that some database cannot hold, or counts as several; None where it has
/// none.
#[must_use]
pub fn ascii(text: &str) -> Option<String> {
    let every = |c: char| if c.is_ascii() { c } else { '?' };
    (!text.is_ascii()).then(|| text.chars().map(every).collect())
}

/// The first `max` characters: the unit in which PostgreSQL counts a `varchar(n)`.
#[must_use]
pub fn truncate(text: &str, max: usize) -> &str {
    match text.char_indices().nth(max) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_kept_as_latin1() {
        assert_eq!(decode("Zoë, \"x\"".as_bytes()), "Zoë, \"x\"");
        assert_eq!(decode(b"Zo\xEB\0!"), "Zoë!");
    }

    #[test]
    fn truncation_counts_characters() {
        assert_eq!(truncate("ääää", 2), "ää");
        assert_eq!(truncate("ab", 2), "ab");
    }

    proptest! {
        #[test]
        fn ascii_keeps_the_length_and_all_that_is(text: String) {
            let ascii = ascii(&text).unwrap_or_else(|| text.clone());
            prop_assert!(ascii.is_ascii());
            prop_assert_eq!(ascii.len(), text.chars().count());
            prop_assert!(ascii.chars().zip(text.chars()).all(|(to, from)| to == from || to == '?' && !from.is_ascii()));
        }

        #[test]
        fn decoded_text_fits_a_column(bytes: Vec<u8>, max in 0usize..60) {
            let text = decode(&bytes);
            prop_assert!(!text.contains('\0'));
            prop_assert!(truncate(&text, max).chars().count() <= max);
        }
    }
}
