//! From when to when: the `--from` and `--to` of lists.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use crate::{Error, Result};

/// The first moment of a period and the first one after it, in UTC.
pub(super) type Bounds = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Reads `--from` and `--to`. A date that ends a period includes its day.
///
/// # Errors
/// A text that is no time; a period that ends before it begins.
pub(super) fn bounds(from: Option<&str>, to: Option<&str>) -> Result<Bounds> {
    let first = from.map(|text| time("from", text, 0)).transpose()?;
    let end = to.map(|text| time("to", text, 1)).transpose()?;
    check_order(from, to)?;
    Ok((first, end))
}

/// A time in UTC. A date stands for its beginning, `days` later.
pub(super) fn time(option: &str, text: &str, days: u64) -> Result<DateTime<Utc>> {
    let date = || {
        let date: NaiveDate = text.parse().ok()?;
        Some(date.checked_add_days(Days::new(days))?.and_time(NaiveTime::MIN).and_utc())
    };
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(date).ok_or_else(|| {
        Error::invalid(format!("--{option} \"{}\" is not a time", text.escape_debug()))
            .hint("Write a date or an RFC 3339 time: 2026-07-01 or 2026-07-01T12:00:00Z")
    })
}

/// A period that ends before it begins holds nothing: it is a slip.
fn check_order(from: Option<&str>, to: Option<&str>) -> Result<()> {
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    // the first moment of the one, the last of the other
    let (first, end) = (time("from", from, 0)?, time("to", to, 1)?);
    let is_date = to.parse::<NaiveDate>().is_ok();
    if first < end || (first == end && !is_date) {
        return Ok(());
    }
    Err(Error::invalid(format!("--from {from} is after --to {to}")).hint("Nothing can match: swap them."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let valid = |from, to| check_order(Some(from), Some(to)).is_ok();
        assert!(valid("2026-07-01", "2026-07-01"));
        assert!(valid("2026-07-01T12:00:00Z", "2026-07-01"));
        assert!(valid("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"));
        assert!(!valid("2026-07-02", "2026-07-01"));
        assert!(!valid("2026-07-01T12:00:01Z", "2026-07-01T12:00:00Z"));
        assert!(!valid("2026-07-01", "2026-07-01T00:00:00+02:00"));
        assert!(check_order(None, Some("2026-07-01")).is_ok());
    }

    #[test]
    fn times() {
        let read = |text, days| time("to", text, days).map(|t| t.to_rfc3339()).ok();
        assert_eq!(read("2026-07-01", 0).as_deref(), Some("2026-07-01T00:00:00+00:00"));
        assert_eq!(read("2026-12-31", 1).as_deref(), Some("2027-01-01T00:00:00+00:00"));
        assert_eq!(read("2026-07-01T12:00:00+02:00", 1).as_deref(), Some("2026-07-01T10:00:00+00:00"));
        for bad in ["", "yesterday", "2026-02-30", "2026-07-01 12:00", "12:00"] {
            assert_eq!(read(bad, 0), None, "{bad}");
        }
    }
}
