//! Routing decisions: the functions of `sql/routines/route`, one statement each.

use postgres::GenericClient;

use crate::model::call::{Attempt, Decision, RouteRequest};
use crate::model::number::E164;
use crate::pg::{Connection, Query};
use crate::{Error, Kind, Result, args};

/// How many arguments cc_route had before `p_start`, and before `p_known_attempt`.
const OLDER: [usize; 2] = [9, 8];

/// One routing attempt: closes the call's previous attempt, claims the next link. One round trip. Asking again for
/// the same attempt is safe: a claim whose answer was lost is given again, and nothing more is claimed. A caller's
/// text that the database cannot hold is sent again in ASCII.
///
/// # Errors
/// The database's. No decision was made then, unless the connection was lost: ask again to know.
pub fn claim(client: &mut Connection, request: &RouteRequest) -> Result<Decision> {
    match (ask(client, request), request.plain()) {
        (Err(error), Some(plain)) if error.kind == Kind::Invalid => {
            log::debug!("again, in ASCII: {}", error.message);
            ask(client, &plain)
        }
        (answer, _) => answer,
    }
}

fn ask(client: &mut Connection, request: &RouteRequest) -> Result<Decision> {
    let did = request.did.as_ref().map(E164::as_str);
    let args = args![
        did,
        request.uniqueid,
        request.linkedid,
        request.system_name,
        request.caller_id_num,
        request.caller_id_name,
        request.dial_status,
        request.hangup_cause,
        request.known_attempt,
        request.start,
    ];
    let row = client
        .function_row("cc_route", args, &OLDER)?
        .ok_or_else(|| Error::failed("database: cc_route returned no row"))?;
    // an older function does not say
    let kept_as: Option<String> = row.try_get("call_id").unwrap_or_default();
    let kept_as = kept_as.filter(|id| *id != request.uniqueid);
    if row.try_get::<&str>("status")? == "proceed" {
        return Ok(Decision::Proceed(Attempt {
            setting_id: row.try_get("setting_id")?,
            client_identifier: row.try_get("client_identifier")?,
            campaign_id: row.try_get("campaign_id")?,
            user_id: row.try_get("user_id")?,
            did_id: row.try_get("did_id")?,
            client_id: row.try_get("client_id")?,
            dial_timeout_seconds: row.try_get("dial_timeout")?,
            max_call_seconds: row.try_get("max_call_seconds")?,
            number: row.try_get("attempt_number")?,
            kept_as,
        }));
    }
    Ok(Decision::Reject {
        reason: row.try_get("reason")?,
        call_status: row.try_get("call_status")?,
        hangup_cause: row.try_get("hangup_cause")?,
        // an older function does not say
        passed_over: row.try_get("passed_over").unwrap_or_default(),
        kept_as,
    })
}

/// What `claim` would decide for a new call to `did`, with every candidate in the order it would be
/// tried; claims nothing. The object that `cc_explain` documents.
pub fn explain(client: &mut impl GenericClient, did: &str) -> Result<serde_json::Value> {
    let text: String = client.value("SELECT cc_explain($1)::text", args![did])?;
    serde_json::from_str(&text).map_err(|e| Error::failed(format!("database: cc_explain: {e}")))
}
