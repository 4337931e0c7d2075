//! `capconduit client`: the call centres that calls are sold to.

use clap::Args;
use postgres::GenericClient;
use serde_json::json;

use crate::cli::args::flags::{Flags, NEW};
use crate::cli::args::input::nothing_to_change;
use crate::cli::args::listing::Listing;
use crate::cli::commands::pjsip::fields::{AuthFields, OptionFields, PASSWORD, endpoint_changes};
use crate::cli::commands::pjsip::side::{
    add_auth, lacks, note_what_is_missing, of_client, qualifying, refuse_conflicts, requalifying,
};
use crate::cli::env::Env;
use crate::cli::find::{self, exists, refuse_other_case};
use crate::cli::output::Output;
use crate::cli::remove::Removal;
use crate::model::columns;
use crate::model::sip::check_identifier;
use crate::model::values::not_an_id;
use crate::store::changes::{self, Changes};
use crate::store::client::{self, Client};
use crate::store::noun::Noun;
use crate::store::pjsip::{self, Aor, Auth, Endpoint, WithOptions};
use crate::words::{self, shell};
use crate::{Result, shape};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit client add acme --name 'Acme Support' --contact sip:203.0.113.7:5060
  capconduit client add borealis --name Borealis --contact 'sip:pbx.example.com;transport=tcp' \\
      --auth-username us
  capconduit client add carla --name Carla --contact sip:203.0.113.8 --qualify-frequency 0
  capconduit client disable acme
  capconduit client remove acme --force

Asterisk places no call with a contact that does not answer its OPTIONS requests. For a call centre
that ignores them: --qualify-frequency 0.";

verbs! {
    /// The verbs of `client`.
    enum Verb {
        /// List clients
        List(List),
        /// Show a client with its endpoint, AOR and authentication
        Show(Show),
        /// Add a client with its endpoint, AOR and authentication
        Add(Box<Add>),
        /// Change a client
        Set(Box<Set>),
        /// Let a client get calls
        Enable(Switch) as "active",
        /// Let a client get no calls
        Disable(Switch) as "inactive",
        /// Remove a client
        Remove(Remove),
    }
}

shape! {
    /// A client and its SIP side.
    pub(crate) struct Whole {
        #[serde(flatten)]
        client: Client,
        /// Its SIP side: the endpoint.
        endpoint: Option<WithOptions<Endpoint>>,
        /// Where the endpoint is.
        aor: Option<WithOptions<Aor>>,
        /// What Asterisk authenticates with.
        auth: Option<Auth>,
    }
}

fn whole(db: &mut impl GenericClient, name: &str) -> Result<Whole> {
    let client = find::client(db, name)?;
    if !client::are_whole(db)? {
        return Ok(Whole { client, endpoint: None, aor: None, auth: None });
    }
    let pjsip = of_client(db, client.id)?;
    Ok(Whole { client, endpoint: pjsip.endpoint, aor: pjsip.aor, auth: pjsip.auth })
}

/// `client list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this status
    #[arg(long, value_parser = columns::STATUSES)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let clients = client::list(&mut env.connect()?, self.status.as_deref())?;
        self.listing.of(
            &clients,
            &["id", "client_identifier", "name", "department", "status", "contact"],
            "No clients.",
        )
    }
}

/// `client show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Client identifier or id
    client: String,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = whole(&mut db, &self.client)?;
        if !client::are_whole(&mut db)? {
            env.progress("note: contact, endpoint and notes are the administrator's to see, and left out here");
        }
        Output::item(&client)
    }
}

/// The user who added a client.
#[derive(Debug, Args)]
struct Adder {
    /// The user who added it; empty clears it
    #[arg(long, value_name = "USER")]
    created_by: Option<String>,
}

impl Adder {
    fn change(&self, db: &mut impl GenericClient, changes: &mut Changes) -> Result<()> {
        let Some(user) = self.created_by.as_deref() else { return Ok(()) };
        let id = if user.is_empty() { None } else { Some(find::user(db, user)?.id) };
        changes.insert("created_by".to_owned(), json!(id));
        Ok(())
    }
}

/// `client add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Names the client and its endpoint: 1 to 40 of A-Z a-z 0-9 _ -, not digits only
    client_identifier: String,
    #[command(flatten)]
    name: Flags<columns::ClientName, NEW>,
    #[command(flatten)]
    contact: Flags<columns::AorContact, NEW>,
    #[command(flatten)]
    fields: Flags<columns::Client>,
    #[command(flatten)]
    adder: Adder,
    #[command(flatten)]
    endpoint: Flags<columns::Endpoint>,
    #[command(flatten)]
    aor: Flags<columns::Aor>,
    #[command(flatten)]
    auth: AuthFields,
    #[command(flatten)]
    options: OptionFields,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let id = self.client_identifier.as_str();
        check_identifier(id)?;
        not_an_id("client_identifier", id)?;
        let mut client = self.name.changes()?;
        client.extend(self.fields.changes()?);
        let mut aor = self.contact.changes()?;
        aor.extend(self.aor.changes()?);
        let mut endpoint = endpoint_changes(&self.endpoint)?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth.changes()?;

        let mut db = env.connect()?;
        if let Some(there) = client::find(&mut db, id)?.filter(|client| client.client_identifier == id) {
            return Err(exists("client", &there.client_identifier));
        }
        refuse_other_case("client", id, &client::names(&mut db)?)?;
        let with_auth = !auth.is_empty() || self.auth.auth_password_stdin;
        if with_auth {
            auth.insert(PASSWORD.to_owned(), self.auth.new_password(env)?);
        }
        let mut tx = env.begin(&mut db)?;
        self.adder.change(&mut tx, &mut client)?;
        client.insert("client_identifier".to_owned(), json!(id));
        let client_id = changes::add(&mut tx, Noun::Client, client)?;
        pjsip::add(&mut tx, Noun::Aor, client_id, id, aor)?;
        if with_auth {
            add_auth(&mut tx, client_id, id, &mut endpoint, auth)?;
        }
        pjsip::add(&mut tx, Noun::Endpoint, client_id, id, endpoint)?;
        refuse_conflicts(&mut tx, Some(client_id), &[])?;
        let client = whole(&mut tx, id)?;
        let side = of_client(&mut tx, client_id)?;
        tx.commit()?;
        note_what_is_missing(env, &side);
        Output::done(format!("Client \"{id}\" added.{}", qualifying(id, client.aor.as_ref())), &client)
    }
}

/// `client set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Client identifier or id
    client: String,
    #[command(flatten)]
    name: Flags<columns::ClientName>,
    #[command(flatten)]
    contact: Flags<columns::AorContact>,
    #[command(flatten)]
    fields: Flags<columns::Client>,
    #[command(flatten)]
    adder: Adder,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut changes = self.name.changes()?;
        changes.extend(self.fields.changes()?);
        let contact = self.contact.changes()?;
        if changes.is_empty() && contact.is_empty() && self.adder.created_by.is_none() {
            return Err(nothing_to_change("client"));
        }
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        self.adder.change(&mut tx, &mut changes)?;
        let client = find::client(&mut tx, &self.client)?;
        let id = client.client_identifier.as_str();
        if !contact.is_empty() && changes::set(&mut tx, Noun::Aor, client.id, &contact)? == 0 {
            return Err(lacks(id, "AOR"));
        }
        changes::set(&mut tx, Noun::Client, client.id, &changes)?;
        let changed = whole(&mut tx, id)?;
        let side = if contact.is_empty() { None } else { Some(of_client(&mut tx, client.id)?) };
        tx.commit()?;
        let mut message = format!("Client \"{id}\" changed.");
        if let Some(side) = side {
            note_what_is_missing(env, &side);
            message.push_str(&requalifying(id));
        }
        Output::done(message, &changed)
    }
}

/// `client enable`, `client disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Client identifier or id
    client: String,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let client = find::client(&mut tx, &self.client)?;
        changes::set(&mut tx, Noun::Client, client.id, &changes::of([("status", json!(status))]))?;
        let client = whole(&mut tx, &client.client_identifier)?;
        tx.commit()?;
        Output::done(format!("Client \"{}\" is {status}.", client.client.client_identifier), &client)
    }
}

/// `client remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Client identifier or id
    client: String,
    /// Remove its settings too, even with calls in flight; call records then name no client
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = whole(&mut db, &self.client)?;
        let Client { id, client_identifier: name, .. } = &client.client;
        let removal = Removal {
            row: (Noun::Client, *id),
            thing: &format!("client \"{name}\""),
            along: None,
            lost: "client",
            disable: format!("client disable {}", shell(name)),
            forced: "removes its settings too",
            force: self.force,
        };
        removal.run(env, &mut db, |tx| {
            let campaigns = words::counted("campaign", &client::campaigns(tx, *id)?);
            Ok(campaigns.map(|names| format!("settings in {names}")).into_iter().collect())
        })?;
        Output::done(format!("Client \"{name}\" removed."), &client)
    }
}
