//! What a value may be: texts that fit their column, numbers in range, words, hosts, addresses.
//!
//! Checks change nothing: a value is stored as it was typed. None: it was not given.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use crate::model::realtime::Text;
use crate::words::quoted;
use crate::{Error, Result};

/// A text that must stand in its column: one line that fits `max` characters, not empty.
pub(crate) fn line<'a>(column: &str, value: impl Into<Option<&'a str>>, max: usize) -> Result<()> {
    let Some(value) = value.into() else { return Ok(()) };
    if value.is_empty() {
        return Err(Error::invalid(format!("{column} is empty: it must have a value")));
    }
    if let Some(c) = value.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("{column} {} holds {c:?}: it must be one line of text", quoted(value))));
    }
    if value.trim() != value {
        return Err(Error::invalid(format!("{column} {} begins or ends with a space", quoted(value))));
    }
    fits(column, value, max)
}

/// Refuses a new name that looks like an id: names are looked up before ids, so the name `4` would hide id 4.
pub(crate) fn not_an_id(column: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.bytes().any(|b| !b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{column} {} is all digits: it must hold another character", quoted(name)))
        .hint("Nothing was changed. A name of digits only would be taken for an id."))
}

/// What a column holds at most. `value` is its stored form.
pub(crate) fn fits(column: &str, value: &str, max: usize) -> Result<()> {
    let length = value.chars().count();
    if length <= max {
        return Ok(());
    }
    Err(Error::invalid(format!("{column} {} has {length} characters: at most {max} fit", quoted(value))))
}

/// A whole number in its range.
pub(crate) fn number(column: &str, value: impl Into<Option<i64>>, range: RangeInclusive<i32>) -> Result<Option<i32>> {
    let Some(value) = value.into() else { return Ok(None) };
    if let Some(number) = i32::try_from(value).ok().filter(|number| range.contains(number)) {
        return Ok(Some(number));
    }
    let (least, most) = range.into_inner();
    Err(Error::invalid(match most {
        i32::MAX if value < i64::from(least) => format!("{column} is {value}: it must be at least {least}"),
        _ => format!("{column} is {value}: it must be between {least} and {most}"),
    }))
}

/// One of a few words.
pub(crate) fn one_of(column: &str, text: &str, values: &[&str]) -> Result<()> {
    if values.contains(&text) {
        return Ok(());
    }
    Err(Error::invalid(format!("{column} is {}: it must be one of {}", quoted(text), values.join(", "))))
}

/// An e-mail address.
pub(crate) fn email(column: &str, text: &str, max: usize) -> Result<()> {
    line(column, text, max)?;
    let valid = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(char::is_whitespace)
    });
    if valid {
        return Ok(());
    }
    Err(Error::invalid(format!("{column} \"{text}\" is not an address: it must be name@domain")))
}

/// One line that fits in its escaped form, as Asterisk's realtime stores it.
pub(crate) fn stored(column: &str, text: &str, max: usize) -> Result<()> {
    line(column, text, max)?;
    fits(column, &Text(text.to_owned()).encoded(), max)
}

/// The same without spaces, quotes or other separators in it.
pub(crate) fn word(column: &str, text: &str, max: usize) -> Result<()> {
    if let Some(c) = text.chars().find(|c| c.is_whitespace() || "\"'<>,;@".contains(*c)) {
        let shown = text.escape_debug();
        return Err(Error::invalid(format!("{column} \"{shown}\" holds {c:?}: it must be one word")));
    }
    stored(column, text, max)
}

/// A host: a name or an address.
pub(crate) fn host(column: &str, text: &str, max: usize) -> Result<()> {
    let name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    let v6 = |host: &str| host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    if !name(text) && v6(text).is_none_or(|parsed| parsed.is_err()) {
        return Err(Error::invalid(format!(
            "{column} \"{}\" is no host: it must be a name, an IPv4 address or an IPv6 address in []",
            text.escape_debug()
        )));
    }
    word(column, text, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(line("name", &*"ä".repeat(100), 100).is_ok());
        let error = line("name", &*"ä".repeat(101), 100).expect_err("too long");
        assert!(error.message.ends_with("has 101 characters: at most 100 fit"), "{error}");
    }

    #[test]
    fn lines() {
        for bad in ["", " a", "a ", "a\nb", "\u{1b}[2J"] {
            assert!(line("name", bad, 10).is_err(), "{bad:?}");
        }
        assert!(line("name", None, 10).is_ok());
    }

    #[test]
    fn names_and_ids() {
        for name in ["4a", "-4", "4 4", "٤", ""] {
            assert!(not_an_id("username", name).is_ok(), "{name:?}");
        }
        for id in ["4", "007", "99999999999999999999"] {
            assert!(not_an_id("username", id).is_err(), "{id}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number("weight", 5, 1..=i32::MAX).expect("valid"), Some(5));
        assert_eq!(number("weight", None, 1..=i32::MAX).expect("not given"), None);
        let message = |value, range| number("weight", value, range).expect_err("out of range").message;
        assert_eq!(message(0, 1..=i32::MAX), "weight is 0: it must be at least 1");
        assert_eq!(message(1 << 40, 1..=i32::MAX), "weight is 1099511627776: it must be between 1 and 2147483647");
    }

    #[test]
    fn addresses() {
        assert!(email("email", "a@b", 120).is_ok());
        for bad in ["a", "@b", "a@", "a@b@c", "a b@c", ""] {
            assert!(email("email", bad, 120).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["example.com", "192.0.2.1", "[2001:db8::1]", "a-b"] {
            assert!(host("from_domain", good, 80).is_ok(), "{good}");
        }
        for bad in ["a b", "a/b", "a:5060", "[::g]", "2001:db8::1", "ä", "sip:a", "a_b"] {
            assert!(host("from_domain", bad, 80).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_stored_form_must_fit() {
        assert!(stored("realm", &";".repeat(26), 80).is_ok());
        assert!(stored("realm", &";".repeat(27), 80).is_err());
    }
}
