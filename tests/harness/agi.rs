//! The AGI programs, run as Asterisk would run them, and the server that stands for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::process::{self, Server};
use super::{program, wait_for};

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

/// A running `capconduit agi serve`.
pub struct AgiServer {
    server: Server,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl AgiServer {
    /// Starts one on this port.
    pub fn start(mut command: Command, port: u16, options: &[&str]) -> AgiServer {
        command.args(["agi", "serve", "--listen", &format!("127.0.0.1:{port}")]).args(options);
        let server = Server::start(&command, &process::temporary_folder(), "TERM");
        wait_for("the AGI server to listen", || server.output().contains("listening on"));
        AgiServer { server, port }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        self.server.signal(signal);
    }

    /// The process that attends to the sessions, not its guard.
    pub fn pid_below_guard(&self) -> String {
        let guard = self.server.pid();
        let children = || std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).expect("it runs");
        // between two of them there is none
        wait_for("a process below the guard", || !children().trim().is_empty());
        children().trim().to_owned()
    }

    /// Sends a signal to the process that attends to the sessions, not to its guard.
    pub fn signal_below_guard(&self, signal: &str) {
        let children = self.pid_below_guard();
        process::run(Command::new("kill").args(["-s", signal, children.trim()]));
        if signal == "STOP" {
            // one thread hears it and tells the others, which go on until then
            let tasks = format!("/proc/{}/task", children.trim());
            wait_for("all threads to stand still", || {
                std::fs::read_dir(&tasks).expect("it runs").flatten().all(|task| {
                    let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
                })
            });
        }
    }

    /// What it wrote.
    pub fn output(&self) -> String {
        self.server.output()
    }

    /// A session of this script on a channel that says this: what the server sent.
    pub fn ask(&self, script: &str, said: &str) -> String {
        let mut stream = self.open(script, said);
        let mut sent = Vec::new();
        // a connection that was closed on what it had not read is reset
        let _ = stream.read_to_end(&mut sent);
        String::from_utf8(sent).expect("text")
    }

    /// Begins a session.
    pub fn open(&self, script: &str, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        let text = format!("agi_network: yes\nagi_network_script: {script}\n{said}");
        let _ = stream.write_all(text.as_bytes());
        stream
    }
}
