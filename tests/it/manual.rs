//! The manual says what the programs do: generated pages are up to date, the others leave nothing
//! out, and all of them render without a warning.

#[path = "../manual/pages.rs"]
mod pages;
#[path = "../manual/roff.rs"]
mod roff;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use capconduit::Kind;
use capconduit::model::call_status::statuses;
use capconduit::model::reason::REASONS;

use crate::harness::postgres::Postgres;
use crate::harness::{process, program};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The texts of a folder's files.
fn folder(path: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let files = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).flatten();
    files.map(|file| read(&format!("{path}/{}", file.file_name().display()))).collect()
}

/// The text of a page as it is read, without line ends.
fn rendered(page: &str) -> String {
    let mut groff = Command::new("groff");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
    groff.args(["-man", "-Tascii", "-P-c", "-rLL=2000n"]).arg(path);
    // ASCII output sets bold by overstriking: letter, backspace, letter
    let text = process::run(groff.args(["-P-b", "-P-u", "-P-o"]));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a text that `is_wanted` takes for a name.
fn words(text: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c)).filter(|word| is_wanted(word)).map(str::to_owned).collect()
}

/// The program text of a source file, without its tests.
fn source(path: &str) -> String {
    let text = read(path);
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        if entry.path().is_dir() {
            sources(&entry.path(), all);
        } else {
            all.push(entry.path());
        }
    }
}

#[track_caller]
fn assert_names(page: &str, names: &BTreeSet<String>) {
    assert!(!names.is_empty(), "nothing to look for in {page}");
    let named = words(&rendered(page), |_| true);
    let missing: Vec<&String> = names.iter().filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "man/{page} does not name {missing:?}");
}

/// What stands between quotes in a text.
fn quoted(text: &str, quote: char) -> impl Iterator<Item = &str> {
    text.split(quote).skip(1).step_by(2)
}

#[test]
fn the_generated_pages_are_what_the_program_says() {
    let mut expected = BTreeSet::new();
    for (name, text) in pages::all() {
        assert!(read(&format!("man/{name}")) == text, "man/{name} is out of date: cargo run --example manual");
        expected.insert(name);
    }
    expected.extend(["capconduit.7", "capconduit.env.5", "cc-route.agi.8", "cdr_logger.agi.8"].map(str::to_owned));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let there = fs::read_dir(dir).expect("man/").flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    assert_eq!(there.collect::<BTreeSet<_>>(), expected, "the pages in man/");
}

#[test]
fn every_page_renders_without_a_warning() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for page in fs::read_dir(dir).expect("man/").flatten() {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-Tutf8", "-z", "-rCHECKSTYLE=3"]).arg(page.path());
        let output = groff.output().expect("groff runs: tests/setup installs it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.path().display());
        let text = process::run(Command::new("man").args(["--local-file", "--warnings"]).arg(page.path()));
        assert!(text.contains("NAME") && text.contains("SEE ALSO"), "{}", page.path().display());
    }
}

/// Whatever a program reads from the environment or the env file.
#[test]
fn every_environment_variable_is_named() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut names = BTreeSet::from(["RUST_LOG".to_owned()]);
    for file in files {
        let text = source(file.to_str().expect("UTF-8"));
        let is_name = |name: &&str| {
            name.len() > 3
                && name.contains(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        };
        for read in ["var(", "var_os(", ".get(", " of(", "set("] {
            for call in text.split(read).skip(1) {
                names.extend(
                    call.strip_prefix('"').and_then(|c| c.split('"').next()).filter(is_name).map(str::to_owned),
                );
            }
        }
    }
    // the shell's
    names.remove("PATH");
    for sure in ["ASTERISK_DATABASE_URL", "CAPCONDUIT_NUMBER_RULES", "AST_SPOOL_DIR", "SUDO_USER"] {
        assert!(names.contains(sure), "{sure} is not found in the source any more: {names:?}");
    }
    assert_names("capconduit.env.5", &names);
    // what Asterisk itself is to have
    let drop_in = read("asterisk/systemd/asterisk.service.d/capconduit.conf");
    let names = words(&drop_in, |word| word.starts_with("PG"));
    assert!(names.contains("PGOPTIONS"), "{names:?}");
    assert_names("capconduit.env.5", &names);
    assert_names("capconduit.7", &names);
}

#[test]
fn every_channel_variable_and_exit_code_of_the_agi_programs_is_named() {
    let is_variable = |word: &str| {
        word.len() > 3
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let of_program = [
        (&["src/agi/cc_route.rs"][..], "cc-route.agi.8"),
        (&["src/agi/cdr_logger.rs", "src/agi/record.rs"], "cdr_logger.agi.8"),
    ];
    for (files, page) in of_program {
        let text: String = files.iter().map(|file| source(file)).collect();
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let mut names = BTreeSet::new();
        for literal in quoted(&code, '"') {
            // words of log lines and of what the program calls itself are no variables
            if !literal.contains(' ') && !["ERROR", "WARNING"].contains(&literal) {
                names.extend(words(literal, is_variable));
            }
        }
        names.extend(words(&code, |word| word.starts_with("agi_")).into_iter().filter(|n| n != "agi_"));
        assert!(names.contains("CC_STATUS") && names.contains("agi_uniqueid"), "{page}: {names:?}");
        assert_names(page, &names);
        let text = rendered(page);
        let codes = text.split("EXIT STATUS").nth(1).and_then(|t| t.split("WHEN THE DATABASE").next()).unwrap_or("");
        for code in ["0", "1", &Kind::Usage.exit_code().to_string()] {
            assert!(codes.split(' ').any(|word| word == code), "{page}: exit code {code}");
        }
    }
}

/// What the dialplan that is installed uses of CapConduit's own.
#[test]
fn every_variable_of_the_dialplan_is_named() {
    let dialplan = read("asterisk/extensions.conf");
    let used: String = dialplan.lines().filter(|line| !line.trim_start().starts_with(';')).collect();
    let names = words(&used, |word| word.starts_with("CC_"));
    for sure in ["CC_AGI_SERVER", "CC_FALLBACK", "CC_LOGGED"] {
        assert!(names.contains(sure), "{sure} is not found in the dialplan any more: {names:?}");
    }
    let pages = ["cc-route.agi.8", "cdr_logger.agi.8"].map(rendered).concat();
    let named = words(&pages, |_| true);
    let missing: Vec<&String> = names.iter().filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "neither page names {missing:?}");
}

/// The files that hold passwords, from where they are written.
#[test]
fn every_env_file_is_named() {
    let roles = ["roles", "passwords"].map(|file| source(&format!("src/cli/commands/db/{file}.rs"))).concat();
    let is_file = |word: &&str| word.ends_with(".env") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'.');
    let mut files: BTreeSet<&str> = quoted(&roles, '"').filter(is_file).collect();
    let config = source("src/config/mod.rs");
    files.extend(quoted(&config, '"').filter(is_file));
    files.insert("seller-");
    assert!(files.len() == 5, "{files:?}");
    let text = rendered("capconduit.env.5");
    for file in files {
        assert!(text.contains(&format!("/etc/capconduit/{file}")), "man/capconduit.env.5 does not name {file}");
    }
}

#[test]
fn every_exit_code_is_named() {
    let text = rendered("capconduit.1");
    let codes = text.split("EXIT STATUS").nth(1).and_then(|t| t.split("NAMES").next()).unwrap_or_default();
    for kind in Kind::ALL {
        assert!(codes.split(' ').any(|word| word == kind.exit_code().to_string()), "{kind:?}");
        assert!(codes.contains(kind.name()), "{kind:?}");
    }
}

/// Why calls are rejected, why links are not eligible, why attempts ended, and what records say.
#[test]
fn every_reason_and_status_is_explained() {
    let sql: String = ["sql/routines/route", "sql/routines/settle"].map(folder).join("\n");
    let mut names = BTreeSet::new();
    for line in sql.lines().filter(|line| !line.trim_start().starts_with("--")) {
        let is_reason = |word: &&str| word.len() > 4 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if line.contains("release_reason = ") {
            names.extend(quoted(line, '\'').filter(is_reason).map(str::to_owned));
        }
    }
    let ledger = source("src/store/call.rs");
    let closed = ledger.split("REAPED: [&str; 3] = [").nth(1).and_then(|text| text.split(']').next());
    names.extend(quoted(closed.expect("the reasons of call reap"), '"').map(str::to_owned));
    names.extend(REASONS.iter().map(|reason| reason.code.to_owned()));
    names.extend(statuses().into_iter().map(str::to_owned));
    for sure in ["did_not_found", "concurrency_cap", "failover", "channel_gone", "REJECTED_CC", "ABANDONED"] {
        assert!(names.contains(sure), "{sure} is not found in the source any more: {names:?}");
    }
    assert_names("capconduit.7", &names);
}

/// The lines of a page's examples, as they are typed; below a heading, if one is given.
fn examples(page: &str, heading: &str) -> Vec<String> {
    let text = read(&format!("man/{page}"));
    let text = text.split_once(&format!(".SH {heading}")).map_or("", |(_, after)| after);
    let text = if heading.is_empty() { text } else { text.split(".SH ").next().unwrap_or_default() };
    let blocks = text.split(".EX\n").skip(1).filter_map(|block| block.split(".EE").next());
    let typed = blocks.map(|block| {
        let mut text = block.to_owned();
        for (roff, c) in [("\\-", "-"), ("\\(aq", "'"), ("\\(ti", "~"), ("\\(dq", "\""), ("\\&", ""), ("\\e", "\\")] {
            text = text.replace(roff, c);
        }
        text.replace("\\\n", " ")
    });
    typed.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_example_is_a_command_line() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut seen = 0;
    for page in fs::read_dir(dir).expect("man/").flatten() {
        let page = page.file_name().to_string_lossy().into_owned();
        // comments, and PostgreSQL's own programs
        for line in examples(&page, "").iter().filter(|line| !line.starts_with('#') && !line.contains("-u postgres")) {
            // from the program's name, in the shell's own words, to where its output goes
            let is_start = |at: usize| at == 0 || [" ", "(", "/"].contains(&&line[at - 1..at]);
            let Some(at) = line.match_indices("capconduit ").map(|(at, _)| at).find(|&at| is_start(at)) else {
                continue;
            };
            let end = [" >", " 2>", " |", " &&", "  #"].iter().filter_map(|mark| line[at..].find(mark)).min();
            let command = &line[at..end.map_or(line.len(), |end| at + end)];
            let command = command.strip_suffix(')').unwrap_or(command);
            let words = process::run(Command::new("bash").args(["-c", &format!("printf '%s\\n' {command}")]));
            let parsed = capconduit::cli::command().try_get_matches_from(words.lines());
            assert!(parsed.is_ok(), "{page}: {line}\n{}", parsed.err().map(|e| e.to_string()).unwrap_or_default());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} examples are found");
}

#[test]
fn the_first_campaign_routes_a_call() {
    let database = Postgres::shared().database();
    let lines = examples("capconduit.7", "A FIRST CAMPAIGN");
    assert!(lines.len() >= 6, "{lines:?}");
    let script = format!("set -e; capconduit() {{ \"$PROGRAM\" \"$@\"; }}\n{}", lines.join("\n"));
    let mut bash = Command::new("bash");
    for (name, value) in database.command().get_envs() {
        bash.env(name, value.expect("a value"));
    }
    let said = process::run(bash.env("PROGRAM", program("capconduit")).args(["-c", &script]));
    assert!(said.contains("proceed") && said.contains("acme"), "{said}");
}
