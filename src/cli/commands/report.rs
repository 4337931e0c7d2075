//! `capconduit report`: call records counted by day, campaign, client and so on.

use std::io::IsTerminal;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::args::input::not_an_option;
use crate::cli::args::listing::{Known, Listing};
use crate::cli::args::period::moment;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::bars::Charset;
use crate::cli::output::{self, Output};
use crate::model::shape::Fields;
use crate::store::report::{self, Key, Scope, Tally};
use crate::store::zone::{self, Moment, Reading};
use crate::{Error, Kind, Result, shape};

const EXAMPLES: &str = "\
Examples:
  capconduit report --by day --tz Europe/Berlin
  capconduit report --by campaign,client --from 2026-07-01 --to 2026-07-31 --csv
  capconduit report --by day,hour --from 2026-07-01 --campaign 'Alice Priority'
  capconduit report --by client --sort -answer_rate --columns client_identifier,calls,answer_rate

Days, hours and dates are those of --tz; an hour is one of the local day, over all days unless
day is the other key. Days and hours without calls are shown where there is no other key.
answer_rate is answered calls in percent of calls; mean_billsec the mean of the answered ones;
other counts records with a call status that is none of these. first_call and last_call are UTC.
By client, and with --client, calls are those offered to the client, with how each ended there:
one that was busy and went on to another client counts with both, and in the total once. The row
without a client has the calls that were rejected, or given up before a client was asked.
The total is that of all calls, also of those that --limit leaves out; --csv has none.";

/// `report`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    /// What calls are counted by: day, hour, weekday, campaign, client, did, seller or status; one or two
    #[arg(long, value_name = "KEY[,KEY]", value_delimiter = ',', default_value = "day", value_parser = key)]
    by: Vec<Key>,
    /// From this time on: 2026-07-01, '2026-07-01 12:00', today, yesterday, -2h, -7d [default: of the last 7
    /// days for day and weekday, else of today]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = not_an_option("a time"))]
    from: Option<String>,
    /// Until before this time; a date includes its day [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = not_an_option("a time"))]
    to: Option<String>,
    /// The time zone of days, hours and dates
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Only of this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only those offered to this client
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only to this number
    #[arg(long, value_name = "NUMBER")]
    did: Option<String>,
    /// Only of this seller
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

fn key(text: &str) -> Result<Key, String> {
    let known = Key::ALL.iter().find(|(name, _)| *name == text);
    known.map(|(_, key)| *key).ok_or_else(|| {
        let names = Key::ALL.map(|(name, _)| name).join(", ");
        format!("it must be one of {names}")
    })
}

shape! {
    /// What is said of a number of calls.
    #[derive(Debug, PartialEq)]
    pub(crate) struct Figures {
        /// All calls.
        pub(crate) calls: i64,
        /// ANSWERED.
        pub(crate) answered: i64,
        /// ABANDONED.
        pub(crate) abandoned: i64,
        /// NOANSWER.
        pub(crate) noanswer: i64,
        /// BUSY.
        pub(crate) busy: i64,
        /// FAILED.
        pub(crate) failed: i64,
        /// REJECTED_CC and the other rejections.
        pub(crate) rejected: i64,
        /// Any other call status.
        pub(crate) other: i64,
        /// Answered calls in percent of calls.
        pub(crate) answer_rate: Option<f64>,
        /// Mean seconds with a client, of the answered calls.
        pub(crate) mean_billsec: Option<f64>,
        /// Seconds with a client.
        pub(crate) billed_seconds: i64,
        /// The same in minutes.
        pub(crate) billed_minutes: f64,
        /// When the first of them came in.
        pub(crate) first_call: Option<DateTime<Utc>>,
        /// When the last of them came in.
        pub(crate) last_call: Option<DateTime<Utc>>,
    }
}

#[allow(clippy::cast_precision_loss, reason = "calls and seconds stay far below 2^52")]
fn ratio(part: i64, whole: i64, factor: f64) -> Option<f64> {
    // one digit is what can be read off
    (whole > 0).then(|| (part as f64 / whole as f64 * factor * 10.0).round() / 10.0)
}

impl From<&Tally> for Figures {
    fn from(tally: &Tally) -> Figures {
        let Tally { calls, answered, abandoned, noanswer, busy, failed, rejected, .. } = *tally;
        Figures {
            calls,
            answered,
            abandoned,
            noanswer,
            busy,
            failed,
            rejected,
            other: calls - answered - abandoned - noanswer - busy - failed - rejected,
            answer_rate: ratio(answered, calls, 100.0),
            mean_billsec: ratio(tally.billed_seconds, answered, 1.0),
            billed_seconds: tally.billed_seconds,
            billed_minutes: ratio(tally.billed_seconds, 60, 1.0).unwrap_or_default(),
            first_call: tally.first_call,
            last_call: tally.last_call,
        }
    }
}

impl Report {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        if self.by.len() > 2 || (self.by.len() == 2 && self.by[0] == self.by[1]) {
            return Err(Error::new(Kind::Usage, "--by takes one key, or two that differ"));
        }
        let days = if self.by.iter().any(|key| matches!(key, Key::Day | Key::Weekday)) { 6 } else { 0 };
        let from = self.from.as_deref().map_or(Ok(Moment::DaysAgo(days)), |text| moment("from", text, false))?;
        let to = self.to.as_deref().map_or(Ok(Moment::Now), |text| moment("to", text, true))?;
        let mut db = env.connect()?;
        let zone = zone::named(&mut db, &self.tz)?;
        let campaign_id = find::campaign_id(&mut db, self.campaign.as_deref(), self.user.as_deref())?;
        let scope = Scope {
            from: zone::instant(&mut db, &zone, from, Reading::Earliest)?,
            to: zone::instant(&mut db, &zone, to, Reading::Latest)?,
            zone,
            user_id: find::user_id(&mut db, self.user.as_deref())?,
            campaign_id,
            client_id: find::client_id(&mut db, self.client.as_deref())?,
            number: self.did.as_ref().map(|did| find::called_number(&mut db, env.config, did.clone())).transpose()?,
        };
        self.check(&scope)?;
        let (groups, total) = report::report(&mut db, &self.by, &scope)?;
        let rows = groups.into_iter().map(|group| row(group.names, &group.tally)).collect::<Result<Vec<Value>>>()?;
        self.output(&scope, rows, &total, env.json)
    }

    /// A range that is empty is a slip, and one of a lifetime too long for a calendar.
    fn check(&self, scope: &Scope) -> Result<()> {
        if scope.from >= scope.to {
            let (from, to) = (scope.from, scope.to);
            let message = format!("the time from {} to {} is empty", from.to_rfc3339(), to.to_rfc3339());
            return Err(Error::invalid(message).hint("Give a --from before --to."));
        }
        let calendar = self.by.iter().any(|key| matches!(key, Key::Day | Key::Hour));
        if calendar && (scope.to - scope.from).num_days() > 3660 {
            return Err(Error::invalid("the time from --from to --to is longer than ten years")
                .hint("By day and hour, ten years at most can be shown."));
        }
        Ok(())
    }

    fn output(self, scope: &Scope, rows: Vec<Value>, total: &Tally, json: bool) -> Result<Output> {
        let fields: Vec<&str> = self.by.iter().flat_map(|key| key.fields()).map(|field| field.name).collect();
        let known: Vec<Known<'_>> =
            self.by.iter().flat_map(|key| key.fields()).chain(Figures::FIELDS).map(Known::from).collect();
        let shown = known.iter().map(|field| field.name).filter(|&name| match name {
            "campaign_id" | "billed_seconds" => false,
            "other" => Figures::from(total).other > 0,
            _ => true,
        });
        let most = rows.iter().filter_map(|row| row["calls"].as_i64()).max().unwrap_or(0);
        let output = self.listing.of_values(rows, &known, &shown.collect::<Vec<_>>(), "No calls.")?;
        let Output::List { mut rows, mut columns, empty } = output else { return Ok(output) };
        if json {
            let name = |by: &Key| Key::ALL.iter().find(|(_, key)| key == by).map(|(name, _)| *name);
            let by: Vec<&str> = self.by.iter().filter_map(name).collect();
            return Ok(Output::Item(json!({
                "from": scope.from,
                "to": scope.to,
                "tz": scope.zone,
                "by": by,
                "rows": rows,
                "total": output::to_value(&Figures::from(total))?,
            })));
        }
        if rows.is_empty() {
            return Ok(Output::List { rows, columns, empty });
        }
        if std::io::stdout().is_terminal()
            && let Some(at) = columns.iter().position(|name| name == "calls")
        {
            let charset = Charset::of_locale();
            for row in &mut rows {
                row[BAR] = charset.stroke(row["calls"].as_i64().unwrap_or(0), most, 12).into();
            }
            columns.insert(at + 1, BAR.to_owned());
        }
        let mut last = row(Map::new(), total)?;
        last[BAR] = "".into();
        for name in &fields {
            last[*name] = "".into();
        }
        if let Some(first) = columns.iter().find(|name| fields.contains(&name.as_str())) {
            last[first.as_str()] = "total".into();
        }
        rows.push(last);
        Ok(Output::List { rows, columns, empty })
    }
}

/// The column of bars has no heading.
const BAR: &str = " ";

fn row(names: Map<String, Value>, tally: &Tally) -> Result<Value> {
    let mut row = Value::Object(names);
    if let (Value::Object(row), Value::Object(figures)) = (&mut row, output::to_value(&Figures::from(tally))?) {
        row.extend(figures);
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_nothing() {
        let none = Figures::from(&Tally::default());
        assert_eq!((none.answer_rate, none.mean_billsec, none.billed_minutes), (None, None, 0.0));
        let some = Figures::from(&Tally { calls: 3, answered: 2, billed_seconds: 125, ..Tally::default() });
        assert_eq!((some.answer_rate, some.mean_billsec, some.billed_minutes), (Some(66.7), Some(62.5), 2.1));
        assert_eq!(some.other, 1);
    }
}
