//! `capconduit pjsip`: the SIP side of clients, as Asterisk reads it.
//!
//! A client has an endpoint, an AOR with its contact and, where it wants our calls authenticated, an
//! authentication; the id of all three is the client's identifier.

pub(crate) mod fields;
pub(crate) mod side;

use clap::Args;

use crate::cli::args::input::nothing_to_change;
use crate::cli::args::listing::{Known, Listing};
use crate::cli::commands::pjsip::fields::{
    AorFields, AuthFields, DEFAULT_CONTEXT, EndpointFields, OptionFields, ask_password, word,
};
use crate::cli::commands::pjsip::side::{
    Side, UNREACHABLE, add_auth, lacks, note_what_is_missing, of_client, qualifying, refuse_conflicts, requalifying,
};
use crate::cli::commands::route::reachability;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::{self, Output};
use crate::model::pjsip_options::Object;
use crate::model::realtime::Text;
use crate::model::shape::{Fields, Json, paths};
use crate::store::pjsip::{self, AorChanges, AuthChanges, EndpointChanges};
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
        // those of its objects last
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
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: Option<String>,
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
        let mut endpoint = self.endpoint.changes()?;
        let mut aor = self.aor.changes(self.contact)?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth.changes()?;
        let with_auth = self.auth.is_given();

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
            auth.password = Some(self.auth.new_password(env)?);
        }
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        let id = client.client_identifier.as_str();
        if there.aor.is_none() {
            let Some(contact) = &aor.contact else {
                return Err(Error::new(Kind::Usage, format!("client \"{id}\" has no AOR: it needs --contact")));
            };
            pjsip::add_aor(&mut tx, client.id, id, contact)?;
        }
        if aor != AorChanges::default() {
            pjsip::set_aor(&mut tx, client.id, &aor)?;
        }
        if there.endpoint.is_none() {
            let context = endpoint.context.take().unwrap_or_else(|| Text(DEFAULT_CONTEXT.to_owned()));
            pjsip::add_endpoint(&mut tx, client.id, id, &context)?;
        }
        if with_auth {
            add_auth(&mut tx, client.id, id, &mut endpoint, &auth)?;
        } else if let Some(auth) = there.auth.filter(|_| there.endpoint.is_none()) {
            endpoint.outbound_auth = Some(Text(auth.id));
        }
        if endpoint != EndpointChanges::default() {
            pjsip::set_endpoint(&mut tx, client.id, &endpoint)?;
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

/// `pjsip set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Client identifier or id
    client: String,
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: Option<String>,
    #[command(flatten)]
    endpoint: EndpointFields,
    /// AOR to dial; empty: the one with the endpoint's id
    #[arg(long, value_name = "ID")]
    aors: Option<String>,
    /// What the client must authenticate its own calls with; empty: nothing
    #[arg(long, value_name = "ID")]
    auth: Option<String>,
    /// What to authenticate our calls with at the client; empty: nothing
    #[arg(long, value_name = "ID")]
    outbound_auth: Option<String>,
    #[command(flatten)]
    aor: AorFields,
    /// How the password is kept
    #[arg(long, value_parser = ["userpass"])]
    auth_type: Option<String>,
    /// Ask for a new password
    #[arg(long, conflicts_with = "auth_password_stdin")]
    ask_auth_password: bool,
    #[command(flatten)]
    auth_fields: AuthFields,
    #[command(flatten)]
    options: OptionFields,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut endpoint = EndpointChanges {
            aors: word("aors", self.aors, 200)?,
            auth: word("auth", self.auth, 40)?,
            outbound_auth: word("outbound_auth", self.outbound_auth, 40)?,
            ..self.endpoint.changes()?
        };
        let mut aor = self.aor.changes(self.contact)?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = AuthChanges { auth_type: self.auth_type.map(Text), ..self.auth_fields.changes()? };
        let with_password = self.ask_auth_password || self.auth_fields.auth_password_stdin;
        let with_auth = auth != AuthChanges::default() || with_password;
        if endpoint == EndpointChanges::default() && aor == AorChanges::default() && !with_auth {
            return Err(nothing_to_change("pjsip"));
        }

        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let id = client.client_identifier.as_str();
        let there = of_client(&mut db, client.id)?;
        if with_auth && there.auth.is_none() {
            crate::model::sip::check_identifier(id)?;
            auth.password = Some(self.auth_fields.new_password(env)?);
        } else if with_password {
            let prompt = format!("New SIP password of client {id}");
            auth.password = Some(ask_password(env, self.auth_fields.auth_password_stdin, &prompt)?);
        }
        let is_requalified = aor.contact.is_some()
            || aor.qualify_frequency.is_some()
            || aor.options.iter().any(|(o, _)| o.object == Object::Aor);
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        if with_auth && there.auth.is_none() {
            add_auth(&mut tx, client.id, id, &mut endpoint, &auth)?;
        } else if with_auth {
            pjsip::set_auth(&mut tx, client.id, &auth)?;
        }
        if aor != AorChanges::default() && pjsip::set_aor(&mut tx, client.id, &aor)? == 0 {
            return Err(lacks(id, "AOR"));
        }
        if endpoint != EndpointChanges::default() && pjsip::set_endpoint(&mut tx, client.id, &endpoint)? == 0 {
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
