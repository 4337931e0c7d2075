//! The admin CLI through the real program: each noun's life, and what scripts read of it. What is
//! refused is in `refused`.

mod echo;
mod refused;
mod words;

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};
use crate::stage::stage;

/// A database with the sample data: seller alice with campaigns 1 and 2, bob with 3.
fn sample() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database
}

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(database: &Database, input: &str, arguments: &[&str]) -> Outcome {
    let mut child = database
        .command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // a program that refuses may be gone before it has read anything
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Outcome { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The document that a command prints; it must succeed.
fn json(database: &Database, arguments: &[&str]) -> Value {
    json_with(database, "", arguments)
}

fn json_with(database: &Database, input: &str, arguments: &[&str]) -> Value {
    let outcome = run(database, input, &[arguments, &["--json"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", outcome.stdout))
}

/// Runs what must be refused with this exit code, as a person and as a script; gives the message.
#[track_caller]
fn refused(database: &Database, code: i32, arguments: &[&str]) -> String {
    let person = run(database, "", arguments);
    assert_eq!((person.code, person.stdout.as_str()), (code, ""), "{arguments:?}: {}", person.stderr);
    let script = run(database, "", &[arguments, &["--json"]].concat());
    assert_eq!((script.code, script.stdout.as_str()), (code, ""), "{arguments:?}: {}", script.stderr);
    let error: Value = serde_json::from_str(&script.stderr).expect("one JSON document");
    let kind = match code {
        2 => "usage",
        3 => "not_found",
        4 => "conflict",
        5 => "invalid",
        6 => "permission",
        75 => "unreachable",
        _ => "failed",
    };
    assert_eq!(error["error"]["kind"], kind, "{arguments:?}");
    person.stderr
}

/// The fields of an object that are named in `expected`, as they are.
#[track_caller]
fn assert_has(object: &Value, expected: Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&object[name], value, "{name} of {object:#}");
    }
}

/// Claims an attempt of campaign 1, as a call to its DID does.
fn call_in_flight(database: &Database, uniqueid: &str) {
    let sql =
        format!("SELECT status FROM cc_route('+18005550101', '{uniqueid}', NULL, 'node', '+12', 'Zo', NULL, NULL)");
    assert_eq!(database.value(&sql), "proceed");
}

#[test]
fn the_life_of_a_user() {
    let database = Postgres::shared().database();
    let add = ["user", "add", "carol", "--email", "carol@x.org", "--full-name", "Carol C.", "--password-stdin"];
    let user = json_with(&database, "correct horse\nnot this\n", &add);
    assert_has(
        &user,
        json!({"username": "carol", "email": "carol@x.org", "role": "user", "status": "active",
               "full_name": "Carol C.", "company_name": null, "password_set": true}),
    );
    let hash = database.value("SELECT password_hash FROM users");
    assert!(hash.starts_with("$2b$12$") && bcrypt::verify("correct horse", &hash).expect("a hash"), "{hash}");

    // only what is given changes, empty clears
    let user = json(&database, &["user", "set", "carol", "--role", "staff", "--full-name", "", "--company-name", "C"]);
    assert_has(&user, json!({"role": "staff", "full_name": null, "company_name": "C", "email": "carol@x.org"}));
    assert_eq!(database.value("SELECT updated_at > created_at FROM users"), "t");
    assert_eq!(database.value("SELECT password_hash FROM users"), hash);
    json_with(&database, "another one\r\n", &["user", "passwd", "carol", "--password-stdin"]);
    let hash = database.value("SELECT password_hash FROM users");
    assert!(bcrypt::verify("another one", &hash).expect("a hash"));

    assert_eq!(
        json_with(&database, "another one\n", &["user", "passwd", "carol", "--password-stdin", "--verify"]),
        json!({"matches": true})
    );
    let wrong = run(&database, "wrong one\n", &["user", "passwd", "carol", "--password-stdin", "--verify"]);
    assert_eq!((wrong.code, wrong.stderr.as_str()), (1, "error: the password is not user \"carol\"'s\n"));
    assert_eq!(database.value("SELECT password_hash FROM users"), hash);
    refused(&database, 2, &["user", "passwd", "carol"]);

    let without = run(&database, "", &["user", "add", "dora", "--email", "dora@x.org"]);
    assert_eq!(without.code, 0);
    assert!(without.stdout.contains("no password"), "{}", without.stdout);
    assert_eq!(database.value("SELECT password_hash FROM users WHERE username = 'dora'"), "!");

    let shown =
        [&["user", "show", "1"][..], &["user", "list"], &["user", "list", "--json"], &["user", "remove", "1", "-y"]];
    for verb in shown {
        let text = database.capconduit(verb);
        assert!(text.contains("carol") && !text.contains("$2b$"), "{text}");
    }
    assert_eq!(json(&database, &["user", "list"])[0]["username"], "dora");
    refused(&database, 3, &["user", "show", "carol"]);
}

#[test]
fn the_life_of_a_client() {
    let database = sample();
    let add = [
        "client",
        "add",
        "zeta-2",
        "--name",
        "Zeta",
        "--contact",
        "sip:pbx.zeta.example:5061;transport=tls",
        "--department",
        "Sales",
        "--created-by",
        "admin",
        "--callerid",
        "Zeta <+1800>",
        "--transport",
        "tls",
        "--qualify-frequency",
        "30",
        "--auth-username",
        "us",
        "--auth-password-stdin",
    ];
    let client = json_with(&database, "pa;ss^word\n", &add);
    assert_has(
        &client,
        json!({"client_identifier": "zeta-2", "name": "Zeta", "department": "Sales", "status": "active",
               "notes": null, "created_by": 1, "contact": "sip:pbx.zeta.example:5061;transport=tls"}),
    );
    assert_has(
        &client["endpoint"],
        json!({"id": "zeta-2", "aors": "zeta-2", "context": "from-client", "disallow": "all",
               "allow": "ulaw,alaw,gsm", "direct_media": "no", "outbound_auth": "zeta-2", "transport": "tls",
               "callerid": "Zeta <+1800>", "auth": null}),
    );
    assert_has(
        &client["aor"],
        json!({"id": "zeta-2", "contact": "sip:pbx.zeta.example:5061;transport=tls", "max_contacts": 1,
               "qualify_frequency": 30}),
    );
    assert_has(
        &client["auth"],
        json!({"id": "zeta-2", "auth_type": "userpass", "username": "us", "password_set": true, "realm": null}),
    );
    assert_eq!(client["auth"].get("password"), None);
    // as Asterisk's realtime decodes it
    assert_eq!(
        database.value("SELECT contact FROM ps_aors WHERE id = 'zeta-2'"),
        "sip:pbx.zeta.example:5061^3Btransport=tls"
    );
    assert_eq!(database.value("SELECT password FROM ps_auths WHERE id = 'zeta-2'"), "pa^3Bss^5Eword");

    let client =
        json(&database, &["client", "set", "zeta-2", "--contact", "sip:192.0.2.1", "--notes", "N", "--created-by", ""]);
    assert_has(&client, json!({"contact": "sip:192.0.2.1", "notes": "N", "created_by": null, "name": "Zeta"}));
    assert_eq!(client, json(&database, &["client", "show", &client["id"].to_string()]));
    for verb in [&["client", "show", "zeta-2"][..], &["pjsip", "show", "zeta-2"], &["pjsip", "list", "--json"]] {
        assert!(!database.capconduit(verb).contains("ss^"), "{verb:?}");
    }

    json(&database, &["setting", "add", "Alice Priority", "zeta-2", "--max-concurrency", "1"]);
    let why = refused(&database, 4, &["client", "remove", "zeta-2", "--yes"]);
    assert!(why.contains("settings in 1 campaign (\"Alice Priority\")") && why.contains("--force"), "{why}");
    let why = refused(&database, 2, &["client", "remove", "zeta-2", "--force"]);
    assert!(why.contains("--yes"), "{why}");
    json(&database, &["client", "remove", "zeta-2", "--force", "--yes"]);
    for table in
        ["clients WHERE client_identifier", "pjsip_endpoints WHERE id", "pjsip_aors WHERE id", "pjsip_auths WHERE id"]
    {
        assert_eq!(database.value(&format!("SELECT count(*) FROM {table} = 'zeta-2'")), "0", "{table}");
    }
}

#[test]
fn the_sip_side_of_a_client_that_v3_left_without_one() {
    let database = sample();
    database.execute("INSERT INTO clients (client_identifier, name) VALUES ('old', 'Old')");
    let shown = json(&database, &["pjsip", "show", "old"]);
    assert_has(&shown, json!({"endpoint": null, "aor": null, "auth": null}));
    assert_eq!(shown["problems"], json!(["there is no endpoint", "there is no AOR"]));
    refused(&database, 3, &["pjsip", "set", "old", "--contact", "sip:192.0.2.1"]);
    refused(&database, 3, &["client", "set", "old", "--contact", "sip:192.0.2.1"]);
    refused(&database, 2, &["pjsip", "add", "old"]);
    let added = json(&database, &["pjsip", "add", "old", "--contact", "sip:192.0.2.1", "--allow", "alaw"]);
    assert_has(
        &added["endpoint"],
        json!({"id": "old", "context": "from-client", "allow": "alaw", "outbound_auth": null}),
    );
    assert_eq!(added["problems"], json!([]));
    refused(&database, 4, &["pjsip", "add", "old", "--contact", "sip:192.0.2.1"]);

    let set = [
        "pjsip",
        "set",
        "old",
        "--auth-username",
        "u",
        "--auth-password-stdin",
        "--from-domain",
        "x.example",
        "--allow",
        "",
    ];
    let changed = json_with(&database, "secret\n", &set);
    assert_has(&changed["endpoint"], json!({"outbound_auth": "old", "from_domain": "x.example", "allow": null}));
    assert_has(&changed["auth"], json!({"username": "u", "password_set": true}));
    assert_eq!(database.value("SELECT config_updated_at IS NOT NULL FROM pjsip_endpoints WHERE id = 'old'"), "t");
    json(&database, &["pjsip", "remove", "old", "--auth", "--yes"]);
    assert_has(&json(&database, &["pjsip", "show", "old"])["endpoint"], json!({"outbound_auth": null}));
    refused(&database, 3, &["pjsip", "remove", "old", "--auth", "--yes"]);
    json(&database, &["pjsip", "remove", "old", "--yes"]);
    assert_eq!(database.value("SELECT count(*) FROM ps_endpoints WHERE id = 'old'"), "0");

    // what v3.0 may have stored: Asterisk takes it for two values
    database.execute("UPDATE pjsip_aors SET contact = 'sip:x;transport=tcp' WHERE id = 'acme'");
    let problems = json(&database, &["pjsip", "show", "acme"])["problems"].to_string();
    assert!(problems.contains("bare ;"), "{problems}");
}

/// Runs a line of Python with its bcrypt, which is what the web back end hashes with.
fn python_bcrypt(line: &str) -> String {
    // the system's: another may be first on the PATH, without bcrypt
    let output = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &format!("import bcrypt; print({line})")])
        .output()
        .expect("/usr/bin/python3 is there: tests/setup installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn passwords_are_the_web_back_ends_too() {
    let database = sample();
    for password in ["correct horse", "pässwörd € \\ ' \"x", &"a".repeat(72)] {
        json_with(&database, &format!("{password}\n"), &["user", "passwd", "alice", "--password-stdin"]);
        let hash = database.value("SELECT password_hash FROM users WHERE username = 'alice'");
        let literal = format!("bytes.fromhex('{}')", password.bytes().map(|b| format!("{b:02x}")).collect::<String>());
        assert_eq!(python_bcrypt(&format!("bcrypt.checkpw({literal}, b'{hash}')")), "True", "{password}");
        assert_eq!(python_bcrypt(&format!("bcrypt.checkpw({literal}[1:], b'{hash}')")), "False", "{password}");

        let theirs = python_bcrypt(&format!("bcrypt.hashpw({literal}, bcrypt.gensalt()).decode()"));
        database.execute(&format!("UPDATE users SET password_hash = '{theirs}' WHERE username = 'alice'"));
        let verify = ["user", "passwd", "alice", "--password-stdin", "--verify"];
        assert_eq!(run(&database, &format!("{password}\n"), &verify).code, 0, "{password}");
        assert_eq!(run(&database, &format!("{}\n", &password[1..]), &verify).code, 1, "{password}");
    }
}

#[test]
fn what_is_switched_off_gets_no_calls_until_it_is_switched_on() {
    let database = sample();
    let decision = || json(&database, &["route", "explain", "+18005550101"]);
    let switches = [
        (&["did", "+18005550101"][..], "did_inactive", "capconduit did enable"),
        (&["user", "alice"], "owner_inactive", "capconduit user enable alice"),
        (&["campaign", "Alice Priority"], "no_active_campaign_for_did", "\"Alice Priority\" is inactive"),
    ];
    for (thing, reason, advice) in switches {
        let verb = |verb: &str| json(&database, &[&[thing[0], verb], &thing[1..]].concat());
        verb("disable");
        let rejected = decision();
        assert_eq!(rejected["reason"], reason);
        assert!(rejected["advice"].as_str().is_some_and(|text| text.contains(advice)), "{rejected:#}");
        verb("enable");
        // what is as it should be stays so
        verb("enable");
        assert_has(&decision(), json!({"status": "proceed", "advice": null}));
    }
    json(&database, &["campaign", "pause", "Alice Priority"]);
    let advice = decision()["advice"].to_string();
    assert!(advice.contains("is paused") && advice.contains("capconduit campaign enable 'Alice Priority'"), "{advice}");
    json(&database, &["campaign", "enable", "1"]);

    let eligible = || {
        let decision = decision();
        let links = decision["candidates"].as_array().expect("links").clone();
        links.iter().filter(|link| link["eligible"] == true).count()
    };
    assert_eq!(eligible(), 3);
    json(&database, &["setting", "disable", "Alice Priority", "acme"]);
    assert_eq!(eligible(), 2);
    json(&database, &["client", "disable", "borealis"]);
    assert_eq!(eligible(), 1);
    json(&database, &["setting", "enable", "Alice Priority", "acme"]);
    json(&database, &["client", "enable", "borealis"]);
    assert_eq!(eligible(), 3);

    // a number as v3.0 may have it
    database.execute("UPDATE dids SET number = '18005550101' WHERE number = '+18005550101'");
    let advice = decision()["advice"].to_string();
    assert!(advice.contains("capconduit did set 18005550101 --number +18005550101"), "{advice}");
}

#[test]
fn sip_options_that_asterisk_refuses_together_are_refused() {
    let database = sample();
    for options in [&["--timers-min-se", "2000"][..], &["--timers-min-se", "300", "--timers-sess-expires", "100"]] {
        let why = refused(&database, 5, &[&["pjsip", "set", "acme"], options].concat());
        assert!(why.contains("acme: timers_min_se is "), "{why}");
        let add = ["client", "add", "timed", "--name", "T", "--contact", "sip:127.0.0.1:9"];
        refused(&database, 5, &[&add, options].concat());
    }
    json(&database, &["pjsip", "set", "acme", "--timers-min-se", "300", "--timers-sess-expires", "600"]);
    refused(&database, 5, &["pjsip", "set", "acme", "--timers-sess-expires", "100"]);
    let document =
        database.capconduit(&["config", "export"]).replace("\"timers_min_se\": 300", "\"timers_min_se\": 900");
    let applied = run(&database, &document, &["config", "apply", "-"]);
    assert!(applied.code == 5 && applied.stderr.contains("timers_min_se is 900"), "{}", applied.stderr);
    assert_eq!(database.value("SELECT timers_min_se FROM pjsip_endpoints WHERE id = 'acme'"), "300");
}

#[test]
fn lists_are_ordered_cut_and_printed_as_asked() {
    let database = sample();
    let numbers = |options: &[&str]| -> Vec<String> {
        let list = json(&database, &[&["did", "list"], options].concat());
        list.as_array()
            .expect("a list")
            .iter()
            .map(|did| did["number"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(numbers(&["--sort", "-number", "--limit", "2"]), ["+18005550104", "+18005550103"]);
    assert_eq!(numbers(&["--offset", "3"]), ["+18005550104"]);
    assert_eq!(numbers(&["--sort", "status,-username,number"])[0], "+18005550103");
    let chosen = json(&database, &["client", "list", "--columns", "name,client_identifier", "--limit", "1"]);
    assert_eq!(chosen, json!([{"name": "Acme Support", "client_identifier": "acme"}]));
    assert_eq!(
        database.capconduit(&["did", "list", "--columns", "number,campaigns", "--csv", "--limit", "1"]),
        "number,campaigns\r\n+18005550101,Alice Priority\r\n"
    );
    let why = refused(&database, 2, &["did", "list", "--sort", "numbr"]);
    assert!(why.contains("no field \"numbr\"") && why.contains("number"), "{why}");
    let calls = json(&database, &["call", "list", "--limit", "3", "--sort", "billsec_seconds", "--columns", "id"]);
    assert_eq!(calls.as_array().map(Vec::len), Some(3));
    let why = refused(&database, 5, &["call", "list", "--status", "ANSWRED"]);
    assert!(why.contains("did you mean \"ANSWERED\""), "{why}");
}

#[test]
fn asterisk_reads_what_was_given() {
    let (stage, _turn) = stage();
    let add = [
        "client",
        "add",
        "cli-reads",
        "--name",
        "X",
        "--contact",
        "sip:line@127.0.0.1:9;transport=udp;x=1",
        "--qualify-frequency",
        "0",
        "--callerid",
        "A; B <12>",
        "--auth-username",
        "us;er",
        "--auth-password-stdin",
    ];
    json_with(&stage.database, " p;a^3Bss \n", &add);
    let asterisk = |command: &str| stage.ringing.cli(command);
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap_or_default();
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    let aor = asterisk("pjsip show aor cli-reads");
    assert_eq!(value(&aor, "contact").as_deref(), Some("sip:line@127.0.0.1:9;transport=udp;x=1"), "{aor}");
    let auth = asterisk("pjsip show auth cli-reads");
    assert_eq!(value(&auth, "username").as_deref(), Some("us;er"), "{auth}");
    assert_eq!(value(&auth, "password").as_deref(), Some(" p;a^3Bss "), "{auth}");
    let endpoint = asterisk("pjsip show endpoint cli-reads");
    assert_eq!(value(&endpoint, "callerid").as_deref(), Some("\"A; B\" <12>"), "{endpoint}");
    assert_eq!(value(&endpoint, "outbound_auth").as_deref(), Some("cli-reads"), "{endpoint}");
}

#[test]
fn the_life_of_a_did() {
    let database = sample();
    let did = json(
        &database,
        &["did", "add", "001 (800) 555-0199", "--user", "alice", "--campaign", "Alice Priority", "--campaign", "2"],
    );
    assert_has(
        &did,
        json!({"number": "+18005550199", "username": "alice", "status": "active", "description": null,
               "campaigns": ["Alice Priority", "Alice Round Robin"]}),
    );
    assert_eq!(did, json(&database, &["did", "show", "18005550199"]));
    assert_eq!(did, json(&database, &["did", "show", &did["id"].to_string()]));
    assert_eq!(json(&database, &["did", "list", "--campaign", "Alice Priority"]).as_array().map(Vec::len), Some(2));
    let did = json(&database, &["did", "set", "18005550199", "--status", "inactive", "--description", "D"]);
    assert_has(&did, json!({"status": "inactive", "description": "D", "username": "alice"}));

    let why = refused(&database, 4, &["did", "set", "18005550199", "--user", "bob"]);
    assert!(why.contains("feeds 2 campaigns"), "{why}");
    refused(&database, 4, &["did", "remove", "18005550199", "--yes"]);
    for campaign in ["1", "2"] {
        json(&database, &["campaign", "set", campaign, "--remove-did", "18005550199"]);
    }
    json(&database, &["did", "set", "18005550199", "--user", "bob", "--number", "+18005550198"]);
    assert_has(&json(&database, &["did", "show", "+18005550198"]), json!({"username": "bob", "campaigns": []}));
    json(&database, &["did", "remove", "+18005550198", "--yes"]);
    refused(&database, 3, &["did", "show", "+18005550198"]);
}

#[test]
fn the_life_of_a_campaign() {
    let database = sample();
    let add =
        ["campaign", "add", "Alice Priority", "--user", "bob", "--did", "18005550103", "--dial-timeout-seconds", "15"];
    let campaign = json(&database, &add);
    assert_has(
        &campaign,
        json!({"name": "Alice Priority", "username": "bob", "status": "active", "routing_strategy": "priority",
               "dial_timeout_seconds": 15, "max_call_seconds": 14400, "dids": ["+18005550103"], "settings": []}),
    );
    let with_clients = ["campaign", "add", "Two", "--user", "bob", "--client", "acme:5", "--client", "borealis:3"];
    let two = json(&database, &with_clients);
    assert_has(&two["settings"][1], json!({"client_identifier": "borealis", "max_concurrency": 3}));
    json(&database, &["campaign", "remove", "Two", "--yes"]);
    for (bad, code) in [("acme", 2), ("acme:0", 5), ("acme:x", 2), ("acne:5", 3)] {
        refused(&database, code, &["campaign", "add", "Two", "--user", "bob", "--client", bad]);
    }
    refused(&database, 4, &["campaign", "add", "Two", "--user", "bob", "--client", "acme:1", "--client", "1:2"]);
    refused(&database, 3, &["campaign", "show", "Two"]);

    // the name alone is two sellers' now
    let why = refused(&database, 5, &["campaign", "show", "Alice Priority"]);
    assert!(why.contains("alice's (id 1)") && why.contains("bob's (id 4)") && why.contains("--user"), "{why}");
    refused(&database, 5, &["setting", "add", "Alice Priority", "cygnus", "--max-concurrency", "1"]);
    json(&database, &["setting", "add", "Alice Priority", "cygnus", "--user", "bob", "--max-concurrency", "1"]);

    let set = [
        "campaign",
        "set",
        "Alice Priority",
        "--user",
        "bob",
        "--name",
        "Bob Priority",
        "--routing-strategy",
        "weighted",
        "--status",
        "paused",
        "--add-did",
        "+18005550104",
        "--remove-did",
        "+18005550103",
    ];
    let campaign = json(&database, &set);
    assert_has(
        &campaign,
        json!({"name": "Bob Priority", "routing_strategy": "weighted", "status": "paused",
               "dial_timeout_seconds": 15, "dids": ["+18005550104"], "live_calls": 0}),
    );
    assert_has(&campaign["settings"][0], json!({"client_identifier": "cygnus", "live_calls": 0, "max_concurrency": 1}));
    assert_eq!(campaign, json(&database, &["campaign", "show", "4"]));
    let names = |list: Value| list.as_array().map(|l| l.iter().map(|c| c["name"].clone()).collect::<Vec<_>>());
    assert_eq!(
        names(json(&database, &["campaign", "list", "--user", "bob"])),
        Some(vec![json!("Bob Priority"), json!("Bob Weighted")])
    );
    json(&database, &["campaign", "remove", "Bob Priority", "--yes"]);
    assert_eq!(database.value("SELECT count(*) FROM campaign_client_settings WHERE campaign_id = 4"), "0");
}

#[test]
fn the_life_of_a_setting() {
    let database = sample();
    let add = [
        "setting",
        "add",
        "Bob Weighted",
        "cygnus",
        "--max-concurrency",
        "3",
        "--forwarding-priority",
        "-2",
        "--total-calls-allowed",
        "10",
    ];
    let setting = json(&database, &add);
    assert_has(
        &setting,
        json!({"campaign_name": "Bob Weighted", "client_identifier": "cygnus", "max_concurrency": 3, "status": "active",
               "total_calls_allowed": 10, "current_total_calls": 0, "forwarding_priority": -2, "weight": 100,
               "live_calls": 0}),
    );
    let name = ["setting", "set", "Bob Weighted", "cygnus"];
    let set = |options: &[&str]| json(&database, &[&name[..], options].concat());
    assert_has(&set(&["--current-total-calls", "7"]), json!({"current_total_calls": 7, "total_calls_allowed": 10}));
    assert_has(
        &set(&["--total-calls-allowed", "unlimited"]),
        json!({"total_calls_allowed": null, "current_total_calls": 7}),
    );
    assert_has(
        &set(&["--reset-total-calls", "--weight", "1"]),
        json!({"current_total_calls": 0, "weight": 1, "max_concurrency": 3}),
    );
    assert_eq!(
        json(&database, &["setting", "show", "Bob Weighted", "cygnus"]),
        json(&database, &["setting", "show", "8"])
    );
    json(&database, &["setting", "remove", "Bob Weighted", "cygnus", "--yes"]);
    let why = refused(&database, 3, &["setting", "show", "Bob Weighted", "cygnus"]);
    assert!(why.contains("no setting in campaign"), "{why}");

    call_in_flight(&database, "up.1");
    call_in_flight(&database, "up.2");
    call_in_flight(&database, "gone.1");
    database.execute("UPDATE call_attempts SET lease_expires_at = now() WHERE asterisk_uniqueid = 'gone.1'");
    assert_has(&json(&database, &["setting", "show", "Alice Priority", "acme"]), json!({"live_calls": 2}));
    assert_has(&json(&database, &["campaign", "show", "Alice Priority"]), json!({"live_calls": 2}));
    let listed = json(&database, &["setting", "list", "--client", "acme", "--user", "alice"]);
    assert_eq!(
        listed.as_array().map(|l| l.iter().map(|s| s["live_calls"].clone()).collect()),
        Some(vec![json!(2), json!(0)])
    );
}

#[test]
fn calls_are_listed_and_shown() {
    let database = sample();
    let ids = |options: &[&str]| -> Vec<i64> {
        let list = json(&database, &[&["call", "list"], options].concat());
        list.as_array().expect("a list").iter().map(|call| call["id"].as_i64().expect("a number")).collect()
    };
    assert_eq!(ids(&[]), [6, 5, 4, 3, 2, 1], "newest first");
    assert_eq!(ids(&["--limit", "2", "--offset", "1"]), [5, 4]);
    assert_eq!(ids(&["--campaign", "Alice Priority"]), [3, 2, 1]);
    assert_eq!(ids(&["--client", "acme"]), [6, 2, 1]);
    assert_eq!(ids(&["--user", "bob"]), [6, 5]);
    assert_eq!(ids(&["--did", "1 800 555-0103"]), [6, 5]);
    assert_eq!(ids(&["--did", "+19995550000"]), [0; 0], "not a DID, but may have been called");
    assert_eq!(ids(&["--status", "answered,busy", "--user", "alice"]), [2, 1]);
    assert_eq!(ids(&["--status", "rejected*"]), [4]);
    assert_eq!(ids(&["--status", "NO*,REJECTED_CC"]), [4, 3]);
    for slip in ["REJECTED%", "A_SWERED", "*ED"] {
        refused(&database, 5, &["call", "list", "--status", slip]);
    }
    let help = database.capconduit(&["call", "list", "--help"]);
    assert!(help.contains("REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID") && help.contains("REJECTED*"), "{help}");
    database.execute(
        "UPDATE call_logs SET timestamp_start = '2026-07-01 00:00:00Z'::timestamptz + (id - 1) * interval '12 hours'",
    );
    assert_eq!(ids(&["--from", "2026-07-01", "--to", "2026-07-02"]), [4, 3, 2, 1], "the last day is included");
    assert_eq!(ids(&["--from", "2026-07-01T12:00:00Z", "--to", "2026-07-02T02:00:00+02:00"]), [2]);

    let call = json(&database, &["call", "show", "sample-5"]);
    assert_has(
        &call,
        json!({"id": 5, "call_status": "ANSWERED", "caller_id_name": "Küche, \"Zoë\"", "timestamp_start": "2026-07-03T00:00:00Z",
               "username": "bob", "client_identifier": "borealis", "attempts": []}),
    );
    assert_eq!(call, json(&database, &["call", "show", "5"]));

    assert_eq!(json(&database, &["call", "active"]), json!([]));
    call_in_flight(&database, "1721555999.42");
    let active = json(&database, &["call", "active"]);
    assert_has(
        &active[0],
        json!({"asterisk_uniqueid": "1721555999.42", "campaign_name": "Alice Priority", "client_identifier": "acme",
               "attempt_number": 1, "system_name": "node", "released_at": null}),
    );
    let up = json(&database, &["call", "show", "1721555999.42"]);
    assert_has(&up, json!({"call_status": null, "attempts": active}));
    refused(&database, 3, &["call", "show", "1721555999.43"]);
}

#[test]
fn help_says_defaults_and_ranges() {
    let database = sample();
    for (noun, verb, says) in [
        ("campaign", "add", "1 to 3600; default 30"),
        ("campaign", "set", "1 to 86400; default 14400"),
        ("campaign", "add", "default priority"),
        ("setting", "add", "from 1; default 100"),
        ("setting", "set", "lower is tried first; default 0"),
        ("pjsip", "set", "1 to 86400, 0 switches them off; default 60"),
        ("client", "add", "from 0; default 1"),
    ] {
        let help = database.capconduit(&[noun, verb, "--help"]);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(says), "{noun} {verb}: {help}");
    }
    // the help speaks of the database's defaults
    let new = json(&database, &["campaign", "add", "New", "--user", "alice"]);
    assert_has(&new, json!({"dial_timeout_seconds": 30, "max_call_seconds": 14400, "routing_strategy": "priority"}));
    let new = json(&database, &["setting", "add", "New", "acme", "--max-concurrency", "1"]);
    assert_has(&new, json!({"weight": 100, "forwarding_priority": 0, "total_calls_allowed": null}));
    let new = json(&database, &["client", "add", "new", "--name", "N", "--contact", "sip:192.0.2.1"]);
    assert_has(&new["aor"], json!({"max_contacts": 1, "qualify_frequency": 60}));
}

#[test]
fn natural_keys_go_before_ids() {
    let database = sample();
    // what v3.0 may have; users 1 and 4 are admin and bob
    database.execute("INSERT INTO users (username, email, password_hash) VALUES ('4', 'four@x.org', '!')");
    assert_eq!(json(&database, &["user", "show", "4"])["email"], "four@x.org");
    assert_eq!(json(&database, &["user", "show", "1"])["username"], "admin");
    database.execute("INSERT INTO campaigns (user_id, name) SELECT id, '1' FROM users WHERE username = 'bob'");
    assert_has(&json(&database, &["campaign", "show", "1"]), json!({"username": "bob", "name": "1"}));
    assert_has(&json(&database, &["campaign", "show", "1", "--user", "alice"]), json!({"name": "Alice Priority"}));
    // they may be changed, and keep their names
    assert_has(&json(&database, &["user", "set", "4", "--full-name", "F"]), json!({"email": "four@x.org"}));
    let set = ["campaign", "set", "1", "--name", "1", "--status", "paused"];
    assert_has(&json(&database, &set), json!({"username": "bob", "name": "1", "status": "paused"}));
}

#[test]
fn every_noun_works_through_pgbouncer() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let pgbouncer = PgBouncer::start(postgres, &database);
    let through = &pgbouncer.database;
    for arguments in [
        &["user", "add", "eve", "--email", "e@x.org"][..],
        &["client", "add", "acme", "--name", "A", "--contact", "sip:192.0.2.1"],
        &["did", "add", "+18005550101", "--user", "eve"],
        &["campaign", "add", "C", "--user", "eve", "--did", "+18005550101"],
        &["setting", "add", "C", "acme", "--max-concurrency", "2"],
        &["pjsip", "set", "acme", "--max-contacts", "2"],
        &["call", "list"],
        &["call", "active"],
        &["status"],
        &["report", "--by", "day", "--tz", "Europe/Berlin"],
    ] {
        through.capconduit(arguments);
    }
    assert_eq!(json(through, &["route", "explain", "18005550101"])["status"], "proceed");
    through.capconduit(&["user", "remove", "eve", "--force", "--yes"]);
    assert_eq!(database.value("SELECT count(*) FROM campaigns"), "0");
}
