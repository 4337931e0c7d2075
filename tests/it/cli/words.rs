//! Words, places and numbers that people get nearly right: understood, or said what was meant.

use std::io::{Read, Write};

use super::{Outcome, json, refused, run, sample};
use crate::harness::program;

/// What a person reads of a command that succeeds.
#[track_caller]
fn told(database: &super::Database, arguments: &[&str]) -> Outcome {
    let outcome = run(database, "", arguments);
    assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
    outcome
}

#[test]
fn verbs_have_other_names() {
    let database = sample();
    for (verb, status) in
        [("suspend", "paused"), ("unpause", "active"), ("deactivate", "inactive"), ("resume", "active")]
    {
        assert_eq!(json(&database, &["campaign", verb, "1"])["status"], status, "{verb}");
    }
    json(&database, &["client", "create", "zeta", "--name", "Z", "--contact", "sip:192.0.2.1"]);
    assert_eq!(json(&database, &["client", "update", "zeta", "--name", "Zeta"])["name"], "Zeta");
    assert_eq!(json(&database, &["client", "info", "zeta"]), json(&database, &["client", "get", "zeta"]));
    assert_eq!(json(&database, &["client", "ls"]), json(&database, &["client", "list"]));
    json(&database, &["client", "rm", "zeta", "--yes"]);
    // help keeps to one word
    let help = told(&database, &["campaign", "--help"]).stdout;
    assert!(!help.contains("resume") && !help.contains("create"), "{help}");
}

#[test]
fn removing_is_suggested_for_a_slip_of_it_only() {
    let database = sample();
    for verb in ["reset", "resme", "rename", "move"] {
        let why = refused(&database, 2, &["setting", verb, "1"]);
        assert!(!why.contains("remove"), "{verb}: {why}");
    }
    assert!(refused(&database, 2, &["setting", "remvoe", "1"]).contains("'remove'"));
}

#[test]
fn options_in_the_wrong_place_are_shown_the_right_one() {
    let database = sample();
    let why = refused(&database, 2, &["client", "set", "acme", "--qualify-frequency", "0"]);
    assert!(why.contains("that is capconduit pjsip set acme --qualify-frequency"), "{why}");
    let why = refused(&database, 2, &["setting", "set", "Alice Priority", "acme", "--max-calls", "5"]);
    assert!(why.contains("that is --max-concurrency here"), "{why}");
    let why = refused(&database, 2, &["client", "set", "acme", "--no-such-thing", "5"]);
    assert!(!why.contains("that is"), "{why}");
}

#[test]
fn words_that_are_too_many_or_in_another_order_are_told_apart() {
    let database = sample();
    let why = refused(&database, 2, &["client", "set", "acme", "--no-such-thing", "5"]);
    assert!(!why.contains("as a value"), "{why}");
    for typed in [&["add", "user", "zoe"][..], &["create", "users"], &["add", "user", "zoe", "--email", "z@x.org"]] {
        let why = refused(&database, 2, typed);
        assert!(why.contains("that is capconduit user add"), "{why}");
    }
    for typed in [&["campaign", "show", "Alice", "Priority"][..], &["call", "list", "--campaign", "Alice", "Priority"]]
    {
        let why = refused(&database, 2, typed);
        assert!(why.contains("in quotes: 'Alice Priority'"), "{why}");
    }
}

#[test]
fn the_end_of_a_line_of_csv_is_no_part_of_an_argument() {
    let database = sample();
    let csv = told(&database, &["call", "list", "--columns", "id", "--limit", "1", "--csv"]).stdout;
    let id = csv.split_once('\n').and_then(|(_, row)| row.strip_suffix('\n')).expect("a row");
    assert!(id.ends_with('\r'), "{csv:?}");
    assert_eq!(json(&database, &["call", "show", id])["id"].to_string(), id.trim_end());
}

#[test]
fn a_setting_named_wrongly_says_how() {
    let database = sample();
    for verb in [&["show"][..], &["set", "--weight", "5"], &["disable"], &["remove", "--yes"]] {
        let swapped = [&["setting", verb[0], "acme", "Alice Priority"], &verb[1..]].concat();
        let why = refused(&database, 3, &swapped);
        assert!(why.contains("\"acme\" is a client: the campaign comes first."), "{why}");
        assert!(why.contains(&format!("setting {} 'Alice Priority' acme", verb[0])), "{why}");
        let alone = [&["setting", verb[0], "Alice Priority"], &verb[1..]].concat();
        let why = refused(&database, 2, &alone);
        assert!(why.contains(&format!("capconduit setting {} 'Alice Priority' acme; it has acme, ", verb[0])), "{why}");
    }
    let why = refused(&database, 3, &["setting", "add", "acme", "Alice Priority", "--max-concurrency", "1"]);
    assert!(why.contains("capconduit setting add 'Alice Priority' acme"), "{why}");
}

#[test]
fn a_number_whose_country_nobody_has_said_is_refused() {
    let database = sample();
    let add = |number: &str| run(&database, "", &["did", "add", number, "--user", "alice"]);
    for number in ["+18005550131", "0018005550132"] {
        assert_eq!((add(number).code, add(number).code), (0, 4), "{number}");
    }
    let short = add("+555");
    assert!(short.code == 0 && short.stderr.contains("fewer than 7 digits"), "{}", short.stderr);
    let before = database.query("SELECT xmin, d.* FROM dids d ORDER BY id");
    for typed in [
        &["did", "add", "(800) 555-0133", "--user", "alice"][..],
        &["did", "add", "18005550133", "--user", "alice"],
        &["did", "set", "+555", "--number", "8005550133"],
    ] {
        let why = refused(&database, 5, typed);
        assert!(why.contains("would be stored as +") && why.contains("country code"), "{why}");
        assert!(why.contains("Nothing was changed") && why.contains("CAPCONDUIT_NUMBER_RULES"), "{why}");
        assert!(why.contains("--trust-rules"), "{why}");
    }
    for (number, why) in [
        ("+44 (0)20 7183 8750", "a 0 in parentheses"),
        ("+18005550113.0", "a decimal number of a spreadsheet"),
        ("1.8005550113E10", "no number has 'E' there"),
        ("'+18005550113", "no number has '\\'' there"),
        ("+18005550113,1", "no number has ',' there"),
        ("+1800555011 x3", "no number has 'x' there"),
        ("8005550113;phone-context=+1", "outside of its phone-context"),
    ] {
        let said = refused(&database, 5, &["did", "add", number, "--user", "alice"]);
        assert!(said.contains("is not a phone number") && said.contains(why), "{said}");
        let said = refused(&database, 5, &["route", "explain", number]);
        assert!(said.contains("is not a phone number") && said.contains(why), "{said}");
    }
    assert_eq!(database.query("SELECT xmin, d.* FROM dids d ORDER BY id"), before);
    told(&database, &["did", "add", "18005550133", "--user", "alice", "--trust-rules"]);
    told(&database, &["did", "add", "+18005550134;ext=7", "--user", "alice"]);
    // one that is there is found in any form
    for number in ["18005550133", "0018005550133", "+1 (800) 555-0133", "tel:+1-800-555-0133;ext=1", "18005550133#"] {
        assert_eq!(json(&database, &["did", "show", number])["number"], "+18005550133", "{number}");
        assert_eq!(json(&database, &["route", "explain", number])["did"], "+18005550133", "{number}");
    }
    // what the site's rules add is said
    let mut command = database.command();
    command.env("CAPCONDUIT_NUMBER_RULES", "+=+,011=+,1=+1,=+1").args(["did", "add", "8005550135", "--user", "alice"]);
    assert!(command.output().expect("it runs").status.success());
    let explained = json(&database, &["route", "explain", "5550135"])["advice"].to_string();
    assert!(explained.contains("+18005550135") && explained.contains("CAPCONDUIT_NUMBER_RULES"), "{explained}");
}

#[test]
fn what_is_said_is_grammatical_and_said_once() {
    let database = sample();
    json(&database, &["setting", "set", "Alice Priority", "acme", "--current-total-calls", "1"]);
    let note = told(&database, &["setting", "set", "Alice Priority", "acme", "--total-calls-allowed", "1"]).stderr;
    assert_eq!(note, "note: it has had 1 call: it gets no more\n");
    let status = run(&database, "", &["status"]).stdout;
    assert!(status.contains("gets no more calls: 1 counted, 1 allowed"), "{status}");
    let why = refused(&database, 5, &["call", "list", "--status", "rejected"]);
    assert!(why.contains("REJECTED* stands for"), "{why}");
    assert_eq!(told(&database, &["report"]).stdout, told(&database, &["report", "--by", "day"]).stdout);
    let document = told(&database, &["config", "export"]).stdout.replace("\"Acme Support\"", "\"Acme\"");
    let diff = run(&database, &document, &["config", "diff", "-"]);
    assert_eq!((diff.code, diff.stderr.as_str()), (1, ""));
    assert!(
        diff.stdout.ends_with("0 added, 1 changed, 0 removed: capconduit config apply makes it so.\n"),
        "{}",
        diff.stdout
    );
    let script = run(&database, &document, &["config", "diff", "-", "--json"]);
    assert!(script.code == 1 && script.stderr.contains("\"kind\":\"failed\""), "{}", script.stderr);
}

#[test]
fn times_are_taken_as_people_write_them() {
    let database = sample();
    database.execute("DELETE FROM call_logs");
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid) VALUES
         ('+12', now() - interval '90 min', 'BUSY', 'ninety'), ('+12', now() - interval '9 days', 'BUSY', 'nine'),
         ('+12', date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 min', 'BUSY', 'eve'),
         ('+12', '2026-07-01T22:30:00Z', 'BUSY', 'july')",
    );
    let calls = |options: &[&str]| -> Vec<String> {
        let calls = json(&database, &[&["call", "list", "--sort", "asterisk_uniqueid"], options].concat());
        let id = |call: &serde_json::Value| call["asterisk_uniqueid"].as_str().expect("a text").to_owned();
        calls.as_array().expect("a list").iter().map(id).collect()
    };
    let has = |options: &[&str], id: &str| calls(options).iter().any(|call| call == id);
    assert!(
        has(&["--from", "-2h"], "ninety") && !has(&["--from", "-1h"], "ninety") && !has(&["--from", "-2h"], "nine")
    );
    assert!(has(&["--from", "-2w"], "nine") && has(&["--to", "-7d"], "nine"));
    assert!(has(&["--from", "yesterday", "--to", "yesterday"], "eve") && !has(&["--from", "today"], "eve"));
    assert!(!has(&["--to", "yesterday", "--from", "yesterday"], "nine"));
    let july = ["--from", "2026-07-01 22:30", "--to", "2026-07-01 22:31"];
    assert_eq!(calls(&july), ["july"]);
    // half past midnight of the next day there
    assert_eq!(calls(&["--from", "2026-07-02", "--to", "2026-07-02", "--tz", "Europe/Berlin"]), ["july"]);
    assert_eq!(calls(&["--from", "2026-07-02 00:30", "--to", "2026-07-02 00:31", "--tz", "Europe/Berlin"]), ["july"]);
    let why = refused(&database, 5, &["call", "list", "--from", "today", "--to", "yesterday"]);
    assert!(why.contains("--from today is after --to yesterday"), "{why}");
    let why = refused(&database, 5, &["call", "list", "--from", "tomorrow"]);
    assert!(why.contains("is not a time") && why.contains("-2h"), "{why}");
    refused(&database, 5, &["call", "list", "--tz", "Nowhere/Town"]);
    json(&database, &["report", "--from", "-2h"]);
    json(&database, &["status", "--since", "yesterday"]);
    json(&database, &["audit", "list", "--from", "today", "--tz", "America/New_York"]);
    // a time that is missing is not the option behind it
    for (option, list) in [
        ("--from", &["call", "list"][..]),
        ("--to", &["report"]),
        ("--from", &["audit", "list"]),
        ("--since", &["status"]),
    ] {
        let script = run(&database, "", &[list, &[option, "--json"]].concat());
        assert_eq!(script.code, 2, "{list:?}: {}", script.stderr);
        let error: serde_json::Value = serde_json::from_str(&script.stderr).expect("one JSON document");
        let why = error["error"]["message"].as_str().expect("a text");
        assert!(why.contains(&format!("'{option} <TIME>': a time is missing")), "{why}");
    }
    let why = refused(&database, 2, &["call", "list", "--sort", "--limit"]);
    assert!(why.contains("a field is missing"), "{why}");
    json(&database, &["call", "list", "--sort", "-id"]);
}

#[test]
fn a_list_that_is_cut_says_so() {
    let database = sample();
    let add = |from: u32, to: u32| {
        database.execute(&format!(
            "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
             SELECT '+12', now(), 'BUSY', 'n-' || n FROM generate_series({from}, {to}) n"
        ));
    };
    let list = |options: &[&str]| told(&database, &[&["call", "list", "--did", "+12"], options].concat());
    add(1, 50);
    assert_eq!(list(&[]).stderr, "");
    add(51, 51);
    let cut = list(&[]);
    assert_eq!(cut.stderr, "note: these are the newest 50, there are more: --limit N shows N\n");
    assert_eq!(cut.stdout.lines().count(), 51);
    assert_eq!(list(&["--csv"]).stderr, cut.stderr);
    assert_eq!(list(&["--limit", "50"]).stderr, "");
    assert_eq!(list(&["--limit", "51"]).stdout.lines().count(), 52);
    assert_eq!(json(&database, &["call", "list", "--did", "+12"]).as_array().map(Vec::len), Some(50));
}

#[test]
fn ctrl_c_at_a_password_leaves_the_terminal_with_its_echo() {
    let database = sample();
    // a terminal of its own, whose settings are asked for after the program has ended
    let program = database.command().get_program().to_str().expect("UTF-8").to_owned();
    let script = format!("trap : INT; {program} user passwd alice; echo code $?; stty -a");
    let mut command = std::process::Command::new("script");
    command.args(["-qfec", &script, "/dev/null"]).env("SHELL", "/bin/sh");
    for (name, value) in database.command().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("script runs");
    let mut stdout = child.stdout.take().expect("piped");
    let (mut seen, mut bytes) = (String::new(), [0; 1024]);
    while !seen.contains("New password of alice: ") {
        let n = stdout.read(&mut bytes).expect("it writes");
        assert!(n > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    // again, as a person would: the prompt is there a moment before it is read
    let mut keyboard = child.stdin.take().expect("piped");
    let pressing = std::thread::spawn(move || {
        while keyboard.write_all(b"\x03").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    stdout.read_to_string(&mut seen).expect("it ends");
    child.wait().expect("it ends");
    pressing.join().expect("it ends with its reader");
    assert!(seen.contains("code 130"), "{seen}");
    assert!(seen.contains(" echo ") && !seen.contains("-echo "), "{seen}");
}

#[test]
fn a_login_that_postgresql_does_not_know_is_told_what_makes_it() {
    let database = sample();
    let url = database.url.replace("//postgres", "//nosuch");
    let output = database.command().env("DATABASE_URL", &url).args(["user", "list"]).output().expect("it runs");
    assert!(database.url.contains("//postgres"), "another login was tried");
    let why = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(6), "{why}");
    let both = format!(
        "runuser -u postgres -- createuser --createrole nosuch && runuser -u postgres -- createdb --owner nosuch {}",
        database.name
    );
    assert!(why.contains(&both) && why.contains("DATABASE_URL in the environment"), "{why}");
    // also where all else is shown
    let looked = database.command().env("DATABASE_URL", &url).arg("status").output().expect("it runs");
    let why = String::from_utf8(looked.stderr).expect("UTF-8");
    assert!(looked.status.code() == Some(6) && why.contains(&both), "{why}");
    assert_eq!(why.matches("(login \"nosuch\", database").count(), 1, "{why}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.env");
    std::fs::write(&file, format!("DATABASE_URL={}_gone\n", database.url)).expect("own folder");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("own file");
    let mut command = database.command();
    command.env_remove("DATABASE_URL").env("CAPCONDUIT_ENV_FILE", &file).args(["user", "list"]);
    let why = String::from_utf8(command.output().expect("it runs").stderr).expect("UTF-8");
    let create = format!("createdb --owner postgres {}_gone", database.name);
    assert!(why.contains(&create) && why.contains(&format!("from DATABASE_URL in {}", file.display())), "{why}");
}

/// Runs the command that a text ends with, as a person who pastes it into a shell.
#[track_caller]
fn paste(database: &super::Database, text: &str) {
    let command = &text[text.rfind("capconduit ").expect("a command")..];
    let programs = program("capconduit").parent().expect("its folder").display().to_string();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", command]).env("PATH", format!("{programs}:/usr/bin:/bin"));
    let output = shell
        .env("DATABASE_URL", &database.url)
        .env("CAPCONDUIT_ENV_FILE", "/dev/null")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn advice_can_be_pasted() {
    let database = sample();
    let name = "Alice's \"best\" $HOME";
    // another seller has a campaign of this name, too
    json(&database, &["campaign", "set", "Alice Priority", "--name", name]);
    json(&database, &["campaign", "set", "Bob Weighted", "--name", name]);
    let decision = || json(&database, &["route", "explain", "+18005550101"]);
    for (reason, status, what) in [
        ("did_inactive", "", "UPDATE dids SET status = 'inactive'"),
        ("owner_inactive", "", "UPDATE users SET status = 'suspended'"),
        ("no_active_campaign_for_did", "", "UPDATE campaigns SET status = 'paused'"),
        ("no_active_campaign_for_did", "", "DELETE FROM campaign_dids"),
        ("no_active_clients_in_campaign", "", "UPDATE campaign_client_settings SET status = 'inactive'"),
        ("no_active_clients_in_campaign", "", "UPDATE clients SET status = 'inactive'"),
        ("", "REJECTED_TOTAL", "UPDATE campaign_client_settings SET current_total_calls = 9, total_calls_allowed = 7"),
    ] {
        database.execute(what);
        let rejected = decision();
        assert!(rejected["reason"] == reason || rejected["call_status"] == status, "{what}: {rejected:#}");
        paste(&database, rejected["advice"].as_str().expect("a text"));
        assert_eq!(decision()["status"], "proceed", "{what}: {}", rejected["advice"]);
    }
    // every place is taken
    database.execute(
        "UPDATE campaign_client_settings SET status = 'active', total_calls_allowed = NULL, max_concurrency = 1",
    );
    database.execute("UPDATE clients SET status = 'active'");
    let call = |uniqueid: u32| {
        database.value(&format!(
            "SELECT status FROM cc_route('+18005550101', '{uniqueid}', NULL, 'node', '+12', 'Zo', NULL, NULL)"
        ))
    };
    assert!((1..20).map(call).any(|status| status == "reject"));
    let rejected = decision();
    assert_eq!(rejected["call_status"], "REJECTED_CC");
    paste(&database, rejected["advice"].as_str().expect("a text"));
    assert_eq!(decision()["status"], "proceed", "{}", rejected["advice"]);

    // a DID cannot change hands while it feeds campaigns: the hint names them
    let why = run(&database, "", &["did", "set", "+18005550101", "--user", "bob"]);
    assert_eq!(why.code, 4, "{}", why.stderr);
    for command in why.stderr.split(&[';', '\n'][..]).filter(|text| text.contains("capconduit ")) {
        paste(&database, command);
    }
    json(&database, &["did", "set", "+18005550101", "--user", "bob"]);
    // a setting by its campaign alone, and one that is missing
    let why = run(&database, "", &["setting", "show", name, "--user", "bob"]);
    paste(&database, why.stderr.split("; it has").next().expect("a command"));
    json(&database, &["client", "add", "zeta", "--name", "Z", "--contact", "sip:192.0.2.1"]);
    let why = run(&database, "", &["setting", "show", name, "zeta", "--user", "bob"]);
    paste(&database, why.stderr.split(" adds it").next().expect("a command"));
    json(&database, &["setting", "show", name, "zeta", "--user", "bob"]);
}
