//! Writing the call record: the functions of `sql/routines/settle`.

use crate::model::call::CallRecord;
use crate::pg::Connection;
use crate::{Error, Kind, Result, args};

/// How many arguments cc_log_call had before `p_call_start`, and before `p_passed_over`.
const OLDER: [usize; 2] = [16, 15];
/// How many arguments cc_release_call had before `p_did` and `p_call_start`.
const OLDER_RELEASE: [usize; 1] = [4];

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `call_logs.id`.
    pub call_log_id: i64,
    /// The call had been logged before: nothing was written or counted now.
    pub already_logged: bool,
}

/// Writes the record, releases the call's claim and counts the call, in one statement; in ASCII, where the
/// database cannot hold what the caller wrote.
///
/// # Errors
/// The database's; nothing was written then.
pub fn log(client: &mut Connection, record: &CallRecord) -> Result<Logged> {
    match (write(client, record), record.plain()) {
        (Err(error), Some(plain)) if error.kind == Kind::Invalid => {
            log::debug!("again, in ASCII: {}", error.message);
            write(client, &plain)
        }
        (answer, _) => answer,
    }
}

fn write(client: &mut Connection, record: &CallRecord) -> Result<Logged> {
    let args = args![
        record.incoming_did_number,
        record.caller_id_num,
        record.caller_id_name,
        record.timestamp_start,
        record.timestamp_answered,
        record.timestamp_end,
        record.duration_seconds,
        record.billsec_seconds,
        record.call_status,
        record.hangup_cause_code,
        record.hangup_cause_text,
        record.asterisk_uniqueid,
        record.asterisk_linkedid,
        record.dial_status,
        record.campaign_client_setting_id,
        record.passed_over,
        record.call_start,
    ];
    let row = client
        .function_row("cc_log_call", args, &OLDER)?
        .ok_or_else(|| Error::failed("database: cc_log_call returned no row"))?;
    Ok(Logged { call_log_id: row.try_get("call_log_id")?, already_logged: row.try_get("already_logged")? })
}

/// Releases the call's claim where its record goes to the HTTP back end; nothing more can be claimed
/// for the call then. `count_pending`: the back end has yet to count it. Returns how many claims
/// were open.
///
/// # Errors
/// The database's; nothing was released then.
pub fn release(client: &mut Connection, record: &CallRecord, count_pending: bool) -> Result<i32> {
    let args = args![
        record.asterisk_uniqueid,
        record.dial_status,
        record.hangup_cause_code,
        count_pending,
        record.incoming_did_number,
        record.call_start,
    ];
    let row = client
        .function_row("cc_release_call", args, &OLDER_RELEASE)?
        .ok_or_else(|| Error::failed("database: cc_release_call returned no row"))?;
    row.try_get("cc_release_call")
}
