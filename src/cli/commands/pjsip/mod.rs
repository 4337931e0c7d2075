//! `capconduit pjsip`: the SIP side of clients, as Asterisk reads it.
//!
//! A client has an endpoint, an AOR with its contact and, where it wants our calls authenticated, an
//! authentication; the id of all three is the client's identifier.

pub(crate) mod fields;
pub(crate) mod side;

use clap::Args;
use postgres::GenericClient;
use serde_json::json;

use crate::cli::args::flags::Flags;
use crate::cli::args::input::nothing_to_change;
use crate::cli::args::listing::{Known, Listing};
use crate::cli::commands::pjsip::fields::{AuthFields, OptionFields, PASSWORD, ask_password, endpoint_changes};
use crate::cli::commands::pjsip::side::{
    Side, UNREACHABLE, add_auth, lacks, note_what_is_missing, of_client, qualifying, refuse_conflicts, requalifying,
};
use crate::cli::commands::route::reachability;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::{self, Output};
use crate::model::columns;
use crate::model::pjsip_options::AOR_OUTBOUND_PROXY;
use crate::model::shape::{Fields, Json, paths};
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::store::pjsip;
use crate::{Error, Kind, Result};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit pjsip set acme --contact 'sip:pbx.acme.example:5061;transport=tls'
  capconduit pjsip set acme --auth-username us --ask-auth-password
  capconduit pjsip set acme --media-encryption sdes --rtp-timeout 60 --send-pai yes
  capconduit pjsip add oldclient --contact sip:203.0.113.7

Options of a client's own calls count where a site lets the client call: an identify section for its
endpoint in pjsip_local.conf, and a context for --context in extensions_local.conf.

Asterisk sees a change at the next call. It starts qualifying a new contact after
asterisk -rx 'pjsip reload qualify aor IDENT'.";

verbs! {
    /// The verbs of `pjsip`.
    enum Verb {
        /// List the clients' SIP sides
        List(List),
        /// Show a client's SIP side, and what keeps calls from it
        Show(Show),
        /// Add the endpoint and the AOR that a client lacks
        Add(Box<Add>),
        /// Change a client's SIP side
        Set(Box<Set>),
        /// Remove a client's SIP side; it gets no more calls
        Remove(Remove),
    }
}

/// `pjsip list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let sides = pjsip::list(&mut db, None)?;
        let contacts = reachability::ask(env.config, &mut db);
        let rows = sides.into_iter().map(|pjsip| output::to_value(&Side::seen(pjsip, &contacts)));
        let rows = rows.collect::<Result<_>>()?;
        let mut fields = paths(Side::FIELDS);
        fields.retain(|(_, field)| !matches!(field.json.known(), Json::Object(_)));
        // the fields of its objects last
        fields.sort_by_key(|(path, _)| path.contains('.'));
        let fields: Vec<Known<'_>> =
            fields.iter().map(|(name, field)| Known { name, is_time: field.is_time() }).collect();
        let shown = |column: &&str| contacts.is_asked() || *column != "contact_state";
        let columns: Vec<&str> = COLUMNS.iter().copied().filter(shown).collect();
        self.listing.of_values(rows, &fields, &columns, "No clients.")
    }
}

/// What the table of `pjsip list` shows; contact_state where Asterisk was asked.
const COLUMNS: &[&str] = &[
    "client_identifier",
    "status",
    "aor.contact",
    "aor.qualify_frequency",
    "endpoint.transport",
    "endpoint.context",
    "endpoint.allow",
    "auth.username",
    "contact_state",
    "problems",
];

/// `pjsip show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Client identifier or id
    client: String,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let pjsip = of_client(&mut db, client.id)?;
        let mut side = Side::seen(pjsip, &reachability::ask(env.config, &mut db));
        if let Some(problem) = side.pjsip.problems.iter_mut().find(|problem| *problem == UNREACHABLE) {
            let remedy = reachability::remedy(&side.pjsip.client_identifier, pjsip::may_change(&mut db)?);
            problem.push_str(&format!(". {remedy}"));
        }
        Output::item(&side)
    }
}

/// `pjsip add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Client identifier or id
    client: String,
    #[command(flatten)]
    contact: Flags<columns::AorContact>,
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
        let mut endpoint = endpoint_changes(&self.endpoint)?;
        let mut aor = self.contact.changes()?;
        aor.extend(self.aor.changes()?);
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth.changes()?;
        let with_auth = !auth.is_empty() || self.auth.auth_password_stdin;

        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        crate::model::sip::check_identifier(&client.client_identifier)?;
        let there = of_client(&mut db, client.id)?;
        if there.endpoint.is_some() && there.aor.is_some() {
            return Err(Error::conflict(format!("client \"{}\" has an endpoint and an AOR", client.client_identifier))
                .hint("Nothing was changed. capconduit pjsip set changes them."));
        }
        if with_auth {
            if there.auth.is_some() {
                return Err(Error::conflict(format!("client \"{}\" has an authentication", client.client_identifier))
                    .hint("Nothing was changed. capconduit pjsip set changes it."));
            }
            auth.insert(PASSWORD.to_owned(), self.auth.new_password(env)?);
        }
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        let id = client.client_identifier.as_str();
        if there.aor.is_some() {
            change(&mut tx, Noun::Aor, client.id, &aor)?;
        } else if aor.contains_key("contact") {
            pjsip::add(&mut tx, Noun::Aor, client.id, id, aor)?;
        } else {
            return Err(Error::new(Kind::Usage, format!("client \"{id}\" has no AOR: it needs --contact")));
        }
        if with_auth {
            add_auth(&mut tx, client.id, id, &mut endpoint, auth)?;
        } else if let Some(auth) = there.auth.filter(|_| there.endpoint.is_none()) {
            endpoint.insert("outbound_auth".to_owned(), json!(auth.id));
        }
        if there.endpoint.is_some() {
            change(&mut tx, Noun::Endpoint, client.id, &endpoint)?;
        } else {
            pjsip::add(&mut tx, Noun::Endpoint, client.id, id, endpoint)?;
        }
        refuse_conflicts(&mut tx, Some(client.id), &before)?;
        let pjsip = of_client(&mut tx, client.id)?;
        tx.commit()?;
        note_what_is_missing(env, &pjsip);
        Output::done(
            format!("SIP side of client \"{id}\" added.{}", qualifying(id, pjsip.aor.as_ref())),
            &Side::unasked(pjsip),
        )
    }
}

/// Changes a part of a client's SIP side, where there is something to change; says whether it is there.
fn change(tx: &mut impl GenericClient, noun: Noun, client_id: i32, changes: &Changes) -> Result<bool> {
    Ok(changes.is_empty() || changes::set(tx, noun, client_id, changes)? > 0)
}

/// `pjsip set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Client identifier or id
    client: String,
    #[command(flatten)]
    contact: Flags<columns::AorContact>,
    #[command(flatten)]
    endpoint: Flags<columns::Endpoint>,
    #[command(flatten)]
    links: Flags<columns::EndpointLinks>,
    #[command(flatten)]
    aor: Flags<columns::Aor>,
    #[command(flatten)]
    auth_type: Flags<columns::AuthType>,
    /// Ask for a new password
    #[arg(long, conflicts_with = "auth_password_stdin")]
    ask_auth_password: bool,
    #[command(flatten)]
    auth: AuthFields,
    #[command(flatten)]
    options: OptionFields,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut endpoint = endpoint_changes(&self.endpoint)?;
        endpoint.extend(self.links.changes()?);
        let mut aor = self.contact.changes()?;
        aor.extend(self.aor.changes()?);
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth_type.changes()?;
        auth.extend(self.auth.changes()?);
        let with_password = self.ask_auth_password || self.auth.auth_password_stdin;
        let with_auth = !auth.is_empty() || with_password;
        if endpoint.is_empty() && aor.is_empty() && !with_auth {
            return Err(nothing_to_change("pjsip"));
        }

        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let id = client.client_identifier.as_str();
        let there = of_client(&mut db, client.id)?;
        if with_auth && there.auth.is_none() {
            crate::model::sip::check_identifier(id)?;
            auth.insert(PASSWORD.to_owned(), self.auth.new_password(env)?);
        } else if with_password {
            let prompt = format!("New SIP password of client {id}");
            auth.insert(PASSWORD.to_owned(), ask_password(env, self.auth.auth_password_stdin, &prompt)?);
        }
        let is_requalified = aor.keys().any(|name| name != "max_contacts" && name != AOR_OUTBOUND_PROXY);
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        if with_auth && there.auth.is_none() {
            add_auth(&mut tx, client.id, id, &mut endpoint, auth)?;
        } else {
            change(&mut tx, Noun::Auth, client.id, &auth)?;
        }
        if !change(&mut tx, Noun::Aor, client.id, &aor)? {
            return Err(lacks(id, "AOR"));
        }
        if !change(&mut tx, Noun::Endpoint, client.id, &endpoint)? {
            return Err(lacks(id, "endpoint"));
        }
        refuse_conflicts(&mut tx, Some(client.id), &before)?;
        let pjsip = of_client(&mut tx, client.id)?;
        tx.commit()?;
        note_what_is_missing(env, &pjsip);
        let next = if is_requalified { requalifying(id) } else { String::new() };
        Output::done(format!("SIP side of client \"{id}\" changed.{next}"), &Side::unasked(pjsip))
    }
}

/// `pjsip remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Client identifier or id
    client: String,
    /// Remove only the authentication
    #[arg(long)]
    auth: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let id = client.client_identifier.as_str();
        let pjsip = of_client(&mut db, client.id)?;
        let (what, there) = match self.auth {
            true => ("authentication", pjsip.auth.is_some()),
            false => ("SIP side", pjsip.endpoint.is_some() || pjsip.aor.is_some() || pjsip.auth.is_some()),
        };
        if !there {
            return Err(Error::new(Kind::NotFound, format!("client \"{id}\" has no {what}")));
        }
        let question = match self.auth {
            true => format!("Remove the authentication of client \"{id}\"?"),
            false => format!("Remove the SIP side of client \"{id}\"? It gets no more calls."),
        };
        let confirmed = env.confirm(&question)?;
        let mut tx = env.begin(&mut db)?;
        match self.auth {
            true => pjsip::remove_auth(&mut tx, client.id, &confirmed)?,
            false => pjsip::remove(&mut tx, client.id, &confirmed)?,
        };
        tx.commit()?;
        Output::done(format!("The {what} of client \"{id}\" is removed."), &Side::unasked(pjsip))
    }
}
