//! A call: what is asked about it, what is decided, and the record it leaves.
//!
//! Pure: from what the channel says to what the database gets, without reading or writing either.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::text;

use crate::model::number::E164;

/// What `cc_route` is asked. Texts are decoded and fit their columns.
#[derive(Clone, Debug, Default)]
pub struct RouteRequest {
    /// The number that was dialled; None where it is no number, and so no DID.
    pub did: Option<E164>,
    /// The caller's channel: names the call.
    pub uniqueid: String,
    /// `CHANNEL(linkedid)`.
    pub linkedid: Option<String>,
    /// `systemname` of asterisk.conf.
    pub system_name: Option<String>,
    /// Caller ID number.
    pub caller_id_num: Option<String>,
    /// Caller ID name.
    pub caller_id_name: Option<String>,
    /// `DIALSTATUS` of the call's previous attempt; None on the first.
    pub dial_status: Option<String>,
    /// Q.850 cause of the previous attempt.
    pub hangup_cause: Option<i32>,
    /// The last attempt that the channel has been told of, 0 before the first; None where that is not known.
    pub known_attempt: Option<i32>,
    /// When the call came in, by Asterisk's clock: tells calls with the same unique id apart.
    pub start: Option<DateTime<Utc>>,
}

/// Makes a caller's texts fit every database; returns whether any changed. No call or record is lost because the
/// database's encoding lacks a letter of a name. The ids of the call are not among these texts.
fn plain<'a>(texts: impl IntoIterator<Item = &'a mut String>) -> bool {
    let mut changed = false;
    for text in texts {
        if let Some(ascii) = text::ascii(text) {
            *text = ascii;
            changed = true;
        }
    }
    changed
}

impl RouteRequest {
    /// The request with the caller's texts in ASCII; None where they are already.
    #[must_use]
    pub fn plain(&self) -> Option<RouteRequest> {
        let mut plain = self.clone();
        self::plain(plain.caller_id_num.iter_mut().chain(&mut plain.caller_id_name)).then_some(plain)
    }
}

impl CallRecord {
    /// The record with the caller's texts in ASCII; None where they are already.
    #[must_use]
    pub fn plain(&self) -> Option<CallRecord> {
        let mut plain = self.clone();
        let caller = plain.caller_id_num.iter_mut().chain(&mut plain.caller_id_name);
        self::plain(caller.chain([&mut plain.incoming_did_number])).then_some(plain)
    }
}

/// What `cc_route` decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Dial this client: the attempt is claimed.
    Proceed(Attempt),
    /// End the call.
    Reject {
        /// v3.0's reason code: `did_not_found`, ...
        reason: String,
        /// The call status of the record.
        call_status: String,
        /// Q.850 cause for Hangup().
        hangup_cause: i32,
        /// The campaign's links and why none could get the call; None where no link was considered.
        passed_over: Option<String>,
        /// The id that the call is kept under, where another call had its unique id.
        kept_as: Option<String>,
    },
}

/// A claimed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The campaign-client link.
    pub setting_id: i32,
    /// The PJSIP endpoint to dial: `[A-Za-z0-9_-]{1,40}`.
    pub client_identifier: String,
    /// `campaigns.id`.
    pub campaign_id: i32,
    /// The seller.
    pub user_id: i32,
    /// `dids.id`.
    pub did_id: i32,
    /// `clients.id`.
    pub client_id: i32,
    /// How long it may ring.
    pub dial_timeout_seconds: i32,
    /// How long it may last.
    pub max_call_seconds: i32,
    /// 1 for the call's first attempt.
    pub number: i32,
    /// The id that the call is kept under, where another call had its unique id.
    pub kept_as: Option<String>,
}

/// The record of a call, as `call_logs` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// E.164, or what the carrier sent.
    pub incoming_did_number: String,
    /// Caller ID number.
    pub caller_id_num: Option<String>,
    /// Caller ID name.
    pub caller_id_name: Option<String>,
    /// The call came in.
    pub timestamp_start: DateTime<Utc>,
    /// The client answered (not: Asterisk answered the caller).
    pub timestamp_answered: Option<DateTime<Utc>>,
    /// The call ended.
    pub timestamp_end: DateTime<Utc>,
    /// From start to end.
    pub duration_seconds: i32,
    /// From the client's answer to the end; 0 without one.
    pub billsec_seconds: i32,
    /// ANSWERED, NOANSWER, BUSY, FAILED, ABANDONED or REJECTED_...
    pub call_status: String,
    /// Q.850 cause.
    pub hangup_cause_code: Option<i32>,
    /// Its text.
    pub hangup_cause_text: Option<String>,
    /// Names the call.
    pub asterisk_uniqueid: String,
    /// Joins the legs of the call.
    pub asterisk_linkedid: Option<String>,
    /// `DIALSTATUS` of the last attempt.
    pub dial_status: Option<String>,
    /// The seller, as the channel knows it; the ledger goes before the channel, here and below.
    #[serde(default)]
    pub user_id: Option<i32>,
    /// The campaign.
    #[serde(default)]
    pub campaign_id: Option<i32>,
    /// The DID.
    #[serde(default)]
    pub did_id: Option<i32>,
    /// The client.
    #[serde(default)]
    pub client_id: Option<i32>,
    /// The link.
    pub campaign_client_setting_id: Option<i32>,
    /// What came with a rejection: the campaign's links and why none could get the call.
    #[serde(default)]
    pub passed_over: Option<String>,
    /// When the call came in, as `cc_route` was told; None where the channel does not know.
    #[serde(default)]
    pub call_start: Option<DateTime<Utc>>,
}

/// Whole seconds between two times, rounded to the nearest; never negative.
#[must_use]
pub fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i32 {
    let milliseconds = (to - from).num_milliseconds().max(0);
    i32::try_from((milliseconds + 500) / 1000).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn seconds_are_rounded_and_never_negative() {
        let at = |ms| DateTime::from_timestamp_millis(ms).expect("valid");
        assert_eq!(seconds_between(at(0), at(2996)), 3);
        assert_eq!(seconds_between(at(0), at(3499)), 3);
        assert_eq!(seconds_between(at(5000), at(0)), 0);
    }
}
