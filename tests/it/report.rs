//! `capconduit report`: numbers worked out by hand, around midnight and where clocks change.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::{process, program};
use crate::stage::stage;

/// The sample data, and eight calls where the clocks of Berlin go back: on 26 October 2025 at 01:00 UTC.
fn calls() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let call = |at: &str, status: &str, billsec: i32, client: &str| {
        database.execute(&format!(
            "INSERT INTO call_logs (user_id, campaign_id, client_id, incoming_did_number, timestamp_start, call_status, billsec_seconds)
             SELECT g.user_id, g.id, (SELECT id FROM clients WHERE client_identifier = '{client}'), '+18005550101', '{at}', '{status}', {billsec}
             FROM campaigns g WHERE g.name = 'Alice Priority'"
        ));
    };
    call("2025-10-25T21:59:59.999Z", "ANSWERED", 60, "acme");
    call("2025-10-25T22:00:00Z", "BUSY", 0, "acme");
    call("2025-10-26T00:30:00Z", "ANSWERED", 30, "cygnus");
    call("2025-10-26T01:30:00Z", "NOANSWER", 0, "cygnus");
    call("2025-10-26T12:00:00Z", "CONGESTION", 0, "acme");
    call("2025-10-26T22:59:59Z", "ABANDONED", 0, "acme");
    call("2025-10-26T23:00:00Z", "REJECTED_CC", 0, "");
    call("2025-10-27T00:00:00Z", "FAILED", 0, "cygnus");
    database
}

fn report(database: &Database, arguments: &[&str]) -> Value {
    let text = database.capconduit(&[&["report", "--json"], arguments].concat());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The field that names each row, with its calls.
fn rows(report: &Value, field: &str) -> Vec<(String, i64)> {
    let rows = report["rows"].as_array().expect("rows");
    let name = |row: &Value| row[field].as_str().unwrap_or("-").to_owned();
    rows.iter().map(|row| (name(row), row["calls"].as_i64().expect("a number"))).collect()
}

fn named(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(name, calls)| ((*name).to_owned(), *calls)).collect()
}

const DAYS: [&str; 4] = ["--from", "2025-10-24", "--to", "2025-10-27"];

fn of(by: &str, zone: &str, database: &Database) -> Value {
    report(database, &[&["--by", by, "--tz", zone], &DAYS[..]].concat())
}

#[test]
fn a_day_is_that_of_the_time_zone() {
    let database = calls();
    for (zone, calls) in [
        ("UTC", [0, 2, 5, 1]),
        ("Europe/Berlin", [0, 1, 5, 2]),
        ("europe/berlin", [0, 1, 5, 2]),
        ("America/New_York", [0, 4, 4, 0]),
        ("Asia/Kathmandu", [0, 0, 5, 3]),
    ] {
        let days = ["2025-10-24", "2025-10-25", "2025-10-26", "2025-10-27"];
        let expected: Vec<_> = days.into_iter().zip(calls).collect();
        assert_eq!(rows(&of("day", zone, &database), "day"), named(&expected), "{zone}");
    }
    let weekdays = rows(&of("weekday", "Europe/Berlin", &database), "weekday");
    assert_eq!(weekdays, named(&[("Monday", 2), ("Saturday", 1), ("Sunday", 5)]));
}

#[test]
fn an_hour_that_comes_twice_and_one_that_does_not_come() {
    let database = calls();
    let day =
        |by: &str, day: &str| report(&database, &["--by", by, "--tz", "Europe/Berlin", "--from", day, "--to", day]);
    let autumn = day("hour", "2025-10-26");
    assert_eq!((&autumn["from"], &autumn["to"]), (&json!("2025-10-25T22:00:00Z"), &json!("2025-10-26T23:00:00Z")));
    let hours = rows(&autumn, "hour");
    assert_eq!(hours.len(), 24);
    let busy: Vec<_> = hours.into_iter().filter(|(_, calls)| *calls > 0).collect();
    assert_eq!(busy, named(&[("00:00", 1), ("02:00", 2), ("13:00", 1), ("23:00", 1)]));
    let spring = rows(&day("day,hour", "2025-03-30"), "hour");
    assert_eq!(spring.len(), 23);
    assert!(spring.iter().all(|(hour, calls)| hour != "02:00" && *calls == 0), "{spring:?}");
}

#[test]
fn the_figures() {
    let database = calls();
    let report = of("day", "UTC", &database);
    assert_eq!(
        report["total"],
        json!({
            "calls": 8, "answered": 2, "abandoned": 1, "noanswer": 1, "busy": 1, "failed": 1, "rejected": 1, "other": 1,
            "answer_rate": 25.0, "mean_billsec": 45.0, "billed_seconds": 90, "billed_minutes": 1.5,
            "first_call": "2025-10-25T21:59:59.999Z", "last_call": "2025-10-27T00:00:00Z",
        })
    );
    assert_eq!((&report["tz"], &report["by"]), (&json!("UTC"), &json!(["day"])));
    assert_eq!(
        report["rows"][0],
        json!({
            "day": "2025-10-24", "calls": 0, "answered": 0, "abandoned": 0, "noanswer": 0, "busy": 0, "failed": 0,
            "rejected": 0, "other": 0, "answer_rate": null, "mean_billsec": null, "billed_seconds": 0,
            "billed_minutes": 0.0, "first_call": null, "last_call": null,
        })
    );
}

#[test]
fn by_what_calls_have_in_common() {
    let database = calls();
    let by = |by: &str, field: &str| rows(&of(by, "UTC", &database), field);
    assert_eq!(by("campaign", "campaign_name"), named(&[("Alice Priority", 8)]));
    assert_eq!(by("client", "client_identifier"), named(&[("acme", 4), ("cygnus", 3), ("-", 1)]));
    assert_eq!(by("did", "incoming_did_number"), named(&[("+18005550101", 8)]));
    assert_eq!(by("seller", "username"), named(&[("alice", 8)]));
    assert_eq!(by("status", "call_status").len(), 7);
    let both = of("client,day", "UTC", &database);
    let both: Vec<_> = both["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|r| (r["client_identifier"].clone(), r["day"].clone(), r["calls"].clone()))
        .collect();
    let expected = [
        (json!("acme"), json!("2025-10-25"), json!(2)),
        (json!("acme"), json!("2025-10-26"), json!(2)),
        (json!("cygnus"), json!("2025-10-26"), json!(2)),
        (json!("cygnus"), json!("2025-10-27"), json!(1)),
        (json!(null), json!("2025-10-26"), json!(1)),
    ];
    assert_eq!(both, expected);

    let total = |filter: [&str; 2]| {
        report(&database, &[&["--by", "day"], &DAYS[..], &filter].concat())["total"]["calls"].clone()
    };
    assert_eq!(total(["--client", "cygnus"]), 3);
    assert_eq!(total(["--campaign", "Alice Round Robin"]), 0);
    assert_eq!(total(["--did", "18005550101"]), 8);
    assert_eq!(total(["--user", "bob"]), 0);
}

#[test]
fn the_last_days_are_those_that_are_asked_for_mostly() {
    let database = calls();
    // the sample data's calls are at most three hours old
    let week = report(&database, &["--by", "day"]);
    assert_eq!((week["rows"].as_array().expect("rows").len(), &week["total"]["calls"]), (7, &json!(6)));
    let sellers = report(&database, &["--by", "seller", "--from", "2025-10-28"]);
    assert_eq!(rows(&sellers, "username"), named(&[("alice", 4), ("bob", 2)]));
}

#[test]
fn tables_and_csv() {
    let database = calls();
    let run = |more: &[&str]| database.capconduit(&[&["report", "--by", "client"], &DAYS[..], more].concat());
    let table = run(&["--columns", "client_identifier,calls,answer_rate", "--sort", "-answer_rate,calls"]);
    let expected = "\
CLIENT_IDENTIFIER  CALLS  ANSWER_RATE
cygnus                 3         33.3
acme                   4         25.0
-                      1          0.0
total                  8         25.0
";
    assert_eq!(table, expected);
    let csv = run(&["--csv", "--limit", "1"]);
    let expected = "client_identifier,calls,answered,abandoned,noanswer,busy,failed,rejected,other,answer_rate,mean_billsec,\
                    billed_seconds,billed_minutes,first_call,last_call\r\n\
                    acme,4,1,1,0,1,0,0,1,25.0,60.0,60,1.0,2025-10-25T21:59:59.999Z,2025-10-26T22:59:59Z\r\n";
    assert_eq!(csv, expected);
    assert!(run(&[]).contains("OTHER"), "a status that nobody knows is not left out");
    assert_eq!(run(&["--user", "bob"]), "No calls.\n");
}

#[test]
fn a_terminal_gets_bars() {
    let database = calls();
    let line =
        format!("exec {} report --by day {} --columns day,calls", program("capconduit").display(), DAYS.join(" "));
    let shown = |locale: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        let envs = database.command();
        process::run(command.envs(envs.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("LC_ALL", locale))
    };
    let lines = |text: String| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    let expected = [
        "DAY         CALLS",
        "2025-10-24      0",
        "2025-10-25      2  ████",
        "2025-10-26      5  ████████████",
        "2025-10-27      1  ██",
        "total           8",
    ];
    assert_eq!(lines(shown("C.UTF-8")), expected);
    assert_eq!(lines(shown("C")), expected.map(|line| line.replace('█', "#")));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let database = calls();
    let refused = |code: i32, arguments: &[&str], message: &str| {
        let output = database.command().arg("report").args(arguments).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(code), true), "{arguments:?}: {stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    };
    refused(2, &["--by", "month"], "it must be one of day, hour, weekday");
    refused(2, &["--by", "day,day"], "two that differ");
    refused(2, &["--by", "day,client,status"], "one key, or two");
    refused(2, &["--by", "day", "--columns", "nonsense"], "no field");
    refused(5, &["--by", "day", "--tz", "Europe/Berlni"], "time zone \"Europe/Berlni\" is unknown");
    for not_a_place in ["UTC+3", "CET", "CEST", "Europe/Berlin3", "", "Europe/Berlin'; DROP TABLE call_logs"] {
        refused(5, &["--by", "day", "--tz", not_a_place], "is unknown");
    }
    refused(5, &["--by", "day", "--from", "tomorrow"], "is not a time");
    refused(5, &["--by", "day", "--from", "2025-10-27", "--to", "2025-10-26"], "is empty");
    refused(5, &["--by", "day", "--from", "0001-01-01"], "longer than ten years");
    refused(3, &["--by", "day", "--campaign", "Nobody's"], "does not exist");
}

/// Calls that went through several clients, one that nobody was offered, and what is without a ledger.
fn offered() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database.execute("DELETE FROM call_logs; DELETE FROM call_attempts");
    let call = |name: &str, minute: i32, status: &str, billsec: i32, client: &str, attempts: &[(&str, &str, &str)]| {
        database.execute(&format!(
            "INSERT INTO call_logs (user_id, campaign_id, client_id, incoming_did_number, timestamp_start, call_status,
                 billsec_seconds, asterisk_uniqueid)
             SELECT g.user_id, g.id, (SELECT id FROM clients WHERE client_identifier = '{client}'), '+18005550101',
                    timestamptz '2025-10-25 12:00Z' + {minute} * interval '1 min', '{status}', {billsec}, '{name}'
             FROM campaigns g WHERE g.name = 'Alice Priority'"
        ));
        for (n, (client, reason, dial)) in attempts.iter().enumerate() {
            database.execute(&format!(
                "INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
                     campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at, released_at, release_reason, dial_status)
                 SELECT '{name}', {n} + 1, g.user_id, g.id, 1, coalesce((SELECT id FROM clients WHERE client_identifier = '{client}'), 999),
                     1, '+18005550101', now(), now(), now(), '{reason}', nullif('{dial}', '')
                 FROM campaigns g WHERE g.name = 'Alice Priority'"
            ));
        }
    };
    for n in 0..5 {
        let tried = [("acme", "failover", "BUSY"), ("cygnus", "hangup", "ANSWER")];
        call(&format!("taken-over-{n}"), n, "ANSWERED", 60, "cygnus", &tried);
    }
    call("given-up", 10, "ABANDONED", 0, "acme", &[("acme", "failover", "BUSY")]);
    let tried = [("acme", "failover", "NOANSWER"), ("cygnus", "failover", "BUSY")];
    call("all-tried", 11, "BUSY", 0, "cygnus", &tried);
    call("then-full", 12, "REJECTED_CC", 0, "", &[("acme", "failover", "CONGESTION")]);
    call("full", 13, "REJECTED_CC", 0, "", &[]);
    call("v3.0", 14, "ANSWERED", 30, "acme", &[]);
    call("reaped", 15, "ANSWERED", 10, "acme", &[("acme", "expired", "")]);
    call(
        "reaped-and-on",
        16,
        "ANSWERED",
        20,
        "cygnus",
        &[("acme", "channel_gone", ""), ("cygnus", "hangup", "ANSWER")],
    );
    call("removed", 17, "ABANDONED", 0, "acme", &[("gone", "failover", "BUSY"), ("acme", "hangup", "CANCEL")]);
    // still up: no record, no row
    database.execute(
        "INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
             campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at)
         SELECT 'up', 1, 1, 1, 1, id, 1, '+12', now(), now() + interval '1 hour' FROM clients WHERE client_identifier = 'acme'",
    );
    database
}

fn figures(row: &Value) -> [i64; 9] {
    ["calls", "answered", "abandoned", "noanswer", "busy", "failed", "rejected", "other", "billed_seconds"]
        .map(|name| row[name].as_i64().expect("a number"))
}

#[test]
fn a_client_is_counted_by_the_calls_that_it_was_offered() {
    let database = offered();
    let day = ["--from", "2025-10-25", "--to", "2025-10-25"];
    let of = |more: &[&str]| report(&database, &[&day[..], more].concat());
    let by_client = of(&["--by", "client"]);
    let rows = by_client["rows"].as_array().expect("rows");
    let all: Vec<_> = rows.iter().map(|row| (row["client_identifier"].as_str().unwrap_or("-"), figures(row))).collect();
    let expected = [
        ("acme", [12, 2, 1, 1, 6, 1, 0, 1, 40]),
        ("cygnus", [7, 6, 0, 0, 1, 0, 0, 0, 320]),
        ("-", [3, 0, 0, 0, 1, 0, 2, 0, 0]),
    ];
    assert_eq!(all, expected);
    assert_eq!((&rows[0]["answer_rate"], &rows[1]["answer_rate"]), (&json!(16.7), &json!(85.7)));
    // each call once, as by any other key
    let total = [13, 8, 2, 0, 1, 0, 2, 0, 360];
    assert_eq!(figures(&by_client["total"]), total);
    assert_eq!(by_client["total"], of(&["--by", "day"])["total"]);
    let both = of(&["--by", "campaign,client"]);
    assert_eq!((figures(&both["rows"][0]), figures(&both["total"])), (expected[0].1, total));
    assert_eq!(both["rows"].as_array().map(Vec::len), Some(3));
    // the same of one client alone, whatever it is by
    for (client, expected) in [("acme", expected[0].1), ("cygnus", expected[1].1)] {
        for by in ["client", "day", "campaign", "day,client", "seller"] {
            let one = of(&["--by", by, "--client", client]);
            assert_eq!((figures(&one["rows"][0]), figures(&one["total"])), (expected, expected), "{client} by {by}");
            assert_eq!(one["rows"].as_array().map(Vec::len), Some(1), "{client} by {by}");
        }
    }
    let outcomes = rows_of_status(&of(&["--by", "client,status"]));
    assert_eq!(outcomes.iter().filter(|(client, _, _)| client == "acme").map(|(_, _, calls)| calls).sum::<i64>(), 12);
    assert!(outcomes.contains(&("acme".to_owned(), "UNKNOWN".to_owned(), 1)), "{outcomes:?}");
    // calls, not offers, where no client is asked for
    assert_eq!(rows_of_status(&of(&["--by", "status"])).iter().map(|(_, _, calls)| calls).sum::<i64>(), 13);
    let table = database
        .capconduit(&[&["report", "--by", "client", "--columns", "client_identifier,calls,busy"], &day[..]].concat());
    assert_eq!(table.lines().last(), Some("total                 13     1"), "{table}");
    assert_eq!(of(&["--by", "client", "--user", "bob"])["total"]["calls"], 0);
}

fn rows_of_status(report: &Value) -> Vec<(String, String, i64)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let rows = report["rows"].as_array().expect("rows").iter();
    rows.map(|row| (text(row, "client_identifier"), text(row, "call_status"), row["calls"].as_i64().expect("calls")))
        .collect()
}

#[test]
fn real_calls_count_for_each_client_that_had_them() {
    let (stage, _turn) = stage();
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    let good = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[busy.contact(), good.contact()]);
    for n in 1..=2 {
        let then = Then::HangUpAfter(1000);
        assert_eq!(Calls { did: &site.did, then, ..Calls::default() }.place(&stage.ringing), [200]);
        site.wait_for_records(n, "1");
    }
    let report = report(&site.database, &["--by", "client", "--campaign", &site.campaign]);
    let counts = |row: &Value| ["calls", "answered", "busy"].map(|name| row[name].as_i64().expect("a number"));
    let rows = report["rows"].as_array().expect("rows").iter();
    let rows: Vec<_> = rows.map(|row| (row["client_identifier"].as_str().expect("a client"), counts(row))).collect();
    assert_eq!(rows, [(site.clients[0].as_str(), [2, 0, 2]), (site.clients[1].as_str(), [2, 2, 0])]);
    assert_eq!(counts(&report["total"]), [2, 2, 0]);
}
