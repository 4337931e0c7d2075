//! Proof that somebody agreed to what cannot be undone. Functions that remove things take it as an
//! argument, so that none can be called without asking.

use std::io::{Read, Write};

use crate::{Error, Kind, Result};

/// Somebody agreed; only [`ask`] makes it.
#[derive(Debug)]
pub struct Confirmed(());

/// Asks a question such as `Remove client "acme"?`. `yes`: the operator agreed beforehand; `interactive`: somebody is
/// at a terminal.
///
/// # Errors
/// The answer is no, or nobody can be asked and nobody agreed beforehand.
pub fn ask(
    question: &str,
    yes: bool,
    interactive: bool,
    stdin: &mut dyn Read,
    stderr: &mut dyn Write,
) -> Result<Confirmed> {
    if yes {
        return Ok(Confirmed(()));
    }
    if !interactive {
        return Err(Error::new(Kind::Usage, format!("{question} There is no terminal to ask at"))
            .hint("Nothing was changed. Add --yes to go ahead without asking."));
    }
    // a prompt that cannot be written is answered by nobody
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let mut byte = [0];
    while stdin.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
        answer.push(char::from(byte[0]));
    }
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(Confirmed(())),
        _ => Err(Error::failed("not confirmed: nothing was changed")),
    }
}
