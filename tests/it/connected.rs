//! Answered is who was connected: the record says what Asterisk's bridge did, also where the caller leaves in the
//! moment of the client's answer. (A client may answer a caller who has left: his side of SIP then says "answered"
//! for as long as the two messages cross, and nobody talked.)

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::wait_for;

/// Its log says what the dialplan does, and who joins a bridge.
const LOGGER_CONF: &str = "[general]\n[logfiles]\nmessages.log => notice,warning,error,verbose(4)\n";

fn start(database: &Database, early_answer: bool) -> Asterisk {
    let files = [("logger.conf", LOGGER_CONF)];
    Asterisk::start(database, &Options { system_name: "bridge", early_answer, files: &files, ..Options::default() })
}

/// Whether a client was connected with the caller, of each call by the time of its end as the dialplan has it: both
/// were in a bridge, and the caller was still there when the client had answered.
fn bridged(asterisk: &Asterisk) -> BTreeSet<(String, bool)> {
    let log = asterisk.log();
    let between = |line: &str, before: &str, after: &str| -> Option<String> {
        Some(line.split_once(before)?.1.split_once(after)?.0.to_owned())
    };
    let of_lines = |before: &str, after: &str| -> BTreeSet<String> {
        log.lines().filter_map(|line| between(line, before, after)).collect()
    };
    let joined = of_lines("bridge_channel.c: Channel ", " joined ");
    let noted = of_lines("SHARED(CC_ANSWERED,", ")=20");
    let answered = |line: &str| between(line, "CC_ANSWERED_MS=", ")").is_some_and(|ms| ms.parse() != Ok(0));
    let ends = log.lines().filter(|line| line.contains("s@cc-hangup:") && line.contains("CC_END=20"));
    ends.filter_map(|line| {
        let channel = between(line, "Set(\"", "\"")?;
        let of_it = format!("ExecIf(\"{channel}\", \"1?Set(CC_ANSWERED_MS=");
        let there = noted.contains(&channel) || log.lines().any(|line| line.contains(&of_it) && answered(line));
        Some((between(line, "CC_END=", "Z\"")?, there && joined.contains(&channel)))
    })
    .collect()
}

/// Whether the records agree with that, and none has one half of an answer. How many were connected.
fn agree(asterisk: &Asterisk, site: &Site, count: usize) -> usize {
    wait_for("the calls to be over", || asterisk.channels() == 0);
    let records: BTreeSet<(String, bool)> = site
        .wait_for_records(
            count,
            "to_char(timestamp_end AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), call_status, \
             timestamp_answered IS NOT NULL, billsec_seconds > 0",
        )
        .iter()
        .map(|record| {
            let fields: Vec<&str> = record.split('|').collect();
            let answered = match fields[1..] {
                ["ANSWERED", "t", _] => true,
                ["ABANDONED", "f", "f"] => false,
                _ => panic!("{record}"),
            };
            (fields[0].to_owned(), answered)
        })
        .collect();
    assert_eq!(records, bridged(asterisk));
    assert_eq!((site.counts()[0] as usize, site.open_attempts()), (records.iter().filter(|r| r.1).count(), 0));
    records.iter().filter(|record| record.1).count()
}

#[test]
fn a_caller_who_leaves_before_he_is_connected_has_abandoned_the_call() {
    let database = Postgres::shared().database();
    let asterisk = start(&database, true);
    // what takes 10 ms on a quiet machine takes 2 s: the client has answered, the two are not connected yet
    let file = asterisk.dir().join("etc/extensions.conf");
    let text = std::fs::read_to_string(&file).expect("own file");
    let slow = text.replace("[cc-answered]\nexten => s,1,", "[cc-answered]\nexten => s,1,Wait(2)\n same => n,");
    assert_ne!(slow, text);
    std::fs::write(&file, slow).expect("own file");
    asterisk.cli("dialplan reload");
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&database, "priority", 20, &[Link::to(centre.contact())]);
    let place = |ms| Calls { did: &site.did, then: Then::HangUpAfter(ms), ..Calls::default() }.place(&asterisk);
    assert_eq!(place(1000), [200]);
    assert_eq!(centre.calls(), 1, "the client has answered");
    assert_eq!(agree(&asterisk, &site, 1), 0);
    assert_eq!(site.attempts("dial_status"), ["ANSWER"]);
    assert_eq!(place(6000), [200]);
    assert_eq!(agree(&asterisk, &site, 2), 1);
}

#[test]
fn where_answer_and_leaving_cross_the_record_says_what_the_bridge_did() {
    let database = Postgres::shared().database();
    let count = 40;
    for early_answer in [true, false] {
        let asterisk = start(&database, early_answer);
        let centre = Centre::start(Behaviour::Answer { ring: 2500 });
        let site = Site::new(&database, "priority", 60, &[Link::to(centre.contact())]);
        let then = if early_answer { Then::HangUpAfter(2500) } else { Then::GiveUpAfter(2500) };
        let calls = Calls { did: &site.did, then, count, per_second: 20, ..Calls::default() };
        let calling = calls.start(&asterisk);
        wait_for("most clients to ring", || centre.calls() >= 20);
        // Both sides' words wait to be read: callers have left, and clients answered, by the time that Asterisk goes on.
        asterisk.signal("STOP");
        std::thread::sleep(Duration::from_secs(4));
        asterisk.signal("CONT");
        calling.codes();
        agree(&asterisk, &site, count as usize);
    }
}
