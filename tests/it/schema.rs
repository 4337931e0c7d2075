//! `capconduit schema` against what the commands really print, on sample data.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::process::Stdio;

use capconduit::cli::commands::schema::{self, Documented};
use serde_json::Value;

use crate::harness::postgres::{Database, Postgres};

/// What a documented command may print, by command and condition.
type Shapes = HashMap<Key, Vec<Documented>>;

/// A command and a condition.
type Key = (String, Option<&'static str>);

/// Runs commands, compares what they print, and knows which have been run.
struct Checks {
    shapes: Shapes,
    left: BTreeSet<Key>,
}

impl Checks {
    fn new() -> Checks {
        let mut shapes = Shapes::new();
        for field in schema::documented() {
            shapes.entry((field.command.clone(), field.when)).or_default().push(field);
        }
        let left = shapes.keys().cloned().collect();
        Checks { shapes, left }
    }

    /// Runs a command whose first words are its name.
    #[track_caller]
    fn run(&mut self, database: &Database, arguments: &[&str]) {
        self.run_when(database, None, arguments);
    }

    #[track_caller]
    fn run_when(&mut self, database: &Database, when: Option<&str>, arguments: &[&str]) {
        self.run_with(database, "", when, arguments);
    }

    #[track_caller]
    fn run_with(&mut self, database: &Database, input: &str, when: Option<&str>, arguments: &[&str]) {
        let mut command = database.command();
        let folder = tempfile::tempdir().expect("a temporary folder");
        command.env("CAPCONDUIT_SPOOL_DIR", folder.path()).args(arguments).args(["--json", "--yes"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)));
        self.check(when, arguments, &document);
    }

    #[track_caller]
    fn check(&mut self, when: Option<&str>, arguments: &[&str], document: &Value) {
        let of = |(command, w): &Key| {
            *w == when && command.split(' ').zip(arguments).all(|(word, argument)| word == *argument)
        };
        let key = self.shapes.keys().find(|key| of(key)).unwrap_or_else(|| panic!("{arguments:?} is not documented"));
        let fields = &self.shapes[key];
        let rows = match (fields[0].prints, document) {
            ("array", Value::Array(rows)) => rows.as_slice(),
            ("object", Value::Object(_)) => std::slice::from_ref(document),
            (prints, _) => panic!("{arguments:?} prints no {prints}: {document:#}"),
        };
        assert!(!rows.is_empty(), "{arguments:?} prints nothing to compare");
        for row in rows {
            compare(arguments, fields, "", row);
        }
        self.left.remove(key);
    }
}

/// The fields of one object, in order, and everything inside it.
#[track_caller]
fn compare(arguments: &[&str], fields: &[Documented], prefix: &str, object: &Value) {
    let inside = |f: &&Documented| {
        let name = f.field.as_deref().unwrap_or_default();
        name.strip_prefix(prefix).is_some_and(|rest| !rest.contains('.'))
    };
    let own: Vec<&Documented> = fields.iter().filter(inside).collect();
    let documented: Vec<String> =
        own.iter().filter_map(|f| Some(f.field.as_deref()?[prefix.len()..].to_owned())).collect();
    let printed: Vec<String> = object.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(documented, printed, "{arguments:?}: documented and printed fields of \"{prefix}\"");
    for field in own {
        let path = field.field.as_deref().unwrap_or_default();
        let value = &object[&path[prefix.len()..]];
        let kind = field.kind.as_deref().unwrap_or_default();
        assert!(
            if value.is_null() { field.nullable } else { is_of(kind, value) },
            "{arguments:?}: {path} is documented as {kind} (nullable: {}), and is {value}",
            field.nullable
        );
        match value {
            Value::Object(_) if kind == "object" => compare(arguments, fields, &format!("{path}."), value),
            Value::Array(items) if kind == "array of object" => {
                // a new campaign has no settings yet
                let may_be_empty = arguments.starts_with(&["campaign", "add"]);
                assert!(may_be_empty || !items.is_empty(), "{arguments:?}: {path} has nothing to compare");
                for item in items {
                    compare(arguments, fields, &format!("{path}[]."), item);
                }
            }
            _ => {}
        }
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    let is_time = |text: &str| text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok();
    match (kind, value) {
        ("any", _) | ("boolean", Value::Bool(_)) | ("object", Value::Object(_)) => true,
        ("object of integer", Value::Object(fields)) => fields.values().all(Value::is_i64),
        ("integer", value) => value.is_i64(),
        ("number", value) => value.is_number(),
        ("string", Value::String(text)) => !is_time(text),
        ("timestamp", Value::String(text)) => is_time(text),
        ("date", Value::String(text)) => text.parse::<chrono::NaiveDate>().is_ok(),
        (list, Value::Array(items)) => {
            list.strip_prefix("array of ").is_some_and(|kind| items.iter().all(|item| is_of(kind, item)))
        }
        _ => false,
    }
}

#[test]
fn every_command_prints_what_is_documented() {
    let mut checks = Checks::new();
    let empty = Postgres::shared().empty_database();
    checks.run(&empty, &["db", "status"]);
    checks.run(&empty, &["db", "migrate"]);
    checks.run(&empty, &["db", "seed"]);

    let database = &empty;
    checks.run(database, &["schema"]);
    for list in ["user", "client", "pjsip", "did", "campaign", "setting"] {
        checks.run(database, &[list, "list"]);
    }
    checks.run(database, &["call", "list"]);

    // one life of each thing; what is removed is shown last
    checks.run(database, &["user", "add", "zoe", "--email", "zoe@sample.invalid", "--status", "active"]);
    checks.run(database, &["user", "set", "zoe", "--company-name", "Zoe Ltd"]);
    checks.run(database, &["user", "show", "zoe"]);
    checks.run(database, &["user", "disable", "zoe"]);
    checks.run(database, &["user", "enable", "zoe"]);
    checks.run_with(database, "correct horse\n", None, &["user", "passwd", "zoe", "--password-stdin"]);
    let verify = ["user", "passwd", "zoe", "--password-stdin", "--verify"];
    checks.run_with(database, "correct horse\n", Some("--verify is given"), &verify);
    checks.run(database, &["client", "add", "zulu", "--name", "Zulu", "--contact", "sip:127.0.0.1:5099"]);
    checks.run(database, &["client", "set", "zulu", "--notes", "New"]);
    checks.run(database, &["client", "show", "borealis"]);
    checks.run(database, &["client", "disable", "zulu"]);
    checks.run(database, &["client", "enable", "zulu"]);
    let options =
        ["--rtp-timeout", "60", "--qualify-timeout", "1.5", "--timers", "no", "--outbound-proxy", "sip:127.0.0.1;lr"];
    checks.run(database, &[&["pjsip", "set", "zulu"][..], &options].concat());
    checks.run(database, &["pjsip", "show", "zulu"]);
    checks.run(database, &["pjsip", "show", "borealis"]);
    checks.run(database, &["pjsip", "set", "zulu", "--allow", "ulaw"]);
    checks.run(database, &["pjsip", "remove", "zulu"]);
    checks.run(database, &["pjsip", "add", "zulu", "--contact", "sip:127.0.0.1:5099"]);
    checks.run(database, &["did", "add", "+18005550199", "--user", "zoe"]);
    checks.run(database, &["did", "set", "+18005550199", "--description", "New"]);
    checks.run(database, &["did", "show", "+18005550199"]);
    checks.run(database, &["did", "disable", "+18005550199"]);
    checks.run(database, &["did", "enable", "+18005550199"]);
    checks.run(database, &["campaign", "add", "Empty", "--user", "alice"]);
    checks.run(database, &["campaign", "show", "Alice Priority"]);
    checks.run(database, &["campaign", "set", "Alice Priority", "--description", "Changed"]);
    for verb in ["disable", "pause", "enable"] {
        checks.run(database, &["campaign", verb, "Alice Priority"]);
    }
    checks.run(database, &["setting", "add", "Bob Weighted", "zulu", "--max-concurrency", "2"]);
    checks.run(database, &["setting", "disable", "Bob Weighted", "zulu"]);
    checks.run(database, &["setting", "enable", "Bob Weighted", "zulu"]);
    checks.run(database, &["setting", "set", "Bob Weighted", "zulu", "--weight", "5"]);
    checks.run(database, &["setting", "show", "Bob Weighted", "zulu"]);

    // a call in flight, one that is over, and one whose Asterisk has died
    let route = "SELECT status FROM cc_route('+18005550101', 'node-1', 'node-1', 'node', '+12', 'Zo', NULL, NULL)";
    assert_eq!(database.value(route), "proceed");
    database.execute(
        "SELECT cc_route('+18005550101', 'node-2', 'node-2', 'node', '+12', 'Zo', NULL, NULL);
         SELECT cc_log_call('+18005550101', '+12', 'Zo', now() - interval '9 s', now() - interval '5 s', now(), 9, 5,
                            'ANSWERED', 16, 'Normal Clearing', 'node-2', 'node-2', 'ANSWER', NULL);
         SELECT cc_route('+18005550101', 'node-3', 'node-3', 'node', '+12', 'Zo', NULL, NULL);
         UPDATE call_attempts SET lease_expires_at = now() - interval '1 h' WHERE asterisk_uniqueid = 'node-3'",
    );
    checks.run(database, &["call", "active"]);
    checks.run(database, &["call", "lost"]);
    // a lease that is over is a finding
    checks.run(database, &["status"]);
    for key in ["day", "hour", "weekday", "campaign", "client", "did", "seller", "status"] {
        checks.run_when(database, Some(&format!("--by {key}")), &["report", "--by", key]);
    }
    checks.run(database, &["call", "show", "node-2"]);
    checks.run(database, &["call", "explain", "node-2"]);
    checks.run_when(database, Some("the call is up and has no record yet"), &["call", "show", "node-1"]);
    checks.run(database, &["call", "reap"]);
    checks.run(database, &["call", "settle", "node-3", "--answered", "--billsec", "3"]);
    checks.run(database, &["call", "replay"]);
    checks.run(database, &["route", "explain", "18005550101"]);
    checks.run_when(database, Some("--caller is given"), &["route", "explain", "18005550101", "--caller", "1"]);

    database.execute("UPDATE pjsip_endpoints SET aors = 'nowhere' WHERE id = 'cygnus'");
    checks.run(database, &["db", "verify"]);

    checks.run(database, &["setting", "remove", "Bob Weighted", "zulu"]);
    checks.run(database, &["client", "remove", "zulu"]);
    checks.run(database, &["did", "remove", "+18005550199"]);
    checks.run(database, &["user", "remove", "zoe"]);
    checks.run(database, &["campaign", "remove", "Alice Priority", "--force"]);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    checks.run_when(database, Some("FILE is given"), &["did", "export", &at("dids.csv")]);
    checks.run(database, &["did", "import", &at("dids.csv")]);
    checks.run_when(database, Some("FILE is given"), &["call", "export", &at("calls.csv")]);
    checks.run(database, &["call", "import", &at("calls.csv")]);
    checks.run_when(database, Some("FILE is given"), &["config", "export", &at("config.json")]);
    database.execute("UPDATE campaigns SET dial_timeout_seconds = 7");
    checks.run(database, &["config", "diff", &at("config.json")]);
    checks.run(database, &["config", "apply", &at("config.json")]);
    checks.run(database, &["audit", "list"]);
    checks.run(database, &["audit", "show", &database.value("SELECT max(id) FROM audit_log WHERE action = 'update'")]);
    let prefix = format!("schema{}", std::process::id());
    checks.run(database, &["db", "roles", "--prefix", &prefix, "--env-dir", &at("")]);
    for role in ["asterisk", "agi", "admin", "report", "seller"] {
        database.execute(&format!("DROP OWNED BY {prefix}_{role}; DROP ROLE {prefix}_{role}"));
    }
    std::fs::write(folder.path().join("asterisk.conf"), "").expect("own folder");
    let dir = folder.path().to_str().expect("UTF-8");
    checks.run(database, &["asterisk", "install", "--etc-dir", dir, "--agi-dir", dir]);
    checks.run(database, &["asterisk", "check", "--etc-dir", dir, "--agi-dir", dir]);

    let without: Vec<_> = checks.left.iter().filter(|key| checks.shapes[key][0].prints != "text").collect();
    assert!(without.is_empty(), "this test runs no such command: {without:?}");
}
