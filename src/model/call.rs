//! A call: what is asked about it, what is decided, and the record it leaves.
//!
//! Pure: from what the channel says to what the database gets, without reading or writing either.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the columns of unique ids hold.
const MAX_ID: usize = 50;
/// What an id that had to be made from a unique id has of its end, which the channels of a server differ in.
const TAIL: usize = 33;
/// What it has of the hash of the whole, in hexadecimal digits; before them stands `~`.
const HASH: usize = 16;

/// A unique id, linked id or system name as it is kept: whole, or, where it does not fit, its end and a hash of
/// all of it. Two that differ are never kept as the same.
#[must_use]
pub fn kept_id(id: &str) -> String {
    if id.chars().count() <= MAX_ID {
        return id.to_owned();
    }
    let hash: String = Sha256::digest(id.as_bytes()).iter().take(HASH / 2).map(|b| format!("{b:02x}")).collect();
    format!("{}~{hash}", tail(id))
}

/// What a kept id has in common with its channel's unique id. Where two channels have the same, they are taken
/// for one: it is asked whether a call may still be up. `cc_call_tail` in SQL.
#[must_use]
pub fn tail(id: &str) -> String {
    let is_hash = |h: &str| h.len() == HASH && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = id.rsplit_once('~').filter(|(_, hash)| is_hash(hash)).map_or(id, |(id, _)| id);
    let length = id.chars().count();
    id.chars().skip(length.saturating_sub(TAIL)).collect()
}

use crate::text;

use crate::model::number::E164;

/// What `cc_route` is asked. Texts are decoded and fit their columns.
#[derive(Clone, Debug, Default)]
pub struct RouteRequest {
    /// The number that was dialled; None where that is no number, which then no DID has.
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
    /// When the call came in, by Asterisk's clock: tells it from another one of the same unique id.
    pub start: Option<DateTime<Utc>>,
}

/// What a caller writes, made such that every database can hold it; None where it is already. A name is no
/// reason to lose a call or its record: not in a database of an encoding that lacks a letter of it, either.
/// What names the call stays as it is.
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
    /// The same in ASCII, as far as a caller writes it; None where it is.
    #[must_use]
    pub fn plain(&self) -> Option<RouteRequest> {
        let mut plain = self.clone();
        self::plain(plain.caller_id_num.iter_mut().chain(&mut plain.caller_id_name)).then_some(plain)
    }
}

impl CallRecord {
    /// The same in ASCII, as far as a caller writes it; None where it is.
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
        /// The campaign's links and why none could get the call; None where it did not come to them.
        passed_over: Option<String>,
        /// The id that the call is kept under, where that is not its unique id: another call had it.
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
    /// The id that the call is kept under, where that is not its unique id: another call had it.
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
    /// The seller, as the channel knows it; the ledger's word goes first, here and below.
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

/// What the channel says at hangup.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// `CC_STATUS`: proceed, reject, error, or empty while no decision has been made.
    pub cc_status: String,
    /// `CC_CALL_STATUS`: the status that came with a rejection.
    pub cc_call_status: String,
    /// `DIALSTATUS` of the last Dial.
    pub dial_status: String,
    /// The client's answer.
    pub answered: Option<DateTime<Utc>>,
}

/// What `call_logs.call_status` may be, of this release; v3.0 wrote reasons of its own.
pub const STATUSES: [&str; 12] = [
    "ANSWERED",
    "NOANSWER",
    "BUSY",
    "FAILED",
    "ABANDONED",
    "REJECTED_CC",
    "REJECTED_TOTAL",
    "REJECTED_NO_CLIENTS",
    "REJECTED_DID_NOT_FOUND",
    "REJECTED_DID_INACTIVE",
    "REJECTED_OWNER_INACTIVE",
    "REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID",
];

/// The status a call ends with. A caller who hangs up before there is an outcome has abandoned it.
#[must_use]
pub fn call_status(ending: &Ending) -> String {
    let status = match (ending.cc_status.as_str(), ending.dial_status.as_str()) {
        _ if ending.answered.is_some() => "ANSWERED",
        ("reject", _) if is_status(&ending.cc_call_status) => &ending.cc_call_status,
        ("reject" | "error", _) => "FAILED",
        ("proceed", "ANSWER") => "ANSWERED",
        ("proceed", "BUSY") => "BUSY",
        ("proceed", "NOANSWER") => "NOANSWER",
        ("proceed", "CONGESTION" | "CHANUNAVAIL" | "INVALIDARGS" | "DONTCALL" | "TORTURE") => "FAILED",
        _ => "ABANDONED",
    };
    status.to_owned()
}

/// A status is one word of at most 50 characters, as `call_logs.call_status` and reports expect.
fn is_status(text: &str) -> bool {
    (1..=50).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// Whole seconds between two times, rounded to the nearest; never negative.
#[must_use]
pub fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i32 {
    let milliseconds = (to - from).num_milliseconds().max(0);
    i32::try_from((milliseconds + 500) / 1000).unwrap_or(i32::MAX)
}

/// The text of a Q.850 cause, as Asterisk names it (causes.h); None for a code it does not use.
#[must_use]
pub fn cause_text(code: i32) -> Option<&'static str> {
    Some(match code {
        1 => "Unallocated (unassigned) number",
        2 => "No route to specified transit network",
        3 => "No route to destination",
        6 => "Channel unacceptable",
        7 => "Call awarded and being delivered",
        16 => "Normal Clearing",
        17 => "User busy",
        18 => "No user responding",
        19 => "User alerting, no answer",
        20 => "Subscriber absent",
        21 => "Call Rejected",
        22 => "Number changed",
        23 => "Redirected to new destination",
        26 => "Answered elsewhere",
        27 => "Destination out of order",
        28 => "Invalid number format",
        29 => "Facility rejected",
        30 => "Response to STATus ENQuiry",
        31 => "Normal, unspecified",
        34 => "Circuit/channel congestion",
        38 => "Network out of order",
        41 => "Temporary failure",
        42 => "Switching equipment congestion",
        43 => "Access information discarded",
        44 => "Requested channel not available",
        50 => "Facility not subscribed",
        52 => "Outgoing call barred",
        54 => "Incoming call barred",
        57 => "Bearer capability not authorized",
        58 => "Bearer capability not available",
        65 => "Bearer capability not implemented",
        66 => "Channel not implemented",
        69 => "Facility not implemented",
        81 => "Invalid call reference value",
        88 => "Incompatible destination",
        95 => "Invalid message unspecified",
        96 => "Mandatory information element is missing",
        97 => "Message type nonexist.",
        98 => "Wrong message",
        99 => "Info. element nonexist or not implemented",
        100 => "Invalid information element contents",
        101 => "Wrong call state",
        102 => "Recover on timer expiry",
        103 => "Mandatory IE length error",
        111 => "Protocol error, unspecified",
        127 => "Interworking, unspecified",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ids are kept apart, fit their column, and lead back to their channel.
        #[test]
        fn ids_that_differ_are_kept_apart(a in "\\PC{0,60}", b in "\\PC{0,4}", name in "[a-z~-]{30,80}") {
            let ids = [a.clone(), format!("{name}{a}"), format!("{name}{b}"), format!("{b}{name}"), format!("{name}{a}{b}")];
            for id in &ids {
                let kept = kept_id(id);
                prop_assert!(kept.chars().count() <= MAX_ID);
                prop_assert_eq!(&kept_id(&kept), &kept);
                prop_assert_eq!(tail(&kept), tail(id));
                for other in &ids {
                    prop_assert_eq!(kept == kept_id(other), id == other);
                }
            }
        }
    }

    fn ended(cc_status: &str, cc_call_status: &str, dial_status: &str, answered: bool) -> String {
        call_status(&Ending {
            cc_status: cc_status.into(),
            cc_call_status: cc_call_status.into(),
            dial_status: dial_status.into(),
            answered: answered.then(Utc::now),
        })
    }

    #[test]
    fn how_a_call_ends_is_what_is_recorded() {
        assert_eq!(ended("proceed", "", "ANSWER", true), "ANSWERED");
        // the caller hung up in the moment between the client's answer and the end of Dial
        assert_eq!(ended("proceed", "", "CANCEL", true), "ANSWERED");
        assert_eq!(ended("proceed", "", "CANCEL", false), "ABANDONED");
        assert_eq!(ended("proceed", "", "", false), "ABANDONED");
        // gave up while cc-route.agi was asked for the next client
        assert_eq!(ended("", "", "BUSY", false), "ABANDONED");
        assert_eq!(ended("reject", "REJECTED_CC", "", false), "REJECTED_CC");
        assert_eq!(ended("reject", "BUSY", "BUSY", false), "BUSY");
        assert_eq!(ended("error", "", "", false), "FAILED");
    }

    #[test]
    fn a_status_from_the_channel_is_not_trusted() {
        assert_eq!(ended("reject", "'; DROP", "", false), "FAILED");
        assert_eq!(ended("reject", &"A".repeat(51), "", false), "FAILED");
    }

    #[test]
    fn seconds_are_rounded_and_never_negative() {
        let at = |ms| DateTime::from_timestamp_millis(ms).expect("valid");
        assert_eq!(seconds_between(at(0), at(2996)), 3);
        assert_eq!(seconds_between(at(0), at(3499)), 3);
        assert_eq!(seconds_between(at(5000), at(0)), 0);
    }

    #[test]
    fn every_cause_text_fits_its_column() {
        for code in 0..=127 {
            assert!(cause_text(code).is_none_or(|text| text.len() <= 50));
        }
    }
}
