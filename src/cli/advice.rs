//! What a rejection comes from and the command that would end it: said by `route explain` of a call that
//! is still to come, and by `call explain` of one that was.

use postgres::GenericClient;
use serde_json::Value;

use super::names::shell;
use crate::{Result, store};

/// For a decision of `cc_explain` about this DID; None where the call proceeds.
pub(super) fn of(db: &mut impl GenericClient, did: &str, decision: &Value) -> Result<Option<String>> {
    let Some(reason) = decision["reason"].as_str() else { return Ok(None) };
    let number = shell(did);
    Ok(Some(match (reason, decision["call_status"].as_str().unwrap_or_default()) {
        ("did_not_found", _) => match store::did::written_otherwise(db, did)? {
            Some(other) => format!(
                "The DID is stored as {other}, which calls do not arrive on: capconduit did set {} --number {number}",
                shell(&other)
            ),
            None => match store::did::ending_in(db, did)? {
                Some(whole) => format!(
                    "{whole} ends in these digits: is it meant? CAPCONDUIT_NUMBER_RULES says how numbers without + become \
                     E.164"
                ),
                None => format!("No DID has this number: capconduit did add {number} --user SELLER --campaign CAMPAIGN"),
            },
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
            "No client of the campaign is active: see the reason of each, then capconduit client enable or setting enable."
                .to_owned()
        }
        (_, "REJECTED_CC") => "Every client that could take it has as many calls as max_concurrency allows: it frees \
                               itself as calls end, or capconduit setting set CAMPAIGN CLIENT --max-concurrency N"
            .to_owned(),
        (_, "REJECTED_TOTAL") => "Every client that could take it has had its calls: capconduit setting set CAMPAIGN \
                                  CLIENT --total-calls-allowed N, or --reset-total-calls"
            .to_owned(),
        _ => "No client of the campaign can take it: see the reason of each, and capconduit pjsip show CLIENT.".to_owned(),
    }))
}
