//! Times of a zone's clocks: which instants they are where clocks change, in every zone that there is.

use capconduit::store::zone::{Reading, instant_of};
use serde_json::Value;

use crate::harness::postgres::{Database, Postgres};

/// Every change of every zone from 2020 to 2040, found without `instant_of`; zones that are alike are one.
const CHANGES: &str = "
    SET jit = off;
    CREATE TEMP TABLE found AS
    SELECT name, t - interval '72 hours' AS low, t AS high, was, ahead
    FROM (SELECT name, t, ahead, lag(ahead) OVER (PARTITION BY name ORDER BY t) AS was
          FROM (SELECT name, t, t AT TIME ZONE name - t AT TIME ZONE 'UTC' AS ahead
                FROM pg_timezone_names, generate_series(timestamptz '2020-01-01Z', '2041-01-01Z', interval '72 hours') t
                -- which are copies of the others
                WHERE name NOT LIKE 'posix%') looks) pairs
    WHERE was <> ahead;
    DO $$ BEGIN
        FOR step IN 1..18 LOOP
            UPDATE found SET low = CASE WHEN earlier THEN half ELSE low END, high = CASE WHEN earlier THEN high ELSE half END
            FROM (SELECT name AS n, high AS h, half, half AT TIME ZONE name - half AT TIME ZONE 'UTC' = was AS earlier
                  FROM (SELECT *, date_trunc('second', low + (high - low) / 2) AS half FROM found
                        WHERE high - low > interval '1 second') halves) halved
            WHERE name = n AND high = h;
        END LOOP;
    END $$;
    CREATE TEMP TABLE change AS
    SELECT name AS zone, at, was, ahead
    FROM (SELECT min(name) AS name, list FROM (
              SELECT name, array_agg(ROW(high, was, ahead)::text ORDER BY high) AS list FROM found GROUP BY name) lists
          GROUP BY list) alike
    JOIN (SELECT name, high AS at, was, ahead FROM found) own USING (name)";

#[test]
fn times_and_days_are_right_at_every_change_of_every_zone() {
    let mut db = Postgres::shared().empty_database().connect();
    db.batch_execute(CHANGES).expect("changes");
    let row = db
        .query_one(
            "SELECT count(*), count(DISTINCT zone), min(apart) > interval '2 days', max(abs(extract(epoch FROM ahead - was))) / 60
             FROM (SELECT *, at - lag(at) OVER (PARTITION BY zone ORDER BY at) AS apart FROM change) c",
            &[],
        )
        .expect("one row");
    let (changes, zones, apart): (i64, i64, bool) = (row.get(0), row.get(1), row.get(2));
    assert!(changes > 1000 && zones > 40 && apart, "{changes} changes of {zones} zones, {apart}");

    times_are_read_as_the_first_or_the_last(&mut db);
    days_are_all_of_time(&mut db);
}

/// Each time of the clocks is the first or the last instant that they show it, or the change that leaves it out.
fn times_are_read_as_the_first_or_the_last(db: &mut postgres::Client) {
    let earliest = instant_of("label", "zone", Reading::Earliest);
    let latest = instant_of("label", "zone", Reading::Latest);
    let wrong = format!(
        "WITH labels AS (
             SELECT DISTINCT zone, at, was, ahead, label
             FROM change, LATERAL (VALUES (at AT TIME ZONE 'UTC' + was), (at AT TIME ZONE 'UTC' + ahead)) v (change),
                  LATERAL (SELECT change + m * interval '1 s' AS label FROM unnest('{{-7200,-3600,-900,-1,0,1,900,1800,3600}}'::int[]) m
                           UNION ALL SELECT date_trunc('day', change) + d * interval '1 day' FROM generate_series(-1, 2) d) l
         ), truth AS (
             SELECT *, CASE WHEN by_was < at THEN by_was END AS first, CASE WHEN by_ahead >= at THEN by_ahead END AS second
             FROM (SELECT *, (label - was) AT TIME ZONE 'UTC' AS by_was, (label - ahead) AT TIME ZONE 'UTC' AS by_ahead FROM labels) b
         ), answers AS (
             SELECT *, coalesce(first, second, at) AS from_here, coalesce(second, first, at) AS until_here,
                    {earliest} AS earliest, {latest} AS latest FROM truth
         )
         SELECT format('%s %s: %s..%s, not %s..%s', zone, label, earliest, latest, from_here, until_here)
         FROM answers WHERE earliest IS DISTINCT FROM from_here OR latest IS DISTINCT FROM until_here LIMIT 5"
    );
    let wrong: Vec<String> = db.query(&wrong, &[]).expect("answers").iter().map(|row| row.get(0)).collect();
    assert_eq!(wrong, [""; 0]);
}

/// Each moment is in one day, which begins with the first instant that has its date.
fn days_are_all_of_time(db: &mut postgres::Client) {
    let start = |day: &str| instant_of(day, "zone", Reading::Earliest);
    let wrong = format!(
        "WITH moments AS (
             SELECT DISTINCT zone, t, (t AT TIME ZONE zone)::date AS day
             FROM change, LATERAL (SELECT at + s * interval '1 s' AS t
                                   FROM unnest('{{-86400,-7200,-3600,-1,0,1,1799,1800,3599,3600,7200,50000,86400}}'::int[]) s) v
         ), days AS (
             SELECT zone, t, day, {} AS begins, {} AS ends FROM moments
         )
         SELECT format('%s at %s: %s from %s to %s', zone, t, day, begins, ends) FROM days
         WHERE (t >= begins AND t < ends AND (begins AT TIME ZONE zone)::date = day
                AND ((begins - interval '1 us') AT TIME ZONE zone)::date < day) IS NOT TRUE LIMIT 5",
        start("day::timestamp"),
        start("(day + 1)::timestamp"),
    );
    let wrong: Vec<String> = db.query(&wrong, &[]).expect("answers").iter().map(|row| row.get(0)).collect();
    assert_eq!(wrong, [""; 0]);
}

/// Calls at these instants, each named by its own.
fn calls(instants: &[&str]) -> Database {
    let database = Postgres::shared().database();
    for at in instants {
        database.execute(&format!(
            "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
             VALUES ('+12', '{at}', 'BUSY', '{at}')"
        ));
    }
    database
}

fn found(database: &Database, arguments: &[&str]) -> Vec<String> {
    let text = database.capconduit(&[&["call", "list", "--json", "--sort", "timestamp_start"], arguments].concat());
    let calls: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    calls.iter().map(|call| call["asterisk_uniqueid"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_period_has_both_hours_of_a_time_that_comes_twice() {
    let hours = ["2026-11-01T04:59Z", "2026-11-01T05:30Z", "2026-11-01T06:30Z", "2026-11-01T07:00Z"];
    let database = calls(&hours);
    let new_york = |from: &str, to: &str| found(&database, &["--tz", "America/New_York", "--from", from, "--to", to]);
    assert_eq!(new_york("2026-11-01 01:00", "2026-11-01 02:00"), hours[1..3]);
    assert_eq!(new_york("2026-11-01 01:15", "2026-11-01 01:45"), hours[1..3]);
    assert_eq!(new_york("2026-11-01 00:59", "2026-11-01 01:00"), hours[..2]);
    let report = |from: &str| {
        let arguments = ["report", "--json", "--tz", "America/New_York", "--from", from, "--to", "2026-11-01 02:00"];
        let report: Value = serde_json::from_str(&database.capconduit(&arguments)).expect("JSON");
        report["from"].as_str().expect("a text").to_owned()
    };
    assert_eq!(report("2026-11-01 01:00"), "2026-11-01T05:00:00Z");

    // what is missing is the change itself
    let spring = ["2026-03-08T06:59:59Z", "2026-03-08T07:00Z", "2026-03-08T07:20Z"];
    let database = calls(&spring);
    let new_york = |arguments: &[&str]| found(&database, &[&["--tz", "America/New_York"], arguments].concat());
    assert_eq!(new_york(&["--from", "2026-03-08 02:30"]), spring[1..]);
    assert_eq!(new_york(&["--to", "2026-03-08 02:30"]), spring[..1]);
    assert_eq!(new_york(&["--from", "2026-03-08 02:10", "--to", "2026-03-08 02:50"]), [""; 0]);
}

/// The rows of a report by day, and its total.
fn by_day(database: &Database, zone: &str, from: &str, to: &str) -> (Vec<(String, i64)>, i64) {
    let text = database.capconduit(&["report", "--json", "--by", "day", "--tz", zone, "--from", from, "--to", to]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let rows = report["rows"].as_array().expect("rows").iter();
    let rows = rows.map(|row| (row["day"].as_str().expect("a day").to_owned(), row["calls"].as_i64().expect("calls")));
    (rows.collect(), report["total"]["calls"].as_i64().expect("calls"))
}

#[test]
fn a_day_whose_midnight_comes_twice_is_missing_or_is_not_there() {
    for (zone, day, instants, expected) in [
        // 00:00 to 01:00 comes twice
        ("Atlantic/Azores", "2026-10-25", &["2026-10-24T23:59:59Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z"][..], 2),
        ("America/Havana", "2026-11-01", &["2026-11-01T03:59:59Z", "2026-11-01T04:10Z", "2026-11-01T05:10Z"], 2),
        // 00:00 is missing
        ("America/Havana", "2026-03-08", &["2026-03-08T04:59:59Z", "2026-03-08T05:00Z", "2026-03-09T03:59:59Z"], 2),
        ("Asia/Beirut", "2026-03-29", &["2026-03-28T21:59:59Z", "2026-03-28T22:00Z", "2026-03-29T20:59:59Z"], 2),
        ("America/Santiago", "2026-09-06", &["2026-09-06T03:59:59Z", "2026-09-06T04:00Z", "2026-09-07T02:59:59Z"], 2),
        // half an hour
        (
            "Australia/Lord_Howe",
            "2026-04-05",
            &["2026-04-04T12:59:59Z", "2026-04-04T13:00Z", "2026-04-05T13:29:59Z"],
            2,
        ),
        ("Asia/Kathmandu", "2026-04-05", &["2026-04-04T18:14:59Z", "2026-04-04T18:15Z", "2026-04-05T18:14:59Z"], 2),
    ] {
        let database = calls(instants);
        assert_eq!(by_day(&database, zone, day, day), (vec![(day.to_owned(), expected)], expected), "{zone} {day}");
        assert_eq!(found(&database, &["--tz", zone, "--from", day, "--to", day]), instants[1..], "{zone} {day}");
        assert_eq!(found(&database, &["--tz", zone, "--from", day]), instants[1..], "{zone} {day}");
    }
    // 30 December 2011 was not there
    let days = ["2011-12-30T09:59:59Z", "2011-12-30T10:00Z", "2011-12-31T09:59:59Z"];
    let database = calls(&days);
    let named = |days: &[(&str, i64)]| days.iter().map(|(day, n)| ((*day).to_owned(), *n)).collect::<Vec<_>>();
    let rows = by_day(&database, "Pacific/Apia", "2011-12-29", "2011-12-31");
    assert_eq!(rows, (named(&[("2011-12-29", 1), ("2011-12-31", 2)]), 3));
    let apia = |from: &str, to: &str| found(&database, &["--tz", "Pacific/Apia", "--from", from, "--to", to]);
    assert_eq!(apia("2011-12-30", "2011-12-31"), days[1..]);
    assert_eq!(apia("2011-12-29", "2011-12-30"), days[..1]);
    let mut command = database.command();
    command.args(["call", "list", "--tz", "Pacific/Apia", "--from", "2011-12-30", "--to", "2011-12-30"]);
    let output = command.output().expect("it runs");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && why.contains("there was no 2011-12-30 in Pacific/Apia"), "{why}");
}

#[test]
fn no_call_falls_out_of_a_report_by_hour() {
    // clocks go half an hour back, so that whole hours since the beginning are no whole hours at the end
    let database = Postgres::shared().database();
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status)
         SELECT '+12', t, 'BUSY' FROM generate_series(timestamptz '2026-04-04 12:00Z', '2026-04-05 12:00Z', '15 min') t",
    );
    let report = |by: &str, to: &str| -> (Vec<Value>, i64) {
        let zone = ["--tz", "Australia/Lord_Howe", "--from", "2026-04-04 23:00", "--to", to];
        let text = database.capconduit(&[&["report", "--json", "--by", by], &zone[..]].concat());
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let rows = report["rows"].as_array().expect("rows").clone();
        (rows, report["total"]["calls"].as_i64().expect("calls"))
    };
    for (to, expected) in [("2026-04-05 02:10", 15), ("2026-04-05 10:20", 48), ("2026-04-05 10:00", 46)] {
        for by in ["hour", "day,hour", "day"] {
            let (rows, total) = report(by, to);
            let sum: i64 = rows.iter().map(|row| row["calls"].as_i64().expect("calls")).sum();
            assert_eq!((total, sum), (expected, expected), "{by} {to}: {rows:?}");
            assert!(rows.iter().all(|row| row["calls"] != 0), "{by} {to}: {rows:?}");
        }
    }
    // Asterisk's clock is ahead
    let later = database.value("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3 hours', 'YYYY-MM-DD HH24:MI')");
    database.execute("DELETE FROM call_logs");
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status) VALUES ('+12', now() + interval '2 hours', 'BUSY')",
    );
    let text = database.capconduit(&["report", "--json", "--by", "day,hour", "--from", "-1h", "--to", &later]);
    let ahead: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(ahead["total"]["calls"], 1);
}
