//! `capconduit call import`: call records from elsewhere, each once, without counting them again.

use std::io::{Cursor, Read};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::env::Env;
use crate::cli::output::csv::{Line, Sheet};
use crate::cli::output::{Output, file};
use crate::model::shape::Fields;
use crate::store::call::Call;
use crate::store::import::History;
use crate::words::plural;
use crate::{Error, Result};

/// `call import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The CSV file, as call export writes it; - is standard input. It must have asterisk_uniqueid,
    /// timestamp_start, incoming_did_number and call_status. Seller, campaign, client and DID are found
    /// by their names, or left empty; ids are not read
    file: PathBuf,
}

/// The columns that every record has.
const REQUIRED: [&str; 4] = ["asterisk_uniqueid", "timestamp_start", "incoming_did_number", "call_status"];
/// Records in one statement.
const AT_ONCE: usize = 2000;

impl Import {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let known: Vec<&str> = Call::FIELDS.iter().map(|field| field.name).collect();
        // no transaction is open while another program is still writing
        let piped = file::is_stream(&self.file).then(|| file::read(env, &self.file)).transpose()?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let mut history = History::begin(&mut tx)?;
        let input: Box<dyn Read> = match piped {
            Some(text) => Box::new(Cursor::new(text)),
            None => file::open(env, &self.file)?,
        };
        let mut sheet = Sheet::new(input, &known, &REQUIRED)?;
        let (mut records, mut skipped) = (Vec::new(), 0);
        while let Some(line) = sheet.next()? {
            // a record without an id could be added again and again
            if line.value("asterisk_uniqueid").is_none() {
                skipped += 1;
                continue;
            }
            match record(&line) {
                Ok(record) if sheet.is_good() => records.push(record),
                Ok(_) => {}
                Err(problems) => problems.iter().for_each(|what| sheet.problem(line.number, what)),
            }
            if records.len() == AT_ONCE {
                history.add(&mut tx, std::mem::take(&mut records))?;
            }
        }
        sheet.finish()?;
        history.add(&mut tx, records)?;
        let (added, there) = history.finish(&mut tx)?;
        tx.commit()?;
        let counts = json!({"added": added, "already_there": there, "skipped": skipped});
        let without = match skipped {
            0 => String::new(),
            n => format!(" {} without asterisk_uniqueid skipped.", plural(n, "line")),
        };
        let message = format!("{} added, {there} there already.{without}", plural(added, "call record"));
        Output::done(message, &counts)
    }
}

/// The record of a line, or what is wrong with it.
fn record(line: &Line) -> Result<Map<String, Value>, Vec<String>> {
    let (mut record, mut problems) = (Map::new(), Vec::new());
    let mut put = |name: &'static str, value: Result<Value>| match value {
        Ok(value) => {
            record.insert(name.to_owned(), value);
        }
        Err(error) => problems.push(error.message),
    };
    for (name, max) in [
        ("incoming_did_number", 50),
        ("caller_id_num", 50),
        ("caller_id_name", 100),
        ("hangup_cause_text", 50),
        ("asterisk_uniqueid", 50),
        ("asterisk_linkedid", 50),
        ("passed_over", usize::MAX),
        ("username", usize::MAX),
        ("campaign_name", usize::MAX),
        ("client_identifier", usize::MAX),
    ] {
        put(name, text(name, line.value(name), max));
    }
    for name in ["timestamp_start", "timestamp_answered", "timestamp_end"] {
        put(name, time(name, line.value(name)));
    }
    for (name, least) in [("duration_seconds", 0), ("billsec_seconds", 0), ("hangup_cause_code", i32::MIN)] {
        put(name, number(name, line.value(name), least));
    }
    put("call_status", status(line.value("call_status")));
    // a record without a setting gets none
    put("with_setting", Ok(json!(line.get("campaign_client_setting_id") != Some(""))));
    for name in REQUIRED.into_iter().filter(|name| line.value(name).is_none()) {
        problems.push(format!("{name} is empty: a record must have it"));
    }
    if problems.is_empty() { Ok(record) } else { Err(problems) }
}

fn text(name: &str, value: Option<&str>, max: usize) -> Result<Value> {
    let Some(value) = value else { return Ok(Value::Null) };
    let length = value.chars().count();
    if length > max {
        return Err(Error::invalid(format!("{name} has {length} characters: at most {max} fit")));
    }
    if value.contains('\0') {
        return Err(Error::invalid(format!("{name} holds a NUL")));
    }
    Ok(json!(value))
}

fn time(name: &str, value: Option<&str>) -> Result<Value> {
    let Some(value) = value else { return Ok(Value::Null) };
    match DateTime::parse_from_rfc3339(value) {
        // as far back as PostgreSQL reads it in this form
        Ok(time) if time.to_utc() > DateTime::UNIX_EPOCH => {
            Ok(json!(time.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true)))
        }
        _ => Err(Error::invalid(format!(
            "{name} \"{}\" is not an RFC 3339 time after 1970, such as 2026-07-01T12:00:00Z",
            value.escape_debug()
        ))),
    }
}

fn number(name: &str, value: Option<&str>, least: i32) -> Result<Value> {
    let Some(value) = value else { return Ok(Value::Null) };
    match value.parse::<i32>() {
        Ok(number) if number >= least => Ok(json!(number)),
        _ if least == 0 => Err(Error::invalid(format!(
            "{name} is \"{}\": it must be a whole number from 0 to 2147483647",
            value.escape_debug()
        ))),
        _ => Err(Error::invalid(format!("{name} is \"{}\": it must be a whole number", value.escape_debug()))),
    }
}

fn status(value: Option<&str>) -> Result<Value> {
    let Some(value) = value else { return Ok(Value::Null) };
    // other programs have words of their own
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b' ' || b == b'-';
    let known = crate::model::call_status::statuses().into_iter().find(|known| known.eq_ignore_ascii_case(value));
    if let Some(known) = known.filter(|known| *known != value) {
        return Err(Error::invalid(format!("call_status is \"{value}\": it must be {known}")));
    }
    if value.len() <= 50 && value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.bytes().all(is_word) {
        return Ok(json!(value));
    }
    Err(Error::invalid(format!(
        "call_status is \"{}\": it must be a word of at most 50 letters, digits, spaces, _ and -",
        value.escape_debug()
    )))
}
