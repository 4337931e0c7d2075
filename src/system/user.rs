//! Who Asterisk runs as, and what that user may do with a file.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

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
    /// The user with this name; None where the system knows none.
    #[must_use]
    pub fn named(name: &str) -> Option<Identity> {
        let user = User::from_name(name).ok()??;
        let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        Some(Identity::of(user.uid, user.gid, groups.into_iter().map(Gid::as_raw).collect()))
    }

    /// Who runs this program.
    #[must_use]
    pub fn own() -> Identity {
        Identity::of(Uid::effective(), Gid::effective(), Vec::new())
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
        Some(Identity::of(Uid::from_raw(uid), Gid::from_raw(gid), groups))
    }

    fn of(uid: Uid, gid: Gid, groups: Vec<u32>) -> Identity {
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
        Identity { name, uid: uid.as_raw(), gid: gid.as_raw(), group, groups }
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

/// The id of a group of this machine.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_has_its_groups() {
        let root = Identity::named("root").expect("every system has one");
        assert!((root.uid, root.gid) == (0, 0) && root.groups.contains(&0), "{root:?}");
        assert_eq!(group_id(&root.group), Some(0));
        assert_eq!(Identity::named("no such user"), None);
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
        }
    }
}
