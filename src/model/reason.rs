//! Why a call, or a link of its campaign, is turned down: `cc_reasons` in SQL has the same rows.

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// v3.0's code: `did_not_found`, or of a link: `total_cap`.
    pub code: &'static str,
    /// What it is a reason of: `link`, `did` or `call`.
    pub about: &'static str,
    /// What the record gets. None: other reasons decide, or the last attempt.
    pub call_status: Option<&'static str>,
    /// The Q.850 cause that the carrier gets, where there is a status.
    pub hangup_cause: Option<i32>,
    /// Whether it passes by itself, with nothing changed.
    pub passes: bool,
    /// What people are told; `%s` stands for figures.
    pub words: &'static str,
}

const fn reason(
    code: &'static str,
    about: &'static str,
    call_status: Option<&'static str>,
    hangup_cause: Option<i32>,
    passes: bool,
    words: &'static str,
) -> Reason {
    Reason { code, about, call_status, hangup_cause, passes, words }
}

/// All reasons. Where a campaign's links have several, the first in this order gives the call its status.
#[rustfmt::skip]
pub const REASONS: [Reason; 16] = [
    reason("concurrency_cap", "link", Some("REJECTED_CC"), Some(34), true, "it had %s calls at once"),
    reason("total_cap", "link", Some("REJECTED_TOTAL"), Some(34), false, "it had had %s calls in all"),
    reason("already_tried", "link", None, None, false, "tried before in this call"),
    reason("setting_inactive", "link", Some("REJECTED_NO_CLIENTS"), Some(20), false, "its setting was inactive"),
    reason("client_inactive", "link", Some("REJECTED_NO_CLIENTS"), Some(20), false, "the client was inactive"),
    reason("client_identifier_invalid", "link", Some("REJECTED_NO_CLIENTS"), Some(20), false, "its identifier cannot be dialled"),
    reason("no_endpoint", "link", Some("REJECTED_NO_CLIENTS"), Some(20), false, "it had no endpoint"),
    reason("no_contact", "link", Some("REJECTED_NO_CLIENTS"), Some(20), false, "its endpoint had no contact"),
    reason("did_not_found", "did", Some("REJECTED_DID_NOT_FOUND"), Some(1), false, "there was no DID of this number"),
    reason("did_inactive", "did", Some("REJECTED_DID_INACTIVE"), Some(1), false, "the DID was inactive"),
    reason("owner_inactive", "did", Some("REJECTED_OWNER_INACTIVE"), Some(21), false, "the DID's seller was not active"),
    reason("no_active_campaign_for_did", "did", Some("REJECTED_NO_ACTIVE_CAMPAIGN_FOR_DID"), Some(20), false, "the DID fed no active campaign"),
    reason("no_active_clients_in_campaign", "call", Some("REJECTED_NO_CLIENTS"), Some(20), false, "the campaign had no active client"),
    reason("no_eligible_clients_available", "call", None, None, false, "no client of the campaign could take it"),
    reason("call_ended", "call", Some("ABANDONED"), Some(16), false, "the caller had hung up"),
    reason("attempt_over", "call", Some("FAILED"), Some(42), false, "the channel had gone on"),
];

/// The reason with this code; None where a newer release gave it.
#[must_use]
pub fn of(code: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.code == code)
}
