//! What commands say of the clients' contacts: whether a client that is to get a call can be reached.

use postgres::GenericClient;
use serde_json::Value;

use crate::Result;
use crate::asterisk::live::contacts::{self, Answer, Contacts};
use crate::config::Config;
use crate::model::live::State;
use crate::store::pjsip;
use crate::words::shell;

/// Asks Asterisk about all clients.
pub(crate) fn ask(config: &Config, db: &mut impl GenericClient) -> Contacts {
    of(contacts::ask(config), db)
}

/// What an answer says of all clients.
pub(crate) fn of(answer: Option<Answer>, db: &mut impl GenericClient) -> Contacts {
    // a login that may not read them can do without
    Contacts::of(answer, chrono::Utc::now(), || pjsip::qualifications(db).unwrap_or_default())
}

/// The command that makes Asterisk read a contact's changed qualifying.
pub(crate) fn requalify(client: &str) -> String {
    format!("asterisk -rx 'pjsip reload qualify aor {}'", shell(client))
}

/// What to do about a client whose contact Asterisk holds unreachable; a seller's login can do nothing.
pub(crate) fn remedy(client: &str, may_change: bool) -> String {
    if !may_change {
        return "Tell the administrator: only he can change that".to_owned();
    }
    format!(
        "Ask the call centre; where it takes calls but ignores OPTIONS: capconduit pjsip set {} --qualify-frequency 0, \
         then {}",
        shell(client),
        requalify(client)
    )
}

/// The remedy for the decision's first client, if Asterisk holds it unreachable.
pub(crate) fn advice(db: &mut impl GenericClient, decision: &Value) -> Result<Option<String>> {
    let candidates = decision["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chosen = candidates.iter().find(|candidate| candidate["eligible"] == true);
    let state = State::Unreachable.to_string();
    let Some(chosen) = chosen.filter(|chosen| chosen["contact_state"] == state) else { return Ok(None) };
    let client = chosen["client_identifier"].as_str().unwrap_or_default();
    let remedy = remedy(client, pjsip::may_change(db)?);
    Ok(Some(format!("Asterisk holds the contact of {client} unreachable. {remedy}")))
}

/// Adds its contact's state to each candidate of a decision; returns what that means for the call. None: no client gets
/// the call.
pub(crate) fn judge(decision: &mut Value, contacts: &Contacts) -> Option<String> {
    let mut order = Vec::new();
    for candidate in decision["candidates"].as_array_mut().into_iter().flatten() {
        let name = candidate["client_identifier"].as_str().unwrap_or_default().to_owned();
        let contact = contacts.client(&name);
        candidate["contact_state"] = contact.contact_state.to_string().into();
        if candidate["eligible"] == true {
            order.push((name, contact));
        }
    }
    let (chosen, contact) = order.first()?;
    let next = order.iter().skip(1).find(|(_, contact)| contact.contact_state != State::Unreachable);
    Some(match (contact.contact_state, next) {
        (State::NotAsked, _) => "Asterisk was not asked".to_owned(),
        (State::Unknown, _) => format!("Asterisk does not say whether {chosen} answers"),
        (State::NotQualified, _) => format!("{chosen} is called without being asked first whether it answers"),
        (State::Reachable, _) => match contact.contact_rtt_ms {
            Some(ms) => format!("{chosen} answers, in {ms} ms"),
            None => format!("{chosen} answers"),
        },
        (State::Unreachable, Some((next, _))) => {
            format!("{chosen} is unreachable: the call would fail over to {next}")
        }
        (State::Unreachable, None) => format!("{chosen} is unreachable, and no other can take the call: it would fail"),
    })
}
