//! What to do about a call that nobody answered. The advice comes from its record and attempts, from what a call
//! would meet now, and from what the audit says was changed since.

use chrono::SecondsFormat;
use postgres::Client;
use serde_json::Value;

use crate::Result;
use crate::cli::commands::route::{advice, reachability};
use crate::cli::env::Env;
use crate::model::call::seconds_between;
use crate::model::hangup_cause::cause_text;
use crate::model::live::State;
use crate::store::audit::{self, ColumnChange};
use crate::store::call::{Attempt, Call};
use crate::store::{did, pjsip, route};
use crate::words::shell;

/// Advice on a rejected call. Its cause may be gone by now, so `cc_explain` is asked what a call would meet now.
pub(crate) fn rejected(db: &mut Client, env: &Env<'_>, call: &Call) -> Result<String> {
    let number = &call.incoming_did_number;
    if let Err(why) = env.config.number_rules()?.read(number) {
        return Ok(format!(
            "What the carrier sent is not a phone number: {why}. CAPCONDUIT_NUMBER_RULES has the prefix rules."
        ));
    }
    let now = route::explain(db, number)?;
    let status = now["call_status"].as_str().unwrap_or_default();
    let as_it_is = match advice::for_rejection(env.config, db, number, &now)? {
        Some(advice) if status == call.call_status => return Ok(advice),
        Some(advice) => format!("A call would be {status} now. {advice}"),
        None => {
            let client = now["candidates"][0]["client_identifier"].as_str().unwrap_or_default();
            let more = match call.call_status.as_str() {
                "REJECTED_CC" => advice::raise_cap(db, &now, "concurrency_cap", call.passed_over.as_deref())?
                    .map(|raise| format!(" For more calls at once: {}", raise.command())),
                // its cap may have been raised since, and then there is nothing to do
                "REJECTED_TOTAL" if is_out(&now, "total_cap") => {
                    advice::raise_cap(db, &now, "total_cap", call.passed_over.as_deref())?
                        .map(|raise| format!(" For more calls in all: {}", raise.command()))
                }
                _ => None,
            };
            format!("A call would go to {client} now.{}", more.unwrap_or_default())
        }
    };
    // a cap of calls at once frees itself, with nothing changed
    match call.call_status.as_str() {
        "REJECTED_CC" => Ok(as_it_is),
        _ => Ok([as_it_is].into_iter().chain(since(db, call)?).collect::<Vec<_>>().join("\n")),
    }
}

/// Whether a link gets no call for this reason.
fn is_out(decision: &Value, reason: &str) -> bool {
    decision["candidates"].as_array().into_iter().flatten().any(|candidate| candidate["reason"] == reason)
}

/// What was changed since the call: the status that rejected it, and where to read the rest. A login that may not
/// read the audit is told the present state.
fn since(db: &mut Client, call: &Call) -> Result<Vec<String>> {
    let row = |table, id: Option<i32>, what: &str| id.map(|id| (table, id, what.to_owned())).into_iter().collect();
    let campaigns = match call.call_status.as_str() {
        "REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID" => did::campaign_statuses(db, &call.incoming_did_number)?,
        _ => Vec::new(),
    };
    let watched: Vec<(&str, i32, String)> = match call.call_status.as_str() {
        "REJECTED_DID_INACTIVE" => row("dids", call.did_id, "The DID"),
        "REJECTED_OWNER_INACTIVE" => row("users", call.user_id, "The seller"),
        _ => campaigns.iter().map(|(id, name, _)| ("campaigns", *id, format!("Campaign \"{name}\""))).collect(),
    };
    let is_readable = audit::is_readable(db)?;
    let mut lines = Vec::new();
    for (table, id, what) in watched.into_iter().filter(|_| is_readable) {
        let change = audit::next_change(db, table, &id.to_string(), "status", call.timestamp_start)?;
        if let Some(ColumnChange { at, by, before, after }) = change {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            lines.push(format!("{what} was {before} then: {by} made it {after} at {at}."));
        }
    }
    if lines.is_empty() && !campaigns.is_empty() {
        let fed: Vec<String> = campaigns.iter().map(|(_, name, status)| format!("\"{name}\" ({status})")).collect();
        lines.push(format!("The DID feeds {} now.", fed.join(", ")));
    }
    if is_readable {
        let from = call.timestamp_start.to_rfc3339_opts(SecondsFormat::Secs, true);
        lines.push(format!("What was changed since: capconduit audit list --from {from}"));
    }
    Ok(lines)
}

/// Whether Asterisk sent the client no INVITE: it uses this cause where it has no route, and no client answers
/// with it.
pub(crate) fn was_not_called(attempt: &Attempt) -> bool {
    const NO_ROUTE: i32 = 3;
    attempt.dial_status.as_deref() == Some("CHANUNAVAIL") && attempt.hangup_cause_code == Some(NO_ROUTE)
}

/// Advice on a call that no client answered: on the attempt that Asterisk did not even send, else on the last one.
pub(crate) fn unanswered(db: &mut Client, env: &Env<'_>, call: &Call, attempts: &[Attempt]) -> Result<Option<String>> {
    let Some(attempt) = attempts.iter().find(|attempt| was_not_called(attempt)).or(attempts.last()) else {
        return Ok(None);
    };
    let Some(client) = attempt.client_identifier.as_deref() else { return Ok(None) };
    let named = shell(client);
    let campaign = attempt.campaign_name.as_deref().map(shell);
    let other = campaign.as_deref().map(|campaign| {
        format!(
            "another client takes what this one does not: capconduit setting add {campaign} CLIENT --max-concurrency 1"
        )
    });
    Ok(match attempt.dial_status.as_deref().unwrap_or_default() {
        _ if was_not_called(attempt) => {
            let now = reachability::ask(env.config, db).client(client).contact_state;
            let remedy = reachability::remedy(client, pjsip::may_change(db)?);
            Some(match now {
                State::Unreachable => format!("Asterisk holds the contact of {client} unreachable. {remedy}"),
                State::Reachable | State::NotQualified => {
                    format!("Asterisk sends {client} calls again. If it comes back: {remedy}")
                }
                State::Unknown | State::NotAsked => {
                    format!(
                        "capconduit asterisk check tells why Asterisk sent {client} no call. If it is unreachable: {remedy}"
                    )
                }
            })
        }
        "BUSY" => {
            let fewer = campaign.as_deref().map(|campaign| {
                format!("for fewer calls at once, capconduit setting set {campaign} {named} --max-concurrency N")
            });
            let ways: Vec<String> = fewer.into_iter().chain(other).collect();
            Some(format!("{client} had no line free: {}", ways.join("; ")))
        }
        "NOANSWER" => {
            let rang = attempt.released_at.map(|end| seconds_between(attempt.claimed_at, end)).unwrap_or_default();
            let longer = campaign.as_deref().map(|campaign| {
                format!("to let it ring longer, capconduit campaign set {campaign} --dial-timeout-seconds N")
            });
            let ways: Vec<String> = longer.into_iter().chain(other).collect();
            Some(format!("{client} did not answer within {rang} s: {}", ways.join("; ")))
        }
        "CONGESTION" | "CHANUNAVAIL" => {
            let code = attempt.hangup_cause_code.filter(|&code| code != 0);
            let why = code.and_then(cause_text).map(|text| format!(" with \"{text}\"")).unwrap_or_default();
            let other = other.map(|other| format!("; {other}")).unwrap_or_default();
            Some(format!("{client} refused{why}, or was away: ask the call centre about {}{other}", called_at(call)))
        }
        _ => None,
    })
}

fn called_at(call: &Call) -> String {
    format!("the call of {}", call.timestamp_start.to_rfc3339_opts(SecondsFormat::Secs, true))
}
