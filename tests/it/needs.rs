//! What is relied on of a server and a database: each property is named where it is not so, and what a
//! caller's name is made of costs no call.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::harness::agi::{self, AgiServer};
use crate::harness::free_port;
use crate::harness::postgres::{Database, Postgres, binary};
use crate::harness::process;
use crate::harness::site::{Link, Site};

/// An empty database of this encoding.
fn encoded(encoding: &str) -> Database {
    let postgres = Postgres::shared();
    let first = postgres.empty_database();
    let name = format!("{}_{}", first.name, encoding.to_lowercase());
    first.execute(&format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"));
    Database { url: first.url.replace(&first.name, &name), name }
}

/// One of this encoding that a site has used for long: `db migrate` sets none up.
fn in_use(encoding: &str) -> Database {
    let (database, template) = (encoded(encoding), Postgres::shared().database());
    let dump = process::run(Command::new(binary("pg_dump")).args(["--dbname", &template.url]));
    let mut psql = Command::new(binary("psql"));
    psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "--dbname", &database.url]);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("psql");
    psql.stdin.take().expect("piped").write_all(dump.as_bytes()).expect("sent");
    assert!(psql.wait().expect("it ends").success());
    database
}

/// What the channel of this caller says to the programs, for a new call and for an answered one.
fn says(said: &str, name: &str, number: &str) -> String {
    said.replace("Zoë", name).replace("agi_callerid: 555", &format!("agi_callerid: {number}"))
}

#[test]
fn a_callers_name_costs_no_call_in_whatever_encoding_the_database_is() {
    let names = [
        ("Łukasz Żółw".to_owned(), "555"),
        ("Anna 📞".to_owned(), "555"),
        ("ż".repeat(100), "555"),
        ("😀".repeat(100), "\u{661}\u{662}\u{663}"),
        ("Zoë".to_owned(), "555"),
        ("\u{feff}\u{200b}\u{10ffff}".to_owned(), "555"),
    ];
    for encoding in ["UTF8", "LATIN1", "SQL_ASCII", "LATIN2", "EUC_JP"] {
        let database = in_use(encoding);
        let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
        let folder = tempfile::tempdir().expect("a folder");
        let server = AgiServer::start(database.command(), free_port("127.0.0.1"), &[]);
        let (mut calls, mut expected) = (0, Vec::new());
        let mut call = |by_server: bool, name: &str, number: &str| {
            calls += 1;
            let id = format!("{encoding}-{calls}");
            let new = says(&agi::dialled(&id, &site.did), name, number);
            let over = says(&agi::answered(&id, &site.did, site.settings[0]), name, number);
            let (routed, logged) = if by_server {
                (server.ask("route", &new), server.ask("log", &over))
            } else {
                let run = |program: &str, said: &str| {
                    let output = agi::run(&mut agi::command(program, &database.url, folder.path()), said);
                    String::from_utf8_lossy(&output.stdout).into_owned()
                };
                (run("cc-route", &new), run("cdr_logger", &over))
            };
            (id, routed, logged)
        };
        for (name, number) in &names {
            for by_server in [true, false] {
                let (id, routed, logged) = call(by_server, name, number);
                assert!(routed.contains("\"proceed,,,"), "{encoding} {name}: {routed}\n{}", server.output());
                assert!(!logged.contains("spooled"), "{encoding} {name}: {logged}");
                assert!(!by_server || logged.contains("CC_LOGGED"), "{encoding} {name}: {logged}");
                // whole where the database can hold it
                let kept = match encoding {
                    "UTF8" => name.clone(),
                    "LATIN1" if name == "Zoë" => name.clone(),
                    "SQL_ASCII" if name.len() <= 100 && number.is_ascii() => name.clone(),
                    "LATIN2" if ["Łukasz Żółw", "Zoë"].contains(&name.as_str()) => name.clone(),
                    "LATIN2" if *name == "ż".repeat(100) => name.clone(),
                    // it has what is needed for these
                    "EUC_JP" if ["Łukasz Żółw", "Zoë"].contains(&name.as_str()) => name.clone(),
                    "EUC_JP" if *name == "ż".repeat(100) => name.clone(),
                    _ => name.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect(),
                };
                expected.push(format!("{id}|{kept}|ANSWERED|{}", site.clients[0]));
            }
        }
        let record = "asterisk_uniqueid, caller_id_name, call_status, client_identifier";
        let mut records = site.records(record);
        records.sort();
        expected.sort();
        assert_eq!(records, expected, "{encoding}");
        // the same, of any letters
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() });
        let call = std::cell::RefCell::new(call);
        let outcome = runner.run(&("[^\\n\\r\\x00]{0,110}", "[^\\n\\r\\x00]{0,60}"), |(name, number)| {
            let (_, routed, logged) = (call.borrow_mut())(true, &name, &number);
            prop_assert!(routed.contains("\"proceed,,,"), "{}", routed);
            prop_assert!(logged.contains("CC_LOGGED"), "{}", logged);
            Ok(())
        });
        outcome.expect("every call is routed and recorded");
        assert_eq!(site.open_attempts(), 0);
        assert_eq!(i64::from(site.counts()[0]), site.records("1").len() as i64);
    }
}

/// What a command said, and how it ended.
fn said(database: &Database, arguments: &[&str]) -> (String, Option<i32>) {
    let output = database.command().args(arguments).output().expect("it runs");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

/// The state of a finding of `asterisk check`.
fn checked(database: &Database, check: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = database.command();
    command.args(["asterisk", "check", "--json", "--etc-dir"]).arg(folder.path());
    let output = command.output().expect("it runs");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let finding = findings.iter().find(|f| f["area"] == "database" && f["check"] == check);
    finding.map_or_else(|| format!("no {check}: {findings:#?}"), |f| f["state"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn every_property_that_is_relied_on_is_named_by_all_three() {
    let fatal = [
        ("default_transaction_isolation = 'serializable'", "isolation"),
        ("default_transaction_read_only = on", "writing"),
        ("standard_conforming_strings = off", "strings"),
        ("session_replication_role = replica", "triggers"),
        ("search_path = nowhere", "search_path"),
    ];
    let risks = [("statement_timeout = '1s'", "time limits"), ("synchronous_commit = off", "durability")];
    let defects = [("row_security = off", "row security")];
    let with = |weight: &'static str| move |(setting, check): &(&'static str, &'static str)| (weight, *setting, *check);
    let all: Vec<_> = (fatal.iter().map(with("error")))
        .chain(defects.iter().map(with("defect")))
        .chain(risks.iter().map(with("warning")))
        .collect();
    let used = Postgres::shared().database();
    for (weight, setting, check) in all {
        let new = Postgres::shared().empty_database();
        for database in [&new, &used] {
            database.execute(&format!("ALTER DATABASE {} SET {setting}", database.name));
        }
        let (message, code) = said(&new, &["db", "migrate"]);
        assert!(message.contains(&format!("{check}: ")), "{setting}: {message}");
        assert_eq!(code, Some(if weight == "warning" { 0 } else { 1 }), "{setting}: {message}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        assert_eq!(new.value(tables) == "0", weight != "warning", "{setting}: {message}");
        let (message, code) = said(&used, &["db", "status"]);
        assert!(message.contains(&format!("{check}: ")), "{setting}: {message}");
        assert_eq!(code, Some(if weight == "warning" { 0 } else { 1 }), "{setting}: {message}");
        assert_eq!(checked(&used, check), if weight == "error" { "error" } else { "warning" }, "{setting}");
        let mut administrator = used.connect();
        for sql in ["SET default_transaction_read_only = off", &format!("ALTER DATABASE {} RESET ALL", used.name)] {
            administrator.batch_execute(sql).expect("he may");
        }
        if check != "durability" {
            assert_eq!(checked(&used, check), "ok", "{setting}");
        }
    }
    let (message, code) = said(&used, &["db", "status"]);
    assert_eq!(code, Some(0), "{message}");
}

#[test]
fn a_new_database_is_in_utf8_and_one_in_use_is_not_kept_from_an_upgrade() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let new = encoded(encoding);
        let (message, code) = said(&new, &["db", "migrate"]);
        assert!(code == Some(1) && message.contains(&format!("encoding: the database is in {encoding}")), "{message}");
        assert_eq!(new.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
        let used = in_use(encoding);
        used.execute("DELETE FROM capconduit_migrations WHERE name = 'realtime'");
        let (message, code) = said(&used, &["db", "migrate"]);
        assert!(code == Some(0) && message.contains("warning: encoding: "), "{message}");
        let (message, code) = said(&used, &["db", "status"]);
        assert!(code == Some(1) && message.contains("error: encoding: "), "{message}");
        assert_eq!(checked(&used, "encoding"), "warning");
    }
}

#[test]
fn tables_in_another_schema_are_not_made_again() {
    let database = Postgres::shared().database();
    database.execute("CREATE SCHEMA other");
    database.execute(&format!("ALTER DATABASE {} SET search_path = other", database.name));
    let (message, code) = said(&database, &["db", "migrate"]);
    assert!(code == Some(1) && message.contains("the tables are in schema public"), "{message}");
    assert_eq!(database.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'other'"), "0");
    assert_eq!(checked(&database, "search_path"), "error");
}
