//! `capconduit schema`: what each command prints with `--json`, field by field.
//!
//! What is printed describes itself ([`Fields`]). Which command prints what is declared here, a line a command, and
//! the fields that a command or the database adds. A test runs every command and compares.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use crate::cli::args::listing::Listing;
use crate::cli::commands::call::explain::Story;
use crate::cli::commands::call::reap::Closed;
use crate::cli::commands::call::replay::Summary;
use crate::cli::commands::call::settle::Settled;
use crate::cli::commands::call::show::{Unrecorded, Whole as CallWhole};
use crate::cli::commands::pjsip::side::Side;
use crate::cli::commands::report::Figures;
use crate::cli::commands::{audit, campaign, client, db, status};
use crate::cli::output::Output;
use crate::model::live::Contact;
use crate::model::shape::{AsJson, Field, Fields, Json, paths};
use crate::store::audit::Entry;
use crate::store::call::{Attempt, Call};
use crate::store::campaign::Campaign;
use crate::store::client::Client;
use crate::store::did::Did;
use crate::store::migrate;
use crate::store::report::Key;
use crate::store::setting::Setting;
use crate::store::user::User;
use crate::store::verify::Difference;
use crate::{Error, Kind, Result, asterisk, check, fields, shape};

/// What a command prints.
struct Shape {
    /// A noun and its verbs that print this, or the command.
    commands: &'static str,
    prints: Prints,
    /// When it prints this, where it does not always.
    when: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Prints {
    Array(&'static [Field]),
    Object(&'static [Field]),
    /// Not JSON, whatever is asked for: what it is.
    Text(&'static str),
}

const fn array(commands: &'static str, fields: &'static [Field]) -> Shape {
    Shape { commands, prints: Prints::Array(fields), when: None }
}

const fn object(commands: &'static str, fields: &'static [Field]) -> Shape {
    Shape { commands, prints: Prints::Object(fields), when: None }
}

const fn text(commands: &'static str, about: &'static str) -> Shape {
    Shape { commands, prints: Prints::Text(about), when: None }
}

impl Shape {
    const fn when(self, when: &'static str) -> Shape {
        Shape { when: Some(when), ..self }
    }

    /// Their names.
    fn commands(&self) -> impl Iterator<Item = String> {
        let (noun, verbs) = self.commands.split_once(' ').unwrap_or((self.commands, ""));
        verbs.split(' ').map(move |verb| format!("{noun} {verb}").trim_end().to_owned())
    }
}

/// `report`, whose rows begin with the fields that calls are counted by.
macro_rules! report {
    ($when:literal, $key:ident) => {{
        const ROW: &[Field] = &[Field::flat(Key::$key.fields()), Field::flat(Figures::FIELDS)];
        const ROWS: Field = Field::new("rows", Json::List(&Json::Object(ROW)), "The counts.");
        object("report", &[Field::flat(REPORT), ROWS, TOTAL]).when($when)
    }};
}

/// A command has its place in one line, or in one for each thing that it may print.
const SHAPES: &[Shape] = &[
    object("db migrate", fields! { applied: Vec<migrate::Applied> = "The steps that were applied now." }),
    array("db status", migrate::Status::FIELDS),
    object("db seed", fields! { loaded: bool = "False where the sample data was there already." }),
    array("db roles", db::roles::Shown::FIELDS),
    array("db verify", Difference::FIELDS),
    array("user list", User::FIELDS),
    object("user show add set enable disable passwd", User::FIELDS),
    object("user passwd", fields! { matches: bool = "The password is the user's." }).when("--verify is given"),
    object("user remove", User::FIELDS),
    array("client list", Client::FIELDS),
    object("client show add set enable disable remove", client::Whole::FIELDS),
    array("pjsip list", Side::FIELDS),
    object("pjsip show add set remove", Side::FIELDS),
    array("did list", Did::FIELDS),
    object("did show add set enable disable remove", Did::FIELDS),
    text("did export", "CSV; with --json it needs FILE"),
    object("did export", fields! { file: String = "Where they are.", dids: i64 = "How many." }).when("FILE is given"),
    object(
        "did import",
        fields! {
            added: i64 = "New DIDs.",
            changed: i64 = "DIDs that were there and differed.",
            unchanged: i64 = "DIDs that were there.",
        },
    ),
    array("campaign list", Campaign::FIELDS),
    object("campaign show add set enable pause disable remove", campaign::Whole::FIELDS),
    array("setting list", Setting::FIELDS),
    object("setting show add set enable disable remove", Setting::FIELDS),
    array("call list", Call::FIELDS),
    object("call show", CallWhole::FIELDS),
    object("call show", Unrecorded::FIELDS).when("the call is up and has no record yet"),
    object("call explain", Story::FIELDS),
    array("call active lost", Attempt::FIELDS),
    text("call export", "CSV; with --json it needs FILE"),
    object("call export", fields! { file: String = "Where they are.", calls: i64 = "How many." }).when("FILE is given"),
    object(
        "call import",
        fields! {
            added: i64 = "New records.",
            already_there: i64 = "Records that were there.",
            skipped: i64 = "Lines without asterisk_uniqueid.",
        },
    ),
    object("call replay", Summary::FIELDS),
    array("call reap", Closed::FIELDS),
    array("call settle", Settled::FIELDS),
    text(
        "config export",
        "the document, which is JSON; a field that it leaves out is unset: see capconduit config --help",
    ),
    object("config export", fields! { file: String = "Where it is." }).when("FILE is given"),
    array("config diff apply", CHANGE),
    array("audit list", audit::Row::FIELDS),
    object("audit show", AUDITED),
    object("route explain", &[Field::flat(DECISION), Field::flat(JUDGEMENT)]),
    object(
        "route explain",
        &[
            Field::flat(DECISION),
            Field::flat(fields! { caller: String = "As given with --caller." }),
            Field::flat(JUDGEMENT),
        ],
    )
    .when("--caller is given"),
    object(
        "asterisk install",
        fields! {
            files: Vec<asterisk::install::Installed> = "Each file of the installation.",
            warnings: Vec<String> = "What would keep calls from being routed, or records from being told apart.",
        },
    ),
    array("asterisk check", check::Finding::FIELDS),
    object("status", status::Snapshot::FIELDS),
    report!("--by day", Day),
    report!("--by hour", Hour),
    report!("--by weekday", Weekday),
    report!("--by campaign", Campaign),
    report!("--by client", Client),
    report!("--by did", Did),
    report!("--by seller", Seller),
    report!("--by status", Status),
    text("agi serve", "what the server says"),
    array("schema", Documented::FIELDS),
    text("completion", "a shell script"),
];

/// What the database says to `route explain`.
const DECISION: &[Field] = &[
    Field::flat(fields! {
        did: String = "The number called, as E.164.",
        status: String = "proceed or reject.",
        reason: Option<String> = "Why it is rejected: see capconduit(7).",
        call_status: Option<String> = "The call status that the record would get.",
        hangup_cause: Option<i32> = "Q.850 cause of the rejection.",
        did_id: Option<i32> = "The DID.",
        user_id: Option<i32> = "Its owner.",
        campaign_id: Option<i32> = "The campaign that gets the call.",
        campaign_name: Option<String> = "The campaign's name.",
        routing_strategy: Option<String> = "priority, round_robin or weighted.",
        dial_timeout_seconds: Option<i32> = "How long a client may ring.",
        max_call_seconds: Option<i32> = "How long the call may last.",
    }),
    Field::new(
        "candidates",
        Json::List(&Json::Object(CANDIDATE)),
        "The campaign's links, in the order in which they would be tried.",
    ),
];

const CANDIDATE: &[Field] = &[
    Field::flat(fields! {
        try_order: Option<i32> = "1 is tried first; null when not eligible.",
        setting_id: i32 = "The link.",
        client_identifier: String = "The client.",
        eligible: bool = "It may get the call.",
        reason: Option<String> = "Why not: see capconduit(7).",
        forwarding_priority: i32 = "Strategy priority: lower first.",
        weight: i32 = "The share among equals.",
        live_calls: i32 = "Attempts in flight.",
        uncounted_calls: i32 = "Calls that are over, and that may still be counted: each holds a place in the total.",
        max_concurrency: i32 = "Calls at once.",
        current_total_calls: i32 = "Answered calls so far.",
        total_calls_allowed: Option<i32> = "Answered calls in all; null: unlimited.",
    }),
    // contact_state alone
    Contact::FIELDS[0],
];

/// What `route explain` says of it.
const JUDGEMENT: &[Field] = fields! {
    advice: Option<String> = "What a rejection comes from, and the command that would end it; what to do about a chosen client that is unreachable.",
    reachability: Option<String> = "Whether the client that would get the call can be reached, and what if not.",
};

const CHANGE: &[Field] = fields! {
    action: String = "add, change or remove.",
    kind: String = "user, client, endpoint, aor, auth, did, campaign or setting.",
    name: String = "What it is called.",
    changes: Value = "The fields that differ, each with from and to; secrets are not shown.",
};

/// A change with its fields one by one in place of its columns.
const AUDITED: &[Field] = &[
    Field::flat(Entry::FIELDS.split_at(10).0),
    Field::new("changes", <Vec<audit::Change<'_>>>::JSON, "Field by field."),
];

const REPORT: &[Field] = fields! {
    from: DateTime<Utc> = "The first moment.",
    to: DateTime<Utc> = "The moment after the last.",
    tz: String = "The time zone of days and hours.",
    by: Vec<String> = "What the rows are by.",
};

const TOTAL: Field = Field::new("total", Figures::JSON, "All rows together.");

shape! {
    /// A field of what a command prints.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Documented {
        /// The command.
        pub command: String,
        /// array of such objects, object, or text: what it is, about says.
        pub prints: &'static str,
        /// When it prints this; null: always.
        pub when: Option<&'static str>,
        /// id; aor.contact: in the object aor; attempts[].id: in each object of the list attempts.
        pub field: Option<String>,
        /// integer, number, string, boolean, timestamp (RFC 3339, UTC), date, object, any, or array of one of these.
        #[serde(rename = "type")]
        pub kind: Option<String>,
        /// It may be null.
        pub nullable: bool,
        /// What it says.
        pub about: String,
    }
}

/// Every field of every command, in the order in which they are printed.
#[must_use]
pub fn documented() -> Vec<Documented> {
    let mut all = Vec::new();
    for (shape, command) in SHAPES.iter().flat_map(|shape| shape.commands().map(move |command| (shape, command))) {
        let line = |prints, field, kind, nullable, about: &str| Documented {
            command: command.clone(),
            prints,
            when: shape.when,
            field,
            kind,
            nullable,
            about: about.trim().to_owned(),
        };
        let (prints, fields) = match shape.prints {
            Prints::Array(fields) => ("array", fields),
            Prints::Object(fields) => ("object", fields),
            Prints::Text(about) => {
                all.push(line("text", None, None, false, about));
                continue;
            }
        };
        all.extend(paths(fields).into_iter().map(|(path, field)| {
            let nullable = match field.json.known() {
                Json::Object(_) => true,
                Json::List(Json::Object(_)) => false,
                _ => matches!(field.json, Json::Nullable(_)),
            };
            line(prints, Some(path), Some(json_type(field.json)), nullable, field.about)
        }));
    }
    all
}

fn json_type(json: Json) -> String {
    let name = match json {
        Json::Integer => "integer",
        Json::Number => "number",
        Json::Text => "string",
        Json::Boolean => "boolean",
        Json::Time => "timestamp",
        Json::Date => "date",
        Json::Any => "any",
        Json::Counts => "object of integer",
        Json::Object(_) => "object",
        Json::List(item) => return format!("array of {}", json_type(*item)),
        Json::Nullable(json) => return json_type(*json),
    };
    name.to_owned()
}

/// `schema`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  capconduit schema client show
  capconduit schema call --json
  capconduit schema --csv >fields.csv")]
pub(crate) struct Schema {
    /// A noun, or a noun and a verb
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    command: Vec<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Schema {
    pub(crate) fn run(self) -> Result<Output> {
        let name = self.command.join(" ");
        let of_noun = format!("{name} ");
        let chosen = |d: &Documented| name.is_empty() || d.command == name || d.command.starts_with(&of_noun);
        let fields: Vec<Documented> = documented().into_iter().filter(chosen).collect();
        if fields.is_empty() {
            let error = Error::new(Kind::Usage, format!("there is no command \"{}\"", name.escape_debug()));
            return Err(error.hint("capconduit --help lists the nouns, capconduit NOUN --help the verbs."));
        }
        self.listing.of(&fields, &["command", "prints", "field", "type", "nullable", "about"], "")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_documented_and_none_besides() {
        let mut commands = BTreeSet::new();
        let mut left: Vec<(String, clap::Command)> =
            crate::cli::command().get_subcommands().map(|c| (c.get_name().to_owned(), c.clone())).collect();
        while let Some((name, command)) = left.pop() {
            if command.has_subcommands() {
                left.extend(command.get_subcommands().map(|c| (format!("{name} {}", c.get_name()), c.clone())));
            } else {
                commands.insert(name);
            }
        }
        let documented: BTreeSet<String> = SHAPES.iter().flat_map(Shape::commands).collect();
        assert_eq!(documented, commands, "SHAPES in src/cli/commands/schema.rs has a line for each command");
    }
}
