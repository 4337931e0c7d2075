//! The CLI as people see it: every command's help, table, JSON, usual errors and exit codes, word for
//! word in `transcript/NOUN.txt`.
//!
//! A file is a session on a database with the sample data: after a heading, lines that begin with `$ ` are given to
//! bash, what follows is what came of them, an exit code other than 0 last. After a change that is
//! meant, `TRANSCRIPT=write cargo test --test it -- transcript::` writes them anew: look at the diff.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

use crate::harness::postgres::{Database, Postgres};
use crate::harness::{process, program};

fn file(noun: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/transcript/{noun}.txt"))
}

/// Runs a line as a user of this machine would, and gives all it printed.
fn run(line: &str, database: &Database, folder: &Path) -> String {
    let programs = program("capconduit");
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.parent().expect("a folder").display());
    let output = Command::new("/bin/bash")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("USER", "operator")
        .env("LANG", "C.UTF-8")
        .env("DATABASE_URL", &database.url)
        .env("CAPCONDUIT_ENV_FILE", "/dev/null")
        .env("AST_CONFIG_DIR", "/nonexistent")
        .env("CAPCONDUIT_SPOOL_DIR", folder.join("spool"))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let mut text = String::from_utf8(output.stdout).expect("UTF-8");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => text,
        Some(code) => format!("{text}[exit {code}]\n"),
        None => panic!("{line}: killed"),
    }
}

/// What differs from run to run, by what stands for it.
fn settled(text: &str, database: &Database, folder: &Path) -> String {
    let mut text = text.replace(&folder.display().to_string(), "FOLDER").replace(&database.name, "DATABASE");
    for (pattern, stands_for) in [
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "YYYY-MM-DDThh:mm:ssZ"),
        (r"\b(after|for) \d+ s\b", "$1 N s"),
        (r#""milliseconds": \d+"#, r#""milliseconds": N"#),
        (r#""login": "[^"]*""#, r#""login": "LOGIN""#),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, stands_for).into_owned();
    }
    text
}

fn check(noun: &str) {
    let path = file(noun);
    let expected = std::fs::read_to_string(&path).expect("a transcript");
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let folder = process::Folder::new();
    let mut text = String::new();
    for line in expected.lines().take_while(|line| line.starts_with("# ")) {
        text.push_str(&format!("{line}\n"));
    }
    for command in expected.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let printed = settled(&run(command, &database, &folder.path), &database, &folder.path);
        text.push_str(&format!("$ {command}\n{printed}\n"));
    }
    if std::env::var_os("TRANSCRIPT").is_some_and(|word| word == "write") {
        std::fs::write(&path, &text).expect("written");
        return;
    }
    let difference = expected.lines().zip(text.lines()).enumerate().find(|(_, (expected, is))| expected != is);
    if let Some((at, (expected, is))) = difference {
        panic!("{}:{}:\n-{expected}\n+{is}\nTRANSCRIPT=write writes them anew", path.display(), at + 1);
    }
    assert!(expected == text, "{}: its end differs", path.display());
}

macro_rules! transcripts {
    ($($noun:ident),* $(,)?) => {
        const NOUNS: &[&str] = &[$(stringify!($noun)),*];
        $(#[test] fn $noun() { check(stringify!($noun)); })*
    };
}
transcripts!(
    db, user, client, pjsip, did, campaign, setting, call, route, config, audit, status, report, asterisk, agi, schema,
    completion
);

/// The commands below one, as its help lists them.
fn below(command: &[&str]) -> Vec<String> {
    let output = Command::new(program("capconduit")).args(command).arg("--help").output().expect("it runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // a description that goes on stands deeper
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What cannot be in a transcript.
const ELSEWHERE: &[(&str, &str)] = &[
    // needs an Asterisk: asterisk_check has them
    ("asterisk check", "a success"),
    ("asterisk check", "its JSON"),
    // prints a script
    ("completion", "its JSON"),
];

#[test]
fn every_command_is_in_a_transcript() {
    let mut sessions = String::new();
    for noun in NOUNS {
        sessions.push_str(&std::fs::read_to_string(file(noun)).expect("a transcript"));
    }
    // each command with what came of it
    let runs: Vec<(&str, bool)> = sessions
        .split("\n$ ")
        .filter_map(|run| run.strip_prefix("$ ").or(Some(run)))
        .filter_map(|run| Some((run.lines().next()?, !run.contains("\n[exit "))))
        .collect();
    let mut missing = BTreeSet::new();
    for noun in below(&[]) {
        let verbs = below(&[&noun]);
        let commands = match verbs.as_slice() {
            [] => vec![noun.clone()],
            verbs => verbs.iter().map(|verb| format!("{noun} {verb}")).collect(),
        };
        for command in commands {
            let mine = |line: &str| {
                line.split("capconduit ")
                    .skip(1)
                    .any(|rest| rest == command || rest.starts_with(&format!("{command} ")))
            };
            let mut need = |what: &str, there: &dyn Fn(&str, bool) -> bool| {
                if ELSEWHERE.contains(&(command.as_str(), what)) {
                    return;
                }
                if !runs.iter().any(|(line, done)| mine(line) && there(line, *done)) {
                    missing.insert(format!("{command}: {what}"));
                }
            };
            need("help", &|line, _| line.contains("--help"));
            need("a success", &|line, done| done && !line.contains("--help") && !line.contains("--json"));
            need("its JSON", &|line, done| done && line.contains("--json"));
            need("an error", &|_, done| !done);
        }
    }
    assert!(missing.is_empty(), "not in tests/it/transcript: {missing:#?}");
}
