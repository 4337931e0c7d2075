//! Files that are written as a whole: beside the old one, then renamed over it, so that no reader ever
//! sees half of one, and a program that runs keeps its own.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use crate::{Error, Result};

/// Puts a file of this content, mode and, where one is given, group in the place of what is there.
///
/// # Errors
/// The folder cannot be written; then the old file is as it was.
pub fn replace(path: &Path, content: &[u8], mode: u32, group: Option<u32>) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("{} is no file name", path.display())))?;
    let temporary = path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let attempt = || -> std::io::Result<()> {
        // A file of our own making, never one that is there: the folder may be another user's. Nobody
        // else may read it before its group and mode are right: it may hold a password.
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        out.write_all(content)?;
        match fchown(&out, None, group) {
            // an ordinary user has an Asterisk of its own
            Err(e) if e.kind() != ErrorKind::PermissionDenied => return Err(e),
            Ok(()) | Err(_) => {}
        }
        // whatever the umask is
        out.set_permissions(Permissions::from_mode(mode))?;
        out.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().map_err(|e| {
        // the reason is what matters
        let _ = fs::remove_file(&temporary);
        Error::io("write", path, &e)
    })
}
