//! What `asterisk check` asks a database about itself.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::{Result, args, row};

row! {
    /// A server as this session sees it.
    pub struct Health {
        /// Its clock.
        pub now: DateTime<Utc>,
        /// The port it listens on, which is another than the one asked for behind a pooler.
        pub port: i32,
        /// Connections that may be open at once, but for those kept for administrators.
        pub max_connections: i32,
        /// Connections that are open.
        pub connections: i64,
    }
}

/// The server's state.
pub fn health(db: &mut impl GenericClient) -> Result<Health> {
    Health::try_from(&db.the_row(
        "SELECT clock_timestamp() AS now, current_setting('port')::int AS port,
                current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                    AS max_connections,
                -- pg_stat_activity hides from most logins what the others' sessions are
                (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS connections",
        args![],
    )?)
}

/// What no other database has, except a copy of its server: its name and number, and the server's start.
pub fn identity(db: &mut impl GenericClient) -> Result<String> {
    db.value(
        "SELECT concat_ws(' ', d.oid, d.datname, pg_postmaster_start_time())
         FROM pg_database d WHERE d.datname = current_database()",
        args![],
    )
}

/// Whether two sessions get the same server process in turn, as from a pooler that lends one for each transaction.
/// Other sessions may take the process in between, so this is tried often.
pub fn share_a_process(one: &mut impl GenericClient, other: &mut impl GenericClient) -> Result<bool> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        if process_id(one)? == process_id(other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn process_id(db: &mut impl GenericClient) -> Result<i32> {
    db.value("SELECT pg_backend_pid()", args![])
}

/// Reads each view that Asterisk reads (no row, and so no password), as Asterisk's login; returns how many endpoints it sees.
///
/// # Errors
/// [`crate::Kind::Permission`] where the login may not read one of them; else the database's.
pub fn read_realtime_views(db: &mut impl GenericClient) -> Result<i64> {
    // one statement each, so that the message names the view
    for view in ["ps_endpoints", "ps_aors", "ps_auths"] {
        db.rows(&format!("SELECT * FROM {view} LIMIT 0"), args![])?;
    }
    db.value("SELECT count(*) FROM ps_endpoints", args![])
}
