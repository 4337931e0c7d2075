//! `capconduit audit`: who changed what.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::args::input::integer;
use crate::cli::args::listing::{Known, Listing};
use crate::cli::args::period::Period;
use crate::cli::env::Env;
use crate::cli::output::{self, Output};
use crate::model::shape::Fields;
use crate::store::audit::{self, Entry, Filter};
use crate::words::nearest;
use crate::{Error, Kind, Result, shape, text};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit audit list --noun setting --name 'Alice Priority'
  capconduit audit list --login webapp --from 2026-07-01 --to 2026-07-31
  capconduit audit show 4711

The database records every change of configuration itself, whoever makes it: capconduit, the web back
end, psql. Operator and command are what capconduit says of itself. Passwords are never recorded, only
that they changed. Times are UTC.";

// as cc_tables (sql/routines/tables.sql) has them: a test holds them equal
const NOUNS: [&str; 8] = ["user", "client", "pjsip", "did", "campaign", "setting", "call", "db"];
const TABLES: [&str; 11] = [
    "users",
    "clients",
    "pjsip_endpoints",
    "pjsip_aors",
    "pjsip_auths",
    "dids",
    "campaigns",
    "campaign_dids",
    "campaign_client_settings",
    "call_logs",
    "database_roles",
];
const ACTIONS: [&str; 4] = ["insert", "update", "delete", "truncate"];

verbs! {
    /// The verbs of `audit`.
    enum Verb {
        /// List changes: the newest 50, or the first of --sort, or --limit of them
        List(Box<List>),
        /// Show a change, field by field
        Show(Show),
    }
}

/// `audit list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    period: Period,
    /// Only of this noun's tables
    #[arg(long, value_parser = NOUNS, conflicts_with = "table")]
    noun: Option<String>,
    /// Only of this table
    #[arg(long, value_parser = TABLES)]
    table: Option<String>,
    /// Only of what has this name: username, identifier, number or campaign; "CAMPAIGN / CLIENT"
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only by this person
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Only by this database login
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// Only this kind of change
    #[arg(long, value_parser = ACTIONS)]
    action: Option<String>,
    /// Only by capconduit commands that hold this text
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(mut self, env: &mut Env<'_>) -> Result<Output> {
        let page = self.listing.page::<Entry>(Short::FIELDS)?;
        self.period.check()?;
        let mut db = env.connect()?;
        let (from, to) = self.period.bounds(&mut db)?;
        let rules = env.config.number_rules()?;
        let number = self.name.as_deref().and_then(|name| rules.normalize(name)).map(|number| number.to_string());
        let filter = Filter {
            from,
            to,
            noun: self.noun,
            table: self.table,
            names: self.name.iter().cloned().chain(number).collect(),
            operator: self.operator,
            login: self.login,
            action: self.action,
            command: self.command,
        };
        let entries = page.cut(audit::list(&mut db, &filter, page.asked()).map_err(explain)?, env);
        if let Some(name) = self.name.filter(|_| entries.is_empty()) {
            let known = audit::names(&mut db)?;
            let is_known =
                known.iter().any(|known| filter.names.iter().any(|name| *name.to_lowercase() == known.to_lowercase()));
            if !is_known {
                let near = nearest(&name, &known).map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
                env.progress(&format!("note: nothing that has been changed is called \"{name}\"{near}"));
            }
        }
        let rows = entries.into_iter().map(|entry| Row { short: Short { change: compact(&entry) }, entry });
        let rows = rows.map(|row| output::to_value(&row)).collect::<Result<Vec<Value>>>()?;
        let fields: Vec<Known<'_>> = Short::FIELDS.iter().chain(Entry::FIELDS).map(Known::from).collect();
        self.listing.of_values(
            rows,
            &fields,
            &["id", "at", "login", "operator", "action", "table_name", "row_name", "change", "command"],
            "No changes.",
        )
    }
}

shape! {
    /// What a list says of a change besides its [`Entry`].
    struct Short {
        /// What was changed, or of a new or removed row its values, in short, for people: cut after 60 characters.
        change: String,
    }
}

shape! {
    /// A change in a list.
    pub(crate) struct Row {
        #[serde(flatten)]
        short: Short,
        #[serde(flatten)]
        entry: Entry,
    }
}

/// `status active -> paused, password changed`; for an addition or a removal, its values.
fn compact(entry: &Entry) -> String {
    let (before, after) = (entry.before.as_ref(), entry.after.as_ref());
    let value = |side: Option<&Value>, column: &str| match side.and_then(|side| side.get(column)) {
        None | Some(Value::Null) if column == "total_calls_allowed" => "unlimited".to_owned(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let one = |column: &String| match (value(before, column), value(after, column)) {
        // masked: only that it has changed is known
        (before, after) if before == after => format!("{column} changed"),
        (before, after) => format!("{column} {before} -> {after}"),
    };
    let whole = match entry.action.as_str() {
        "update" => entry.columns.iter().map(one).collect::<Vec<_>>().join(", "),
        // its name is in row_name, and ids say nothing to people
        _ => after.or(before).and_then(Value::as_object).map_or_else(String::new, |fields| {
            let said = fields.iter().filter(|(name, value)| {
                !value.is_null()
                    && !["id", "created_at"].contains(&name.as_str())
                    && !name.ends_with("_id")
                    && value.as_str().is_none_or(|text| entry.row_name.as_deref() != Some(text))
            });
            said.map(|(name, _)| format!("{name} {}", value(after.or(before), name))).collect::<Vec<_>>().join(", ")
        }),
    };
    let short = text::truncate(&whole, 60);
    format!("{short}{}", if short.len() < whole.len() { "..." } else { "" })
}

/// What a seller's login is told.
fn explain(error: Error) -> Error {
    match error.kind {
        Kind::Permission => error.hint("The audit is the administrator's to read."),
        _ => error,
    }
}

/// `audit show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The change's id, as audit list shows it
    #[arg(value_parser = integer::<1>)]
    id: i64,
}

shape! {
    /// A field before and after.
    pub(crate) struct Change<'a> {
        /// The column.
        field: &'a str,
        /// What it was; null where there was nothing.
        before: &'a Value,
        /// What it is.
        after: &'a Value,
    }
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let found = audit::find(&mut env.connect()?, self.id).map_err(explain)?;
        let entry = found.ok_or_else(|| Error::not_found("change", self.id))?;
        let (before, after) = (entry.before.clone().unwrap_or_default(), entry.after.clone().unwrap_or_default());
        let side = if after.is_object() { &after } else { &before };
        let changes = side.as_object().into_iter().flat_map(|fields| fields.keys());
        let changes: Vec<Change<'_>> =
            changes.map(|field| Change { field, before: &before[field], after: &after[field] }).collect();
        let mut shown = output::to_value(&entry)?;
        if let Value::Object(fields) = &mut shown {
            fields.retain(|name, _| !["columns", "before", "after"].contains(&name.as_str()));
            fields.insert("changes".to_owned(), json!(changes));
        }
        Ok(Output::Item(shown))
    }
}
