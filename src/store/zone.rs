//! Time zones, as PostgreSQL knows them: which day and hour a moment belongs to for people somewhere.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::{Error, Kind, Result, args};

/// A point in time as people name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// This one.
    At(DateTime<Utc>),
    /// The first moment of a local day.
    Day(NaiveDate),
    /// This time of the zone's clocks.
    Local(NaiveDateTime),
    /// The first moment of today, or of the day so many days before; of tomorrow for -1.
    DaysAgo(i32),
    /// When the question is asked.
    Now,
}

/// A time zone that the database knows by this name: `UTC`, or one of the IANA database.
///
/// # Errors
/// [`crate::Kind::Invalid`]: there is none of this name.
pub fn named(db: &mut impl GenericClient, name: &str) -> Result<String> {
    let unknown = || {
        Error::invalid(format!("time zone \"{}\" is unknown", name.escape_debug()))
            .hint("Write a name of the IANA database: Europe/Berlin, America/New_York, or UTC")
    };
    if name == "UTC" {
        return Ok(name.to_owned());
    }
    // What else PostgreSQL takes for a zone misleads: in UTC+3 and Europe/Berlin3 the sign is the other way
    // round, and CET has no summer.
    if !name.contains('/') || name.contains(|c: char| c.is_ascii_digit()) {
        return Err(unknown());
    }
    match db.rows("SELECT now() AT TIME ZONE $1", args![name]) {
        Ok(_) => Ok(name.to_owned()),
        Err(e) if e.kind == Kind::Invalid => Err(unknown()),
        Err(e) => Err(e),
    }
}

/// Which one, where the clocks of a zone show a time twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What begins with it begins here.
    Earliest,
    /// What ends with it ends here.
    Latest,
}

/// SQL: the instant at which the clocks of `zone` show `label`, a timestamp without time zone. Where they skip it,
/// the instant at which they were put forward.
///
/// PostgreSQL's own `label AT TIME ZONE zone` is the later of two readings, and for a skipped time an instant behind
/// the change: a period that begins there would leave out calls. A day begins with the earliest reading of its
/// midnight, also where clocks go back over midnight (Azores, Havana), skip it (Beirut) or skip the whole day (Apia).
///
/// A zone has at most one change within a day; it is at a whole second.
#[must_use]
pub fn instant_of(label: &str, zone: &str, reading: Reading) -> String {
    let ahead = |at: &str| format!("(({at}) AT TIME ZONE {zone} - ({at}) AT TIME ZONE 'UTC')");
    let (before, after) = (ahead("n.naive - interval '24 hours'"), ahead("n.naive + interval '24 hours'"));
    let of_two = match reading {
        Reading::Earliest => "min",
        Reading::Latest => "max",
    };
    format!(
        "(WITH RECURSIVE near AS (
             SELECT n.label, (n.label - {before}) AT TIME ZONE 'UTC' AS by_old,
                    (n.label - {after}) AT TIME ZONE 'UTC' AS by_new
             FROM (SELECT label, label AT TIME ZONE {zone} AS naive FROM (SELECT {label} AS label) given) n
         ), shown AS (
             SELECT v.at FROM near, LATERAL (VALUES (by_old), (by_new)) v (at) WHERE v.at AT TIME ZONE {zone} = label
         ), change (before, behind) AS (
             SELECT by_new, by_old FROM near WHERE NOT EXISTS (SELECT FROM shown)
             UNION ALL
             SELECT CASE WHEN is_before THEN half ELSE before END, CASE WHEN is_before THEN behind ELSE half END
             FROM change, near,
                  LATERAL (SELECT date_trunc('second', before + (behind - before) / 2) AS half) halved,
                  LATERAL (SELECT half AT TIME ZONE {zone} < label AS is_before) tried
             WHERE behind - before > interval '1 second'
         )
         SELECT coalesce((SELECT {of_two}(at) FROM shown), (SELECT min(behind) FROM change)))"
    )
}

/// The instant of a moment. A day is its beginning, whichever the reading.
pub fn instant(db: &mut impl GenericClient, zone: &str, moment: Moment, reading: Reading) -> Result<DateTime<Utc>> {
    let (label, days_ago, reading) = match moment {
        Moment::At(time) => return Ok(time),
        Moment::Day(day) => (Some(day.to_string()), None, Reading::Earliest),
        Moment::Local(time) => (Some(time.to_string()), None, reading),
        Moment::DaysAgo(days) => (None, Some(days), Reading::Earliest),
        Moment::Now => (None, None, reading),
    };
    let shown = "coalesce($1::timestamp, date_trunc('day', now() AT TIME ZONE $3) - make_interval(days => $2))";
    let sql = format!("SELECT coalesce({}, now())", instant_of(shown, "$3", reading));
    db.value(&sql, args![label, days_ago, zone])
}
