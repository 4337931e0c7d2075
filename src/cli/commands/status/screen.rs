//! `status` for people: one screen.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cli::commands::status::{
    Asterisk, Calls, Database, LinkNow, Snapshot, SpoolState, is_exhausted, is_unreachable,
};
use crate::cli::output::bars::Charset;
use crate::cli::output::table;
use crate::store::status::Hour;
use crate::words::plural;

/// How many notices are shown.
const NOTICES: usize = 5;

/// The screen, `height` lines at most where it has a height.
pub(crate) fn screen(snapshot: &Snapshot, charset: Charset, height: Option<usize>) -> String {
    let mut text = format!("capconduit status at {}\n\n", clock(snapshot.at));
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:9} {}\n", value.replace('\n', " ")));
    line("database", &database(&snapshot.database));
    line("asterisk", &asterisk(&snapshot.asterisk, snapshot.contacts_are_seen));
    line("spool", &spool(&snapshot.spool));
    if let Some(attempts) = &snapshot.attempts {
        line("live", &plural(attempts.live, "call"));
    }
    if let Some(calls) = &snapshot.calls {
        for (name, value) in figures(calls) {
            line(name, &value);
        }
    }
    if let Some(hours) = &snapshot.hours {
        line("24 hours", &last_day(hours, charset));
    }
    // the lines above have said why something is away
    let said = [&snapshot.database.error, &snapshot.asterisk.error, &snapshot.spool.error];
    for finding in snapshot.findings.iter().filter(|f| !said.iter().any(|error| error.as_ref() == Some(&f.message))) {
        line("attention", &finding.message);
    }
    // what is switched off may be a long list
    for notice in snapshot.notices.iter().take(NOTICES) {
        line("note", &notice.message);
    }
    if snapshot.notices.len() > NOTICES {
        line("note", &format!("and {} more: --json", snapshot.notices.len() - NOTICES));
    }
    text = table::printable(&text);
    if let Some(links) = &snapshot.links {
        // an empty line, the heading, and perhaps how many are left out
        let room = height.map(|height| height.saturating_sub(text.lines().count() + 3));
        text.push('\n');
        text.push_str(&table(links, charset, room));
    }
    match height {
        Some(height) => text.lines().take(height).map(|line| format!("{line}\n")).collect(),
        None => text,
    }
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn database(database: &Database) -> String {
    let (Some(version), Some(role), Some(latency)) = (&database.version, &database.role, database.latency_ms) else {
        return format!("away: {}", database.error.as_deref().unwrap_or("?"));
    };
    let schema = match database.schema_up_to_date {
        Some(true) => "schema up to date",
        Some(false) => "schema not up to date",
        None => "schema not this login's to see",
    };
    format!("up, PostgreSQL {version}, {role}, {latency} ms, {schema}")
}

fn asterisk(asterisk: &Asterisk, contacts_are_seen: bool) -> String {
    match (&asterisk.up, &asterisk.error) {
        (None, _) => "not asked: run this on its server, as root, or set ASTERISK_ARI_URL".to_owned(),
        (Some(_), Some(error)) => format!("away: {error}"),
        (Some(_), None) => {
            let name =
                asterisk.system_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("without a systemname");
            let since = asterisk.started_at.map(clock).unwrap_or_default();
            let version = asterisk.version.as_deref().unwrap_or_default();
            let contacts = if contacts_are_seen { "" } else { "; it was not asked which clients it reaches" };
            let channels = asterisk.channels.unwrap_or_default();
            format!("up since {since}, {version}, {name}, {channels} channels{contacts}")
        }
    }
}

fn spool(spool: &SpoolState) -> String {
    if let Some(error) = &spool.error {
        return error.clone();
    }
    let mut text = match spool.waiting {
        None | Some(0) => "empty".to_owned(),
        Some(n) => waiting(n, spool.oldest_seconds),
    };
    for (what, count) in [("refused", spool.failed), ("damaged", spool.damaged)] {
        if let Some(count @ 1..) = count {
            text.push_str(&format!("; {} {what}", plural(count, "record")));
        }
    }
    text
}

/// `2 records wait, the oldest for 3 min`
pub(crate) fn waiting(count: usize, oldest_seconds: Option<u64>) -> String {
    let wait = if count == 1 { "waits" } else { "wait" };
    let oldest = oldest_seconds.map(|seconds| format!(", the oldest for {}", age(seconds))).unwrap_or_default();
    format!("{} {wait}{oldest}", plural(count, "record"))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

fn figures(calls: &Calls) -> Vec<(&'static str, String)> {
    let f = &calls.figures;
    let since = format!("{} since {} ({})", f.calls, clock(calls.since), calls.tz);
    let mut ends = format!(
        "answered {}, abandoned {}, no answer {}, busy {}, failed {}, rejected {}",
        f.answered, f.abandoned, f.noanswer, f.busy, f.failed, f.rejected
    );
    if f.other > 0 {
        ends.push_str(&format!(", other {}", f.other));
    }
    let mut lines = vec![("calls", since), ("", ends)];
    let reasons: Vec<String> = calls
        .by_status
        .iter()
        .filter_map(|(status, n)| Some(format!("{} {n}", status.strip_prefix("REJECTED_")?)))
        .collect();
    if !reasons.is_empty() {
        lines.push(("", format!("rejected: {}", reasons.join(", "))));
    }
    if let (Some(rate), Some(mean)) = (f.answer_rate, f.mean_billsec) {
        lines.push(("", format!("{rate} % answered, {mean} s in the mean, {} minutes billed", f.billed_minutes)));
    }
    lines
}

fn last_day(hours: &[Hour], charset: Charset) -> String {
    let calls: Vec<i64> = hours.iter().map(|hour| hour.calls).collect();
    let highest = calls.iter().copied().max().unwrap_or(0);
    format!("{}  at most {highest} an hour", charset.sparkline(&calls))
}

/// The links with their bars; where there is too little room, those without a call are left out first.
fn table(links: &[LinkNow], charset: Charset, room: Option<usize>) -> String {
    if links.is_empty() {
        return "No links.\n".to_owned();
    }
    let room = room.unwrap_or(usize::MAX);
    if room == 0 {
        return format!("{} links: the window is too small\n", links.len());
    }
    let mut shown: Vec<&LinkNow> = links.iter().collect();
    if links.len() > room {
        shown.sort_by_key(|link| link.live_calls == 0);
        shown.truncate(room);
    }
    let rows: Vec<Value> = shown
        .iter()
        .map(|link| {
            json!({
                "campaign": link.campaign_name,
                "client": link.client_identifier,
                "live": bar(charset, link.live_calls, link.max_concurrency),
                "total": match link.total_calls_allowed {
                    Some(allowed) => bar(charset, link.current_total_calls.into(), allowed),
                    None => link.current_total_calls.to_string(),
                },
                "state": state(link),
            })
        })
        .collect();
    let mut text = table::table(&rows, &["campaign", "client", "live", "total", "state"]);
    if shown.len() < links.len() {
        text.push_str(&format!("and {} more\n", links.len() - shown.len()));
    }
    text
}

fn bar(charset: Charset, value: i64, max: i32) -> String {
    let width = usize::try_from(max).unwrap_or(0).min(10);
    format!("{} {value}/{max}", charset.bar(value, max.into(), width))
}

fn state(link: &LinkNow) -> &str {
    if link.user_status.as_deref().is_some_and(|status| status != "active") {
        return "seller not active";
    }
    if link.campaign_status != "active" {
        return &link.campaign_status;
    }
    if link.client_status != "active" {
        return "client inactive";
    }
    match link.status.as_str() {
        "active" if is_exhausted(link) => "exhausted",
        "active" if is_unreachable(link) => "unreachable",
        "active" if link.live_calls >= link.max_concurrency.into() => "full",
        "active" => "",
        other => other,
    }
}
