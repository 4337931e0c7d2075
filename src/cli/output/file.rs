//! Files that commands read and write; `-` is the standard stream.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::env::Env;
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

/// Writes a file as a whole or not at all: who reads it meanwhile sees the old one. `secret`: it is for
/// its owner only.
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
    let beside = beside(&target);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(if secret { 0o600 } else { 0o666 });
    let result = options.open(&beside).map_err(failed).and_then(|new| {
        if let (false, Ok(old)) = (secret, fs::metadata(&target)) {
            new.set_permissions(old.permissions()).map_err(failed)?;
        }
        let mut out = BufWriter::new(new);
        write(&mut out)?;
        let new = out.into_inner().map_err(|e| failed(e.into_error()))?;
        new.sync_all().map_err(failed)?;
        fs::rename(&beside, &target).map_err(failed)
    });
    if result.is_err() {
        // half a file is of use to nobody
        let _ = fs::remove_file(&beside);
    }
    result
}

/// A name in the same folder, that of this process only.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    target.with_file_name(format!(".{name}.{}.new", std::process::id()))
}
