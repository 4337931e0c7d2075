//! A site's choices and its Asterisk's folders, read back from the installed files.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where Asterisk's configuration is on most systems.
pub const DEFAULT_ETC_DIR: &str = "/etc/asterisk";

/// Where AGI programs are unless asterisk.conf says otherwise, and where a package puts ours.
pub(crate) const DEFAULT_AGI_DIR: &str = "/usr/share/asterisk/agi-bin";

/// Where systemd looks for a site's additions to Asterisk's unit.
pub(crate) const UNIT_DIR: &str = "/etc/systemd/system/asterisk.service.d";

/// The command that gives Asterisk's unit this release's additions, time limits for realtime among them.
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
#[derive(Debug, Default)]
pub struct Site {
    /// Asterisk's configuration folder.
    pub etc_dir: PathBuf,
    /// Where the AGI programs go; None: `astagidir` of asterisk.conf, else Asterisk's default.
    pub agi_dir: Option<PathBuf>,
    /// Where SIP listens, UDP and TCP; None: as installed, else [`DEFAULT_BIND`].
    pub bind: Option<String>,
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
    /// A site with what it chose when it was installed, which an upgrade keeps.
    #[must_use]
    pub fn as_installed(etc_dir: PathBuf) -> Site {
        let read = |name: &str| fs::read_to_string(etc_dir.join(name)).unwrap_or_default();
        let (pjsip, extensions) = (read("pjsip.conf"), read("extensions.conf"));
        if setting(&pjsip, "user_agent") != Some("CapConduit") {
            return Site { etc_dir, ..Site::default() };
        }
        Site {
            bind: setting(&pjsip, "bind").map(str::to_owned),
            carriers: pjsip.lines().filter_map(|l| l.strip_prefix("match=")).map(str::to_owned).collect(),
            early_answer: setting(&extensions, "CC_EARLY_ANSWER").map(|value| value == "yes"),
            fallback: setting(&extensions, "CC_FALLBACK").map(str::to_owned),
            agi_server: setting(&extensions, "CC_AGI_SERVER").map(str::to_owned),
            etc_dir,
            ..Site::default()
        }
    }
}

/// Where SIP listens unless told otherwise.
pub const DEFAULT_BIND: &str = "0.0.0.0:5060";

/// Whether asterisk.conf names this server: without `systemname`, two servers give their calls the
/// same unique ids.
#[must_use]
pub fn has_system_name(etc_dir: &Path) -> bool {
    fs::read_to_string(etc_dir.join("asterisk.conf"))
        .is_ok_and(|text| setting(&text, "systemname").is_some_and(|name| !name.is_empty()))
}

/// Whether a carrier is named, now or when this was installed.
#[must_use]
pub fn has_carrier(site: &Site) -> bool {
    !site.carriers.is_empty() || !Site::as_installed(site.etc_dir.clone()).carriers.is_empty()
}

pub(crate) fn agi_dir(site: &Site, asterisk_conf: &str) -> Result<PathBuf> {
    let dir = site.agi_dir.clone().unwrap_or_else(|| path(asterisk_conf, "astagidir", DEFAULT_AGI_DIR));
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

/// A folder or file that asterisk.conf names, else its default.
#[must_use]
pub fn path(conf: &str, name: &str, default: &str) -> PathBuf {
    PathBuf::from(setting(conf, name).unwrap_or(default))
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
}
