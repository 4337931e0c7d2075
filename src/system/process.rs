//! The running Asterisk as the kernel shows it: its user, its environment, its limits.

use std::fs;
use std::path::Path;

use crate::system::user::Identity;

/// A process below /proc. What may not be read is None.
#[derive(Debug, Default)]
pub struct Process {
    /// Who it runs as.
    pub identity: Option<Identity>,
    /// What it hands to the AGI programs; its values may be secret.
    pub environment: Option<Vec<(String, String)>>,
    /// How many files it may have open.
    pub open_files: Option<u64>,
    /// How many it has open.
    pub files_in_use: Option<u64>,
    /// How many threads and processes it may have: the least of what its user and its control group may; None where
    /// that is not known. The kernel does not hold root to the user's limit.
    pub tasks: Option<u64>,
    /// The allocator in place of glibc's, by its library; Some(None): glibc's own.
    pub allocator: Option<Option<&'static str>>,
}

impl Process {
    /// The process that a pid file names; None where there is none.
    #[must_use]
    pub fn of_pid_file(path: &Path) -> Option<Process> {
        let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        let folder = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| fs::read(folder.join(name)).ok().map(|t| String::from_utf8_lossy(&t).into_owned());
        let identity = Identity::of_process(&read("status")?);
        let limits = read("limits").unwrap_or_default();
        Some(Process {
            environment: read("environ").map(|text| environment(&text)),
            open_files: limit(&limits, "Max open files"),
            files_in_use: fs::read_dir(folder.join("fd")).ok().map(|files| files.count() as u64),
            tasks: limit(&limits, "Max processes").map(|of_user| {
                let is_root = identity.as_ref().is_some_and(|identity| identity.uid == 0);
                let of_group =
                    read("cgroup").map_or(u64::MAX, |text| tasks_of_group(&text, Path::new("/sys/fs/cgroup")));
                if is_root { of_group } else { of_user.min(of_group) }
            }),
            allocator: read("maps").map(|text| allocator(&text)),
            identity,
        })
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let environment = self.environment.as_ref()?;
        environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn environment(text: &str) -> Vec<(String, String)> {
    let pair = |entry: &str| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split('\0').filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

/// The allocator other than glibc's that the text of `/proc/PID/maps` names.
fn allocator(maps: &str) -> Option<&'static str> {
    let is_one = |name: &str| ["libjemalloc", "libtcmalloc", "libmimalloc"].into_iter().find(|a| name.starts_with(a));
    maps.lines().filter_map(|line| line.rsplit_once('/')).find_map(|(_, library)| is_one(library))
}

/// The soft limit of this name in the text of `/proc/PID/limits`.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// How many tasks the control group in the text of `/proc/PID/cgroup` may have (systemd: TasksMax), those above it
/// included.
fn tasks_of_group(cgroup: &str, root: &Path) -> u64 {
    // 0::/system.slice/asterisk.service, or of an older system N:pids:/system.slice/asterisk.service
    let group = |line: &str| -> Option<(String, String)> {
        let mut fields = line.splitn(3, ':');
        let (_, controller, path) = (fields.next()?, fields.next()?, fields.next()?);
        ["", "pids"].contains(&controller).then(|| (controller.to_owned(), path.trim_matches('/').to_owned()))
    };
    let mut least = u64::MAX;
    for (controller, path) in cgroup.lines().filter_map(group) {
        let base = root.join(&controller);
        for folder in Path::new(&path).ancestors() {
            let text = fs::read_to_string(base.join(folder).join("pids.max")).unwrap_or_default();
            least = least.min(text.trim().parse().unwrap_or(u64::MAX));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max cpu time              unlimited            unlimited            seconds   \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(limit(limits, "Max open files"), Some(1024));
        assert_eq!(limit(limits, "Max cpu time"), Some(u64::MAX));
        assert_eq!(limit("Max open files\n", "Max open files"), None);
        let maps = "7f00-7f01 r-xp 00000000 08:01 7 /usr/lib/x86_64-linux-gnu/libc.so.6\n";
        assert_eq!(allocator(maps), None);
        assert_eq!(allocator(&maps.replace("libc.so.6", "libjemalloc.so.2")), Some("libjemalloc"));
        assert_eq!(allocator(&maps.replace("/libc.so.6", "/libjemalloc/libc.so.6")), None);
        let variables = environment("A=1\0B=x=y\0stray\0=z\0");
        assert_eq!(variables, [("A".into(), "1".into()), ("B".into(), "x=y".into())]);
    }

    #[test]
    fn a_control_group_may_have_as_many_tasks_as_those_above_it_let_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("own folder");
            fs::write(path, text).expect("own folder");
        };
        put("system.slice/asterisk.service/pids.max", "max\n");
        put("system.slice/pids.max", "4915\n");
        put("pids/old/pids.max", "77\n");
        let tasks = |text| tasks_of_group(text, folder.path());
        assert_eq!(tasks("0::/system.slice/asterisk.service\n"), 4915);
        assert_eq!(tasks("5:cpu:/old\n4:pids:/old\n1:name=systemd:/old\n"), 77);
        assert_eq!(tasks("0::/elsewhere\n"), u64::MAX);
        assert_eq!(tasks(""), u64::MAX);
    }
}
