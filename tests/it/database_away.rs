//! What callers and records get while the database cannot be reached.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::Database;
use crate::harness::sip::Calls;
use crate::harness::{free_port, program, wait_for};
use crate::stage::stage;

/// Runs an AGI program as Asterisk would, on a channel that answers anything.
fn agi(name: &str, url: &str) -> Output {
    let mut child = Command::new(program(name))
        .env("DATABASE_URL", url)
        .env("CAPCONDUIT_ENV_FILE", "/dev/null")
        .env("CAPCONDUIT_CONNECT_TIMEOUT", "0.5")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let said = "agi_uniqueid: node-1.1\n\n200 result=1 (node-1.1&18005550101&5551234)\n200 result=1\n200 result=1\n";
    child.stdin.take().expect("piped").write_all(said.as_bytes()).expect("read");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_server_that_is_not_there_or_does_not_answer_is_no_decision() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("bound").port();
    for port in [free_port("127.0.0.1"), silent_port] {
        let url = format!("postgresql://u:secret@127.0.0.1:{port}/x");
        let output = agi("cc-route", &url);
        let sent = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{sent}");
        assert!(
            sent.contains("SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_HANGUP_CAUSE)\" \"error,unreachable,42\""),
            "{sent}"
        );
        assert!(sent.contains("VERBOSE \"cc-route.agi: no decision: the database"), "{sent}");
        assert!(!sent.contains("secret"), "{sent}");

        let output = agi("cdr_logger", &url);
        let sent = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{sent}");
        assert!(sent.contains("unrecorded call: {\\\"incoming_did_number\\\""), "{sent}");
        assert!(!sent.contains("secret"), "{sent}");
    }
}

#[test]
fn a_call_is_refused_with_503_and_its_record_kept_in_the_log() {
    // beside the tests that measure times
    let (_, _turn) = stage();
    let nowhere = Database { url: format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1")), name: "x".into() };
    let asterisk = Asterisk::start(&nowhere, &Options { system_name: "alone", early_answer: false });
    let call = Calls { did: "18005550101", number: "5551234", ..Calls::default() };
    assert_eq!(call.place(&asterisk), [503]);
    wait_for("the record in the log", || {
        let log = asterisk.log();
        log.contains("unrecorded call: {\"incoming_did_number\":\"+18005550101\",\"caller_id_num\":\"5551234\"")
            && log.contains("\"call_status\":\"FAILED\"")
            && log.contains("\"asterisk_uniqueid\":\"alone-")
    });
}
