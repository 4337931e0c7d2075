//! Calls, read: the records in `call_logs` and the ledger of attempts. Writing them is `route`'s and
//! `record`'s.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::store::noun::Noun;
use crate::store::page::Page;
use crate::{Result, args, row};

/// An attempt `a` that counts as a live call.
pub(super) const IN_FLIGHT: &str = "cc_in_flight(a.released_at, a.lease_expires_at, now())";

/// Why `call reap` released an attempt: nobody saw the end of its call.
pub const REAPED: [&str; 3] = ["expired", "asterisk_restarted", "channel_gone"];

row! {
    /// A call record.
    pub struct Call {
        /// Key.
        pub id: i64,
        /// The call came in.
        pub timestamp_start: DateTime<Utc>,
        /// The client answered.
        pub timestamp_answered: Option<DateTime<Utc>>,
        /// The call ended.
        pub timestamp_end: Option<DateTime<Utc>>,
        /// From start to end.
        pub duration_seconds: Option<i32>,
        /// From the client's answer to the end.
        pub billsec_seconds: Option<i32>,
        /// ANSWERED, NOANSWER, BUSY, FAILED, ABANDONED or REJECTED_...
        pub call_status: String,
        /// E.164, or what the carrier sent.
        pub incoming_did_number: String,
        /// Caller ID number.
        pub caller_id_num: Option<String>,
        /// Caller ID name.
        pub caller_id_name: Option<String>,
        /// The DID's owner; null where removed since, as the four below.
        pub user_id: Option<i32>,
        /// The owner's name.
        pub username: Option<String>,
        /// The DID.
        pub did_id: Option<i32>,
        /// The campaign.
        pub campaign_id: Option<i32>,
        /// The campaign's name.
        pub campaign_name: Option<String>,
        /// The client.
        pub client_id: Option<i32>,
        /// The client's identifier.
        pub client_identifier: Option<String>,
        /// The link.
        pub campaign_client_setting_id: Option<i32>,
        /// Q.850 cause.
        pub hangup_cause_code: Option<i32>,
        /// Its text.
        pub hangup_cause_text: Option<String>,
        /// A rejection: the campaign's links and why none could get the call.
        pub passed_over: Option<String>,
        /// Names the call.
        pub asterisk_uniqueid: Option<String>,
        /// Joins the legs of the call.
        pub asterisk_linkedid: Option<String>,
        /// Row creation.
        pub created_at: DateTime<Utc>,
    }
}

row! {
    /// One attempt to place a call with a client: a row of the ledger.
    pub struct Attempt {
        /// Key.
        pub id: i64,
        /// Names the call.
        pub asterisk_uniqueid: String,
        /// Joins the legs of the call.
        pub asterisk_linkedid: Option<String>,
        /// `systemname` of the Asterisk that has the call.
        pub system_name: Option<String>,
        /// 1 for the call's first.
        pub attempt_number: i32,
        /// The DID's owner.
        pub user_id: i32,
        /// The campaign.
        pub campaign_id: i32,
        /// The campaign's name; null where removed since.
        pub campaign_name: Option<String>,
        /// The DID.
        pub did_id: i32,
        /// The client.
        pub client_id: i32,
        /// The client's identifier; null where removed since.
        pub client_identifier: Option<String>,
        /// The link.
        pub campaign_client_setting_id: i32,
        /// The number called.
        pub incoming_did_number: String,
        /// Caller ID number.
        pub caller_id_num: Option<String>,
        /// Caller ID name.
        pub caller_id_name: Option<String>,
        /// When it was claimed.
        pub claimed_at: DateTime<Utc>,
        /// Until when it counts if nobody releases it.
        pub lease_expires_at: DateTime<Utc>,
        /// When it was released.
        pub released_at: Option<DateTime<Utc>>,
        /// failover or hangup.
        pub release_reason: Option<String>,
        /// How Dial ended.
        pub dial_status: Option<String>,
        /// Q.850 cause.
        pub hangup_cause_code: Option<i32>,
        /// The campaign's strategy, which chose the link; null before this was kept, as the two below.
        pub routing_strategy: Option<String>,
        /// Strategy priority: the link's at the time.
        pub forwarding_priority: Option<i32>,
        /// The links that could not get the call and why; null where every link could.
        pub passed_over: Option<String>,
    }
}

const SELECT_CALL: &str = "SELECT l.*, u.username, g.name AS campaign_name, c.client_identifier
    FROM call_logs l
    LEFT JOIN users u ON u.id = l.user_id
    LEFT JOIN campaigns g ON g.id = l.campaign_id
    LEFT JOIN clients c ON c.id = l.client_id";

const SELECT_ATTEMPT: &str = "SELECT a.*, g.name AS campaign_name, c.client_identifier
    FROM call_attempts a
    LEFT JOIN campaigns g ON g.id = a.campaign_id
    LEFT JOIN clients c ON c.id = a.client_id";

/// Which records; None and an empty list let everything through.
#[derive(Debug, Default)]
pub struct Filter {
    /// `call_logs.user_id`
    pub user_id: Option<i32>,
    /// `call_logs.campaign_id`
    pub campaign_id: Option<i32>,
    /// `call_logs.client_id`
    pub client_id: Option<i32>,
    /// `call_logs.incoming_did_number`
    pub number: Option<String>,
    /// `call_logs.call_status`, one of these in any case; `REJECTED*` is all that begin with REJECTED.
    pub statuses: Vec<String>,
    /// Started at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Started before this time.
    pub to: Option<DateTime<Utc>>,
}

/// Records, newest first where the page has no order of its own.
pub fn list(db: &mut impl GenericClient, filter: &Filter, page: &Page) -> Result<Vec<Call>> {
    matching(db, filter, None, |select| page.of(select, "r.timestamp_start DESC, r.id DESC"))
}

/// The next records, oldest first, after the record with this start and id; None: from the first. Reads any number of
/// records without a long statement or transaction. Records that exist at the first call are read once; one added
/// meanwhile is read if its start is still ahead.
pub fn after(
    db: &mut impl GenericClient,
    filter: &Filter,
    last: Option<(DateTime<Utc>, i64)>,
    limit: i32,
) -> Result<Vec<Call>> {
    matching(db, filter, last, |select| format!("{select} ORDER BY l.timestamp_start, l.id LIMIT {limit}"))
}

fn matching(
    db: &mut impl GenericClient,
    filter: &Filter,
    last: Option<(DateTime<Utc>, i64)>,
    which: impl FnOnce(&str) -> String,
) -> Result<Vec<Call>> {
    let sql = which(&format!(
        "{SELECT_CALL}
         WHERE ($1::int IS NULL OR l.user_id = $1) AND ($2::int IS NULL OR l.campaign_id = $2)
           AND ($3::int IS NULL OR l.client_id = $3) AND ($4::text IS NULL OR l.incoming_did_number = $4)
           AND ($5::text[] = '{{}}' OR l.call_status ILIKE ANY ($5))
           AND ($6::timestamptz IS NULL OR l.timestamp_start >= $6)
           AND ($7::timestamptz IS NULL OR l.timestamp_start < $7)
           AND ($8::timestamptz IS NULL OR (l.timestamp_start, l.id) > ($8, $9::bigint))"
    ));
    let Filter { user_id, campaign_id, client_id, number, statuses, from, to } = filter;
    let statuses: Vec<String> = statuses.iter().map(|status| like(status)).collect();
    let (start, id) = last.unzip();
    crate::pg::all(
        &db.rows(&sql, args![*user_id, *campaign_id, *client_id, number.clone(), statuses, *from, *to, start, id])?,
    )
}

/// A pattern of LIKE for a text that may end in `*`.
fn like(text: &str) -> String {
    let (text, end) = text.strip_suffix('*').map_or((text, ""), |begin| (begin, "%"));
    let mut pattern = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if matches!(c, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + end
}

/// The record of the call with this uniqueid, else with this id.
pub fn find(db: &mut impl GenericClient, name: &str) -> Result<Option<Call>> {
    let id = if name.bytes().all(|b| b.is_ascii_digit()) { name.parse::<i64>().ok() } else { None };
    let sql = format!(
        "{SELECT_CALL} WHERE l.asterisk_uniqueid = $1 OR l.id = $2 ORDER BY l.asterisk_uniqueid = $1 DESC NULLS LAST LIMIT 1"
    );
    crate::pg::one(db.row(&sql, args![name, id])?)
}

/// The attempts of a call, in order.
pub fn attempts(db: &mut impl GenericClient, uniqueid: &str) -> Result<Vec<Attempt>> {
    let sql = format!("{SELECT_ATTEMPT} WHERE a.asterisk_uniqueid = $1 ORDER BY a.attempt_number");
    crate::pg::all(&db.rows(&sql, args![uniqueid])?)
}

/// The attempts in flight, oldest first.
pub fn active(db: &mut impl GenericClient) -> Result<Vec<Attempt>> {
    let sql = format!("{SELECT_ATTEMPT} WHERE {IN_FLIGHT} ORDER BY a.claimed_at, a.id");
    crate::pg::all(&db.rows(&sql, args![])?)
}

/// Attempts that ended without a call record, and were claimed in this period; newest first where the page has no
/// order of its own.
pub fn lost(
    db: &mut impl GenericClient,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    page: &Page,
) -> Result<Vec<Attempt>> {
    let select = format!(
        "{SELECT_ATTEMPT}
         WHERE (a.release_reason = ANY ($1) OR (a.released_at IS NULL AND a.lease_expires_at <= now()))
           AND NOT EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid)
           AND ($2::timestamptz IS NULL OR a.claimed_at >= $2) AND ($3::timestamptz IS NULL OR a.claimed_at < $3)"
    );
    let sql = page.of(&select, "r.claimed_at DESC, r.id DESC");
    crate::pg::all(&db.rows(&sql, args![REAPED.to_vec(), from, to])?)
}

/// How many records name a thing, and would lose it with its removal; and how many of its attempts are in flight.
pub fn uses_of(db: &mut impl GenericClient, noun: Noun, id: i32) -> Result<(i64, i64)> {
    let Some(column) = noun.in_ledger() else { return Ok((0, 0)) };
    let sql = format!(
        "SELECT (SELECT count(*) FROM call_logs l WHERE l.{column} = $1),
                (SELECT count(*) FROM call_attempts a WHERE a.{column} = $1 AND {IN_FLIGHT})"
    );
    let row = db.the_row(&sql, args![id])?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_asterisk_at_the_end_is_special() {
        assert_eq!(like("REJECTED_CC"), "REJECTED\\_CC");
        assert_eq!(like("REJECTED*"), "REJECTED%");
        assert_eq!(like("a%\\*b*"), "a\\%\\\\*b%");
    }
}
