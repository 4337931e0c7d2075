//! Files that are written as a whole: beside the old one, then renamed over it. No reader sees half a file, and a
//! running program keeps its own.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::{Error, Result};

/// A new file beside this path, to be persisted at it; removed when dropped before that.
///
/// # Errors
/// The folder cannot be written.
pub fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    // never opens a file that exists: the folder may be another user's
    let make = |new: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(new);
    Builder::new().prefix(&name).suffix(".new").make_in(path.parent().unwrap_or(path), make)
}

/// The same with its content, mode and, where they are given, owner and group, all of it on the disk.
///
/// # Errors
/// As [`beside`], or the disk is full.
pub fn prepare(path: &Path, bytes: &[u8], mode: u32, uid: Option<u32>, gid: Option<u32>) -> io::Result<NamedTempFile> {
    // nobody else may read it before its group and mode are right: it may hold a password
    let new = beside(path, 0o600)?;
    let mut out: &File = new.as_file();
    out.write_all(bytes)?;
    match fchown(out, uid, gid) {
        // an ordinary user cannot change the owner, and has an Asterisk of its own
        Err(e) if e.kind() != ErrorKind::PermissionDenied => return Err(e),
        Ok(()) | Err(_) => {}
    }
    // whatever the umask is
    out.set_permissions(Permissions::from_mode(mode))?;
    out.sync_all()?;
    Ok(new)
}

/// Replaces a file by one of this content, mode and, where one is given, group.
///
/// # Errors
/// The folder cannot be written; then the old file is as it was.
pub fn replace(path: &Path, content: &[u8], mode: u32, group: Option<u32>) -> Result<()> {
    if path.file_name().is_none() {
        return Err(Error::invalid(format!("{} is no file name", path.display())));
    }
    let persisted = prepare(path, content, mode, None, group).and_then(|new| Ok(new.persist(path)?));
    persisted.map(drop).map_err(|e| Error::io("write", path, &e))
}
