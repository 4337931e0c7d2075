//! What people type: numbers of options, passwords.

use std::io::Read;
use std::num::{IntErrorKind, ParseIntError};

use signal_hook::consts::SIGINT;

use crate::cli::env::Env;
use crate::system::terminal::Echo;
use crate::{Error, Kind, Result};

/// Reads an option that takes a whole number of at least `LEAST`; [`values::number`](crate::model::values::number)
/// checks the column's other rules.
pub(crate) fn integer<const LEAST: i64>(text: &str) -> Result<i64, String> {
    whole_number(text, LEAST)
}

/// [`integer`] for a least number that the compiler does not know.
pub(crate) fn whole_number(text: &str, least: i64) -> Result<i64, String> {
    text.parse().map_err(|e: ParseIntError| match (e.kind(), least) {
        (IntErrorKind::PosOverflow | IntErrorKind::NegOverflow, _) => e.to_string(),
        (_, ..=-1) => "it must be a whole number".to_owned(),
        _ => format!("it must be a whole number from {least}"),
    })
}

/// Reads an option that takes any whole number.
pub(crate) fn any_integer(text: &str) -> Result<i64, String> {
    integer::<{ i64::MIN }>(text)
}

/// Reads an option whose values may begin with `-`, as `-2h`: a value that begins with `--` is the next option, and
/// `what` is missing before it.
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
            // Ctrl-C, which rpassword reads as a character: end without a message
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
        }
        failed(e)
    })
}

/// Refuses what cannot be typed at a password prompt: NUL would end the password for bcrypt, and a line end for
/// Asterisk. The message does not repeat the password.
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
    fn a_line_of_input() {
        let read = |mut bytes: &[u8]| stdin_line(&mut bytes);
        assert_eq!(read(b"secret\r\nmore").expect("UTF-8"), "secret");
        assert_eq!(read(b"secret").expect("UTF-8"), "secret");
        assert!(read(b"\xff\n").is_err());
    }
}
