//! Parts of a client's SIP side that each look right and cannot work together: they are refused where they
//! are written, whoever writes them, and what cannot be known there is said.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::postgres::{Database, Postgres};

fn sample() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database
}

fn run(database: &Database, arguments: &[&str], input: &str) -> Output {
    let mut command = database.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // it may be refused before it reads
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// The whole SIP side of all clients, as it is stored.
fn stored(database: &Database) -> Vec<String> {
    ["pjsip_endpoints", "pjsip_aors", "pjsip_auths"]
        .iter()
        .flat_map(|table| database.query(&format!("SELECT t::text FROM {table} t ORDER BY 1")))
        .collect()
}

/// What an apply of the document that has this at acme's said.
fn apply(database: &Database, path: &str, value: &str) -> Output {
    let text = database.capconduit(&["config", "export", "--with-secrets"]);
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let clients = document["clients"].as_array_mut().expect("a list");
    let acme = clients.iter_mut().find(|client| client["client_identifier"] == "acme").expect("the sample's");
    let (object, column) = path.split_once('/').expect("a path");
    acme[object][column] = json!(value);
    run(database, &["config", "apply", "-", "--yes"], &document.to_string())
}

#[test]
fn what_cannot_work_is_refused_wherever_it_is_written() {
    let database = sample();
    let before = stored(&database);
    // option, its place in a document, value, what is said of it
    let cases = [
        ("--allow", "endpoint/allow", "pcmu", "and calls it ulaw"),
        ("--allow", "endpoint/allow", "ulaw,PCMA", "and calls it alaw"),
        ("--allow", "endpoint/allow", "g729a", "and calls it g729"),
        ("--allow", "endpoint/allow", "ulaw,nonsense", "no codec of that name"),
        ("--disallow", "endpoint/disallow", "al", "disallow \"al\""),
        ("--contact", "aor/contact", "sip:192.0.2.1;transport=ws", "no websocket"),
        ("--contact", "aor/contact", "sip:192.0.2.1;transport=sctp", "must be udp, tcp or tls"),
        ("--from-domain", "endpoint/from_domain", "a/b", "is no host"),
        ("--outbound-auth", "endpoint/outbound_auth", "nonsense", "does not exist"),
        ("--auth", "endpoint/auth", "nonsense", "does not exist"),
        ("--aors", "endpoint/aors", "nonsense", "does not exist"),
    ];
    for (option, path, value, why) in cases {
        let set = run(&database, &["pjsip", "set", "acme", option, value], "");
        let applied = apply(&database, path, value);
        let of_add = !["--outbound-auth", "--auth", "--aors"].contains(&option);
        let contact = if option == "--contact" { &[][..] } else { &["--contact", "sip:192.0.2.9"] };
        let arguments = [&["client", "add", "new", "--name", "New", option, value], contact].concat();
        let added = of_add.then(|| run(&database, &arguments, ""));
        for output in [set, applied].into_iter().chain(added) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(5) && said.contains(why), "{option} {value}: {said}");
        }
        assert_eq!(stored(&database), before, "{option} {value}");
    }
}

#[test]
fn what_others_have_may_be_shared_and_old_faults_keep_nobody_from_mending_others() {
    let database = sample();
    database.execute(
        "INSERT INTO pjsip_auths (id, client_id, username, password)
         SELECT 'borealis', id, 'us', 'x' FROM clients WHERE client_identifier = 'borealis' ON CONFLICT DO NOTHING",
    );
    let set = |arguments: &[&str]| {
        let output = run(&database, &[&["pjsip", "set", "acme"], arguments].concat(), "");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let problems = || {
        let shown: Value =
            serde_json::from_str(&database.capconduit(&["pjsip", "show", "acme", "--json"])).expect("JSON");
        shown["problems"].to_string()
    };
    set(&["--outbound-auth", "borealis", "--auth", "borealis", "--aors", "borealis"]);
    assert_eq!(problems(), "[]");
    assert_eq!(database.capconduit(&["db", "verify"]), "No difference.\n");

    database.execute("UPDATE pjsip_endpoints SET outbound_auth = 'gone', aors = 'acme,gone' WHERE id = 'acme'");
    let said = problems();
    assert!(
        said.contains("outbound_auth has \\\"gone\\\", which does not exist: calls that the client challenges"),
        "{said}"
    );
    assert!(said.contains("aors has \\\"gone\\\", which does not exist"), "{said}");
    set(&["--contact", "sip:192.0.2.7"]);
    set(&["--aors", ""]);
    set(&["--outbound-auth", ""]);
    assert_eq!(problems(), "[]");
}

#[test]
fn what_pjsip_conf_may_lack_is_said() {
    let database = sample();
    let said = |arguments: &[&str]| {
        let output = run(&database, arguments, "");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (n, (contact, why)) in [
        ("sip:192.0.2.1;transport=tls", "no transport for tls"),
        ("sips:192.0.2.1", "res_pjsip_sips_contact.so"),
        ("sip:192.0.2.1;transport=tcp", ""),
        ("sip:192.0.2.1", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (new, name) = (format!("new{n}"), format!("New {n}"));
        for arguments in [
            &["client", "add", &new, "--name", &name, "--contact", contact][..],
            &["pjsip", "set", "acme", "--contact", contact],
            &["client", "set", "acme", "--contact", contact],
        ] {
            let said = said(arguments);
            assert_eq!(said.contains("note: "), !why.is_empty(), "{arguments:?}: {said}");
            assert!(said.contains(why), "{arguments:?}: {said}");
        }
    }
    let named = said(&["pjsip", "set", "acme", "--transport", "transport-tls"]);
    assert!(named.contains("no transport \"transport-tls\""), "{named}");
    assert!(!said(&["pjsip", "set", "acme", "--transport", "transport-udp"]).contains("note: "));
    let opus = said(&["pjsip", "set", "acme", "--allow", "opus,g729"]);
    assert!(opus.contains("nothing here translates opus,g729"), "{opus}");
    assert!(!said(&["pjsip", "set", "acme", "--allow", "opus,ulaw"]).contains("note: "));
}
