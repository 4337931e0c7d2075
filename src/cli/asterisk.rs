//! `capconduit asterisk`: the files that an Asterisk server needs.

use clap::Subcommand;

use super::Env;
use super::output::Output;
use crate::Result;

/// The verbs of `asterisk`.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {}

impl Verb {
    pub(super) fn run(self, _env: &mut Env<'_>) -> Result<Output> {
        match self {}
    }
}
