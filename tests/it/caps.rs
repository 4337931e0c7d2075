//! Caps under load: never exceeded, never left unused, nothing leaked.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::postgres::Postgres;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{wait_for, wait_for_secs};
use crate::stage::stage_alone;

#[test]
fn sixty_calls_at_once_fill_two_links_exactly() {
    let (stage, _turn) = stage_alone();
    let caps = [7, 5];
    let centres = [(); 2].map(|()| Centre::start(Behaviour::Answer { ring: 0 }));
    let links: Vec<Link> = centres
        .iter()
        .zip(caps)
        .map(|(centre, cap)| Link { max_concurrency: cap, ..Link::to(centre.contact()) })
        .collect();
    let site = stage.site("weighted", 20, &links);
    // long enough that the first call is still up when the last one asks
    let calls =
        Calls { did: &site.did, then: Then::HangUpAfter(12_000), count: 60, per_second: 200, ..Calls::default() };
    let calling = calls.start(&stage.ringing);
    let decided = || site.open_attempts() + site.records("1").len();
    wait_for("all 60 calls to be decided", || decided() == 60);
    let groups = stage.ringing.cli("group show channels");
    for (setting, cap) in site.settings.iter().zip(caps) {
        let members = groups.lines().filter(|l| l.split_whitespace().any(|w| w == format!("ccs-{setting}"))).count();
        assert_eq!(members, cap as usize, "{groups}");
    }
    let mut codes = calling.finish();
    codes.sort_unstable();
    assert_eq!(codes, [vec![200; 12], vec![503; 48]].concat());

    let mut records = site.wait_for_records(60, "call_status");
    records.sort();
    assert_eq!(records, [vec!["ANSWERED"; 12], vec!["REJECTED_CC"; 48]].concat());
    for (centre, cap) in centres.iter().zip(caps) {
        wait_for("the client to be told", || centre.peak_and_now().1 == 0);
        let cap = i32::try_from(cap).expect("small");
        assert_eq!(centre.peak_and_now(), (cap, 0), "{}", centre.errors());
        assert_eq!(centre.calls(), cap as usize);
    }
    assert_eq!((site.counts(), site.open_attempts()), (vec![7, 5], 0));
    wait_for("the channels to be gone", || {
        let groups = stage.ringing.cli("group show channels");
        !site.settings.iter().any(|s| groups.lines().any(|l| l.split_whitespace().any(|w| w == format!("ccs-{s}"))))
    });
}

#[test]
fn forty_sessions_claim_one_link() {
    const SESSIONS: usize = 40;
    let (_, _turn) = stage_alone();
    let database = Postgres::shared().database();
    let link = Link { max_concurrency: 10, total_calls_allowed: Some(25), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let (counted, most_open, full) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let begin = Barrier::new(SESSIONS);
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (site, counted, most_open, full, begin) = (&site, &counted, &most_open, &full, &begin);
            scope.spawn(move || {
                let mut client = site.database.connect();
                begin.wait();
                for call in 0.. {
                    let id = format!("s{session}-{call}");
                    let row = client
                        .query_one(
                            "SELECT status, call_status FROM cc_route($1, $2, $2, 'test', '1', '', NULL, NULL)",
                            &[&site.did, &id],
                        )
                        .expect("no error, no deadlock");
                    let open = client
                        .query_one("SELECT count(*) FROM call_attempts WHERE released_at IS NULL", &[])
                        .expect("counts")
                        .get::<_, i64>(0);
                    most_open.fetch_max(usize::try_from(open).expect("positive"), Ordering::Relaxed);
                    let status = row.get::<_, Option<String>>(1);
                    if row.get::<_, &str>(0) == "proceed" {
                        thread::sleep(std::time::Duration::from_millis(50));
                        client
                            .query_one(
                                "SELECT * FROM cc_log_call($1, '1', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', $2, $2, 'ANSWER', NULL)",
                                &[&site.did, &id],
                            )
                            .expect("no error, no deadlock");
                        counted.fetch_add(1, Ordering::Relaxed);
                    } else if status.as_deref() == Some("REJECTED_TOTAL")
                        && counted.load(Ordering::Relaxed) == 25
                    {
                        return;
                    } else {
                        full.store(true, Ordering::Relaxed);
                        assert!(matches!(status.as_deref(), Some("REJECTED_CC" | "REJECTED_TOTAL")), "{status:?}");
                    }
                }
            });
        }
    });
    assert_eq!(counted.load(Ordering::Relaxed), 25);
    assert_eq!(site.counts(), [25]);
    assert_eq!(site.records("1").len(), 25);
    assert_eq!(site.open_attempts(), 0);
    assert!(most_open.load(Ordering::Relaxed) <= 10, "{most_open:?} open at once");
    assert!(full.load(Ordering::Relaxed), "the sessions never met at the cap");
}

#[test]
fn a_total_counts_calls_in_flight() {
    let database = Postgres::shared().database();
    let link = Link { total_calls_allowed: Some(3), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let claim = |id: &str| {
        database.value(&format!(
            "SELECT status || ' ' || coalesce(call_status, '') FROM cc_route('{}', '{id}', '{id}', 't', '', '', NULL, NULL)",
            site.did
        ))
    };
    for id in ["a", "b", "c"] {
        assert_eq!(claim(id), "proceed ");
    }
    assert_eq!(claim("d"), "reject REJECTED_TOTAL");
    // one of the three is not answered: its place is free again
    let log = |id: &str, status: &str| {
        database.execute(&format!(
            "SELECT cc_log_call('{}', '', '', now(), now(), now(), 0, 0, '{status}', 16, '', '{id}', '{id}', '', NULL)",
            site.did
        ));
    };
    log("a", "NOANSWER");
    assert_eq!(claim("e"), "proceed ");
    for id in ["b", "c", "e"] {
        log(id, "ANSWERED");
        log(id, "ANSWERED");
    }
    assert_eq!(site.counts(), [3]);
    assert_eq!(claim("f"), "reject REJECTED_TOTAL");
}

#[test]
fn an_expired_lease_holds_no_cap() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link { max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") }]);
    let claim = |id: &str| {
        database.value(&format!("SELECT status FROM cc_route('{}', '{id}', '{id}', 't', '', '', NULL, NULL)", site.did))
    };
    assert_eq!(claim("a"), "proceed");
    assert_eq!(claim("b"), "reject");
    assert_eq!(
        database
            .value("SELECT lease_expires_at - claimed_at = make_interval(secs => 20 + 14400 + 60) FROM call_attempts"),
        "t"
    );
    database.execute("UPDATE call_attempts SET lease_expires_at = now() - interval '1 s'");
    assert_eq!(claim("c"), "proceed");
}

#[test]
fn a_call_is_not_routed_after_it_was_logged() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let did = &site.did;
    database.execute(&format!(
        "SELECT cc_log_call('{did}', '', '', now(), NULL, now(), 0, 0, 'ABANDONED', 16, '', 'u', 'u', '', NULL)"
    ));
    let late = database
        .value(&format!("SELECT status || ' ' || reason FROM cc_route('{did}', 'u', 'u', 't', '', '', NULL, NULL)"));
    assert_eq!(late, "reject call_ended");
    assert_eq!(site.open_attempts(), 0);
}

/// A question of a call that knows an attempt: status, link and attempt.
fn ask(site: &Site, call: &str, known: u32, dial_status: &str) -> String {
    site.database.value(&format!(
        "SELECT concat_ws(' ', status, reason, setting_id, attempt_number)
         FROM cc_route('{}', '{call}', '{call}', 't', '', '', {dial_status}, NULL, {known})",
        site.did
    ))
}

/// Ends a call and gives the client of its record.
fn end(site: &Site, call: &str) -> String {
    site.database.execute(&format!(
        "SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', '{call}', '{call}', 'ANSWER', NULL)",
        site.did
    ));
    let client = "SELECT coalesce(c.client_identifier, '') FROM call_logs l LEFT JOIN clients c ON c.id = l.client_id";
    site.database.value(&format!("{client} WHERE asterisk_uniqueid = '{call}'"))
}

#[test]
fn a_question_that_comes_again_late_closes_nothing_and_its_lease_holds_the_call() {
    let database = Postgres::shared().database();
    let links = [1, 2].map(|forwarding_priority| Link {
        forwarding_priority,
        max_concurrency: 1,
        ..Link::to("sip:127.0.0.1:9")
    });
    let site = Site::new(&database, "priority", 20, &links);
    let first = format!("proceed {} 1", site.settings[0]);
    assert_eq!(ask(&site, "a", 0, "NULL"), first);
    let lease = "SELECT lease_expires_at >= now() + make_interval(secs => 20 + max_call_seconds + 59)
                 FROM call_attempts a JOIN campaigns g ON g.id = a.campaign_id WHERE asterisk_uniqueid = 'a'";
    for change in [
        "UPDATE call_attempts SET lease_expires_at = lease_expires_at - interval '61 s'",
        "UPDATE campaigns SET max_call_seconds = 2 * max_call_seconds",
        "UPDATE call_attempts SET lease_expires_at = now() + interval '10 s'",
    ] {
        database.execute(change);
        assert_eq!(ask(&site, "a", 0, "NULL"), first, "{change}");
        assert_eq!(database.value(lease), "t", "{change}");
        // the first link is taken
        assert_eq!(ask(&site, "b", 0, "NULL"), format!("proceed {} 1", site.settings[1]));
    }
    assert_eq!(site.attempts("asterisk_uniqueid, released_at IS NULL"), ["a|t", "b|t"]);
    assert_eq!(end(&site, "a"), site.clients[0]);
    // a lease that is over has given its place away: nothing is given again, nothing more is claimed
    database.execute("UPDATE call_attempts SET lease_expires_at = now() - interval '1 s'");
    assert_eq!(ask(&site, "c", 0, "NULL"), first);
    assert_eq!(ask(&site, "b", 0, "NULL"), "reject attempt_over 1");
    assert_eq!(end(&site, "c"), site.clients[0]);
}

#[test]
fn late_questions_in_any_order_change_nothing() {
    let database = Postgres::shared().database();
    let links = [1, 2].map(|forwarding_priority| Link {
        forwarding_priority,
        max_concurrency: 1,
        ..Link::to("sip:127.0.0.1:9")
    });
    let site = Site::new(&database, "priority", 20, &links);
    let given = |link: usize| format!("proceed {} {}", site.settings[link], link + 1);
    // What the channel gets: an attempt, the next after BUSY, an end. The server's own statements for the
    // two attempts come at any place; it is asked for the second one when the channel knows the first.
    for zeroth in 0..=3 {
        for first in 1..=3 {
            for swapped in [false, true] {
                let call = format!("{zeroth}-{first}-{swapped}");
                for step in 0..=3 {
                    let mut late = vec![];
                    late.extend((zeroth == step).then_some((0, "NULL")));
                    late.extend((first == step).then_some((1, "'BUSY'")));
                    if swapped {
                        late.reverse();
                    }
                    for (known, dial_status) in late {
                        let said = ask(&site, &call, known, dial_status);
                        let expected = match step {
                            3 => vec!["reject call_ended".to_owned()],
                            2 => vec![given(1)],
                            _ => vec![given(0), given(1)],
                        };
                        assert!(expected.contains(&said), "{call} {step} {known}: {said}");
                    }
                    match step {
                        0 => assert_eq!(ask(&site, &call, 0, "NULL"), given(0), "{call}"),
                        1 => assert_eq!(ask(&site, &call, 1, "'BUSY'"), given(1), "{call}"),
                        2 => assert_eq!(end(&site, &call), site.clients[1], "{call}"),
                        _ => {}
                    }
                    assert!(site.open_attempts() <= 1, "{call}");
                }
                assert_eq!(site.open_attempts(), 0, "{call}");
            }
        }
    }
    // every client was tried: what comes late finds the attempt closed, and a link that is free again stays so
    assert_eq!(ask(&site, "z", 0, "NULL"), given(0));
    database.execute("UPDATE campaign_client_settings SET status = 'inactive' WHERE forwarding_priority = 2");
    assert_eq!(ask(&site, "z", 1, "'BUSY'"), "reject no_eligible_clients_available");
    database.execute("UPDATE campaign_client_settings SET status = 'active'");
    assert_eq!(ask(&site, "z", 0, "NULL"), "reject attempt_over 1");
    assert_eq!(site.open_attempts(), 0);
}

#[test]
fn two_servers_share_one_cap() {
    let (stage, _turn) = stage_alone();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.site("priority", 20, &[Link { max_concurrency: 9, ..Link::to(centre.contact()) }]);
    let calls =
        Calls { did: &site.did, then: Then::HangUpAfter(10_000), count: 30, per_second: 100, ..Calls::default() };
    let both = [&stage.ringing, &stage.early].map(|asterisk| calls.start(asterisk));
    wait_for_secs(60, "all 60 calls to be recorded", || site.records("1").len() == 60);
    for calling in both {
        calling.abandon();
    }
    wait_for("the client to be told", || centre.peak_and_now().1 == 0);
    assert_eq!(centre.peak_and_now(), (9, 0), "{}", centre.errors());
    let mut statuses = site.records("call_status");
    statuses.sort();
    assert_eq!(statuses, [vec!["ANSWERED"; 9], vec!["REJECTED_CC"; 51]].concat());
    assert_eq!((site.counts(), site.open_attempts()), (vec![9], 0));
    let servers = stage.database.value(&format!(
        "SELECT count(DISTINCT split_part(asterisk_uniqueid, '-', 1)) FROM call_logs WHERE incoming_did_number = '{}'",
        site.did
    ));
    assert_eq!(servers, "2");
}

#[test]
fn a_link_that_is_removed_and_added_again_keeps_its_calls_in_flight() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link { max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") }]);
    let claim = |id: &str| {
        database.value(&format!("SELECT status FROM cc_route('{}', '{id}', '{id}', 't', '', '', NULL, NULL)", site.did))
    };
    assert_eq!(claim("a"), "proceed");
    database.execute(
        "WITH gone AS (DELETE FROM campaign_client_settings RETURNING campaign_id, client_id)
         INSERT INTO campaign_client_settings (campaign_id, client_id, max_concurrency) SELECT *, 1 FROM gone",
    );
    assert_eq!(claim("b"), "reject");
}

#[test]
fn the_record_is_the_sellers_who_had_the_number_when_the_call_came() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let other = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    database.execute(&format!(
        "SELECT cc_route('{did}', 'a', 'a', 't', '', '', NULL, NULL);
         UPDATE dids SET user_id = (SELECT id FROM users WHERE username = '{}') WHERE number = '{did}';
         UPDATE dids SET number = '+19990001' WHERE number = '{did}';
         SELECT cc_log_call('{did}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'a', 'a', 'ANSWER', NULL)",
        other.user,
        did = site.did
    ));
    let record = "SELECT u.username, l.did_id IS NOT NULL, g.name FROM call_logs l JOIN users u ON u.id = l.user_id
                  JOIN campaigns g ON g.id = l.campaign_id";
    assert_eq!(database.query(record), [format!("{}|t|{}", site.user, site.campaign)]);
}

#[test]
fn removals_and_records_do_not_deadlock() {
    let database = Postgres::shared().database();
    let sites: Vec<Site> =
        (0..12).map(|_| Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")])).collect();
    for (n, site) in sites.iter().enumerate() {
        for call in 0..10 {
            let id = format!("{n}-{call}");
            database.execute(&format!("SELECT cc_route('{}', '{id}', '', 't', '', '', NULL, NULL)", site.did));
        }
    }
    thread::scope(|scope| {
        for (n, site) in sites.iter().enumerate() {
            let database = &database;
            scope.spawn(move || {
                for call in 0..10 {
                    let id = format!("{n}-{call}");
                    database.execute(&format!(
                        "SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', '{id}', '', '', NULL)",
                        site.did
                    ));
                }
            });
            scope.spawn(move || {
                thread::sleep(std::time::Duration::from_millis(10 * n as u64));
                site.database.execute(&format!("DELETE FROM users WHERE username = '{}'", site.user));
                site.database.execute(&format!("DELETE FROM clients WHERE client_identifier = '{}'", site.clients[0]));
            });
        }
    });
    assert_eq!(database.value("SELECT count(*) FROM call_logs"), "120");
    assert_eq!(database.value("SELECT count(*) FROM call_attempts WHERE released_at IS NULL"), "0");
}

#[test]
fn a_stricter_isolation_level_is_refused() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    database
        .execute(&format!("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'", database.name));
    let sql = format!("SELECT cc_route('{}', 'a', 'a', 't', '', '', NULL, NULL)", site.did);
    let error = database.connect().batch_execute(&sql).expect_err("refused");
    assert!(format!("{error:?}").contains("not read committed"), "{error:?}");
}
