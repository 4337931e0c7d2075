//! The configuration, the dialplan and the programs as this release and a site's choices make them.

use crate::asterisk::site::{DEFAULT_AGI_DIR, DEFAULT_BIND, Site};
use postgres::config::Host;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::pg::Settings;
use crate::{Error, Result};

macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!("../../asterisk/", $name)))
    };
}

/// The configuration by the names of its files, without a site's values.
pub(crate) const TEMPLATES: [(&str, &str); 9] = [
    template!("modules.conf"),
    template!("extconfig.conf"),
    template!("sorcery.conf"),
    template!("res_pgsql.conf"),
    template!("pjsip.conf"),
    template!("extensions.conf"),
    template!("cdr.conf"),
    template!("stasis.conf"),
    template!("features.conf"),
];

/// The programs as Cargo builds them and as Asterisk knows them.
pub(crate) const PROGRAMS: [(&str, &str); 2] = [("cc-route", "cc-route.agi"), ("cdr_logger", "cdr_logger.agi")];

/// A file of the installation as this release and the site's choices make it.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    /// One of the AGI programs, which nobody edits.
    pub(super) program: bool,
}

/// The configuration and the dialplan with the site's values.
pub(crate) fn configuration(site: &Site, database: &Settings) -> Result<Vec<File>> {
    if !site.etc_dir.is_dir() {
        return Err(Error::failed(format!("{} is not a folder", site.etc_dir.display()))
            .hint("Install Asterisk first, or name its configuration folder with --etc-dir."));
    }
    let installed = Site::as_installed(site.etc_dir.clone());
    let carriers = if site.carriers.is_empty() { &installed.carriers } else { &site.carriers };
    let bind = site.bind.clone().or(installed.bind).unwrap_or_else(|| DEFAULT_BIND.to_owned());
    let early_answer = site.early_answer.or(installed.early_answer).unwrap_or(true);
    let fallback = site.fallback.clone().or(installed.fallback).unwrap_or_default();
    if !fallback.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_@:.+-".contains(&b)) {
        return Err(Error::invalid(format!("\"{}\" is not a destination", fallback.escape_default()))
            .hint("Write one as Dial knows it: PJSIP/overflow, or PJSIP/18005550199@carrier."));
    }
    let agi_server = site.agi_server.clone().or(installed.agi_server).unwrap_or_default();
    // not a name: Asterisk would look it up for every call
    if !agi_server.is_empty() && agi_server.parse::<SocketAddr>().is_err() {
        return Err(Error::invalid(format!("\"{}\" is not an address and a port", agi_server.escape_default()))
            .hint("Write where capconduit agi serve listens: 127.0.0.1:4573."));
    }
    let values = [
        ("@FALLBACK@", fallback),
        ("@AGI_SERVER@", agi_server),
        ("@BIND@", bind),
        ("@IDENTIFY@", identify(carriers)?),
        ("@DATABASE@", res_pgsql(database)?),
        ("@EARLY_ANSWER@", if early_answer { "yes" } else { "no" }.to_owned()),
    ];
    let mut files = Vec::new();
    for (name, template) in TEMPLATES {
        let content = values.iter().fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value));
        files.push(File { path: site.etc_dir.join(name), content: content.into_bytes(), mode: 0o640, program: false });
    }
    Ok(files)
}

/// Whether Asterisk reads a file at its start only: which modules run, and where they find clients.
pub(crate) fn is_read_at_start(path: &Path) -> bool {
    ["modules.conf", "sorcery.conf", "extconfig.conf"].iter().any(|name| path.ends_with(name))
}

/// What makes Asterisk read everything.
pub(crate) const RESTART: &str = "systemctl restart asterisk";

/// A file of the configuration as the release has it, without a site's values.
pub(crate) fn template(name: &str) -> &'static str {
    TEMPLATES.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| text)
}

/// The AGI programs, from where this program is.
pub(crate) fn programs(agi_dir: &Path, programs_dir: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for (built, installed) in PROGRAMS {
        let beside = [built, installed].map(|name| programs_dir.join(name));
        // where a package puts them, the package replaces them
        let packaged = Path::new(DEFAULT_AGI_DIR).join(installed);
        let source = beside.into_iter().chain([packaged]).find(|path| path.is_file());
        let Some(source) = source else {
            return Err(Error::failed(format!(
                "{built} is neither in {} nor in {DEFAULT_AGI_DIR}",
                programs_dir.display()
            ))
            .hint("Build all programs (cargo build --release) and run capconduit from there."));
        };
        let content = fs::read(&source).map_err(|e| Error::io("read", &source, &e))?;
        files.push(File { path: agi_dir.join(installed), content, mode: 0o755, program: true });
    }
    Ok(files)
}

pub(crate) fn identify(carriers: &[String]) -> Result<String> {
    if carriers.is_empty() {
        return Ok("; No --carrier was given: calls are refused until an identify section names the carrier's\n\
                   ; addresses (type=identify, endpoint=carrier, match=ADDRESS)."
            .to_owned());
    }
    let mut section = "[carrier]\ntype=identify\nendpoint=carrier".to_owned();
    for carrier in carriers {
        if !is_carrier(carrier) {
            return Err(Error::invalid(format!("\"{}\" is not a carrier address", carrier.escape_default()))
                .hint("Write an IP address, a network such as 203.0.113.0/24, or a host name."));
        }
        section.push_str(&format!("\nmatch={carrier}"));
    }
    section.push('\n');
    Ok(section)
}

/// An address, a network (`203.0.113.0/24`), or a host name.
pub(crate) fn is_carrier(text: &str) -> bool {
    let (address, mask) = text.split_once('/').map_or((text, None), |(a, m)| (a, Some(m)));
    match address.parse::<IpAddr>() {
        Ok(ip) => {
            let most = if ip.is_ipv4() { 32 } else { 128 };
            mask.is_none_or(|m| m.parse::<u8>().is_ok_and(|bits| bits <= most))
        }
        Err(_) => {
            let host = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
            mask.is_none() && address.bytes().all(host) && address.bytes().any(|b| b.is_ascii_alphabetic())
        }
    }
}

/// The connection as res_pgsql.conf names it. It knows one host, and no quoting.
pub(crate) fn res_pgsql(database: &Settings) -> Result<String> {
    let host = match database.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // libpq takes a folder for the host: that of the socket
        Some(Host::Unix(path)) => path.display().to_string(),
        None => database.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = database.get_ports().first().copied().unwrap_or(5432);
    let mut lines = vec![
        ("dbhost", host),
        ("dbport", port.to_string()),
        ("dbname", database.get_dbname().unwrap_or("capconduit").to_owned()),
    ];
    if let Some(user) = database.get_user() {
        lines.push(("dbuser", user.to_owned()));
    }
    if let Some(password) = database.get_password() {
        lines.push(("dbpass", String::from_utf8_lossy(password).into_owned()));
    }
    lines
        .into_iter()
        .map(|(key, value)| {
            if value.chars().any(|c| c.is_whitespace() || c.is_control() || c == ';' || c == '\'' || c == '\\') {
                return Err(Error::invalid(format!("{key} has a space, quote, backslash or ; in it"))
                    .hint("res_pgsql.conf of Asterisk cannot hold it: choose another for Asterisk's database login."));
            }
            Ok(format!("{key}={value}"))
        })
        .collect::<Result<Vec<_>>>()
        .map(|lines| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_res_pgsql_cannot_hold_is_refused() {
        let mut database = Settings::default();
        database.host("db").password("a b");
        assert!(res_pgsql(&database).is_err());
        database.password("a\nb=c");
        assert!(res_pgsql(&database).is_err());
        database.password("plain");
        assert_eq!(res_pgsql(&database).expect("valid"), "dbhost=db\ndbport=5432\ndbname=capconduit\ndbpass=plain");
    }

    #[test]
    fn a_carrier_is_an_address() {
        for bad in ["", "a b", "1.2.3.4\nendpoint=x", "x;y", "300.1.1.1", "1.2.3.4/33", "host/24"] {
            assert!(identify(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(
            identify(&["203.0.113.0/24".into(), "2001:db8::1".into()]).expect("valid").contains("match=2001:db8::1")
        );
    }
}
