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

/// What the clocks of a call's machine show when its record is made.
#[derive(Clone, Copy)]
pub(super) enum Clocks {
    /// At the call's end.
    AtEnd(Reading),
    /// Some time after it.
    Later(Reading),
}

impl Clocks {
    /// How far the clock was set forward between a claim and the call's end, which was noted as `end`.
    fn step(self, claim: &Reading, end: DateTime<Utc>) -> TimeDelta {
        let now = match self {
            Clocks::AtEnd(now) => return now.step_since(claim),
            Clocks::Later(now) => now,
        };
        let Some(passed) = now.passed_since(claim) else { return TimeDelta::zero() };
        // nobody noted whether the clock was set before the end or after it: it was before only if the call would
        // else have ended before its claim, or later than now
        let noted = end - claim.time();
        let is_possible = |lasted: TimeDelta| lasted >= TimeDelta::seconds(-1) && lasted <= passed;
        let steps = [TimeDelta::zero(), now.step_since(claim)];
        let step = steps.into_iter().find(|step| is_possible(noted - *step));
        step.unwrap_or_else(|| noted - noted.clamp(TimeDelta::zero(), passed))
    }
}

/// When a call came in, was answered by the client, and ended.
struct Times {
    start: DateTime<Utc>,
    answered: Option<DateTime<Utc>>,
    end: DateTime<Utc>,
}

impl Times {
    /// The channel's times. Where Asterisk's clock was set during the call, all are given by the clock as it was at
    /// the claim.
    fn of(channel: &Channel, clocks: Clocks) -> Times {
        let time = |name| DateTime::parse_from_rfc3339(channel.get(name)).ok().map(|t| t.with_timezone(&Utc));
        let (Clocks::AtEnd(now) | Clocks::Later(now)) = clocks;
        let noted_end = time("end").unwrap_or_else(|| now.time());
        let answered = time("answered").or_else(|| {
            // below zero where the clock was set back; 0 is no answer
            let answered = channel.number("answered_ms").filter(|&milliseconds| milliseconds != 0)?;
            Some(noted_end - TimeDelta::milliseconds(answered.into()))
        });
        let claim = Reading::parse(channel.get("clock"));
        let step = claim.map(|claim| clocks.step(&claim, noted_end)).unwrap_or_default();
        let end = noted_end - step;
        let start = time("start").unwrap_or(end).min(end);
        Times { start, answered: answered.map(|noted| Times::answer(channel, noted, step, claim, start, end)), end }
    }

    /// The client's answer. Where the clock was set, that was before the answer or after it. The longest ring time
    /// decides; where it cannot, the clock was set after the answer, in the longer part of a call.
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

/// The record of the call that this channel was.
pub(super) fn record(
    uniqueid: String,
    caller: (Option<String>, Option<String>),
    channel: &Channel,
    rules: &NumberRules,
    clocks: Clocks,
) -> CallRecord {
    let Times { start, answered, end } = Times::of(channel, clocks);
    // Dial says ANSWER, too, where the caller hung up just as the client answered, before the two were connected. A
    // dialplan that does not give the time leaves only Dial's word.
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
        // of the last decision only: a dialplan of another kind may have asked again
        passed_over: channel.text("passed_over", 1000).filter(|_| ending.cc_status == "reject"),
        call_start: DateTime::parse_from_rfc3339(channel.get("start")).ok().map(|time| time.to_utc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine's clocks show: seconds since 1970 and since its start.
    fn reading(wall: i64, uptime: i64) -> Reading {
        Reading::parse(&format!("{}/{}/1", wall * 1000, uptime * 1000)).expect("a reading")
    }

    /// Talked for 20 s from its claim on, and read from a log later, after the clock was set once or more.
    #[test]
    fn a_clock_that_was_set_before_the_record_is_read() {
        let claim = reading(1_000_000, 500);
        let lasted = |noted: i64, now: Reading| {
            let end = claim.time() + TimeDelta::seconds(noted);
            (end - Clocks::Later(now).step(&claim, end) - claim.time()).num_seconds()
        };
        for (case, noted, now, expected) in [
            ("not at all", 20, reading(1_000_060, 560), 20),
            ("an hour forward, while they talked", 3620, reading(1_003_660, 560), 20),
            ("an hour back, while they talked", -3580, reading(996_460, 560), 20),
            ("an hour forward, afterwards", 20, reading(1_003_660, 560), 20),
            ("forward, then back", 3620, reading(1_000_060, 560), 60),
            ("back, then forward", -3580, reading(1_000_060, 560), 0),
            ("on another machine", 3620, Reading::parse("1003660000/560000/2").expect("a reading"), 3620),
        ] {
            assert_eq!(lasted(noted, now), expected, "{case}");
        }
    }
}
