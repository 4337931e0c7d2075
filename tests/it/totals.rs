//! A place in a total is given back by the outcome of the call alone: not by its lease, not by its channel, not by
//! whoever looks for calls that are gone.

use serde_json::Value;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{process, wait_for_secs};
use crate::stage::stage_alone;

/// What may happen to a call whose record waits in the spool, in any order.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    Reap,
    Replay,
    LeaseEnds,
    NewCalls,
}

/// Every order of the four.
fn orders() -> Vec<Vec<Event>> {
    fn extend(done: &[Event], left: &[Event], all: &mut Vec<Vec<Event>>) {
        if left.is_empty() {
            all.push(done.to_vec());
        }
        for (index, event) in left.iter().enumerate() {
            let rest: Vec<Event> = left.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, e)| *e).collect();
            extend(&[done, &[*event]].concat(), &rest, all);
        }
    }
    let mut all = Vec::new();
    extend(&[], &[Event::Reap, Event::Replay, Event::LeaseEnds, Event::NewCalls], &mut all);
    all
}

#[test]
fn a_spooled_call_keeps_its_place_whatever_comes_before_its_record() {
    let (_, _turn) = stage_alone();
    let postgres = Postgres::start();
    let database = postgres.database();
    let asterisk = Asterisk::start(&database, &Options { system_name: "node", ..Options::default() });
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let orders = orders();
    assert_eq!(orders.len(), 24);
    let link = Link { total_calls_allowed: Some(2), ..Link::to(centre.contact()) };
    let sites: Vec<Site> =
        orders.iter().map(|_| Site::new(&database, "priority", 20, std::slice::from_ref(&link))).collect();
    let calling: Vec<_> = sites
        .iter()
        .map(|site| Calls { did: &site.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(&asterisk))
        .collect();
    wait_for_secs(60, "a call on each site", || centre.peak_and_now().1 == 24 && asterisk.channels() == 48);
    postgres.stop();
    asterisk.cli("channel request hangup all");
    let spool = asterisk.dir().join("spool/capconduit");
    let spooled = || -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(&spool).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    };
    wait_for_secs(60, "24 records in the spool", || spooled().len() == 24 && asterisk.channels() == 0);
    calling.into_iter().for_each(|calling| calling.abandon());
    postgres.resume();

    let file_of = |site: &Site| {
        let of_site = |path: &std::path::PathBuf| std::fs::read_to_string(path).is_ok_and(|t| t.contains(&site.did));
        spooled().into_iter().find(of_site).expect("its record").to_str().expect("UTF-8").to_owned()
    };
    for step in 0..4 {
        let of =
            |event: Event| sites.iter().zip(&orders).filter(move |(_, order)| order[step] == event).map(|(s, _)| s);
        for site in of(Event::LeaseEnds) {
            database.execute(&format!(
                "UPDATE call_attempts SET lease_expires_at = now() - interval '1 s' WHERE campaign_id = {}",
                site.campaign_id
            ));
        }
        for site in of(Event::Replay) {
            let mut replay = database.command();
            process::run(replay.env("CAPCONDUIT_SPOOL_DIR", &spool).args(["call", "replay", "--file", &file_of(site)]));
        }
        // this server's own are the calls whose turn it is
        let ids: Vec<String> = of(Event::Reap).map(|site| site.campaign_id.to_string()).collect();
        database.execute(&format!(
            "UPDATE call_attempts SET system_name = CASE WHEN campaign_id IN ({}) THEN 'node' ELSE 'other' END",
            ids.join(", ")
        ));
        let mut reap = database.command();
        asterisk.on_its_server(&mut reap);
        process::run(reap.args(["call", "reap"]));
        for site in of(Event::NewCalls) {
            let mut statuses = Calls { did: &site.did, count: 3, ..Calls::default() }.place(&asterisk);
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 503, 503], "the first call and one more, in step {step}");
        }
    }
    for (site, order) in sites.iter().zip(&orders) {
        assert!(order.contains(&Event::Replay));
        let ended = site.wait_for_records(4, "call_status");
        assert_eq!(ended.iter().filter(|status| *status == "ANSWERED").count(), 2, "{ended:?}");
        assert_eq!(site.counts(), [2]);
    }
    assert_eq!(
        database.query("SELECT count(*) FROM call_attempts WHERE released_at IS NULL OR count_pending"),
        ["0"],
        "all is settled"
    );
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

/// A claim of a call on a server that is gone.
fn claim(site: &Site, call: &str) -> String {
    site.database.value(&format!(
        "SELECT concat_ws(' ', status, call_status) FROM cc_route('{}', '{call}', '{call}', 'gone', '', '', NULL, NULL)",
        site.did
    ))
}

fn log(site: &Site, call: &str, status: &str, billsec: u32) {
    site.database.execute(&format!(
        "SELECT cc_log_call('{}', '', '', now() - interval '1 h', now() - interval '1 h', now(), 3600, {billsec},
                            '{status}', 16, '', '{call}', '{call}', '', NULL)",
        site.did
    ));
}

/// Every end of a lease and of a channel, by each of those who look.
fn lose(database: &Database) {
    database.execute("UPDATE call_attempts SET lease_expires_at = now() - interval '1 h' WHERE released_at IS NULL");
    database.capconduit(&["call", "reap"]);
}

fn settle(database: &Database, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = database.command();
    let output = command.args(["call", "settle", "--json"]).args(arguments).output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.code(), said)
}

#[test]
fn what_nobody_knows_a_person_decides_and_the_record_itself_goes_before_it() {
    let database = Postgres::shared().database();
    let link = Link { total_calls_allowed: Some(2), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let verify = || assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    for call in ["a-1.1", "b-1.1"] {
        assert_eq!(claim(&site, call), "proceed");
    }
    // its Asterisk's clock is ahead of the database's
    database
        .execute("UPDATE call_attempts SET call_started_at = now() + interval '1 h' WHERE asterisk_uniqueid = 'b-1.1'");
    assert_eq!(settle(&database, &["a-1.1", "--answered"]).0, Some(4), "it may be up");
    lose(&database);
    assert_eq!(site.attempts("release_reason, count_pending"), ["expired|t"; 2]);
    assert_eq!(claim(&site, "c-1.1"), "reject REJECTED_TOTAL", "either may have been answered");
    let said: Value =
        serde_json::from_str(&database.capconduit(&["route", "explain", &site.did, "--json"])).expect("JSON");
    let candidate = &said["candidates"][0];
    assert_eq!((&candidate["live_calls"], &candidate["uncounted_calls"]), (&0.into(), &2.into()), "{candidate}");

    // one of them is decided: not answered
    let (code, said) = settle(&database, &["a-1.1", "--unanswered", "--dry-run"]);
    assert!(code == Some(0) && said.contains("\"FAILED\""), "{said}");
    assert_eq!(site.records("1"), [""; 0]);
    let (code, said) = settle(&database, &["a-1.1", "--unanswered"]);
    assert!(code == Some(0) && said.contains("\"id\": "), "{said}");
    assert_eq!(claim(&site, "c-1.1"), "proceed");
    log(&site, "c-1.1", "ANSWERED", 60);
    assert_eq!(claim(&site, "d-1.1"), "reject REJECTED_TOTAL", "one was answered, of one it is not known");
    // the other: answered
    assert_eq!(settle(&database, &["b-1.1", "--answered", "--billsec", "95"]).0, Some(0));
    assert_eq!(site.counts(), [2]);
    let records =
        "asterisk_uniqueid, call_status, billsec_seconds, hangup_cause_text LIKE 'settled by %', client_identifier";
    let client = &site.clients[0];
    assert_eq!(
        site.records(records),
        [
            format!("a-1.1|FAILED|0|t|{client}"),
            format!("c-1.1|ANSWERED|60|f|{client}"),
            format!("b-1.1|ANSWERED|95|t|{client}")
        ]
    );
    verify();
    assert_eq!(settle(&database, &["b-1.1", "--answered"]).0, Some(4), "it has a record");
    assert_eq!(settle(&database, &["nobody-1.1", "--answered"]).0, Some(3));
    assert_eq!(settle(&database, &["b-1.1"]).0, Some(2));
    assert_eq!(settle(&database, &["--all", "--answered"]).1, "[]\n", "none is left");

    // The records themselves come late, and say otherwise; and again.
    for _ in 0..2 {
        log(&site, "a-1.1", "ANSWERED", 30);
        log(&site, "b-1.1", "NOANSWER", 0);
    }
    let mut told = site.records(records);
    told.sort();
    assert_eq!(
        told,
        [
            format!("a-1.1|ANSWERED|30|f|{client}"),
            format!("b-1.1|NOANSWER|0|f|{client}"),
            format!("c-1.1|ANSWERED|60|f|{client}")
        ]
    );
    assert_eq!(site.counts(), [2]);
    assert_eq!(claim(&site, "e-1.1"), "reject REJECTED_TOTAL");
    verify();
}

#[test]
fn all_lost_calls_are_settled_at_once_or_none() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    for n in 0..30 {
        assert_eq!(claim(&site, &format!("lost-1.{n}")), "proceed");
    }
    lose(&database);
    assert_eq!(settle(&database, &["--all", "--answered"]).0, Some(2), "without --yes nobody is asked here");
    // one of them is up: nothing is changed
    assert_eq!(claim(&site, "up-1.1"), "proceed");
    assert_eq!(settle(&database, &["lost-1.1", "up-1.1", "--answered"]).0, Some(4));
    assert_eq!((site.counts(), site.records("1").len()), (vec![0], 0));
    let (code, said) = settle(&database, &["--all", "--answered", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((site.counts(), site.records("1").len()), (vec![30], 30));
    assert_eq!(site.open_attempts(), 1);
}

#[test]
fn what_is_closed_by_whoever_keeps_its_place_until_its_outcome_is_known() {
    let database = Postgres::shared().database();
    let close = |how: &str| {
        let links = [1, 2].map(|forwarding_priority| Link {
            forwarding_priority,
            total_calls_allowed: Some(1),
            ..Link::to("sip:127.0.0.1:9")
        });
        let site = Site::new(&database, "priority", 20, &links);
        assert_eq!(claim(&site, &format!("{how}-1")), "proceed");
        match how {
            "verify" => {
                database.execute(&format!(
                    "UPDATE call_attempts SET lease_expires_at = now() - interval '1 h' WHERE campaign_id = {}",
                    site.campaign_id
                ));
                database.command().args(["db", "verify", "--repair"]).output().expect("it runs");
            }
            "lease" => database.execute(&format!(
                "UPDATE call_attempts SET lease_expires_at = now() - interval '1 s' WHERE campaign_id = {}",
                site.campaign_id
            )),
            // refused by the sink for good, as bad data is: a person mends it, and replays it
            "refused" => database.execute(&format!("SELECT cc_release_call('{how}-1', 'ANSWER', 16, true)")),
            _ => lose(&database),
        }
        site
    };
    for how in ["reap", "verify", "lease", "refused"] {
        let site = close(how);
        let claimed = |call: &str| {
            site.database.value(&format!(
                "SELECT concat_ws(' ', r.status, s.forwarding_priority, r.attempt_number)
                 FROM cc_route('{}', '{call}', '{call}', 'gone', '', '', NULL, NULL, 0) r
                 LEFT JOIN campaign_client_settings s ON s.id = r.setting_id",
                site.did
            ))
        };
        assert_eq!(claimed(&format!("{how}-2")), "proceed 2 1", "{how}: the first link is taken");
        if how == "refused" {
            continue;
        }
        // the call was up all the time: its next question is the outcome of this attempt, which frees its place
        let next = site.database.value(&format!(
            "SELECT concat_ws(' ', status, call_status) FROM cc_route('{}', '{how}-1', '', 'gone', '', '', 'BUSY', 17, 1)",
            site.did
        ));
        assert_eq!(next, "reject REJECTED_TOTAL", "{how}");
        assert_eq!(claimed(&format!("{how}-3")), "proceed 1 1", "{how}: it was busy");
        assert_eq!(
            site.attempts("release_reason, dial_status, count_pending")[0],
            "failover|BUSY|f",
            "{how}: whoever closed it before"
        );
    }
}
