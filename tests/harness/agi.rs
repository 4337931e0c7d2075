//! The AGI programs, run as Asterisk would run them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::program;

/// An AGI program on this database, with Asterisk's spool folder.
pub fn command(name: &str, url: &str, spool: &Path) -> Command {
    let mut command = Command::new(program(name));
    command
        .env("DATABASE_URL", url)
        .env("CAPCONDUIT_ENV_FILE", "/dev/null")
        .env("AST_SPOOL_DIR", spool)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// What a channel says to a program: its id, and the answer to the question for its variables.
pub fn said(uniqueid: &str, channel: &str) -> String {
    format!(
        "agi_uniqueid: {uniqueid}\nagi_callerid: 555\nagi_calleridname: Zoë\n\n200 result=1 ({channel})\n200 result=1\n200 result=1\n200 result=1\n"
    )
}

/// Runs a program on a channel that says this.
pub fn run(command: &mut Command, said: &str) -> Output {
    let mut child = command.spawn().expect("the program runs");
    // one that has been killed reads nothing
    let _ = child.stdin.take().expect("piped").write_all(said.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// What the channel of an answered call of three seconds says to cdr_logger.agi.
pub fn answered(uniqueid: &str, did: &str, setting: i32) -> String {
    let times = "2026-01-02T03:04:05.000000Z&2026-01-02T03:04:07.000000Z&2026-01-02T03:04:10.000000Z";
    said(uniqueid, &format!("{uniqueid}&{did}&{times}&proceed&&ANSWER&16&{setting}&&&&&{uniqueid}"))
}

/// What the channel of a new call says to cc-route.agi.
pub fn dialled(uniqueid: &str, did: &str) -> String {
    said(uniqueid, &format!("{uniqueid}&node&{did}&&0"))
}
