//! `capconduit config`: the whole configuration as one document.

mod document;
mod plan;
mod planner;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use postgres::GenericClient;

use crate::cli::commands::config::planner::Planner;
use crate::cli::env::Env;
use crate::cli::find::unknown;
use crate::cli::output::{Output, file};
use crate::confirm::Confirmed;
use crate::store::document::Schema;
use crate::store::noun::Noun;
use crate::{Error, Kind, Result, store, words};

use document::{Problems, Reader};
use plan::{MANY, Plan};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit config export /etc/capconduit/config.json
  capconduit config diff config.json
  capconduit config apply config.json --dry-run
  capconduit config export --user alice --with-secrets alice.json
  capconduit config apply --prune --yes config.json

The document names everything by natural keys and describes each object as a whole: a field that is
left out has its default, which for most is nothing, as if null stood there; a secret that is left
out stays. A list or part that is left out (dids, settings, endpoint, aor, auth) is not spoken of;
the dids of a campaign are the whole list, and apply asks before one goes. What is not named stays,
but for --prune. A document of version 1 is read as before: there, a field that is left out stays
as it is, which serves to change some fields only.
A new name is a new object: rename with campaign set --name or did set --number first.
Where a DID feeds several active campaigns, the one that was added first gets its calls: new ones
are added in the document's order.
Counters, call records, ids and times are no part of it.";

verbs! {
    /// The verbs of `config`.
    enum Verb {
        /// Print the configuration as a document, or write it to a file
        Export(Export),
        /// Show what apply would do; exit code 1 where there is anything to do
        Diff(Diff),
        /// Bring the database to what a document says, as a whole or not at all
        Apply(Apply),
    }
}

/// `config export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to write; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Only this seller with DIDs, campaigns and the clients that they use; may be given several times
    #[arg(long, value_name = "SELLER")]
    user: Vec<String>,
    /// With password hashes and SIP passwords; the file is its owner's only
    #[arg(long)]
    with_secrets: bool,
}

impl Export {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let schema = store::document::schema(&mut db)?;
        let state = store::document::read(&mut db, &schema)?;
        drop(db);
        let users = state.get(&Noun::User);
        for user in &self.user {
            if !users.is_some_and(|users| users.contains_key(&vec![user.clone()])) {
                let known: Vec<String> = users.into_iter().flatten().map(|(key, _)| key[0].clone()).collect();
                return Err(unknown("user", user, &known));
            }
        }
        let scope: Option<BTreeSet<String>> = (!self.user.is_empty()).then(|| self.user.into_iter().collect());
        let document = document::write(&schema, &state, scope.as_ref(), self.with_secrets);
        let lost: Vec<String> = document::order_lost(&state, scope.as_ref()).into_iter().collect();
        if let Some(dids) = words::counted("DID", &lost) {
            env.progress(&format!(
                "warning: more than one active campaign has {dids}. The one that was added first gets the calls; the \
                 document has them by name, which is how an empty database would get them"
            ));
        }
        let text = format!("{document:#}\n");
        if file::is_stream(&self.file) {
            return Ok(Output::Text(text));
        }
        file::replace(&self.file, self.with_secrets, |out| {
            out.write_all(text.as_bytes()).map_err(|e| Error::io("write", &self.file, &e))
        })?;
        let count = |name: &str, noun| words::plural(document[name].as_array().map_or(0, Vec::len), noun);
        Output::done(
            format!(
                "{}, {}, {} and {} written to {}.",
                count("users", "user"),
                count("clients", "client"),
                count("dids", "DID"),
                count("campaigns", "campaign"),
                self.file.display()
            ),
            &serde_json::json!({ "file": self.file }),
        )
    }
}

/// A document as text, and whether to prune.
struct Wanted {
    text: String,
    prune: bool,
}

impl Wanted {
    fn read(env: &mut Env<'_>, file: &std::path::Path, prune: bool) -> Result<Wanted> {
        Ok(Wanted { text: file::read(env, file)?, prune })
    }

    /// The plan as of this moment.
    fn plan(&self, env: &mut Env<'_>, db: &mut impl GenericClient) -> Result<(Plan, Schema)> {
        let document = document::parse(&self.text)?;
        let rules = env.config.number_rules()?;
        let schema = store::document::schema(db)?;
        let state = store::document::read(db, &schema)?;
        if self.text.len() > MANY * 100 {
            env.progress("comparing the document with the database ...");
        }
        let mut reader = Reader {
            schema: &schema,
            state: &state,
            rules: &rules,
            problems: Problems::default(),
            document: document::Document::default(),
        };
        reader.read(document);
        let Reader { problems, document, .. } = reader;
        let mut planner = Planner::new(&schema, &state, &document, problems);
        let plan = planner.plan(self.prune);
        planner.problems.refuse()?;
        Ok((plan, schema))
    }
}

/// What people are told beside the plan.
fn beside(env: &mut Env<'_>, plan: &Plan) {
    if let Some(settings) = words::counted("setting", &plan.unlimited()) {
        env.progress(&format!(
            "warning: {settings} would have no total_calls_allowed any more, and get calls without end: what a document \
             leaves out has its default"
        ));
    }
    match plan.unnamed {
        0 => {}
        1 => env.progress("1 object that the document does not name stays; --prune removes it"),
        n => env.progress(&format!("{n} objects that the document does not name stay; --prune removes them")),
    }
}

/// `config diff`
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The document; - is standard input
    file: PathBuf,
    /// As apply --prune would
    #[arg(long)]
    prune: bool,
}

impl Diff {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let wanted = Wanted::read(env, &self.file, self.prune)?;
        let mut db = env.connect()?;
        let (plan, _) = wanted.plan(env, &mut db)?;
        beside(env, &plan);
        if plan.changes.is_empty() {
            return Output::done("No difference.", &plan.value());
        }
        let error = Error::failed(format!("the database differs from the document: {}", plan.counted()))
            .hint("capconduit config apply makes it so.");
        let text = format!("{}\n{}: capconduit config apply makes it so.\n", plan.lines(), plan.counted());
        Ok(Output::Findings { output: Box::new(Output::Report { value: plan.value(), text }), error })
    }
}

/// The lines of what somebody agreed to remove.
type Agreed = (BTreeSet<String>, Confirmed);

/// `config apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The document; - is standard input
    file: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Remove what the document does not name; in a document of some sellers, only of what is theirs
    #[arg(long)]
    prune: bool,
    /// Remove it even with calls in flight; call records then name none of it
    #[arg(long, requires = "prune")]
    force: bool,
}

impl Apply {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let wanted = Wanted::read(env, &self.file, self.prune)?;
        let mut db = env.connect()?;
        let mut agreed: Option<Agreed> = None;
        loop {
            let mut tx = env.begin(&mut db)?;
            store::document::lock(&mut tx)?;
            let (plan, schema) = wanted.plan(env, &mut tx)?;
            if agreed.is_none() {
                beside(env, &plan);
            }
            if plan.changes.is_empty() {
                return Output::done("No difference: nothing was changed.", &plan.value());
            }
            if !self.force {
                plan.refuse_in_flight(&mut tx)?;
            }
            if self.dry_run {
                let message = format!("{}\n{}; nothing was changed (--dry-run).", plan.lines(), plan.counted());
                return Output::done(message, &plan.value());
            }
            let losses = plan.losses();
            match &agreed {
                None if !losses.is_empty() => {
                    // no transaction is open while a person thinks
                    tx.rollback()?;
                    agreed = Some(self.ask(env, &plan, losses)?);
                    continue;
                }
                Some((expected, _)) if !losses.is_subset(expected) => {
                    let what = "the database has changed meanwhile: something else is to be removed now";
                    return Err(Error::conflict(what).hint("Nothing was changed. Try again."));
                }
                _ => {}
            }
            let confirmed = agreed.as_ref().map(|(_, confirmed)| confirmed);
            let before = crate::store::pjsip::names_of_nothing(&mut tx, None)?;
            plan.carry_out(&mut tx, &schema, confirmed, |line| env.progress(line))?;
            crate::cli::commands::pjsip::side::refuse_conflicts(&mut tx, None, &before)?;
            tx.commit()?;
            return Output::done(format!("{}\n{}.", plan.lines(), plan.counted()), &plan.value());
        }
    }

    /// Asks before anything is removed.
    fn ask(&self, env: &mut Env<'_>, plan: &Plan, losses: BTreeSet<String>) -> Result<Agreed> {
        if env.interactive && !env.yes && file::is_stream(&self.file) {
            return Err(Error::new(Kind::Usage, "the document came from the terminal: nobody is left to ask")
                .hint("Nothing was changed. Give a file, or --yes."));
        }
        env.progress(&plan.lines());
        let objects = plan.removals().len();
        let question = match (objects, plan.lost_dids().count()) {
            (0, dids) => format!("Take {} out of campaigns whose lists lack them?", words::plural(dids, "DID")),
            (objects, dids) => {
                let what = if objects == 1 { "an object".to_owned() } else { format!("{objects} objects") };
                let also = match dids {
                    0 => String::new(),
                    dids => format!(", and take {} out of campaigns", words::plural(dids, "DID")),
                };
                format!(
                    "Remove {what} that the document does not name{also}? Call records stay, but name none of it any more."
                )
            }
        };
        Ok((losses, env.confirm(&question)?))
    }
}
