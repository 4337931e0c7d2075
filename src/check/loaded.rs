//! What a running Asterisk has loaded: modules, dialplan, transports, the carrier, realtime.

use crate::Result;
use crate::asterisk::live::answers;
use crate::asterisk::live::console::Console;
use crate::asterisk::{conf, site};
use crate::check::Area;
use crate::check::files::Installation;
use crate::words::some_of;
use std::fs;
use std::path::{Path, PathBuf};

/// modules.conf of the release says what is needed.
pub(crate) fn modules(area: &mut Area, console: &Console, installation: &Installation) -> Result<()> {
    let text = console.ask("module show")?;
    let running = answers::running_modules(&text);
    let missing = |kind: &str| -> Vec<&str> {
        let wanted = conf::template("modules.conf").lines().filter_map(|line| line.strip_prefix(kind));
        wanted.filter(|module| !running.contains(module)).collect()
    };
    let (required, loaded) = (missing("require="), missing("load="));
    let up = answers::uptime(&console.ask("core show uptime seconds")?).map_or(0, |(up, _)| up);
    let remedy = |modules: &[&str]| match written_since_start(installation, up).as_slice() {
        [] => format!("asterisk -rx 'module load {}'; its log says why it was not loaded.", modules[0]),
        files => format!("{}: it has not read {} yet.", conf::RESTART, some_of(files)),
    };
    if !required.is_empty() {
        area.error("modules", format!("calls need what does not run: {}", some_of(&required)), remedy(&required));
    }
    if !loaded.is_empty() {
        area.warning("modules", format!("modules.conf loads what does not run: {}", some_of(&loaded)), remedy(&loaded));
    }
    if required.is_empty() && loaded.is_empty() {
        area.ok("modules", "all that modules.conf names run");
    }
    Ok(())
}

pub(crate) fn dialplan(area: &mut Area, console: &Console, installation: &Installation) -> Result<()> {
    const FILE: &str = "extensions.conf";
    let installed = fs::read_to_string(installation.etc_dir.join(FILE)).unwrap_or_default();
    let installed = answers::dialplan_file(&installed);
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for name in answers::dialplan_file(conf::template(FILE)).into_keys() {
        match answers::dialplan(&console.ask(&format!("dialplan show {name}"))?, FILE) {
            None => missing.push(name),
            Some(steps) if installed.get(&name) != Some(&steps) => other.push(name),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        area.error(
            "dialplan",
            format!("Asterisk has no context {}", some_of(&missing)),
            "capconduit asterisk install, then asterisk -rx 'dialplan reload'.",
        );
    }
    if !other.is_empty() {
        area.warning(
            "dialplan",
            format!("Asterisk runs another {} than extensions.conf has", some_of(&other)),
            "asterisk -rx 'dialplan reload'",
        );
    }
    if missing.is_empty() && other.is_empty() {
        area.ok("dialplan", "Asterisk runs what extensions.conf has");
    }
    Ok(())
}

/// Whether a carrier learns that a call finds no client, or no database.
pub(crate) fn early_answer(area: &mut Area, console: &Console, _: &Installation) -> Result<()> {
    let globals = console.ask("dialplan show globals")?;
    let has = |name| site::setting(&globals, name).filter(|value| !value.is_empty());
    match (has("CC_EARLY_ANSWER"), has("CC_FALLBACK")) {
        (Some("yes"), fallback) => area.advice(
            "early answer",
            format!(
                "Asterisk answers the caller before it asks for a client: a call that finds none{} ends without a SIP \
                 failure, and the carrier does not reroute it",
                if fallback.is_some() { "" } else { ", or no database," }
            ),
            "Where he is to: capconduit asterisk install --early-answer no --force, then asterisk -rx 'core reload'.",
        ),
        (_, None) => area.ok("early answer", "none: the carrier gets a SIP failure where a call finds no client"),
        (_, Some(fallback)) => area.ok("early answer", format!("none; with the database away calls go to {fallback}")),
    }
    Ok(())
}

/// The transports that pjsip.conf defines, with where they are to listen.
pub(crate) fn configured_transports(pjsip: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in pjsip.lines().map(str::trim) {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name;
        }
        if let Some(bind) = line.strip_prefix("bind=") {
            found.push((section, bind));
        }
    }
    found
}

pub(crate) fn transports(area: &mut Area, console: &Console, installation: &Installation) -> Result<()> {
    let text = console.ask("pjsip show transports")?;
    let running = answers::transports(&text);
    let pjsip = fs::read_to_string(installation.etc_dir.join("pjsip.conf")).unwrap_or_default();
    let configured = configured_transports(&pjsip);
    if configured.is_empty() {
        area.error(
            "transports",
            "pjsip.conf has no transport",
            "capconduit asterisk install --bind 0.0.0.0:5060 --force",
        );
    }
    for (id, bind) in configured {
        match running.iter().find(|transport| transport.id == id) {
            Some(transport) if transport.bind == bind => area.ok("transports", format!("{id} listens on {bind}")),
            Some(transport) => area.error(
                "transports",
                format!("{id} listens on {}, pjsip.conf says {bind}", transport.bind),
                "A changed transport needs a restart of Asterisk.",
            ),
            None => area.error(
                "transports",
                format!("{id} does not listen on {bind}: no call comes in by it"),
                "See who else has the port (ss -lunp), and Asterisk's log; then restart Asterisk.",
            ),
        }
    }
    Ok(())
}

pub(crate) fn carrier(area: &mut Area, console: &Console, _: &Installation) -> Result<()> {
    let text = console.ask("pjsip show identifies")?;
    // identified by address only: an endpoint identified by a header is no carrier
    let identified: Vec<_> = answers::identified(&text).into_iter().filter(|(_, at)| !at.is_empty()).collect();
    let listed = console.ask("pjsip show endpoints")?;
    let endpoints = answers::names(&listed, "Endpoint:");
    let (there, gone): (Vec<_>, Vec<_>) = identified.into_iter().partition(|(name, _)| endpoints.contains(name));
    let gone: Vec<&str> = gone.into_iter().map(|(name, _)| name).collect();
    if there.is_empty() {
        area.error(
            "carrier",
            "no address is known as the carrier's: every call is refused",
            "capconduit asterisk install --carrier ADDRESS --force, then asterisk -rx 'core reload'.",
        );
    } else {
        let of_each = |(name, addresses): &(&str, Vec<&str>)| format!("{} ({name})", some_of(addresses));
        area.ok("carrier", format!("calls are taken from {}", some_of(&there.iter().map(of_each).collect::<Vec<_>>())));
    }
    if !gone.is_empty() {
        area.error(
            "carrier",
            format!("an identify section names an endpoint that does not exist: {}", some_of(&gone)),
            "Correct it in pjsip_local.conf, then asterisk -rx 'core reload'.",
        );
    }
    Ok(())
}

/// Checks that nobody can take a sold call past the dialplan: by REFER, by an INVITE with Replaces, or by a MESSAGE
/// that runs the dialplan of calls.
pub(crate) fn transfers(area: &mut Area, console: &Console, _: &Installation) -> Result<()> {
    let identifies = console.ask("pjsip show identifies")?;
    let settings = console.ask("pjsip show settings")?;
    let identified = answers::identified(&identifies);
    let by_header = answers::setting(&settings, "endpoint_identifier_order").unwrap_or_default().split(',').next();
    let mut open = Vec::new();
    if by_header != Some("header") || answers::setting(&identifies, "Header") != Some("Replaces: /./") {
        open.push(format!("an INVITE with Replaces is not caught by [{GUARD}]"));
    }
    for (name, _) in identified.iter().filter(|(name, addresses)| *name != GUARD && !addresses.is_empty()) {
        let endpoint = console.ask(&format!("pjsip show endpoint {name}"))?;
        if answers::setting(&endpoint, "allow_transfer") == Some("true") {
            open.push(format!("{name} may transfer calls with REFER: allow_transfer=no"));
        }
        if answers::setting(&endpoint, "message_context").is_some_and(str::is_empty) {
            open.push(format!("a MESSAGE of {name} runs the dialplan of its calls: message_context=no-messages"));
        }
    }
    if open.is_empty() {
        area.ok("transfers", "nobody takes a call elsewhere past the dialplan");
    } else {
        let remedy = "Take over pjsip.conf (capconduit asterisk install --force), give each endpoint of \
                      pjsip_local.conf what is named, then asterisk -rx 'core reload'.";
        area.error("transfers", some_of(&open.iter().map(String::as_str).collect::<Vec<_>>()), remedy);
    }
    Ok(())
}

/// The endpoint of pjsip.conf that catches requests to replace a call.
pub(crate) const GUARD: &str = "no-replaces";

pub(crate) fn realtime(area: &mut Area, console: &Console, _: &Installation) -> Result<()> {
    let text = console.ask("realtime show pgsql status")?;
    // no password in it: database, host, port and user
    let line = text.lines().next().unwrap_or_default().trim().split(" for ").next().unwrap_or_default();
    if line.starts_with("Connected to") {
        area.ok("realtime", line.to_owned());
    } else {
        area.error(
            "realtime",
            format!("Asterisk does not reach the clients in the database: {line}"),
            "See database login; asterisk -rx 'module reload res_config_pgsql.so' makes it try again.",
        );
    }
    Ok(())
}

/// The files that were written within so many seconds.
pub(crate) fn written_within(installation: &Installation, seconds: u64) -> impl Iterator<Item = &'static str> {
    let age = |path: PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok()?.elapsed().ok();
    conf::TEMPLATES
        .into_iter()
        .map(|(name, _)| name)
        .filter(move |name| age(installation.etc_dir.join(name)).is_some_and(|age| age.as_secs() < seconds))
}

/// Files that Asterisk reads only at its start, and that were written since.
pub(crate) fn written_since_start(installation: &Installation, up: u64) -> Vec<&'static str> {
    written_within(installation, up).filter(|name| conf::is_read_at_start(Path::new(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_found_with_their_sections() {
        let found = configured_transports(conf::template("pjsip.conf"));
        assert_eq!(found, [("transport-udp", "@BIND@"), ("transport-tcp", "@BIND@")]);
    }
}
