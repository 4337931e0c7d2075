//! `db verify`: silent while all is well, whatever has happened; names what is not, and repairs it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::OnDrop;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};

/// Runs `db verify --json`; gives the exit code and what it found.
fn verify(database: &Database, options: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = database.command().args(["db", "verify", "--json"]).args(options).output().expect("it runs");
    let found: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.stderr.is_empty(), output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), found)
}

#[track_caller]
fn assert_healthy(database: &Database) {
    assert_eq!(verify(database, &[]), (Some(0), vec![]));
}

/// `check id` of each, and whether it has been repaired.
fn names(found: &[Value]) -> Vec<String> {
    let text = |d: &Value, name: &str| d[name].as_str().unwrap_or_default().to_owned();
    found
        .iter()
        .map(|d| {
            format!("{} {}{}", text(d, "check"), text(d, "id"), if d["repaired"] == true { " repaired" } else { "" })
        })
        .collect()
}

fn site(database: &Database) -> Site {
    // the first link gets every call, the second one what fails over
    let links = [0, 1].map(|priority| Link { forwarding_priority: priority, ..Link::to("sip:127.0.0.1:9") });
    Site::new(database, "priority", 20, &links)
}

fn claim(site: &Site, call: &str, dial_status: &str) {
    let sql = format!("SELECT cc_route('{}', '{call}', '', 't', '', '', {dial_status}, NULL)", site.did);
    site.database.execute(&sql);
}

fn log(site: &Site, call: &str, status: &str, dial_status: &str) {
    site.database.execute(&format!(
        "SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, '{status}', 16, '', '{call}', '', '{dial_status}', NULL)",
        site.did
    ));
}

fn answered(site: &Site, prefix: &str, calls: usize) {
    for n in 0..calls {
        claim(site, &format!("{prefix}{n}"), "NULL");
        log(site, &format!("{prefix}{n}"), "ANSWERED", "ANSWER");
    }
}

#[test]
fn nothing_that_is_meant_is_a_difference() {
    let database = Postgres::shared().database();
    assert_eq!(database.capconduit(&["db", "verify"]), "No difference.\n");
    database.capconduit(&["db", "seed"]);
    assert_healthy(&database);
    let site = site(&database);
    let [first, second] = [0, 1].map(|n| site.settings[n].to_string());
    let update = |value: &str| {
        database
            .execute(&format!("UPDATE campaign_client_settings SET current_total_calls = {value} WHERE id = {first}"));
        assert_healthy(&database);
    };

    answered(&site, "a", 5);
    claim(&site, "over", "NULL");
    claim(&site, "over", "'BUSY'");
    assert_healthy(&database);
    log(&site, "over", "ANSWERED", "ANSWER");
    claim(&site, "none", "NULL");
    log(&site, "none", "NOANSWER", "NOANSWER");
    claim(&site, "up", "NULL");
    assert_eq!(site.counts(), [5, 1]);
    assert_healthy(&database);

    database.capconduit(&["setting", "set", &first, "--reset-total-calls"]);
    assert_healthy(&database);
    answered(&site, "b", 2);
    assert_eq!(site.counts(), [2, 1]);
    assert_healthy(&database);
    // one more than it was is what a call would make of it
    database.capconduit(&["setting", "set", &first, "--current-total-calls", "3"]);
    assert_healthy(&database);
    database.capconduit(&["setting", "set", &second, "--weight", "7"]);
    assert_eq!(site.counts(), [3, 1]);
    for value in ["0", "100", "100", "current_total_calls - 7"] {
        update(value);
    }
    answered(&site, "c", 1);
    assert_eq!(site.counts(), [94, 1]);
    assert_healthy(&database);

    // old records go: the calls stay counted
    database.execute(
        "UPDATE call_logs SET created_at = created_at - interval '1 year', timestamp_start = timestamp_start - interval '1 year'
             WHERE asterisk_uniqueid ~ '^(a|over)';
         UPDATE call_attempts SET claimed_at = claimed_at - interval '1 year', released_at = released_at - interval '1 year'
             WHERE asterisk_uniqueid ~ '^(a|over)'",
    );
    assert_healthy(&database);
    database.execute("DELETE FROM call_logs WHERE timestamp_start < now() - interval '6 months'");
    assert_eq!((site.counts(), site.records("1").len()), (vec![94, 1], 4));
    assert_healthy(&database);
    update("0");
    database.execute("DELETE FROM call_logs WHERE asterisk_uniqueid = 'b0'");
    assert_healthy(&database);
    database.execute("TRUNCATE call_logs");
    assert_healthy(&database);
    answered(&site, "d", 1);
    assert_eq!(site.counts(), [1, 1]);
    assert_healthy(&database);

    // a setting that begins with calls, and one that goes
    database.execute(&format!(
        "DELETE FROM campaign_client_settings WHERE id = {second};
         INSERT INTO campaign_client_settings (campaign_id, client_id, current_total_calls)
         SELECT {}, id, 12 FROM clients WHERE client_identifier = '{}'",
        site.campaign_id, site.clients[1]
    ));
    assert_healthy(&database);
    // nothing to repair: nothing changes
    let all = "SELECT s::text FROM campaign_client_settings s UNION ALL SELECT a::text FROM call_attempts a ORDER BY 1";
    let before = database.query(all);
    assert_eq!(verify(&database, &["--repair"]), (Some(0), vec![]));
    assert_eq!(database.query(all), before);
}

#[test]
fn a_v3_database_begins_without_a_difference() {
    let database = Postgres::shared().empty_database();
    database.execute(include_str!("v3.sql"));
    database.capconduit(&["db", "migrate"]);
    assert_healthy(&database);
    // as v3.0's back end counts and resets
    database.execute(
        "INSERT INTO call_logs (campaign_client_setting_id, incoming_did_number, timestamp_start, timestamp_end, call_status, created_at)
             VALUES (3, '+1', now(), now(), 'ANSWERED', now());
         UPDATE campaign_client_settings SET current_total_calls = 22 WHERE id = 3;
         UPDATE campaign_client_settings SET current_total_calls = 0 WHERE id IN (4, 5)",
    );
    assert_healthy(&database);
}

#[test]
fn every_difference_is_named_and_the_safe_ones_are_repaired() {
    let database = Postgres::shared().database();
    let (site, other) = (site(&database), site(&database));
    answered(&site, "old", 1);
    database.execute("UPDATE call_logs SET created_at = now() - interval '1 day'");
    answered(&site, "a", 2);
    for call in ["expired", "recorded", "pending", "unrecorded", "orphan"] {
        claim(if call == "orphan" { &other } else { &site }, call, "NULL");
    }
    for call in ["recorded", "pending"] {
        log(&site, call, "NOANSWER", "NOANSWER");
    }
    assert_healthy(&database);
    let id = |call: &str| database.value(&format!("SELECT id FROM call_attempts WHERE asterisk_uniqueid = '{call}'"));
    let [expired, recorded, pending, unrecorded, orphan] =
        ["expired", "recorded", "pending", "unrecorded", "orphan"].map(id);
    let (first, second) = (site.settings[0], site.settings[1]);
    let did = database.value(&format!("SELECT id FROM dids WHERE number = '{}'", other.did));
    database.execute(&format!(
        "BEGIN;
         SET LOCAL capconduit.repair = 'on';
         UPDATE campaign_client_settings SET current_total_calls = 10 WHERE id = {first};
         UPDATE campaign_client_settings SET current_total_calls = 0, total_calls_base = -4 WHERE id = {second};
         COMMIT;
         UPDATE call_attempts SET lease_expires_at = now() - interval '1 h' WHERE id = {expired};
         UPDATE call_attempts SET released_at = NULL, release_reason = NULL WHERE id = {recorded};
         UPDATE call_attempts SET count_pending = true WHERE id = {pending};
         UPDATE call_attempts SET released_at = now() - interval '2 min', release_reason = 'hangup', dial_status = 'ANSWER'
             WHERE id = {unrecorded};
         UPDATE call_logs SET created_at = now() - interval '3 min' WHERE asterisk_uniqueid IN ('recorded', 'pending');
         DELETE FROM campaign_client_settings WHERE id = {};
         INSERT INTO campaign_dids VALUES ({}, {did});
         INSERT INTO routing_turns VALUES (4711, 0, NULL, '{{}}'), (4711, -3, NULL, '{{}}');
         UPDATE pjsip_endpoints SET aors = id || ',gone', outbound_auth = 'nobody' WHERE id = '{}'",
        other.settings[0], site.campaign_id, site.clients[1]
    ));
    let safe = [
        format!("attempt_expired {expired}"),
        format!("attempt_open_after_record {recorded}"),
        format!("attempt_pending_after_record {pending}"),
        "turns_orphaned 4711/-3".to_owned(),
        "turns_orphaned 4711/0".to_owned(),
        format!("counter {first}"),
    ];
    let unsafe_ones = [
        format!("answer_without_record {unrecorded}"),
        format!("attempt_orphaned {orphan}"),
        format!("did_of_another_owner {}/{did}", site.campaign_id),
        format!("endpoint_names_nothing {}", site.clients[1]),
        format!("endpoint_names_nothing {}", site.clients[1]),
        format!("counter {second}"),
    ];
    let sorted = |names: &mut Vec<String>| {
        names.sort();
        names.clone()
    };
    let everything = sorted(&mut [&safe[..], &unsafe_ones[..]].concat());

    let (code, found) = verify(&database, &[]);
    assert_eq!((code, sorted(&mut names(&found))), (Some(1), everything.clone()));
    let of = |check: &str, id: &str| {
        let one = found.iter().find(|d| d["check"] == check && d["id"] == id);
        one.unwrap_or_else(|| panic!("{check} {id}")).clone()
    };
    let counter = of("counter", &first.to_string());
    assert_eq!((&counter["expected"], &counter["found"]), (&"3".into(), &"10".into()));
    assert_eq!((&counter["table"], &counter["repairable"]), (&"campaign_client_settings".into(), &true.into()));
    assert!(counter["message"].as_str().is_some_and(|m| m.contains(&site.clients[0])), "{counter}");
    assert_eq!(of("counter", &second.to_string())["repairable"], false);
    let spool = of("answer_without_record", &unrecorded);
    assert!(spool["message"].as_str().is_some_and(|m| m.contains("call replay")), "{spool}");
    assert!(of("attempt_orphaned", &orphan)["message"].as_str().is_some_and(|m| m.contains("by itself")));
    let output = database.command().args(["db", "verify"]).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.starts_with("CHECK ") && table.lines().count() == 13, "{table}");
    assert!(said.contains("12 differences") && said.contains("--repair puts 6 of them right"), "{said}");
    // looking changes nothing
    assert_eq!(verify(&database, &[]), (code, found));

    let (code, found) = verify(&database, &["--repair"]);
    let repaired = safe.iter().map(|name| format!("{name} repaired"));
    assert_eq!(code, Some(1));
    assert_eq!(
        sorted(&mut names(&found)),
        sorted(&mut repaired.chain(unsafe_ones.iter().cloned()).collect::<Vec<_>>())
    );
    assert_eq!(site.counts(), [3, 0]);
    assert_eq!(
        database.query(&format!(
            "SELECT release_reason, count_pending FROM call_attempts WHERE id IN ({expired}, {recorded}, {pending}) ORDER BY id"
        )),
        // nobody knows how the first one ended: it keeps its place in the total
        ["expired|t", "hangup|f", "hangup|f"]
    );
    for options in [&[][..], &["--repair"]] {
        let (code, found) = verify(&database, options);
        assert_eq!((code, sorted(&mut names(&found))), (Some(1), sorted(&mut unsafe_ones.to_vec())));
    }
    // calls count on from there
    answered(&site, "b", 1);
    assert_eq!(site.counts(), [4, 0]);

    // what needs a person
    database.capconduit(&["setting", "set", &second.to_string(), "--current-total-calls", "0"]);
    database.execute(&format!(
        "DELETE FROM campaign_dids WHERE campaign_id = {} AND did_id = {did};
         UPDATE pjsip_endpoints SET aors = id, outbound_auth = NULL;
         SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'NOANSWER', 16, '', 'orphan', '', '', NULL);
         SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'unrecorded', '', 'ANSWER', NULL)",
        site.campaign_id, other.did, site.did
    ));
    assert_healthy(&database);

    // with nothing left over, a repair is a success
    database.execute(&format!(
        "SET capconduit.repair = 'on';
         UPDATE campaign_client_settings SET current_total_calls = 1 WHERE id = {first}"
    ));
    let (code, found) = verify(&database, &["--repair"]);
    assert_eq!((code, names(&found)), (Some(0), vec![format!("counter {first} repaired")]));
    assert_eq!(site.counts(), [5, 0]);
}

#[test]
fn resets_removals_and_repairs_while_eight_sessions_log_calls() {
    const SESSIONS: usize = 8;
    const CALLS: usize = 40;
    let database = Postgres::shared().database();
    let site = site(&database);
    // between its record and its count a call takes its time, so that the others meet it there
    database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END';
         CREATE TRIGGER dawdle AFTER INSERT OR DELETE ON call_logs FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    let working = AtomicUsize::new(SESSIONS);
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (site, working) = (&site, &working);
            scope.spawn(move || {
                let _ended = OnDrop(|| _ = working.fetch_sub(1, Ordering::Relaxed));
                let mut client = site.database.connect();
                for call in 0..CALLS {
                    client
                        .batch_execute(&format!(
                            "BEGIN;
                             SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 's{session}-{call}', '', '', {});
                             SELECT pg_sleep(random() * 0.002); COMMIT",
                            site.did,
                            site.settings[call % 2]
                        ))
                        .expect("no error, no deadlock");
                }
            });
        }
        let changes = [
            "UPDATE campaign_client_settings SET current_total_calls = 0",
            // which is one more for whoever does not know better
            "UPDATE campaign_client_settings SET current_total_calls = current_total_calls + 1, total_calls_base = NULL",
            "UPDATE campaign_client_settings SET current_total_calls = current_total_calls + 5",
            "DELETE FROM call_logs WHERE id IN (SELECT id FROM call_logs ORDER BY random() LIMIT 3)",
        ];
        for change in changes {
            let (site, working) = (&site, &working);
            scope.spawn(move || {
                let mut client = site.database.connect();
                while working.load(Ordering::Relaxed) > 0 {
                    // one setting at a time, as everybody changes them: two would be locked in any order
                    for setting in &site.settings {
                        let only =
                            if change.starts_with("UPDATE") { format!(" WHERE id = {setting}") } else { String::new() };
                        client.batch_execute(&format!("{change}{only}")).expect("no error, no deadlock");
                    }
                    thread::sleep(std::time::Duration::from_millis(10));
                }
            });
        }
        let mut looks = 0;
        while working.load(Ordering::Relaxed) > 0 || looks < 4 {
            let options: &[&str] = if looks % 2 == 0 { &[] } else { &["--repair"] };
            assert_eq!(verify(&database, options), (Some(0), vec![]), "look {looks}");
            looks += 1;
        }
    });
    assert_healthy(&database);

    // and a real difference is repaired exactly while calls go on
    database.execute(&format!(
        "SET capconduit.repair = 'on';
         UPDATE campaign_client_settings SET current_total_calls = current_total_calls + 1000 WHERE id = {}",
        site.settings[0]
    ));
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let site = &site;
            scope.spawn(move || {
                let mut client = site.database.connect();
                for call in 0..10 {
                    client
                        .batch_execute(&format!(
                            "SELECT cc_log_call('{}', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'r{session}-{call}', '', '', {})",
                            site.did, site.settings[0]
                        ))
                        .expect("no error, no deadlock");
                }
            });
        }
        let (code, found) = verify(&database, &["--repair"]);
        assert_eq!((code, names(&found)), (Some(0), vec![format!("counter {} repaired", site.settings[0])]));
    });
    assert_healthy(&database);
}
