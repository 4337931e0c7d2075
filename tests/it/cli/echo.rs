//! The password prompt on a real terminal, util-linux's `script`, when a signal ends the program.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::sample;
use crate::harness::postgres::Database;
use crate::harness::process::run;
use crate::harness::{program, wait_for};

/// Says which terminal it has, runs the program in a process that it names, says how that ended, and stays.
const SESSION: &str = r#"trap : INT QUIT
tty
sh -c 'trap - INT QUIT; ulimit -c 0; echo $$; exec "$PROGRAM" user passwd alice'
echo "ended $?"
cat >/dev/null"#;

/// A terminal at which the program asks for a password.
struct Terminal {
    script: Child,
    lines: Box<dyn Iterator<Item = String>>,
    device: String,
    program: String,
}

impl Terminal {
    fn start(database: &Database) -> Terminal {
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", SESSION, "/dev/null"]);
        command.env("PROGRAM", program("capconduit")).env("SHELL", "/bin/sh");
        command.env("DATABASE_URL", &database.url).env("CAPCONDUIT_ENV_FILE", "/dev/null");
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
        let lines = BufReader::new(script.stdout.take().expect("piped")).lines();
        let mut lines = lines.map(|line| line.expect("text").trim().to_owned()).filter(|line| !line.is_empty());
        let mut next = || lines.next().expect("a line");
        let (device, program) = (next(), next());
        let terminal = Terminal { script, lines: Box::new(lines), device, program };
        assert!(terminal.device.starts_with("/dev/"), "{}", terminal.device);
        wait_for("the program to ask", || !terminal.has_echo());
        terminal
    }

    fn has_echo(&self) -> bool {
        let settings = run(Command::new("stty").args(["-a", "-F", &self.device]));
        settings.split_whitespace().any(|setting| setting == "echo")
    }

    fn types(&mut self, text: &str) {
        self.script.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("script reads");
    }

    fn signal(&self, signal: &str) {
        run(Command::new("kill").args(["-s", signal, &self.program]));
    }

    /// The exit code that its shell saw.
    fn ended(&mut self) -> String {
        let process = Path::new("/proc").join(&self.program);
        wait_for("the program to end", || !process.exists());
        let line = self.lines.find(|line| line.contains("ended ")).expect("it says how the program ended");
        line.rsplit(' ').next().expect("a word").to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // what is left of the session ends with its terminal
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn a_signal_at_the_password_prompt_leaves_the_echo_on() {
    let database = sample();
    for (signal, code) in [("TERM", "143"), ("INT", "130"), ("QUIT", "131")] {
        let mut terminal = Terminal::start(&database);
        terminal.signal(signal);
        assert_eq!(terminal.ended(), code, "{signal}");
        assert!(terminal.has_echo(), "{signal}");
    }
}

#[test]
fn ctrl_c_ends_the_program_at_the_prompt_and_behind_it() {
    let database = sample();
    let mut terminal = Terminal::start(&database);
    terminal.types("\x03");
    assert_eq!(terminal.ended(), "130");
    assert!(terminal.has_echo());

    // both answers are given, and the change has to wait
    let mut other = database.connect();
    let mut held = other.transaction().expect("a transaction");
    held.batch_execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE").expect("locked");
    let mut terminal = Terminal::start(&database);
    terminal.types("correct horse\r");
    terminal.types("correct horse\r");
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_for("the change to wait", || database.value(waiting) == "1");
    assert!(terminal.has_echo());
    terminal.signal("INT");
    assert_eq!(terminal.ended(), "130");
}
