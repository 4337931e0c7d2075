//! `capconduit did`: the phone numbers that sellers own.

mod export;
mod import;

use clap::Args;
use serde_json::json;

use crate::cli::args::flags::Flags;
use crate::cli::args::input::nothing_to_change;
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists};
use crate::cli::output::Output;
use crate::cli::remove::Removal;
use crate::config::Config;
use crate::model::columns;
use crate::model::number::{Doubt, E164};
use crate::store::changes::{self, Changes};
use crate::store::did;
use crate::store::noun::Noun;
use crate::words::{self, shell};
use crate::{Error, Kind, Result, store};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit did add +18005550101 --user alice --campaign 'Alice Priority'
  capconduit did list --user alice
  capconduit did set +18005550101 --status inactive
  capconduit did import numbers.csv --user alice --dry-run

A number is stored in E.164 form; it may be typed in any form that CAPCONDUIT_NUMBER_RULES makes one of.";

/// Of CSV files.
const COLUMNS: [&str; 5] = ["number", "user", "status", "description", "campaigns"];

verbs! {
    /// The verbs of `did`.
    enum Verb {
        /// List DIDs
        List(List),
        /// Show a DID
        Show(Show),
        /// Add a DID
        Add(Add),
        /// Change a DID
        Set(Set),
        /// Let calls to a DID be routed
        Enable(Switch) as "active",
        /// Let calls to a DID be rejected
        Disable(Switch) as "inactive",
        /// Remove a DID
        Remove(Remove),
        /// Write DIDs as CSV
        Export(export::Export),
        /// Add and change DIDs as a CSV file says: all of them, or none
        Import(import::Import),
    }
}

/// The number as it is stored.
fn normalized(config: &Config, number: &str) -> Result<E164> {
    config.number_rules()?.read(number).map_err(|why| {
        Error::invalid(format!("number \"{}\" is not a phone number: {why}", number.escape_debug()))
            .hint("Write + and country code, then the number: +18005550101 (2 to 15 digits).")
    })
}

/// How numbers are taken whose country nobody has said.
#[derive(Clone, Copy, Debug, Default, Args)]
struct Trust {
    /// Store numbers without + as CAPCONDUIT_NUMBER_RULES read them, also where nothing says their country
    #[arg(long)]
    trust_rules: bool,
}

impl Trust {
    /// Refuses a number whose country is not known, and warns of a number that may not be what was meant.
    fn check(self, env: &mut Env<'_>, raw: &str, number: &E164) -> Result<()> {
        match env.config.number_rules()?.doubt(raw) {
            Some(doubt @ Doubt::Country) if !self.trust_rules => {
                let raw = raw.escape_debug();
                Err(Error::invalid(format!("number \"{raw}\" would be stored as {number}: {doubt}"))
                    .hint(format!("Nothing was changed. {RULES} If {number} is meant: --trust-rules.")))
            }
            Some(doubt @ Doubt::Short) => {
                env.progress(&format!("warning: \"{}\" is stored as {number}: {doubt}.", raw.escape_debug()));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

const RULES: &str = "Write + and country code, or let CAPCONDUIT_NUMBER_RULES add the country, as with =+1.";

/// `did list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this seller's
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those that feed this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only this status
    #[arg(long, value_parser = columns::STATUSES)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let user_id = find::user_id(&mut db, self.user.as_deref())?;
        let campaign_id = find::campaign_id(&mut db, self.campaign.as_deref(), self.user.as_deref())?;
        let dids = did::list(&mut db, user_id, campaign_id, self.status.as_deref())?;
        self.listing.of(&dids, &["id", "number", "username", "status", "campaigns", "description"], "No DIDs.")
    }
}

/// `did show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Number or id
    did: String,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let did = find::did(&mut env.connect()?, env.config, &self.did)?;
        if let Some(why) = env.config.number_rules()?.out_of_reach(&did.number) {
            env.progress(&format!("note: no call reaches it: {why}"));
        }
        Output::item(&did)
    }
}

/// The error for a number that exists although the login does not see it, or that was added just now.
fn taken(number: &E164, error: Error) -> Error {
    match error.kind {
        Kind::Conflict => Error::conflict(format!("DID \"{number}\" exists already")).hint(
            "Nothing was changed. Where you do not see it, it is another seller's, and the administrator's to give away.",
        ),
        _ => error,
    }
}

/// `did add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Phone number
    number: String,
    /// The seller who owns it
    #[arg(long, value_name = "USER")]
    user: String,
    /// A campaign of the seller that it feeds; may be given several times
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Vec<String>,
    #[command(flatten)]
    fields: Flags<columns::Did>,
    #[command(flatten)]
    trust: Trust,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let number = normalized(env.config, &self.number)?;
        let mut did = self.fields.changes()?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let owner = find::user(&mut tx, &self.user)?;
        if let Some(there) = did::find(&mut tx, None, number.as_str())? {
            return Err(exists("DID", &there.number));
        }
        self.trust.check(env, &self.number, &number)?;
        did.extend(changes::of([("number", json!(number.as_str())), ("user_id", json!(owner.id))]));
        let id = changes::add(&mut tx, Noun::Did, did).map_err(|e| taken(&number, e))?;
        for name in &self.campaign {
            let campaign = find::campaign_of_owner(&mut tx, name, &owner)?;
            store::campaign::add_did(&mut tx, campaign.id, id)?;
            changes::set(&mut tx, Noun::Campaign, campaign.id, &Changes::new())?;
        }
        let did = find::did(&mut tx, env.config, number.as_str())?;
        tx.commit()?;
        Output::done(format!("DID \"{number}\" added."), &did)
    }
}

/// `did set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Number or id
    did: String,
    /// Another number
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// Another owner; the DID must not feed campaigns of the old one
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    fields: Flags<columns::Did>,
    #[command(flatten)]
    trust: Trust,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let number = self.number.as_deref().map(|number| normalized(env.config, number)).transpose()?;
        let mut changes = self.fields.changes()?;
        changes.extend(number.as_ref().map(|number| ("number".to_owned(), json!(number.as_str()))));
        if changes.is_empty() && self.user.is_none() {
            return Err(nothing_to_change("did"));
        }
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let did = find::did(&mut tx, env.config, &self.did)?;
        changes.extend(find::user_id(&mut tx, self.user.as_deref())?.map(|id| ("user_id".to_owned(), json!(id))));
        if let Some(number) = &number
            && let Some(there) = did::find(&mut tx, None, number.as_str())?
            && there.id != did.id
        {
            return Err(Error::conflict(format!("DID \"{number}\" exists already")).hint("Nothing was changed."));
        }
        if let (Some(raw), Some(number)) = (&self.number, &number)
            && number.as_str() != did.number
        {
            self.trust.check(env, raw, number)?;
        }
        let set = changes::set(&mut tx, Noun::Did, did.id, &changes);
        set.map_err(|e| number.as_ref().map_or(e.clone(), |number| taken(number, e)))?;
        // looked at after the change: its row lock keeps campaign set --add-did out until the end
        let foreign = did::foreign_campaigns(&mut tx, did.id)?;
        if let Some(campaigns) = words::counted("campaign", &foreign) {
            let (seller, number) = (shell(&did.username), shell(&did.number));
            let removed = foreign
                .iter()
                .map(|name| format!("capconduit campaign set {} --user {seller} --remove-did {number}", shell(name)));
            return Err(Error::conflict(format!("DID \"{}\" feeds {campaigns} of {}", did.number, did.username))
                .hint(format!("Nothing was changed. First: {}", removed.collect::<Vec<_>>().join("; "))));
        }
        let name = number.as_ref().map_or(did.number.as_str(), E164::as_str);
        let did = find::did(&mut tx, env.config, name)?;
        tx.commit()?;
        Output::done(format!("DID \"{}\" changed.", did.number), &did)
    }
}

/// `did enable`, `did disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Number or id
    did: String,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let did = find::did(&mut tx, env.config, &self.did)?;
        changes::set(&mut tx, Noun::Did, did.id, &changes::of([("status", json!(status))]))?;
        let did = find::did(&mut tx, env.config, &did.number)?;
        tx.commit()?;
        Output::done(format!("DID \"{}\" is {status}.", did.number), &did)
    }
}

/// `did remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Number or id
    did: String,
    /// Take it out of its campaigns too, even with calls in flight; call records then refer to no DID
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let did = find::did(&mut db, env.config, &self.did)?;
        let thing = format!("DID \"{}\"", did.number);
        let removal = Removal {
            row: (Noun::Did, did.id),
            thing: &thing,
            along: None,
            lost: "DID",
            disable: format!("did disable {}", shell(&did.number)),
            forced: "takes it out of its campaigns too",
            force: self.force,
        };
        let config = env.config;
        removal.run(env, &mut db, |tx| {
            let campaigns = find::did(tx, config, &did.number)?.campaigns;
            Ok(words::counted("campaign", &campaigns).into_iter().collect())
        })?;
        Output::done(format!("{thing} removed."), &did)
    }
}
