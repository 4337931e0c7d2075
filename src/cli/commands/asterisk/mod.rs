//! `capconduit asterisk`: the files that an Asterisk server needs, and whether it works with them.

mod check;
mod install;

use clap::Subcommand;

use crate::Result;
use crate::cli::env::Env;
use crate::cli::output::Output;

/// The verbs of `asterisk`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write Asterisk's configuration, the dialplan and the two AGI programs
    Install(install::Install),
    /// Look at everything that calls need on this server: files, Asterisk, clients, database, spool
    Check(check::Check),
}

impl Verb {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::Install(verb) => verb.run(env),
            Verb::Check(verb) => verb.run(env),
        }
    }
}
