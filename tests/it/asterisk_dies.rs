//! Asterisk killed with calls up: what holds their places, and what frees them.

use std::process::Command;

use serde_json::Value;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::Postgres;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{wait_for, wait_for_secs};
use crate::stage::stage_alone;

/// How an Asterisk can be asked.
type Way<'a> = &'a dyn Fn(&mut Command);

#[test]
fn twenty_places_are_free_again_at_once_and_a_live_call_keeps_its_own() {
    let (_, _turn) = stage_alone();
    let database = Postgres::shared().database();
    let start =
        |system_name| Asterisk::start(&database, &Options { system_name, early_answer: false, ..Options::default() });
    let (dies, lives) = (start("dies"), start("lives"));
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&database, "priority", 20, &[Link { max_concurrency: 20, ..Link::to(centre.contact()) }]);
    let other = Site::new(&database, "priority", 20, &[Link { max_concurrency: 2, ..Link::to(centre.contact()) }]);
    let ari: Way<'_> = &|command| dies.through_ari(command);
    let console: Way<'_> = &|command| dies.on_its_server(command);
    let nobody: Way<'_> = &|_| {};
    let reap = |way: Way<'_>, arguments: &[&str]| -> Vec<String> {
        let mut command = database.command();
        way(&mut command);
        let output = command.args(["call", "reap", "--json"]).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let closed: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        closed.iter().map(|c| c["release_reason"].as_str().expect("text").to_owned()).collect()
    };
    // one call on each server that stays up
    let long =
        |site: &Site| Calls { did: &site.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(&lives);
    let live = long(&other);
    let twenty =
        Calls { did: &site.did, then: Then::HangUpAfter(100_000), count: 20, per_second: 10, ..Calls::default() };
    let lost = twenty.start(&dies);
    wait_for_secs(60, "21 calls", || centre.peak_and_now() == (21, 21));
    for way in [ari, console] {
        assert_eq!(reap(way, &[]), [""; 0], "all are alive");
    }

    dies.kill();
    // its socket is still there
    let mut reaping = database.command();
    console(&mut reaping);
    let output = reaping.args(["call", "reap"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(said.contains("21 open") && said.contains("Asterisk does not answer"), "{said}");
    lost.abandon();
    dies.resume();
    // the places are held, so that no cap is exceeded whatever has become of the calls
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&dies), [503]);
    assert_eq!(site.open_attempts(), 20);
    // a call that is up on the server that was started again
    let fresh = Calls { did: &other.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(&dies);
    wait_for("a call on the new server", || other.open_attempts() == 2);

    let told = |arguments: &[&str]| {
        let mut command = database.command();
        console(&mut command);
        let output = command.args(arguments).output().expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let lost = "20 of before Asterisk's start still hold their places: capconduit call reap";
    // what has only just been claimed may be a matter of two clocks
    database.execute("UPDATE call_attempts SET claimed_at = claimed_at - interval '1 min' WHERE system_name = 'dies'");
    for command in [&["status", "--check"][..], &["route", "explain", &site.did]] {
        let text = told(command);
        assert!(text.contains(lost), "{text}");
    }
    // they may hold the last places of a total, too
    let caps = |caps: &str| {
        database.execute(&format!("UPDATE campaign_client_settings SET {caps} WHERE id = {}", site.settings[0]));
    };
    caps("max_concurrency = 30, total_calls_allowed = 20");
    let text = told(&["route", "explain", &site.did]);
    assert!(text.contains("REJECTED_TOTAL") && text.contains(&format!("{lost}. To count from 0")), "{text}");
    caps("max_concurrency = 20, total_calls_allowed = NULL");
    let seen: Value = serde_json::from_str(&told(&["status", "--json"])).expect("JSON");
    let asterisk = &seen["asterisk"];
    assert_eq!((&asterisk["up"], &asterisk["system_name"]), (&true.into(), &"dies".into()), "{asterisk}");
    assert_eq!(asterisk["channels"], 2);
    for way in [ari, console] {
        assert_eq!(reap(way, &["--dry-run"]), ["asterisk_restarted"; 20]);
    }
    assert_eq!(site.open_attempts(), 20);
    assert_eq!(reap(nobody, &[]), [""; 0], "of whom nothing is asked, only what has expired");
    assert_eq!(reap(console, &[]), ["asterisk_restarted"; 20]);
    assert_eq!((site.open_attempts(), other.open_attempts()), (0, 2));
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&dies), [200]);
    site.wait_for_records(2, "1");

    // where nobody is asked: the lease ends by itself, and reap only tidies up, later
    let stuck = format!(
        "SELECT status FROM generate_series(1, 20) n, cc_route('{}', 'gone-' || n, '', 'gone', '', '', NULL, NULL)",
        site.did
    );
    assert_eq!(database.query(&stuck), ["proceed"; 20]);
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&dies), [503]);
    database.execute("UPDATE call_attempts SET lease_expires_at = now() WHERE system_name = 'gone'");
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&dies), [200]);
    site.wait_for_records(4, "1");
    assert_eq!(reap(nobody, &[]), [""; 0], "its own server may be about to renew it");
    database
        .execute("UPDATE call_attempts SET lease_expires_at = now() - interval '16 min' WHERE system_name = 'gone'");
    assert_eq!(reap(nobody, &[]), ["expired"; 20]);
    let reasons =
        "SELECT release_reason, count(*) FROM call_attempts WHERE released_at IS NOT NULL GROUP BY 1 ORDER BY 1";
    assert_eq!(database.query(reasons), ["asterisk_restarted|20", "expired|20", "hangup|2"]);

    // both live calls have survived all that
    assert_eq!(other.open_attempts(), 2);
    for asterisk in [&dies, &lives] {
        assert_eq!(asterisk.channels(), 2, "caller and client");
        asterisk.cli("channel request hangup all");
    }
    for calling in [live, fresh] {
        calling.abandon();
    }
    assert_eq!(other.wait_for_records(2, "call_status"), ["ANSWERED"; 2]);
    assert_eq!((other.open_attempts(), other.counts()), (0, vec![2]));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}
