//! Asking a running Asterisk through its own program: `asterisk -rx COMMAND`.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::asterisk::site;
use crate::system::run::run;
use crate::{Error, Kind, Result};

/// How long one answer may take. A busy server with many clients needs a while to list them.
const TIMEOUT: Duration = Duration::from_secs(15);
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

impl Console {
    /// The Asterisk on this host; None where there is none, or none that this user may ask.
    #[must_use]
    pub fn local() -> Option<Console> {
        // as Asterisk calls it for its programs
        let etc_dir = std::env::var_os("AST_CONFIG_DIR").map_or_else(|| site::DEFAULT_ETC_DIR.into(), PathBuf::from);
        let configuration = etc_dir.join("asterisk.conf");
        let conf = fs::read_to_string(&configuration).ok()?;
        let path = |name, default| site::path(&conf, name, default);
        let socket = path("astrundir", "/var/run/asterisk").join(path("astctl", "asterisk.ctl"));
        // a user who may not write to the socket gets the same answer as where no server runs
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

#[cfg(test)]
mod tests {
    use super::*;

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
        // a folder of the name is no program
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
