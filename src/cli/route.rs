//! `capconduit route`: the routing decision, explained.

use clap::{Args, Subcommand};
use postgres::GenericClient;
use serde_json::Value;

use super::Env;
use super::names::shell;
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
    /// The caller's number, for the record of what was asked: no rule looks at it
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
        let mut db = env.connect()?;
        let mut decision = store::route::explain(&mut db, did.as_str())?;
        let advice = advice(&mut db, did.as_str(), &decision)?;
        if let Value::Object(fields) = &mut decision {
            if let Some(caller) = self.caller {
                fields.insert("caller".into(), Value::String(caller));
            }
            fields.insert("advice".into(), advice.map_or(Value::Null, Value::String));
        }
        Ok(Output::Item(decision))
    }
}

/// What a rejection comes from and what would end it; None where the call proceeds.
fn advice(db: &mut impl GenericClient, did: &str, decision: &Value) -> Result<Option<String>> {
    let Some(reason) = decision["reason"].as_str() else { return Ok(None) };
    let number = shell(did);
    Ok(Some(match (reason, decision["call_status"].as_str().unwrap_or_default()) {
        ("did_not_found", _) => match store::did::written_otherwise(db, did)? {
            Some(other) => format!(
                "The DID is stored as {other}, which calls do not arrive on: capconduit did set {} --number {number}",
                shell(&other)
            ),
            None => format!("No DID has this number: capconduit did add {number} --user SELLER --campaign CAMPAIGN"),
        },
        ("did_inactive", _) => format!("The DID is inactive: capconduit did enable {number}"),
        ("owner_inactive", _) => {
            let owner = store::did::find(db, None, did)?.map(|did| did.username).unwrap_or_default();
            format!("Its seller {owner} is not active: capconduit user enable {}", shell(&owner))
        }
        ("no_active_campaign_for_did", _) => {
            let campaigns = store::did::campaign_statuses(db, did)?;
            match campaigns.as_slice() {
                [] => format!("It feeds no campaign: capconduit campaign set CAMPAIGN --add-did {number}"),
                [(id, ..), ..] => {
                    let list: Vec<String> =
                        campaigns.iter().map(|(_, name, status)| format!("\"{name}\" is {status}")).collect();
                    format!("No campaign that it feeds is active: {}. capconduit campaign enable {id}", list.join(", "))
                }
            }
        }
        ("no_active_clients_in_campaign", _) => {
            "No client of the campaign is active: see the reasons below, then capconduit client enable or setting enable."
                .to_owned()
        }
        (_, "REJECTED_CC") => "Every client that could take it has as many calls as max_concurrency allows: it frees \
                               itself as calls end, or capconduit setting set CAMPAIGN CLIENT --max-concurrency N"
            .to_owned(),
        (_, "REJECTED_TOTAL") => "Every client that could take it has had its calls: capconduit setting set CAMPAIGN \
                                  CLIENT --total-calls-allowed N, or --reset-total-calls"
            .to_owned(),
        _ => "No client of the campaign can take it: see the reasons below, and capconduit pjsip show CLIENT.".to_owned(),
    }))
}
