//! Files that commands read and write; `-` is the standard stream.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crate::cli::env::Env;
use crate::system::file::beside;
use crate::{Error, Result};

/// Whether a name stands for a standard stream.
pub(crate) fn is_stream(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A file to read, or standard input.
pub(crate) fn open<'e>(env: &'e mut Env<'_>, file: &Path) -> Result<Box<dyn Read + 'e>> {
    if is_stream(file) {
        return Ok(Box::new(&mut *env.stdin));
    }
    let opened = File::open(file).map_err(|e| Error::io("read", file, &e))?;
    Ok(Box::new(std::io::BufReader::new(opened)))
}

/// A whole text.
pub(crate) fn read(env: &mut Env<'_>, file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    open(env, file)?.read_to_end(&mut bytes).map_err(|e| Error::io("read", file, &e))?;
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{} is not UTF-8", file.display())))
}

/// Writes a file as a whole or not at all: a reader meanwhile sees the old one. `secret`: the file is for its owner
/// only.
pub(crate) fn replace(file: &Path, secret: bool, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write", file, &e);
    // a device or a pipe has no other content to keep
    let target = match fs::canonicalize(file) {
        Ok(path) if !path.is_file() => {
            let mut out = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            return write(&mut out);
        }
        Ok(path) => path,
        Err(_) => file.to_owned(),
    };
    let new = beside(&target, if secret { 0o600 } else { 0o666 }).map_err(failed)?;
    if let (false, Ok(old)) = (secret, fs::metadata(&target)) {
        new.as_file().set_permissions(old.permissions()).map_err(failed)?;
    }
    let mut out = BufWriter::new(new.as_file());
    write(&mut out)?;
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
    new.persist(&target).map(drop).map_err(|e| failed(e.error))
}
