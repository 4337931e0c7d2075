//! What adding and changing a client's SIP side takes besides its row: parts that work together, and what to do next.

use postgres::GenericClient;
use serde_json::json;

use crate::asterisk::live::answers;
use crate::asterisk::live::console::Console;
use crate::asterisk::live::contacts::Contacts;
use crate::cli::commands::route::reachability;
use crate::cli::env::Env;
use crate::model::live::{Contact, State};
use crate::model::sip::missing_transport;
use crate::store::changes::Changes;
use crate::store::noun::Noun;
use crate::store::pjsip::{self, Aor, OfNothing, Pjsip, WithOptions};
use crate::words::shell;
use crate::{Error, Kind, Result, shape};

/// The SIP side of a client.
pub(crate) fn of_client(db: &mut impl GenericClient, client_id: i32) -> Result<Pjsip> {
    pjsip::list(db, Some(client_id))?.pop().ok_or_else(|| Error::not_found("client", client_id))
}

shape! {
    /// A client's SIP side as it is printed: what the database has, and whether Asterisk reaches its contact.
    pub(crate) struct Side {
        #[serde(flatten)]
        pub(crate) pjsip: Pjsip,
        #[serde(flatten)]
        contact: Contact,
    }
}

impl Side {
    /// Where Asterisk was not asked.
    pub(crate) fn unasked(pjsip: Pjsip) -> Side {
        Side { pjsip, contact: Contact::default() }
    }

    /// With what Asterisk says: an unreachable client looks sound in the database.
    pub(crate) fn seen(mut pjsip: Pjsip, contacts: &Contacts) -> Side {
        let contact = contacts.client(&pjsip.client_identifier);
        if contact.contact_state == State::Unreachable && pjsip.status == "active" {
            pjsip.problems.push(UNREACHABLE.to_owned());
        }
        Side { pjsip, contact }
    }
}

/// What keeps calls from a client whose contact does not answer.
pub(crate) const UNREACHABLE: &str = "its contact does not answer OPTIONS: Asterisk places no call with it";

/// Refuses parts that are sound alone but cannot work together: of one client, or of all. `before`: references to
/// nothing that were there before, which do not refuse a change elsewhere.
pub(crate) fn refuse_conflicts(
    tx: &mut impl GenericClient,
    client_id: Option<i32>,
    before: &[OfNothing],
) -> Result<()> {
    pjsip::refuse_conflicts(tx, client_id)?;
    let mut nothing = pjsip::names_of_nothing(tx, client_id)?;
    nothing.retain(|one| !before.contains(one));
    if nothing.is_empty() {
        return Ok(());
    }
    // a site may have an authentication of its own in pjsip.conf
    let asked = Console::local()
        .and_then(|console| console.ask_within("pjsip show auths", std::time::Duration::from_secs(2)).ok());
    let of_asterisk = asked.as_deref().map(|text| answers::names(text, "Auth:")).unwrap_or_default();
    match nothing.iter().find(|one| one.what == "aors" || !of_asterisk.contains(&one.name.as_str())) {
        None => Ok(()),
        Some(one) => Err(Error::invalid(format!(
            "{} of endpoint {} is \"{}\", which does not exist",
            one.what, one.endpoint, one.name
        ))
        .hint(
            "Nothing was changed. capconduit pjsip list --json shows each client's AOR and authentication; \
               --auth-username adds one.",
        )),
    }
}

/// Says what Asterisk lacks for a client's calls, as far as it can be known: Asterisk may be on another machine, and a
/// site adds to its files.
pub(crate) fn note_what_is_missing(env: &mut Env<'_>, pjsip: &Pjsip) {
    let (Some(endpoint), Some(aor)) = (&pjsip.endpoint, &pjsip.aor) else { return };
    let named = endpoint.transport.as_ref().map(|name| name.0.as_str()).filter(|name| !name.is_empty());
    if missing_transport(&aor.contact.0, named, None).is_some() {
        let asked = Console::local()
            .and_then(|console| console.ask_within("pjsip show transports", std::time::Duration::from_secs(2)).ok());
        let there = asked.as_deref().map(answers::transports);
        let there: Option<Vec<_>> = there.map(|all| all.iter().map(|one| (one.id, one.protocol)).collect());
        if let Some(missing) = missing_transport(&aor.contact.0, named, there.as_deref()) {
            env.progress(&format!("note: {missing}."));
        }
    }
    if let Some(allow) = endpoint.allow.as_ref().filter(|allow| crate::model::codecs::translates_nothing(&allow.0)) {
        env.progress(&format!(
            "note: nothing here translates {allow}: only callers that offer the same are heard, unless modules_local.conf \
             loads its codec module."
        ));
    }
}

/// Adds an authentication and lets the endpoint use it.
pub(crate) fn add_auth(
    tx: &mut impl GenericClient,
    client_id: i32,
    identifier: &str,
    endpoint: &mut Changes,
    auth: Changes,
) -> Result<()> {
    pjsip::add(tx, Noun::Auth, client_id, identifier, auth)?;
    endpoint.entry("outbound_auth").or_insert_with(|| json!(identifier));
    Ok(())
}

/// How to have a new contact qualified, where it is to be: calls go to it unasked until then.
pub(crate) fn qualifying(client: &str, aor: Option<&WithOptions<Aor>>) -> String {
    match aor {
        Some(aor) if aor.row.qualify_frequency.is_some_and(|seconds| seconds > 0) => {
            format!(
                "\nAsterisk qualifies its contact from its next start on, or from: {}",
                reachability::requalify(client)
            )
        }
        _ => String::new(),
    }
}

/// How Asterisk learns of a changed contact.
pub(crate) fn requalifying(client: &str) -> String {
    format!("\nAsterisk qualifies as before until its next start, or: {}", reachability::requalify(client))
}

/// The error for changing a part that a client lacks.
pub(crate) fn lacks(identifier: &str, what: &str) -> Error {
    Error::new(Kind::NotFound, format!("client \"{identifier}\" has no {what}")).hint(format!(
        "Nothing was changed. capconduit pjsip add {} --contact sip:HOST adds what it lacks.",
        shell(identifier)
    ))
}
