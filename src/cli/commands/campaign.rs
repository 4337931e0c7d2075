//! `capconduit campaign`: what DIDs feed, and how their calls are shared out.

use clap::Args;
use postgres::GenericClient;
use serde_json::{Value, json};

use crate::cli::args::flags::Flags;
use crate::cli::args::input::{integer, nothing_to_change};
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists};
use crate::cli::output::Output;
use crate::cli::remove::Removal;
use crate::config::Config;
use crate::model::columns;
use crate::model::values::{line, not_an_id, number};
use crate::store::campaign::{self, Campaign};
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::store::setting::{self, Setting};
use crate::{Error, Result, shape, words};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit campaign add 'Alice Priority' --user alice --did +18005550101
  capconduit campaign set 'Alice Priority' --routing-strategy weighted --add-did +18005550102
  capconduit campaign set 'Alice Priority' --status paused

Two sellers may have campaigns of the same name: --user or the id says which is meant.";

verbs! {
    /// The verbs of `campaign`.
    enum Verb {
        /// List campaigns
        List(List),
        /// Show a campaign with its DIDs and settings
        Show(Show),
        /// Add a campaign
        Add(Box<Add>),
        /// Change a campaign
        Set(Box<Set>),
        /// Let a campaign get calls
        Enable(Switch) as "active",
        /// Let a campaign get no calls for a while
        Pause(Switch) as "paused",
        /// Let a campaign get no calls
        Disable(Switch) as "inactive",
        /// Remove a campaign with its settings
        Remove(Remove),
    }
}

/// Names a campaign on the command line.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Campaign name or id
    campaign: String,
    /// The seller, where several have a campaign of this name
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

impl Named {
    fn find(&self, db: &mut impl GenericClient) -> Result<Campaign> {
        find::campaign(db, &self.campaign, self.user.as_deref())
    }
}

/// `campaign list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this seller's
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only this status
    #[arg(long, value_parser = columns::CAMPAIGN_STATUSES)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let user_id = find::user_id(&mut db, self.user.as_deref())?;
        let campaigns = campaign::list(&mut db, user_id, self.status.as_deref())?;
        self.listing.of(
            &campaigns,
            &["id", "name", "username", "status", "routing_strategy", "dial_timeout_seconds", "live_calls", "dids"],
            "No campaigns.",
        )
    }
}

shape! {
    /// A campaign and what it gives to whom.
    pub(crate) struct Whole {
        #[serde(flatten)]
        campaign: Campaign,
        /// The clients that get its calls.
        settings: Vec<Setting>,
    }
}

fn whole(db: &mut impl GenericClient, campaign: Campaign) -> Result<Whole> {
    let settings = setting::list(db, &setting::Filter { campaign_id: Some(campaign.id), ..Default::default() })?;
    Ok(Whole { campaign, settings })
}

/// `campaign show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    named: Named,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let campaign = self.named.find(&mut db)?;
        Output::detail(
            &whole(&mut db, campaign)?,
            &[(
                "settings",
                &[
                    "id",
                    "client_identifier",
                    "status",
                    "forwarding_priority",
                    "weight",
                    "live_calls",
                    "max_concurrency",
                    "current_total_calls",
                    "total_calls_allowed",
                ],
            )],
        )
    }
}

/// Links a DID of the same seller; a link that is there stays.
fn add_did(db: &mut impl GenericClient, config: &Config, campaign: &Campaign, number: &str) -> Result<()> {
    let did = find::did(db, config, number)?;
    if did.user_id != campaign.user_id {
        return Err(Error::conflict(format!(
            "DID \"{}\" is {}'s, campaign \"{}\" is {}'s",
            did.number, did.username, campaign.name, campaign.username
        ))
        .hint("Nothing was changed. A DID feeds campaigns of its own seller only."));
    }
    campaign::add_did(db, campaign.id, did.id)?;
    Ok(())
}

/// `campaign add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Campaign name, unique for the seller; not digits only
    name: String,
    /// The seller who owns it
    #[arg(long, value_name = "USER")]
    user: String,
    /// A DID of the seller that feeds it; may be given several times
    #[arg(long, value_name = "NUMBER")]
    did: Vec<String>,
    /// A client that gets its calls, and how many at once: acme:5; may be given several times
    #[arg(long = "client", value_name = "CLIENT:MAX", value_parser = client_and_cap)]
    clients: Vec<(String, i64)>,
    #[command(flatten)]
    fields: Flags<columns::Campaign>,
}

/// Reads `acme:5`.
fn client_and_cap(text: &str) -> Result<(String, i64), String> {
    let (client, cap) = text.rsplit_once(':').ok_or("it must say how many calls at once: acme:5")?;
    Ok((client.to_owned(), integer::<1>(cap)?))
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        line("name", &*self.name, columns::NAME)?;
        not_an_id("name", &self.name)?;
        let mut campaign = self.fields.changes()?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let owner = find::user(&mut tx, &self.user)?;
        if campaign::find(&mut tx, &self.name, Some(owner.id))?.iter().any(|there| there.name == self.name) {
            return Err(exists("campaign", &self.name));
        }
        campaign.extend(changes::of([("user_id", json!(owner.id)), ("name", json!(self.name))]));
        changes::add(&mut tx, Noun::Campaign, campaign)?;
        let campaign = find::campaign(&mut tx, &self.name, Some(&owner.username))?;
        for number in &self.did {
            add_did(&mut tx, env.config, &campaign, number)?;
        }
        for (name, cap) in &self.clients {
            let (client_id, identifier) = find::client_reference(&mut tx, name)?;
            if setting::find(&mut tx, campaign.id, client_id)?.is_some() {
                return Err(
                    Error::conflict(format!("client \"{}\" is given twice", identifier)).hint("Nothing was changed.")
                );
            }
            let cap = number("max_concurrency", *cap, columns::MAX_CONCURRENCY)?;
            let setting =
                [("campaign_id", json!(campaign.id)), ("client_id", json!(client_id)), ("max_concurrency", json!(cap))];
            changes::add(&mut tx, Noun::Setting, changes::of(setting))?;
        }
        let campaign = find::campaign(&mut tx, &self.name, Some(&owner.username))?;
        let campaign = whole(&mut tx, campaign)?;
        tx.commit()?;
        Output::done(format!("Campaign \"{}\" of {} added.", self.name, owner.username), &campaign)
    }
}

/// `campaign set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    named: Named,
    /// Another name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    fields: Flags<columns::Campaign>,
    /// A DID of the seller that is to feed it; may be given several times
    #[arg(long, value_name = "NUMBER")]
    add_did: Vec<String>,
    /// A DID that is to feed it no more; may be given several times
    #[arg(long, value_name = "NUMBER")]
    remove_did: Vec<String>,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        line("name", self.name.as_deref(), columns::NAME)?;
        let mut changes = self.fields.changes()?;
        changes.extend(self.name.map(|name| ("name".to_owned(), json!(name))));
        if changes.is_empty() && self.add_did.is_empty() && self.remove_did.is_empty() {
            return Err(nothing_to_change("campaign"));
        }
        change(&self.named, &changes, [&self.add_did, &self.remove_did], env)
    }
}

/// Changes a campaign; `add` and `remove` are DIDs.
fn change(named: &Named, changes: &Changes, [add, remove]: [&[String]; 2], env: &mut Env<'_>) -> Result<Output> {
    let mut db = env.connect()?;
    let mut tx = env.begin(&mut db)?;
    let campaign = named.find(&mut tx)?;
    let name = changes.get("name").and_then(Value::as_str).unwrap_or(&campaign.name);
    if name != campaign.name {
        not_an_id("name", name)?;
        if campaign::find(&mut tx, name, Some(campaign.user_id))?.iter().any(|there| there.name == name) {
            return Err(Error::conflict(format!("{} has a campaign \"{name}\" already", campaign.username))
                .hint("Nothing was changed."));
        }
    }
    for number in remove {
        let did = find::did(&mut tx, env.config, number)?;
        if campaign::remove_did(&mut tx, campaign.id, did.id)? == 0 {
            return Err(Error::new(
                crate::Kind::NotFound,
                format!("DID \"{}\" does not feed campaign \"{}\"", did.number, campaign.name),
            )
            .hint("Nothing was changed."));
        }
    }
    for number in add {
        add_did(&mut tx, env.config, &campaign, number)?;
    }
    changes::set(&mut tx, Noun::Campaign, campaign.id, changes)?;
    let changed = find::campaign(&mut tx, name, Some(&campaign.username))?;
    let changed = whole(&mut tx, changed)?;
    tx.commit()?;
    Output::done(format!("Campaign \"{name}\" changed."), &changed)
}

/// `campaign enable`, `campaign pause`, `campaign disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    named: Named,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let changed = change(&self.named, &changes::of([("status", json!(status))]), [&[], &[]], env)?;
        Ok(changed.saying(|campaign| format!("Campaign {} is {status}.", campaign["name"])))
    }
}

/// `campaign remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    named: Named,
    /// Remove it even with calls in flight; call records then name no campaign
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let campaign = self.named.find(&mut db)?;
        let campaign = whole(&mut db, campaign)?;
        let Campaign { id, name, username, .. } = &campaign.campaign;
        let clients: Vec<String> = campaign.settings.iter().map(|s| s.client_identifier.clone()).collect();
        let removal = Removal {
            row: (Noun::Campaign, *id),
            thing: &format!("campaign \"{name}\" of {username}"),
            along: words::counted("client", &clients).map(|clients| format!("its settings of {clients}")),
            lost: "campaign",
            disable: format!("campaign disable {id}"),
            forced: "removes it all the same",
            force: self.force,
        };
        removal.run(env, &mut db, |_| Ok(Vec::new()))?;
        Output::done(format!("Campaign \"{name}\" of {username} removed."), &campaign)
    }
}
