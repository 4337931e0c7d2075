//! Real calls through a real Asterisk: what each ending does on the SIP side and leaves behind.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::harness::asterisk::Asterisk;
use crate::harness::postgres::Database;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::Link;
use crate::harness::{free_port, wait_for};
use crate::stage::stage;

#[test]
fn an_answered_call_is_recorded_with_its_bridged_time() {
    let (stage, _turn) = stage();
    // With early answer the caller's time begins two seconds before the client's.
    for (asterisk, hold) in [(&stage.early, 5000), (&stage.ringing, 3000)] {
        let centre = Centre::start(Behaviour::Answer { ring: 2000 });
        let site = stage.site("priority", 20, &[Link::to(centre.contact())]);
        let codes = Calls { did: &site.did, then: Then::HangUpAfter(hold), ..Calls::default() }.place(asterisk);
        assert_eq!(codes, [200]);
        let records = site.wait_for_records(
            1,
            // how long it takes to reach the client is the machine's affair; it is not billed, nor is his ringing
            "call_status, billsec_seconds = round(extract(epoch FROM timestamp_end - timestamp_answered)),
             duration_seconds = round(extract(epoch FROM timestamp_end - timestamp_start)),
             client_identifier, hangup_cause_code, hangup_cause_text, caller_id_num,
             timestamp_answered - timestamp_start >= '1.9 s', billsec_seconds BETWEEN 2 AND 4,
             abs(extract(epoch from now() - timestamp_end)) < 60",
        );
        assert_eq!(records, [format!("ANSWERED|t|t|{}|16|Normal Clearing|12125550147|t|t|t", site.clients[0])]);
        assert_eq!(site.counts(), [1]);
        assert_eq!(
            site.attempts(
                "attempt_number, release_reason, dial_status, hangup_cause_code, system_name IN ('early', 'ringing')"
            ),
            ["1|hangup|ANSWER|16|t"]
        );
    }
}

#[test]
fn the_client_may_hang_up_first() {
    let (stage, _turn) = stage();
    for asterisk in [&stage.early, &stage.ringing] {
        let centre = Centre::start(Behaviour::AnswerAndHangUp { ring: 0, talk: 1000 });
        let site = stage.in_order(&[centre.contact()]);
        let codes = Calls { did: &site.did, then: Then::WaitForEnd, ..Calls::default() }.place(asterisk);
        assert_eq!(codes, [200]);
        assert_eq!(site.wait_for_records(1, "call_status, billsec_seconds"), ["ANSWERED|1"]);
        assert_eq!((site.counts(), site.open_attempts()), (vec![1], 0));
    }
}

/// The first client does not take the call: the second gets it.
fn fails_over(first: &str, dial_status: &str) {
    let (stage, _turn) = stage();
    let good = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[first.to_owned(), good.contact()]);
    for (asterisk, calls) in [(&stage.ringing, 1), (&stage.early, 2)] {
        // the caller outlasts the first client's two seconds, also where it has been answered
        let then = Then::HangUpAfter(3500);
        assert_eq!(Calls { did: &site.did, then, ..Calls::default() }.place(asterisk), [200]);
        let records = site.wait_for_records(calls, "call_status, client_identifier");
        assert_eq!(records[calls - 1], format!("ANSWERED|{}", site.clients[1]));
    }
    let attempt = format!("failover|{dial_status}");
    assert_eq!(site.attempts("release_reason, dial_status"), [&attempt, "hangup|ANSWER", &attempt, "hangup|ANSWER"]);
    assert_eq!(site.attempts("attempt_number"), ["1", "2", "1", "2"]);
    assert_eq!(site.counts(), [0, 2]);
    assert_eq!(good.calls(), 2);
}

#[test]
fn a_busy_client_fails_over() {
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    fails_over(&busy.contact(), "BUSY");
}

#[test]
fn a_client_that_does_not_know_the_number_fails_over() {
    let unknown = Centre::start(Behaviour::Refuse(404, "Not Found"));
    fails_over(&unknown.contact(), "CHANUNAVAIL");
}

#[test]
fn a_congested_client_fails_over() {
    let congested = Centre::start(Behaviour::Refuse(503, "Service Unavailable"));
    fails_over(&congested.contact(), "CONGESTION");
}

#[test]
fn a_silent_client_fails_over() {
    let ringing = Centre::start(Behaviour::Ring);
    fails_over(&ringing.contact(), "NOANSWER");
    wait_for("every ringing call to be cancelled", || ringing.peak_and_now().1 == 0);
}

#[test]
fn a_client_behind_a_closed_port_fails_over() {
    fails_over(&format!("sip:127.0.0.1:{}", free_port("127.0.0.1")), "NOANSWER");
}

#[test]
fn a_client_that_refuses_connections_fails_over() {
    fails_over(&format!("sip:127.0.0.1:{};transport=tcp", free_port("127.0.0.1")), "CONGESTION");
}

#[test]
fn when_every_client_was_asked_the_call_ends_as_the_last_one_did() {
    let (stage, _turn) = stage();
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    let ringing = Centre::start(Behaviour::Ring);
    let congested = Centre::start(Behaviour::Refuse(503, "Service Unavailable"));
    for (contacts, code, status) in
        [([&congested, &busy], 486, "BUSY"), ([&busy, &ringing], 480, "NOANSWER"), ([&busy, &congested], 503, "FAILED")]
    {
        let site = stage.in_order(&contacts.map(Centre::contact));
        let codes = Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing);
        assert_eq!(codes, [code]);
        let records = site.wait_for_records(1, "call_status, client_identifier, billsec_seconds, timestamp_answered");
        assert_eq!(records, [format!("{status}|{}|0|", site.clients[1])]);
        assert_eq!((site.counts(), site.open_attempts()), (vec![0, 0], 0));
    }
}

#[test]
fn a_full_concurrency_cap_rejects_with_503() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.site("priority", 20, &[Link { max_concurrency: 1, ..Link::to(centre.contact()) }]);
    let first = Calls { did: &site.did, then: Then::HangUpAfter(3000), ..Calls::default() }.start(&stage.ringing);
    wait_for("the first call", || centre.calls() == 1);
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [503]);
    assert_eq!(first.finish(), [200]);
    let mut records = site.wait_for_records(2, "call_status, client_identifier, hangup_cause_code");
    records.sort();
    assert_eq!(records, [format!("ANSWERED|{}|16", site.clients[0]), "REJECTED_CC||34".into()]);
    // the slot is free again
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [200]);
    site.wait_for_records(3, "1");
    assert_eq!(site.counts(), [2]);
}

#[test]
fn with_early_answer_a_rejected_caller_is_hung_up_on() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.site("priority", 20, &[Link { total_calls_allowed: Some(0), ..Link::to(centre.contact()) }]);
    assert_eq!(Calls { did: &site.did, then: Then::WaitForEnd, ..Calls::default() }.place(&stage.early), [200]);
    assert_eq!(site.wait_for_records(1, "call_status, billsec_seconds"), ["REJECTED_TOTAL|0"]);
    assert_eq!(centre.calls(), 0);
}

#[test]
fn a_full_total_cap_rejects_and_counts_only_answered_calls() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.site("priority", 20, &[Link { total_calls_allowed: Some(2), ..Link::to(centre.contact()) }]);
    let place = || Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing);
    for n in 1..=2 {
        assert_eq!(place(), [200]);
        site.wait_for_records(n, "1");
    }
    assert_eq!(place(), [503]);
    assert_eq!(site.wait_for_records(3, "call_status"), ["ANSWERED", "ANSWERED", "REJECTED_TOTAL"]);
    assert_eq!(site.counts(), [2]);
}

/// Calls that find no client: what the carrier and the record say.
#[test]
fn a_call_that_cannot_be_routed_says_why() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for (change, code, status) in [
        ("DELETE FROM dids WHERE number = '{did}'", 404, "REJECTED_DID_NOT_FOUND"),
        ("UPDATE dids SET status = 'inactive' WHERE number = '{did}'", 404, "REJECTED_DID_INACTIVE"),
        ("UPDATE users SET status = 'suspended' WHERE username = '{user}'", 403, "REJECTED_OWNER_INACTIVE"),
        (
            "UPDATE campaigns SET status = 'paused' WHERE name = '{campaign}'",
            480,
            "REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID",
        ),
        ("UPDATE clients SET status = 'inactive' WHERE client_identifier = '{client}'", 480, "REJECTED_NO_CLIENTS"),
        ("DELETE FROM pjsip_endpoints WHERE id = '{client}'", 480, "REJECTED_NO_CLIENTS"),
    ] {
        let site = stage.in_order(&[centre.contact()]);
        let change = change
            .replace("{did}", &site.did)
            .replace("{user}", &site.user)
            .replace("{campaign}", &site.campaign)
            .replace("{client}", &site.clients[0]);
        site.database.execute(&change);
        assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [code], "{change}");
        assert_eq!(site.wait_for_records(1, "call_status, client_identifier"), [format!("{status}|")], "{change}");
        assert_eq!(site.attempts("1"), [""; 0], "{change}");
    }
    assert_eq!(centre.calls(), 0);
}

#[test]
fn every_form_of_a_number_reaches_its_did() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let digits = &site.did[1..];
    for (n, sent) in [digits.to_owned(), format!("+{digits}"), format!("00{digits}")].iter().enumerate() {
        assert_eq!(Calls { did: sent, ..Calls::default() }.place(&stage.ringing), [200], "{sent}");
        site.wait_for_records(n + 1, "1");
    }
    assert_eq!(site.counts(), [3]);
}

#[test]
fn a_caller_who_gives_up_while_it_rings_has_abandoned_the_call() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Ring);
    for (asterisk, then, code) in
        [(&stage.ringing, Then::GiveUpAfter(1000), 487), (&stage.early, Then::HangUpAfter(1000), 200)]
    {
        let site = stage.site("priority", 20, &[Link::to(centre.contact())]);
        assert_eq!(Calls { did: &site.did, then, ..Calls::default() }.place(asterisk), [code]);
        let records = site.wait_for_records(1, "call_status, client_identifier, billsec_seconds, timestamp_answered");
        assert_eq!(records, [format!("ABANDONED|{}|0|", site.clients[0])]);
        assert_eq!(site.attempts("release_reason, dial_status"), ["hangup|CANCEL"]);
        assert_eq!(site.counts(), [0]);
    }
    wait_for("the client to be told", || centre.peak_and_now().1 == 0);
}

#[test]
fn a_caller_who_gives_up_while_cc_route_runs_leaves_no_claim() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for (asterisk, then, code) in
        [(&stage.ringing, Then::GiveUpAfter(500), 487), (&stage.early, Then::HangUpAfter(500), 200)]
    {
        let site = stage.site("priority", 20, &[Link { max_concurrency: 1, ..Link::to(centre.contact()) }]);
        // The claim waits behind this transaction, as behind a slow claim of another call.
        let mut client = site.database.connect();
        let mut tx = client.transaction().expect("a transaction");
        let lock = format!("SELECT pg_advisory_xact_lock(1128481603, {})", site.campaign_id);
        tx.batch_execute(&lock).expect("the campaign's lock");
        assert_eq!(Calls { did: &site.did, then, ..Calls::default() }.place(asterisk), [code]);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(site.attempts("1"), [""; 0], "the claim still waits");
        tx.commit().expect("commit");
        assert_eq!(site.wait_for_records(1, "call_status, billsec_seconds"), ["ABANDONED|0"]);
        // it was claimed after the caller had gone, and released
        assert_eq!(site.attempts("release_reason, dial_status"), ["hangup|"]);
        assert_eq!(site.counts(), [0]);
    }
    assert_eq!(centre.calls(), 0);
}

#[test]
fn a_caller_who_gives_up_before_the_second_client_is_dialled_was_with_nobody() {
    let (stage, _turn) = stage();
    let (ringing, second) = (Centre::start(Behaviour::Ring), Centre::start(Behaviour::Answer { ring: 0 }));
    let site = stage.in_order(&[ringing.contact(), second.contact()]);
    let calls = Calls { did: &site.did, then: Then::GiveUpAfter(2800), ..Calls::default() };
    let calling = calls.start(&stage.ringing);
    wait_for("the first client to ring", || ringing.calls() == 1);
    // the second claim waits behind this until the caller has gone
    let mut client = site.database.connect();
    let mut tx = client.transaction().expect("a transaction");
    tx.batch_execute(&format!("SELECT pg_advisory_xact_lock(1128481603, {})", site.campaign_id)).expect("the lock");
    std::thread::sleep(Duration::from_millis(3200));
    tx.commit().expect("commit");
    assert_eq!(calling.finish(), [487]);
    assert_eq!(site.wait_for_records(1, "call_status"), ["ABANDONED"]);
    assert_eq!(site.attempts("release_reason, dial_status"), ["failover|NOANSWER", "hangup|"]);
    assert_eq!(second.calls(), 0);
}

/// One call to this URI, and what is recorded of it: number and status.
#[track_caller]
fn call(asterisk: &Asterisk, database: &Database, uri: &str) -> (u16, String) {
    call_and(Then::HangUpAfter(100), asterisk, database, uri)
}

#[track_caller]
fn call_and(then: Then, asterisk: &Asterisk, database: &Database, uri: &str) -> (u16, String) {
    static CALLER: AtomicU32 = AtomicU32::new(1);
    let caller = format!("4930{:07}", CALLER.fetch_add(1, Ordering::Relaxed));
    let codes = Calls { did: uri, number: &caller, then, ..Calls::default() }.place(asterisk);
    let records = format!("SELECT incoming_did_number, call_status FROM call_logs WHERE caller_id_num = '{caller}'");
    wait_for(&format!("a record of {uri}, answered with {codes:?}"), || !database.query(&records).is_empty());
    (codes[0], database.query(&records).join(" and "))
}

const HERE: &str = "[remote_ip]:[remote_port]";

#[test]
fn a_number_reaches_its_did_in_every_request_line() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let digits = &site.did[1..];
    let last = &digits[7..];
    let forms = [
        format!("sip:+{digits}@{HERE};user=phone"),
        format!("sip:%2B{digits}@{HERE}"),
        format!("sip:+1-800-555-{last}@{HERE}"),
        format!("sip:+1(800)555.{last}@{HERE}"),
        format!("sip:+{digits}:password@{HERE}"),
        format!("sip:+{digits};ext=1@{HERE}"),
        format!("sip:+{digits}%3Bisub=1411@{HERE}"),
        format!("sip:+{digits};npdi;rn=+12025440000;cic=+1-6789@{HERE}"),
        format!("sip:+{digits};user=phone;tgrp=a;trunk-context=example.com@{HERE}"),
        format!("sip:{digits};phone-context=+1@{HERE}"),
        format!("sip:{digits};phone-context=carrier.example.com@{HERE}"),
        format!("sip:{digits}%23@{HERE}"),
        format!("sip:{digits}#@{HERE}"),
        // Asterisk takes 79 bytes
        format!("sip:+{digits};verstat={}@{HERE}", "x".repeat(90)),
        format!("tel:+{digits}"),
        format!("tel:+1-800-555-{last};ext=1"),
    ];
    for uri in &forms {
        assert_eq!(call(&stage.ringing, &site.database, uri), (200, format!("{}|ANSWERED", site.did)), "{uri}");
    }
    assert_eq!(centre.calls(), forms.len());
}

#[test]
fn digits_of_different_things_are_no_number_together() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    // together they are the DID
    let (number, digit) = site.did.split_at(site.did.len() - 1);
    for (between, recorded) in [
        (";ext=", None),
        (";isub=", None),
        (";npdi;rn=", None),
        (";postd=p", None),
        (":", None),
        ("%00", None),
        (";", Some(";")),
        ("%3B", Some(";")),
        ("%23", Some("#")),
        ("*", Some("*")),
        (",", Some(",")),
        ("p", Some("p")),
        ("w", Some("w")),
        ("x", Some("x")),
        ("F", Some("F")),
        ("&", Some("&")),
        ("/", Some("/")),
        ("=", Some("=")),
        ("+", Some("+")),
        ("%40", Some("@")),
        ("%22%29%2C", Some("\"),")),
        ("%24%7BCC_START%7D", Some("${CC_START}")),
        ("%2520", Some("%20")),
        ("%252D", Some("%2D")),
        ("%C2%A0", Some("\u{a0}")),
        ("%20%20%20%20", Some("    ")),
        ("ext", Some("ext")),
    ] {
        let uri = format!("sip:{number}{between}{digit}@{HERE}");
        let recorded = recorded.map_or(number.to_owned(), |text| format!("{number}{text}{digit}"));
        let expected = (404, format!("{recorded}|REJECTED_DID_NOT_FOUND"));
        assert_eq!(call(&stage.ringing, &site.database, &uri), expected, "{uri}");
    }
    // what Asterisk takes for the end of a function and a cut of its value: the DID would be left
    let did = &site.did;
    for (cut, kept) in [("1", &did[1..]), ("0%3A11", &did[1..])] {
        let uri = format!("sip:+{}{kept})%3A{cut}@{HERE}", if cut == "1" { "7" } else { "" });
        let (status, record) = call(&stage.ringing, &site.database, &uri);
        assert!(status == 404 && record.ends_with("|REJECTED_DID_NOT_FOUND"), "{uri}: {status} {record}");
        assert!(record.contains(")!"), "{uri}: {record}");
    }
    assert_eq!((centre.calls(), site.records("1").len()), (0, 0));
}

#[test]
fn every_call_is_recorded_whatever_was_dialled() {
    let (stage, _turn) = stage();
    let long = "9".repeat(200);
    for (sent, recorded) in [
        // without a user part, Asterisk has this name for it
        ("", "s"),
        ("s@", "s"),
        // the dialplan's own
        ("h@", "h"),
        ("i@", "i"),
        ("t@", "t"),
        ("T@", "T"),
        ("e@", "e"),
        ("*8@", "*8"),
        ("x@", "x"),
        ("_@", "_"),
        ("_X.@", "_X."),
        ("_!@", "_!"),
        ("_1800@", "_1800"),
        ("*@", "*"),
        ("%23@", "#"),
        ("+@", "+"),
        ("+x@", "+x"),
        ("-@", "-"),
        (".@", "."),
        ("!@", "!"),
        ("&@", "&"),
        ("%@", "%"),
        ("%2541@", "%41"),
        ("%22@", "\""),
        ("%0a@", "\n"),
        ("%20@", " "),
        ("%00@", "s"),
        ("%FF%FE@", "ÿþ"),
        ("zo%C3%AB@", "zoë"),
        ("%24%7BSHELL(id)%7D@", "${SHELL(id)}"),
        ("*72#x@", "*72#x"),
        ("anonymous@", "anonymous"),
        ("Some;x=1.Body@", "Some;x=1.Body"),
        ("0@", "0"),
        (&format!("{long}@"), &long[..50]),
    ] {
        let uri = format!("sip:{sent}{HERE}");
        let expected = (404, format!("{recorded}|REJECTED_DID_NOT_FOUND"));
        assert_eq!(call(&stage.ringing, &stage.database, &uri), expected, "{uri}");
    }
    // to what an answered call hangs up with
    let answered = call_and(Then::WaitForEnd, &stage.early, &stage.database, &format!("sip:h@{HERE}"));
    assert_eq!(answered, (200, "h|REJECTED_DID_NOT_FOUND".into()));
    let warnings = stage.ringing.log();
    assert!(!warnings.contains("strongly discouraged") && !warnings.contains("URIENCODE"), "{warnings}");
}

#[test]
fn hostile_caller_id_is_stored_intact_and_harmless() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let names: [(&str, &str); 7] = [
        // Asterisk keeps the backslashes of a quoted string
        ("\"O'Brien, \\\"Zoë\\\" & 東京\"", "O'Brien, \\\"Zoë\\\" & 東京"),
        ("\"'); DROP TABLE users; --\"", "'); DROP TABLE users; --"),
        ("\"${SHELL(id)} $(id) `id` %0a\"", "${SHELL(id)} $(id) `id` %0a"),
        ("\"a,b|c;d=e^f (g) ) {h}\"", "a,b|c;d=e^f (g) ) {h}"),
        ("\"PJSIP/x&PJSIP/y@z\"", "PJSIP/x&PJSIP/y@z"),
        ("\"200 result=1 (x)\"", "200 result=1 (x)"),
        ("\"Al):1:2\"", "Al):1:2"),
    ];
    let users = site.database.value("SELECT count(*) > 0 FROM users");
    for (n, (sent, _)) in names.iter().enumerate() {
        let call = Calls { did: &site.did, name: sent.as_bytes(), number: "+1212'5550147", ..Calls::default() };
        assert_eq!(call.place(&stage.ringing), [200], "{sent}");
        site.wait_for_records(n + 1, "1");
    }
    assert_eq!(site.records("caller_id_name"), names.map(|(_, stored)| stored));
    assert_eq!(site.records("caller_id_num")[0], "+1212'5550147");
    assert_eq!(site.database.value("SELECT count(*) > 0 FROM users"), users);
    assert_eq!(centre.calls(), names.len());
}

#[test]
fn a_caller_id_that_is_not_utf8_leaves_a_record() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let call = Calls { did: &site.did, name: b"\"Zo\xEB \xFF\"", ..Calls::default() };
    assert_eq!(call.place(&stage.ringing), [200]);
    let name = site.wait_for_records(1, "caller_id_name").remove(0);
    assert!(name.starts_with("Zo"), "{name}");
}

#[test]
fn a_redirect_by_a_client_is_not_followed() {
    let elsewhere = Centre::start(Behaviour::Answer { ring: 0 });
    let redirecting = Centre::start(Behaviour::Redirect(elsewhere.port));
    fails_over(&redirecting.contact(), "BUSY");
    assert_eq!((redirecting.calls(), elsewhere.calls()), (2, 0));
}
