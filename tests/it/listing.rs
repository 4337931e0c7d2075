//! Lists in order: over everything that matches, then cut, and the same whether the database orders them or
//! the program.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::harness::postgres::{Database, Postgres};

fn database() -> Database {
    Postgres::shared().database()
}

fn told(database: &Database, arguments: &[&str]) -> (i32, String, String) {
    let output = database.command().args(arguments).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A field of each row, as JSON has it.
fn fields(database: &Database, arguments: &[&str], field: &str) -> Vec<String> {
    let text = database.capconduit(&[arguments, &["--json"]].concat());
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    rows.iter().map(|row| row[field].to_string()).collect()
}

/// 200 records: the older, the longer, but for some that have no length.
fn calls() -> Database {
    let database = database();
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, billsec_seconds, asterisk_uniqueid)
         SELECT '+12', timestamptz '2026-07-01 12:00Z' + n * interval '1 min', 'ANSWERED',
                CASE WHEN n % 10 > 0 THEN 1000 - n END, 'n-' || n
         FROM generate_series(0, 199) n",
    );
    database
}

#[test]
fn the_longest_calls_are_the_longest_of_all() {
    let database = calls();
    let list = |options: &[&str]| fields(&database, &[&["call", "list"], options].concat(), "billsec_seconds");
    assert_eq!(list(&["--sort", "-billsec_seconds", "--limit", "3"]), ["999", "998", "997"]);
    assert_eq!(list(&["--sort", "-billsec_seconds", "--limit", "2", "--offset", "1"]), ["998", "997"]);
    assert_eq!(list(&["--sort", "billsec_seconds", "--limit", "2"]), ["801", "802"]);
    // no length is neither the longest nor the shortest
    let last = |sort: &str| list(&["--sort", sort, "--limit", "1000"]).split_off(180);
    assert_eq!(last("-billsec_seconds"), ["null"; 20]);
    assert_eq!(last("billsec_seconds"), ["null"; 20]);
    // the newest first among those that are alike
    let alike = ["call", "list", "--sort", "call_status", "--limit", "2"];
    assert_eq!(fields(&database, &alike, "asterisk_uniqueid"), ["\"n-199\"", "\"n-198\""]);
    let two = ["call", "list", "--sort", "-call_status,billsec_seconds", "--limit", "1"];
    assert_eq!(fields(&database, &two, "billsec_seconds"), ["801"]);
    // only of those that match
    let of_july = ["--from", "2026-07-01 13:00", "--sort", "-billsec_seconds", "--limit", "1"];
    assert_eq!(list(&of_july), ["939"]);

    let csv = told(&database, &["call", "list", "--sort", "-billsec_seconds", "--columns", "billsec_seconds", "--csv"]);
    assert!(csv.1.starts_with("billsec_seconds\r\n999\r\n998\r\n"), "{}", csv.1);
    assert_eq!(csv.1.lines().count(), 51);
    assert_eq!(csv.2, "note: these are the first 50 in this order, there are more: --limit N shows N\n");
    let (_, _, note) = told(&database, &["call", "list", "--offset", "100"]);
    assert_eq!(note, "note: these are 50 after the newest 100, there are more: --limit N shows N\n");
    let (_, _, note) = told(&database, &["call", "list", "--sort", "id", "--offset", "7"]);
    assert_eq!(note, "note: these are 50 after the first 7 in this order, there are more: --limit N shows N\n");
    assert_eq!(told(&database, &["call", "list", "--sort", "id", "--offset", "150"]).2, "");
}

#[test]
fn every_list_without_end_is_ordered_before_it_is_cut() {
    let database = database();
    database.capconduit(&["db", "seed"]);
    database.execute(
        "INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
             campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at)
         SELECT 'n-' || n, 1 + n / 2, 1, 1, 1, 1, 1, '+12', timestamptz '2026-07-01 12:00Z' + n * interval '1 min',
                timestamptz '2026-07-01 13:00Z' - n * interval '1 s' FROM generate_series(0, 99) n",
    );
    let lost = |sort: &str| fields(&database, &["call", "lost", "--sort", sort, "--limit", "1"], "asterisk_uniqueid");
    assert_eq!(lost("attempt_number,-claimed_at"), ["\"n-1\""]);
    assert_eq!(lost("-lease_expires_at"), ["\"n-0\""]);
    assert_eq!(lost("claimed_at"), ["\"n-0\""]);
    let audit = |options: &[&str], field: &str| fields(&database, &[&["audit", "list"], options].concat(), field);
    assert_eq!(audit(&["--sort", "id", "--limit", "2"], "id"), ["1", "2"]);
    assert_eq!(audit(&["--sort", "-table_name", "--limit", "1"], "table_name"), ["\"users\""]);
    for field in ["id", "at", "columns", "before", "after", "row_id", "-operator"] {
        audit(&["--sort", field, "--limit", "1"], "id");
    }
    let (code, _, why) = told(&database, &["audit", "list", "--sort", "change"]);
    assert!(code == 2 && why.contains("--sort change: it has no order of its own"), "{why}");
    for list in [&["call", "list"][..], &["call", "lost"], &["audit", "list"]] {
        for option in ["--sort", "--columns"] {
            for name in ["nonsense", "id\"; DROP TABLE call_logs; --", "id DESC", ""] {
                let (code, _, why) = told(&database, &[list, &[option, name]].concat());
                assert!(code == 2 && why.contains("no field"), "{list:?} {option} {name}: {why}");
            }
        }
    }
}

/// What orders differ about: cases, marks, digits, blanks, letters that other alphabets lack.
const HOSTILE: [&str; 24] = [
    "",
    " ",
    "a",
    "A",
    "b",
    "B",
    "aa",
    "aA",
    "Aa",
    "a b",
    "a-b",
    "a_b",
    "Z",
    "z",
    "[",
    "0",
    "9",
    "10",
    "ä",
    "Ä",
    "\u{130}",
    "\u{3a3}",
    "\u{10348}",
    "\u{ff21}",
];

#[test]
fn the_database_and_the_program_give_the_same_order() {
    let database = database();
    let mut runner = TestRunner::deterministic();
    let drawn = prop::collection::vec("[ -~]{0,6}|[A-Ca-c'\"\\\\]{0,3}|\\PC{0,4}", 150);
    let drawn = drawn.new_tree(&mut runner).expect("texts").current();
    let texts: Vec<String> = HOSTILE.iter().map(|&text| text.to_owned()).chain(drawn).collect();
    let mut db = database.connect();
    for (n, text) in texts.iter().enumerate() {
        let n = i32::try_from(n).expect("small");
        // many are alike, many are nothing
        db.execute(
            "INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
                 campaign_client_setting_id, incoming_did_number, caller_id_name, caller_id_num, dial_status, passed_over,
                 hangup_cause_code, claimed_at, lease_expires_at)
             VALUES ('n-' || $1::int, 1 + $1 % 7, 1, 1, 1, $1 % 3, 1, '+12', $2::text, nullif($2, ''),
                 nullif(left($2, 1), 'a'), nullif($2, ' '), nullif($1 % 5, 0) - 3,
                 now() - $1 % 4 * interval '1 ms' - $1 % 3 * interval '1 us', now() + interval '1 hour')",
            &[&n, text],
        )
        .expect("a row");
    }
    database.execute("UPDATE call_attempts SET claimed_at = date_trunc('second', claimed_at) WHERE id % 5 = 0");
    let names = fields(&database, &["schema", "call", "active"], "field");
    assert!(names.len() > 20);
    let mut orders = Vec::new();
    for name in &names {
        let name = name.trim_matches('"');
        orders.push(format!("{name},id"));
        orders.push(format!("-{name},-id"));
    }
    orders.push("dial_status,-caller_id_name,claimed_at,id".to_owned());
    let ids = |list: &str, order: &str| fields(&database, &["call", list, "--sort", order, "--limit", "1000"], "id");
    // in flight, the program orders them; once their lease is over, the database
    let by_program: Vec<_> = orders.iter().map(|order| ids("active", order)).collect();
    database.execute("UPDATE call_attempts SET lease_expires_at = claimed_at");
    for (order, expected) in orders.iter().zip(by_program) {
        assert_eq!(expected.len(), texts.len());
        if !order.contains("lease_expires_at") {
            assert_eq!(ids("lost", order), expected, "{order}");
        }
    }
}
