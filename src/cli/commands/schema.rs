//! `capconduit schema`: what each command prints with `--json`, field by field.
//!
//! Rows describe themselves ([`Fields`]); what a command puts together of them is declared here, a
//! line a command. A test runs every command and compares.

use clap::Args;
use serde::Serialize;

use crate::cli::args::listing::Listing;
use crate::cli::output::Output;
use crate::pg::{Field, Fields};
use crate::store::audit::Entry;
use crate::store::call::{Attempt, Call};
use crate::store::campaign::Campaign;
use crate::store::client::Client;
use crate::store::did::Did;
use crate::store::pjsip::{AOR_OPTIONS, Aor, Auth, ENDPOINT_OPTIONS, Endpoint};
use crate::store::setting::Setting;
use crate::store::status::{Hour, Link};
use crate::store::user::User;
use crate::store::verify::Difference;
use crate::{Error, Kind, Result};

/// A piece of an object; its fields stand in this order.
#[derive(Clone, Copy)]
enum Part {
    /// Fields of the object itself.
    Row(&'static [Field]),
    /// An object in it, or null.
    Object(&'static str, &'static str, &'static [Part]),
    /// A list of objects in it.
    List(&'static str, &'static str, &'static [Part]),
}
use Part::{List, Object, Row};

/// What a command prints.
struct Shape {
    command: &'static str,
    prints: Prints,
    /// When it prints this, where it does not always.
    when: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Prints {
    Array(&'static [Part]),
    Object(&'static [Part]),
    /// The object of `report`, with these rows in it.
    Report(&'static [Part]),
    /// Not JSON, whatever is asked for: what it is.
    Text(&'static str),
}

const fn array(command: &'static str, parts: &'static [Part]) -> Shape {
    Shape { command, prints: Prints::Array(parts), when: None }
}

const fn object(command: &'static str, parts: &'static [Part]) -> Shape {
    Shape { command, prints: Prints::Object(parts), when: None }
}

const fn text(command: &'static str, about: &'static str) -> Shape {
    Shape { command, prints: Prints::Text(about), when: None }
}

macro_rules! fields {
    ($($name:ident: $type:ty = $about:literal,)*) => {
        &[$(Field { name: stringify!($name), rust_type: stringify!($type), about: $about },)*]
    };
}

/// `report`, whose rows begin with what they are by.
const fn report(when: &'static str, row: &'static [Part]) -> Shape {
    Shape { command: "report", prints: Prints::Report(row), when: Some(when) }
}

/// A command has one line, or one for each thing that it may print.
const SHAPES: &[Shape] = &[
    object("db migrate", &[List("applied", "The steps that were applied now.", &[Row(APPLIED)])]),
    array("db status", &[Row(STEP)]),
    object("db seed", &[Row(fields! { loaded: bool = "False where the sample data was there already.", })]),
    array("db roles", &[Row(ROLE)]),
    array("db verify", &[Row(Difference::FIELDS)]),
    array("user list", &[Row(User::FIELDS)]),
    object("user show", &[Row(User::FIELDS)]),
    object("user add", &[Row(User::FIELDS)]),
    object("user set", &[Row(User::FIELDS)]),
    object("user enable", &[Row(User::FIELDS)]),
    object("user disable", &[Row(User::FIELDS)]),
    object("user passwd", &[Row(User::FIELDS)]),
    Shape { when: Some("--verify is given"), ..object("user passwd", &[Row(MATCHES)]) },
    object("user remove", &[Row(User::FIELDS)]),
    array("client list", &[Row(Client::FIELDS)]),
    object("client show", CLIENT),
    object("client add", CLIENT),
    object("client set", CLIENT),
    object("client enable", CLIENT),
    object("client disable", CLIENT),
    object("client remove", CLIENT),
    array("pjsip list", PJSIP),
    object("pjsip show", PJSIP),
    object("pjsip add", PJSIP),
    object("pjsip set", PJSIP),
    object("pjsip remove", PJSIP),
    array("did list", &[Row(Did::FIELDS)]),
    object("did show", &[Row(Did::FIELDS)]),
    object("did add", &[Row(Did::FIELDS)]),
    object("did set", &[Row(Did::FIELDS)]),
    object("did enable", &[Row(Did::FIELDS)]),
    object("did disable", &[Row(Did::FIELDS)]),
    object("did remove", &[Row(Did::FIELDS)]),
    text("did export", "CSV; with --json it needs FILE"),
    Shape {
        when: Some("FILE is given"),
        ..object("did export", &[Row(fields! { file: String = "Where they are.", dids: i64 = "How many.", })])
    },
    object("did import", &[Row(IMPORTED_DIDS)]),
    array("campaign list", &[Row(Campaign::FIELDS)]),
    object("campaign show", CAMPAIGN),
    object("campaign add", CAMPAIGN),
    object("campaign set", CAMPAIGN),
    object("campaign enable", CAMPAIGN),
    object("campaign pause", CAMPAIGN),
    object("campaign disable", CAMPAIGN),
    object("campaign remove", CAMPAIGN),
    array("setting list", &[Row(Setting::FIELDS)]),
    object("setting show", &[Row(Setting::FIELDS)]),
    object("setting add", &[Row(Setting::FIELDS)]),
    object("setting set", &[Row(Setting::FIELDS)]),
    object("setting enable", &[Row(Setting::FIELDS)]),
    object("setting disable", &[Row(Setting::FIELDS)]),
    object("setting remove", &[Row(Setting::FIELDS)]),
    array("call list", &[Row(Call::FIELDS)]),
    object("call show", &[Row(Call::FIELDS), ATTEMPTS]),
    Shape { when: Some("the call is up and has no record yet"), ..object("call show", &[Row(UNRECORDED), ATTEMPTS]) },
    object("call explain", STORY),
    array("call active", &[Row(Attempt::FIELDS)]),
    array("call lost", &[Row(Attempt::FIELDS)]),
    text("call export", "CSV; with --json it needs FILE"),
    Shape {
        when: Some("FILE is given"),
        ..object("call export", &[Row(fields! { file: String = "Where they are.", calls: i64 = "How many.", })])
    },
    object("call import", &[Row(IMPORTED_CALLS)]),
    object("call replay", &[Row(REPLAYED)]),
    array("call reap", &[Row(CLOSED)]),
    array("call settle", &[Row(SETTLED)]),
    text(
        "config export",
        "the document, which is JSON; a field that it leaves out is unset: see capconduit config --help",
    ),
    Shape {
        when: Some("FILE is given"),
        ..object("config export", &[Row(fields! { file: String = "Where it is.", })])
    },
    array("config diff", &[Row(CHANGE)]),
    array("config apply", &[Row(CHANGE)]),
    array("audit list", &[Row(crate::cli::commands::audit::FIELDS), Row(Entry::FIELDS)]),
    object("audit show", AUDITED),
    object("route explain", &[Row(DECISION), CANDIDATES, ADVICE, REACHABILITY]),
    Shape {
        when: Some("--caller is given"),
        ..object("route explain", &[Row(DECISION), CANDIDATES, CALLER, ADVICE, REACHABILITY])
    },
    object("asterisk install", &[List("files", "Each file of the installation.", &[Row(INSTALLED)]), WARNINGS]),
    array("asterisk check", &[Row(CHECKED)]),
    object("status", STATUS),
    report("--by day", &[Row(fields! { day: NaiveDate = "The day.", }), Row(FIGURES)]),
    report("--by hour", &[Row(fields! { hour: String = "The hour of the day, 00:00 to 23:00.", }), Row(FIGURES)]),
    report("--by weekday", &[Row(fields! { weekday: String = "The day of the week.", }), Row(FIGURES)]),
    report("--by campaign", &[Row(BY_CAMPAIGN), Row(FIGURES)]),
    report(
        "--by client",
        &[
            Row(
                fields! { client_identifier: Option<String> = "A client that calls were offered to, counted by how they ended there; null: none.", },
            ),
            Row(FIGURES),
        ],
    ),
    report("--by did", &[Row(fields! { incoming_did_number: String = "The number called.", }), Row(FIGURES)]),
    report("--by seller", &[Row(fields! { username: Option<String> = "The seller; null: none.", }), Row(FIGURES)]),
    report("--by status", &[Row(fields! { call_status: String = "The call status.", }), Row(FIGURES)]),
    text("agi serve", "what the server says"),
    array("schema", &[Row(Documented::FIELDS)]),
    text("completion", "a shell script"),
];

const CLIENT: &[Part] = &[
    Row(Client::FIELDS),
    Object("endpoint", "Its SIP side: the endpoint.", &[Row(Endpoint::FIELDS), Row(ENDPOINT_OPTIONS)]),
    Object("aor", "Where the endpoint is.", &[Row(Aor::FIELDS), Row(AOR_OPTIONS)]),
    Object("auth", "What Asterisk authenticates with.", &[Row(Auth::FIELDS)]),
];

const PJSIP: &[Part] = &[
    Row(fields! {
        client_id: i32 = "The client.",
        client_identifier: String = "The client's identifier.",
        status: String = "The client's status: Asterisk does not see an inactive one.",
    }),
    Object("endpoint", "Its endpoint.", &[Row(Endpoint::FIELDS), Row(ENDPOINT_OPTIONS)]),
    Object("aor", "Where the endpoint is.", &[Row(Aor::FIELDS), Row(AOR_OPTIONS)]),
    Object("auth", "What Asterisk authenticates with.", &[Row(Auth::FIELDS)]),
    Row(fields! { problems: Vec<String> = "What keeps calls from it.", }),
    Row(CONTACT_STATE),
    Row(
        fields! { contact_rtt_ms: Option<f64> = "Milliseconds that the contact's last answer took, where Asterisk says so.", },
    ),
];

const CAMPAIGN: &[Part] =
    &[Row(Campaign::FIELDS), List("settings", "The clients that get its calls.", &[Row(Setting::FIELDS)])];

const ATTEMPTS: Part = List("attempts", "What was tried, in order.", &[Row(Attempt::FIELDS)]);

const STORY: &[Part] = &[
    Row(fields! {
        id: Option<i64> = "The record; null: the call has none yet.",
        asterisk_uniqueid: Option<String> = "Names the call.",
        call_status: Option<String> = "As in the record.",
        timestamp_start: DateTime<Utc> = "The call came in; the first attempt, where there is no record.",
        arrival: String = "From whom and on what it came in, for people, as all that is told here.",
    }),
    List(
        "attempts",
        "What was tried, in order.",
        &[Row(fields! {
            attempt_number: i32 = "1 for the call's first.",
            claimed_at: DateTime<Utc> = "When it was claimed.",
            client_identifier: Option<String> = "The client; null where removed since.",
            chosen: String = "Why this client.",
            passed_over: Vec<String> = "Each link that could not get the call, and why.",
            outcome: String = "How it ended.",
        })],
    ),
    Row(fields! {
        timestamp_end: Option<DateTime<Utc>> = "The call ended.",
        ending: String = "How the call ended, and why.",
        passed_over: Vec<String> = "A rejection: each link of the campaign, and why it could not get the call.",
        advice: Option<String> = "A rejection: what a call would meet now, what was changed since, and the command that would change it. A call that no client answered: what to do about the client.",
    }),
];

const UNRECORDED: &[Field] = fields! {
    id: Option<i64> = "Null.",
    call_status: Option<String> = "Null.",
    asterisk_uniqueid: String = "Names the call.",
};

const APPLIED: &[Field] = fields! {
    name: String = "The step.",
    replaced: bool = "It replaced an older text of a routine.",
    milliseconds: i64 = "How long it took.",
};

const STEP: &[Field] = fields! {
    name: String = "0001_v3_tables, routing, ...",
    state: String = "pending, applied, changed (a routine with another text), mismatch (a migration with another text) or unknown (a newer program's).",
    applied_at: Option<DateTime<Utc>> = "When it was applied last.",
};

const REPLAYED: &[Field] = fields! {
    delivered: i64 = "Delivered now.",
    already_delivered: i64 = "Had been delivered before.",
    failed: i64 = "Refused for good, and kept in failed/.",
    damaged: i64 = "Not readable as a record, and kept in damaged/.",
    remaining: i64 = "Left in the spool.",
    busy: bool = "Another replay was at work: nothing was done.",
    spool_dir: String = "The spool folder.",
};

const CLOSED: &[Field] = fields! {
    id: i64 = "The attempt.",
    asterisk_uniqueid: String = "Names the call.",
    system_name: Option<String> = "systemname of the Asterisk that had the call.",
    client_identifier: Option<String> = "The client; null where removed since.",
    claimed_at: DateTime<Utc> = "When it was claimed.",
    release_reason: String = "expired, asterisk_restarted or channel_gone.",
};

const SETTLED: &[Field] = fields! {
    asterisk_uniqueid: String = "Names the call.",
    claimed_at: DateTime<Utc> = "When its last client was claimed.",
    campaign_name: Option<String> = "The campaign; null where removed since.",
    client_identifier: Option<String> = "The client; null where removed since.",
    call_status: String = "ANSWERED or FAILED.",
    billsec_seconds: Option<i32> = "Seconds with the client; null: nobody knows.",
    id: Option<i64> = "The record; null with --dry-run.",
};

const DECISION: &[Field] = fields! {
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
};

const CANDIDATES: Part = List(
    "candidates",
    "The campaign's links, in the order in which they would be tried.",
    &[
        Row(fields! {
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
        Row(CONTACT_STATE),
    ],
);

const CONTACT_STATE: &[Field] = fields! {
    contact_state: String = "What Asterisk says of the client's contact: reachable, unreachable, not_qualified, unknown or not_asked.",
};

const REACHABILITY: Part = Row(
    fields! { reachability: Option<String> = "Whether the client that would get the call can be reached, and what if not.", },
);

const ROLE: &[Field] = fields! {
    role: String = "The database login.",
    purpose: String = "asterisk, agi, admin, report, seller_group or seller.",
    username: Option<String> = "The seller.",
    state: String = "created, there, rotated, removed or missing.",
    file: Option<String> = "The env file that has its URL.",
};

const IMPORTED_DIDS: &[Field] = fields! {
    added: i64 = "New DIDs.",
    changed: i64 = "DIDs that were there and differed.",
    unchanged: i64 = "DIDs that were there.",
};

const IMPORTED_CALLS: &[Field] = fields! {
    added: i64 = "New records.",
    already_there: i64 = "Records that were there.",
    skipped: i64 = "Lines without asterisk_uniqueid.",
};

const CHANGE: &[Field] = fields! {
    action: String = "add, change or remove.",
    kind: String = "user, client, endpoint, aor, auth, did, campaign or setting.",
    name: String = "What it is called.",
    changes: Value = "The fields that differ, each with from and to; secrets are not shown.",
};

const AUDITED: &[Part] = &[
    Row(fields! {
        id: i64 = "Key.",
        at: DateTime<Utc> = "When.",
        login: String = "The database login that made it.",
        operator: Option<String> = "The person, as capconduit says; null for other programs.",
        command: Option<String> = "The command, as capconduit says; null for other programs.",
        program: Option<String> = "The program, as it says itself.",
        action: String = "insert, update, delete or truncate.",
        table_name: String = "The table.",
        row_id: Option<String> = "The row's key; null where many rows went at once.",
        row_name: Option<String> = "The row's name.",
    }),
    List(
        "changes",
        "Field by field.",
        &[Row(fields! {
            field: String = "The column.",
            before: Value = "What it was; null where there was nothing.",
            after: Value = "What it is.",
        })],
    ),
];

const ADVICE: Part = Row(
    fields! { advice: Option<String> = "What a rejection comes from, and the command that would end it; what to do about a chosen client that is unreachable.", },
);

const MATCHES: &[Field] = fields! { matches: bool = "The password is the user's.", };

const CHECKED: &[Field] = fields! {
    area: String = "The part of the system: files, server, clients, agi, database or spool.",
    check: String = "What was looked at.",
    state: String = "ok, info, unknown (it could not be looked at), warning or error.",
    message: String = "What is so, and why it matters.",
    remedy: Option<String> = "What to do about it.",
};

const STATUS: &[Part] = &[
    Row(fields! { at: DateTime<Utc> = "When this was looked at.", }),
    Object(
        "database",
        "The database.",
        &[Row(fields! {
            reachable: bool = "It answers.",
            version: Option<String> = "PostgreSQL's.",
            role: Option<String> = "primary or standby.",
            latency_ms: Option<f64> = "Milliseconds that one question took.",
            schema_up_to_date: Option<bool> = "Null where this login may not know.",
            error: Option<String> = "Why it does not answer.",
        })],
    ),
    Object(
        "asterisk",
        "Asterisk, all null where neither its console nor ARI can be asked.",
        &[Row(fields! {
            up: Option<bool> = "It answers.",
            system_name: Option<String> = "systemname of asterisk.conf.",
            version: Option<String> = "Its version.",
            started_at: Option<DateTime<Utc>> = "When it was started.",
            channels: Option<usize> = "Channels that are up.",
            error: Option<String> = "Why it does not answer.",
        })],
    ),
    Object(
        "spool",
        "Call records that are still to be delivered.",
        &[Row(fields! {
            dir: String = "The spool folder.",
            waiting: Option<usize> = "Records that wait.",
            oldest_seconds: Option<u64> = "The age of the oldest.",
            failed: Option<usize> = "Refused for good, and kept in failed/.",
            damaged: Option<usize> = "Not readable as a record, and kept in damaged/.",
            error: Option<String> = "Why the folder cannot be read.",
        })],
    ),
    Object(
        "attempts",
        "Attempts that nobody has released; null where the database is away, as what follows.",
        &[Row(fields! {
            live: i64 = "Calls in progress.",
            expired: i64 = "Past their lease: they hold no place among calls at once, and wait for call reap.",
        })],
    ),
    List("links", "The links with what counts against their caps.", &[Row(Link::FIELDS), Row(CONTACT_STATE)]),
    Object(
        "calls",
        "The calls since the beginning of the day, or --since.",
        &[
            Row(fields! { since: DateTime<Utc> = "From when on.", tz: String = "The time zone of the day.", }),
            Row(FIGURES),
            Row(fields! { by_status: Map<String, i64> = "How many calls have each call status.", }),
        ],
    ),
    List("hours", "The last 24 hours.", &[Row(Hour::FIELDS)]),
    List(
        "findings",
        "What needs attention.",
        &[Row(fields! { check: String = "What was looked at.", message: String = "What is wrong.", })],
    ),
    List(
        "notices",
        "Active DIDs that are not sold as somebody has left it: paused, suspended, in no campaign.",
        &[Row(fields! { check: String = "What was looked at.", message: String = "What is so.", })],
    ),
];

const REPORT: &[Field] = fields! {
    from: DateTime<Utc> = "The first moment.",
    to: DateTime<Utc> = "The moment after the last.",
    tz: String = "The time zone of days and hours.",
    by: Vec<String> = "What the rows are by.",
};

const TOTAL: Part = Object("total", "All rows together.", &[Row(FIGURES)]);

const BY_CAMPAIGN: &[Field] = fields! {
    campaign_id: Option<i32> = "The campaign; null: none.",
    campaign_name: Option<String> = "Its name.",
};

const FIGURES: &[Field] = fields! {
    calls: i64 = "All calls.",
    answered: i64 = "ANSWERED.",
    abandoned: i64 = "ABANDONED.",
    noanswer: i64 = "NOANSWER.",
    busy: i64 = "BUSY.",
    failed: i64 = "FAILED.",
    rejected: i64 = "REJECTED_CC and the other rejections.",
    other: i64 = "Any other call status.",
    answer_rate: Option<f64> = "Answered calls in percent of calls.",
    mean_billsec: Option<f64> = "Mean seconds with a client, of the answered calls.",
    billed_seconds: i64 = "Seconds with a client.",
    billed_minutes: f64 = "The same in minutes.",
    first_call: Option<DateTime<Utc>> = "When the first of them came in.",
    last_call: Option<DateTime<Utc>> = "When the last of them came in.",
};

const CALLER: Part = Row(fields! { caller: String = "As given with --caller.", });

const INSTALLED: &[Field] = fields! {
    path: String = "Where it is.",
    change: String = "created, unchanged or replaced.",
    backup: Option<String> = "Where the file it replaced is.",
};

const WARNINGS: Part = Row(
    fields! { warnings: Vec<String> = "What would keep calls from being routed, or records from being told apart.", },
);

/// A field of what a command prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Documented {
    /// `client list`
    pub command: &'static str,
    /// `array` of such objects, `object`, or `text`.
    pub prints: &'static str,
    /// When it prints this, where it does not always.
    pub when: Option<&'static str>,
    /// `id`; `aor.contact` in the object `aor`; `attempts[].id` in each object of the list `attempts`.
    pub field: Option<String>,
    /// `integer`, `number`, `string`, `boolean`, `timestamp`, `date`, `object`, `array of ...`, `any`
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// It may be null.
    pub nullable: bool,
    /// What it says.
    pub about: String,
}

impl Fields for Documented {
    const FIELDS: &'static [Field] = fields! {
        command: String = "The command.",
        prints: String = "array of such objects, object, or text: what it is, about says.",
        when: Option<String> = "When it prints this; null: always.",
        field: Option<String> = "id; aor.contact: in the object aor; attempts[].id: in each object of the list attempts.",
        type: Option<String> = "integer, number, string, boolean, timestamp (RFC 3339, UTC), date, object, any, or array of one of these.",
        nullable: bool = "It may be null.",
        about: String = "What it says.",
    };
}

/// Every field of every command, in the order in which they are printed.
#[must_use]
pub fn documented() -> Vec<Documented> {
    let mut all = Vec::new();
    for shape in SHAPES {
        let (prints, parts) = match shape.prints {
            Prints::Array(parts) => ("array", parts.to_vec()),
            Prints::Object(parts) => ("object", parts.to_vec()),
            Prints::Report(row) => ("object", vec![Row(REPORT), List("rows", "The counts.", row), TOTAL]),
            Prints::Text(_) => ("text", Vec::new()),
        };
        let line = |field, kind, nullable, about: &str| Documented {
            command: shape.command,
            prints,
            when: shape.when,
            field,
            kind,
            nullable,
            about: about.to_owned(),
        };
        if let Prints::Text(about) = shape.prints {
            all.push(line(None, None, false, about));
        }
        let mut add = |field, kind: &str, nullable, about: &str| {
            all.push(line(Some(field), Some(kind.to_owned()), nullable, about))
        };
        walk(&parts, "", &mut add);
    }
    all
}

fn walk(parts: &[Part], prefix: &str, add: &mut dyn FnMut(String, &str, bool, &str)) {
    for part in parts {
        match part {
            Row(fields) => {
                for field in *fields {
                    let (kind, nullable) = json_type(field.rust_type);
                    add(format!("{prefix}{}", field.name), &kind, nullable, field.about.trim());
                }
            }
            Object(name, about, parts) => {
                add(format!("{prefix}{name}"), "object", true, about);
                walk(parts, &format!("{prefix}{name}."), add);
            }
            List(name, about, parts) => {
                add(format!("{prefix}{name}"), "array of object", false, about);
                walk(parts, &format!("{prefix}{name}[]."), add);
            }
        }
    }
}

/// The JSON type of what is serialised from a Rust type, and whether it may be null.
fn json_type(rust: &str) -> (String, bool) {
    let inner = |outer: &str| rust.strip_prefix(outer).and_then(|rest| rest.strip_prefix('<')?.strip_suffix('>'));
    if let Some(some) = inner("Option") {
        return (json_type(some).0, true);
    }
    if let Some(item) = inner("Vec") {
        return (format!("array of {}", json_type(item).0), false);
    }
    if rust == "Map<String, i64>" {
        return ("object of integer".to_owned(), false);
    }
    let kind = match rust {
        "i16" | "i32" | "i64" | "u32" | "u64" | "usize" => "integer",
        "f32" | "f64" => "number",
        "bool" => "boolean",
        "DateTime<Utc>" => "timestamp",
        "NaiveDate" => "date",
        "Value" | "serde_json::Value" => "any",
        _ => "string",
    };
    (kind.to_owned(), false)
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
    fn types() {
        let of = |rust| json_type(rust);
        assert_eq!(of("Option<DateTime<Utc>>"), ("timestamp".into(), true));
        assert_eq!(of("Vec<String>"), ("array of string".into(), false));
        assert_eq!(of("i64"), ("integer".into(), false));
        assert_eq!(of("Text"), ("string".into(), false));
    }

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
        let documented: BTreeSet<String> = SHAPES.iter().map(|shape| shape.command.to_owned()).collect();
        assert_eq!(documented, commands, "SHAPES in src/cli/commands/schema.rs has a line for each command");
    }
}
