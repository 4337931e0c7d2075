//! Installing: writing the files that differ, and keeping a copy of each that is replaced.
//!
//! Installing is idempotent. A file that differs is never overwritten unless asked, and then a copy
//! is kept. Everything is checked before anything is written.

use crate::asterisk::conf::{File, configuration, programs};
use crate::asterisk::site::{Site, agi_dir, setting};
use crate::pg::Settings;
use crate::system::file::replace;
use crate::system::user::group_id;
use crate::{Error, Result, as_json, shape};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

as_json! { Text: Change; }

shape! {
    /// One file of the installation.
    #[derive(Debug)]
    pub struct Installed {
        /// Where it is.
        pub path: PathBuf,
        /// created, unchanged or replaced.
        pub change: Change,
        /// Where the file it replaced is.
        pub backup: Option<PathBuf>,
    }
}

/// Writes the files. `database` is what Asterisk's realtime reads through; `programs_dir` holds the
/// two programs; `now` names the copies of what is replaced.
///
/// # Errors
/// A folder or program that is missing; a file that differs, without `force`; a database setting
/// that res_pgsql.conf cannot hold. Nothing is written then.
pub fn install(site: &Site, database: &Settings, programs_dir: &Path, now: DateTime<Utc>) -> Result<Vec<Installed>> {
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
