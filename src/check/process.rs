//! The running Asterisk as the kernel shows it: its user, its environment, its limits.

use std::fs;
use std::path::Path;

use super::identity::Identity;

/// A process below /proc. What may not be read is None.
#[derive(Debug, Default)]
pub struct Process {
    /// Who it runs as.
    pub identity: Option<Identity>,
    /// What it hands to the AGI programs; its values may be secret.
    pub environment: Option<Vec<(String, String)>>,
    /// How many files it may have open.
    pub open_files: Option<u64>,
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
        let status = read("status")?;
        Some(Process {
            identity: Identity::of_process(&status),
            environment: read("environ").map(|text| environment(&text)),
            open_files: read("limits").and_then(|text| open_files(&text)),
            allocator: read("maps").map(|text| allocator(&text)),
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

/// The soft limit in the text of `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max cpu time              unlimited            unlimited            seconds   \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files\n"), None);
        let maps = "7f00-7f01 r-xp 00000000 08:01 7 /usr/lib/x86_64-linux-gnu/libc.so.6\n";
        assert_eq!(allocator(maps), None);
        assert_eq!(allocator(&maps.replace("libc.so.6", "libjemalloc.so.2")), Some("libjemalloc"));
        assert_eq!(allocator(&maps.replace("/libc.so.6", "/libjemalloc/libc.so.6")), None);
        let variables = environment("A=1\0B=x=y\0stray\0=z\0");
        assert_eq!(variables, [("A".into(), "1".into()), ("B".into(), "x=y".into())]);
    }
}
