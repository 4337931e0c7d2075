//! Asking a running Asterisk through its own program: `asterisk -rx COMMAND`.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::{Error, Kind, Result, asterisk};

/// How long one answer may take. A busy server with many clients needs a while to list them.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most that is read of an answer; thousands of clients are a few hundred bytes each.
const MAX_ANSWER: u64 = 32 << 20;
/// The most that is read of what a program complains about.
const MAX_COMPLAINT: u64 = 64 << 10;

/// What `asterisk -rx` says of itself on hosts without an interface of a usual name (containers), or
/// with an empty asterisk.conf.
const OWN_WORDS: [&str; 2] =
    ["No ethernet interface found for seeding global EID", "Privilege escalation protection disabled"];

/// A way to ask.
#[derive(Debug)]
pub struct Console {
    /// The asterisk program.
    pub program: PathBuf,
    /// Its asterisk.conf, which says where the server's socket is.
    pub configuration: PathBuf,
}

/// Where a package puts the asterisk program, else where the shell would find it.
#[must_use]
pub fn program() -> PathBuf {
    found("/usr/sbin/asterisk".into(), &std::env::var_os("PATH").unwrap_or_default())
}

fn found(usual: PathBuf, path: &OsStr) -> PathBuf {
    let folders = std::env::split_paths(path).map(|folder| folder.join("asterisk"));
    std::iter::once(usual.clone()).chain(folders).find(|program| program.is_file()).unwrap_or(usual)
}

/// A folder or file that asterisk.conf names, or where it is unless that says otherwise.
#[must_use]
pub fn path(conf: &str, name: &str, default: &str) -> PathBuf {
    PathBuf::from(asterisk::setting(conf, name).unwrap_or(default))
}

impl Console {
    /// The Asterisk on this host; None where there is none, or none that this user may ask.
    #[must_use]
    pub fn local() -> Option<Console> {
        // as Asterisk calls it for its programs
        let etc_dir =
            std::env::var_os("AST_CONFIG_DIR").map_or_else(|| asterisk::DEFAULT_ETC_DIR.into(), PathBuf::from);
        let configuration = etc_dir.join("asterisk.conf");
        let conf = fs::read_to_string(&configuration).ok()?;
        let socket = path(&conf, "astrundir", "/var/run/asterisk").join(path(&conf, "astctl", "asterisk.ctl"));
        // who may not write to it is told the same as where nobody answers
        rustix::fs::access(&socket, rustix::fs::Access::WRITE_OK)
            .is_ok()
            .then(|| Console { program: program(), configuration })
    }

    /// What the server answers to a command, without control characters. An unknown command is
    /// answered, too: by text that says so.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: there is no such program. [`Kind::Unreachable`]: no server answers.
    pub fn ask(&self, command: &str) -> Result<String> {
        self.ask_within(command, TIMEOUT)
    }

    /// The same within another time.
    ///
    /// # Errors
    /// As [`Console::ask`].
    pub fn ask_within(&self, command: &str, timeout: Duration) -> Result<String> {
        let mut asked = Command::new(&self.program);
        asked.arg("-C").arg(&self.configuration).args(["-rx", command]);
        let answer = run(&mut asked, b"", timeout)?;
        if !answer.success {
            let said = [answer.complaint, answer.text].join("\n");
            let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
            return Err(Error::new(Kind::Unreachable, line.chars().take(200).collect::<String>()));
        }
        let clean: String = answer.text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
        // the asking program's own complaints go before the server's answer
        let is_its_own = |line: &&str| OWN_WORDS.iter().any(|words| line.starts_with(words));
        Ok(clean
            .lines()
            .skip_while(|line| line.is_empty() || is_its_own(line))
            .map(|line| format!("{line}\n"))
            .collect())
    }
}

/// What a program has written, and how it ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) complaint: String,
    pub(super) success: bool,
}

/// Runs a program to its end within a time, with a little input; what it writes is bounded.
///
/// # Errors
/// [`Kind::NotFound`]: there is no such program. [`Kind::Unreachable`]: it takes too long.
pub(super) fn run(command: &mut Command, input: &[u8], timeout: Duration) -> Result<Answer> {
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
    // where the time is up, it ends with the child's end of its pipes
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
        let answer = shell("cat; echo why >&2; exit 1", TIMEOUT).expect("an answer");
        assert_eq!((answer.text.as_str(), answer.complaint.as_str(), answer.success), ("in\n", "why\n", false));
    }

    #[test]
    fn what_the_asking_program_says_of_itself_is_no_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("asterisk");
        let text = "#!/bin/sh\necho 'No ethernet interface found for seeding global EID. You will have to set it manually.'\n\
                    echo 'Asterisk 22.5.2 built by nobody'\necho more\n";
        std::fs::write(&program, text).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        let console = Console { program, configuration: "/nonexistent".into() };
        assert_eq!(console.ask("core show version").expect("an answer"), "Asterisk 22.5.2 built by nobody\nmore\n");
    }

    #[test]
    fn the_program_is_the_package_s_or_the_first_on_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["folder/asterisk", "first", "second"] {
            fs::create_dir_all(at(name)).expect("own folder");
        }
        for name in ["first/asterisk", "second/asterisk", "usual"] {
            fs::write(at(name), "").expect("own folder");
        }
        // what is no file is no program
        let path = std::env::join_paths(["none", "folder", "first", "second"].map(at)).expect("a path");
        assert_eq!(found(at("usual"), &path), at("usual"));
        assert_eq!(found(at("missing"), &path), at("first/asterisk"));
        assert_eq!(found(at("missing"), OsStr::new("")), at("missing"), "the message names where it should be");
    }

    #[test]
    fn a_program_that_is_missing_is_told_from_a_server_that_is() {
        let ask = |program: &str| {
            let console = Console { program: program.into(), configuration: "/nonexistent".into() };
            console.ask("core show version").expect_err("nobody answers").kind
        };
        assert_eq!(ask("/nonexistent/asterisk"), Kind::NotFound);
        assert_eq!(ask("false"), Kind::Unreachable);
    }
}
