//! Attempts that were never released, and ends of calls that are no longer needed.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::store::call::REAPED;
use crate::{Result, args, row};

/// How far a lease is renewed while its call is up: until well after the next run.
const RENEWAL: &str = "interval '15 minutes'";

row! {
    /// An open attempt.
    pub struct Open {
        /// Key.
        pub id: i64,
        /// The call.
        pub asterisk_uniqueid: String,
        /// The server it is on.
        pub system_name: Option<String>,
        /// The client it is with.
        pub client_identifier: Option<String>,
        /// When it was claimed.
        pub claimed_at: DateTime<Utc>,
        /// Until when it counts.
        pub lease_expires_at: DateTime<Utc>,
        /// Until then; below zero: the lease is over.
        pub lease_left_seconds: i64,
    }
}

/// All open attempts, oldest first.
pub fn open(db: &mut impl GenericClient) -> Result<Vec<Open>> {
    crate::pg::all(&db.rows(
        "SELECT a.id, a.asterisk_uniqueid, a.system_name, c.client_identifier, a.claimed_at, a.lease_expires_at,
                floor(extract(epoch FROM a.lease_expires_at - now()))::bigint AS lease_left_seconds
         FROM call_attempts a LEFT JOIN clients c ON c.id = a.client_id
         WHERE a.released_at IS NULL ORDER BY a.id",
        args![],
    )?)
}

/// Closes attempts that are still open, with a reason; returns how many. Each keeps its place in its link's total:
/// whether its call was answered is not known until its record comes, perhaps from a spool, or a person says so.
pub fn close(db: &mut impl GenericClient, ids: Vec<i64>, reason: &str) -> Result<u64> {
    db.run(
        "UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = $2, count_pending = true
         WHERE id = ANY ($1) AND released_at IS NULL",
        args![ids, reason],
    )
}

/// Renews the leases of attempts whose calls are up; returns how many were renewed.
pub fn renew(db: &mut impl GenericClient, ids: Vec<i64>) -> Result<u64> {
    let sql = format!(
        "UPDATE call_attempts SET lease_expires_at = clock_timestamp() + {RENEWAL}
         WHERE id = ANY ($1) AND released_at IS NULL AND lease_expires_at < clock_timestamp() + {RENEWAL}"
    );
    db.run(&sql, args![ids])
}

/// Reopens attempts of calls that are up on the server of this name, and were closed by a run that did not know.
/// Returns how many.
pub fn reopen(db: &mut impl GenericClient, calls: Vec<String>, system_name: &str) -> Result<u64> {
    // count_pending: no record has come yet, and the logger's own look at it waits for this row
    let sql = format!(
        "UPDATE call_attempts a
         SET released_at = NULL, release_reason = NULL, count_pending = false,
             lease_expires_at = greatest(a.lease_expires_at, clock_timestamp() + {RENEWAL})
         WHERE a.asterisk_uniqueid = ANY ($1) AND a.system_name = $2
           AND a.release_reason = ANY ($3) AND a.count_pending"
    );
    db.run(&sql, args![calls, system_name, REAPED.to_vec()])
}

/// What a call was found to be when it was to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a record now: this one.
    Settled(i64),
    /// It had one.
    Recorded,
    /// It may be up.
    Live,
}

/// Takes the locks of calls, always in the same order, before anything else is locked.
pub fn lock_calls(db: &mut impl GenericClient, ids: Vec<String>) -> Result<()> {
    db.rows(
        "SELECT pg_advisory_xact_lock(k.key) FROM (
             SELECT DISTINCT cc_call_lock(id) AS key FROM unnest($1) id ORDER BY 1) k",
        args![ids],
    )
    .map(|_| ())
}

/// Writes the record of a call whose end nobody saw; see `cc_settle_call`.
pub fn settle(db: &mut impl GenericClient, id: &str, answered: bool, billsec: Option<i32>) -> Result<Outcome> {
    let row = db.the_row(
        "SELECT outcome, call_log_id
         FROM cc_settle_call($1, $2, $3, coalesce(nullif(current_setting('capconduit.operator', true), ''), session_user))",
        args![id, answered, billsec],
    )?;
    Ok(match row.try_get::<_, &str>("outcome")? {
        "settled" => Outcome::Settled(row.try_get("call_log_id")?),
        "recorded" => Outcome::Recorded,
        _ => Outcome::Live,
    })
}

/// Forgets the ends of calls that are older than a day: no claim can still be on its way for them.
pub fn forget_endings(db: &mut impl GenericClient) -> Result<u64> {
    db.run("DELETE FROM call_endings WHERE ended_at < now() - interval '1 day'", args![])
}
