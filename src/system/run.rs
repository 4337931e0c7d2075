//! Running a program to its end, within a time.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::{Error, Kind, Result};

/// The most that is read of an answer; thousands of clients are a few hundred bytes each.
const MAX_ANSWER: u64 = 32 << 20;
/// The most that is read of what a program complains about.
const MAX_COMPLAINT: u64 = 64 << 10;

/// What a program has written, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) complaint: String,
    pub(crate) success: bool,
}

/// Runs a program to its end within a time, with a little input; what it writes is bounded.
///
/// # Errors
/// [`Kind::NotFound`]: there is no such program. [`Kind::Unreachable`]: it takes too long.
pub(crate) fn run(command: &mut Command, input: &[u8], timeout: Duration) -> Result<Answer> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            Error::new(kind, format!("cannot run {program}: {e}"))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // it fits into the pipe; a program that does not read it says why elsewhere
        let _ = stdin.write_all(input);
    }
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::failed(format!("{program} has no output")));
    };
    let (sender, receiver) = mpsc::channel();
    // after a timeout, the thread ends when the child's end of its pipes closes
    thread::spawn(move || {
        let read = |from: &mut dyn Read| {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let answer = (read(&mut stdout.take(MAX_ANSWER)), read(&mut stderr.take(MAX_COMPLAINT)));
        sender.send(answer)
    });
    let answer = receiver.recv_timeout(timeout);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| Error::failed(format!("cannot wait for {program}: {e}")))?;
    let (text, complaint) = answer
        .map_err(|_| Error::new(Kind::Unreachable, format!("{program}: no answer within {} s", timeout.as_secs())))?;
    Ok(Answer { text, complaint, success: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Result<Answer> {
        run(Command::new("sh").args(["-c", script]), b"in\n", timeout)
    }

    #[test]
    fn an_answer_is_bounded_in_time() {
        let error = shell("exec sleep 1000", Duration::from_millis(50)).expect_err("no answer");
        assert_eq!(error.kind, Kind::Unreachable);
        let answer = shell("cat; echo why >&2; exit 1", Duration::from_secs(15)).expect("an answer");
        assert_eq!((answer.text.as_str(), answer.complaint.as_str(), answer.success), ("in\n", "why\n", false));
    }
}
