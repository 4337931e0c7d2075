//! What an identifier and a contact may look like. Asterisk drops a whole object for one bad value, so these are
//! refused before they are stored.

use crate::{Error, Result};

/// The sections of the pjsip.conf that comes with CapConduit.
fn sections_of_pjsip_conf() -> impl Iterator<Item = &'static str> {
    let section = |line: &'static str| Some(line.strip_prefix('[')?.split_once(']')?.0);
    include_str!("../../asterisk/pjsip.conf").lines().filter_map(section)
}

/// Whether Dial takes the identifier for one endpoint, and for nothing else.
#[must_use]
pub fn is_diallable(identifier: &str) -> bool {
    (1..=40).contains(&identifier.len())
        && identifier.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Checks the identifier of a client or an endpoint that is to be added: it names the endpoint
/// (`pjsip_endpoints.id` holds 40 characters) and becomes part of a dial string; an endpoint of
/// pjsip.conf with the same name would get the client's calls.
///
/// # Errors
/// [`crate::Kind::Invalid`], naming the identifier and the rule.
pub fn check_identifier(identifier: &str) -> Result<()> {
    if !is_diallable(identifier) {
        return Err(Error::invalid(format!("client_identifier \"{}\" is not usable", identifier.escape_default()))
            .hint("Write 1 to 40 of A-Z a-z 0-9 _ - : it names the endpoint that Asterisk dials."));
    }
    if let Some(taken) = sections_of_pjsip_conf().find(|section| section.eq_ignore_ascii_case(identifier)) {
        return Err(Error::invalid(format!(
            "client_identifier \"{identifier}\" is not usable: the name is taken in pjsip.conf, by its section [{taken}]"
        ))
        .hint("Nothing was changed. Asterisk would confuse the two: give the client another identifier."));
    }
    Ok(())
}

/// Checks a contact: `sip:` or `sips:`, an optional user, a host, an optional port, parameters.
///
/// # Errors
/// [`crate::Kind::Invalid`], naming the contact and the rule.
pub fn check_contact(contact: &str) -> Result<()> {
    let Some(why) = contact_problem(contact) else { return Ok(()) };
    Err(Error::invalid(format!("contact \"{}\": {why}", contact.escape_default()))
        .hint("Write a SIP URI: sip:203.0.113.7:5060 or sip:line@pbx.example.com;transport=tcp"))
}

/// The protocol by which a contact is reached: `udp`, `tcp` or `tls`.
#[must_use]
pub fn protocol(contact: &str) -> String {
    let parameter = contact.split(['?']).next().unwrap_or_default().split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("transport").then(|| value.to_ascii_lowercase())
    });
    if contact.starts_with("sips:") { "tls".to_owned() } else { parameter.unwrap_or_else(|| "udp".to_owned()) }
}

/// The transport that a client's calls need and Asterisk lacks: one for the contact's protocol, or the one that the
/// endpoint names. `there`: Asterisk's transports with their protocols; None: not asked, pjsip.conf and modules.conf
/// as they are here count.
#[must_use]
pub fn missing_transport(contact: &str, named: Option<&str>, there: Option<&[(&str, &str)]>) -> Option<String> {
    let ours = [("transport-udp", "udp"), ("transport-tcp", "tcp")];
    let known = there.unwrap_or(&ours);
    let file = if there.is_some() { "Asterisk" } else { "the pjsip.conf of this release" };
    if let Some(named) = named.filter(|named| !known.iter().any(|(name, _)| name == named)) {
        return Some(format!("{file} has no transport \"{named}\": calls fail unless pjsip_local.conf adds it"));
    }
    let protocol = protocol(contact);
    if known.iter().any(|(_, known)| *known == protocol) {
        return None;
    }
    let module = if contact.starts_with("sips:") { ", and modules_local.conf res_pjsip_sips_contact.so" } else { "" };
    Some(format!(
        "{file} has no transport for {protocol}, which the contact {contact} needs: calls fail unless pjsip_local.conf \
         adds one (type=transport, protocol={protocol}){module}"
    ))
}

pub(crate) fn contact_problem(contact: &str) -> Option<&'static str> {
    let Some(rest) = contact.strip_prefix("sip:").or_else(|| contact.strip_prefix("sips:")) else {
        return Some("it must begin with sip: or sips:");
    };
    // a comma would make it two contacts; the others end a URI or cannot stand in one
    if !contact.bytes().all(|b| b.is_ascii_graphic() && !br#"",<>\^`{|}'"#.contains(&b)) {
        return Some("spaces, quotes, commas, brackets and letters beyond ASCII cannot stand in a SIP URI");
    }
    let address = rest.split([';', '?']).next().unwrap_or_default();
    let (user, host_port) = address.rsplit_once('@').map_or((None, address), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.is_empty() || user.contains('@')) {
        return Some("the part before @ must be one user name");
    }
    let (host_is_valid, port) = if let Some(v6) = host_port.strip_prefix('[') {
        let (host, tail) = v6.split_once(']').unwrap_or((v6, "]"));
        let ends = tail.is_empty() || tail.starts_with(':');
        (ends && host.parse::<std::net::Ipv6Addr>().is_ok(), tail.strip_prefix(':'))
    } else {
        let (host, port) = host_port.split_once(':').map_or((host_port, None), |(host, port)| (host, Some(port)));
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        (!host.is_empty() && host.bytes().all(valid), port)
    };
    if !host_is_valid {
        return Some("the host must be a name, an IPv4 address or an IPv6 address in []");
    }
    let number = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_some_and(|port| !number(port)) {
        return Some("the port must be a number from 1 to 65535");
    }
    match protocol(contact).as_str() {
        "udp" | "tcp" | "tls" => None,
        "ws" | "wss" => Some("Asterisk opens no websocket to a client: its transport must be udp, tcp or tls"),
        _ => Some("its transport must be udp, tcp or tls"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts() {
        for good in [
            "sip:127.0.0.1",
            "sip:127.0.0.1:5071",
            "sips:line@pbx.example.com",
            "sip:user:pw@host:5060;transport=tcp;lr",
            "sip:[2001:db8::1]",
            "sip:[2001:db8::1]:5060;transport=tls",
            "sip:host;lr;Transport=TCP",
            "sip:+18005550100@host",
        ] {
            assert_eq!(contact_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "sip:",
            "acme",
            "tel:+1800",
            "SIP/acme",
            "sip:host:",
            "sip:host:0",
            "sip:host:65536",
            "sip:host:+80",
            "sip:a b",
            "sip:a,sip:b",
            "sip:\"x\"@host",
            "<sip:host>",
            "sip:@host",
            "sip:a@b@c",
            "sip:[::g]",
            "sip:[::1]x",
            "sip:höst",
            "sip:host\n",
            "sip:;transport=tcp",
            "sip:host;transport=ws",
            "sip:host;transport=wss;lr",
            "sip:host;transport=sctp",
            "sip:host;transport=",
        ] {
            assert!(contact_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn transports_that_are_not_there() {
        let tls = [("transport-udp", "udp"), ("secure", "tls")];
        for (contact, named, there, why) in [
            ("sip:host", None, None, None),
            ("sip:host;transport=tcp", Some("transport-tcp"), None, None),
            ("sip:host;transport=tls", None, None, Some("no transport for tls")),
            ("sips:host", None, None, Some("res_pjsip_sips_contact.so")),
            ("sips:host", None, Some(&tls[..]), None),
            ("sip:host;transport=TLS", Some("secure"), Some(&tls[..]), None),
            ("sip:host;transport=tcp", None, Some(&tls[..]), Some("Asterisk has no transport for tcp")),
            ("sip:host", Some("nonsense"), None, Some("no transport \"nonsense\"")),
            ("sip:host", Some("transport-tcp"), Some(&tls[..]), Some("Asterisk has no transport \"transport-tcp\"")),
        ] {
            let missing = missing_transport(contact, named, there);
            match why {
                None => assert_eq!(missing, None, "{contact} {named:?}"),
                Some(why) => {
                    assert!(missing.as_ref().is_some_and(|m| m.contains(why)), "{contact} {named:?}: {missing:?}")
                }
            }
        }
    }

    #[test]
    fn identifiers() {
        for good in ["a", "acme-2_B", &"a".repeat(40)] {
            assert!(check_identifier(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a&b", "ä", "a@b", &"a".repeat(41)] {
            assert!(check_identifier(bad).is_err(), "{bad}");
        }
        for taken in ["carrier", "Carrier", "global", "transport-udp", "TRANSPORT-TCP"] {
            let error = check_identifier(taken).expect_err("taken");
            assert!(error.message.contains("taken in pjsip.conf"), "{error}");
        }
    }
}
