//! `capconduit call explain`: what became of a call and why, told from its record and its attempts.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use crate::cli::commands::call::advice;
use crate::cli::commands::call::show::known;
use crate::cli::env::Env;
use crate::cli::output::{Output, to_value};
use crate::model::call::seconds_between;
use crate::model::hangup_cause::cause_text;
use crate::model::reason::{self, REASONS};
use crate::store::call::{Attempt, Call};
use crate::{Result, shape, store};

/// `call explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Asterisk's uniqueid of the call, or the record's id
    call: String,
}

shape! {
    /// The story; the JSON of the command.
    pub(crate) struct Story {
        /// The record; null: the call has none yet.
        id: Option<i64>,
        /// Names the call.
        asterisk_uniqueid: Option<String>,
        /// As in the record.
        call_status: Option<String>,
        /// The call came in; the first attempt, where there is no record.
        timestamp_start: DateTime<Utc>,
        /// From whom and on what it came in, for people, as all that is told here.
        arrival: String,
        /// What was tried, in order.
        attempts: Vec<Step>,
        /// The call ended.
        timestamp_end: Option<DateTime<Utc>>,
        /// How the call ended, and why.
        ending: String,
        /// A rejection: each link of the campaign, and why it could not get the call.
        passed_over: Vec<String>,
        /// A rejection: what a call would meet now, what was changed since, and the command that would change it. A
        /// call that no client answered: what to do about the client.
        advice: Option<String>,
    }
}

shape! {
    /// An attempt of it.
    struct Step {
        /// 1 for the call's first.
        attempt_number: i32,
        /// When it was claimed.
        claimed_at: DateTime<Utc>,
        /// The client; null where removed since.
        client_identifier: Option<String>,
        /// Why this client.
        chosen: String,
        /// Each link that could not get the call, and why.
        passed_over: Vec<String>,
        /// How it ended.
        outcome: String,
    }
}

impl Explain {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let (call, attempts) = known(&mut db, &self.call)?;
        let mut story = Story::of(call.as_ref(), &attempts, Utc::now());
        if let Some(call) = call {
            story.advice = match call.call_status.as_str() {
                status if status.starts_with("REJECTED") => Some(advice::rejected(&mut db, env, &call)?),
                "FAILED" | "BUSY" | "NOANSWER" => advice::unanswered(&mut db, env, &call, &attempts)?,
                _ => None,
            };
        }
        Ok(Output::Report { value: to_value(&story)?, text: story.text() })
    }
}

impl Story {
    /// What a record and attempts tell; there is at least one of the two.
    fn of(call: Option<&Call>, attempts: &[Attempt], now: DateTime<Utc>) -> Story {
        let first = attempts.first();
        let start = call.map(|call| call.timestamp_start).or(first.map(|first| first.claimed_at));
        Story {
            id: call.map(|call| call.id),
            asterisk_uniqueid: call
                .and_then(|call| call.asterisk_uniqueid.clone())
                .or_else(|| first.map(|first| first.asterisk_uniqueid.clone())),
            call_status: call.map(|call| call.call_status.clone()),
            timestamp_start: start.unwrap_or(now),
            arrival: arrival(call, first),
            attempts: attempts.iter().map(|attempt| Step::of(attempt, call, now)).collect(),
            timestamp_end: call.and_then(|call| call.timestamp_end),
            ending: call.map_or_else(|| unrecorded(attempts, now), |call| ending(call, attempts)),
            passed_over: in_words(call.and_then(|call| call.passed_over.as_deref())),
            advice: None,
        }
    }

    fn text(&self) -> String {
        let name = self.asterisk_uniqueid.as_deref().unwrap_or("without a uniqueid");
        let record = self.id.map_or_else(|| "no record yet".to_owned(), |id| format!("record {id}"));
        let status = self.call_status.as_deref().map(|status| format!(": {status}")).unwrap_or_default();
        let at = |time: Option<DateTime<Utc>>| {
            time.map_or_else(|| " ".repeat(20), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        };
        let mut text =
            format!("Call {name}, {record}{status}\n\n{}  {}\n", at(Some(self.timestamp_start)), self.arrival);
        let passed_over = |text: &mut String, links: &[String]| {
            for link in links {
                text.push_str(&format!("{:22}passed over: {link}\n", ""));
            }
        };
        for step in &self.attempts {
            let client = step.client_identifier.as_deref().unwrap_or("a client that was removed since");
            let (number, chosen) = (step.attempt_number, &step.chosen);
            text.push_str(&format!("{}  Attempt {number}: {client}, {chosen}\n", at(Some(step.claimed_at))));
            passed_over(&mut text, &step.passed_over);
            text.push_str(&format!("{:22}{}\n", "", step.outcome));
        }
        text.push_str(&format!("{}  {}\n", at(self.timestamp_end), self.ending));
        passed_over(&mut text, &self.passed_over);
        if let Some(advice) = &self.advice {
            text.push_str(&format!("\n{advice}\n"));
        }
        text
    }
}

fn arrival(call: Option<&Call>, first: Option<&Attempt>) -> String {
    let of_both = |record: fn(&Call) -> &Option<String>, attempt: fn(&Attempt) -> &Option<String>| {
        call.and_then(|call| record(call).clone()).or_else(|| first.and_then(|first| attempt(first).clone()))
    };
    let did = call.map(|call| call.incoming_did_number.as_str()).or(first.map(|first| &*first.incoming_did_number));
    let mut text = format!("It came in on {}", did.unwrap_or_default());
    if let Some(seller) = call.and_then(|call| call.username.as_deref()) {
        text.push_str(&format!(" of {}", seller.escape_debug()));
    }
    if let Some(number) = of_both(|call| &call.caller_id_num, |attempt| &attempt.caller_id_num) {
        text.push_str(&format!(" from {}", number.escape_debug()));
    }
    if let Some(name) = of_both(|call| &call.caller_id_name, |attempt| &attempt.caller_id_name) {
        text.push_str(&format!(" \"{}\"", name.escape_debug()));
    }
    if let Some(campaign) = of_both(|call| &call.campaign_name, |attempt| &attempt.campaign_name) {
        text.push_str(&format!(", for campaign \"{}\"", campaign.escape_debug()));
    }
    text + "."
}

impl Step {
    fn of(attempt: &Attempt, call: Option<&Call>, now: DateTime<Utc>) -> Step {
        Step {
            attempt_number: attempt.attempt_number,
            claimed_at: attempt.claimed_at,
            client_identifier: attempt.client_identifier.clone(),
            chosen: chosen(attempt),
            passed_over: in_words(attempt.passed_over.as_deref()),
            outcome: outcome(attempt, call, now),
        }
    }
}

fn chosen(attempt: &Attempt) -> String {
    let Some(strategy) = &attempt.routing_strategy else { return "chosen before strategies were kept".to_owned() };
    let why = match (strategy.as_str(), attempt.forwarding_priority) {
        ("priority", Some(priority)) => {
            format!("lowest forwarding_priority ({priority}) of those that could take it, by weight among equals")
        }
        ("round_robin", _) => "next in turn of those that could take it".to_owned(),
        ("weighted", _) => "due by its weight among those that could take it".to_owned(),
        _ => "first of those that could take it".to_owned(),
    };
    format!("chosen by {strategy}: {why}")
}

fn outcome(attempt: &Attempt, call: Option<&Call>, now: DateTime<Utc>) -> String {
    let Some(released) = attempt.released_at else {
        let until = attempt.lease_expires_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        return if attempt.lease_expires_at > now {
            format!("It has the call: its place is held until {until} at the latest.")
        } else {
            format!("Nobody released it, and its lease ended at {until}: capconduit call reap closes it.")
        };
    };
    let after = seconds_between(attempt.claimed_at, released);
    let closed = |what| format!("Closed by capconduit call reap after {after} s: {what}.");
    match attempt.release_reason.as_deref() {
        Some("expired") => return closed("its lease was over"),
        Some("asterisk_restarted") => return closed("its Asterisk had been restarted"),
        Some("channel_gone") => return closed("its Asterisk had no such channel any more"),
        Some("settled") => return "Nobody saw its end: capconduit call settle says what became of it.".to_owned(),
        Some("hangup") if call.is_some_and(|call| call.client_id == Some(attempt.client_id)) => {
            if let Some(answered) = call.and_then(|call| call.timestamp_answered) {
                return format!("It answered after {} s.", seconds_between(attempt.claimed_at, answered));
            }
        }
        _ => {}
    }
    let what = match attempt.dial_status.as_deref().unwrap_or_default() {
        "" => "The call ended before it was dialled".to_owned(),
        "BUSY" => "It was busy".to_owned(),
        "NOANSWER" => "It did not answer".to_owned(),
        "CONGESTION" => "It had no line free, or failed".to_owned(),
        "CHANUNAVAIL" if advice::was_not_called(attempt) => {
            "Asterisk sent it no call: it held its contact unreachable, or knew no endpoint of it".to_owned()
        }
        "CHANUNAVAIL" => "It could not be reached, or refused".to_owned(),
        "CANCEL" => "The caller hung up first".to_owned(),
        "ANSWER" => "It answered, and the call ended".to_owned(),
        other => format!("It ended as {other}"),
    };
    format!("{what}, after {after} s{}.", cause(attempt.hangup_cause_code))
}

/// ` (17 User busy)`, or nothing; 0 is none.
fn cause(code: Option<i32>) -> String {
    let Some(code) = code.filter(|&code| code != 0) else { return String::new() };
    cause_text(code).map_or_else(|| format!(" ({code})"), |text| format!(" ({code} {text})"))
}

/// How a call with a record ended.
fn ending(call: &Call, attempts: &[Attempt]) -> String {
    let cause = cause(call.hangup_cause_code);
    let lasted = call.duration_seconds.map(|seconds| format!(", after {seconds} s")).unwrap_or_default();
    let what = match call.call_status.as_str() {
        "ANSWERED" => {
            let billed = call.billsec_seconds.unwrap_or_default();
            let client = call.client_identifier.as_deref().unwrap_or("a client that was removed since");
            return format!("It ended{lasted}, {billed} s of them with {client}{cause}.");
        }
        "ABANDONED" if attempts.is_empty() => "The caller gave up",
        "ABANDONED" => "The caller gave up before a client answered",
        "REJECTED_CC" => "Rejected: a client was at its cap of calls at once, and none was left that could take it",
        "REJECTED_TOTAL" => "Rejected: a client had had its total of calls, and none was left that could take it",
        "REJECTED_NO_CLIENTS" => "Rejected: the campaign had no client that could take it",
        "FAILED" if attempts.is_empty() => {
            "No decision could be made, as when the database is away: Asterisk's log says why"
        }
        "FAILED" if call.passed_over.is_none() => {
            "The last attempt failed, or no decision could be made after it: Asterisk's log says which"
        }
        "BUSY" | "NOANSWER" | "FAILED" if !attempts.is_empty() => {
            return format!("No client was left that could take it, and the call was ended{lasted}{cause}.");
        }
        other => match REASONS.iter().find(|reason| reason.about == "did" && reason.call_status == Some(other)) {
            Some(reason) => return format!("Rejected: {}{lasted}{cause}.", reason.words),
            None => return format!("It ended as {other}{lasted}{cause}."),
        },
    };
    format!("{what}{lasted}{cause}.")
}

/// The state of a call without a record.
fn unrecorded(attempts: &[Attempt], now: DateTime<Utc>) -> String {
    if attempts.iter().any(|attempt| attempt.released_at.is_none() && attempt.lease_expires_at > now) {
        return "The call is up.".to_owned();
    }
    if attempts.last().is_some_and(is_lost) {
        return "Lost with its Asterisk: no record comes of a call that nobody saw the end of. Only if it had ended \
                before, its record may wait in its server's spool, for capconduit call replay. Until then it keeps its \
                place in the total: capconduit call settle says what became of it. capconduit call lost lists all of \
                these."
            .to_owned();
    }
    "No record has come in: it may wait in its server's spool, for capconduit call replay.".to_owned()
}

/// Whether `call reap` closed the attempt: its end is unknown.
fn is_lost(attempt: &Attempt) -> bool {
    attempt.release_reason.as_deref().is_some_and(|reason| store::call::REAPED.contains(&reason))
}

/// What `cc_passed_over` wrote, a sentence a link.
fn in_words(passed_over: Option<&str>) -> Vec<String> {
    let Some(text) = passed_over else { return Vec::new() };
    let more = text.rsplit_once(" and ").filter(|(_, more)| more.ends_with(" more"));
    let (links, more) = more.map_or((text, None), |(links, more)| (links, Some(more.to_owned())));
    let in_words = |link: &str| {
        let mut parts = link.splitn(3, ' ');
        let (name, reason) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let figures = parts.next().unwrap_or_default();
        let (count, besides) = figures.split_at(figures.find(' ').unwrap_or(figures.len()));
        let count = count.replacen('/', " of ", 1);
        match reason::of(reason) {
            Some(reason) => format!("{name}: {}{besides}", reason.words.replace("%s", &count)),
            // a newer release's
            None => link.to_owned(),
        }
    };
    links.split(", ").map(in_words).chain(more).collect()
}
