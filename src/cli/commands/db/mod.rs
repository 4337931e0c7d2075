//! `capconduit db`: the schema, the sample data, and whether what must agree does.

mod passwords;
pub(super) mod roles;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::store::migrate::{self, State};
use crate::store::needs::{self, Need, Weight};
use crate::store::verify;
use crate::{Error, Result};

/// The verbs of `db`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring the database to this program's schema: an empty one, a v3.0 platform's, or an older release's
    Migrate,
    /// Show which migrations and routines the database has; exit code 1 when some are missing, or when the
    /// server or the database is not as it must be
    Status,
    /// Load sample data into an otherwise empty database
    Seed,
    /// Compare what must agree in the database; exit code 1 when something does not
    Verify(Verify),
    /// Create a database login for each purpose, with the rights that it needs and no more
    Roles(Box<roles::Roles>),
}

/// `db verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at: the answered calls that each setting has counted against its call records (resets and the
removal of old records are no difference); attempts that should have ended; answered calls without
a record; what refers to something that does not exist, or that is another seller's.

Calls go on meanwhile. --repair changes only what follows from the rest, in one transaction; what
it leaves needs a person. Exit code 0: nothing differs, or everything that did is repaired.")]
pub(crate) struct Verify {
    /// Put right what can safely be
    #[arg(long)]
    repair: bool,
}

impl Verb {
    /// Whether only the owner of the tables may do it, so that his URL goes first.
    pub(crate) fn is_the_owner_s(&self) -> bool {
        matches!(self, Verb::Migrate | Verb::Status | Verb::Roles(_))
    }

    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::Migrate => migrate(env),
            Verb::Status => status(env),
            Verb::Seed => seed(env),
            Verb::Verify(verb) => verb.run(env),
            Verb::Roles(verb) => verb.run(env),
        }
    }
}

fn migrate(env: &mut Env<'_>) -> Result<Output> {
    let mut client = env.connect()?;
    let applied = migrate::migrate(&mut client, |line| env.progress(line));
    let applied = applied.map_err(roles::explain)?;
    warn(env, &needs::needs(&mut client)?);
    let message = match applied.len() {
        0 => "The schema is up to date.".to_owned(),
        1 => "1 step applied. The schema is up to date.".to_owned(),
        n => format!("{n} steps applied. The schema is up to date."),
    };
    Output::done(message, &json!({ "applied": applied }))
}

fn status(env: &mut Env<'_>) -> Result<Output> {
    let mut db = env.connect()?;
    let steps = migrate::status(&mut db)?;
    let needs = needs::needs(&mut db)?;
    let output = Output::list(&steps, &["name", "state", "applied_at"], "No migrations.")?;
    warn(env, &needs);
    let unmet = needs.iter().find_map(|need| match need.problem {
        Some((Weight::Fatal | Weight::Defect, remedy)) => Some((need, remedy)),
        _ => None,
    });
    let error = if let Some((need, remedy)) = unmet {
        Error::failed(format!("{}: {}", need.name, need.message)).hint(remedy)
    } else if steps.iter().any(|step| step.state != State::Applied) {
        Error::failed("the schema is not up to date").hint("Run capconduit db migrate.")
    } else {
        return Ok(output);
    };
    Ok(Output::Findings { output: Box::new(output), error })
}

/// Names the settings of server and database that are not as they should be.
fn warn(env: &mut Env<'_>, needs: &[Need]) {
    for need in needs {
        if let Some((_, remedy)) = need.problem {
            env.progress(&format!("warning: {}: {}. {remedy}", need.name, need.message));
        }
    }
}

fn seed(env: &mut Env<'_>) -> Result<Output> {
    let mut db = env.connect()?;
    let mut tx = env.begin(&mut db)?;
    let loaded = migrate::seed(&mut tx)?;
    tx.commit()?;
    let message = if loaded { "Sample data loaded." } else { "The sample data is there already." };
    Output::done(message, &json!({ "loaded": loaded }))
}

impl Verify {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let differences = verify::verify(&mut env.connect()?, self.repair, |tx| env.introduce(tx))?;
        let output = Output::list(
            &differences,
            &["check", "table", "id", "expected", "found", "repairable", "repaired", "message"],
            "No difference.",
        )?;
        let left = differences.iter().filter(|d| !d.repaired).count();
        if left == 0 {
            return Ok(output);
        }
        let repairable = differences.iter().filter(|d| d.repairable && !d.repaired).count();
        let repaired = differences.len() - left;
        let error = Error::failed(match (left, repaired) {
            (1, 0) => "1 difference".to_owned(),
            (n, 0) => format!("{n} differences"),
            (1, done) => format!("1 difference is left, {done} repaired"),
            (n, done) => format!("{n} differences are left, {done} repaired"),
        });
        let error = match repairable {
            0 => error.hint("None of them can be repaired by itself: see their messages."),
            n => error.hint(format!("capconduit db verify --repair puts {n} of them right.")),
        };
        Ok(Output::Findings { output: Box::new(output), error })
    }
}
