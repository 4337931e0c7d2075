//! The clients of the database as Asterisk sees them.

use std::collections::BTreeSet;

use crate::Result;
use crate::asterisk::conf;
use crate::asterisk::live::answers;
use crate::asterisk::live::console::Console;
use crate::check::Area;
use crate::model::realtime::Text;
use crate::model::sip;
use crate::store::pjsip::{CHALLENGED, Pjsip};
use crate::words::some_of;

/// What Asterisk says of the clients.
#[derive(Default)]
struct Seen {
    endpoints: String,
    contacts: String,
    transports: String,
    codecs: String,
    auths: String,
    /// Of each context that a client names, what `dialplan show` says.
    contexts: Vec<(String, String)>,
}

/// Looks at every client; `asterisk` is None where it does not answer.
#[must_use]
pub fn check(clients: &[Pjsip], asterisk: Option<&Console>) -> Area {
    let mut area = Area::new("clients");
    let (active, inactive): (Vec<&Pjsip>, Vec<&Pjsip>) = clients.iter().partition(|client| client.status == "active");
    for client in &active {
        for problem in client.problems.iter().filter(|problem| is_fatal(problem)) {
            let name = &client.client_identifier;
            area.error(
                &check_name(client),
                format!("{problem}: it gets no calls"),
                format!("{}; or capconduit client disable {name}", way(client)),
            );
        }
    }
    let whole: Vec<&Pjsip> =
        active.iter().copied().filter(|client| !client.problems.iter().any(|p| is_fatal(p))).collect();
    let message = format!("{} of {} active clients have an endpoint and a contact", whole.len(), active.len());
    if whole.len() == active.len() && !active.is_empty() {
        area.ok("definitions", message);
    } else {
        area.info("definitions", message);
    }
    let Some(console) = asterisk else {
        for client in &active {
            for problem in client.problems.iter().filter(|problem| !is_fatal(problem)) {
                area.warning(&check_name(client), problem.clone(), way(client));
            }
        }
        area.not_looked_at("as Asterisk sees them", "Asterisk does not answer");
        return area;
    };
    match seen(console, &whole) {
        Ok(seen) => as_seen(&mut area, &whole, &inactive, &seen),
        Err(e) => area.unknown("as Asterisk sees them", e.message, "Ask again; see Asterisk's log."),
    }
    area
}

/// Whether a problem keeps all calls from the client.
fn is_fatal(problem: &str) -> bool {
    !problem.ends_with(CHALLENGED)
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

fn seen(console: &Console, clients: &[&Pjsip]) -> Result<Seen> {
    let named = clients.iter().filter_map(|client| Some(client.endpoint.as_ref()?.context.0.as_str()));
    // they come from the database, and go into a command
    let plain =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let contexts: BTreeSet<&str> = named.filter(plain).collect();
    let contexts =
        contexts.into_iter().map(|name| Ok((name.to_owned(), console.ask(&format!("dialplan show {name}"))?)));
    Ok(Seen {
        auths: console.ask("pjsip show auths")?,
        contexts: contexts.collect::<Result<_>>()?,
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
    let endpoints = answers::names(&seen.endpoints, "Endpoint:");
    let is_seen = |client: &Pjsip| endpoints.contains(&client.client_identifier.as_str());
    let before = area.findings.len();
    if !active.is_empty() && !active.iter().any(|client| is_seen(client)) {
        area.error(
            "endpoints",
            "Asterisk has no endpoint of an active client: nobody gets calls",
            format!(
                "{}, where it was not since the first capconduit asterisk install; else see server, database and \
                 Asterisk's log.",
                conf::RESTART
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
    let transports: Vec<(&str, &str)> =
        answers::transports(&seen.transports).iter().map(|transport| (transport.id, transport.protocol)).collect();
    let auths = answers::names(&seen.auths, "Auth:");
    for client in active {
        values(area, client, &codecs, &transports, &auths);
        if let Some(endpoint) = &client.endpoint
            && let Some((name, _)) =
                seen.contexts.iter().find(|(name, said)| *name == endpoint.context.0 && said.contains("no existence"))
        {
            area.warning(
                &check_name(client),
                format!("its context \"{name}\" is not in the dialplan: its own calls are refused with 404"),
                format!("capconduit pjsip set {} --context from-client", client.client_identifier),
            );
        }
    }
    if area.findings.len() == before {
        area.ok("endpoints", "Asterisk has those of the active clients, and no other client's");
    }
    reachable(area, active, &seen.contacts);
}

/// Names in a client's rows that Asterisk does not know.
fn values(area: &mut Area, client: &Pjsip, codecs: &[&str], transports: &[(&str, &str)], auths: &[&str]) {
    let Some(endpoint) = &client.endpoint else { return };
    let name = &client.client_identifier;
    let names: Vec<&str> = transports.iter().map(|(name, _)| *name).collect();
    if let Some(transport) = endpoint.transport.as_ref().filter(|t| !t.0.is_empty())
        && !names.contains(&transport.0.as_str())
    {
        area.error(
            &check_name(client),
            format!("its transport \"{transport}\" does not exist: calls to it fail"),
            match names.first() {
                Some(first) => {
                    format!("capconduit pjsip set {name} --transport {first}; there are: {}", some_of(&names))
                }
                None => "pjsip.conf has no transport: see server.".to_owned(),
            },
        );
    }
    if let Some(aor) = &client.aor
        && !transports.is_empty()
        && let Some(missing) = sip::missing_transport(&aor.contact.0, None, Some(transports))
    {
        area.error(
            &check_name(client),
            missing,
            format!("capconduit pjsip set {name} --contact sip:HOST, or that transport."),
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
    // an auth of another client or of pjsip.conf exists, too
    let is_none = |auth: &&Text| !auth.0.is_empty() && !auths.contains(&auth.0.as_str());
    if let Some(auth) = endpoint.auth.as_ref().filter(is_none) {
        area.warning(
            &check_name(client),
            format!("its auth \"{auth}\" does not exist: it cannot log in"),
            format!(
                "capconduit pjsip set {name} --auth '' takes it away; capconduit pjsip show {name} says what it has."
            ),
        );
    }
    if let Some(auth) = endpoint.outbound_auth.as_ref().filter(is_none) {
        area.warning(
            &check_name(client),
            format!("its outbound_auth \"{auth}\" does not exist{CHALLENGED}"),
            format!("capconduit pjsip set {name} --outbound-auth ID, '' for none; --auth-username adds one."),
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
    use super::*;
    use crate::check::State;

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
        };
        let found = |endpoints: &str| {
            let mut area = Area::new("clients");
            let seen = Seen { endpoints: endpoints.into(), ..Seen::default() };
            as_seen(&mut area, &[], &[&inactive], &seen);
            area.findings.iter().map(|finding| finding.state).max()
        };
        assert_eq!(found(" Endpoint:  acme/555      Not in use    0 of inf\n"), Some(State::Warning));
        assert_eq!(found(" Endpoint:  acme2         Not in use    0 of inf\n"), Some(State::Info));
    }
}
