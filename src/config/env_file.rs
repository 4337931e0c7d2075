//! Changes env files: one line is set, the others stay, and no reader sees half a file or one not meant for him.
//! `config` reads them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::system::file::prepare;
use crate::{Error, Kind, Result};

/// An env file as it is to be.
#[derive(Debug)]
pub struct EnvFile {
    path: PathBuf,
    text: String,
    /// Owner and group of the file that is there.
    owner: Option<(u32, u32)>,
    changed: bool,
}

impl EnvFile {
    /// Reads a file; one that is missing is empty.
    ///
    /// # Errors
    /// It cannot be read, or is no env file.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("read", path, &e);
        let (text, owner) = match fs::read_to_string(path) {
            Ok(text) => (text, fs::metadata(path).map(|m| Some((m.uid(), m.gid()))).map_err(failed)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (String::new(), None),
            Err(e) => return Err(failed(e)),
        };
        // a byte order mark would stand before the name of the first variable
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        values(&text, path)?;
        Ok(EnvFile { path: path.to_owned(), text, owner, changed: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        values(&self.text, &self.path).ok()?.remove(name).filter(|value| !value.is_empty())
    }

    /// Whether it differs from the file that is there.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Sets a variable; all other lines stay as they are.
    ///
    /// # Errors
    /// The variable's line cannot be told from the rest (a value over several lines), or the value cannot
    /// be written.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        // a value that a shell would split stands in quotes, too
        let plain = !value.contains(|c: char| c.is_whitespace() || "$#\"'\\`&;".contains(c));
        let line = if plain { format!("{name}={value}\n") } else { format!("{name}='{value}'\n") };
        self.replace(name, Some((value, line)))
    }

    /// Removes a variable; all other lines stay as they are.
    ///
    /// # Errors
    /// The variable's line cannot be told from the rest.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.replace(name, None)
    }

    fn replace(&mut self, name: &str, new: Option<(&str, String)>) -> Result<()> {
        let is_it = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let mut text = String::new();
        let mut pending = new.as_ref().map(|(_, line)| line);
        for line in self.text.split_inclusive('\n') {
            if is_it(line) {
                // a second line of this name goes: nobody should have to guess which one counts
                text.push_str(pending.take().map_or("", String::as_str));
            } else {
                text.push_str(line);
                if !line.ends_with('\n') {
                    text.push('\n');
                }
            }
        }
        text.push_str(pending.map_or("", String::as_str));

        let mut expected = values(&self.text, &self.path)?;
        match &new {
            Some((value, _)) => expected.insert(name.to_owned(), (*value).to_owned()),
            None => expected.remove(name),
        };
        if values(&text, &self.path).ok() != Some(expected) {
            let path = self.path.display();
            return Err(Error::invalid(format!("{path}: the line of {name} cannot be replaced"))
                .hint("Nothing was changed. Write each NAME=value on a line of its own."));
        }
        self.changed |= text != self.text;
        self.text = text;
        Ok(())
    }

    /// Writes the new file beside the old one.
    ///
    /// # Errors
    /// The folder cannot be written, or others may write to it; or the existing file is another user's, who would go
    /// on reading it, whatever its mode.
    pub fn prepare(self, mode: u32, group: Option<u32>) -> Result<Prepared> {
        let (uid, gid) = self.owner.unzip();
        let new = prepare(&self.path, self.text.as_bytes(), mode, uid, group.or(gid))
            .map_err(|e| Error::io("write", &self.path, &e))?;
        refuse_others(&self.path, uid.filter(|_| group.is_none()), mode)?;
        Ok(Prepared { new, path: self.path })
    }
}

fn refuse_others(path: &Path, owner: Option<u32>, mode: u32) -> Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let of_folder = fs::metadata(folder).map_err(|e| Error::io("read", path, &e))?;
    // a file that this process made belongs to its user
    let me = rustix::process::geteuid().as_raw();
    let refused = |what: &Path, why: &str, how: String| {
        let message = format!("{} {why}: it is no place for a password", what.display());
        Err(Error::new(Kind::Permission, message).hint(format!("Nothing was changed. {how}")))
    };
    if of_folder.uid() != me && of_folder.uid() != 0 || of_folder.mode() & 0o022 != 0 {
        let how = format!("chown {me} {0} && chmod go-w {0}", folder.display());
        return refused(folder, "is a folder that others may write to", how);
    }
    if let Some(owner) = owner.filter(|owner| *owner != me && mode & 0o077 == 0) {
        let how = format!("chown {me} {}, or move it away.", path.display());
        return refused(path, &format!("belongs to another user (uid {owner})"), how);
    }
    Ok(())
}

fn values(text: &str, path: &Path) -> Result<BTreeMap<String, String>> {
    // the parser's message quotes the line, which may hold a password
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::invalid(format!("{}: not every line is NAME=value", path.display())))
}

/// A new file beside the old one; removed when dropped.
#[derive(Debug)]
pub struct Prepared {
    new: NamedTempFile,
    path: PathBuf,
}

impl Prepared {
    /// Puts it in the old one's place.
    ///
    /// # Errors
    /// The folder cannot be written any more; the new file stays beside the old one then.
    pub fn install(mut self) -> Result<()> {
        // also after a failure: it may hold the only copy
        self.new.disable_cleanup(true);
        let hint = format!("What it was to hold is in {}.", self.new.path().display());
        let persisted = self.new.persist(&self.path);
        persisted.map(drop).map_err(|e| Error::io("replace", &self.path, &e.error).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> EnvFile {
        EnvFile { path: "/x.env".into(), text: text.to_owned(), owner: None, changed: false }
    }

    #[test]
    fn other_lines_stay() {
        let mut env = file("# ours\nexport DATABASE_URL='a b'\nDATABASE_URLS=x\nINTERNAL_API_TOKEN=\"t # t\"");
        env.set("DATABASE_URL", "postgresql://u:p@h:1/d").expect("a line");
        assert_eq!(
            env.text,
            "# ours\nDATABASE_URL=postgresql://u:p@h:1/d\nDATABASE_URLS=x\nINTERNAL_API_TOKEN=\"t # t\"\n"
        );
        env.set("NEW", "1").expect("a line");
        assert!(env.text.ends_with("\nNEW=1\n"));
        env.set("NEW", "host=a password='").expect_err("no quotes for it");
        env.set("NEW", "host=a dbname=$b").expect("quoted");
        assert_eq!(env.get("NEW").as_deref(), Some("host=a dbname=$b"));
        assert_eq!(env.get("INTERNAL_API_TOKEN").as_deref(), Some("t # t"));
    }

    #[test]
    fn the_first_line_of_a_file_with_a_byte_order_mark_is_one_as_any_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.env");
        fs::write(&path, "\u{feff}DATABASE_URL=old\r\nOTHER=1\r\n").expect("written");
        let mut env = EnvFile::read(&path).expect("an env file");
        assert_eq!(env.get("DATABASE_URL").as_deref(), Some("old"));
        assert!(!env.is_changed());
        env.set("DATABASE_URL", "new").expect("a line");
        assert_eq!(env.text, "DATABASE_URL=new\nOTHER=1\r\n");
    }

    #[test]
    fn a_value_over_several_lines_is_not_torn() {
        let mut env = file("A='1\nDATABASE_URL=2'\n");
        assert!(env.set("DATABASE_URL", "x").is_err());
        assert_eq!(env.text, "A='1\nDATABASE_URL=2'\n");
    }
}
