//! Reports: call records counted by what they have in common.
//!
//! A record names the client that had the call last. Clients are counted by attempts instead, each with its own end:
//! a busy client was offered the call, too.

use chrono::{DateTime, NaiveDate, Utc};
use postgres::{GenericClient, Row};
use serde_json::{Map, Value};

use crate::model::shape::{Field, Fields, Json};
use crate::pg::Query;
use crate::{Result, args, fields, row};

row! {
    /// How calls ended, counted.
    #[derive(Default)]
    pub struct Tally {
        /// All of them.
        pub calls: i64,
        /// ANSWERED
        pub answered: i64,
        /// ABANDONED
        pub abandoned: i64,
        /// NOANSWER
        pub noanswer: i64,
        /// BUSY
        pub busy: i64,
        /// FAILED
        pub failed: i64,
        /// REJECTED_CC and the other rejections.
        pub rejected: i64,
        /// Seconds with a client, of the answered ones.
        pub billed_seconds: i64,
        /// When the first of them came in.
        pub first_call: Option<DateTime<Utc>>,
        /// When the last of them came in.
        pub last_call: Option<DateTime<Utc>>,
    }
}

const TALLY: &str = "count(*) AS calls,
    count(*) FILTER (WHERE l.call_status = 'ANSWERED') AS answered,
    count(*) FILTER (WHERE l.call_status = 'ABANDONED') AS abandoned,
    count(*) FILTER (WHERE l.call_status = 'NOANSWER') AS noanswer,
    count(*) FILTER (WHERE l.call_status = 'BUSY') AS busy,
    count(*) FILTER (WHERE l.call_status = 'FAILED') AS failed,
    count(*) FILTER (WHERE l.call_status LIKE 'REJECTED%') AS rejected,
    coalesce(sum(l.billsec_seconds) FILTER (WHERE l.call_status = 'ANSWERED'), 0) AS billed_seconds,
    min(l.timestamp_start) AS first_call, max(l.timestamp_start) AS last_call";

impl Tally {
    /// Counts these calls, too.
    pub fn add(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.abandoned += other.abandoned;
        self.noanswer += other.noanswer;
        self.busy += other.busy;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.billed_seconds += other.billed_seconds;
        self.first_call = [self.first_call, other.first_call].into_iter().flatten().min();
        self.last_call = self.last_call.max(other.last_call);
    }
}

/// What calls can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The local day.
    Day,
    /// The hour of the local day.
    Hour,
    /// The day of the local week.
    Weekday,
    /// The campaign.
    Campaign,
    /// Each client that the call was offered to.
    Client,
    /// The number called.
    Did,
    /// The seller.
    Seller,
    /// How the call ended.
    Status,
}

impl Key {
    /// Every key with its name.
    pub const ALL: [(&str, Key); 8] = [
        ("day", Key::Day),
        ("hour", Key::Hour),
        ("weekday", Key::Weekday),
        ("campaign", Key::Campaign),
        ("client", Key::Client),
        ("did", Key::Did),
        ("seller", Key::Seller),
        ("status", Key::Status),
    ];

    /// The fields that name a group, in order.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Key::Day => fields! { day: NaiveDate = "The day." },
            Key::Hour => fields! { hour: String = "The hour of the day, 00:00 to 23:00." },
            Key::Weekday => fields! { weekday: String = "The day of the week." },
            Key::Campaign => fields! {
                campaign_id: Option<i32> = "The campaign; null: none.",
                campaign_name: Option<String> = "Its name.",
            },
            Key::Client => fields! {
                client_identifier: Option<String> =
                    "A client that calls were offered to, counted by how they ended there; null: none.",
            },
            Key::Did => fields! { incoming_did_number: String = "The number called." },
            Key::Seller => fields! { username: Option<String> = "The seller; null: none." },
            Key::Status => fields! { call_status: String = "The call status." },
        }
    }

    /// Of a call that came in at `at`: $6 is the time zone.
    fn group(self, at: &str) -> String {
        match self {
            Key::Day => format!("({at} AT TIME ZONE $6)::date"),
            Key::Hour => format!("extract(hour FROM {at} AT TIME ZONE $6)::int"),
            Key::Weekday => format!("extract(isodow FROM {at} AT TIME ZONE $6)::int"),
            Key::Campaign => "l.campaign_id".to_owned(),
            Key::Client => "l.client_id".to_owned(),
            Key::Did => "l.incoming_did_number".to_owned(),
            Key::Seller => "l.user_id".to_owned(),
            Key::Status => "l.call_status".to_owned(),
        }
    }

    /// The fields of the group `k`, what they are looked up in, and the order.
    fn shown(self, k: &str) -> (String, String, String) {
        let alone = |field: String| (field, String::new(), k.to_owned());
        match self {
            Key::Day => alone(format!("to_char({k}, 'YYYY-MM-DD') AS day")),
            Key::Hour => alone(format!("lpad({k}::text, 2, '0') || ':00' AS hour")),
            Key::Weekday => alone(format!(
                "('{{Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday}}'::text[])[{k}] AS weekday"
            )),
            Key::Campaign => (
                format!("{k} AS campaign_id, g.name AS campaign_name"),
                format!("LEFT JOIN campaigns g ON g.id = {k}"),
                format!("g.name, {k}"),
            ),
            Key::Client => (
                "c.client_identifier".to_owned(),
                format!("LEFT JOIN clients c ON c.id = {k}"),
                format!("c.client_identifier, {k}"),
            ),
            Key::Did => alone(format!("{k} AS incoming_did_number")),
            Key::Seller => {
                ("u.username".to_owned(), format!("LEFT JOIN users u ON u.id = {k}"), format!("u.username, {k}"))
            }
            Key::Status => alone(format!("{k} AS call_status")),
        }
    }

    /// Whether all its groups are known without any call.
    fn is_calendar(self) -> bool {
        matches!(self, Key::Day | Key::Hour)
    }
}

/// Which calls are counted: from `from` until before `to`; None lets everything through.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The first moment.
    pub from: DateTime<Utc>,
    /// The moment after the last.
    pub to: DateTime<Utc>,
    /// The time zone that days and hours are of.
    pub zone: String,
    /// `call_logs.user_id`
    pub user_id: Option<i32>,
    /// `call_logs.campaign_id`
    pub campaign_id: Option<i32>,
    /// Offered to this client.
    pub client_id: Option<i32>,
    /// `call_logs.incoming_did_number`
    pub number: Option<String>,
}

/// A group of calls: the fields that name it, and its counts.
#[derive(Clone, Debug)]
pub struct Group {
    /// The [`Key::fields`].
    pub names: Map<String, Value>,
    /// Its calls.
    pub tally: Tally,
}

/// The records `r` of a [`Scope`], by all fields but the client: these are arguments of every statement here.
const IN_SCOPE: &str = "r.timestamp_start >= $1 AND r.timestamp_start < $2
    AND ($3::int IS NULL OR r.user_id = $3) AND ($4::int IS NULL OR r.campaign_id = $4)
    AND ($5::text IS NULL OR r.incoming_did_number = $5)";

/// The offers of calls to clients, as records. An offer ends as the record says where the call ended with it, else as
/// Dial says. A record without attempts (v3.0's, an imported one) is one offer. A call that was rejected after
/// attempts counts once more, without a client.
fn offers() -> String {
    format!(
        "SELECT r.timestamp_start, r.user_id, r.campaign_id, r.incoming_did_number,
                CASE WHEN a.id IS NULL THEN r.client_id ELSE c.id END AS client_id,
                CASE WHEN of_record THEN r.billsec_seconds END AS billsec_seconds,
                CASE WHEN of_record THEN r.call_status
                     WHEN a.dial_status IN ('BUSY', 'NOANSWER') THEN a.dial_status
                     WHEN a.dial_status = 'ANSWER' THEN 'ANSWERED'
                     WHEN a.dial_status = 'CANCEL' THEN 'ABANDONED'
                     WHEN a.dial_status IN ('CONGESTION', 'CHANUNAVAIL', 'INVALIDARGS', 'DONTCALL', 'TORTURE')
                         THEN 'FAILED'
                     ELSE coalesce(a.dial_status, 'UNKNOWN') END AS call_status
         FROM call_logs r
         LEFT JOIN call_attempts a ON a.asterisk_uniqueid = r.asterisk_uniqueid
         LEFT JOIN call_attempts next
             ON next.asterisk_uniqueid = a.asterisk_uniqueid AND next.attempt_number = a.attempt_number + 1
         LEFT JOIN clients c ON c.id = a.client_id
         CROSS JOIN LATERAL (
             SELECT a.id IS NULL
                 OR (next.id IS NULL AND r.call_status NOT LIKE 'REJECTED%'
                     AND (r.call_status = 'ANSWERED' OR a.release_reason IS DISTINCT FROM 'failover')) AS of_record
         ) ended
         WHERE {IN_SCOPE}
         UNION ALL
         SELECT r.timestamp_start, r.user_id, r.campaign_id, r.incoming_did_number, NULL, r.billsec_seconds,
                r.call_status
         FROM call_logs r
         WHERE {IN_SCOPE} AND r.call_status LIKE 'REJECTED%'
           AND EXISTS (SELECT FROM call_attempts a WHERE a.asterisk_uniqueid = r.asterisk_uniqueid)"
    )
}

/// The calls by one or more keys, in their order, and in all. Days and hours alone are listed without gaps. By
/// client, or of one client, the calls offered to it count: a call offered to several is in each client's row, and
/// once in all.
pub fn report(db: &mut impl GenericClient, keys: &[Key], scope: &Scope) -> Result<(Vec<Group>, Tally)> {
    // groups and total of the same records
    let mut tx = db.transaction()?;
    tx.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let groups = groups(&mut tx, keys, scope)?;
    let total = if keys.contains(&Key::Client) && scope.client_id.is_none() {
        let Scope { from, to, user_id, campaign_id, number, .. } = scope;
        let sql = format!("SELECT {TALLY} FROM (SELECT * FROM call_logs r WHERE {IN_SCOPE}) l");
        Tally::try_from(&tx.the_row(&sql, args![*from, *to, *user_id, *campaign_id, number.clone()])?)?
    } else {
        let mut total = Tally::default();
        groups.iter().for_each(|group| total.add(&group.tally));
        total
    };
    tx.commit()?;
    Ok((groups, total))
}

fn groups(db: &mut impl GenericClient, keys: &[Key], scope: &Scope) -> Result<Vec<Group>> {
    let groups = |at: &str| {
        let each = keys.iter().enumerate().map(|(n, key)| format!("{} AS k{n}", key.group(at)));
        each.collect::<Vec<_>>().join(", ")
    };
    let places = (1..=keys.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let using = (0..keys.len()).map(|n| format!("k{n}")).collect::<Vec<_>>().join(", ");
    let shown: Vec<_> = keys.iter().enumerate().map(|(n, key)| key.shown(&format!("k{n}"))).collect();
    let part =
        |part: fn(&(String, String, String)) -> &str, between| shown.iter().map(part).collect::<Vec<_>>().join(between);
    // Every local day and hour until now, also across clock changes; the last hour may be cut. Calls beyond it count,
    // too: Asterisk's clock may be ahead of the database's.
    let calendar = if keys.iter().all(|key| key.is_calendar()) {
        format!(
            "FULL JOIN (SELECT DISTINCT {} FROM (
                 SELECT greatest(half, $1) AS t FROM generate_series(date_trunc('hour', $1, $6),
                     least($2, now()) - interval '1 microsecond', interval '30 minutes') half
                 UNION ALL SELECT least($2, now()) - interval '1 microsecond' WHERE $1 < least($2, now())) times
             ) calendar USING ({using})",
            groups("t")
        )
    } else {
        String::new()
    };
    let calls = match (keys.contains(&Key::Client), scope.client_id) {
        (false, None) => format!("SELECT * FROM call_logs r WHERE {IN_SCOPE}"),
        _ => offers(),
    };
    // a group of the calendar without calls has no counts
    let counts = Tally::FIELDS.iter().map(|Field { name, json, .. }| match json {
        Json::Integer => format!("coalesce({name}, 0) AS {name}"),
        _ => (*name).to_owned(),
    });
    // names are looked up once per group, not per call
    let sql = format!(
        "SELECT {}, {}
         FROM (SELECT {}, {TALLY} FROM ({calls}) l WHERE ($7::int IS NULL OR l.client_id = $7) GROUP BY {places}) tally
         {calendar} {}
         ORDER BY {}",
        part(|shown| &shown.0, ", "),
        counts.collect::<Vec<_>>().join(", "),
        groups("l.timestamp_start"),
        part(|shown| &shown.1, " "),
        part(|shown| &shown.2, ", "),
    );
    let Scope { from, to, zone, user_id, campaign_id, client_id, number } = scope;
    let rows = db.rows(&sql, args![*from, *to, *user_id, *campaign_id, number.clone(), zone.clone(), *client_id])?;
    rows.iter().map(|row| Ok(Group { names: names(row, keys)?, tally: Tally::try_from(row)? })).collect()
}

fn names(row: &Row, keys: &[Key]) -> Result<Map<String, Value>> {
    let mut names = Map::new();
    for Field { name, json, .. } in keys.iter().flat_map(|key| key.fields()) {
        let value = match json.known() {
            Json::Integer => row.try_get::<_, Option<i32>>(*name)?.map(Value::from),
            _ => row.try_get::<_, Option<String>>(*name)?.map(Value::from),
        };
        names.insert((*name).to_owned(), value.unwrap_or_default());
    }
    Ok(names)
}
