//! Who Asterisk runs as, and what that user may do with a file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user with all its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name, or its number where it has none.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The name of the primary group, or its number where it has none.
    pub group: String,
    /// All groups.
    pub groups: Vec<u32>,
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read = 4,
    /// Write it; create files in it, where it is a folder.
    Write = 2,
    /// Run it; go through it, where it is a folder.
    Execute = 1,
}

impl Identity {
    /// The user with this name, from /etc/passwd; None where that file does not have it.
    #[must_use]
    pub fn named(name: &str) -> Option<Identity> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Identity::of(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn of(name: &str, passwd: &str, group: &str) -> Option<Identity> {
        let entry =
            passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name))?;
        let (uid, gid) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
        let member_of = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == name);
            if is_member { fields.get(2)?.parse().ok() } else { None }
        });
        let groups = std::iter::once(gid).chain(member_of).collect();
        Some(Identity { name: name.to_owned(), uid, gid, group: name_of(gid, group), groups })
    }

    /// The user a process runs as, from the text of `/proc/PID/status`.
    #[must_use]
    pub fn of_process(status: &str) -> Option<Identity> {
        let numbers = |key: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.split_whitespace().filter_map(|n| n.parse().ok()).collect())
        };
        // real, effective, saved, file system
        let (uid, gid) = (*numbers("Uid:")?.get(1)?, *numbers("Gid:")?.get(1)?);
        let mut groups = numbers("Groups:").unwrap_or_default();
        groups.push(gid);
        let named = |path, id| name_of(id, &fs::read_to_string(path).unwrap_or_default());
        Some(Identity { name: named("/etc/passwd", uid), uid, gid, group: named("/etc/group", gid), groups })
    }

    /// Whether this user may do this with a file, by the modes of the file and of the folders above
    /// it; access lists are not looked at. `Err`: it could not be found out, or there is no such file.
    ///
    /// # Errors
    /// The file system's.
    pub fn may(&self, access: Access, path: &Path) -> io::Result<bool> {
        let path = fs::canonicalize(path)?;
        for folder in path.ancestors().skip(1) {
            if !self.allows(&fs::metadata(folder)?, Access::Execute) {
                return Ok(false);
            }
        }
        Ok(self.allows(&fs::metadata(&path)?, access))
    }

    fn allows(&self, file: &fs::Metadata, access: Access) -> bool {
        self.allows_mode(file.mode(), file.uid(), file.gid(), access)
    }

    fn allows_mode(&self, mode: u32, owner: u32, group: u32, access: Access) -> bool {
        let bit = access as u32;
        if self.uid == 0 {
            // root runs nothing that nobody may run
            return access != Access::Execute || mode & 0o111 != 0 || mode & 0o170_000 == 0o040_000;
        }
        let shift = if owner == self.uid {
            6
        } else if self.groups.contains(&group) {
            3
        } else {
            0
        };
        mode >> shift & bit != 0
    }
}

/// The name of a user or group in the text of /etc/passwd or /etc/group; the number where it has none.
fn name_of(id: u32, entries: &str) -> String {
    let name = entries.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_has_its_groups() {
        let user = Identity::of(
            "asterisk",
            "root:x:0:0::/:/bin/sh\nasterisk:x:104:111::/var/lib/asterisk:/bin/false\n",
            "daemon:x:1:\nvoice:x:111:\naudio:x:29:pulse,asterisk\n",
        );
        let expected =
            Identity { name: "asterisk".into(), uid: 104, gid: 111, group: "voice".into(), groups: vec![111, 29] };
        assert_eq!(user, Some(expected));
        assert_eq!(Identity::of("ast", "asterisk:x:1:1", ""), None);
    }

    #[test]
    fn the_nearest_class_decides() {
        let user = Identity { name: "a".into(), uid: 104, gid: 111, group: "a".into(), groups: vec![111, 29] };
        let root = Identity { name: "root".into(), uid: 0, gid: 0, group: "root".into(), groups: vec![0] };
        assert!(user.allows_mode(0o100_640, 0, 29, Access::Read));
        assert!(!user.allows_mode(0o100_640, 0, 0, Access::Read));
        assert!(!user.allows_mode(0o100_640, 0, 29, Access::Write));
        assert!(!user.allows_mode(0o100_077, 104, 111, Access::Read), "the owner's own bits count");
        assert!(root.allows_mode(0o100_000, 5, 5, Access::Write));
        assert!(!root.allows_mode(0o100_644, 0, 0, Access::Execute));
    }

    proptest! {
        #[test]
        fn no_status_panics(text in "(Uid:|Gid:|Groups:|\t|[0-9]{1,12}|\n|\\PC){0,40}") {
            let _ = Identity::of_process(&text);
            let _ = Identity::of(&text, &text, &text);
        }
    }
}
