//! Why calls and links are turned down is written down once in SQL and once in Rust, and the two are equal.

use std::collections::BTreeSet;

use capconduit::model::reason::REASONS;

use crate::harness::postgres::Postgres;

#[test]
fn sql_and_the_programs_have_the_same_reasons() {
    let database = Postgres::shared().database();
    let of_sql = database.query("SELECT code, about, call_status, hangup_cause, passes, words FROM cc_reasons()");
    let of_rust = REASONS.iter().map(|reason| {
        let status = reason.call_status.unwrap_or_default();
        let cause = reason.hangup_cause.map(|cause| cause.to_string()).unwrap_or_default();
        let passes = if reason.passes { "t" } else { "f" };
        [reason.code, reason.about, status, &cause, passes, reason.words].join("|")
    });
    assert_eq!(of_sql, of_rust.collect::<Vec<_>>());
}

/// What a function gives as a reason, in its text.
#[test]
fn each_reason_is_given_by_what_it_is_said_to_be_about() {
    let database = Postgres::shared().database();
    let literal = regex::Regex::new("(?:THEN|ELSE|reason :=) '([a-z_]+)'").expect("a pattern");
    for (about, functions) in
        [("link", "'cc_look'"), ("did", "'cc_resolve_did'"), ("call", "'cc_route', 'cc_rejection'")]
    {
        let text = database.query(&format!("SELECT prosrc FROM pg_proc WHERE proname IN ({functions})")).join("\n");
        let given: BTreeSet<&str> = literal.captures_iter(&text).map(|found| found.extract::<1>().1[0]).collect();
        let listed: BTreeSet<&str> =
            REASONS.iter().filter(|reason| reason.about == about).map(|reason| reason.code).collect();
        assert_eq!(given, listed, "{functions}");
    }
}
