//! Attempts that nobody will release any more, and marks that nobody needs any more.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use super::Query;
use crate::{Result, args, row};

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
        /// The lease is over.
        pub expired: bool,
    }
}

/// All open attempts, oldest first.
///
/// # Errors
/// The database's.
pub fn open(db: &mut impl GenericClient) -> Result<Vec<Open>> {
    super::all(&db.rows(
        "SELECT a.id, a.asterisk_uniqueid, a.system_name, c.client_identifier, a.claimed_at, a.lease_expires_at,
                a.lease_expires_at <= now() AS expired
         FROM call_attempts a LEFT JOIN clients c ON c.id = a.client_id
         WHERE a.released_at IS NULL ORDER BY a.id",
        args![],
    )?)
}

/// Closes attempts that are still open, with a reason; returns how many.
///
/// # Errors
/// The database's.
pub fn close(db: &mut impl GenericClient, ids: Vec<i64>, reason: &str) -> Result<u64> {
    db.run(
        "UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = $2
         WHERE id = ANY ($1) AND released_at IS NULL",
        args![ids, reason],
    )
}

/// Forgets the ends of calls that are older than a day: no claim can still be on its way for them.
///
/// # Errors
/// The database's.
pub fn forget_endings(db: &mut impl GenericClient) -> Result<u64> {
    db.run("DELETE FROM call_endings WHERE ended_at < now() - interval '1 day'", args![])
}
