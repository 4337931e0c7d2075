//! `capconduit route`: the routing decision, explained.

pub(crate) mod advice;
pub(crate) mod reachability;

use clap::Args;
use serde_json::Value;

use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::cli::output::table::Tables;
use crate::{Error, Result, store};

/// What people are shown of the candidates.
const CANDIDATES: &[&str] = &[
    "try_order",
    "setting_id",
    "client_identifier",
    "eligible",
    "reason",
    "forwarding_priority",
    "weight",
    "live_calls",
    "max_concurrency",
    "current_total_calls",
    "total_calls_allowed",
    "contact_state",
];
const SEEN: Tables = &[("candidates", CANDIDATES)];
/// Without contact_state, where Asterisk was not asked: that is said once.
const UNSEEN: Tables = &[("candidates", CANDIDATES.split_at(CANDIDATES.len() - 1).0)];

verbs! {
    /// The verbs of `route`.
    enum Verb {
        /// Show where a call to a DID would go now, and why, without claiming anything
        Explain(Explain),
    }
}

/// `route explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The number called, in any form that a carrier may send
    did: String,
    /// The caller's number, for the record of what was asked: no rule looks at it
    #[arg(long, value_name = "N")]
    caller: Option<String>,
}

impl Explain {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let did = env.config.number_rules()?.read(&self.did).map_err(|why| {
            Error::invalid(format!("\"{}\" is not a phone number: {why}", self.did.escape_default()))
                .hint("A call to it would be rejected as did_not_found. CAPCONDUIT_NUMBER_RULES has the prefix rules.")
        })?;
        let mut db = env.connect()?;
        let mut decision = store::route::explain(&mut db, did.as_str())?;
        let advice = advice::for_rejection(env.config, &mut db, did.as_str(), &decision)?;
        let contacts = reachability::ask(env.config, &mut db);
        let reachability = reachability::judge(&mut decision, &contacts);
        let advice = match advice {
            Some(advice) => Some(advice),
            None => reachability::advice(&mut db, &decision)?,
        };
        if let Value::Object(fields) = &mut decision {
            if let Some(caller) = self.caller {
                fields.insert("caller".into(), Value::String(caller));
            }
            fields.insert("advice".into(), advice.map_or(Value::Null, Value::String));
            fields.insert("reachability".into(), reachability.map_or(Value::Null, Value::String));
        }
        let tables = if contacts.is_asked() { SEEN } else { UNSEEN };
        Ok(Output::Detail { value: decision, tables })
    }
}
