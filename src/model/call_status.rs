//! What a call ends with: `call_logs.call_status`, from what the channel says.

use chrono::{DateTime, Utc};

use crate::model::reason::REASONS;

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

/// What a call that was not rejected may end with.
const OUTCOMES: [&str; 5] = ["ANSWERED", "NOANSWER", "BUSY", "FAILED", "ABANDONED"];

/// What `call_logs.call_status` may be, of this release; v3.0 wrote reasons of its own.
#[must_use]
pub fn statuses() -> Vec<&'static str> {
    let mut all = OUTCOMES.to_vec();
    for status in REASONS.iter().filter_map(|reason| reason.call_status) {
        if !all.contains(&status) {
            all.push(status);
        }
    }
    all
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
