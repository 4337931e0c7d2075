//! The order in which links get calls: each strategy's shares, turns and failover.

use std::collections::BTreeMap;
use std::thread;

use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre};
use crate::harness::site::{Link, Site};
use crate::stage::stage;

fn links(weights: &[u32]) -> Vec<Link> {
    weights.iter().map(|&weight| Link { weight, max_concurrency: 100_000, ..Link::to("sip:127.0.0.1:9") }).collect()
}

/// Places `count` calls in one session and gives the link (1, 2, ...) of each.
fn claim(site: &Site, prefix: &str, count: u32) -> Vec<usize> {
    let sql = format!(
        "SELECT r.setting_id FROM generate_series(1, {count}) n,
         LATERAL cc_route('{}', '{prefix}' || n, '', 't', '', '', NULL, NULL) r",
        site.did
    );
    let position = |id: String| site.settings.iter().position(|s| s.to_string() == id).map_or(0, |p| p + 1);
    site.database.query(&sql).into_iter().map(position).collect()
}

fn counts(sequence: &[usize], links: usize) -> Vec<usize> {
    (1..=links).map(|link| sequence.iter().filter(|&&l| l == link).count()).collect()
}

fn database() -> Database {
    Postgres::shared().database()
}

#[test]
fn weighted_shares_are_exact_at_every_call() {
    for weights in
        [vec![70, 30], vec![50, 30, 20], vec![1, 1, 1, 1, 1], vec![97, 1, 1, 1], vec![13, 11, 7, 5, 3, 2, 1, 1]]
    {
        let site = Site::new(&database(), "weighted", 20, &links(&weights));
        let sequence = claim(&site, "c", 200);
        let all: u32 = weights.iter().sum();
        let mut got = vec![0_u32; weights.len()];
        for (n, link) in (1_u32..).zip(&sequence) {
            got[link - 1] += 1;
            for (link, weight) in weights.iter().enumerate() {
                let difference = f64::from(got[link]) - f64::from(n) * f64::from(*weight) / f64::from(all);
                assert!(difference.abs() < 1.0, "{weights:?}: link {link} after {n} calls: {difference}\n{sequence:?}");
            }
        }
        if weights == [70, 30] {
            assert_eq!(got, [140, 60]);
        }
    }
}

#[test]
fn turns_are_exact_with_eight_sessions_at_once() {
    for (strategy, weights, expected) in
        [("weighted", vec![70, 30], vec![140, 60]), ("round_robin", vec![100; 3], vec![67, 67, 66])]
    {
        let site = Site::new(&database(), strategy, 20, &links(&weights));
        let all: Vec<usize> = thread::scope(|scope| {
            let sessions: Vec<_> =
                (0..8).map(|s| (s, &site)).map(|(s, site)| scope.spawn(move || claim_singly(site, s, 25))).collect();
            sessions.into_iter().flat_map(|session| session.join().expect("no error")).collect()
        });
        let mut got = counts(&all, weights.len());
        if strategy == "round_robin" {
            got.sort_unstable_by(|a, b| b.cmp(a));
        }
        assert_eq!(got, expected, "{strategy}");
        if strategy == "round_robin" {
            let turns = site.attempts("campaign_client_setting_id");
            let strict = site.settings.iter().cycle().map(ToString::to_string);
            assert!(turns.iter().zip(strict).all(|(turn, next)| *turn == next), "{turns:?}");
        }
    }
}

/// One transaction per call, as cc-route.agi does it.
fn claim_singly(site: &Site, session: usize, count: usize) -> Vec<usize> {
    let mut client = site.database.connect();
    (0..count)
        .map(|n| {
            let id = format!("s{session}-{n}");
            let row = client
                .query_one("SELECT setting_id FROM cc_route($1, $2, $2, 't', '', '', NULL, NULL)", &[&site.did, &id])
                .expect("no error");
            site.settings.iter().position(|&s| s == row.get::<_, i32>(0)).expect("a link of the campaign") + 1
        })
        .collect()
}

#[test]
fn round_robin_is_a_strict_turn() {
    let site = Site::new(&database(), "round_robin", 20, &links(&[1, 1000, 5]));
    assert_eq!(claim(&site, "a", 7), [1, 2, 3, 1, 2, 3, 1]);
    // a link that is out loses its turn to the next one, and has one turn like all when it is back
    let set = |status: &str| {
        site.database.execute(&format!(
            "UPDATE campaign_client_settings SET status = '{status}' WHERE id = {}",
            site.settings[1]
        ));
    };
    set("inactive");
    assert_eq!(claim(&site, "b", 4), [3, 1, 3, 1]);
    set("active");
    assert_eq!(claim(&site, "c", 6), [2, 3, 1, 2, 3, 1]);
}

#[test]
fn a_link_that_was_out_does_not_catch_up() {
    let site = Site::new(&database(), "weighted", 20, &links(&[70, 30]));
    assert_eq!(counts(&claim(&site, "a", 100), 2), [70, 30]);
    // inactive for a while, then full for a while
    let set = |change: &str| {
        site.database.execute(&format!("UPDATE campaign_client_settings SET {change} WHERE id = {}", site.settings[0]));
    };
    set("status = 'inactive'");
    assert_eq!(counts(&claim(&site, "b", 50), 2), [0, 50]);
    set("status = 'active', max_concurrency = 1");
    assert_eq!(counts(&claim(&site, "c", 50), 2), [0, 50]);
    set("max_concurrency = 100000");
    assert_eq!(counts(&claim(&site, "d", 100), 2), [70, 30]);
}

#[test]
fn when_one_of_three_is_full_the_others_keep_their_proportion() {
    let mut three = links(&[60, 30, 10]);
    three[0].max_concurrency = 1;
    let site = Site::new(&database(), "weighted", 20, &three);
    assert_eq!(counts(&claim(&site, "a", 41), 3), [1, 30, 10]);
}

#[test]
fn priority_goes_by_weight_within_one_priority() {
    let mut four = links(&[1, 75, 25, 50]);
    for (link, priority) in four.iter_mut().zip([7, 0, 0, 3]) {
        link.forwarding_priority = priority;
    }
    four[1].max_concurrency = 30;
    let site = Site::new(&database(), "priority", 20, &four);
    assert_eq!(counts(&claim(&site, "a", 40), 4), [0, 30, 10, 0]);
    // the second is full: the third takes what is left of the first priority
    assert_eq!(counts(&claim(&site, "b", 10), 4), [0, 0, 10, 0]);
}

/// Fails every attempt of one call and gives the links in the order in which they were tried.
fn tried(site: &Site, call: &str) -> Vec<usize> {
    let mut order = Vec::new();
    loop {
        let status = if order.is_empty() { "NULL" } else { "'BUSY'" };
        let id = site.database.value(&format!(
            "SELECT coalesce(setting_id, 0) FROM cc_route('{}', '{call}', '', 't', '', '', {status}, 17)",
            site.did
        ));
        match site.settings.iter().position(|s| s.to_string() == id) {
            Some(position) => order.push(position + 1),
            None => return order,
        }
    }
}

#[test]
fn every_strategy_falls_over_in_its_own_order() {
    let mut three = links(&[20, 50, 30]);
    for (link, priority) in three.iter_mut().zip([2, 1, 0]) {
        link.forwarding_priority = priority;
    }
    let priority = Site::new(&database(), "priority", 20, &three);
    assert_eq!(tried(&priority, "a"), [3, 2, 1]);
    assert_eq!(tried(&priority, "b"), [3, 2, 1]);

    let round_robin = Site::new(&database(), "round_robin", 20, &three);
    // the turn moves by one a call, however many links the call tried
    assert_eq!(tried(&round_robin, "a"), [1, 2, 3]);
    assert_eq!(tried(&round_robin, "b"), [2, 3, 1]);
    assert_eq!(tried(&round_robin, "c"), [3, 1, 2]);

    let weighted = Site::new(&database(), "weighted", 20, &three);
    let mut firsts = BTreeMap::new();
    for call in 0..10 {
        let order = tried(&weighted, &format!("call{call}"));
        assert_eq!(order.len(), 3, "{order:?}");
        *firsts.entry(order[0]).or_insert(0) += 1;
    }
    assert_eq!(firsts, BTreeMap::from([(1, 2), (2, 5), (3, 3)]));
}

#[test]
fn the_lowest_campaign_id_wins() {
    let database = database();
    let first = Site::new(&database, "priority", 20, &links(&[1]));
    let second = Site::new(&database, "priority", 20, &links(&[1]));
    database.execute(&format!(
        "INSERT INTO campaign_dids SELECT {}, id FROM dids WHERE number = '{}'",
        first.campaign_id, second.did
    ));
    let explain = || {
        let text = database.capconduit(&["route", "explain", &second.did, "--json"]);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["campaign_id"].clone()
    };
    assert_eq!(explain(), first.campaign_id);
    database.execute(&format!("UPDATE campaigns SET status = 'inactive' WHERE id = {}", first.campaign_id));
    assert_eq!(explain(), second.campaign_id);
}

#[test]
fn explain_names_each_candidate_in_order_with_its_reason() {
    let mut seven = links(&[1; 7]);
    for (link, priority) in seven.iter_mut().zip([1, 0, 2, 3, 4, 5, 6]) {
        link.forwarding_priority = priority;
    }
    seven[2].max_concurrency = 1;
    seven[3].total_calls_allowed = Some(0);
    let site = Site::new(&database(), "priority", 20, &seven);
    let clients = &site.clients;
    site.database.execute(&format!(
        "INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
             campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at)
         SELECT 'x', 1, 1, {}, 1, client_id, id, '+1', now(), now() + interval '1 h'
         FROM campaign_client_settings WHERE id = {};
         UPDATE clients SET status = 'inactive' WHERE client_identifier = '{}';
         UPDATE campaign_client_settings SET status = 'inactive' WHERE id = {};
         DELETE FROM pjsip_endpoints WHERE id = '{}'",
        site.campaign_id, site.settings[2], clients[4], site.settings[5], clients[6]
    ));
    let text = site.database.capconduit(&["route", "explain", &site.did[1..], "--caller", "5550100", "--json"]);
    let decision: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&decision["status"], &decision["caller"]), (&"proceed".into(), &"5550100".into()));
    let shown: Vec<(String, Option<String>)> = decision["candidates"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|c| (c["client_identifier"].as_str().expect("text").into(), c["reason"].as_str().map(str::to_owned)))
        .collect();
    let expected = [
        (1, None),
        (0, None),
        (2, Some("concurrency_cap")),
        (3, Some("total_cap")),
        (4, Some("client_inactive")),
        (5, Some("setting_inactive")),
        (6, Some("no_endpoint")),
    ];
    assert_eq!(
        shown,
        expected.map(|(i, reason): (usize, Option<&str>)| (clients[i].clone(), reason.map(str::to_owned)))
    );
    // it claimed nothing, and the claim that follows is the one it named
    assert_eq!(site.open_attempts(), 1);
    assert_eq!(claim(&site, "c", 1), [2]);
}

#[test]
fn real_calls_follow_each_strategy() {
    let (stage, _turn) = stage();
    let centres = [(); 2].map(|()| Centre::start(Behaviour::Answer { ring: 0 }));
    for (strategy, weights, calls, expected) in
        [("priority", [100, 1], 3, [3, 0]), ("round_robin", [90, 10], 4, [2, 2]), ("weighted", [75, 25], 8, [6, 2])]
    {
        let mut links = [0, 1].map(|i| Link { weight: weights[i], ..Link::to(centres[i].contact()) });
        links[1].forwarding_priority = 1;
        let site = stage.site(strategy, 20, &links);
        let codes = Calls { did: &site.did, count: calls, per_second: 10, ..Calls::default() }.place(&stage.ringing);
        assert_eq!(codes, vec![200; calls as usize]);
        site.wait_for_records(calls as usize, "1");
        assert_eq!(site.counts(), expected, "{strategy}");
    }
}
