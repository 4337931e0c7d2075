//! How the platform is doing now: the server, the links with their live calls, the ledger, the last day.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::model::call_id::{kept_id, tail};
use crate::model::live;
use crate::pg::Query;
use crate::store::call::{IN_FLIGHT, REAPED};
use crate::{Kind, Result, args, row};

row! {
    /// The database server.
    pub struct Server {
        /// `15.14`
        pub version: String,
        /// primary or standby.
        pub role: String,
        /// Its clock.
        pub at: DateTime<Utc>,
    }
}

/// The server that answers.
pub fn server(db: &mut impl GenericClient) -> Result<Server> {
    let row = db.the_row(
        "SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
                CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS role, now() AS at",
        args![],
    )?;
    Server::try_from(&row)
}

row! {
    /// A link with what counts against its caps now.
    pub struct Link {
        /// `campaign_client_settings.id`
        pub id: i32,
        /// The campaign's name.
        pub campaign_name: String,
        /// active, inactive or paused.
        pub campaign_status: String,
        /// The seller; null where this login may not read it.
        pub username: Option<String>,
        /// The client.
        pub client_identifier: String,
        /// active or inactive.
        pub status: String,
        /// active or inactive: the client's.
        pub client_status: String,
        /// The seller's; null where this login may not read it.
        pub user_status: Option<String>,
        /// Attempts in flight.
        pub live_calls: i64,
        /// Calls at once.
        pub max_concurrency: i32,
        /// Answered calls so far.
        pub current_total_calls: i32,
        /// Answered calls in all; null: unlimited.
        pub total_calls_allowed: Option<i32>,
    }
}

/// What is looked at; None lets everything through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Of this campaign.
    pub campaign_id: Option<i32>,
}

/// The links, by campaign and in the order of their priority.
pub fn links(db: &mut impl GenericClient, filter: Filter) -> Result<Vec<Link>> {
    let mut list = |username: &str, user_status: &str, join: &str| {
        let sql = format!(
            "SELECT s.id, g.name AS campaign_name, g.status AS campaign_status, {username} AS username,
                    {user_status} AS user_status,
                    c.client_identifier, s.status, c.status AS client_status, coalesce(live.calls, 0) AS live_calls, s.max_concurrency,
                    s.current_total_calls, s.total_calls_allowed
             FROM campaign_client_settings s
             JOIN campaigns g ON g.id = s.campaign_id
             JOIN clients c ON c.id = s.client_id
             {join}
             LEFT JOIN (SELECT a.campaign_id, a.client_id, count(*) AS calls FROM call_attempts a
                        WHERE {IN_FLIGHT} GROUP BY 1, 2) live
                 ON live.campaign_id = s.campaign_id AND live.client_id = s.client_id
             WHERE ($1::int IS NULL OR g.user_id = $1) AND ($2::int IS NULL OR g.id = $2)
             ORDER BY g.name, g.id, s.forwarding_priority, c.client_identifier"
        );
        crate::pg::all(&db.rows(&sql, args![filter.user_id, filter.campaign_id])?)
    };
    match list("u.username", "u.status", "JOIN users u ON u.id = g.user_id") {
        // a seller's login may see campaigns and not the table of users
        Err(e) if e.kind == Kind::Permission => list("NULL::text", "NULL::text", ""),
        links => links,
    }
}

row! {
    /// The calls to known numbers of the last minutes.
    #[derive(Copy)]
    pub struct Lately {
        /// All of them.
        pub calls: i64,
        /// FAILED: no client could be reached, or no decision was made.
        pub failed: i64,
        /// REJECTED_...: there was no client to be had.
        pub rejected: i64,
    }
}

/// The calls to known numbers of the last so many minutes.
pub fn lately(db: &mut impl GenericClient, minutes: i32, filter: Filter) -> Result<Lately> {
    let row = db.the_row(
        "SELECT count(*) AS calls, count(*) FILTER (WHERE l.call_status = 'FAILED') AS failed,
                count(*) FILTER (WHERE l.call_status LIKE 'REJECTED%') AS rejected
         FROM call_logs l
         WHERE l.timestamp_start >= now() - make_interval(mins => $3) AND l.call_status <> 'REJECTED_DID_NOT_FOUND'
           AND ($1::int IS NULL OR l.user_id = $1) AND ($2::int IS NULL OR l.campaign_id = $2)",
        args![filter.user_id, filter.campaign_id, minutes],
    )?;
    Lately::try_from(&row)
}

row! {
    /// The attempts that nobody has released.
    #[derive(Copy)]
    pub struct Attempts {
        /// Calls in progress.
        pub live: i64,
        /// Past their lease: they hold no place among calls at once, and wait for call reap.
        pub expired: i64,
    }
}

/// The open attempts, also of links that are gone.
pub fn attempts(db: &mut impl GenericClient, filter: Filter) -> Result<Attempts> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE {IN_FLIGHT}) AS live, count(*) FILTER (WHERE a.lease_expires_at <= now()) AS expired
         FROM call_attempts a
         WHERE a.released_at IS NULL AND ($1::int IS NULL OR a.user_id = $1) AND ($2::int IS NULL OR a.campaign_id = $2)"
    );
    Attempts::try_from(&db.the_row(&sql, args![filter.user_id, filter.campaign_id])?)
}

/// How many calls hold a place in a total although their end is unknown.
pub fn undecided(db: &mut impl GenericClient, filter: Filter) -> Result<i64> {
    db.value(
        "SELECT count(*) FROM call_attempts a
         JOIN campaign_client_settings s ON s.campaign_id = a.campaign_id AND s.client_id = a.client_id
         WHERE a.count_pending AND a.release_reason = ANY ($3) AND s.total_calls_allowed IS NOT NULL
           AND ($1::int IS NULL OR a.user_id = $1) AND ($2::int IS NULL OR a.campaign_id = $2)",
        args![filter.user_id, filter.campaign_id, REAPED.to_vec()],
    )
}

/// Open attempts that are older than this Asterisk's start and whose channels are gone: their calls were lost with it.
pub fn older_than_start(db: &mut impl GenericClient, server: &live::Server, filter: Filter) -> Result<i64> {
    let tails: Vec<String> = server.channels.iter().map(|id| tail(id)).collect();
    // Where the clocks differ, a new call may seem old: its channel is then among those that the server named.
    let sql = format!(
        "SELECT count(*) FROM call_attempts a
         WHERE {IN_FLIGHT} AND a.system_name = $3 AND a.system_name <> '' AND a.claimed_at < $4
           AND a.claimed_at < now() - interval '20 seconds' AND cc_call_tail(a.asterisk_uniqueid) <> ALL ($5)
           AND ($1::int IS NULL OR a.user_id = $1) AND ($2::int IS NULL OR a.campaign_id = $2)"
    );
    db.value(&sql, args![filter.user_id, filter.campaign_id, kept_id(&server.system_name), server.started_at, tails])
}

row! {
    /// Active DIDs whose calls are rejected, whatever the hour, for one reason.
    pub struct Unsold {
        /// owner_inactive, no_campaign, campaign_inactive or no_clients.
        pub reason: String,
        /// The seller.
        pub username: String,
        /// The seller's status.
        pub user_status: String,
        /// The campaign that they feed.
        pub campaign_id: Option<i32>,
        /// Its name.
        pub campaign_name: Option<String>,
        /// Its status.
        pub campaign_status: Option<String>,
        /// How many.
        pub dids: i64,
        /// One of them.
        pub number: String,
    }
}

/// The active DIDs that cannot be sold as they stand, by campaign.
pub fn unsold(db: &mut impl GenericClient, filter: Filter) -> Result<Vec<Unsold>> {
    let found = db.rows(
        "SELECT reason, username, user_status, campaign_id, campaign_name, campaign_status, count(*) AS dids,
                min(number) AS number
         FROM cc_unsold($1, $2) GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY campaign_name, campaign_id, username",
        args![filter.user_id, filter.campaign_id],
    );
    match found {
        Err(e) if e.kind == Kind::Permission => Ok(Vec::new()),
        found => crate::pg::all(&found?),
    }
}

row! {
    /// The calls of an hour.
    pub struct Hour {
        /// When it began.
        pub hour: DateTime<Utc>,
        /// How many calls came in.
        pub calls: i64,
    }
}

/// The calls of the last 24 hours of the clock in this zone, the current one last.
pub fn hours(db: &mut impl GenericClient, zone: &str, filter: Filter) -> Result<Vec<Hour>> {
    const BEGIN: &str = "date_trunc('hour', now(), $1) - interval '23 hours'";
    let sql = format!(
        "SELECT t AS hour, coalesce(n.calls, 0) AS calls
         FROM generate_series({BEGIN}, now(), interval '1 hour') t
         LEFT JOIN (SELECT date_bin(interval '1 hour', l.timestamp_start, {BEGIN}) AS hour, count(*) AS calls
                    FROM call_logs l
                    WHERE l.timestamp_start >= {BEGIN} AND l.timestamp_start <= now()
                      AND ($2::int IS NULL OR l.user_id = $2) AND ($3::int IS NULL OR l.campaign_id = $3)
                    GROUP BY 1) n ON n.hour = t
         ORDER BY t"
    );
    crate::pg::all(&db.rows(&sql, args![zone, filter.user_id, filter.campaign_id])?)
}

/// Whether the schema is this program's; None where this login may not know.
pub fn is_schema_up_to_date(db: &mut impl GenericClient) -> Result<Option<bool>> {
    match crate::store::migrate::status(db) {
        Ok(steps) => Ok(Some(steps.iter().all(|step| step.state == crate::store::migrate::State::Applied))),
        Err(e) if e.kind == Kind::Permission => Ok(None),
        Err(e) => Err(e),
    }
}
