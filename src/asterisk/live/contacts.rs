//! Whether the clients' contacts answer, as an Asterisk that can be asked sees it. Asking is quick and
//! never fails a command: without an answer, nothing is known.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::asterisk::live::answers;
use crate::asterisk::live::ari::Ari;
use crate::asterisk::live::console::Console;
use crate::config::Config;
use crate::model::live::{Contact, State};
use crate::store::pjsip::Qualification;

/// How long a question may take: its answer is worth no longer wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// This long after asking a contact, Asterisk is sure to know whether it answers.
const SETTLING: chrono::Duration = chrono::Duration::seconds(10);

/// What an Asterisk has answered.
#[derive(Debug)]
pub enum Answer {
    /// The console: each contact as it is now.
    Contacts(HashMap<String, Contact>),
    /// ARI: which endpoints are online, which says less.
    Endpoints {
        /// When the server was started.
        started_at: DateTime<Utc>,
        /// By name.
        online: HashMap<String, bool>,
    },
}

/// Asks the Asterisk on this host, else the one that `ASTERISK_ARI_URL` names. None: neither is there, or
/// answers in time.
#[must_use]
pub fn ask(config: &Config) -> Option<Answer> {
    let of_console = || Console::local()?.ask_within("pjsip show contacts", TIMEOUT).ok();
    if let Some(text) = of_console() {
        return Some(Answer::Contacts(by_client(&text)));
    }
    let (started_at, endpoints) = Ari::of(config).ok()??.within(TIMEOUT).endpoints().ok()?;
    let online = endpoints.into_iter().map(|endpoint| (endpoint.resource, endpoint.state == "online")).collect();
    Some(Answer::Endpoints { started_at, online })
}

fn by_client(text: &str) -> HashMap<String, Contact> {
    let mut contacts: HashMap<String, Contact> = HashMap::new();
    for contact in answers::contacts(text) {
        let contact_state = match contact.status {
            "Avail" => State::Reachable,
            "NonQual" => State::NotQualified,
            "Unavail" => State::Unreachable,
            _ => State::Unknown,
        };
        let seen = Contact { contact_state, contact_rtt_ms: contact.rtt_ms };
        let best = contacts.entry(contact.aor.to_owned()).or_insert(seen);
        if best.contact_state < contact_state {
            *best = seen;
        }
    }
    contacts
}

/// The contacts of all clients.
#[derive(Debug, Default)]
pub struct Contacts {
    by_client: HashMap<String, Contact>,
    is_asked: bool,
}

impl Contacts {
    /// What an answer says of each client. ARI shows an endpoint as offline until it is qualified, and as online if
    /// it never is: only the database tells which is so.
    #[must_use]
    pub fn of(answer: Option<Answer>, at: DateTime<Utc>, clients: impl FnOnce() -> Vec<Qualification>) -> Contacts {
        let by_client = match answer {
            None => return Contacts::default(),
            Some(Answer::Contacts(by_client)) => by_client,
            Some(Answer::Endpoints { started_at, online }) => {
                let is_settled = |client: &Qualification| {
                    // at its start Asterisk spreads the first requests over this time
                    at - started_at > SETTLING + chrono::Duration::seconds(client.qualify_frequency.into())
                };
                let state = |client: &Qualification| match online.get(&client.id) {
                    None => State::Unknown,
                    // Asterisk may not have seen the change
                    _ if client.changed_at.is_none_or(|changed_at| changed_at >= started_at) => State::Unknown,
                    _ if client.qualify_frequency <= 0 => State::NotQualified,
                    Some(true) => State::Reachable,
                    Some(false) if is_settled(client) => State::Unreachable,
                    Some(false) => State::Unknown,
                };
                let contact = |client: &Qualification| Contact { contact_state: state(client), contact_rtt_ms: None };
                clients().iter().map(|client| (client.id.clone(), contact(client))).collect()
            }
        };
        Contacts { by_client, is_asked: true }
    }

    /// Whether an Asterisk has answered.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The contact of this client.
    #[must_use]
    pub fn client(&self, identifier: &str) -> Contact {
        let unsaid = if self.is_asked { State::Unknown } else { State::NotAsked };
        let nothing = Contact { contact_state: unsaid, contact_rtt_ms: None };
        self.by_client.get(identifier).copied().unwrap_or(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_contact_that_answers_is_enough() {
        let text = "  Contact:  acme/sip:192.0.2.1:5060     344e588cfb Unavail        -nan\n\
                    \x20 Contact:  acme/sip:192.0.2.2:5060     81bc542e88 Avail         0.748\n\
                    \x20 Contact:  zulu/sip:192.0.2.3:5060     eecf362c50 NonQual        -nan\n";
        let contacts = Contacts::of(Some(Answer::Contacts(by_client(text))), Utc::now(), Vec::new);
        let reachable = Contact { contact_state: State::Reachable, contact_rtt_ms: Some(0.748) };
        assert_eq!(contacts.client("acme"), reachable);
        assert_eq!(contacts.client("zulu").contact_state, State::NotQualified);
        assert_eq!(contacts.client("other").contact_state, State::Unknown);
        assert_eq!(Contacts::default().client("acme").contact_state, State::NotAsked);
    }

    #[test]
    fn ari_is_believed_only_where_it_must_be_right() {
        let minutes = chrono::Duration::minutes;
        let started_at = Utc::now();
        // `changed` and `up` are minutes after its start
        let of = |online: Option<bool>, qualify_frequency: i32, changed: i64, up: i64| {
            let online = online.map(|online| ("acme".to_owned(), online)).into_iter().collect();
            let changed_at = Some(started_at + minutes(changed));
            let client = Qualification { id: "acme".into(), qualify_frequency, changed_at };
            let answer = Some(Answer::Endpoints { started_at, online });
            Contacts::of(answer, started_at + minutes(up), || vec![client]).client("acme").contact_state
        };
        assert_eq!(of(Some(true), 60, -1, 60), State::Reachable);
        assert_eq!(of(Some(false), 60, -1, 60), State::Unreachable);
        assert_eq!(of(Some(false), 60, -1, 1), State::Unknown, "not asked yet");
        assert_eq!(of(Some(false), 60, 30, 60), State::Unknown, "added since, and not qualified since");
        assert_eq!(of(Some(true), 60, 30, 60), State::Unknown, "that is the contact of before");
        assert_eq!(of(Some(true), 0, -1, 60), State::NotQualified);
        assert_eq!(of(Some(false), 0, -1, 60), State::NotQualified);
        assert_eq!(of(None, 60, -1, 60), State::Unknown);
    }
}
