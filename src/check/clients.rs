//! The clients of the database as Asterisk sees them.

use super::console::Console;
use super::{Area, answers, some_of};
use crate::store::pjsip::Pjsip;
use crate::{Result, asterisk};

/// What Asterisk says of the clients.
struct Seen {
    endpoints: String,
    contacts: String,
    transports: String,
    codecs: String,
}

/// Looks at every client; `asterisk` is None where it does not answer.
#[must_use]
pub fn check(clients: &[Pjsip], asterisk: Option<&Console>) -> Area {
    let mut area = Area::new("clients");
    let (active, inactive): (Vec<&Pjsip>, Vec<&Pjsip>) = clients.iter().partition(|client| client.status == "active");
    for client in &active {
        for problem in &client.problems {
            let name = &client.client_identifier;
            area.error(
                &check_name(client),
                format!("{problem}: it gets no calls"),
                format!("{}; or capconduit client disable {name}", way(client)),
            );
        }
    }
    let whole: Vec<&Pjsip> = active.iter().copied().filter(|client| client.problems.is_empty()).collect();
    let message = format!("{} of {} active clients have an endpoint and a contact", whole.len(), active.len());
    if whole.len() == active.len() && !active.is_empty() {
        area.ok("definitions", message);
    } else {
        area.info("definitions", message);
    }
    let Some(console) = asterisk else {
        area.not_looked_at("as Asterisk sees them", "Asterisk does not answer");
        return area;
    };
    match seen(console) {
        Ok(seen) => as_seen(&mut area, &whole, &inactive, &seen),
        Err(e) => area.unknown("as Asterisk sees them", e.message, "Ask again; see Asterisk's log."),
    }
    area
}

/// The command that gives a client what it lacks.
fn way(client: &Pjsip) -> String {
    let name = &client.client_identifier;
    match (&client.endpoint, &client.aor) {
        (_, None) => format!("capconduit pjsip add {name} --contact sip:HOST"),
        (None, Some(_)) => format!("capconduit pjsip add {name}"),
        (Some(_), Some(aor)) if aor.contact.0.is_empty() => format!("capconduit pjsip set {name} --contact sip:HOST"),
        _ => format!("capconduit pjsip show {name} says what it has, capconduit pjsip set {name} changes it"),
    }
}

fn seen(console: &Console) -> Result<Seen> {
    Ok(Seen {
        endpoints: console.ask("pjsip show endpoints")?,
        contacts: console.ask("pjsip show contacts")?,
        transports: console.ask("pjsip show transports")?,
        codecs: console.ask("core show codecs")?,
    })
}

fn check_name(client: &Pjsip) -> String {
    format!("client {}", client.client_identifier)
}

fn as_seen(area: &mut Area, active: &[&Pjsip], inactive: &[&Pjsip], seen: &Seen) {
    let endpoints = answers::endpoints(&seen.endpoints);
    let is_seen = |client: &Pjsip| endpoints.contains(&client.client_identifier.as_str());
    let before = area.findings.len();
    if !active.is_empty() && !active.iter().any(|client| is_seen(client)) {
        area.error(
            "endpoints",
            "Asterisk has no endpoint of an active client: nobody gets calls",
            format!(
                "{}, where it was not since the first capconduit asterisk install; else see server, database and \
                 Asterisk's log.",
                asterisk::RESTART
            ),
        );
        return reachable(area, &[], &seen.contacts);
    }
    for client in active.iter().filter(|client| !is_seen(client)) {
        area.error(
            &check_name(client),
            "Asterisk has no such endpoint: it gets no calls",
            format!(
                "asterisk -rx 'pjsip show endpoint {}', and see Asterisk's log: it drops an endpoint for one bad value.",
                client.client_identifier
            ),
        );
    }
    let stale: Vec<&str> = inactive.iter().filter(|c| is_seen(c)).map(|c| c.client_identifier.as_str()).collect();
    if !stale.is_empty() {
        area.warning(
            "inactive",
            format!("Asterisk still has inactive clients: {}", some_of(&stale)),
            "Look for them in pjsip_local.conf, and for a cache in sorcery.conf.",
        );
    }
    let codecs = answers::codecs(&seen.codecs);
    let transports: Vec<&str> = answers::transports(&seen.transports).iter().map(|transport| transport.id).collect();
    for client in active {
        values(area, client, &codecs, &transports);
    }
    if area.findings.len() == before {
        area.ok("endpoints", "Asterisk has those of the active clients, and no other client's");
    }
    reachable(area, active, &seen.contacts);
}

/// What in a client's rows Asterisk does not know.
fn values(area: &mut Area, client: &Pjsip, codecs: &[&str], transports: &[&str]) {
    let Some(endpoint) = &client.endpoint else { return };
    let name = &client.client_identifier;
    if let Some(transport) = endpoint.transport.as_ref().filter(|t| !t.0.is_empty())
        && !transports.contains(&transport.0.as_str())
    {
        area.error(
            &check_name(client),
            format!("its transport \"{transport}\" does not exist: calls to it fail"),
            match transports.first() {
                Some(first) => {
                    format!("capconduit pjsip set {name} --transport {first}; there are: {}", some_of(transports))
                }
                None => "pjsip.conf has no transport: see server.".to_owned(),
            },
        );
    }
    let allowed = endpoint.allow.as_ref().map_or("", |allow| &allow.0);
    let plain = |codec: &&str| !codec.is_empty() && codec.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let unknown: Vec<&str> = allowed
        .split(',')
        .map(|codec| codec.trim().trim_start_matches('!'))
        .filter(plain)
        .filter(|codec| *codec != "all" && !codecs.contains(codec))
        .collect();
    if !unknown.is_empty() {
        area.error(
            &check_name(client),
            format!("it allows codecs that Asterisk does not know: {}", some_of(&unknown)),
            format!("capconduit pjsip set {name} --allow ulaw,alaw; asterisk -rx 'core show codecs' lists them."),
        );
    }
    if let Some(auth) = endpoint.auth.as_ref().filter(|auth| !auth.0.is_empty())
        && client.auth.as_ref().is_none_or(|own| own.id != auth.0)
    {
        area.warning(
            &check_name(client),
            format!("its auth \"{auth}\" is no authentication of this client: it cannot log in"),
            format!(
                "capconduit pjsip set {name} --auth '' takes it away; capconduit pjsip show {name} says what it has."
            ),
        );
    }
}

/// What Asterisk's OPTIONS requests have found out.
fn reachable(area: &mut Area, active: &[&Pjsip], contacts: &str) {
    let contacts = answers::contacts(contacts);
    let (mut answering, mut unqualified, mut unasked) = (0, 0, Vec::new());
    for client in active {
        let Some(aor) = &client.aor else { continue };
        let qualified = aor.qualify_frequency.is_some_and(|seconds| seconds > 0);
        let name = &client.client_identifier;
        let reload = format!("asterisk -rx 'pjsip reload qualify aor {}'", aor.id);
        match contacts.iter().find(|contact| contact.aor == aor.id).map(|contact| contact.status) {
            Some("Avail") => answering += 1,
            Some("Unavail") if qualified => area.warning(
                &check_name(client),
                format!("its contact {} does not answer OPTIONS: Asterisk places no call with it", aor.contact),
                format!(
                    "Ask the call centre; where it answers calls but not OPTIONS: capconduit pjsip set {name} \
                     --qualify-frequency 0, then {reload}"
                ),
            ),
            Some("Unavail") => area.warning(
                &check_name(client),
                "Asterisk takes its contact for unreachable, but is no longer to ask: it has not seen the change",
                reload,
            ),
            Some(_) if qualified => unasked.push(name.as_str()),
            Some(_) => unqualified += 1,
            None => area.warning(
                &check_name(client),
                "Asterisk knows no contact of it",
                format!("asterisk -rx 'pjsip show aor {}', and see Asterisk's log.", aor.id),
            ),
        }
    }
    area.info(
        "contacts",
        format!("{answering} of {} are known to answer, {unqualified} are never asked", active.len()),
    );
    if !unasked.is_empty() {
        area.info(
            "contacts",
            format!(
                "not asked yet, although they are to be: {} (asterisk -rx 'pjsip reload qualify aor NAME' begins)",
                some_of(&unasked)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::contact::Contact;

    #[test]
    fn an_inactive_client_that_asterisk_still_has_is_named() {
        let inactive = Pjsip {
            client_id: 1,
            client_identifier: "acme".into(),
            status: "inactive".into(),
            endpoint: None,
            aor: None,
            auth: None,
            problems: Vec::new(),
            contact: Contact::default(),
        };
        let found = |endpoints: &str| {
            let mut area = Area::new("clients");
            let seen = Seen {
                endpoints: endpoints.into(),
                contacts: String::new(),
                transports: String::new(),
                codecs: String::new(),
            };
            as_seen(&mut area, &[], &[&inactive], &seen);
            area.findings.iter().map(|finding| finding.state).max()
        };
        assert_eq!(found(" Endpoint:  acme/555      Not in use    0 of inf\n"), Some(State::Warning));
        assert_eq!(found(" Endpoint:  acme2         Not in use    0 of inf\n"), Some(State::Info));
    }
}
