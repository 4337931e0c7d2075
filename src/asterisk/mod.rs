//! The files that an Asterisk server needs: the configuration and dialplan in `asterisk/` with this
//! site's values filled in, and the two AGI programs under their `.agi` names.
//!
//! Installing is idempotent. A file that differs is never overwritten unless asked, and then a copy
//! is kept. Everything is checked before anything is written.

pub mod live;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use postgres::config::Host;
use serde::Serialize;

use crate::system::file::replace;
use crate::{Error, Result};

/// Where Asterisk's configuration is on most systems.
pub const DEFAULT_ETC_DIR: &str = "/etc/asterisk";

/// Where AGI programs are unless asterisk.conf says otherwise, and where a package puts ours.
const DEFAULT_AGI_DIR: &str = "/usr/share/asterisk/agi-bin";

macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!("../../asterisk/", $name)))
    };
}

const TEMPLATES: [(&str, &str); 9] = [
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
const PROGRAMS: [(&str, &str); 2] = [("cc-route", "cc-route.agi"), ("cdr_logger", "cdr_logger.agi")];

/// Where systemd looks for what a site adds to Asterisk's unit.
const UNIT_DIR: &str = "/etc/systemd/system/asterisk.service.d";

/// Gives Asterisk's unit what this release says it needs: time limits for realtime among it.
#[must_use]
pub fn unit_command() -> String {
    let packaged = "/usr/share/doc/capconduit/examples/asterisk.service.d/capconduit.conf";
    let (place, from) = match Path::new(packaged).is_file() {
        true => ("", packaged),
        false => ("in this release's folder: ", "asterisk/systemd/asterisk.service.d/capconduit.conf"),
    };
    format!(
        "{place}install -D -m 644 {from} {UNIT_DIR}/capconduit.conf && systemctl daemon-reload && systemctl restart asterisk"
    )
}

/// Whether Asterisk's unit sets time limits for realtime, as far as files say.
#[must_use]
pub fn unit_limits_realtime() -> bool {
    let files = fs::read_dir(UNIT_DIR).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| text.contains("PGCONNECT_TIMEOUT"))
}

/// What a site chooses.
#[derive(Debug)]
pub struct Site {
    /// Asterisk's configuration folder.
    pub etc_dir: PathBuf,
    /// Where the AGI programs go; None: `astagidir` of asterisk.conf, else Asterisk's default.
    pub agi_dir: Option<PathBuf>,
    /// Where SIP listens, UDP and TCP; None: as installed, else [`DEFAULT_BIND`].
    pub bind: Option<SocketAddr>,
    /// The carrier's addresses: IP, network or host name; none: as installed.
    pub carriers: Vec<String>,
    /// Whether Asterisk answers the caller before it asks for a client; None: as installed, else yes.
    pub early_answer: Option<bool>,
    /// Where calls go that no decision can be made for, as Dial names it; None: as installed, else
    /// nowhere; empty: nowhere.
    pub fallback: Option<String>,
    /// Where `capconduit agi serve` listens; None: as installed, else nowhere; empty: nowhere, a
    /// program is started for each call.
    pub agi_server: Option<String>,
    /// Replace files that differ, keeping a copy. The programs are replaced in any case.
    pub force: bool,
}

impl Site {
    /// A site that stays as it is installed.
    #[must_use]
    pub fn as_installed(etc_dir: PathBuf, agi_dir: Option<PathBuf>) -> Site {
        Site {
            etc_dir,
            agi_dir,
            bind: None,
            carriers: Vec::new(),
            early_answer: None,
            fallback: None,
            agi_server: None,
            force: false,
        }
    }
}

/// Where SIP listens unless told otherwise.
pub const DEFAULT_BIND: &str = "0.0.0.0:5060";

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there with this content.
    Unchanged,
    /// It differed; the old one is at `backup`.
    Replaced,
}

/// One file of the installation.
#[derive(Debug, Serialize)]
pub struct Installed {
    /// Where it is.
    pub path: PathBuf,
    /// What happened to it.
    pub change: Change,
    /// Where the file it replaced is.
    pub backup: Option<PathBuf>,
}

/// A file of the installation as this release and the site's choices make it.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    /// One of the AGI programs, which nobody edits.
    program: bool,
}

/// Writes the files. `database` is what Asterisk's realtime reads through; `programs_dir` holds the
/// two programs; `now` names the copies of what is replaced.
///
/// # Errors
/// A folder or program that is missing; a file that differs, without `force`; a database setting
/// that res_pgsql.conf cannot hold. Nothing is written then.
pub fn install(
    site: &Site,
    database: &postgres::Config,
    programs_dir: &Path,
    now: DateTime<Utc>,
) -> Result<Vec<Installed>> {
    let asterisk_conf = fs::read_to_string(site.etc_dir.join("asterisk.conf")).unwrap_or_default();
    let mut files = configuration(site, database)?;
    files.extend(programs(&agi_dir(site, &asterisk_conf)?, programs_dir)?);
    let mut changes = Vec::new();
    let mut differing = Vec::new();
    for file in &files {
        let change = match fs::read(&file.path) {
            Ok(old) if old == file.content => Change::Unchanged,
            Ok(_) => Change::Replaced,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Change::Created,
            Err(e) => return Err(Error::io("read", &file.path, &e)),
        };
        if change == Change::Replaced && !file.program {
            differing.push(file.path.display().to_string());
        }
        changes.push(change);
    }
    if !differing.is_empty() && !site.force {
        return Err(Error::conflict(format!("these files are there and differ: {}", differing.join(", ")))
            .hint("Nothing was changed. --force replaces them and keeps a copy of each."));
    }
    let group = group_id(setting(&asterisk_conf, "rungroup").unwrap_or("asterisk"));
    let stamp = now.format("%Y%m%dT%H%M%SZ");
    files
        .iter()
        .zip(changes)
        .map(|(file, change)| {
            let backup = match change {
                Change::Replaced if !file.program => Some(keep_a_copy(&file.path, &stamp.to_string())?),
                Change::Created | Change::Replaced | Change::Unchanged => None,
            };
            if change != Change::Unchanged || has_other_mode(file) {
                replace(&file.path, &file.content, file.mode, group)?;
            }
            Ok(Installed { path: file.path.clone(), change, backup })
        })
        .collect()
}

/// Whether asterisk.conf names this server: without `systemname`, two servers give their calls the
/// same unique ids.
#[must_use]
pub fn has_system_name(etc_dir: &Path) -> bool {
    fs::read_to_string(etc_dir.join("asterisk.conf"))
        .is_ok_and(|text| setting(&text, "systemname").is_some_and(|name| !name.is_empty()))
}

/// What a site chose when it installed: an upgrade keeps it.
#[derive(Debug, Default, PartialEq)]
struct Choices {
    bind: Option<String>,
    carriers: Vec<String>,
    early_answer: Option<bool>,
    fallback: Option<String>,
    agi_server: Option<String>,
}

impl Choices {
    /// Reads them back from files that this program wrote.
    fn installed(etc_dir: &Path) -> Choices {
        let read = |name: &str| fs::read_to_string(etc_dir.join(name)).unwrap_or_default();
        let (pjsip, extensions) = (read("pjsip.conf"), read("extensions.conf"));
        if setting(&pjsip, "user_agent") != Some("CapConduit") {
            return Choices::default();
        }
        let carriers = pjsip.lines().filter_map(|l| l.strip_prefix("match=")).map(str::to_owned).collect();
        Choices {
            bind: setting(&pjsip, "bind").map(str::to_owned),
            carriers,
            early_answer: setting(&extensions, "CC_EARLY_ANSWER").map(|value| value == "yes"),
            fallback: setting(&extensions, "CC_FALLBACK").map(str::to_owned),
            agi_server: setting(&extensions, "CC_AGI_SERVER").map(str::to_owned),
        }
    }
}

/// Whether a carrier is named, now or when this was installed.
#[must_use]
pub fn has_carrier(site: &Site) -> bool {
    !site.carriers.is_empty() || !Choices::installed(&site.etc_dir).carriers.is_empty()
}

/// The configuration and the dialplan with the site's values.
pub(crate) fn configuration(site: &Site, database: &postgres::Config) -> Result<Vec<File>> {
    if !site.etc_dir.is_dir() {
        return Err(Error::failed(format!("{} is not a folder", site.etc_dir.display()))
            .hint("Install Asterisk first, or name its configuration folder with --etc-dir."));
    }
    let installed = Choices::installed(&site.etc_dir);
    let carriers = if site.carriers.is_empty() { &installed.carriers } else { &site.carriers };
    let bind = site.bind.map(|b| b.to_string()).or(installed.bind).unwrap_or_else(|| DEFAULT_BIND.to_owned());
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

/// The AGI programs as Asterisk knows them.
pub(crate) fn program_names() -> [&'static str; 2] {
    PROGRAMS.map(|(_, installed)| installed)
}

/// The names of the configuration's files.
pub(crate) fn configuration_names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.into_iter().map(|(name, _)| name)
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
        // where a package puts them; there, it replaces them itself
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

/// Where the AGI programs go, be it there or not.
pub(crate) fn agi_path(site: &Site, asterisk_conf: &str) -> PathBuf {
    match (&site.agi_dir, setting(asterisk_conf, "astagidir")) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => PathBuf::from(dir),
        (None, None) => PathBuf::from(DEFAULT_AGI_DIR),
    }
}

fn agi_dir(site: &Site, asterisk_conf: &str) -> Result<PathBuf> {
    let dir = agi_path(site, asterisk_conf);
    if !dir.is_dir() {
        return Err(Error::failed(format!("{} is not a folder", dir.display()))
            .hint("Name Asterisk's AGI folder (astagidir of asterisk.conf) with --agi-dir."));
    }
    Ok(dir)
}

/// The `key => value` or `key = value` of an asterisk.conf, without its comment.
pub(crate) fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split(';').next()?.split_once('=')?;
        (name.trim() == key).then(|| value.strip_prefix('>').unwrap_or(value).trim())
    })
}

fn identify(carriers: &[String]) -> Result<String> {
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
fn is_carrier(text: &str) -> bool {
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
fn res_pgsql(database: &postgres::Config) -> Result<String> {
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

/// The id of a group of this machine.
pub(crate) fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn keep_a_copy(path: &Path, stamp: &str) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{stamp}.bak"));
    let backup = PathBuf::from(name);
    fs::hard_link(path, &backup).map_err(|e| Error::io("keep a copy at", &backup, &e))?;
    Ok(backup)
}

/// Whether a file is more open, or less, than it should be.
fn has_other_mode(file: &File) -> bool {
    fs::symlink_metadata(&file.path).is_ok_and(|m| !m.is_file() || m.permissions().mode() & 0o7777 != file.mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_asterisk_reads_them() {
        let text = "[directories]\nastagidir => /x/agi ; here\n[options]\n;systemname = no\nsystemname = node1\n";
        assert_eq!(setting(text, "astagidir"), Some("/x/agi"));
        assert_eq!(setting(text, "systemname"), Some("node1"));
        assert_eq!(setting(text, "rungroup"), None);
    }

    #[test]
    fn what_res_pgsql_cannot_hold_is_refused() {
        let mut database = postgres::Config::new();
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
