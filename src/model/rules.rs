//! What values may be, by noun and column: for the command line, the configuration document and the manual. The tables
//! hold the same, which `tests/it/rules.rs` compares.

use std::ops::RangeInclusive;

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number from the first to the second.
    Within(RangeInclusive<i32>),
    /// Text of so many characters at most.
    UpTo(usize),
}
use Rule::{OneOf, UpTo, Within};

/// `users.role`
pub const USER_ROLES: [&str; 3] = ["admin", "staff", "user"];
/// `users.status`
pub const USER_STATUSES: [&str; 4] = ["active", "inactive", "pending_approval", "suspended"];
/// `campaigns.status`
pub const CAMPAIGN_STATUSES: [&str; 3] = ["active", "inactive", "paused"];
/// `campaigns.routing_strategy`
pub const STRATEGIES: [&str; 3] = ["priority", "round_robin", "weighted"];
/// The status of what is on or off: a client, a DID, a setting.
pub const STATUSES: [&str; 2] = ["active", "inactive"];

/// `campaigns.dial_timeout_seconds`: no carrier lets a call ring for longer.
pub const DIAL_TIMEOUT_SECONDS: RangeInclusive<i32> = 1..=3600;
/// `campaigns.max_call_seconds`: a day.
pub const MAX_CALL_SECONDS: RangeInclusive<i32> = 1..=86_400;
/// `campaign_client_settings.max_concurrency`
pub const MAX_CONCURRENCY: RangeInclusive<i32> = 1..=i32::MAX;
/// `campaign_client_settings.total_calls_allowed`, where it is not unlimited, and `current_total_calls`.
pub const TOTAL_CALLS: RangeInclusive<i32> = 0..=i32::MAX;
/// `campaign_client_settings.forwarding_priority`
pub const FORWARDING_PRIORITY: RangeInclusive<i32> = i32::MIN..=i32::MAX;
/// `campaign_client_settings.weight`
pub const WEIGHT: RangeInclusive<i32> = 1..=i32::MAX;
/// `pjsip_aors.qualify_frequency`; 0 switches it off.
pub const QUALIFY_FREQUENCY: RangeInclusive<i32> = 0..=86_400;

/// `users.username`
pub const USERNAME: usize = 80;
/// `users.email`
pub const EMAIL: usize = 120;
/// The name of a person, a company, a client, its department or a campaign.
pub const NAME: usize = 100;
/// `dids.description`
pub const DID_DESCRIPTION: usize = 255;

/// Every rule, by noun and column.
pub const RULES: &[(&str, &str, Rule)] = &[
    ("user", "username", UpTo(USERNAME)),
    ("user", "email", UpTo(EMAIL)),
    ("user", "role", OneOf(&USER_ROLES)),
    ("user", "status", OneOf(&USER_STATUSES)),
    ("user", "full_name", UpTo(NAME)),
    ("user", "company_name", UpTo(NAME)),
    ("client", "name", UpTo(NAME)),
    ("client", "department", UpTo(NAME)),
    ("client", "status", OneOf(&STATUSES)),
    ("endpoint", "direct_media", OneOf(&["yes", "no"])),
    ("aor", "qualify_frequency", Within(QUALIFY_FREQUENCY)),
    ("auth", "auth_type", OneOf(&["userpass"])),
    ("did", "status", OneOf(&STATUSES)),
    ("did", "description", UpTo(DID_DESCRIPTION)),
    ("campaign", "name", UpTo(NAME)),
    ("campaign", "status", OneOf(&CAMPAIGN_STATUSES)),
    ("campaign", "routing_strategy", OneOf(&STRATEGIES)),
    ("campaign", "dial_timeout_seconds", Within(DIAL_TIMEOUT_SECONDS)),
    ("campaign", "max_call_seconds", Within(MAX_CALL_SECONDS)),
    ("setting", "status", OneOf(&STATUSES)),
    ("setting", "max_concurrency", Within(MAX_CONCURRENCY)),
    ("setting", "total_calls_allowed", Within(TOTAL_CALLS)),
    ("setting", "current_total_calls", Within(TOTAL_CALLS)),
    ("setting", "forwarding_priority", Within(FORWARDING_PRIORITY)),
    ("setting", "weight", Within(WEIGHT)),
];

/// The rule of a noun's column, where it has one here.
#[must_use]
pub fn of(noun: &str, column: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(of, name, _)| *of == noun && *name == column).map(|(.., rule)| rule)
}
