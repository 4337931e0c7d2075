//! Time zones, as PostgreSQL knows them: which day and hour a moment belongs to for people somewhere.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use postgres::GenericClient;

use super::Query;
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

/// The moment on everybody's clock.
///
/// # Errors
/// The database's.
pub fn instant(db: &mut impl GenericClient, zone: &str, moment: Moment) -> Result<DateTime<Utc>> {
    let (local, days_ago) = match moment {
        Moment::At(time) => return Ok(time),
        Moment::Day(day) => (Some(day.to_string()), None),
        Moment::Local(time) => (Some(time.to_string()), None),
        Moment::DaysAgo(days) => (None, Some(days)),
        Moment::Now => (None, None),
    };
    let row = db.row(
        "SELECT coalesce(
             $1::timestamp AT TIME ZONE $3,
             (date_trunc('day', now() AT TIME ZONE $3) - make_interval(days => $2)) AT TIME ZONE $3,
             now())",
        args![local, days_ago, zone],
    )?;
    Ok(row.ok_or_else(|| Error::failed("database: no time"))?.try_get(0)?)
}
