//! `status` for Prometheus: the text exposition format, version 0.0.4.
//!
//! Calls are gauges of a day, not counters: old records may be removed, and a counter over the whole
//! table would be read anew at every scrape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::Result;
use crate::cli::commands::status::{LinkNow, Snapshot};
use crate::store::status::Link;
use crate::system::file::replace;

const LAST_SUCCESS: &str = "capconduit_last_success_timestamp_seconds";

/// One metric with its samples; without samples it is left out.
fn metric(text: &mut String, name: &str, help: &str, samples: &[(String, f64)]) {
    if samples.is_empty() {
        return;
    }
    // writing to memory does not fail
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// The three characters that the format gives a meaning.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

/// The metrics; `last_success` is when the database was last read, if it cannot be read now.
#[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
pub(crate) fn text(snapshot: &Snapshot, last_success: Option<f64>) -> String {
    let mut text = String::new();
    let mut one = |name: &str, help: &str, value: Option<f64>| {
        let samples: Vec<_> = value.map(|value| (String::new(), value)).into_iter().collect();
        metric(&mut text, name, help, &samples);
    };
    let read = snapshot.failure.is_none();
    one("capconduit_up", "Whether the database could be read.", Some(flag(read)));
    let last_success = if read { Some(seconds(snapshot.at)) } else { last_success };
    one(LAST_SUCCESS, "When the database was read last.", last_success);
    let database = &snapshot.database;
    let latency = database.latency_ms.map(|ms| ms / 1000.0);
    one("capconduit_database_latency_seconds", "How long the database took for an empty question.", latency);
    let schema = database.schema_up_to_date.map(flag);
    one("capconduit_schema_up_to_date", "Whether the schema is this program's.", schema);
    let asterisk = &snapshot.asterisk;
    one("capconduit_asterisk_up", "Whether Asterisk answers.", asterisk.up.map(flag));
    let channels = asterisk.channels.map(|n| n as f64);
    one("capconduit_asterisk_channels", "Channels of that Asterisk.", channels);
    let oldest = snapshot.spool.oldest_seconds.map(|n| n as f64);
    one("capconduit_spool_oldest_seconds", "Age of the oldest record that waits in the spool.", oldest);
    let expired = snapshot.attempts.map(|attempts| attempts.expired as f64);
    one("capconduit_expired_leases", "Attempts that nobody has released and whose lease is over.", expired);
    let calls = snapshot.calls.as_ref();
    let billed = calls.map(|calls| calls.figures.billed_seconds as f64);
    one("capconduit_billed_seconds_today", "Seconds with a client of the day's answered calls.", billed);

    let spool = &snapshot.spool;
    let files: Vec<_> = [("waiting", spool.waiting), ("failed", spool.failed), ("damaged", spool.damaged)]
        .into_iter()
        .filter_map(|(state, count)| Some((labels(&[("state", state)]), count? as f64)))
        .collect();
    metric(&mut text, "capconduit_spool_files", "Call records in the spool.", &files);
    let mut by_status = BTreeMap::new();
    if let Some(calls) = calls {
        // an alert on the first call needs the series before it
        by_status.extend(["ABANDONED", "ANSWERED", "BUSY", "FAILED", "NOANSWER"].map(|status| (status, 0.0)));
        by_status.extend(calls.by_status.iter().map(|(status, n)| (&**status, n.as_f64().unwrap_or_default())));
    }
    let by_status: Vec<_> = by_status.iter().map(|(status, n)| (labels(&[("status", status)]), *n)).collect();
    metric(&mut text, "capconduit_calls_today", "Call records of the day.", &by_status);

    let mut links = |name: &str, help: &str, value: fn(&Link) -> Option<f64>| {
        let sample = |link: &LinkNow| {
            let seller = link.username.as_deref().unwrap_or_default();
            let labels = [("campaign", &*link.campaign_name), ("seller", seller), ("client", &*link.client_identifier)];
            Some((self::labels(&labels), value(link)?))
        };
        let samples: Vec<_> = snapshot.links.iter().flatten().filter_map(sample).collect();
        metric(&mut text, name, help, &samples);
    };
    links("capconduit_live_calls", "Calls in progress.", |link| Some(link.live_calls as f64));
    links("capconduit_link_max_concurrency", "How many calls at once are allowed.", |link| {
        Some(link.max_concurrency.into())
    });
    links("capconduit_link_current_total_calls", "Answered calls counted so far; may be reset.", |link| {
        Some(link.current_total_calls.into())
    });
    links("capconduit_link_total_calls_allowed", "How many answered calls are allowed; absent: unlimited.", |link| {
        link.total_calls_allowed.map(Into::into)
    });
    text
}

/// Writes the metrics to a file that appears whole.
pub(crate) fn write(snapshot: &Snapshot, file: &Path) -> Result<()> {
    let before = fs::read_to_string(file).unwrap_or_default();
    let before = before.lines().find_map(|line| line.strip_prefix(LAST_SUCCESS)?.trim().parse().ok());
    let text = text(snapshot, before);
    // whatever the umask is, node_exporter is another user; it reads what ends in .prom
    replace(file, text.as_bytes(), 0o644, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader of the format makes of a label's value.
    fn unescaped(value: &str) -> String {
        let mut text = String::new();
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            assert!(c != '"' && c != '\n', "{value:?} ends early");
            text.push(match c {
                '\\' => match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("\\{other:?}"),
                },
                c => c,
            });
        }
        text
    }

    proptest! {
        #[test]
        fn any_name_is_a_label(name in "(?s).{0,40}|[\\\\\"\n]{0,8}") {
            prop_assert_eq!(unescaped(&escaped(&name)), name);
        }
    }
}
