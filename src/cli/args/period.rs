//! From when to when: the `--from` and `--to` of lists, and how people write a time.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use clap::Args;
use postgres::GenericClient;

use crate::cli::args::input::not_an_option;
use crate::store::zone::{self, Moment, Reading};
use crate::{Error, Result};

/// The first moment of a period and the first one after it, in UTC.
pub(crate) type Bounds = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// `--from`, `--to` and `--tz`.
#[derive(Debug, Args)]
pub(crate) struct Period {
    /// Only from this time on: 2026-07-01, '2026-07-01 12:00', today, yesterday, -2h, -7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = not_an_option("a time"))]
    from: Option<String>,
    /// Only before this time; a date includes its day
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = not_an_option("a time"))]
    to: Option<String>,
    /// The time zone of --from and --to; what is shown is UTC
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
}

impl Period {
    /// Checks what needs no database.
    ///
    /// # Errors
    /// A text that is no time.
    pub(crate) fn check(&self) -> Result<()> {
        self.moments().map(|_| ())
    }

    fn moments(&self) -> Result<(Option<Moment>, Option<Moment>)> {
        let from = self.from.as_deref().map(|text| moment("from", text, false)).transpose()?;
        Ok((from, self.to.as_deref().map(|text| moment("to", text, true)).transpose()?))
    }

    /// In UTC.
    ///
    /// # Errors
    /// A text that is no time; a zone that there is not; a period that ends before it begins.
    pub(crate) fn bounds(&self, db: &mut impl GenericClient) -> Result<Bounds> {
        let (from, to) = self.moments()?;
        let zone = zone::named(db, &self.tz)?;
        let first = from.map(|moment| zone::instant(db, &zone, moment, Reading::Earliest)).transpose()?;
        let end = to.map(|moment| zone::instant(db, &zone, moment, Reading::Latest)).transpose()?;
        // a single moment is a period, but a day that ends as it begins is not
        let is_day = matches!(to, Some(Moment::Day(_) | Moment::DaysAgo(_)));
        if let (Some(first), Some(end)) = (first, end)
            && (first > end || (first == end && is_day))
        {
            let (from, to) = (self.from.as_deref().unwrap_or_default(), self.to.as_deref().unwrap_or_default());
            if from == to {
                let message = format!("there was no {from} in {zone}: its clocks were put forward over that day");
                return Err(Error::invalid(message).hint("Nothing can match."));
            }
            return Err(
                Error::invalid(format!("--from {from} is after --to {to}")).hint("Nothing can match: swap them.")
            );
        }
        Ok((first, end))
    }
}

/// A time as people write it. A day stands for its beginning, or for its end.
///
/// # Errors
/// A text that is no time.
pub(crate) fn moment(option: &str, text: &str, end: bool) -> Result<Moment> {
    let day = |day: NaiveDate| day.checked_add_days(Days::new(u64::from(end))).map(Moment::Day);
    let local = |format| NaiveDateTime::parse_from_str(text, format).ok().map(Moment::Local);
    let exact = || DateTime::parse_from_rfc3339(text).ok().map(|time| Moment::At(time.to_utc()));
    let named = match text {
        "now" => Some(Moment::Now),
        "today" => Some(Moment::DaysAgo(-i32::from(end))),
        "yesterday" => Some(Moment::DaysAgo(1 - i32::from(end))),
        _ => None,
    };
    let found = named
        .or_else(exact)
        .or_else(|| text.parse().ok().and_then(day))
        .or_else(|| {
            ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].into_iter().find_map(local)
        })
        .or_else(|| Some(Moment::At(Utc::now().checked_sub_signed(ago(text)?)?)));
    found.ok_or_else(|| {
        Error::invalid(format!("--{option} \"{}\" is not a time", text.escape_debug())).hint(
            "Write 2026-07-01, '2026-07-01 12:00', 2026-07-01T12:00:00Z, today, yesterday, or how long ago: -2h, -7d",
        )
    })
}

/// How long ago `-30m`, `-2h`, `-7d` or `-2w` is.
fn ago(text: &str) -> Option<TimeDelta> {
    let (count, unit) = text.strip_prefix('-')?.split_at_checked(text.len().checked_sub(2)?)?;
    let count: i64 = count.parse::<u32>().ok()?.into();
    match unit {
        "m" => TimeDelta::try_minutes(count),
        "h" => TimeDelta::try_hours(count),
        "d" => TimeDelta::try_days(count),
        "w" => TimeDelta::try_weeks(count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let day = |text: &str| Moment::Day(text.parse().expect("a day"));
        let at = |text: &str| Moment::At(text.parse().expect("a time"));
        let local = |text: &str| Moment::Local(text.parse().expect("a time"));
        for (text, first, end) in [
            ("2026-12-31", day("2026-12-31"), day("2027-01-01")),
            ("today", Moment::DaysAgo(0), Moment::DaysAgo(-1)),
            ("yesterday", Moment::DaysAgo(1), Moment::DaysAgo(0)),
            ("now", Moment::Now, Moment::Now),
            ("2026-07-01T12:00:00+02:00", at("2026-07-01T10:00:00Z"), at("2026-07-01T10:00:00Z")),
            ("2026-07-01 12:00", local("2026-07-01T12:00:00"), local("2026-07-01T12:00:00")),
            ("2026-07-01T12:00:01", local("2026-07-01T12:00:01"), local("2026-07-01T12:00:01")),
        ] {
            assert_eq!(moment("to", text, false).expect("a time"), first, "{text}");
            assert_eq!(moment("to", text, true).expect("a time"), end, "{text}");
        }
        for bad in ["", "-", "-h", "-1", "-1x", "--1h", "-1é", "tomorrow", "2026-02-30", "2026-07-01 25:00", "12:00"] {
            assert!(moment("to", bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn how_long_ago() {
        let minutes = |text| ago(text).map(|delta| delta.num_minutes());
        assert_eq!(minutes("-30m"), Some(30));
        assert_eq!(minutes("-2h"), Some(120));
        assert_eq!(minutes("-7d"), Some(7 * 1440));
        assert_eq!(minutes("-1w"), minutes("-7d"));
        assert_eq!(minutes("2h"), None);
    }
}
