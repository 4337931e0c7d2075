//! `capconduit route`: the routing decision, explained.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Env;
use super::output::Output;
use crate::{Error, Result, store};

/// The verbs of `route`.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show where a call to a DID would go now, and why, without claiming anything
    Explain(Explain),
}

/// `route explain`
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The number called, in any form that a carrier may send
    did: String,
    /// The caller's number
    #[arg(long, value_name = "N")]
    caller: Option<String>,
}

impl Verb {
    pub(super) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::Explain(verb) => verb.run(env),
        }
    }
}

impl Explain {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let Some(did) = env.config.number_rules()?.normalize(&self.did) else {
            return Err(Error::invalid(format!("\"{}\" is not a phone number", self.did.escape_default())).hint(
                "A call to it would be rejected as did_not_found. CAPCONDUIT_NUMBER_RULES has the prefix rules.",
            ));
        };
        let mut decision = store::route::explain(&mut env.connect()?, did.as_str())?;
        if let (Some(caller), Value::Object(fields)) = (self.caller, &mut decision) {
            fields.insert("caller".into(), json!(caller));
        }
        Ok(Output::Item(decision))
    }
}
