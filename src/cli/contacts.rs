//! What commands say of the clients' contacts: whether a client that is to get a call can be reached.

use postgres::GenericClient;
use serde_json::Value;

use crate::config::Config;
use crate::contact::{self, Answer, Contacts, State};
use crate::store::pjsip;

/// Asks Asterisk about all clients.
pub(super) fn ask(config: &Config, db: &mut impl GenericClient) -> Contacts {
    of(contact::ask(config), db)
}

/// What an answer says of all clients.
pub(super) fn of(answer: Option<Answer>, db: &mut impl GenericClient) -> Contacts {
    // a login that may not read them can do without
    Contacts::of(answer, chrono::Utc::now(), || pjsip::qualifications(db).unwrap_or_default())
}

/// Adds to each candidate of a decision what its contact does; returns what that means for the call.
/// None: the call proceeds to nobody.
pub(super) fn judge(decision: &mut Value, contacts: &Contacts) -> Option<String> {
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
