//! The call record that a channel leaves: what is asked of the channel, and what that comes to.

use chrono::{DateTime, TimeDelta, Utc};

use crate::agi::channel::Channel;
use crate::model::call::{self, CallRecord};
use crate::model::call_status::{self, Ending};
use crate::model::number::NumberRules;
use crate::model::{call_id, hangup_cause};
use crate::system::clock::Reading;

/// What is asked of the channel, in one exchange. The dialplan writes the same into its line of last resort.
pub(super) const WANTED: [(&str, &str); 20] = [
    ("linkedid", "CHANNEL(linkedid)"),
    ("did", "CC_DID"),
    ("start", "CC_START"),
    ("answered", "SHARED(CC_ANSWERED)"),
    ("end", "CC_END"),
    ("cc_status", "CC_STATUS"),
    ("cc_call_status", "CC_CALL_STATUS"),
    ("dial_status", "DIALSTATUS"),
    ("hangup_cause", "HANGUPCAUSE"),
    ("setting_id", "EFFECTIVE_CCS_ID"),
    ("user_id", "USER_ID"),
    ("campaign_id", "CAMPAIGN_ID"),
    ("did_id", "DID_ID"),
    ("client_id", "CLIENT_ID"),
    ("uniqueid", "UNIQUEID"),
    ("answered_ms", "CC_ANSWERED_MS"),
    ("passed_over", "CC_PASSED_OVER"),
    ("call_id", "CC_CALL_ID"),
    ("clock", "CC_CLOCK"),
    ("dial_timeout", "DIAL_TIMEOUT"),
];

/// When a call came in, was answered by the client, and ended.
struct Times {
    start: DateTime<Utc>,
    answered: Option<DateTime<Utc>>,
    end: DateTime<Utc>,
}

impl Times {
    /// What the channel says, put right where Asterisk's clock was set during the call: all times are then those of the
    /// clock as it was when the client was claimed. `now` stands in for what the dialplan did not set.
    fn of(channel: &Channel, now: Option<Reading>) -> Times {
        let time = |name| DateTime::parse_from_rfc3339(channel.get(name)).ok().map(|t| t.with_timezone(&Utc));
        let noted_end = time("end").unwrap_or_else(|| now.unwrap_or_else(Reading::now).time());
        let answered = time("answered").or_else(|| {
            // below zero where the clock was set back; 0 is no answer
            let answered = channel.number("answered_ms").filter(|&milliseconds| milliseconds != 0)?;
            Some(noted_end - TimeDelta::milliseconds(answered.into()))
        });
        let claim = Reading::parse(channel.get("clock"));
        let step = claim.zip(now).map(|(claim, now)| now.step_since(&claim)).unwrap_or_default();
        let end = noted_end - step;
        let start = time("start").unwrap_or(end).min(end);
        Times { start, answered: answered.map(|noted| Times::answer(channel, noted, step, claim, start, end)), end }
    }

    /// The client's answer. Where the clock was set, that was before the answer or after it: it rang for as
    /// long as it may ring, and what cannot be told apart by that was after it, in the longer part of a call.
    fn answer(
        channel: &Channel,
        noted: DateTime<Utc>,
        step: TimeDelta,
        claim: Option<Reading>,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> DateTime<Utc> {
        // what a claim, dialling and the client's answer take besides
        let margin = TimeDelta::seconds(10);
        let claimed = claim.map_or(start, |claim| claim.time());
        let may_ring =
            channel.number("dial_timeout").map_or(end, |seconds| claimed + TimeDelta::seconds(seconds.into()) + margin);
        let is_possible = |at: &DateTime<Utc>| *at >= claimed - TimeDelta::seconds(1) && *at <= may_ring.min(end);
        [noted, noted - step].into_iter().find(is_possible).unwrap_or(noted).clamp(start, end)
    }
}

/// The record of the call that this channel was. `now`: what the clocks of its machine show; None where it is
/// read elsewhere, or later.
pub(super) fn record(
    uniqueid: String,
    caller: (Option<String>, Option<String>),
    channel: &Channel,
    rules: &NumberRules,
    now: Option<Reading>,
) -> CallRecord {
    let Times { start, answered, end } = Times::of(channel, now);
    // Dial calls it ANSWER, too, where the caller left before he was connected: the client's answer crossed that. A
    // dialplan that says nothing of the time has nothing but Dial's word.
    let unconnected = channel.number("answered_ms") == Some(0) && channel.get("dial_status") == "ANSWER";
    let ending = Ending {
        cc_status: channel.get("cc_status").to_owned(),
        cc_call_status: channel.get("cc_call_status").to_owned(),
        dial_status: if unconnected { "CANCEL" } else { channel.get("dial_status") }.to_owned(),
        answered,
    };
    let did = rules.recorded(&channel.dialled("did"));
    let cause = channel.number("hangup_cause").filter(|&code| code > 0);
    let uniqueid = if uniqueid.is_empty() { channel.get("uniqueid").to_owned() } else { uniqueid };
    let call_id = channel.id("call_id").unwrap_or_else(|| call_id::kept_id(&uniqueid));
    CallRecord {
        incoming_did_number: if did.is_empty() { "unknown".to_owned() } else { did },
        caller_id_num: caller.0,
        caller_id_name: caller.1,
        timestamp_start: start,
        timestamp_answered: ending.answered,
        timestamp_end: end,
        duration_seconds: call::seconds_between(start, end),
        billsec_seconds: ending.answered.map_or(0, |answered| call::seconds_between(answered, end)),
        call_status: call_status::call_status(&ending),
        hangup_cause_code: cause,
        hangup_cause_text: cause.and_then(hangup_cause::cause_text).map(str::to_owned),
        asterisk_uniqueid: call_id,
        asterisk_linkedid: channel.id("linkedid"),
        dial_status: channel.text("dial_status", 20),
        user_id: channel.number("user_id"),
        campaign_id: channel.number("campaign_id"),
        did_id: channel.number("did_id"),
        client_id: channel.number("client_id"),
        campaign_client_setting_id: channel.number("setting_id"),
        // of this call's last decision only, should a dialplan of another kind have asked again
        passed_over: channel.text("passed_over", 1000).filter(|_| ending.cc_status == "reject"),
        call_start: DateTime::parse_from_rfc3339(channel.get("start")).ok().map(|time| time.to_utc()),
    }
}
