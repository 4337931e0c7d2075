//! `capconduit setting`: what a client may get of a campaign, with its caps.

use clap::Args;
use postgres::{GenericClient, Transaction};

use crate::cli::args::input::{any_integer, integer, nothing_to_change, number};
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists};
use crate::cli::output::Output;
use crate::cli::remove::{Removal, Uses};
use crate::model::rules;
use crate::store::campaign::Campaign;
use crate::store::setting::{self, Changes, Filter, Setting};
use crate::words::{plural, shell};
use crate::{Error, Kind, Result, store};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit setting add 'Alice Priority' acme --max-concurrency 5 --total-calls-allowed 1000
  capconduit setting set 'Alice Priority' acme --total-calls-allowed unlimited
  capconduit setting list --client acme

A setting is named by campaign and client, or by its id alone.";

verbs! {
    /// The verbs of `setting`.
    enum Verb {
        /// List settings with their live calls
        List(List),
        /// Show a setting with its live calls
        Show(Show),
        /// Let a client get calls of a campaign
        Add(Add),
        /// Change a setting
        Set(Set) as "set",
        /// Let the client get calls of the campaign
        Enable(Switch) as "active",
        /// Let the client get no calls of the campaign
        Disable(Switch) as "inactive",
        /// Remove a setting; the client gets no more calls of the campaign
        Remove(Remove),
    }
}

/// Names a setting on the command line.
#[derive(Debug, Args)]
struct Named {
    /// Campaign name or id; the setting's id where no client follows
    campaign: String,
    /// Client identifier or id
    client: Option<String>,
    /// The seller, where several have a campaign of this name
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

impl Named {
    /// `verb`: the command's, for a hint.
    fn find(&self, verb: &str, db: &mut impl GenericClient) -> Result<Setting> {
        let Some(client) = &self.client else {
            let Ok(id) = self.campaign.parse() else { return Err(self.without_client(verb, db)?) };
            return setting::by_id(db, id)?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("setting {id} does not exist"))
                    .hint("capconduit setting list shows them all.")
            });
        };
        let (campaign, (client_id, identifier)) = pair(db, verb, &self.campaign, client, self.user.as_deref())?;
        setting::find(db, campaign.id, client_id)?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("client \"{identifier}\" has no setting in campaign \"{}\"", campaign.name),
            )
            .hint(format!(
                "capconduit setting add {} {}{} --max-concurrency 1 adds it.",
                shell(&self.campaign),
                shell(&identifier),
                self.seller()
            ))
        })
    }

    /// A campaign alone: its clients are named.
    fn without_client(&self, verb: &str, db: &mut impl GenericClient) -> Result<Error> {
        let campaign_id = find::campaign(db, &self.campaign, self.user.as_deref()).ok().map(|campaign| campaign.id);
        let settings = match campaign_id {
            Some(_) => setting::list(db, &Filter { campaign_id, ..Filter::default() })?,
            None => Vec::new(),
        };
        let clients: Vec<_> = settings.iter().map(|setting| shell(&setting.client_identifier)).collect();
        let first = clients.first().map_or("CLIENT", |client| client);
        let others = if clients.len() > 1 { format!("; it has {}", clients.join(", ")) } else { String::new() };
        let error = Error::new(Kind::Usage, format!("\"{}\" is not a setting's id: which client?", self.campaign));
        Ok(error.hint(format!(
            "Name a setting by campaign and client: capconduit setting {verb} {} {first}{}{others}",
            shell(&self.campaign),
            self.seller()
        )))
    }

    /// `--user`, where it was given.
    fn seller(&self) -> String {
        self.user.as_deref().map(|user| format!(" --user {}", shell(user))).unwrap_or_default()
    }
}

/// The campaign and the client that a setting is named by.
fn pair(
    db: &mut impl GenericClient,
    verb: &str,
    campaign: &str,
    client: &str,
    user: Option<&str>,
) -> Result<(Campaign, (i32, String))> {
    let found = find::campaign(db, campaign, user);
    if let Err(error) = &found
        && error.kind == Kind::NotFound
        && let Some((_, identifier)) = store::client::reference(db, campaign)?
        && find::campaign(db, client, user).is_ok()
    {
        return Err(Error { hint: None, ..error.clone() }.hint(format!(
            "\"{identifier}\" is a client: the campaign comes first. capconduit setting {verb} {} {}",
            shell(client),
            shell(&identifier)
        )));
    }
    Ok((found?, find::client_reference(db, client)?))
}

/// `setting list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only of this client
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only of this seller's campaigns
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let user = self.user.as_deref();
        let filter = Filter {
            user_id: find::user_id(&mut db, user)?,
            campaign_id: find::campaign_id(&mut db, self.campaign.as_deref(), user)?,
            client_id: find::client_id(&mut db, self.client.as_deref())?,
        };
        let settings = setting::list(&mut db, &filter)?;
        self.listing.of(
            &settings,
            &[
                "id",
                "campaign_name",
                "username",
                "client_identifier",
                "status",
                "forwarding_priority",
                "weight",
                "live_calls",
                "max_concurrency",
                "current_total_calls",
                "total_calls_allowed",
            ],
            "No settings.",
        )
    }
}

/// `setting show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    named: Named,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        Output::item(&self.named.find("show", &mut env.connect()?)?)
    }
}

/// What a setting has besides campaign, client and max_concurrency.
#[derive(Debug, Default, Args)]
struct SettingFields {
    /// How many calls may be answered in all: a number from 0, or unlimited, the default
    #[arg(long, value_name = "N|unlimited", allow_negative_numbers = true)]
    total_calls_allowed: Option<String>,
    /// Strategy priority: lower is tried first; default 0
    #[arg(long, value_name = "N", value_parser = any_integer, allow_negative_numbers = true)]
    forwarding_priority: Option<i64>,
    /// The share of the calls, in proportion to the others': from 1; default 100
    #[arg(long, value_name = "N", value_parser = integer::<1>, allow_negative_numbers = true)]
    weight: Option<i64>,
    /// Only an active setting gets calls
    #[arg(long, value_parser = rules::STATUSES)]
    status: Option<String>,
}

impl SettingFields {
    fn changes(self, max_concurrency: Option<i64>) -> Result<Changes> {
        Ok(Changes {
            status: self.status,
            max_concurrency: number("max_concurrency", max_concurrency, rules::MAX_CONCURRENCY)?,
            total_calls_allowed: self.total_calls_allowed.as_deref().map(total).transpose()?,
            current_total_calls: None,
            forwarding_priority: number("forwarding_priority", self.forwarding_priority, rules::FORWARDING_PRIORITY)?,
            weight: number("weight", self.weight, rules::WEIGHT)?,
        })
    }
}

fn total(text: &str) -> Result<Option<i32>> {
    if text == "unlimited" {
        return Ok(None);
    }
    let calls: i64 = text.parse().map_err(|_| {
        Error::invalid(format!("total_calls_allowed is \"{}\": it must be a number, or unlimited", text.escape_debug()))
    })?;
    number("total_calls_allowed", calls, rules::TOTAL_CALLS)
}

/// `setting add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Campaign name or id
    campaign: String,
    /// Client identifier or id
    client: String,
    /// The seller, where several have a campaign of this name
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// How many calls the client takes at once: from 1
    #[arg(long, value_name = "N", value_parser = integer::<1>, allow_negative_numbers = true)]
    max_concurrency: i64,
    #[command(flatten)]
    fields: SettingFields,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let cap = number("max_concurrency", self.max_concurrency, rules::MAX_CONCURRENCY)?.unwrap_or(1);
        let changes = self.fields.changes(None)?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let (campaign, (client_id, identifier)) =
            pair(&mut tx, "add", &self.campaign, &self.client, self.user.as_deref())?;
        let what = format!("{identifier}\" in campaign \"{}", campaign.name);
        if setting::find(&mut tx, campaign.id, client_id)?.is_some() {
            return Err(exists("setting", &what));
        }
        let id = setting::add(&mut tx, campaign.id, client_id, cap)?;
        setting::set(&mut tx, id, &changes)?;
        let setting = setting::by_id(&mut tx, id)?;
        tx.commit()?;
        Output::done(format!("Setting of \"{what}\" added."), &setting)
    }
}

/// `setting set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    named: Named,
    /// How many calls the client takes at once: from 1
    #[arg(long, value_name = "N", value_parser = integer::<1>, allow_negative_numbers = true)]
    max_concurrency: Option<i64>,
    /// Set the count of answered calls: from 0
    #[arg(long, value_name = "N", value_parser = integer::<0>, allow_negative_numbers = true)]
    current_total_calls: Option<i64>,
    /// Count answered calls from 0 again
    #[arg(long, conflicts_with = "current_total_calls")]
    reset_total_calls: bool,
    #[command(flatten)]
    fields: SettingFields,
}

impl Set {
    /// `verb`: its name on the command line.
    fn run(self, verb: &str, env: &mut Env<'_>) -> Result<Output> {
        let current = if self.reset_total_calls { Some(0) } else { self.current_total_calls };
        let changes = Changes {
            current_total_calls: number("current_total_calls", current, rules::TOTAL_CALLS)?,
            ..self.fields.changes(self.max_concurrency)?
        };
        if changes == Changes::default() {
            return Err(nothing_to_change("setting"));
        }
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let id = self.named.find(verb, &mut tx)?.id;
        setting::set(&mut tx, id, &changes).map_err(|error| match error.kind {
            Kind::Permission if current.is_some() => error.hint(
                "Only the administrator sets the counter: leave out --reset-total-calls and --current-total-calls.",
            ),
            _ => error,
        })?;
        let setting = setting::by_id(&mut tx, id)?.ok_or_else(|| Error::not_found("setting", id))?;
        tx.commit()?;
        if let Some(total) = changes.total_calls_allowed.flatten()
            && total <= setting.current_total_calls
        {
            env.progress(&format!("note: it has had {}: it gets no more", plural(setting.current_total_calls, "call")));
        }
        Output::done(format!("Setting of {} changed.", what(&setting)), &setting)
    }
}

/// `setting enable`, `setting disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    named: Named,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let set = Set {
            named: self.named,
            max_concurrency: None,
            current_total_calls: None,
            reset_total_calls: false,
            fields: SettingFields { status: Some(status.to_owned()), ..SettingFields::default() },
        };
        let verb = if status == "active" { "enable" } else { "disable" };
        Ok(set.run(verb, env)?.saying(|setting| {
            format!("Setting of {} in campaign {} is {status}.", setting["client_identifier"], setting["campaign_name"])
        }))
    }
}

/// `"acme" in campaign "Alice Priority"`
fn what(setting: &Setting) -> String {
    format!("\"{}\" in campaign \"{}\"", setting.client_identifier, setting.campaign_name)
}

/// `setting remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    named: Named,
    /// Remove it even with calls in flight; call records then refer to no setting
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let setting = self.named.find("remove", &mut db)?;
        let id = setting.id;
        let removal = Removal {
            thing: &format!("setting of {}", what(&setting)),
            along: None,
            lost: "setting",
            disable: format!("setting disable {id}"),
            forced: "removes it all the same",
            force: self.force,
        };
        let uses = |tx: &mut Transaction<'_>| {
            let setting = setting::by_id(tx, id)?.ok_or_else(|| Error::not_found("setting", id))?;
            Ok(Uses::new([], setting.live_calls, setting::records(tx, id)?))
        };
        removal.run(env, &mut db, uses, |tx, confirmed| setting::remove(tx, id, confirmed))?;
        Output::done(format!("Setting of {} removed.", what(&setting)), &setting)
    }
}
