//! `capconduit db`: the schema and the sample data.

use clap::Subcommand;
use serde_json::json;

use super::Env;
use super::output::Output;
use crate::store::migrate::{self, State};
use crate::{Error, Result};

/// The verbs of `db`.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Bring the database to this program's schema: an empty one, a v3.0 platform's, or an older release's
    Migrate,
    /// Show which migrations and routines the database has; exit code 1 when some are missing
    Status,
    /// Load sample data into an otherwise empty database
    Seed,
}

impl Verb {
    pub(super) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::Migrate => migrate(env),
            Verb::Status => status(env),
            Verb::Seed => seed(env),
        }
    }
}

fn migrate(env: &mut Env<'_>) -> Result<Output> {
    let mut client = env.connect()?;
    let applied = migrate::migrate(&mut client, |step| env.progress(&format!("applying {step}")))?;
    let message = match applied.len() {
        0 => "The schema is up to date.".to_owned(),
        1 => "1 step applied. The schema is up to date.".to_owned(),
        n => format!("{n} steps applied. The schema is up to date."),
    };
    Output::done(message, &json!({ "applied": applied }))
}

fn status(env: &mut Env<'_>) -> Result<Output> {
    let steps = migrate::status(&mut env.connect()?)?;
    let output = Output::list(&steps, &["name", "state", "applied_at"], "No migrations.")?;
    if steps.iter().all(|step| step.state == State::Applied) {
        return Ok(output);
    }
    let error = Error::failed("the schema is not up to date").hint("Run capconduit db migrate.");
    Ok(Output::Findings { output: Box::new(output), error })
}

fn seed(env: &mut Env<'_>) -> Result<Output> {
    let loaded = migrate::seed(&mut env.connect()?)?;
    let message = if loaded { "Sample data loaded." } else { "The sample data is there already." };
    Output::done(message, &json!({ "loaded": loaded }))
}
