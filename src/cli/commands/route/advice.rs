//! The cause of a rejection, and the command that would end it: `route explain` says them of a call to come, `call
//! explain` of a past call.

use postgres::GenericClient;
use serde_json::Value;

use crate::asterisk::live;
use crate::asterisk::live::ari::Ari;
use crate::config::Config;
use crate::store::status::Filter;
use crate::words::shell;
use crate::{Result, store};

/// What would end a rejection that `cc_explain` foresees for this DID; None where the call proceeds.
pub(crate) fn for_rejection(
    config: &Config,
    db: &mut impl GenericClient,
    did: &str,
    decision: &Value,
) -> Result<Option<String>> {
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
                None if store::seller::is_seller_s(db)? => {
                    format!(
                        "No DID of yours has this number; where it is no other seller's: capconduit did add {number} --user SELLER --campaign CAMPAIGN"
                    )
                }
                None => {
                    format!("No DID has this number: capconduit did add {number} --user SELLER --campaign CAMPAIGN")
                }
            },
        },
        ("did_inactive", _) => format!("The DID is inactive: capconduit did enable {number}"),
        ("owner_inactive", _) => {
            let owner = store::did::find(db, None, did)?.map(|did| did.username).unwrap_or_default();
            format!("Its seller {owner} is not active: capconduit user enable {}", shell(&owner))
        }
        ("no_active_campaign_for_did", _) => no_active_campaign(db, did, decision)?,
        ("no_active_clients_in_campaign", _) => {
            let command = match first_out_for(decision, &["client_inactive", "setting_inactive"]) {
                Some(candidate) => command_that_lets_in(db, decision, candidate)?.unwrap_or_default(),
                None => {
                    let (campaign, seller) = campaign(db, decision)?;
                    format!("capconduit setting add {campaign} CLIENT{seller} --max-concurrency 1")
                }
            };
            format!("No client of the campaign is active: see the reason of each, then {command}")
        }
        (_, "REJECTED_CC") => {
            let more =
                raise_cap(db, decision, "concurrency_cap", None)?.map(|raise| raise.command()).unwrap_or_default();
            let ends = match free_lost_places(config, db, decision) {
                Some(command) => format!("{command}; the rest ends as calls end. For one more:"),
                None => "it frees itself as calls end, or, for one more:".to_owned(),
            };
            format!("Every client that could take it has as many calls as max_concurrency allows: {ends} {more}")
        }
        (_, "REJECTED_TOTAL") => {
            let Raise { setting, option } = raise_cap(db, decision, "total_cap", None)?.unwrap_or_default();
            // calls in flight count towards a total
            let lost = free_lost_places(config, db, decision).map(|command| format!(" {command}.")).unwrap_or_default();
            format!(
                "Every client that could take it has had its calls.{lost} To count from 0 again: {setting} --reset-total-calls. \
                 For one more: {setting} {option}"
            )
        }
        _ => {
            let what = "No client of the campaign can take it: see the reason of each";
            match first_out_for(decision, &["no_endpoint", "no_contact", "client_inactive", "setting_inactive"]) {
                Some(candidate) => {
                    format!("{what}, then {}", command_that_lets_in(db, decision, candidate)?.unwrap_or_default())
                }
                None => format!("{what}."),
            }
        }
    }))
}

/// What frees the places of calls that were lost with their Asterisk, where there are any.
fn free_lost_places(config: &Config, db: &mut impl GenericClient, decision: &Value) -> Option<String> {
    let campaign_id = decision["campaign_id"].as_i64().and_then(|id| i32::try_from(id).ok());
    let filter = Filter { campaign_id, user_id: None };
    // advice can do without an answer that is not available
    let server = live::ask(Ari::of(config).ok()?.as_ref()).ok()??;
    match store::status::older_than_start(db, &server, filter).ok()? {
        0 => None,
        lost => Some(format!("{lost} of before Asterisk's start still hold their places: capconduit call reap")),
    }
}

fn no_active_campaign(db: &mut impl GenericClient, did: &str, decision: &Value) -> Result<String> {
    let number = shell(did);
    let fed = store::did::campaign_statuses(db, did)?;
    if let Some((id, name, _)) = fed.first() {
        let list: Vec<String> = fed.iter().map(|(_, name, status)| format!("\"{name}\" is {status}")).collect();
        let (campaign, seller) = named(db, name, i64::from(*id))?;
        let enable = format!("capconduit campaign enable {campaign}{seller}");
        return Ok(format!("No campaign that it feeds is active: {}. {enable}", list.join(", ")));
    }
    let owner = decision["user_id"].as_i64().and_then(|id| i32::try_from(id).ok());
    let own = store::campaign::list(db, owner, None)?;
    let command = match own.iter().find(|campaign| campaign.status == "active").or(own.first()) {
        Some(first) => {
            let (campaign, seller) = named(db, &first.name, i64::from(first.id))?;
            format!("capconduit campaign set {campaign}{seller} --add-did {number}")
        }
        None => {
            let owner = store::did::find(db, None, did)?.map(|did| did.username).unwrap_or_default();
            format!("capconduit campaign add NAME --user {} --did {number}", shell(&owner))
        }
    };
    let which = if own.len() > 1 { ". To let it feed one of its seller's" } else { "" };
    Ok(format!("It feeds no campaign{which}: {command}"))
}

/// A campaign's name as a command takes it, and `--user` where several sellers have one of this name.
fn named(db: &mut impl GenericClient, name: &str, id: i64) -> Result<(String, String)> {
    let of_this_name = store::campaign::find(db, name, None)?;
    let this = of_this_name.iter().find(|campaign| i64::from(campaign.id) == id);
    let seller = match this.filter(|_| of_this_name.len() > 1) {
        Some(campaign) => format!(" --user {}", shell(&campaign.username)),
        None => String::new(),
    };
    Ok((shell(name).into_owned(), seller))
}

/// [`named`] for the campaign of a decision.
fn campaign(db: &mut impl GenericClient, decision: &Value) -> Result<(String, String)> {
    let name = decision["campaign_name"].as_str().unwrap_or_default();
    named(db, name, decision["campaign_id"].as_i64().unwrap_or_default())
}

/// The candidate that gets no call for one of these reasons. An earlier reason goes first: list first the reason that
/// is checked last.
fn first_out_for<'d>(decision: &'d Value, reasons: &[&str]) -> Option<&'d Value> {
    let of = |reason: &&str| decision["candidates"].as_array()?.iter().find(|c| c["reason"] == **reason);
    reasons.iter().find_map(of)
}

/// The command that ends the reason why a candidate gets no call.
fn command_that_lets_in(db: &mut impl GenericClient, decision: &Value, candidate: &Value) -> Result<Option<String>> {
    let client = shell(candidate["client_identifier"].as_str().unwrap_or_default());
    Ok(Some(match candidate["reason"].as_str().unwrap_or_default() {
        "setting_inactive" => {
            let (campaign, seller) = campaign(db, decision)?;
            format!("capconduit setting enable {campaign} {client}{seller}")
        }
        "client_inactive" => format!("capconduit client enable {client}"),
        "no_endpoint" => format!("capconduit pjsip add {client} --contact sip:HOST"),
        "no_contact" => format!("capconduit pjsip set {client} --contact sip:HOST"),
        _ => return Ok(None),
    }))
}

/// A cap that is raised by a command: `capconduit setting set CAMPAIGN CLIENT`, and the option with its new value.
#[derive(Default)]
pub(crate) struct Raise {
    setting: String,
    option: String,
}

impl Raise {
    pub(crate) fn command(&self) -> String {
        format!("{} {}", self.setting, self.option)
    }
}

/// Raises the cap that `reason` names by one call. The client is one that `passed_over`, a rejected call's, names as
/// full; else one that is full now; else the first.
pub(crate) fn raise_cap(
    db: &mut impl GenericClient,
    decision: &Value,
    reason: &str,
    passed_over: Option<&str>,
) -> Result<Option<Raise>> {
    let candidates = decision["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |candidate: &Value| candidate["client_identifier"].as_str().unwrap_or_default().to_owned();
    let was_full = |candidate: &&Value| {
        passed_over
            .is_some_and(|links| links.split(", ").any(|l| l.starts_with(&format!("{} {reason}", name(candidate)))))
    };
    let is_full = |candidate: &&Value| candidate["reason"] == reason;
    let Some(candidate) =
        candidates.iter().find(was_full).or_else(|| candidates.iter().find(is_full)).or_else(|| candidates.first())
    else {
        return Ok(None);
    };
    let figure = |name: &str| candidate[name].as_i64();
    let option = match reason {
        "concurrency_cap" => format!("--max-concurrency {}", figure("max_concurrency").unwrap_or_default() + 1),
        _ => {
            let had = figure("current_total_calls").unwrap_or_default() + figure("live_calls").unwrap_or_default();
            format!("--total-calls-allowed {}", figure("total_calls_allowed").unwrap_or_default().max(had) + 1)
        }
    };
    let (campaign, seller) = campaign(db, decision)?;
    Ok(Some(Raise {
        setting: format!("capconduit setting set {campaign} {}{seller}", shell(&name(candidate))),
        option,
    }))
}
