//! Rows that must agree and do not (`cc_differences`, sql/routines/verify.sql), and how they are put right.

use postgres::{Client, IsolationLevel, Transaction};

use crate::pg::Query;
use crate::{Result, args, row};

row! {
    /// Two things that do not agree.
    pub struct Difference {
        /// Which check found it.
        pub check: String,
        /// The table of the row that is wrong.
        pub table: String,
        /// The row's key; of several columns: `1/2`.
        pub id: String,
        /// What is wrong and what to do about it.
        pub message: String,
        /// What would be right.
        pub expected: Option<String>,
        /// What is there.
        pub found: Option<String>,
        /// It can be put right without losing anything.
        pub repairable: bool,
        /// It has been put right.
        pub repaired: bool,
    }
}

/// The repair of each check's differences, with the ids as $1. It looks again: a difference that has gone by itself
/// is left alone.
///
/// In the order in which cc_route and cc_log_call lock rows (attempts, turns, settings), so that a repair and a call
/// never wait for each other.
const CHECKS: [(&str, &[&str]); 9] = [
    (
        "attempt_expired",
        &["UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = 'expired', count_pending = true
           WHERE id = ANY ($1::text[]::bigint[]) AND released_at IS NULL"],
    ),
    (
        "attempt_open_after_record",
        &["UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = 'hangup'
           WHERE id = ANY ($1::text[]::bigint[]) AND released_at IS NULL"],
    ),
    (
        "attempt_pending_after_record",
        &["UPDATE call_attempts SET count_pending = false WHERE id = ANY ($1::text[]::bigint[]) AND count_pending"],
    ),
    ("answer_without_record", &[]),
    ("attempt_orphaned", &[]),
    ("did_of_another_owner", &[]),
    ("endpoint_names_nothing", &[]),
    (
        "turns_orphaned",
        &["DELETE FROM routing_turns t WHERE format('%s/%s', t.campaign_id, t.tier) = ANY ($1)
           AND NOT EXISTS (SELECT FROM campaigns g WHERE g.id = t.campaign_id)"],
    ),
    // The rows are locked before a separate statement counts: a call that is being logged is then in both sides of
    // the sum, or will add itself to both.
    (
        "counter",
        &[
            "WITH locked AS MATERIALIZED (
                 SELECT id FROM campaign_client_settings WHERE id = ANY ($1::text[]::integer[]) ORDER BY id FOR NO KEY UPDATE
             ) SELECT count(*) FROM locked",
            "UPDATE campaign_client_settings s SET current_total_calls = n.total, updated_at = now()
             FROM (SELECT o.id, o.total_calls_base + (
                       SELECT count(*) FROM call_logs l
                       WHERE l.campaign_client_setting_id = o.id AND l.call_status = 'ANSWERED') AS total
                   FROM campaign_client_settings o WHERE o.id = ANY ($1::text[]::integer[])) n
             WHERE s.id = n.id AND s.current_total_calls <> n.total AND n.total >= 0",
        ],
    ),
];

/// Everything that does not agree; with `repair`, what can safely be put right has been, in one
/// transaction, which `introduce` tells the audit of.
///
/// # Errors
/// The database's; nothing was repaired then.
pub fn verify(
    client: &mut Client,
    repair: bool,
    introduce: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
) -> Result<Vec<Difference>> {
    // each statement must see what has been committed before it, whatever the database's default is
    let mut tx = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start()?;
    if repair {
        // For this transaction only: through PgBouncer, others use the session afterwards. Calls wait for what is
        // locked here, so this must not wait long itself.
        tx.batch_execute("SET LOCAL capconduit.repair = 'on'; SET LOCAL lock_timeout = '1s'")?;
        introduce(&mut tx)?;
    }
    let mut all = Vec::new();
    for (check, repairs) in CHECKS {
        let sql = "SELECT d.*, false AS repaired FROM cc_differences() d WHERE d.\"check\" = $1";
        let mut found: Vec<Difference> = crate::pg::all(&tx.rows(sql, args![check])?)?;
        let ids: Vec<String> = found.iter().filter(|d| d.repairable).map(|d| d.id.clone()).collect();
        if repair && !ids.is_empty() {
            for statement in repairs {
                tx.rows(statement, args![ids])?;
            }
            found.iter_mut().filter(|d| d.repairable).for_each(|d| d.repaired = true);
        }
        all.append(&mut found);
    }
    tx.commit()?;
    Ok(all)
}
