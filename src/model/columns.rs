//! The columns that people set, declared once: what each may hold, and its flag. The command line's flags
//! (`cli/args/flags.rs`), its checks and those of the configuration document follow from here. The tables hold
//! the same, which `tests/it/columns.rs` compares.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::model::realtime::Text;
use crate::model::sip::check_contact;
use crate::model::{codecs, values};
use crate::{Error, Result};

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number from the first to the second.
    Within(RangeInclusive<i32>),
    /// The same, or `unlimited`, which is null.
    Unlimited(RangeInclusive<i32>),
    /// One line of so many characters at most.
    Line(usize),
    /// Any text.
    Free,
    /// An e-mail address.
    Email(usize),
    /// One line that fits as Asterisk's realtime stores it.
    Stored(usize),
    /// The same without spaces or separators.
    Word(usize),
    /// A host, stored so.
    Host(usize),
    /// A list of codecs, stored so.
    Codecs(usize),
    /// A SIP URI, stored so.
    Contact(usize),
}
use Rule::{Codecs, Contact, Email, Free, Host, Line, OneOf, Stored, Unlimited, Within, Word};

/// A column that people set.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, from which its flag's follows.
    pub name: &'static str,
    /// What its flag's value is called; empty: as the column.
    pub value: &'static str,
    /// What it may hold.
    pub rule: Rule,
    /// What its flag says.
    pub help: &'static str,
    /// Whether an empty text clears it.
    pub nullable: bool,
    /// Whether `add` requires it.
    pub needed: bool,
    /// The default of `add`, shown in its help, where it is not the database's.
    pub default: Option<&'static str>,
}

const fn column(name: &'static str, value: &'static str, rule: Rule, help: &'static str) -> Column {
    Column { name, value, rule, help, nullable: false, needed: false, default: None }
}

impl Column {
    const fn or_empty(self) -> Column {
        Column { nullable: true, ..self }
    }

    const fn needed(self) -> Column {
        Column { needed: true, ..self }
    }

    const fn by_default(self, value: &'static str) -> Column {
        Column { default: Some(value), ..self }
    }

    /// A value that was typed, as it is to be stored.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`], naming the column, the value and the rule.
    pub fn read(&self, text: &str) -> Result<Value> {
        let name = self.name;
        if self.nullable && text.is_empty() {
            return Ok(Value::Null);
        }
        match &self.rule {
            OneOf(values) => values::one_of(name, text, values)?,
            Unlimited(_) if text == "unlimited" => return Ok(Value::Null),
            Within(range) | Unlimited(range) => {
                let number: i64 = text.parse().map_err(|_| {
                    let or = if matches!(self.rule, Unlimited(_)) { ", or unlimited" } else { "" };
                    Error::invalid(format!("{name} is \"{}\": it must be a number{or}", text.escape_debug()))
                })?;
                return Ok(json!(values::number(name, number, range.clone())?));
            }
            Line(max) => values::line(name, text, *max)?,
            Free => {}
            Email(max) => values::email(name, text, *max)?,
            Stored(max) => values::stored(name, text, *max)?,
            Word(max) => values::word(name, text, *max)?,
            Host(max) => values::host(name, text, *max)?,
            Codecs(max) => codecs::check(name, text).and_then(|()| values::stored(name, text, *max))?,
            Contact(max) => {
                check_contact(text).and_then(|()| values::fits(name, &Text(text.to_owned()).encoded(), *max))?;
            }
        }
        Ok(json!(text))
    }
}

/// Some columns of a noun, whose flags stand beside each other.
pub trait Group {
    /// In the order in which help shows them.
    const COLUMNS: &'static [Column];
}

macro_rules! groups {
    ($($noun:literal: $($group:ident [$($column:expr),* $(,)?])*;)*) => {
        $($(
            #[doc = concat!("Columns of a ", $noun, ".")]
            #[derive(Debug)]
            pub enum $group {}

            impl Group for $group {
                const COLUMNS: &'static [Column] = &[$($column),*];
            }
        )*)*

        /// The declared columns of every noun.
        pub const NOUNS: &[(&str, &[&[Column]])] = &[$(($noun, &[$($group::COLUMNS),*])),*];
    };
}

/// `campaigns.status`
pub const CAMPAIGN_STATUSES: [&str; 3] = ["active", "inactive", "paused"];
/// `users.role`
pub const USER_ROLES: [&str; 3] = ["admin", "staff", "user"];
/// `users.status`
pub const USER_STATUSES: [&str; 4] = ["active", "inactive", "pending_approval", "suspended"];
/// The status of what is on or off: a client, a DID, a setting.
pub const STATUSES: [&str; 2] = ["active", "inactive"];
/// The name of a person, a company, a client, its department or a campaign.
pub const NAME: usize = 100;
/// `users.username`
pub const USERNAME: usize = 80;
/// `campaign_client_settings.max_concurrency`
pub const MAX_CONCURRENCY: RangeInclusive<i32> = 1..=i32::MAX;

groups! {
    "user":
        Access [
            column("email", "ADDRESS", Email(120), "E-mail address").needed(),
            column("role", "", OneOf(&USER_ROLES), "What the user may do; a seller is a user").by_default("user"),
            column(
                "status",
                "",
                OneOf(&USER_STATUSES),
                "Only an active user can log in, only an active seller's calls are routed",
            )
            .by_default("active"),
        ]
        Person [
            column("full_name", "TEXT", Line(NAME), "The person's name; empty clears it").or_empty(),
            column("company_name", "TEXT", Line(NAME), "The person's company; empty clears it").or_empty(),
        ];
    "client":
        ClientName [column("name", "TEXT", Line(NAME), "Name for people").needed()]
        Client [
            column("department", "TEXT", Line(NAME), "Which part of it takes the calls; empty clears it").or_empty(),
            column("status", "", OneOf(&STATUSES), "Only an active client gets calls"),
            column("notes", "TEXT", Free, "Free text; empty clears it").or_empty(),
        ];
    "endpoint":
        Endpoint [
            column("transport", "NAME", Word(40), "Transport of pjsip.conf to use; empty: any").or_empty(),
            column("context", "NAME", Word(80), "Dialplan context of the client's own calls"),
            column(
                "disallow",
                "CODECS",
                Codecs(200),
                "Only all, which changes nothing: --allow alone says which codecs there are",
            )
            .or_empty(),
            column("allow", "CODECS", Codecs(200), "Codecs, in order of preference").or_empty(),
            column(
                "direct_media",
                "",
                OneOf(&["yes", "no"]),
                "Whether media may bypass Asterisk, where pjsip.conf lets the carrier's bypass it, too",
            ),
            column("from_user", "USER", Word(80), "User part of the From header; empty: the caller's number")
                .or_empty(),
            column("from_domain", "HOST", Host(80), "Host part of the From header; empty: Asterisk's address")
                .or_empty(),
            column(
                "callerid",
                "CALLERID",
                Stored(80),
                "Caller ID of the client's own calls, as 'Name <number>'; empty: as they send it",
            )
            .or_empty(),
        ]
        EndpointLinks [
            column("aors", "ID", Word(200), "AOR to dial; empty: the one with the endpoint's id").or_empty(),
            column("auth", "ID", Word(40), "What the client must authenticate its own calls with; empty: nothing")
                .or_empty(),
            column(
                "outbound_auth",
                "ID",
                Word(40),
                "What to authenticate our calls with at the client; empty: nothing",
            )
            .or_empty(),
        ];
    "aor":
        AorContact [column("contact", "URI", Contact(255), "Where its calls go: a SIP URI").needed()]
        Aor [
            column(
                "max_contacts",
                "N",
                Within(0..=i32::MAX),
                "How many contacts may register, where a site lets clients register: from 0; default 1",
            ),
            // the most that Asterisk takes
            column(
                "qualify_frequency",
                "SECONDS",
                Within(0..=86_400),
                "Seconds between the OPTIONS requests that qualify the contact: 1 to 86400, 0 switches them off; \
                 default 60",
            ),
        ];
    "auth":
        AuthType [column("auth_type", "", OneOf(&["userpass"]), "How the password is kept")]
        Realm [
            column("realm", "REALM", Stored(80), "Only answer challenges of this realm; empty: of any").or_empty(),
        ];
    "did":
        Did [
            column("status", "", OneOf(&STATUSES), "Calls to an inactive DID are rejected"),
            column("description", "TEXT", Line(255), "Free text; empty clears it").or_empty(),
        ];
    "campaign":
        Campaign [
            column(
                "routing_strategy",
                "",
                OneOf(&["priority", "round_robin", "weighted"]),
                "How calls are shared out; default priority",
            ),
            // no carrier lets a call ring for longer
            column(
                "dial_timeout_seconds",
                "SECONDS",
                Within(1..=3600),
                "How long a client may ring before the next one is tried: 1 to 3600; default 30",
            ),
            column(
                "max_call_seconds",
                "SECONDS",
                Within(1..=86_400),
                "How long a call may last: 1 to 86400; default 14400",
            ),
            column("status", "", OneOf(&CAMPAIGN_STATUSES), "Only an active campaign gets calls"),
            column("description", "TEXT", Free, "Free text; empty clears it").or_empty(),
        ];
    "setting":
        Cap [
            column("max_concurrency", "N", Within(MAX_CONCURRENCY), "How many calls the client takes at once: from 1")
                .needed(),
        ]
        Count [
            column("current_total_calls", "N", Within(0..=i32::MAX), "Set the count of answered calls: from 0"),
        ]
        Setting [
            column(
                "total_calls_allowed",
                "N|unlimited",
                Unlimited(0..=i32::MAX),
                "How many calls may be answered in all: a number from 0, or unlimited, the default",
            ),
            column(
                "forwarding_priority",
                "N",
                Within(i32::MIN..=i32::MAX),
                "Strategy priority: lower is tried first; default 0",
            ),
            column(
                "weight",
                "N",
                Within(1..=i32::MAX),
                "The share of the calls, in proportion to the others': from 1; default 100",
            ),
            column("status", "", OneOf(&STATUSES), "Only an active setting gets calls"),
        ];
}

/// The declaration of a noun's column, where it has one.
#[must_use]
pub fn of(noun: &str, column: &str) -> Option<&'static Column> {
    let (_, groups) = NOUNS.iter().find(|(name, _)| *name == noun)?;
    groups.iter().flat_map(|group| group.iter()).find(|declared| declared.name == column)
}
