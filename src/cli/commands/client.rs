//! `capconduit client`: the call centres that calls are sold to.

use clap::Args;
use postgres::{GenericClient, Transaction};

use crate::cli::args::input::{clearable, line, not_an_id, nothing_to_change};
use crate::cli::args::listing::Listing;
use crate::cli::commands::pjsip::fields::{
    AorFields, AuthFields, DEFAULT_CONTEXT, EndpointFields, OptionFields, contact,
};
use crate::cli::commands::pjsip::side::{
    add_auth, lacks, note_what_is_missing, of_client, qualifying, refuse_conflicts, requalifying,
};
use crate::cli::env::Env;
use crate::cli::find::{self, exists, refuse_other_case};
use crate::cli::output::Output;
use crate::cli::remove::{Removal, Uses};
use crate::model::realtime::Text;
use crate::model::rules;
use crate::model::sip::check_identifier;
use crate::store::client::{self, Changes, Client};
use crate::store::pjsip::{self, Aor, AorChanges, Auth, Endpoint, WithOptions};
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
    #[arg(long, value_parser = rules::STATUSES)]
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

/// What a client has besides identifier, name and contact.
#[derive(Debug, Default, Args)]
struct ClientFields {
    /// Which part of it takes the calls; empty clears it
    #[arg(long, value_name = "TEXT")]
    department: Option<String>,
    /// Only an active client gets calls
    #[arg(long, value_parser = rules::STATUSES)]
    status: Option<String>,
    /// Free text; empty clears it
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// The user who added it; empty clears it
    #[arg(long, value_name = "USER")]
    created_by: Option<String>,
}

impl ClientFields {
    fn check(&self) -> Result<()> {
        clearable("department", self.department.as_deref(), rules::NAME)
    }

    fn is_given(&self) -> bool {
        self.department.is_some() || self.status.is_some() || self.notes.is_some() || self.created_by.is_some()
    }

    fn changes(self, db: &mut impl GenericClient, name: Option<String>) -> Result<Changes> {
        let created_by = match self.created_by.as_deref() {
            None => None,
            Some("") => Some(None),
            Some(user) => Some(Some(find::user(db, user)?.id)),
        };
        Ok(Changes { name, department: self.department, status: self.status, notes: self.notes, created_by })
    }
}

/// `client add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Names the client and its endpoint: 1 to 40 of A-Z a-z 0-9 _ -, not digits only
    client_identifier: String,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: String,
    #[command(flatten)]
    fields: ClientFields,
    #[command(flatten)]
    endpoint: EndpointFields,
    #[command(flatten)]
    aor: AorFields,
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
        line("name", &*self.name, rules::NAME)?;
        self.fields.check()?;
        let contact = contact(self.contact)?;
        let mut aor = self.aor.changes(None)?;
        let mut endpoint = self.endpoint.changes()?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth.changes()?;

        let mut db = env.connect()?;
        if let Some(there) = client::find(&mut db, id)?.filter(|client| client.client_identifier == id) {
            return Err(exists("client", &there.client_identifier));
        }
        refuse_other_case("client", id, &client::names(&mut db)?)?;
        let with_auth = self.auth.is_given();
        if with_auth {
            auth.password = Some(self.auth.new_password(env)?);
        }
        let mut tx = env.begin(&mut db)?;
        let changes = self.fields.changes(&mut tx, None)?;
        let client_id = client::add(&mut tx, id, &self.name)?;
        client::set(&mut tx, client_id, &changes)?;
        pjsip::add_aor(&mut tx, client_id, id, &contact)?;
        pjsip::set_aor(&mut tx, client_id, &aor)?;
        let context = endpoint.context.take().unwrap_or_else(|| Text(DEFAULT_CONTEXT.to_owned()));
        pjsip::add_endpoint(&mut tx, client_id, id, &context)?;
        if with_auth {
            add_auth(&mut tx, client_id, id, &mut endpoint, &auth)?;
        }
        pjsip::set_endpoint(&mut tx, client_id, &endpoint)?;
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
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: Option<String>,
    #[command(flatten)]
    fields: ClientFields,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        if self.name.is_none() && self.contact.is_none() && !self.fields.is_given() {
            return Err(nothing_to_change("client"));
        }
        line("name", self.name.as_deref(), rules::NAME)?;
        self.fields.check()?;
        let contact = self.contact.map(contact).transpose()?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        let changes = self.fields.changes(&mut tx, self.name)?;
        let client = find::client(&mut tx, &self.client)?;
        let id = client.client_identifier.as_str();
        let next = if contact.is_some() { requalifying(id) } else { String::new() };
        if contact.is_some() {
            let aor = AorChanges { contact, ..AorChanges::default() };
            if pjsip::set_aor(&mut tx, client.id, &aor)? == 0 {
                return Err(lacks(id, "AOR"));
            }
        }
        client::set(&mut tx, client.id, &changes)?;
        let client_id = client.id;
        let client = whole(&mut tx, id)?;
        let side = if next.is_empty() { None } else { Some(of_client(&mut tx, client_id)?) };
        tx.commit()?;
        if let Some(side) = side {
            note_what_is_missing(env, &side);
        }
        Output::done(format!("Client \"{}\" changed.{next}", client.client.client_identifier), &client)
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
        let fields = ClientFields { status: Some(status.to_owned()), ..ClientFields::default() };
        let set = Set { client: self.client, name: None, contact: None, fields };
        Ok(set.run(env)?.saying(|client| format!("Client {} is {status}.", client["client_identifier"])))
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
            thing: &format!("client \"{name}\""),
            along: None,
            lost: "client",
            disable: format!("client disable {}", shell(name)),
            forced: "removes its settings too",
            force: self.force,
        };
        let uses = |tx: &mut Transaction<'_>| {
            let usage = client::usage(tx, *id)?;
            let settings = words::counted("campaign", &usage.campaigns).map(|names| format!("settings in {names}"));
            Ok(Uses::new([settings], usage.live_calls, usage.records))
        };
        removal.run(env, &mut db, uses, |tx, confirmed| client::remove(tx, *id, confirmed))?;
        Output::done(format!("Client \"{name}\" removed."), &client)
    }
}
