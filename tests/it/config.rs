//! The configuration as one document: exported, compared and applied by the real program.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::OnDrop;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};

/// A database with the sample data and a few things that are hard to carry over.
fn sample() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database.execute(
        "UPDATE pjsip_aors SET contact = 'sip:pbx.example:5061^3Btransport=tcp' WHERE id = 'acme';
         UPDATE pjsip_endpoints SET callerid = '\"A^3B B\" <12>' WHERE id = 'acme';
         UPDATE pjsip_auths SET password = 'top^3Bsecret^5E';
         UPDATE users SET password_hash = '$2b$12$' || repeat('x', 53) WHERE username = 'alice';
         UPDATE clients SET notes = E'two\nlines, \"quotes\" and ü' WHERE client_identifier = 'cygnus';
         UPDATE campaign_client_settings SET total_calls_allowed = 5 WHERE id = 2",
    );
    database
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(database: &Database, document: &str, arguments: &[&str]) -> Ran {
    let mut child = database
        .command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // a program that refuses may be gone before it has read anything
    let mut stdin = child.stdin.take().expect("piped");
    let bytes = document.as_bytes().to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&bytes);
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

fn export(database: &Database) -> Value {
    let text = database.capconduit(&["config", "export", "--with-secrets"]);
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn apply(database: &Database, document: &Value, arguments: &[&str]) -> Ran {
    let ran = run(database, &document.to_string(), &[&["config", "apply", "-"], arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

/// What `config diff` finds, as `action kind name: fields`.
fn differences(database: &Database, document: &Value, arguments: &[&str]) -> Vec<String> {
    let ran = run(database, &document.to_string(), &[&["config", "diff", "-", "--json"], arguments].concat());
    let found: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stderr));
    let found = found.as_array().expect("a list");
    assert_eq!(ran.code, i32::from(!found.is_empty()), "{}", ran.stderr);
    let text = |change: &Value, name: &str| change[name].as_str().expect("a text").to_owned();
    let line = |change: &Value| {
        let fields: Vec<&str> = change["changes"].as_object().expect("fields").keys().map(String::as_str).collect();
        format!("{} {} {}: {}", text(change, "action"), text(change, "kind"), text(change, "name"), fields.join(","))
    };
    found.iter().map(line).collect()
}

/// Every row of every table of the configuration, with what says that it was touched.
fn rows(database: &Database) -> Vec<String> {
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
    ];
    let table =
        |table: &&str| database.query(&format!("SELECT '{table}', t.xmin, t.* FROM {table} t ORDER BY t::text"));
    tables.iter().flat_map(table).collect()
}

#[test]
fn a_document_carries_everything_to_an_empty_database() {
    let (from, to) = (sample(), Postgres::shared().database());
    let options =
        ["--100rel", "no", "--qualify-timeout", "1.5", "--rtp-timeout", "60", "--outbound-proxy", "sip:p.example;lr"];
    from.capconduit(&[&["pjsip", "set", "acme"][..], &options].concat());
    from.capconduit(&["pjsip", "set", "cygnus", "--qualify-timeout", "3"]);
    let document = from.capconduit(&["config", "export", "--with-secrets"]);
    let ran = run(&to, &document, &["config", "apply", "-"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("+ setting bob/Bob Weighted/acme\n"), "{}", ran.stdout);
    assert_eq!(to.capconduit(&["config", "export", "--with-secrets"]), document);
    // as Asterisk reads it, and as it is routed
    let seen = "SELECT e.id, e.outbound_auth, e.callerid, a.contact, p.password FROM ps_endpoints e
                JOIN ps_aors a ON a.id = e.aors LEFT JOIN ps_auths p ON p.id = e.outbound_auth ORDER BY 1";
    assert_eq!(to.query(seen), from.query(seen));
    let explained = |database: &Database| database.capconduit(&["route", "explain", "+18005550101"]);
    assert!(explained(&to).contains("acme"), "{}", explained(&to));
    assert_eq!(to.capconduit(&["db", "verify", "--json"]), "[]\n");

    // the document, in outline
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let names: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["format", "version", "users", "clients", "dids", "campaigns"]);
    assert_eq!(document["clients"][0]["aor"]["contact"], "sip:pbx.example:5061;transport=tcp");
    assert_eq!(document["campaigns"][0]["settings"][0]["client"], "acme");
    assert!(!document.to_string().contains("_at\":") && !document.to_string().contains("current_total"));
}

#[test]
fn a_second_apply_touches_nothing() {
    let database = sample();
    for options in [&["--with-secrets"][..], &[]] {
        let document = database.capconduit(&[&["config", "export"], options].concat());
        let before = rows(&database);
        for verb in [&["config", "diff", "-"][..], &["config", "apply", "-"], &["config", "apply", "-", "--prune"]] {
            let ran = run(&database, &document, verb);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{verb:?}: {}", ran.stdout);
            assert!(ran.stdout.starts_with("No difference"), "{}", ran.stdout);
        }
        assert_eq!(rows(&database), before);
    }
}

#[test]
fn every_kind_of_difference_is_named_and_made() {
    let database = sample();
    let mut document = export(&database);
    let counters =
        "SELECT id, created_at, current_total_calls, total_calls_base FROM campaign_client_settings ORDER BY id";
    let before = database.query(counters);
    let untouched = database.value("SELECT xmin FROM campaign_client_settings WHERE id = 3");
    document["users"][0]["full_name"] = json!("Someone Else");
    document["clients"][0]["name"] = json!("Acme \"2\"");
    document["clients"][0]["endpoint"]["allow"] = json!("g722,ulaw");
    document["clients"][0]["aor"]["contact"] = json!("sip:192.0.2.9;transport=tls");
    document["clients"][1]["auth"]["password"] = json!("another;one");
    document["dids"][0]["description"] = Value::Null;
    document["campaigns"][0]["dids"] = json!(["+18005550101", "+1 800 555-0102"]);
    document["campaigns"][0]["settings"][0]["max_concurrency"] = json!(17);
    document["users"].as_array_mut().expect("a list").push(json!({"username": "eve", "email": "eve@x.org"}));
    document["clients"].as_array_mut().expect("a list").push(json!({
        "client_identifier": "new", "name": "New", "aor": {"contact": "sip:192.0.2.1"},
        "auth": {"username": "us", "password": "secret-1"}}));
    document["dids"].as_array_mut().expect("a list").push(json!({"number": "0044 20 7183 8750", "user": "eve"}));
    document["campaigns"].as_array_mut().expect("a list").push(json!({
        "user": "eve", "name": "E", "dids": ["+442071838750"], "settings": [{"client": "new", "max_concurrency": 2}]}));
    let expected = [
        "change user admin: full_name",
        "add user eve: username,email,role,status,password_hash",
        "change client acme: name",
        "add endpoint new: allow,aors,context,direct_media,disallow,outbound_auth,client",
        "add client new: client_identifier,name,status",
        "change endpoint acme: allow",
        "change aor acme: contact",
        "add aor new: contact,max_contacts,qualify_frequency,client",
        "change auth borealis: password",
        "add auth new: auth_type,password,username,client",
        "change did +18005550101: description",
        "add did +442071838750: number,status,user",
        "change campaign alice/Alice Priority: dids",
        "add campaign eve/E: name,status,routing_strategy,dial_timeout_seconds,max_call_seconds,user,dids",
        "change setting alice/Alice Priority/acme: max_concurrency",
        "add setting eve/E/new: status,max_concurrency,forwarding_priority,weight,user,campaign,client",
    ];
    assert_eq!(differences(&database, &document, &[]), expected);

    let ran = run(&database, &document.to_string(), &["config", "diff", "-"]);
    assert!(ran.stdout.contains("~ client acme: name \"Acme Support\" -> \"Acme \\\"2\\\"\"\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("~ auth borealis: password changed\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("8 added, 8 changed, 0 removed"), "{}", ran.stdout);
    let before_dry_run = rows(&database);
    let dry = apply(&database, &document, &["--dry-run"]);
    assert!(dry.stdout.contains("nothing was changed (--dry-run)"), "{}", dry.stdout);
    assert_eq!(rows(&database), before_dry_run);
    for ran in [&ran, &dry] {
        for secret in ["top;secret^", "another;one", "another^3Bone", "secret-1", "$2b$12$"] {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret}: {}", ran.stdout);
        }
    }

    apply(&database, &document, &[]);
    assert_eq!(differences(&database, &document, &[]), [""; 0]);
    assert_eq!(database.query(counters)[..before.len()], before);
    assert_eq!(database.value("SELECT xmin FROM campaign_client_settings WHERE id = 3"), untouched);
    assert_eq!(database.value("SELECT password FROM pjsip_auths WHERE id = 'borealis'"), "another^3Bone");
    assert_eq!(database.value("SELECT outbound_auth FROM pjsip_endpoints WHERE id = 'new'"), "new");
    assert_eq!(database.value("SELECT password_hash || status FROM users WHERE username = 'eve'"), "!active");
    assert_eq!(database.value("SELECT updated_at > created_at FROM campaigns WHERE name = 'Alice Priority'"), "t");
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

/// The places of a document that hold null.
fn nulls(document: &Value) -> Vec<String> {
    let mut all = Vec::new();
    places(document, "", &mut all);
    all.into_iter().filter(|path| document.pointer(path).is_some_and(Value::is_null)).collect()
}

#[test]
fn what_is_unset_is_left_out_and_what_is_left_out_is_unset() {
    let database = sample();
    // this differs from what a new client has, and is said
    database.execute("UPDATE pjsip_endpoints SET outbound_auth = NULL, allow = NULL WHERE id = 'borealis'");
    let text = database.capconduit(&["config", "export", "--with-secrets"]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let said = ["/clients/0/auth", "/clients/1/endpoint/allow", "/clients/1/endpoint/outbound_auth"];
    let said: Vec<&str> = said.into_iter().chain(["/clients/2/auth", "/clients/3/auth"]).collect();
    assert_eq!(nulls(&document), said);

    let options = ["--100rel", "no", "--qualify-timeout", "1.5", "--outbound-proxy", "sip:p.example;lr"];
    let elsewhere = |database: &Database| {
        database.capconduit(&[&["pjsip", "set", "acme"][..], &options].concat());
        database.execute(
            "UPDATE pjsip_endpoints SET allow = 'g722', outbound_auth = id WHERE id = 'borealis';
             UPDATE campaign_client_settings SET total_calls_allowed = 3; UPDATE campaigns SET description = 'x';
             UPDATE clients SET department = 'x', status = 'inactive'; UPDATE users SET company_name = 'x'",
        );
    };
    elsewhere(&database);
    assert!(
        differences(&database, &document, &[])
            .contains(&"change setting bob/Bob Weighted/acme: total_calls_allowed".into())
    );
    apply(&database, &document, &[]);
    assert_eq!(database.capconduit(&["config", "export", "--with-secrets"]), text);
    assert_eq!(differences(&database, &document, &["--prune"]), [""; 0]);
    // null says the same, in this version and in the one before, which wrote it for all that is unset
    let mut told = document.clone();
    for (table, side) in [("pjsip_endpoints", "endpoint"), ("pjsip_aors", "aor")] {
        let columns = database.query(&format!(
            "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' AND is_nullable = 'YES'
               AND column_name NOT IN ('client_id', 'config_updated_at')"
        ));
        for client in told["clients"].as_array_mut().expect("a list") {
            let side = client[side].as_object_mut().expect("an object");
            for column in &columns {
                side.entry(column.as_str()).or_insert(Value::Null);
            }
        }
    }
    for client in told["clients"].as_array_mut().expect("a list") {
        let client = client.as_object_mut().expect("an object");
        for column in ["department", "notes"] {
            client.entry(column).or_insert(Value::Null);
        }
    }
    assert!(nulls(&told).len() > 100, "{told:#}");
    for version in [1, 2] {
        told["version"] = json!(version);
        assert_eq!(differences(&database, &told, &["--prune"]), [""; 0]);
        elsewhere(&database);
        apply(&database, &told, &[]);
        // the rest is written in the other version only
        apply(&database, &document, &[]);
        assert_eq!(database.capconduit(&["config", "export", "--with-secrets"]), text);
    }
    elsewhere(&database);
    told["version"] = json!(1);
    apply(&database, &told, &[]);
    let left = [
        "change user admin: company_name".to_owned(),
        "change setting bob/Bob Weighted/acme: total_calls_allowed".to_owned(),
    ];
    let differ = differences(&database, &document, &[]);
    assert!(left.iter().all(|change| differ.contains(change)), "{differ:?}");
    assert!(!differ.iter().any(|change| change.contains("endpoint") || change.contains(" aor ")), "{differ:?}");
}

#[test]
fn an_object_that_is_there_is_described_as_a_whole() {
    let database = sample();
    let document = json!({"format": "capconduit-config", "version": 2,
        "clients": [{"client_identifier": "acme", "status": "inactive", "aor": {"max_contacts": 2}}],
        "dids": [{"number": "+18005550101"}],
        "campaigns": [{"user": "bob", "name": "Bob Weighted", "settings": [{"client": "acme", "weight": 60}]}]});
    let before = rows(&database);
    let ran = run(&database, &document.to_string(), &["config", "apply", "-"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let field = "it is missing: an object is described as a whole";
    for path in
        ["clients[0].name", "clients[0].aor.contact", "dids[0].user", "campaigns[0].settings[0].max_concurrency"]
    {
        assert!(ran.stderr.contains(&format!("{path}: {field}")), "{path}: {}", ran.stderr);
    }
    assert_eq!(rows(&database), before);
}

#[test]
fn a_total_that_a_document_takes_away_is_called_unlimited() {
    let database = sample();
    database.execute("UPDATE campaign_client_settings SET total_calls_allowed = NULL");
    let document = export(&database).to_string();
    let set = ["setting", "set", "Bob Weighted", "acme", "--total-calls-allowed"];
    database.capconduit(&[&set[..], &["9"]].concat());
    for command in [&["config", "diff", "-"][..], &["config", "apply", "-"]] {
        let ran = run(&database, &document, command);
        assert!(ran.stdout.contains("total_calls_allowed 9 -> unlimited"), "{}", ran.stdout);
        let named = "warning: 1 setting (\"bob/Bob Weighted/acme\") would have no total_calls_allowed any more";
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
    }
    let audit = database.capconduit(&["audit", "list", "--limit", "1", "--columns", "change"]);
    assert!(audit.contains("total_calls_allowed 9 -> unlimited"), "{audit}");
}

#[test]
fn what_a_document_of_version_1_does_not_say_stays() {
    let database = sample();
    let document = json!({"format": "capconduit-config", "version": 1,
        "clients": [{"client_identifier": "acme", "status": "inactive"}],
        "campaigns": [{"user": "bob", "name": "Bob Weighted", "settings": [{"client": "acme", "weight": 60}]}]});
    let expected = ["change client acme: status", "change setting bob/Bob Weighted/acme: weight"];
    assert_eq!(differences(&database, &document, &[]), expected);
    apply(&database, &document, &[]);
    assert_eq!(database.value("SELECT count(*) FROM campaign_client_settings"), "7");
    assert_eq!(
        database.value("SELECT name || status FROM clients WHERE client_identifier = 'acme'"),
        "Acme Supportinactive"
    );
    // secrets stay in any version
    let text = database.capconduit(&["config", "export"]);
    assert!(!text.contains("password") && !text.contains("secret"), "{text}");
    apply(&database, &serde_json::from_str(&text).expect("JSON"), &["--prune"]);
    assert_eq!(database.value("SELECT password FROM pjsip_auths"), "top^3Bsecret^5E");
}

#[test]
fn addresses_and_dids_change_hands() {
    let database = sample();
    let mut document = export(&database);
    document["users"][1]["email"] = json!("bob@sample.invalid");
    document["users"][2]["email"] = json!("alice@sample.invalid");
    document["dids"][3]["user"] = json!("alice");
    // it feeds one of bob's campaigns
    let ran = run(&database, &document.to_string(), &["config", "apply", "-"]);
    assert!(ran.code == 5 && ran.stderr.contains("feeds campaigns of its own seller only"), "{}", ran.stderr);
    document["campaigns"][2]["dids"] = json!(["+18005550103"]);
    let id = database.value("SELECT id FROM dids WHERE number = '+18005550104'");
    apply(&database, &document, &["--yes"]);
    let users = database.query("SELECT username, email FROM users WHERE username IN ('alice', 'bob') ORDER BY 1");
    let emails: Vec<Value> = (1..3).map(|n| document["users"][n]["email"].clone()).collect();
    assert_eq!(
        users,
        ["alice", "bob"]
            .iter()
            .zip(&emails)
            .map(|(u, e)| format!("{u}|{}", e.as_str().expect("text")))
            .collect::<Vec<_>>()
    );
    let owner = "SELECT d.id || u.username FROM dids d JOIN users u ON u.id = d.user_id WHERE number = '+18005550104'";
    assert_eq!(database.value(owner), format!("{id}alice"));

    // to one who stays, from one who goes
    let mut document = export(&database);
    document["dids"][2]["user"] = json!("alice");
    document["users"].as_array_mut().expect("a list").retain(|user| user["username"] != "bob");
    document["users"][1]["email"] = json!("alice-and-bob@x.org");
    document["campaigns"].as_array_mut().expect("a list").retain(|campaign| campaign["user"] != "bob");
    let id = database.value("SELECT id FROM dids WHERE number = '+18005550103'");
    apply(&database, &document, &["--prune", "--yes"]);
    assert_eq!(
        database.value(
            "SELECT d.id || u.username FROM dids d JOIN users u ON u.id = d.user_id WHERE number = '+18005550103'"
        ),
        format!("{id}alice")
    );
    assert_eq!(database.value("SELECT count(*) FROM users WHERE username = 'bob'"), "0");
    assert_eq!(database.value("SELECT count(*) FROM call_logs"), "6");
}

#[test]
fn prune_asks_and_refuses_what_is_in_use() {
    let database = sample();
    let mut document = export(&database);
    document["clients"].as_array_mut().expect("a list").retain(|client| client["client_identifier"] != "dormant");
    document["clients"][1]["auth"] = Value::Null;
    document["clients"][1]["endpoint"]["outbound_auth"] = Value::Null;
    document["campaigns"][0]["settings"].as_array_mut().expect("a list").remove(0);
    document["campaigns"].as_array_mut().expect("a list").remove(2);
    document["dids"].as_array_mut().expect("a list").remove(3);
    assert_eq!(differences(&database, &document, &[]), ["change endpoint borealis: outbound_auth"]);
    let removed = [
        "change endpoint borealis: outbound_auth",
        "remove client dormant: ",
        "remove auth borealis: ",
        "remove did +18005550104: ",
        "remove campaign bob/Bob Weighted: ",
        "remove setting alice/Alice Priority/acme: ",
        "remove setting bob/Bob Weighted/acme: ",
        "remove setting bob/Bob Weighted/borealis: ",
    ];
    assert_eq!(differences(&database, &document, &["--prune"]), removed);
    let before = rows(&database);
    // nobody to ask
    let ran = run(&database, &document.to_string(), &["config", "apply", "-", "--prune"]);
    assert!(ran.code == 2 && ran.stderr.contains("Remove 7 objects"), "{}", ran.stderr);
    assert_eq!(rows(&database), before);

    let call = "SELECT status FROM cc_route('+18005550101', 'c.1', NULL, 'node', '+12', 'Zo', NULL, NULL)";
    assert_eq!(database.value(call), "proceed");
    let ran = run(&database, &document.to_string(), &["config", "apply", "-", "--prune", "--yes"]);
    assert!(
        ran.code == 4 && ran.stderr.contains("setting alice/Alice Priority/acme has 1 in flight"),
        "{}",
        ran.stderr
    );
    assert_eq!(rows(&database), before);
    apply(&database, &document, &["--prune", "--yes", "--force"]);
    assert_eq!(differences(&database, &document, &["--prune"]), [""; 0]);
    assert_eq!(database.value("SELECT count(*) FROM call_logs"), "6");
    assert_eq!(database.value("SELECT count(*) FROM campaign_client_settings"), "4");
    assert_eq!(database.value("SELECT count(*) FROM pjsip_auths"), "0");
}

#[test]
fn a_document_of_a_seller_is_about_nobody_else() {
    let database = sample();
    let text = database.capconduit(&["config", "export", "--user", "bob"]);
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["scope"], json!(["bob"]));
    let all = |document: &Value, list: &str, field: &str| -> Vec<String> {
        let items = document[list].as_array().expect("a list");
        items.iter().map(|item| item[field].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(all(&document, "users", "username"), ["bob"]);
    assert_eq!(all(&document, "clients", "client_identifier"), ["acme", "borealis"]);
    assert_eq!(all(&document, "dids", "number"), ["+18005550103", "+18005550104"]);
    assert_eq!(differences(&database, &document, &["--prune"]), [""; 0]);
    document["dids"].as_array_mut().expect("a list").remove(0);
    document["campaigns"] = json!([]);
    document["clients"] = json!([]);
    document["users"] = json!([]);
    let removed = [
        "remove did +18005550103: ",
        "remove campaign bob/Bob Weighted: ",
        "remove setting bob/Bob Weighted/acme: ",
        "remove setting bob/Bob Weighted/borealis: ",
    ];
    assert_eq!(differences(&database, &document, &["--prune"]), removed);
    apply(&database, &document, &["--prune", "-y"]);
    assert_eq!(database.value("SELECT count(*) FROM campaigns"), "2");
    assert_eq!(database.value("SELECT count(*) FROM clients"), "4");
    document["dids"][0]["user"] = json!("alice");
    let ran = run(&database, &document.to_string(), &["config", "apply", "-"]);
    assert!(ran.code == 5 && ran.stderr.contains("not in the document's scope"), "{}", ran.stderr);
    let ran = run(&database, "", &["config", "export", "--user", "bbo"]);
    assert!(ran.code == 3 && ran.stderr.contains("did you mean \"bob\""), "{}", ran.stderr);
}

#[test]
fn columns_that_a_migration_adds_are_part_of_it() {
    let database = sample();
    // no migration's names
    database.execute(
        "ALTER TABLE pjsip_endpoints ADD COLUMN x_text varchar(5), ADD COLUMN x_number integer, ADD COLUMN x_flag boolean;
         ALTER TABLE pjsip_aors ADD COLUMN x_default varchar(20) DEFAULT 'a''b'",
    );
    let mut document = export(&database);
    let endpoint = &mut document["clients"][0]["endpoint"];
    assert_eq!([&endpoint["x_text"], &endpoint["x_number"], &endpoint["x_flag"]], [&Value::Null; 3]);
    endpoint["x_text"] = json!("a;b");
    endpoint["x_number"] = json!(7);
    endpoint["x_flag"] = json!(true);
    document["clients"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"client_identifier": "new", "name": "New", "aor": {"contact": "sip:192.0.2.1"}}));
    apply(&database, &document, &[]);
    assert_eq!(database.query("SELECT x_text, x_number, x_flag FROM pjsip_endpoints WHERE id = 'acme'"), ["a^3Bb|7|t"]);
    assert_eq!(database.value("SELECT x_default FROM pjsip_aors WHERE id = 'new'"), "a'b");
    assert_eq!(differences(&database, &document, &[]), [""; 0]);
    for (field, value, says) in [
        ("x_text", json!(";;"), "at most 5 fit"),
        ("x_number", json!("7"), "a whole number"),
        ("x_flag", json!(1), "true or false"),
    ] {
        let mut bad = document.clone();
        bad["clients"][0]["endpoint"][field] = value;
        let ran = run(&database, &bad.to_string(), &["config", "apply", "-"]);
        assert!(ran.code == 5 && ran.stderr.contains(says), "{field}: {}", ran.stderr);
    }
}

#[test]
fn an_order_that_names_do_not_tell_is_pointed_out() {
    let database = sample();
    database.capconduit(&["campaign", "add", "Aardvark", "--user", "alice", "--did", "+18005550101"]);
    let export = |arguments: &[&str]| run(&database, "", &[&["config", "export"], arguments].concat()).stderr;
    assert!(
        export(&[]).contains("warning: more than one active campaign has 1 DID (\"+18005550101\")"),
        "{}",
        export(&[])
    );
    assert_eq!(export(&["--user", "bob"]), "");
    database.capconduit(&["campaign", "set", "Aardvark", "--status", "paused"]);
    assert_eq!(export(&[]), "");
}

/// A document, what is done to it, and what is said of it.
type Bad = (&'static str, Value, &'static str);

#[test]
fn bad_documents_are_refused_with_all_that_is_wrong() {
    let database = sample();
    let good = export(&database);
    let long = |n: usize| json!("x".repeat(n));
    let bad: Vec<Bad> = vec![
        ("/format", json!("other"), "format: it must be \"capconduit-config\""),
        ("/version", json!(3), "version: it must be 1 or 2"),
        ("/users", json!({}), "users: it must be a list"),
        ("/usres", json!([]), "usres: there is no such field: did you mean \"users\"?"),
        ("/scope", json!("alice"), "scope: it must be a list"),
        ("/scope", json!(["alice"]), "users[0].username: \"admin\" is not in the document's scope"),
        ("/users/0", json!("admin"), "users[0]: it must be an object"),
        ("/users/0/username", json!(""), "users[0].username: it must be a text that is not empty"),
        ("/users/0/username", json!("4711"), "username \"4711\" is all digits"),
        ("/users/0/username", json!("alice"), "users[1]: user \"alice\" stands there twice, first at users[0]"),
        ("/users/0/email", json!("nobody"), "users[0].email: email \"nobody\" is not an address"),
        ("/users/0/email", Value::Null, "users[0].email: it must be a text"),
        ("/users/0/email", json!("bob@sample.invalid"), "\"bob@sample.invalid\" is user \"admin\"'s too"),
        ("/users/0/role", json!("root"), "role is \"root\": it must be one of admin, staff, user"),
        ("/users/0/status", json!("on"), "status is \"on\": it must be one of active, inactive"),
        ("/users/0/full_name", long(101), "has 101 characters: at most 100 fit"),
        ("/users/0/password_hash", json!("hunter2-plain"), "password_hash is no bcrypt hash"),
        ("/users/0/pasword_hash", json!("!"), "did you mean \"password_hash\"?"),
        ("/clients/0/client_identifier", json!("a/b"), "client_identifier \"a/b\" is not usable"),
        ("/clients/0/client_identifier", json!("carrier"), "the name is taken in pjsip.conf"),
        ("/clients/0/status", json!("paused"), "clients[0].status: status is \"paused\""),
        ("/clients/0/name", json!(" Acme"), "begins or ends with a space"),
        ("/clients/0/name", json!("A\u{0}"), "clients[0].name: it holds a NUL"),
        (
            "/clients/0/endpoint/alow",
            json!("ulaw"),
            "clients[0].endpoint.alow: there is no such field: did you mean \"allow\"?",
        ),
        ("/clients/0/endpoint/allow", json!("ulaw;alaw"), "is not a list of codecs"),
        ("/clients/0/endpoint/timers", json!("maybe"), "timers \"maybe\": it must be one of no, yes"),
        ("/clients/0/endpoint/rtp_timeout", json!(-1), "rtp_timeout \"-1\": it must be a whole number from 0"),
        ("/clients/0/endpoint/outbound_proxy", json!("sip:proxy"), "end it with ;lr"),
        ("/clients/0/aor/outbound_proxy", json!("sip:proxy"), "end it with ;lr"),
        ("/clients/0/aor/qualify_timeout", json!(61), "qualify_timeout \"61\": it must be seconds from 0 to 60"),
        ("/clients/0/aor/qualify_timeout", json!("1"), "it must be a number, or null"),
        ("/clients/0/endpoint/context", json!("a b"), "it must be one word"),
        ("/clients/0/endpoint/direct_media", json!("maybe"), "it must be one of yes, no"),
        ("/clients/0/endpoint", json!([]), "clients[0].endpoint: it must be an object"),
        ("/clients/0/aor/contact", json!("tel:+12"), "contact \"tel:+12\": it must begin with sip:"),
        ("/clients/0/aor/contact", Value::Null, "clients[0].aor.contact: it must be a text"),
        ("/clients/0/aor/max_contacts", json!("1"), "it must be a whole number, or null"),
        ("/clients/0/aor/max_contacts", json!(1.5), "it must be a whole number, or null"),
        ("/clients/0/aor/qualify_frequency", json!(86401), "it must be between 0 and 86400"),
        ("/clients/1/auth/auth_type", json!("md5"), "it must be one of userpass"),
        ("/clients/1/auth/password", json!("hunter2\n"), "the password holds a control character"),
        (
            "/clients/0/auth",
            json!({"username": "us"}),
            "client \"acme\" has no authentication yet, and a new one needs its password",
        ),
        ("/clients/0/auth", json!({"password": "hunter2"}), "clients[0].auth.username: it is missing"),
        ("/dids/0/number", json!("acme"), "dids[0].number: \"acme\" is not a phone number"),
        (
            "/dids/0/number",
            json!("+44 (0)20 7183 8750"),
            "dids[0].number: \"+44 (0)20 7183 8750\" is not a phone number",
        ),
        (
            "/dids/0/number",
            json!("(212) 555-1000"),
            "dids[0].number: \"(212) 555-1000\" would be +2125551000: it has no +",
        ),
        ("/dids/0/number", json!(18005550101_u64), "dids[0].number: it must be a text"),
        ("/dids/0/number", json!("1-800-555-0102"), "did \"+18005550102\" stands there twice"),
        (
            "/dids/0/user",
            json!("alicia"),
            "user \"alicia\" is neither in the document nor in the database: did you mean \"alice\"?",
        ),
        ("/dids/0/user", json!("bob"), "DID \"+18005550101\" is bob's: a DID feeds campaigns of its own seller only"),
        ("/dids/0/description", json!("two\nlines"), "it must be one line of text"),
        ("/campaigns/0/dids/0", json!("+18005550103"), "DID \"+18005550103\" is bob's"),
        (
            "/campaigns/0/dids/0",
            json!("+19995550000"),
            "DID \"+19995550000\" is neither in the document nor in the database",
        ),
        ("/campaigns/0/dids", json!(["+18005550101", "18005550101"]), "\"+18005550101\" stands there twice"),
        ("/campaigns/0/routing_strategy", json!("random"), "it must be one of priority, round_robin, weighted"),
        ("/campaigns/0/dial_timeout_seconds", json!(0), "dial_timeout_seconds is 0: it must be between 1 and 3600"),
        ("/campaigns/0/max_call_seconds", json!(86401), "it must be between 1 and 86400"),
        ("/campaigns/0/user", json!("nobody"), "campaigns[0].user: user \"nobody\" is neither"),
        ("/campaigns/0/name", Value::Null, "campaigns[0].name: it must be a text that is not empty"),
        (
            "/campaigns/0/settings/0/client",
            json!("acne"),
            "client \"acne\" is neither in the document nor in the database: did you mean \"acme\"?",
        ),
        ("/campaigns/0/settings/0/client", json!("cygnus"), "stands there twice, first at campaigns[0].settings[0]"),
        ("/campaigns/0/settings/0/max_concurrency", json!(0), "max_concurrency is 0: it must be at least 1"),
        ("/campaigns/0/settings/0/total_calls_allowed", json!(-1), "it must be at least 0"),
        ("/campaigns/0/settings/0/weight", json!(1_u64 << 40), "it must be between 1 and 2147483647"),
        ("/campaigns/0/settings/0/current_total_calls", json!(3), "there is no such field"),
        ("/campaigns/0/settings/0", json!({"client": "dormant"}), "max_concurrency: it is missing"),
    ];
    let before = rows(&database);
    let mut everything = good.clone();
    for (path, value, says) in &bad {
        let mut document = good.clone();
        put(&mut document, path, value.clone());
        let ran = run(&database, &document.to_string(), &["config", "apply", "-", "--prune", "--yes"]);
        assert!(ran.code == 5 && ran.stderr.contains(says), "{path}: {}: {}", ran.code, ran.stderr);
        // what is there, and wrong, is not missing
        assert!(says.contains("missing") || !ran.stderr.contains("it is missing"), "{path}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains("top;secret"), "{path}: {}", ran.stderr);
        if says.contains("it must be between") || says.contains("one of") {
            put(&mut everything, path, value.clone());
        }
    }
    // all of them, not only the first
    let ran = run(&database, &everything.to_string(), &["config", "apply", "-"]);
    for (path, _, says) in
        bad.iter().filter(|(.., says)| says.contains("it must be between") || says.contains("one of"))
    {
        assert!(ran.stderr.contains(says), "{path}: {}", ran.stderr);
    }
    for text in ["", "{", "[]", "null", "{\"format\": \"capconduit-config\"", "\u{feff}{}", "{} x"] {
        let ran = run(&database, text, &["config", "apply", "-"]);
        assert_eq!(ran.code, 5, "{text}: {}", ran.stderr);
    }
    let twice = good.to_string().replacen("\"role\":", "\"email\":\"hunter2\",\"role\":", 1);
    let ran = run(&database, &twice, &["config", "apply", "-"]);
    assert!(ran.code == 5 && ran.stderr.contains("the field \"email\" is there twice at line 1"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    let ran = run(&database, "", &["config", "apply", "/nonexistent/x.json"]);
    assert!(ran.code == 1 && ran.stderr.contains("cannot read /nonexistent/x.json"), "{}", ran.stderr);
    assert_eq!(rows(&database), before);
}

/// Sets what a path of names and indexes leads to.
fn put(document: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').expect("a path");
    match document.pointer_mut(parent).expect("the parent is there") {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        parent => parent[name] = value,
    }
}

/// Every place of a document.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    if !path.is_empty() {
        found.push(path.to_owned());
    }
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{path}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| places(value, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn a_mutated_document_is_applied_whole_or_not_at_all() {
    let database = sample();
    let good = export(&database);
    let mut all = Vec::new();
    places(&good, "", &mut all);
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z0-9+;^' \"]{0,90}".prop_map(Value::from),
        proptest::sample::select(all.clone()).prop_map({
            let good = good.clone();
            move |path| good.pointer(&path).cloned().unwrap_or_default()
        }),
    ];
    let mutations = proptest::collection::vec((proptest::sample::select(all), value), 1..4);
    // each case runs the program twice
    let cases = 60;
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&mutations, |mutations| {
        let mut document = good.clone();
        for (path, value) in &mutations {
            // an earlier one may have taken its parent away
            if document.pointer(path).is_some() {
                put(&mut document, path, value.clone());
            }
        }
        let before = rows(&database);
        let ran = run(&database, &document.to_string(), &["config", "apply", "-", "--prune", "--yes"]);
        prop_assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        if ran.code == 0 {
            let left = run(&database, &document.to_string(), &["config", "diff", "-", "--prune"]);
            prop_assert!(left.code == 0, "{}{}", left.stdout, left.stderr);
            // back to where it was
            let back = run(&database, &good.to_string(), &["config", "apply", "-", "--prune", "--yes"]);
            prop_assert!(back.code == 0, "{}", back.stderr);
        } else {
            prop_assert!([4, 5].contains(&ran.code), "{}: {}", ran.code, ran.stderr);
            prop_assert_eq!(rows(&database), before);
        }
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_file_is_replaced_whole_and_secrets_are_the_owners_only() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let database = sample();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    let name = file.to_str().expect("UTF-8");
    let mode = || std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
    database.capconduit(&["config", "export", name]);
    assert_eq!(std::fs::read_to_string(&file).expect("text"), database.capconduit(&["config", "export"]));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o664)).expect("ours");
    let inode = std::fs::metadata(&file).expect("it is there").ino();
    database.capconduit(&["config", "export", name]);
    assert_eq!(mode(), 0o664);
    assert_ne!(std::fs::metadata(&file).expect("it is there").ino(), inode, "a new file in the old one's place");
    database.capconduit(&["config", "export", name, "--with-secrets"]);
    assert_eq!(mode(), 0o600);
    assert_eq!(run(&database, "", &["config", "diff", name]).code, 0);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    database.capconduit(&["config", "export", "/dev/null"]);
    assert!(!Path::new("/dev/null").is_file());
}

/// A document of this size; `edition` is in every object.
fn large(clients: usize, dids: usize, edition: usize) -> Value {
    let number = |n: usize| format!("+1800{:07}", n);
    let client = |n: usize| {
        json!({"client_identifier": format!("client-{n}"), "name": format!("Client {n}, edition {edition}"),
               "endpoint": {"from_user": format!("edition-{edition}")}, "aor": {"contact": format!("sip:c{n}.example;lr")}})
    };
    let campaigns = clients / 10;
    let campaign = |n: usize| {
        let settings: Vec<Value> = (0..20)
            .map(|s| json!({"client": format!("client-{}", (n * 10 + s) % clients), "max_concurrency": 1 + edition}))
            .collect();
        let dids: Vec<String> = (0..dids).filter(|did| did % campaigns == n).map(number).collect();
        json!({"user": "seller", "name": format!("Campaign {n}"), "description": edition.to_string(), "dids": dids, "settings": settings})
    };
    json!({"format": "capconduit-config", "version": 1,
        "users": [{"username": "seller", "email": "s@x.org", "full_name": format!("edition {edition}")}],
        "clients": (0..clients).map(client).collect::<Vec<_>>(),
        "dids": (0..dids).map(|n| json!({"number": number(n), "user": "seller", "description": format!("edition {edition}")})).collect::<Vec<_>>(),
        "campaigns": (0..campaigns).map(campaign).collect::<Vec<_>>()})
}

#[test]
fn a_large_document_goes_through_pgbouncer_and_back() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let pgbouncer = PgBouncer::start(postgres, &database);
    let ran = apply(&pgbouncer.database, &large(1000, 10_000, 1), &[]);
    assert!(ran.stdout.ends_with("15101 added, 0 changed, 0 removed.\n"), "{}", &ran.stdout[ran.stdout.len() - 80..]);
    assert!(ran.stderr.contains("dids: 10000 to add, 0 to change ..."), "{}", ran.stderr);
    let counts =
        "SELECT (SELECT count(*) FROM clients), (SELECT count(*) FROM dids), (SELECT count(*) FROM campaign_dids),
                         (SELECT count(*) FROM campaign_client_settings)";
    assert_eq!(database.query(counts), ["1000|10000|10000|2000"]);
    let text = pgbouncer.database.capconduit(&["config", "export"]);
    assert_eq!(run(&pgbouncer.database, &text, &["config", "diff", "-"]).stdout, "No difference.\n");
    let ran = apply(&pgbouncer.database, &large(1000, 10_000, 2), &[]);
    assert!(ran.stdout.ends_with("0 added, 14101 changed, 0 removed.\n"), "{}", &ran.stdout[ran.stdout.len() - 80..]);
    assert_eq!(differences(&database, &large(1000, 10_000, 2), &["--prune"]), [""; 0]);
}

#[test]
fn an_apply_killed_anywhere_leaves_the_old_or_the_new_whole() {
    const KILLED: u32 = 12;
    let database = Postgres::shared().database();
    apply(&database, &large(200, 2000, 0), &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |edition: usize| {
        let path = folder.path().join(format!("{edition}.json"));
        std::fs::write(&path, large(200, 2000, edition).to_string()).expect("ours");
        path
    };
    let start = |edition: usize| {
        let mut command = database.command();
        command.args(["config", "apply"]).arg(file(edition)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begun = Instant::now();
    assert!(start(1).status().expect("it runs").success());
    let mut duration = begun.elapsed();
    // each part of it says which document it came from
    let editions = "SELECT string_agg(DISTINCT e, ',') FROM (
        SELECT substring(full_name FROM '\\d+$') FROM users UNION SELECT substring(name FROM '\\d+$') FROM clients
        UNION SELECT substring(from_user FROM '\\d+$') FROM pjsip_endpoints
        UNION SELECT substring(description FROM '\\d+$') FROM dids UNION SELECT description FROM campaigns
        UNION SELECT (max_concurrency - 1)::text FROM campaign_client_settings) x (e)";
    let (mut now, mut killed, mut edition) = ("1".to_owned(), 0, 1);
    while killed < KILLED {
        edition += 1;
        let mut child = start(edition).spawn().expect("it runs");
        let begun = Instant::now();
        // every part of a run is met, from the first instruction to the last
        let at = duration * (killed + 1) / (KILLED + 1);
        let ended = loop {
            match child.try_wait().expect("ours") {
                None if begun.elapsed() < at => std::thread::sleep(Duration::from_millis(1)),
                ended => break ended,
            }
        };
        match ended {
            // a machine that has become faster is met again, earlier
            Some(status) => {
                assert!(status.success());
                duration = begun.elapsed();
            }
            None => {
                child.kill().expect("ours");
                killed += 1;
            }
        }
        child.wait().expect("ours");
        // what the server may still be doing for the dead program is over once the lock is free
        database.execute("SELECT pg_advisory_lock(hashtextextended('capconduit config', 0))");
        let there = database.value(editions);
        assert!(there == now || there == edition.to_string(), "edition {edition}: {there}, not {now}");
        now = there;
    }
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn dids_that_a_campaign_would_lose_are_asked_about() {
    let database = sample();
    let mut document = export(&database);
    let lists = document["campaigns"].as_array_mut().expect("a list");
    let campaign = lists.iter_mut().find(|c| c["name"] == "Alice Priority").expect("there");
    let number = campaign["dids"].as_array_mut().expect("a list").remove(0);
    let number = number.as_str().expect("a number");
    let text = document.to_string();
    let line = format!("- did {number} of campaign alice/Alice Priority\n");
    let before = rows(&database);

    let dry = run(&database, &text, &["config", "apply", "-", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains(&line) && dry.stdout.contains("0 added, 1 changed, 1 removed;"), "{}", dry.stdout);
    let refused = run(&database, &text, &["config", "apply", "-"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains(&line), "{}", refused.stderr);
    assert!(refused.stderr.contains("Take 1 DID out of campaigns whose lists lack them?"), "{}", refused.stderr);
    assert_eq!(rows(&database), before);

    let done = run(&database, &text, &["config", "apply", "-", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout.contains(&line) && done.stdout.ends_with("0 added, 1 changed, 1 removed.\n"),
        "{}",
        done.stdout
    );
    let sql =
        format!("SELECT count(*) FROM campaign_dids k JOIN dids d ON d.id = k.did_id WHERE d.number = '{number}'");
    assert_eq!(database.value(&sql), "0");
}

#[test]
fn two_applies_at_once_do_not_mix() {
    let database = Postgres::shared().database();
    let ran: Vec<Ran> = std::thread::scope(|scope| {
        let one = |edition| {
            let database = &database;
            scope.spawn(move || run(database, &large(100, 1000, edition).to_string(), &["config", "apply", "-"]))
        };
        let both = [one(1), one(2)];
        both.map(|thread| thread.join().expect("it ends")).into()
    });
    assert!(ran.iter().all(|ran| ran.code == 0), "{}{}", ran[0].stderr, ran[1].stderr);
    let mut last: Vec<&str> = ran.iter().filter_map(|ran| ran.stdout.lines().last()).collect();
    last.sort_unstable();
    assert_eq!(last, ["0 added, 1411 changed, 0 removed.", "1511 added, 0 changed, 0 removed."]);
    assert_eq!(database.value("SELECT count(DISTINCT name) FROM (SELECT right(name, 1) FROM clients) x (name)"), "1");
}

#[test]
fn calls_go_on_while_documents_are_applied() {
    let database = sample();
    let full = export(&database);
    let mut less = full.clone();
    less["campaigns"][0]["settings"].as_array_mut().expect("a list").remove(1);
    less["campaigns"][0]["settings"][0]["max_concurrency"] = json!(90);
    less["dids"].as_array_mut().expect("a list").remove(3);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (database, done) = (&database, &done);
            scope.spawn(move || {
                let mut db = database.connect();
                let mut n = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 1;
                    let (call, did) = (format!("busy-{caller}.{n}"), 1 + n % 3);
                    db.batch_execute(&format!(
                        "SELECT cc_route('+1800555010{did}', '{call}', NULL, 'node', '+12', 'Zo', NULL, NULL);
                         SELECT cc_log_call('+1800555010{did}', '+12', NULL, now(), now(), now(), 1, 1, 'ANSWERED', 16, NULL,
                             '{call}', NULL, 'ANSWER', NULL)"
                    ))
                    .expect("a call is routed and recorded");
                }
                assert!(n > 5, "only {n} calls");
            });
        }
        let _done = OnDrop(|| done.store(true, std::sync::atomic::Ordering::Relaxed));
        for document in [&less, &full].into_iter().cycle().take(8) {
            let ran = run(&database, &document.to_string(), &["config", "apply", "-", "--prune", "--yes", "--force"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        }
    });
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    assert_eq!(database.value("SELECT count(*) FROM call_attempts WHERE released_at IS NULL"), "0");
}
