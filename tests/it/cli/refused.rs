//! What the CLI refuses: with which exit code, what it says, and that nothing has changed then.

use super::{call_in_flight, refused, run, sample};
use crate::harness::postgres::{Database, Postgres};

/// Everything that the CLI may change.
fn contents(database: &Database) -> Vec<String> {
    let tables = [
        "users",
        "clients",
        "pjsip_endpoints",
        "pjsip_aors",
        "pjsip_auths",
        "dids",
        "campaigns",
        "campaign_dids",
        "campaign_client_settings",
        "call_logs",
        "call_attempts",
    ];
    tables.iter().flat_map(|table| database.query(&format!("SELECT '{table}', t FROM {table} t ORDER BY t"))).collect()
}

#[test]
fn what_is_refused_changes_nothing() {
    let database = sample();
    let long = "x".repeat(256);
    database.execute("INSERT INTO clients (client_identifier, name) VALUES ('global', 'v3.0 has it')");
    let before = contents(&database);
    let refusals: &[(i32, &str, &[&str])] = &[
        // what is there already
        (4, "exists", &["user", "add", "alice", "--email", "new@x.org"]),
        (4, "alice", &["user", "add", "new", "--email", "alice@sample.invalid"]),
        (4, "bob", &["user", "set", "alice", "--role", "admin", "--email", "bob@sample.invalid"]),
        (4, "exists", &["client", "add", "acme", "--name", "A", "--contact", "sip:a"]),
        (4, "exists", &["did", "add", "18005550101", "--user", "alice"]),
        (4, "exists", &["did", "set", "+18005550102", "--number", "18005550101"]),
        (4, "exists", &["campaign", "add", "Alice Priority", "--user", "alice"]),
        (4, "already", &["campaign", "set", "Alice Priority", "--name", "Alice Round Robin"]),
        (4, "exists", &["setting", "add", "Alice Priority", "acme", "--max-concurrency", "1"]),
        // what is another seller's
        (4, "bob", &["did", "add", "+18005550199", "--user", "alice", "--campaign", "Bob Weighted"]),
        (4, "alice", &["campaign", "add", "New", "--user", "bob", "--did", "+18005550103", "--did", "+18005550101"]),
        (4, "bob", &["campaign", "set", "Alice Priority", "--name", "New", "--add-did", "+18005550103"]),
        // what is not there, beside something that is
        (3, "\"alice\"", &["user", "show", "alcie"]),
        (3, "\"acme\"", &["client", "show", "acmee"]),
        (3, "\"+18005550101\"", &["did", "show", "+1800555010"]),
        (3, "\"Alice Priority\"", &["campaign", "show", "alice priority"]),
        (3, "nobody", &["client", "add", "new", "--name", "A", "--contact", "sip:a", "--created-by", "nobody"]),
        (3, "nobody", &["did", "add", "+18005550199", "--user", "nobody"]),
        (
            3,
            "Nope",
            &["did", "add", "+18005550199", "--user", "alice", "--campaign", "Alice Priority", "--campaign", "Nope"],
        ),
        (
            3,
            "does not feed",
            &["campaign", "set", "Alice Priority", "--status", "paused", "--remove-did", "+18005550102"],
        ),
        (3, "no setting", &["setting", "set", "Bob Weighted", "cygnus", "--weight", "3"]),
        (3, "999", &["setting", "show", "999"]),
        // values that break a rule
        (5, "80", &["user", "add", &long, "--email", "a@b"]),
        (5, "all digits", &["user", "add", "4", "--email", "a@b"]),
        (5, "taken in pjsip.conf", &["client", "add", "Carrier", "--name", "A", "--contact", "sip:a"]),
        (5, "[transport-udp]", &["client", "add", "transport-udp", "--name", "A", "--contact", "sip:a"]),
        (5, "taken in pjsip.conf", &["pjsip", "add", "global", "--contact", "sip:a"]),
        (5, "all digits", &["client", "add", "007", "--name", "A", "--contact", "sip:a"]),
        (5, "all digits", &["campaign", "add", "1", "--user", "bob"]),
        (5, "all digits", &["campaign", "set", "Alice Priority", "--name", "2"]),
        (5, "name@domain", &["user", "set", "alice", "--email", "alice"]),
        (5, "100", &["client", "set", "acme", "--name", &long]),
        (5, "empty", &["client", "set", "acme", "--name", ""]),
        (5, "A-Z", &["client", "add", "a/b", "--name", "A", "--contact", "sip:a"]),
        (5, "40", &["client", "add", &long[..41], "--name", "A", "--contact", "sip:a"]),
        (5, "commas", &["client", "set", "acme", "--contact", "sip:a,sip:b"]),
        (5, "sip:", &["pjsip", "set", "acme", "--contact", "PJSIP/acme"]),
        (5, "one line", &["pjsip", "set", "acme", "--callerid", "a\nb"]),
        (5, "codecs", &["pjsip", "set", "acme", "--allow", "ulaw;alaw"]),
        (5, "86400", &["pjsip", "set", "acme", "--qualify-frequency", "-1"]),
        (5, "+18005550101", &["did", "add", "acme", "--user", "alice"]),
        (5, "255", &["did", "set", "+18005550101", "--description", &long]),
        (5, "3600", &["campaign", "set", "Alice Priority", "--dial-timeout-seconds", "0"]),
        (5, "86400", &["campaign", "set", "Alice Priority", "--max-call-seconds", "86401"]),
        (5, "at least 1", &["setting", "set", "Alice Priority", "acme", "--max-concurrency", "0"]),
        (5, "at least 1", &["setting", "set", "Alice Priority", "acme", "--weight", "0"]),
        (5, "unlimited", &["setting", "set", "Alice Priority", "acme", "--total-calls-allowed", "many"]),
        (5, "at least 0", &["setting", "set", "Alice Priority", "acme", "--total-calls-allowed", "-1"]),
        (5, "2147483647", &["setting", "set", "Alice Priority", "acme", "--max-concurrency", "4294967296"]),
        (5, "is not a time", &["call", "list", "--from", "tomorrow"]),
        (5, "is after --to 2026-07-01", &["call", "list", "--from", "2026-07-02", "--to", "2026-07-01"]),
        // the command line itself
        (2, "a whole number from 1", &["setting", "set", "Alice Priority", "acme", "--weight", "many"]),
        (2, "a whole number\n", &["setting", "set", "Alice Priority", "acme", "--forwarding-priority", "1.5"]),
        (2, "a whole number from 1", &["campaign", "set", "Alice Priority", "--dial-timeout-seconds", "30s"]),
        (2, "a whole number from 0", &["pjsip", "set", "acme", "--qualify-frequency", "off"]),
        (2, "too large", &["call", "list", "--limit", "99999999999999999999"]),
        (2, "possible values", &["user", "set", "alice", "--status", "gone"]),
        (2, "possible values", &["campaign", "set", "1", "--routing-strategy", "random"]),
        (2, "nothing to change", &["user", "set", "alice"]),
        (2, "nothing to change", &["client", "set", "acme"]),
        (2, "nothing to change", &["pjsip", "set", "acme"]),
        (2, "nothing to change", &["did", "set", "+18005550101"]),
        (2, "nothing to change", &["campaign", "set", "Alice Priority"]),
        (2, "nothing to change", &["setting", "set", "Alice Priority", "acme"]),
        (2, "--auth-username", &["client", "add", "new", "--name", "A", "--contact", "sip:a", "--auth-password-stdin"]),
        (
            2,
            "--auth-password-stdin",
            &["client", "add", "new", "--name", "A", "--contact", "sip:a", "--auth-username", "u"],
        ),
        (2, "--yes", &["client", "remove", "dormant"]),
        (2, "--yes", &["setting", "remove", "Alice Priority", "acme", "--force"]),
        (2, "--yes", &["campaign", "remove", "Alice Priority", "--force"]),
        (2, "--yes", &["user", "remove", "staff"]),
        (2, "--yes", &["pjsip", "remove", "acme"]),
        // what is in use
        (4, "2 DIDs", &["user", "remove", "alice", "--yes"]),
        (4, "3 campaigns", &["client", "remove", "acme", "--yes"]),
        (4, "1 campaign", &["did", "remove", "+18005550101", "--yes"]),
    ];
    for (code, says, arguments) in refusals {
        let message = refused(&database, *code, arguments);
        assert!(message.contains(says), "{arguments:?}: {message}");
        assert!(!message.contains("duplicate key") && !message.contains("violates"), "{arguments:?}: {message}");
    }
    assert_eq!(contents(&database), before);
}

#[test]
fn a_client_with_calls_in_flight_stays() {
    let database = sample();
    call_in_flight(&database, "up.1");
    database.execute("DELETE FROM campaign_client_settings WHERE campaign_id <> 1");
    for thing in [
        &["client", "remove", "acme"][..],
        &["setting", "remove", "Alice Priority", "acme"],
        &["campaign", "remove", "Alice Priority"],
        &["did", "remove", "+18005550101"],
        &["user", "remove", "alice"],
    ] {
        let why = refused(&database, 4, &[thing, &["--yes"]].concat());
        assert!(why.contains("1 call in flight"), "{why}");
        assert!(why.contains(" disable "), "it says how to stop the calls: {why}");
    }
    // a lease that has run out is no call
    database.execute("UPDATE call_attempts SET lease_expires_at = now()");
    database.execute("DELETE FROM call_logs");
    database.capconduit(&["setting", "remove", "Alice Priority", "acme", "--yes"]);
    database.capconduit(&["client", "remove", "acme", "--yes"]);
}

#[test]
fn what_call_records_name_stays() {
    let database = sample();
    database.execute("DELETE FROM call_logs WHERE id = 4");
    for (remove, uses, lost) in [
        (&["setting", "remove", "Alice Priority", "acme"][..], "2 call records", "name no setting"),
        (
            &["client", "remove", "acme"],
            "settings in 3 campaigns (\"Alice Priority\", \"Alice Round Robin\", \"Bob Weighted\"), 3 call records",
            "name no client",
        ),
        (&["campaign", "remove", "Alice Priority"], "3 call records", "name no campaign"),
        (&["did", "remove", "+18005550103"], "1 campaign (\"Bob Weighted\"), 2 call records", "name no DID"),
        (&["user", "remove", "alice"], "3 call records", "name no user, DID or campaign"),
    ] {
        let why = refused(&database, 4, &[remove, &["--yes"]].concat());
        assert!(why.contains(uses) && why.contains(" disable ") && why.contains("--force"), "{why}");
        let question = refused(&database, 2, &[remove, &["--force"]].concat());
        let asked =
            format!("{}? The call records stay, but {lost} any more.", uses.rsplit(", ").next().unwrap_or(uses));
        assert!(question.contains("Remove ") && question.contains(&asked), "{question}");
    }
    let named = "SELECT count(*) FROM call_logs WHERE client_id IS NOT NULL";
    assert_eq!(database.value(named), "5");
    database.capconduit(&["client", "remove", "acme", "--force", "--yes"]);
    assert_eq!(database.value(named), "2");
    assert_eq!(database.value("SELECT count(*) FROM call_logs"), "5", "records stay");
}

#[test]
fn a_command_in_a_hint_can_be_pasted() {
    let database = sample();
    let added = run(&database, "", &["user", "add", "Pat O'Hara; x", "--email", "pat@x.org"]);
    assert!(added.stdout.contains(r"capconduit user passwd 'Pat O'\''Hara; x'"), "{}", added.stdout);
    database.execute("UPDATE users SET username = 'Alice B' WHERE username = 'alice'");
    // v3.0 took any identifier
    database.execute("INSERT INTO clients (client_identifier, name) VALUES ('old one', 'O')");
    database.execute("UPDATE dids SET number = '(800) 555' WHERE number = '+18005550102'");
    for (code, says, arguments) in [
        (4, "user disable 'Alice B'", &["user", "remove", "Alice B"][..]),
        (4, "did disable '(800) 555'", &["did", "remove", "(800) 555"]),
        (4, "--user 'Alice B' --remove-did +18005550101", &["did", "set", "+18005550101", "--user", "bob"]),
        (
            3,
            "setting add 'Alice Priority' 'old one' --max-concurrency 1 adds",
            &["setting", "show", "Alice Priority", "old one"],
        ),
        (3, "pjsip add 'old one' --contact", &["client", "set", "old one", "--contact", "sip:192.0.2.1"]),
    ] {
        let why = refused(&database, code, arguments);
        assert!(why.contains(says), "{why}");
    }
    database.execute("UPDATE call_logs SET client_id = (SELECT id FROM clients WHERE name = 'O') WHERE id = 1");
    let why = refused(&database, 4, &["client", "remove", "old one"]);
    assert!(why.contains("client disable 'old one'"), "{why}");
}

#[test]
fn bad_passwords_are_refused_and_not_repeated() {
    let database = Postgres::shared().database();
    let add = ["user", "add", "carol", "--email", "carol@x.org", "--password-stdin"];
    for bad in ["short", "", &"secret".repeat(13), "contr\u{7}ol-secret"] {
        let outcome = run(&database, &format!("{bad}\n"), &add);
        assert_eq!(outcome.code, 5, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    }
    assert_eq!(database.value("SELECT count(*) FROM users"), "0");
}

#[test]
fn two_who_add_the_same_client_at_once() {
    let database = Postgres::shared().database();
    let add = ["client", "add", "twin", "--name", "T", "--contact", "sip:192.0.2.1"];
    let mut codes: Vec<i32> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| run(&database, "", &add).code)).collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    codes.sort_unstable();
    assert_eq!(codes, [0, 4, 4, 4, 4, 4]);
    assert_eq!(database.value("SELECT count(*) FROM ps_endpoints"), "1");
}

#[test]
fn a_database_that_is_away_is_exit_75() {
    let nowhere = Database { url: "postgresql://x:secret@127.0.0.1:9/x".into(), name: "x".into() };
    let why = refused(&nowhere, 75, &["client", "list"]);
    assert!(why.contains("127.0.0.1:9") && !why.contains("secret"), "{why}");
}
