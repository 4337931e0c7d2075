//! `capconduit setting`: what a client may get of a campaign, with its caps.

use clap::Args;
use postgres::GenericClient;
use serde_json::json;

use crate::cli::args::flags::{Flags, NEW};
use crate::cli::args::input::nothing_to_change;
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists};
use crate::cli::output::Output;
use crate::cli::remove::Removal;
use crate::model::columns;
use crate::store::campaign::Campaign;
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::store::setting::{self, Filter, Setting};
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
        Set(Set),
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

    /// `verb`: the command's, for a hint.
    fn change(&self, verb: &str, changes: Changes, env: &mut Env<'_>) -> Result<Output> {
        if changes.is_empty() {
            return Err(nothing_to_change("setting"));
        }
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let id = self.find(verb, &mut tx)?.id;
        setting::set(&mut tx, id, &changes).map_err(|error| match error.kind {
            Kind::Permission if changes.contains_key(setting::COUNT) => error.hint(
                "Only the administrator sets the counter: leave out --reset-total-calls and --current-total-calls.",
            ),
            _ => error,
        })?;
        let setting = setting::by_id(&mut tx, id)?.ok_or_else(|| Error::not_found("setting", id))?;
        tx.commit()?;
        if changes.contains_key("total_calls_allowed")
            && setting.total_calls_allowed.is_some_and(|total| total <= setting.current_total_calls)
        {
            env.progress(&format!("note: it has had {}: it gets no more", plural(setting.current_total_calls, "call")));
        }
        Output::done(format!("Setting of {} changed.", what(&setting)), &setting)
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
    #[command(flatten)]
    cap: Flags<columns::Cap, NEW>,
    #[command(flatten)]
    fields: Flags<columns::Setting>,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut setting = self.cap.changes()?;
        setting.extend(self.fields.changes()?);
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let (campaign, (client_id, identifier)) =
            pair(&mut tx, "add", &self.campaign, &self.client, self.user.as_deref())?;
        let what = format!("{identifier}\" in campaign \"{}", campaign.name);
        if setting::find(&mut tx, campaign.id, client_id)?.is_some() {
            return Err(exists("setting", &what));
        }
        setting.extend(changes::of([("campaign_id", json!(campaign.id)), ("client_id", json!(client_id))]));
        let id = changes::add(&mut tx, Noun::Setting, setting)?;
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
    #[command(flatten)]
    cap: Flags<columns::Cap>,
    #[command(flatten)]
    count: Flags<columns::Count>,
    /// Count answered calls from 0 again
    #[arg(long, conflicts_with = "current_total_calls")]
    reset_total_calls: bool,
    #[command(flatten)]
    fields: Flags<columns::Setting>,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut changes = self.cap.changes()?;
        changes.extend(self.count.changes()?);
        changes.extend(self.fields.changes()?);
        if self.reset_total_calls {
            changes.insert(setting::COUNT.to_owned(), json!(0));
        }
        self.named.change("set", changes, env)
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
        let verb = if status == "active" { "enable" } else { "disable" };
        let changed = self.named.change(verb, changes::of([("status", json!(status))]), env)?;
        Ok(changed.saying(|setting| {
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
            row: (Noun::Setting, id),
            thing: &format!("setting of {}", what(&setting)),
            along: None,
            lost: "setting",
            disable: format!("setting disable {id}"),
            forced: "removes it all the same",
            force: self.force,
        };
        removal.run(env, &mut db, |_| Ok(Vec::new()))?;
        Output::done(format!("Setting of {} removed.", what(&setting)), &setting)
    }
}
