//! Proof that somebody agreed to what cannot be undone. Functions that remove things take it as an
//! argument, so that none can be called without asking.

use std::io::{Read, Write};

use crate::{Error, Kind, Result};

/// Somebody agreed; only [`ask`] makes it.
#[derive(Debug)]
pub struct Confirmed(());

/// Who can be asked.
pub struct Whom<'a> {
    /// They agreed beforehand (`--yes`).
    pub yes: bool,
    /// There is a terminal with somebody at it.
    pub interactive: bool,
    /// Where the answer comes from.
    pub stdin: &'a mut dyn Read,
    /// Where the question goes.
    pub stderr: &'a mut dyn Write,
}

/// Asks. `question` is one: `Remove client "acme"?`
///
/// # Errors
/// They say no; there is nobody to ask, and nobody agreed beforehand.
pub fn ask(question: &str, whom: Whom<'_>) -> Result<Confirmed> {
    if whom.yes {
        return Ok(Confirmed(()));
    }
    if !whom.interactive {
        return Err(Error::new(Kind::Usage, format!("{question} There is no terminal to ask at"))
            .hint("Nothing was changed. Add --yes to go ahead without asking."));
    }
    // a prompt that cannot be written is answered by nobody
    let _ = write!(whom.stderr, "{question} [y/N] ").and_then(|()| whom.stderr.flush());
    let mut answer = String::new();
    let mut byte = [0];
    while whom.stdin.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
        answer.push(char::from(byte[0]));
    }
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(Confirmed(())),
        _ => Err(Error::failed("not confirmed: nothing was changed")),
    }
}
