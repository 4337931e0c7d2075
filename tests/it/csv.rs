//! DIDs and call records as CSV, out of one database and into another.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};

/// What a spreadsheet, a shell or a database could take for something else.
const HOSTILE: [&str; 8] =
    ["=1+1|cmd", "a,\"b\"", "'; DROP TABLE dids; --", "@SUM(A1)", "Zoë 電話 🙂", "-2+3", "\\N", "null"];

fn sample() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(database: &Database, input: &[u8], arguments: &[&str]) -> Ran {
    let mut child = database
        .command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("piped");
    let bytes = input.to_vec();
    let writer = std::thread::spawn(move || {
        // a program that refuses may be gone before it has read anything
        let _ = stdin.write_all(&bytes);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
fn import(database: &Database, noun: &str, csv: &str, arguments: &[&str]) -> Value {
    let ran = run(database, csv.as_bytes(), &[&[noun, "import", "-", "--json"], arguments].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn dids_go_out_and_come_back() {
    let database = sample();
    for (n, text) in HOSTILE.iter().enumerate() {
        let number = format!("+4420718387{n:02}");
        database.capconduit(&["did", "add", &number, "--user", "bob", &format!("--description={text}")]);
    }
    database.execute("UPDATE dids SET description = E'two\\nlines' WHERE number = '+442071838700'");
    database.capconduit(&["campaign", "add", "A;B \\ \"C\"", "--user", "alice", "--did", "+18005550101"]);
    let csv = database.capconduit(&["did", "export"]);
    assert!(csv.starts_with("number,user,status,description,campaigns\r\n"), "{csv}");
    assert!(csv.contains("+18005550101,alice,active,Television,\"Alice Priority;A\\;B \\\\ \"\"C\"\"\"\r\n"), "{csv}");
    let same = import(&database, "did", &csv, &[]);
    assert_eq!(same, json!({"added": 0, "changed": 0, "unchanged": 12}));

    let rows = "SELECT number, status, description, (SELECT string_agg(g.name, '|' ORDER BY g.id) FROM campaign_dids k
                JOIN campaigns g ON g.id = k.campaign_id WHERE k.did_id = d.id) FROM dids d ORDER BY number";
    let before = database.query(rows);
    // the two lines are no description that the CLI takes, but one that is there
    let csv = csv.replace("\"two\nlines\"", "one");
    database.execute("DELETE FROM dids");
    let back = import(&database, "did", &csv, &[]);
    assert_eq!(back, json!({"added": 12, "changed": 0, "unchanged": 0}));
    let after = database.query(rows);
    assert_eq!(after, before.iter().map(|row| row.replace("two\nlines", "one")).collect::<Vec<_>>());
    assert_eq!(database.capconduit(&["did", "export"]), csv);
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn dids_are_added_and_changed_as_the_columns_say() {
    let database = sample();
    // order is free, a spreadsheet's BOM and line ends are none of the text, what has no column stays
    let csv = "\u{feff}campaigns,number,user\r\nAlice Round Robin;Alice Priority,1 800 555-0101,\r\n,0044 20 7183 8750,bob\r\n,+18005550104,bob\r\n";
    let counts = json!({"added": 1, "changed": 2, "unchanged": 0});
    assert_eq!(import(&database, "did", csv, &["--user", "alice", "--dry-run"]), counts);
    assert_eq!(database.value("SELECT count(*) FROM dids"), "4");
    let id = database.value("SELECT id FROM dids WHERE number = '+18005550101'");
    assert_eq!(import(&database, "did", csv, &["--user", "alice"]), counts);
    let did = |number: &str| -> Value {
        serde_json::from_str(&database.capconduit(&["did", "show", number, "--json"])).expect("JSON")
    };
    let first = did("+18005550101");
    assert_eq!((&first["id"].to_string(), &first["description"]), (&id, &json!("Television")));
    assert_eq!(first["campaigns"], json!(["Alice Priority", "Alice Round Robin"]));
    assert_eq!((&did("+442071838750")["status"], &did("+442071838750")["username"]), (&json!("active"), &json!("bob")));
    assert_eq!((&did("+18005550104")["status"], &did("+18005550104")["campaigns"]), (&json!("inactive"), &json!([])));
    let untouched = "SELECT xmin, updated_at FROM dids ORDER BY id";
    let before = database.query(untouched);
    assert_eq!(import(&database, "did", csv, &["--user", "alice"]), json!({"added": 0, "changed": 0, "unchanged": 3}));
    assert_eq!(database.query(untouched), before);

    // another seller's
    let ran = run(&database, b"number,user\n+18005550103,alice\n", &["did", "import", "-"]);
    assert!(ran.code == 5 && ran.stderr.contains("line 2: DID \"+18005550103\" is bob's; --force"), "{}", ran.stderr);
    import(&database, "did", "number,user\n+18005550103,alice\n", &["--force"]);
    assert_eq!((&did("+18005550103")["username"], &did("+18005550103")["campaigns"]), (&json!("alice"), &json!([])));
    // campaigns of those that name none
    let idle = b"number,user\n+18005550171,alice\n+18005550172,alice\n";
    let ran = run(&database, idle, &["did", "import", "-", "--dry-run"]);
    assert!(ran.code == 0 && ran.stderr.contains("2 new DIDs feed no campaign"), "{}", ran.stderr);
    let csv = "number,user,campaigns\n+18005550171,alice,\n+18005550101,alice,\n+18005550172,alice,Alice Priority\n";
    import(&database, "did", csv, &["--campaign", "Alice Round Robin"]);
    for (number, campaign) in [
        ("+18005550171", "Alice Round Robin"),
        ("+18005550101", "Alice Round Robin"),
        ("+18005550172", "Alice Priority"),
    ] {
        assert_eq!(did(number)["campaigns"], json!([campaign]), "{number}");
    }
    import(&database, "did", "Number\n+18005550172\n", &["--campaign", "Alice Round Robin"]);
    assert_eq!(did("+18005550172")["campaigns"], json!(["Alice Priority", "Alice Round Robin"]));
    let ran = run(&database, b"number\n+18005550172\n", &["did", "import", "-", "--campaign", "Bob Weighted"]);
    let says = "line 2: campaign of alice \"Bob Weighted\" does not exist";
    assert!(ran.code == 5 && ran.stderr.contains(says), "{}", ran.stderr);
    // rules of the site
    let mut command = database.command();
    command.env("CAPCONDUIT_NUMBER_RULES", "+=+,0=+44").args(["did", "import", "-", "--user", "bob"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(b"number\n02071838759\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(did("+442071838759")["username"], "bob");
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn every_bad_line_of_dids_is_named_and_nothing_is_changed() {
    let database = sample();
    let before = database.query("SELECT xmin, d.* FROM dids d ORDER BY id");
    let csv = "number,user,status,description,campaigns\n\
               +18005550199,alice,active,fine,\n\
               acme,alice,,,\n\
               +18005550198,,,,\n\
               +18005550197,alicia,,,\n\
               +18005550196,alice,paused,,\n\
               +18005550195,alice,,\"two\nlines\",\n\
               +18005550194,alice,,,Bob Weighted\n\
               18005550199,alice,,,\n\
               +18005550193,alice\n\
               ,alice,,,\n";
    let ran = run(&database, csv.as_bytes(), &["did", "import", "-"]);
    assert_eq!(ran.code, 5, "{}", ran.stdout);
    for says in [
        "line 3: number \"acme\" is not a phone number",
        "line 4: a new DID needs its seller",
        "line 5: user \"alicia\" does not exist: did you mean \"alice\"?",
        "line 6: status is \"paused\": it must be one of active, inactive",
        "line 7: description \"two\\nlines\" holds '\\n'",
        "line 9: campaign of alice \"Bob Weighted\" does not exist",
        "line 10: DID \"+18005550199\" is in line 2 already",
        "line 11: it has 2 fields, not 5",
        "line 12: there is no number",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    for (csv, says) in [
        (&b"nubmer,user\n"[..], "no column \"nubmer\": did you mean \"number\"?"),
        (b"user\n", "the column number is missing"),
        (b"number,number\n", "the column number is there twice"),
        (b"", "the column number is missing"),
        (b"number,user\n+18005550199,\xff\n", "line 2: it is not UTF-8"),
    ] {
        let ran = run(&database, csv, &["did", "import", "-"]);
        assert!(
            ran.code == 5 && (ran.stderr.contains(says) || ran.stderr.contains("is not UTF-8")),
            "{says}: {}",
            ran.stderr
        );
    }
    assert_eq!(database.query("SELECT xmin, d.* FROM dids d ORDER BY id"), before);
}

/// Imports under these rules.
fn import_by(database: &Database, rules: &str, csv: &str, arguments: &[&str]) -> Ran {
    let mut command = database.command();
    command.env("CAPCONDUIT_NUMBER_RULES", rules).args(["did", "import", "-", "--user", "alice"]).args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(csv.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn numbers_that_are_not_of_one_plan_are_refused() {
    const DEFAULT: &str = "+=+,00=+,=+";
    const AMERICAN: &str = "+=+,011=+,1=+1,=+1";
    let database = sample();
    let numbers = || database.query("SELECT number FROM dids ORDER BY number");
    let before = numbers();
    let national: String = (0..300).map(|n| format!("(212) 555-{:04}\n", 1000 + n)).collect();
    let international: String = (0..199).map(|n| format!("+1800556{n:04}\n")).collect();
    for (rules, lines, says) in [
        // the country is nobody's word
        (DEFAULT, format!("{national}{international}"), "of 300 of 499 new numbers nothing says the country"),
        (DEFAULT, national.clone(), "of 300 of 300 new numbers nothing says the country"),
        (DEFAULT, "18005550191\n".into(), "of the new number nothing says the country"),
        // the country is that of the others
        (
            AMERICAN,
            format!("{national}442071838750\n+18005550191\n"),
            "1 of 302 new numbers would get the country of the others, which have 10 digits",
        ),
        (AMERICAN, "2125551000\n5551000\n2125551001\n".into(), "1 of 3 new numbers would get the country"),
    ] {
        for more in [&["--dry-run"][..], &[], &["--json"]] {
            let ran = import_by(&database, rules, &format!("number\n{lines}"), more);
            assert!(ran.code == 5 && ran.stderr.contains(says), "{rules} {}: {}", ran.code, ran.stderr);
            assert!(ran.stderr.contains("--trust-rules"), "{}", ran.stderr);
        }
        assert_eq!(numbers(), before, "{rules}");
    }
    let ran = import_by(&database, DEFAULT, &format!("number\n{international}{national}"), &[]);
    let first = "line 201: \"(212) 555-1000\" is read as +2125551000\n";
    assert!(ran.stderr.contains(first) && ran.stderr.contains("... and 297 more"), "{}", ran.stderr);

    // what is there is as it was, in whatever form the file has it
    let there = "number\n18005550101\n1 800 555 0102\n+18005550192\n";
    assert_eq!(import_by(&database, DEFAULT, there, &[]).code, 0);
    // the rules add the country of all, or somebody says that they may
    assert_eq!(import_by(&database, AMERICAN, &format!("number\n{national}{international}"), &[]).code, 0);
    assert_eq!(database.value("SELECT count(*) FROM dids WHERE number LIKE '+1212555____'"), "300");
    assert_eq!(import_by(&database, DEFAULT, "number\n442071838751\n+18005550193\n", &["--trust-rules"]).code, 0);
    assert_eq!(import_by(&database, AMERICAN, "number\n5551000\n2125559000\n", &["--trust-rules"]).code, 0);
    for number in ["+442071838751", "+15551000", "+12125559000"] {
        assert!(numbers().contains(&number.to_owned()), "{number}");
    }
}

#[test]
fn what_spreadsheets_make_of_numbers_is_refused() {
    let database = sample();
    let before = database.query("SELECT xmin, d.* FROM dids d ORDER BY id");
    for (cell, why) in [
        ("+18005550113.0", "a decimal number"),
        ("18005550113.00", "a decimal number"),
        ("1.8005550113E10", "no number has 'E'"),
        ("1.80056E+10", "no number has 'E'"),
        ("\"18,005,550,113\"", "no number has ','"),
        ("'+18005550113", "no number has '\\''"),
        ("\"=\"\"+18005550113\"\"\"", "no number has '='"),
        ("#######", "no number has '#'"),
        ("+44 (0)20 7183 8750", "a 0 in parentheses"),
        ("+18005550113;+18005550114", "what follows the ;"),
        ("+18005550113/14", "no number has '/'"),
        ("+1800555\u{a0}0113", "no number has '\\u{a0}'"),
        ("\u{202a}+18005550113", "no number has '\\u{202a}'"),
        ("+1８005550113", "no number has '８'"),
    ] {
        let csv = format!("number,user\n{cell},alice\n");
        let ran = run(&database, csv.as_bytes(), &["did", "import", "-"]);
        assert!(ran.code == 5 && ran.stderr.contains("line 2: number ") && ran.stderr.contains(why), "{}", ran.stderr);
    }
    assert_eq!(database.query("SELECT xmin, d.* FROM dids d ORDER BY id"), before);
}

#[test]
fn ten_thousand_dids_are_imported_at_once() {
    let database = sample();
    let lines: String = (0..10_000).map(|n| format!("+1900{n:07},text {n},Alice Priority\n")).collect();
    let csv = format!("number,description,campaigns\n{lines}");
    assert_eq!(
        import(&database, "did", &csv, &["--user", "alice"]),
        json!({"added": 10_000, "changed": 0, "unchanged": 0})
    );
    assert_eq!(import(&database, "did", &csv, &[]), json!({"added": 0, "changed": 0, "unchanged": 10_000}));
    let exported = database.capconduit(&["did", "export", "--user", "alice"]);
    assert_eq!(exported.lines().count(), 10_003);
}

/// The columns that an import writes, of all records.
const RECORDS: &str =
    "SELECT incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_answered, timestamp_end,
        duration_seconds, billsec_seconds, call_status, hangup_cause_code, hangup_cause_text, asterisk_uniqueid,
        asterisk_linkedid, passed_over, u.username, g.name, d.number, c.client_identifier, s.id IS NOT NULL
    FROM call_logs l LEFT JOIN users u ON u.id = l.user_id LEFT JOIN campaigns g ON g.id = l.campaign_id
    LEFT JOIN dids d ON d.id = l.did_id LEFT JOIN clients c ON c.id = l.client_id
    LEFT JOIN campaign_client_settings s ON s.id = l.campaign_client_setting_id ORDER BY asterisk_uniqueid";

#[test]
fn calls_go_out_and_come_back_and_are_not_counted_again() {
    let postgres = Postgres::shared();
    let database = sample();
    for (n, text) in HOSTILE.iter().enumerate() {
        let text = text.replace('\'', "''");
        database.execute(&format!(
            "INSERT INTO call_logs (incoming_did_number, caller_id_num, caller_id_name, passed_over, timestamp_start, call_status, asterisk_uniqueid)
             VALUES ('{text}', '{text}', E'two\\nlines ' || '{text}', '{text}, acme no_contact', now() - interval '0.123456 s', 'REJECTED_DID_NOT_FOUND', 'h-{n}')"
        ));
    }
    let csv = database.capconduit(&["call", "export"]);
    assert!(csv.starts_with("id,timestamp_start,"), "{csv}");
    let counters = "SELECT id, current_total_calls FROM campaign_client_settings ORDER BY id";
    let (records, counts) = (database.query(RECORDS), database.query(counters));

    // into the same: each is there
    assert_eq!(import(&database, "call", &csv, &[]), json!({"added": 0, "already_there": 14, "skipped": 0}));
    // into one with the same configuration and counters of its own, through PgBouncer
    let other = postgres.database();
    let document = database.capconduit(&["config", "export", "--with-secrets"]);
    assert_eq!(run(&other, document.as_bytes(), &["config", "apply", "-"]).code, 0);
    let pgbouncer = PgBouncer::start(postgres, &other);
    assert_eq!(import(&pgbouncer.database, "call", &csv, &[]), json!({"added": 14, "already_there": 0, "skipped": 0}));
    assert_eq!(other.query(RECORDS), records);
    assert_eq!(other.value("SELECT sum(current_total_calls) FROM campaign_client_settings"), "0");
    assert_eq!(other.capconduit(&["db", "verify", "--json"]), "[]\n");
    assert_eq!(import(&other, "call", &csv, &[]), json!({"added": 0, "already_there": 14, "skipped": 0}));
    let again = pgbouncer.database.capconduit(&["call", "export"]);
    assert_eq!(again.lines().count(), csv.lines().count());
    // a reset still counts from where it is set
    other.capconduit(&["setting", "set", "1", "--current-total-calls", "7"]);
    assert_eq!(other.capconduit(&["db", "verify", "--json"]), "[]\n");

    // records that were removed come back without being counted twice
    database.execute("DELETE FROM call_logs");
    assert_eq!(import(&database, "call", &csv, &[]), json!({"added": 14, "already_there": 0, "skipped": 0}));
    assert_eq!((database.query(RECORDS), database.query(counters)), (records, counts));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    // into a database that knows none of the names
    let empty = postgres.database();
    assert_eq!(import(&empty, "call", &csv, &[]), json!({"added": 14, "already_there": 0, "skipped": 0}));
    assert_eq!(empty.value("SELECT count(*) FROM call_logs WHERE user_id IS NULL AND client_id IS NULL"), "14");
}

#[test]
fn an_export_of_calls_has_the_filters_of_the_list_and_no_limit() {
    let database = sample();
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
         SELECT '+12', now() - n * interval '1 s', 'BUSY', 'many-' || n FROM generate_series(1, 5000) n",
    );
    let lines = |arguments: &[&str]| {
        let csv = database.capconduit(&[&["call", "export", "-"], arguments].concat());
        csv.lines().count() - 1
    };
    assert_eq!(lines(&[]), 5006);
    assert_eq!(lines(&["--status", "BUSY", "--did", "+12"]), 5000);
    assert_eq!(lines(&["--user", "bob", "--client", "borealis"]), 1);
    assert_eq!(lines(&["--from", "2999-01-01"]), 0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls.csv");
    let said = database.capconduit(&["call", "export", file.to_str().expect("UTF-8"), "--campaign", "Alice Priority"]);
    assert!(said.starts_with("3 call records written to "), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("text").lines().count(), 4);
    // a reader that has enough
    let mut child = database.command().args(["call", "export"]).stdout(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn every_bad_record_is_named_and_none_is_written() {
    let database = sample();
    let head = "asterisk_uniqueid,timestamp_start,incoming_did_number,call_status,billsec_seconds,caller_id_num\n";
    let long = "9".repeat(51);
    let csv = format!(
        "{head}u-1,2026-07-01T12:00:00Z,+12,ANSWERED,5,\n\
         ,2026-07-01T12:00:00Z,+12,ANSWERED,5,\n\
         u-3,2026-07-01 12:00,+12,ANSWERED,5,\n\
         u-4,2026-07-01T12:00:00Z,,ANSWERED,5,\n\
         u-5,2026-07-01T12:00:00Z,+12,answered,5,\n\
         u-6,2026-07-01T12:00:00Z,+12,=A(1),5,\n\
         u-7,2026-07-01T12:00:00Z,+12,BUSY,-5,\n\
         u-8,2026-07-01T12:00:00Z,+12,BUSY,,{long}\n\
         u-9,2026-07-01T12:00:00Z,+12\n\
         u-10,0000-01-01T00:00:00Z,+12,BUSY,x,\n"
    );
    let ran = run(&database, csv.as_bytes(), &["call", "import", "-"]);
    assert_eq!(ran.code, 5, "{}", ran.stdout);
    for says in [
        "line 4: timestamp_start \"2026-07-01 12:00\" is not an RFC 3339 time",
        "line 5: incoming_did_number is empty",
        "line 6: call_status is \"answered\": it must be ANSWERED",
        "line 7: call_status is \"=A(1)\"",
        "line 8: billsec_seconds is \"-5\": it must be a whole number from 0",
        "line 9: caller_id_num has 51 characters: at most 50 fit",
        "line 10: it has 3 fields, not 6",
        "line 11: timestamp_start",
        "line 11: billsec_seconds is \"x\"",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    // good ones that were written before the bad one was read
    let many: String = (0..3000).map(|n| format!("m-{n},2026-07-01T12:00:00Z,+12,BUSY,0,\n")).collect();
    let ran = run(&database, format!("{head}{many}bad\n").as_bytes(), &["call", "import", "-"]);
    assert!(ran.code == 5 && ran.stderr.contains("line 3002: it has 1 field,"), "{}", ran.stderr);
    assert_eq!(database.value("SELECT count(*) FROM call_logs"), "6");
    let ran = run(&database, b"asterisk_uniqueid,call_status\n", &["call", "import", "-"]);
    assert!(ran.stderr.contains("the column timestamp_start is missing"), "{}", ran.stderr);
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn what_an_older_back_end_wrote_goes_out_and_comes_back() {
    let database = sample();
    database.execute("DELETE FROM call_logs");
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid) VALUES
         ('+12', now(), 'No Answer', 'w-1'), ('+12', now(), 'completed', 'w-2'), ('+12', now(), 'BUSY', NULL)",
    );
    let csv = database.capconduit(&["call", "export"]);
    let counts = json!({"added": 0, "already_there": 2, "skipped": 1});
    assert_eq!(import(&database, "call", &csv, &[]), counts);
    let other = Postgres::shared().database();
    assert_eq!(import(&other, "call", &csv, &[]), json!({"added": 2, "already_there": 0, "skipped": 1}));
    let said = run(&other, csv.as_bytes(), &["call", "import", "-"]).stdout;
    assert_eq!(said, "0 call records added, 2 there already. 1 line without asterisk_uniqueid skipped.\n");
}

#[test]
fn an_import_that_waits_for_its_input_holds_nothing() {
    let database = sample();
    let mut child = database
        .command()
        .args(["call", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    // more than the pipe holds: once it is taken, the program reads
    let line = "u-1,2026-07-01T12:00:00Z,+12,BUSY\n";
    stdin.write_all(b"asterisk_uniqueid,timestamp_start,incoming_did_number,call_status\n").expect("it reads");
    stdin.write_all(line.repeat(10_000).as_bytes()).expect("it reads");
    let open =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'capconduit'
                AND state LIKE 'idle in transaction%'";
    assert_eq!(database.value(open), "0");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(database.value("SELECT count(*) FROM call_logs WHERE asterisk_uniqueid = 'u-1'"), "1");
}

#[test]
fn what_a_spreadsheet_writes_and_reads() {
    let database = sample();
    // columns separated as where the comma is in numbers, one problem said once
    let csv = "number;user;description\n+18005550161;alice;\"a, b\"\n+18005550162;alice;c\n";
    assert_eq!(import(&database, "did", csv, &[]), json!({"added": 2, "changed": 0, "unchanged": 0}));
    let lines: String = (10..30).map(|n| format!("+180055502{n},nobody\n")).collect();
    let ran = run(&database, format!("number,user\n{lines}").as_bytes(), &["did", "import", "-"]);
    assert_eq!((ran.code, ran.stderr.matches("nobody").count()), (5, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 2: user \"nobody\" does not exist (and in 19 more lines)"), "{}", ran.stderr);

    for (n, text) in HOSTILE.iter().enumerate() {
        let number = format!("+4420718387{n:02}");
        database.capconduit(&["did", "add", &number, "--user", "bob", &format!("--description={text}")]);
    }
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid, caller_id_name)
         VALUES ('+12', now(), 'BUSY', 'f-1', '=1+1'), ('+12', now(), 'BUSY', 'f-2', '-5')",
    );
    let plain = database.capconduit(&["did", "list", "--csv"]);
    assert!(plain.contains(",=1+1|cmd,"), "{plain}");
    for arguments in [&["did", "list", "--csv", "--spreadsheet"][..], &["did", "export", "--spreadsheet"]] {
        let csv = database.capconduit(arguments);
        for says in [",'=1+1|cmd,", ",'@SUM(A1),", ",'-2+3,", "+442071838700,"] {
            assert!(csv.contains(says), "{says}: {csv}");
        }
        assert!(!csv.contains("'+44"), "{csv}");
    }
    let csv = database.capconduit(&["call", "export", "--spreadsheet", "--did", "+12"]);
    assert!(csv.contains(",'=1+1,") && csv.contains(",-5,"), "{csv}");
}

#[test]
fn a_comma_more_is_no_field_and_a_field_more_is_refused() {
    let database = sample();
    let counts = |added: i32| json!({"added": added, "changed": 0, "unchanged": 0});
    for (n, (heading, line)) in [
        ("number,user", "NUMBER,alice,"),
        ("number,user", "NUMBER,alice,,,"),
        ("number,user,", "NUMBER,alice,"),
        ("number,user,,", "NUMBER,alice,,"),
        ("number,,user", "NUMBER,,alice"),
        ("number,user,description", "NUMBER,alice,"),
        ("number;user", "NUMBER;alice;"),
        ("number;user;", "NUMBER;alice;\r\n;;\r\n"),
        ("number,user,", "\"NUMBER\",\"alice\",\"\"\n,,\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let csv = format!("{heading}\n{}\n", line.replace("NUMBER", &format!("+1800555020{n}")));
        assert_eq!(import(&database, "did", &csv, &[]), counts(1), "{csv:?}");
    }
    for (csv, says) in [
        (
            "number,user\n+18005550301,alice,\n+18005550302,alice,x\n",
            "line 3: it has 3 fields, not 2: a text with a comma",
        ),
        (
            "number,user,\n+18005550301,alice,\n+18005550302,alice,x\n",
            "line 3: field 3 is not empty, and line 1 does not name its column",
        ),
        ("number,user,description\n+18005550301,alice\n", "line 2: it has 2 fields, not 3"),
        ("number,user\n+18005550301,alice,,x\n", "line 2: it has 4 fields, not 2"),
    ] {
        let ran = run(&database, csv.as_bytes(), &["did", "import", "-"]);
        assert!(ran.code == 5 && ran.stderr.contains(says), "{csv:?}: {}", ran.stderr);
        assert_eq!(database.value("SELECT count(*) FROM dids WHERE number LIKE '+180055503%'"), "0");
    }
    let calls = "asterisk_uniqueid,timestamp_start,incoming_did_number,call_status,billsec_seconds\n\
                 a-1,2026-07-01T12:00:00Z,+18005550101,BUSY,\n\
                 a-2,2026-07-01T12:00:00Z,+18005550101,ANSWERED,5,\n";
    assert_eq!(import(&database, "call", calls, &[]), json!({"added": 2, "already_there": 0, "skipped": 0}));
    let ran = run(
        &database,
        format!("{calls}a-3,2026-07-01T12:00:00Z,+18005550101,BUSY,5,6\n").as_bytes(),
        &["call", "import", "-"],
    );
    assert!(ran.code == 5 && ran.stderr.contains("line 4: it has 6 fields, not 5"), "{}", ran.stderr);
}

/// `asterisk_uniqueid` and `timestamp_start` of each record of an export.
fn exported(csv: &str) -> Vec<(String, String)> {
    let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().expect("a heading").clone();
    let at = |name: &str| names.iter().position(|column| column == name).expect("a column");
    let (id, start) = (at("asterisk_uniqueid"), at("timestamp_start"));
    reader.records().map(|record| record.expect("a record")).map(|r| (r[id].to_owned(), r[start].to_owned())).collect()
}

#[test]
fn the_oldest_record_is_exported_first_however_late_it_came() {
    let database = sample();
    database.execute("DELETE FROM call_logs");
    let add = |name: &str, from: i32, to: i32, start: &str| {
        database.execute(&format!(
            "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
             SELECT '+12', timestamptz '2026-07-01 12:00Z' + {start}, 'BUSY', '{name}-' || n FROM generate_series({from}, {to}) n"
        ));
    };
    // more than is read at once, the newest first, many at the same time
    add("newest-first", 1, 5000, "(5000 - n / 7) * interval '1 ms'");
    add("together", 1, 4500, "interval '4.5 s'");
    add("replayed", 1, 1, "interval '-1 day'");
    let csv = database.capconduit(&["call", "export"]);
    let records = exported(&csv);
    assert_eq!((records.len(), records[0].0.as_str()), (9501, "replayed-1"));
    let in_order = database.query("SELECT asterisk_uniqueid FROM call_logs ORDER BY timestamp_start, id");
    assert_eq!(records.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), in_order);
    let some = exported(&database.capconduit(&["call", "export", "--from", "2026-07-01 12:00:04", "--status", "BUSY"]));
    assert_eq!(some.len(), records.len() - 1);

    // records that come and go while it is read, before and behind where it is
    let mut child = database.command().args(["call", "export"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut out = child.stdout.take().expect("piped");
    let mut first = [0; 4096];
    std::io::Read::read_exact(&mut out, &mut first).expect("it writes");
    add("late", 1, 3000, "(n - 1500) * interval '1 min'");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).expect("it writes");
    assert!(child.wait().expect("it ends").success());
    let meanwhile = exported(&(String::from_utf8(first.to_vec()).expect("UTF-8") + &rest));
    let were_there: Vec<_> = meanwhile.iter().filter(|(id, _)| !id.starts_with("late")).collect();
    assert_eq!(were_there, records.iter().collect::<Vec<_>>(), "each once");
    let times: Vec<_> =
        meanwhile.iter().map(|(_, at)| at.parse::<chrono::DateTime<chrono::Utc>>().expect("a time")).collect();
    assert!(times.is_sorted());
    let late: std::collections::HashSet<_> = meanwhile.iter().filter(|(id, _)| id.starts_with("late")).collect();
    assert_eq!(late.len(), meanwhile.len() - were_there.len(), "none twice");
    assert!(late.len() >= 1500, "{}", late.len());
}
