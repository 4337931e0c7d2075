//! The files of an installation: there, as this release writes them, and open to the right people.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::asterisk::conf::{self, File};
use crate::asterisk::site::{self, Site};
use crate::check::Area;
use crate::pg::Settings;
use crate::system::user::{Access, Identity};
use crate::words::some_of;
use crate::{Error, Result};

/// Where the installation is, and for whom.
#[derive(Debug)]
pub struct Installation {
    /// Asterisk's configuration folder.
    pub etc_dir: PathBuf,
    /// Where the AGI programs are.
    pub agi_dir: PathBuf,
    /// Where this program and its neighbours are.
    pub programs_dir: PathBuf,
    /// Who Asterisk runs as; None where that could not be found out.
    pub user: Option<Identity>,
}

/// Looks at every file that `asterisk install` writes.
#[must_use]
pub fn check(installation: &Installation) -> Area {
    let mut area = Area::new("files");
    let site = Site::as_installed(installation.etc_dir.clone());
    match conf::configuration(&site, &realtime_login(&installation.etc_dir).unwrap_or_else(|_| Settings::default())) {
        Ok(files) => files.iter().for_each(|file| configuration(&mut area, installation, file)),
        Err(e) => area.error("configuration", e.message, "Name Asterisk's configuration folder with --etc-dir."),
    }
    let programs = conf::programs(&installation.agi_dir, &installation.programs_dir);
    conf::PROGRAMS.iter().for_each(|(_, name)| program(&mut area, installation, name, &programs));
    area
}

/// The login in res_pgsql.conf.
///
/// # Errors
/// The file cannot be read.
pub fn realtime_login(etc_dir: &Path) -> Result<Settings> {
    let path = etc_dir.join("res_pgsql.conf");
    let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
    let value = |key| site::setting(&text, key).filter(|value| !value.is_empty());
    let mut login = Settings::default();
    match value("dbhost") {
        Some(folder) if folder.starts_with('/') => login.host_path(folder),
        Some(host) => login.host(host),
        None => &mut login,
    };
    if let Some(port) = value("dbport").and_then(|port| port.parse().ok()) {
        login.port(port);
    }
    value("dbname").map(|name| login.dbname(name));
    value("dbuser").map(|user| login.user(user));
    value("dbpass").map(|password| login.password(password));
    Ok(login)
}

fn configuration(area: &mut Area, installation: &Installation, file: &File) {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = file.path.display();
    let content = match fs::read(&file.path) {
        Ok(content) => content,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return area.error(&name, format!("{path} is missing"), "capconduit asterisk install writes it.");
        }
        Err(e) => return area.unknown(&name, format!("{path} cannot be read: {e}"), "Run this as root."),
    };
    let before = area.findings.len();
    let mode = fs::metadata(&file.path).map_or(0, |m| m.permissions().mode() & 0o777);
    let repair = format!("chmod {:o} {path}", file.mode);
    if name == "res_pgsql.conf" && mode & 0o007 != 0 {
        let why = format!("{path} holds the database password and is open to every user (mode {mode:04o})");
        area.error(&name, why, repair);
    } else if mode & 0o002 != 0 {
        area.error(&name, format!("every user may write {path} (mode {mode:04o})"), repair);
    }
    match installation.user.as_ref().map(|user| (user, user.may(Access::Read, &file.path))) {
        Some((user, Ok(false))) => area.error(
            &name,
            format!("{path} cannot be read by Asterisk, which runs as {}", user.name),
            format!("chgrp {} {path} && chmod 640 {path}", user.group),
        ),
        Some((_, Err(e))) => area.unknown(&name, format!("{path}: {e}"), "Run this as root."),
        Some((_, Ok(true))) | None => {}
    }
    if content != file.content {
        let lines = differing(&String::from_utf8_lossy(&file.content), &String::from_utf8_lossy(&content));
        area.warning(
            &name,
            format!("{path} is not as this release writes it: {lines}"),
            "Move additions to the _local.conf files, then capconduit asterisk install --force: it keeps a copy.",
        );
    }
    if area.findings.len() == before {
        area.ok(&name, "as this release writes it");
    }
}

/// `line 7 is new; line 9 is missing`; without the lines, which may hold a password.
fn differing(expected: &str, found: &str) -> String {
    let only_in = |one: &str, other: &str| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        let lines = (1..).zip(one.lines()).filter(|(_, line)| !other.contains(line));
        lines.map(|(number, _): (u32, _)| number.to_string()).collect()
    };
    let (added, missing) = (only_in(found, expected), only_in(expected, found));
    match (added.is_empty(), missing.is_empty()) {
        (true, true) => "its lines are the same in another order".to_owned(),
        (false, true) => format!("line {} is not the release's", some_of(&added)),
        (true, false) => format!("line {} of the release's file is missing", some_of(&missing)),
        (false, false) => {
            format!("line {} differs from line {} of the release's file", some_of(&added), some_of(&missing))
        }
    }
}

fn program(area: &mut Area, installation: &Installation, name: &str, expected: &Result<Vec<File>>) {
    let path = installation.agi_dir.join(name);
    let shown = path.display();
    let mode = match fs::metadata(&path) {
        Ok(file) => file.permissions().mode() & 0o777,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return area.error(
                name,
                format!("{shown} is missing: no call is routed, or none recorded"),
                "capconduit asterisk install puts it there; --agi-dir names another folder.",
            );
        }
        Err(e) => return area.unknown(name, format!("{shown}: {e}"), "Run this as root."),
    };
    let repair = format!("chmod 755 {shown}");
    if mode & 0o002 != 0 {
        return area.error(name, format!("every user may write {shown} (mode {mode:04o})"), repair);
    }
    match installation.user.as_ref().map(|user| (user, user.may(Access::Execute, &path))) {
        Some((user, Ok(false))) => {
            let why = format!("Asterisk, which runs as {}, may not run {shown} (mode {mode:04o})", user.name);
            return area.error(name, why, format!("{repair}, and let it through the folders above."));
        }
        Some((_, Err(e))) => return area.unknown(name, format!("{shown}: {e}"), "Run this as root."),
        Some((_, Ok(true))) | None => {}
    }
    let is_it = |file: &File| file.path == path && fs::read(&path).is_ok_and(|p| p == file.content);
    match expected {
        Ok(files) if files.iter().any(is_it) => area.ok(name, "of this release, and Asterisk may run it"),
        Ok(_) => area.warning(
            name,
            format!("{shown} is of another release than this program"),
            "capconduit asterisk install replaces it; calls go on meanwhile.",
        ),
        Err(e) => {
            let why = format!("cannot be compared: {}", e.message);
            area.unknown(name, why, "Keep the programs of a release together.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_without_their_content() {
        assert_eq!(differing("a\nb\n", "a\nb\nsecret\n"), "line 3 is not the release's");
        assert_eq!(differing("a\nb\n", "a\n"), "line 2 of the release's file is missing");
        assert_eq!(differing("a\nb\n", "b\na\n"), "its lines are the same in another order");
        assert_eq!(differing("a\nb\n", "a\nc\n"), "line 2 differs from line 2 of the release's file");
    }
}
