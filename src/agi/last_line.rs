//! The line of last resort: a call record that neither database nor spool took, as Asterisk's log or syslog
//! has it, read back for `call replay --file`.
//!
//! The dialplan writes one where no program could be started, or none kept the record (`[cc-hangup]`): what
//! cdr_logger.agi asks the channel for, by the same names. The program writes one to syslog, in JSON.
//!
//! Logs also hold what strangers send: Asterisk logs the From header of whoever it refuses. So a record counts
//! only at the beginning of a message, behind nothing but what the logging system puts there.

use std::borrow::Cow;

use chrono::DateTime;
use percent_encoding::percent_decode;

use crate::agi::channel::Channel;
use crate::agi::record::{Clocks, WANTED, record};
use crate::delivery::spool::Entry;
use crate::model::call::CallRecord;
use crate::model::number::NumberRules;
use crate::system::clock::Reading;
use crate::text;

/// What stands before each record.
pub const MARK: &str = "unrecorded call (capconduit call replay --file takes it): ";

/// The last field of the dialplan's line: one that was cut off lacks it.
const COMPLETE: &str = "complete";

/// What a file holds.
#[derive(Debug, Default)]
pub struct Lines {
    /// The records.
    pub entries: Vec<Entry>,
    /// Lines that should hold a record and do not: their numbers, and why.
    pub damaged: Vec<(usize, String)>,
}

/// The records in a text: lines of Asterisk's log or of syslog, and files of the spool. Lines of another kind
/// are skipped. `now`: what the clocks of this machine show.
#[must_use]
pub fn parse(text: &str, rules: &NumberRules, now: Reading) -> Lines {
    let mut lines = Lines::default();
    for (number, line) in (1..).zip(text.lines()) {
        match entry(line.trim_end(), rules, now) {
            Some(Ok(entry)) => lines.entries.push(entry),
            Some(Err(why)) => lines.damaged.push((number, why)),
            None => {}
        }
    }
    lines
}

/// The entry of a line; None where it has none.
fn entry(line: &str, rules: &NumberRules, now: Reading) -> Option<Result<Entry, String>> {
    if line.starts_with('{') {
        return Some(of_json(line, now));
    }
    let (before, record) = line.split_once(MARK)?;
    if !is_of_a_log(before) {
        return Some(Err("what stands before its record is not a log's own: a caller may have written it".into()));
    }
    Some(if record.starts_with('{') { of_json(record, now) } else { of_fields(record, rules, now) })
}

fn of_json(json: &str, now: Reading) -> Result<Entry, String> {
    let entry = serde_json::from_str::<Entry>(json);
    entry.or_else(|_| serde_json::from_str::<CallRecord>(json).map(|record| recovered(record, now))).map_err(|e| {
        format!("it holds no call record: {e}; a record goes from {{\"incoming_did_number\" to its last }}")
    })
}

/// `name=value&name=value`, the values as `URIENCODE` leaves them. Unknown names are a later release's.
fn of_fields(fields: &str, rules: &NumberRules, now: Reading) -> Result<Entry, String> {
    let values: Vec<(&str, Vec<u8>)> = fields
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name, percent_decode(value.as_bytes()).collect()))
        .collect();
    let bytes = |name: &str| values.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, value)| value);
    let get = |name: &str| text::decode(bytes(name));
    if get(COMPLETE) != "yes" {
        return Err("its record is cut off".into());
    }
    // they are encoded twice: see the dialplan
    let caller = |name: &str, max| {
        let text = text::decode(&Cow::from(percent_decode(bytes(name))));
        Some(text::truncate(&text, max).to_owned()).filter(|text| !text.is_empty())
    };
    let channel = Channel::of(&WANTED, get);
    if channel.get("uniqueid").is_empty() || DateTime::parse_from_rfc3339(channel.get("end")).is_err() {
        return Err("its record names no call or no end".into());
    }
    let caller = (caller("caller_number", 50), caller("caller_name", 100));
    Ok(recovered(record(channel.get("uniqueid").to_owned(), caller, &channel, rules, Clocks::Later(now)), now))
}

fn recovered(record: CallRecord, now: Reading) -> Entry {
    Entry { record, posted: false, spooled_at: now.time(), reason: "recovered by hand".to_owned() }
}

/// Whether this is exactly what a logging system puts before our message.
fn is_of_a_log(before: &str) -> bool {
    const PROGRAM: &str = "cdr_logger.agi";
    let said_by_program = format!("ERROR {PROGRAM}: ");
    // taken out of a log by hand
    if before.is_empty() || before == said_by_program {
        return true;
    }
    // [Nov 28 08:03:14] ERROR[11344][C-00000001] Ext. s: ..., and with verbose logging Ext. s:12 @ cc-hangup: ...
    // An earlier release had the program write it: VERBOSE[11344][C-00000001] res_agi.c: ERROR cdr_logger.agi: ...
    let by_asterisk = |rest: &str| -> Option<bool> {
        let rest = rest.strip_prefix("ERROR").or_else(|| rest.strip_prefix("VERBOSE"))?;
        let rest = bracketed(rest, |c| c.is_ascii_digit())?;
        let rest = bracketed(rest, |c| c.is_ascii_hexdigit() || c == '-').unwrap_or(rest);
        let rest = rest.strip_prefix(':').unwrap_or(rest).strip_prefix(' ')?;
        if [said_by_program.as_str(), &format!("res_agi.c: {said_by_program}")].contains(&rest) {
            return Some(true);
        }
        let rest = rest.strip_prefix("Ext. s")?;
        let rest = rest.strip_prefix(':').map_or(rest, |r| r.trim_start_matches(|c: char| c.is_ascii_digit()));
        Some([": ", " @ cc-hangup: ", " in @ cc-hangup: "].contains(&rest) || rest == " ")
    };
    let by_program = |rest: &str| -> Option<bool> {
        let rest = bracketed(rest.strip_prefix(PROGRAM)?, |c| c.is_ascii_digit())?;
        Some(rest.strip_prefix(": ")? == said_by_program)
    };
    // a file of Asterisk's: [DATE] and the message
    if let Some(rest) = before.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        return !rest.0.contains(['[', ']']) && by_asterisk(rest.1) == Some(true);
    }
    // syslog: DATE HOST PROGRAM[PID]: and the message. Three words of date and one of host at most, since whatever
    // comes later may be a stranger's.
    let mut rest = before;
    for _ in 0..=4 {
        let message = rest.strip_prefix("asterisk").and_then(|r| bracketed(r, |c| c.is_ascii_digit()));
        if message.and_then(|message| by_asterisk(message.strip_prefix(": ")?)) == Some(true)
            || by_program(rest) == Some(true)
        {
            return true;
        }
        match rest.split_once(' ') {
            Some((word, after)) if !word.ends_with(':') && !word.contains(['[', ']']) => rest = after.trim_start(),
            _ => return false,
        }
    }
    false
}

/// What follows `[` some characters of a kind `]`.
fn bracketed(text: &str, kind: impl Fn(char) -> bool) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    (!inside.is_empty() && inside.chars().all(kind)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "[Nov 28 08:03:14] ERROR[11344][C-00000001] Ext. s: ";

    /// What the dialplan writes of a call, `URIENCODE`'s work done here.
    fn line(uniqueid: &str, name: &str, passed_over: &str) -> String {
        let encode = |s: &str| s.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let caller = encode(&name.replace('%', "%25").replace(':', "%3A"));
        format!(
            "{LOG}{MARK}uniqueid={}&linkedid=l&did=%2B18005550101&cc_status=reject&start=2026-01-02T03%3A04%3A05.000000Z\
             &answered=&end=2026-01-02T03%3A04%3A10.000000Z&answered_ms=&cc_call_status=REJECTED_CC&dial_status=\
             &hangup_cause=34&setting_id=&caller_number=555&caller_name={caller}&passed_over={}&of_later=x&complete=yes",
            encode(uniqueid),
            encode(passed_over)
        )
    }

    fn read(text: &str) -> Lines {
        parse(text, &NumberRules::default(), Reading::now())
    }

    /// The dialplan's steps, and none of its comments.
    fn steps() -> String {
        let text = crate::asterisk::conf::template("extensions.conf");
        text.lines().filter(|line| !line.starts_with(';')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_dialplan_writes_all_that_the_logger_asks_for() {
        let steps = steps();
        for (name, expression) in WANTED {
            let encoded = format!("${{URIENCODE(${{{expression}}})}}");
            let written =
                steps.contains(&format!("={name}={encoded}")) || steps.contains(&format!("&{name}={encoded}"));
            let apart =
                steps.contains(&format!("&{name}=${{CC_PASSED}}")) && steps.contains(&format!("CC_PASSED={encoded}"));
            assert!(written || apart, "{name}={encoded}");
        }
        assert!(steps.contains(&format!("Log(ERROR,{MARK}")) && steps.contains(&format!("&{COMPLETE}=yes)")));
    }

    #[test]
    fn a_record_is_taken_where_a_log_has_it() {
        let json = serde_json::to_string(&read(&line("1.2", "Zoë", "")).entries[0].record).expect("JSON");
        let whole = line("1.2", "Zoë", "");
        let fields = whole.strip_prefix(LOG).expect("its beginning");
        let by_program = format!("ERROR cdr_logger.agi: {MARK}{json}");
        for text in [
            whole.clone(),
            fields.to_owned(),
            format!("[2026-11-28 08:03:14.123] ERROR[11344]: Ext. s:57 @ cc-hangup: {fields}"),
            format!(
                "Nov 28 08:03:14 node-1 asterisk[99]: ERROR[11344][C-00000001]: Ext. s:57 in @ cc-hangup: {fields}"
            ),
            format!("Nov  8 08:03:14 node-1 cdr_logger.agi[99]: {by_program}"),
            format!("2026-11-28T08:03:14.1+00:00 node-1 cdr_logger.agi[99]: {by_program}"),
            format!("[Nov 28 08:03:14] VERBOSE[1][C-00000001] res_agi.c: {by_program}"),
            by_program.clone(),
            json.clone(),
        ] {
            let lines = read(&format!("Asterisk Ready.\n{{\n{text}\n"));
            assert_eq!(lines.damaged.iter().map(|d| d.0).collect::<Vec<_>>(), [2], "{text}");
            let record = &lines.entries.first().unwrap_or_else(|| panic!("{text}: {lines:?}")).record;
            assert_eq!((record.asterisk_uniqueid.as_str(), record.call_status.as_str()), ("1.2", "REJECTED_CC"));
            assert_eq!((record.caller_id_name.as_deref(), record.duration_seconds), (Some("Zoë"), 5));
            assert_eq!(record.incoming_did_number, "+18005550101");
        }
    }

    #[test]
    fn what_a_stranger_sends_into_a_log_is_no_record() {
        let whole = line("1.2", "Zoë", "");
        let fields = whole.strip_prefix(LOG).expect("its beginning");
        for before in [
            // res_pjsip logs the From header of whoever it refuses
            "[Nov 28 08:03:14] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'INVITE' from '\"",
            "[Nov 28 08:03:14] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'INVITE' from '\"[x] ERROR[1] Ext. s: ",
            "[Nov 28 08:03:14] NOTICE[1] Ext. s: ",
            "[Nov 28 08:03:14] ERROR[1] Ext. s: call from ",
            "[Nov 28 08:03:14] ERROR[1] Ext. s: ERROR cdr_logger.agi: ",
            "[Nov 28 08:03:14] ERROR[1] Ext. 5 ERROR[1] Ext. s: ",
            "Nov 28 08:03:14 node sshd[7]: Invalid user ERROR[1]: Ext. s: ",
            "Nov 28 08:03:14 node sshd[7]: Invalid user cdr_logger.agi[1]: ERROR cdr_logger.agi: ",
            "Nov 28 08:03:14 node sshd: cdr_logger.agi[1]: ERROR cdr_logger.agi: ",
            "Nov 28 08:03:14 node a b asterisk[1]: ERROR[1]: Ext. s: ",
            "x ",
        ] {
            let lines = read(&format!("{before}{fields}\n{whole}\n"));
            assert_eq!((lines.entries.len(), lines.damaged.len()), (1, 1), "{before}");
            assert_eq!(lines.damaged[0].0, 1);
        }
    }

    proptest! {
        #[test]
        fn a_callers_words_arrive_as_they_are(name in "(\\PC|[%:(){}\\[\\]\"'&=$;,\\\\\\x01-\\x1f]){1,40}", passed_over in "[ -~]{0,100}") {
            let lines = read(&line("n-1.2", &name, &passed_over));
            prop_assert_eq!(lines.damaged.len(), 0);
            prop_assert_eq!(lines.entries[0].record.caller_id_name.as_deref(), Some(name.as_str()));
            prop_assert_eq!(lines.entries[0].record.passed_over.as_deref().unwrap_or_default(), passed_over);
        }

        #[test]
        fn a_line_that_is_cut_off_is_no_record(cut in 0usize..600) {
            let whole = line("n-1.2", "Zoë", "acme concurrency_cap 5/5");
            let begun = LOG.len() + MARK.len();
            let cut = begun + cut % (whole.len() - begun);
            let lines = read(whole.get(..cut).unwrap_or(LOG));
            prop_assert!(lines.entries.is_empty(), "{:?}", lines);
        }

        #[test]
        fn whatever_a_log_holds_nothing_panics(text: String, before in "(\\[[a-z ]*\\] |Nov |ERROR|\\[1\\]|: |Ext. s|asterisk|cdr_logger.agi){0,6}", rest in "([a-z_]{0,9}=[%A-Z0-9]{0,9}&){0,9}") {
            let _ = read(&format!("{text}\n{before}{MARK}{rest}\n{MARK}{rest}complete=yes&uniqueid=1&end=x"));
        }
    }
}
