//! cdr_logger.agi: writes the call record, releases the claim and counts the call, all in one
//! statement. Exit 0 when the record is safe, also when it was so before; 1 when it is not.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use chrono::{DateTime, Utc};

use super::channel::Channel;
use super::session::{AgiError, Session};
use super::with_database;
use crate::call::{self, CallRecord, Ending};
use crate::config::Config;
use crate::store::record::Logged;
use crate::{Result, store, text};

/// What is asked of the channel, in one exchange.
const WANTED: [(&str, &str); 13] = [
    ("linkedid", "CHANNEL(linkedid)"),
    ("did", "CC_DID"),
    ("caller_id_num", "CALLERID(num)"),
    ("caller_id_name", "CALLERID(name)"),
    ("start", "CC_START"),
    ("answered", "CC_ANSWERED"),
    ("end", "CC_END"),
    ("cc_status", "CC_STATUS"),
    ("cc_call_status", "CC_CALL_STATUS"),
    ("dial_status", "DIALSTATUS"),
    ("hangup_cause", "HANGUPCAUSE"),
    ("setting_id", "EFFECTIVE_CCS_ID"),
    ("uniqueid", "UNIQUEID"),
];

/// Runs the program on this process's streams.
#[must_use]
pub fn main() -> ExitCode {
    match run(std::io::stdin().lock(), std::io::stdout().lock(), |record| {
        with_database("cdr_logger.agi", move |client| store::record::log(client, &record))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One session: read, log. `log` is the database.
fn run<R: BufRead, W: Write>(
    reader: R,
    writer: W,
    log: impl FnOnce(CallRecord) -> Result<Logged>,
) -> Result<(), AgiError> {
    let mut session = Session::start(reader, writer)?;
    let uniqueid = text::decode(session.environment("agi_uniqueid").unwrap_or_default());
    let channel = Channel::ask(&mut session, &WANTED)?;
    let record = record(uniqueid, &channel, Utc::now());
    if let Err(error) = log(record.clone()) {
        // The record must not be lost with the process: Asterisk's log keeps it whole.
        session.verbose(&format!("ERROR cdr_logger.agi: call not recorded: {}", error.message), 0)?;
        let line = serde_json::to_string(&record).unwrap_or_else(|e| format!("(unprintable: {e})"));
        session.verbose(&format!("ERROR cdr_logger.agi: unrecorded call: {line}"), 0)?;
        return Err(AgiError::Protocol("not recorded"));
    }
    Ok(())
}

/// The record of the call that this channel was. `now` stands in for times the dialplan did not set.
fn record(uniqueid: String, channel: &Channel, now: DateTime<Utc>) -> CallRecord {
    let time = |name| DateTime::parse_from_rfc3339(channel.get(name)).ok().map(|t| t.with_timezone(&Utc));
    let end = time("end").unwrap_or(now);
    let start = time("start").unwrap_or(end).min(end);
    let ending = Ending {
        cc_status: channel.get("cc_status").to_owned(),
        cc_call_status: channel.get("cc_call_status").to_owned(),
        dial_status: channel.get("dial_status").to_owned(),
        answered: time("answered"),
    };
    let raw = channel.get("did");
    let rules = Config::load().and_then(|config| config.number_rules()).unwrap_or_default();
    let did = rules.normalize(raw).map_or_else(|| text::truncate(raw, 50).to_owned(), |n| n.to_string());
    let cause = channel.number("hangup_cause").filter(|&code| code > 0);
    let uniqueid = if uniqueid.is_empty() { channel.get("uniqueid").to_owned() } else { uniqueid };
    CallRecord {
        incoming_did_number: if did.is_empty() { "unknown".to_owned() } else { did },
        caller_id_num: channel.text("caller_id_num", 50),
        caller_id_name: channel.text("caller_id_name", 100),
        timestamp_start: start,
        timestamp_answered: ending.answered,
        timestamp_end: end,
        duration_seconds: call::seconds_between(start, end),
        billsec_seconds: ending.answered.map_or(0, |answered| call::seconds_between(answered, end)),
        call_status: call::call_status(&ending),
        hangup_cause_code: cause,
        hangup_cause_text: cause.and_then(call::cause_text).map(str::to_owned),
        asterisk_uniqueid: text::truncate(&uniqueid, 50).to_owned(),
        asterisk_linkedid: channel.text("linkedid", 50),
        dial_status: channel.text("dial_status", 20),
        campaign_client_setting_id: channel.number("setting_id"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{Error, Kind};

    fn session(channel: &str, result: Result<Logged>) -> (CallRecord, String, bool) {
        let input = format!(
            "agi_uniqueid: node-1.2\nagi_extension: h\n\n200 result=1 ({channel})\n200 result=1\n200 result=1\n"
        );
        let mut output = Vec::new();
        let mut logged = None;
        let outcome = run(Cursor::new(input), &mut output, |record| {
            logged = Some(record);
            result
        });
        let output = String::from_utf8(output).expect("utf-8");
        let sent = output.lines().skip(1).map(|l| format!("{l}\n")).collect();
        (logged.expect("asked to log"), sent, outcome.is_ok())
    }

    const DONE: Result<Logged> = Ok(Logged { call_log_id: 1, already_logged: false });

    #[test]
    fn the_clients_answer_is_what_counts() {
        let (record, sent, ok) = session(
            "node-1.2&0018005550101&555&Zo%C3%AB%20%22x%22&2026-01-02T03:04:05.000000Z&2026-01-02T03:04:07.100000Z\
             &2026-01-02T03:04:10.050000Z&proceed&&ANSWER&16&7&node-1.2",
            DONE,
        );
        assert!(ok && sent.is_empty(), "{sent}");
        assert_eq!(record.incoming_did_number, "+18005550101");
        assert_eq!(record.caller_id_name.as_deref(), Some("Zoë \"x\""));
        assert_eq!((record.duration_seconds, record.billsec_seconds), (5, 3));
        assert_eq!(record.call_status, "ANSWERED");
        assert_eq!(record.hangup_cause_text.as_deref(), Some("Normal Clearing"));
        assert_eq!(record.campaign_client_setting_id, Some(7));
    }

    #[test]
    fn a_channel_that_says_nothing_still_leaves_a_record() {
        let (record, _, ok) = session("", DONE);
        assert!(ok);
        assert_eq!(record.asterisk_uniqueid, "node-1.2");
        assert_eq!(record.incoming_did_number, "unknown");
        assert_eq!(record.call_status, "ABANDONED");
        assert_eq!(record.duration_seconds, 0);
    }

    #[test]
    fn an_unrecorded_call_is_kept_in_the_log() {
        let away = Err(Error::new(Kind::Unreachable, "away"));
        let (_, sent, ok) = session("node-1.2&18005550101&&&&&&&&&&&", away);
        assert!(!ok);
        assert!(sent.contains("unrecorded call: {\\\"incoming_did_number\\\":\\\"+18005550101\\\""), "{sent}");
    }
}
