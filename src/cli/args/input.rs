//! Values that people type, checked before the database is asked: texts that fit their column,
//! numbers in range, passwords.
//!
//! Checks change nothing: a value is stored as it was typed. None: it was not given.

use std::io::Read;
use std::num::{IntErrorKind, ParseIntError};
use std::ops::RangeInclusive;

use signal_hook::consts::SIGINT;

use crate::cli::env::Env;
use crate::system::terminal::Echo;
use crate::words::quoted;
use crate::{Error, Kind, Result};

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

/// A text of a nullable column: as [`line`], or empty, which clears the column.
pub(crate) fn clearable<'a>(column: &str, value: impl Into<Option<&'a str>>, max: usize) -> Result<()> {
    line(column, value.into().filter(|value| !value.is_empty()), max)
}

/// A new name that cannot be taken for an id: names go before ids, so one like `4` would hide what has
/// the id 4.
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

/// Reads an option that takes a whole number from `LEAST`; what more the column asks for is
/// [`number`]'s to check.
pub(crate) fn integer<const LEAST: i64>(text: &str) -> Result<i64, String> {
    text.parse().map_err(|e: ParseIntError| match (e.kind(), LEAST) {
        (IntErrorKind::PosOverflow | IntErrorKind::NegOverflow, _) => e.to_string(),
        (_, i64::MIN) => "it must be a whole number".to_owned(),
        _ => format!("it must be a whole number from {LEAST}"),
    })
}

/// Reads an option that takes any whole number.
pub(crate) fn any_integer(text: &str) -> Result<i64, String> {
    integer::<{ i64::MIN }>(text)
}

/// Reads an option whose values may begin with `-`, as `-2h`: one that begins with `--` is the next option,
/// and `what` should have stood before it.
pub(crate) fn not_an_option(what: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync {
    move |text| match text.strip_prefix("--") {
        Some(_) => Err(format!("{what} is missing: this is the next option")),
        None => Ok(text.to_owned()),
    }
}

/// `set` without anything to change.
pub(crate) fn nothing_to_change(noun: &str) -> Error {
    Error::new(Kind::Usage, "nothing to change: no option was given")
        .hint(format!("capconduit {noun} set --help lists what can be changed."))
}

/// One line of standard input, without its end.
fn stdin_line(stdin: &mut dyn Read) -> Result<String> {
    // longer than any password that is accepted
    const MOST: usize = 4096;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MOST {
        match stdin.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::failed(format!("cannot read standard input: {e}"))),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| Error::invalid("the password on standard input is not UTF-8"))
}

/// A new password: a line of standard input, or asked for twice at the terminal. None where nobody
/// can be asked, or an empty answer is given.
pub(crate) fn new_password(env: &mut Env<'_>, from_stdin: bool, prompt: &str) -> Result<Option<String>> {
    if from_stdin {
        let password = stdin_line(env.stdin)?;
        if password.is_empty() {
            return Err(Error::invalid("the password on standard input is empty"));
        }
        return Ok(Some(password));
    }
    let Some(password) = known_password(env, prompt)? else { return Ok(None) };
    if ask("Again")? != password {
        return Err(Error::invalid("the two passwords differ"));
    }
    Ok(Some(password))
}

/// A password that is there already: a line of standard input, or asked for at the terminal. None
/// where nobody can be asked, or an empty answer is given.
pub(crate) fn old_password(env: &mut Env<'_>, from_stdin: bool, prompt: &str) -> Result<Option<String>> {
    if from_stdin {
        return Ok(Some(stdin_line(env.stdin)?).filter(|password| !password.is_empty()));
    }
    known_password(env, prompt)
}

/// A password that is in use already, asked for once at the terminal. None where nobody can be asked, or
/// an empty answer is given.
pub(crate) fn known_password(env: &Env<'_>, prompt: &str) -> Result<Option<String>> {
    if !env.interactive {
        return Ok(None);
    }
    Ok(Some(ask(prompt)?).filter(|password| !password.is_empty()))
}

fn ask(prompt: &str) -> Result<String> {
    let failed = |e: std::io::Error| Error::failed(format!("cannot ask for the password: {e}"));
    let _echo = Echo::kept().map_err(failed)?;
    rpassword::prompt_password(format!("{prompt}: ")).map_err(|e| {
        if e.kind() == std::io::ErrorKind::Interrupted {
            // Ctrl-C, which rpassword reads as a character: the end of it, not an error to be told
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
        }
        failed(e)
    })
}

/// A password without what cannot be typed at a prompt: NUL would end it for bcrypt, a line end for
/// Asterisk. The message does not repeat it.
pub(crate) fn typeable(what: &str, password: &str) -> Result<()> {
    if password.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} holds a control character")));
    }
    Ok(())
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
        assert!(clearable("name", "", 10).is_ok());
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
    fn a_line_of_input() {
        let read = |mut bytes: &[u8]| stdin_line(&mut bytes);
        assert_eq!(read(b"secret\r\nmore").expect("UTF-8"), "secret");
        assert_eq!(read(b"secret").expect("UTF-8"), "secret");
        assert!(read(b"\xff\n").is_err());
    }
}
