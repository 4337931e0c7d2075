//! cdr_logger.agi: delivers the call record, which releases the claim and counts the call.
//!
//! A record that cannot be delivered goes to the spool; where that fails, too, it goes whole to syslog,
//! and the dialplan writes it to Asterisk's log. Exit 0 when the record is safe, also when it was so before;
//! 1 when only logs have it.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::Utc;

use crate::agi::channel::Channel;
use crate::agi::last_line;
use crate::agi::record::{Clocks, WANTED, record};
use crate::agi::session::{AgiError, Session};
use crate::config::{self, Config};
use crate::delivery::spool::{Entry, Part, Spool};
use crate::delivery::{Sink, Undelivered, Work};
use crate::model::call::CallRecord;
use crate::store::record::Logged;
use crate::system::clock::Reading;
use crate::system::syslog;
use crate::{Error, Result, pg, text};

/// How it names itself to the database and in logs.
const PROGRAM: &str = "cdr_logger.agi";

/// Runs the program on this process's streams.
#[must_use]
pub fn main() -> ExitCode {
    if crate::agi::is_run_by_hand(PROGRAM) {
        return ExitCode::from(crate::Kind::Usage.exit_code());
    }
    let config = Config::load().map(|config| config.for_records());
    let outcome = Session::start(std::io::stdin().lock(), std::io::stdout().lock()).and_then(|mut session| {
        attend(&mut session, config.as_ref(), |config, work| {
            pg::with_deadline(config, PROGRAM, move |client| work.run(client))
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One session of the server: read and deliver. Returns the error where the record is not delivered: nothing is
/// spooled then, the program does that.
pub(super) fn deliver<R: BufRead, W: Write>(
    session: &mut Session<R, W>,
    config: &Config,
    mut database: impl FnMut(&Config, Work) -> Result<Option<Logged>>,
) -> Result<Result<()>, AgiError> {
    let record = read(session, Ok(config))?;
    let delivered = Sink::of(config).and_then(|sink| {
        sink.deliver(&record, false, &mut |work| database(config, work)).map_err(|undelivered| undelivered.error)
    });
    Ok(delivered.map(|_| ()))
}

/// One session: read, keep, say what is wrong. `database` is the database.
fn attend<R: BufRead, W: Write>(
    session: &mut Session<R, W>,
    config: Result<&Config, &Error>,
    mut database: impl FnMut(&Config, Work) -> Result<Option<Logged>>,
) -> Result<(), AgiError> {
    run(session, config, |record| keep(record, config, &mut database))
}

/// What is to be said of a record.
enum Kept {
    /// It is delivered.
    Delivered,
    /// It is in the spool, or in its `failed` folder, for this reason.
    Spooled(Error, PathBuf),
    /// It is nowhere: the reason, and why the spool did not take it.
    Lost(Error, Error),
}

/// Delivers a record, or spools it.
fn keep(
    record: &CallRecord,
    config: Result<&Config, &Error>,
    database: &mut dyn FnMut(&Config, Work) -> Result<Option<Logged>>,
) -> Kept {
    let mut attempt = || -> Result<(), Undelivered> {
        let config = config.map_err(|e| Undelivered::of(e.clone()))?;
        let sink = Sink::of(config).map_err(Undelivered::of)?;
        sink.deliver(record, false, &mut |work| database(config, work)).map(|_| ())
    };
    let Err(undelivered) = attempt() else { return Kept::Delivered };
    let entry = Entry {
        record: record.clone(),
        posted: undelivered.posted,
        spooled_at: Utc::now(),
        reason: undelivered.error.message.clone(),
    };
    let spool = Spool::new(config.map_or_else(|_| config::default_spool_dir(), Config::spool_dir));
    match spool.put(if undelivered.permanent { Part::Failed } else { Part::Waiting }, &entry) {
        Ok(path) => Kept::Spooled(undelivered.error, path),
        Err(error) => Kept::Lost(undelivered.error, error),
    }
}

/// `keep` is everything outside the session.
fn run<R: BufRead, W: Write>(
    session: &mut Session<R, W>,
    config: Result<&Config, &Error>,
    keep: impl FnOnce(&CallRecord) -> Kept,
) -> Result<(), AgiError> {
    let record = read(session, config)?;
    match keep(&record) {
        Kept::Delivered => Ok(()),
        Kept::Spooled(reason, path) => {
            let call = &record.asterisk_uniqueid;
            let line = format!("{PROGRAM}: call {call} spooled to {}: {}", path.display(), reason.message);
            log::error!("{line}");
            // the record is safe, whether or not Asterisk can still be told
            let _ = session.log("WARNING", &line);
            Ok(())
        }
        Kept::Lost(reason, spool) => {
            // The record must not be lost with the process.
            let why = format!("{PROGRAM}: call not recorded: {}; and not spooled: {}", reason.message, spool.message);
            log::error!("{why}");
            syslog::error(PROGRAM, &why);
            syslog::error(PROGRAM, &last_line(&record));
            // the dialplan, which is told by the exit code, writes the record after this
            session.log("ERROR", &why)?;
            Err(AgiError::Protocol("not recorded"))
        }
    }
}

/// A record for syslog.
fn last_line(record: &CallRecord) -> String {
    let json = serde_json::to_string(record).unwrap_or_else(|e| format!("(unprintable: {e})"));
    format!("ERROR {PROGRAM}: {}{json}", last_line::MARK)
}

/// The record of this channel.
fn read<R: BufRead, W: Write>(
    session: &mut Session<R, W>,
    config: Result<&Config, &Error>,
) -> Result<CallRecord, AgiError> {
    let uniqueid = text::decode(session.environment("agi_uniqueid").unwrap_or_default());
    let channel = Channel::ask(session, &WANTED)?;
    let caller = (session.caller_id("agi_callerid", 50), session.caller_id("agi_calleridname", 100));
    let rules = config.ok().and_then(|config| config.number_rules().ok()).unwrap_or_default();
    Ok(record(uniqueid, caller, &channel, &rules, Clocks::AtEnd(Reading::now())))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::Kind;
    use crate::model::number::NumberRules;

    fn session(channel: &str, kept: Kept) -> (CallRecord, String, bool) {
        session_from("555", "Zoë \"x\"", channel, kept)
    }

    fn session_from(number: &str, name: &str, channel: &str, kept: Kept) -> (CallRecord, String, bool) {
        let input = format!(
            "agi_uniqueid: node-1.2\nagi_callerid: {number}\nagi_calleridname: {name}\nagi_extension: h\n\n200 result=1 ({channel})\n200 result=1\n200 result=1\n"
        );
        let mut output = Vec::new();
        let mut asked = None;
        let outcome = Session::start(Cursor::new(input), &mut output).and_then(|mut session| {
            run(&mut session, Ok(&Config::default()), |record| {
                asked = Some(record.clone());
                kept
            })
        });
        let output = String::from_utf8(output).expect("utf-8");
        let sent = output.lines().skip(1).map(|l| format!("{l}\n")).collect();
        (asked.expect("asked to keep it"), sent, outcome.is_ok())
    }

    #[test]
    fn the_clients_answer_is_what_counts() {
        let (record, sent, ok) = session(
            "node-1.2&0018005550101&2026-01-02T03:04:05.000000Z&2026-01-02T03:04:07.100000Z\
             &2026-01-02T03:04:10.050000Z&proceed&&ANSWER&16&7&3&4&5&6&node-1.2",
            Kept::Delivered,
        );
        assert!(ok && sent.is_empty(), "{sent}");
        assert_eq!(record.incoming_did_number, "+18005550101");
        assert_eq!(record.caller_id_name.as_deref(), Some("Zoë \"x\""));
        assert_eq!((record.duration_seconds, record.billsec_seconds), (5, 3));
        assert_eq!(record.call_status, "ANSWERED");
        assert_eq!(record.hangup_cause_text.as_deref(), Some("Normal Clearing"));
        assert_eq!((record.campaign_client_setting_id, record.client_id), (Some(7), Some(6)));
    }

    #[test]
    fn where_nobody_answered_before_the_client_how_long_counts() {
        let record = |milliseconds| {
            let channel = format!(
                "node-1.2&0018005550101&2026-01-02T03:04:05.000000Z&&2026-01-02T03:04:10.050000Z&proceed&&&&&&&&&&{milliseconds}"
            );
            session(&channel, Kept::Delivered).0
        };
        assert_eq!((record("2950").billsec_seconds, record("2950").call_status.as_str()), (3, "ANSWERED"));
        assert_eq!(
            record("2950").timestamp_answered.map(|t| t.to_rfc3339()),
            Some("2026-01-02T03:04:07.100+00:00".into())
        );
        let ended = |milliseconds| {
            let times = "2026-01-02T03:04:05.000000Z&&2026-01-02T03:04:10.050000Z";
            let channel = format!("node-1.2&0018005550101&{times}&proceed&&ANSWER&&&&&&&&{milliseconds}");
            session(&channel, Kept::Delivered).0.call_status
        };
        // Dial has seen the client's answer, and the caller has not; an older dialplan does not say
        assert_eq!(
            (ended("0").as_str(), ended("").as_str(), ended("1").as_str()),
            ("ABANDONED", "ANSWERED", "ANSWERED")
        );
        for nothing in ["", "0", "x"] {
            assert_eq!((record(nothing).timestamp_answered, record(nothing).billsec_seconds), (None, 0));
        }
        // a clock that was set back must not put the answer before the call
        assert_eq!(record("9999999").billsec_seconds, 5);
    }

    #[test]
    fn a_channel_that_says_nothing_still_leaves_a_record() {
        let (record, _, ok) = session("", Kept::Delivered);
        assert!(ok);
        assert_eq!(record.asterisk_uniqueid, "node-1.2");
        assert_eq!(record.incoming_did_number, "unknown");
        assert_eq!(record.call_status, "ABANDONED");
        assert_eq!(record.duration_seconds, 0);
    }

    #[test]
    fn a_rejection_keeps_whom_it_passed_over() {
        let said =
            |status| format!("node-1.2&18005550101&&&&{status}&REJECTED_CC&&34&&&&&&&&acme%20concurrency_cap%205%2F5");
        let (record, ..) = session(&said("reject"), Kept::Delivered);
        assert_eq!(record.passed_over.as_deref(), Some("acme concurrency_cap 5/5"));
        assert_eq!(session(&said("proceed"), Kept::Delivered).0.passed_over, None);
    }

    #[test]
    fn a_spooled_call_is_mentioned_and_safe() {
        let spooled = Kept::Spooled(Error::new(Kind::Unreachable, "away"), "/spool/node-1.2.json".into());
        let (_, sent, ok) = session("node-1.2&18005550101", spooled);
        assert!(ok);
        assert_eq!(sent, "EXEC Log \"WARNING,cdr_logger.agi: call node-1.2 spooled to /spool/node-1.2.json: away\"\n");
    }

    #[test]
    fn an_unrecorded_call_is_left_to_the_dialplan() {
        let lost = Kept::Lost(Error::new(Kind::Unreachable, "away"), Error::failed("disk full"));
        let (record, sent, ok) = session("node-1.2&18005550101&&&&&&&&&&&", lost);
        assert!(!ok);
        assert_eq!(sent, "EXEC Log \"ERROR,cdr_logger.agi: call not recorded: away; and not spooled: disk full\"\n");
        let syslog = format!("Nov 22 08:00:00 node cdr_logger.agi[7]: {}", last_line(&record));
        let lines = last_line::parse(&syslog, &NumberRules::default(), Reading::now());
        assert_eq!(lines.entries.first().map(|entry| &entry.record), Some(&record), "{lines:?}");
    }
}
