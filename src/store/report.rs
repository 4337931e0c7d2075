//! Reports: call records counted by what they have in common.

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Row};
use serde_json::{Map, Value};

use super::Query;
use crate::{Result, args};

/// How calls ended, counted.
#[derive(Clone, Debug, Default, PartialEq)]
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

    fn of(row: &Row) -> Result<Tally> {
        // a group of the calendar without calls has no counts
        let count = |name: &str| row.try_get::<_, Option<i64>>(name).map(Option::unwrap_or_default);
        Ok(Tally {
            calls: count("calls")?,
            answered: count("answered")?,
            abandoned: count("abandoned")?,
            noanswer: count("noanswer")?,
            busy: count("busy")?,
            failed: count("failed")?,
            rejected: count("rejected")?,
            billed_seconds: count("billed_seconds")?,
            first_call: row.try_get("first_call")?,
            last_call: row.try_get("last_call")?,
        })
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
    /// The client that had the call last.
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
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Key::Day => &["day"],
            Key::Hour => &["hour"],
            Key::Weekday => &["weekday"],
            Key::Campaign => &["campaign_id", "campaign_name"],
            Key::Client => &["client_identifier"],
            Key::Did => &["incoming_did_number"],
            Key::Seller => &["username"],
            Key::Status => &["call_status"],
        }
    }

    /// Of a call that came in at `at`: $3 is the time zone.
    fn group(self, at: &str) -> String {
        match self {
            Key::Day => format!("({at} AT TIME ZONE $3)::date"),
            Key::Hour => format!("extract(hour FROM {at} AT TIME ZONE $3)::int"),
            Key::Weekday => format!("extract(isodow FROM {at} AT TIME ZONE $3)::int"),
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

    /// Whether every one of its groups is known without a call.
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
    /// `call_logs.client_id`
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

/// The calls by one or more keys, in their order. Days and hours are all there where nothing else is
/// asked for, also those without a call.
///
/// # Errors
/// The database's.
pub fn report(db: &mut impl GenericClient, keys: &[Key], scope: &Scope) -> Result<Vec<Group>> {
    let groups = |at: &str| {
        let each = keys.iter().enumerate().map(|(n, key)| format!("{} AS k{n}", key.group(at)));
        each.collect::<Vec<_>>().join(", ")
    };
    let places = (1..=keys.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let using = (0..keys.len()).map(|n| format!("k{n}")).collect::<Vec<_>>().join(", ");
    let shown: Vec<_> = keys.iter().enumerate().map(|(n, key)| key.shown(&format!("k{n}"))).collect();
    let part =
        |part: fn(&(String, String, String)) -> &str, between| shown.iter().map(part).collect::<Vec<_>>().join(between);
    // every local hour of the time until now, whatever clocks do meanwhile
    let calendar = if keys.iter().all(|key| key.is_calendar()) {
        format!(
            "RIGHT JOIN (SELECT DISTINCT {} FROM generate_series(date_trunc('hour', $1, $3),
                 least($2, now()) - interval '1 microsecond', interval '1 hour') t) calendar USING ({using})",
            groups("t")
        )
    } else {
        String::new()
    };
    // names are looked up once per group, not per call
    let sql = format!(
        "SELECT {}, calls, answered, abandoned, noanswer, busy, failed, rejected, billed_seconds, first_call, last_call
         FROM (SELECT {}, {TALLY} FROM call_logs l
               WHERE l.timestamp_start >= $1 AND l.timestamp_start < $2
                 AND ($4::int IS NULL OR l.user_id = $4) AND ($5::int IS NULL OR l.campaign_id = $5)
                 AND ($6::int IS NULL OR l.client_id = $6) AND ($7::text IS NULL OR l.incoming_did_number = $7)
               GROUP BY {places}) tally
         {calendar} {}
         ORDER BY {}",
        part(|shown| &shown.0, ", "),
        groups("l.timestamp_start"),
        part(|shown| &shown.1, " "),
        part(|shown| &shown.2, ", "),
    );
    let Scope { from, to, zone, user_id, campaign_id, client_id, number } = scope;
    let rows = db.rows(&sql, args![*from, *to, zone.clone(), *user_id, *campaign_id, *client_id, number.clone()])?;
    rows.iter().map(|row| Ok(Group { names: names(row, keys)?, tally: Tally::of(row)? })).collect()
}

fn names(row: &Row, keys: &[Key]) -> Result<Map<String, Value>> {
    let mut names = Map::new();
    for &name in keys.iter().flat_map(|key| key.fields()) {
        let value = match name {
            "campaign_id" => row.try_get::<_, Option<i32>>(name)?.map(Value::from),
            _ => row.try_get::<_, Option<String>>(name)?.map(Value::from),
        };
        names.insert(name.to_owned(), value.unwrap_or_default());
    }
    Ok(names)
}
