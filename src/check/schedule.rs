//! Whether something runs the jobs that a node needs run: cron or systemd.

use crate::check::Area;
use crate::system::user::Identity;
use crate::words::shell;
use std::fs;
use std::path::{Path, PathBuf};

/// A job that must run regularly.
pub(crate) struct Job {
    /// The name of the check.
    check: &'static str,
    command: &'static str,
    /// How often, as cron has it.
    times: &'static str,
    /// Who cron runs it as, unless it is Asterisk's user.
    user: Option<&'static str>,
    /// What follows where nothing runs it.
    without: &'static str,
}

pub(crate) const REPLAY: Job = Job {
    check: "schedule",
    command: "call replay",
    times: "* * * * *",
    user: None,
    without: "nobody delivers spooled records",
};
pub(crate) const REAP: Job = Job {
    check: "reap",
    command: "call reap",
    times: "*/5 * * * *",
    // it takes admin.env and Asterisk's console
    user: Some("root"),
    without: "calls that are lost with Asterisk hold their places until their leases end",
};

/// Whether something runs the job, on the system below `root`: one of `schedules`, cron or systemd.
pub(crate) fn schedule(
    area: &mut Area,
    schedules: &[PathBuf],
    user: Option<&Identity>,
    program: &Path,
    job: &Job,
    root: &Path,
) {
    let Job { check, command, without, .. } = job;
    let runs_it = |path: &PathBuf| runs(path, command);
    if let Some(path) = schedules.iter().find(|path| runs_it(path)) {
        return area.ok(check, format!("{} runs {command}", path.display()));
    }
    let cron_runs = cron_runs(root);
    let has_systemd = root.join("run/systemd/system").is_dir();
    let cron = ["etc/cron.d", "var/spool/cron/crontabs", "var/spool/cron"];
    let mut cron = cron.iter().flat_map(|dir| files_in(root.join(dir))).chain([root.join("etc/crontab")]);
    let cron = cron.find(runs_it);
    if let (Some(path), true) = (&cron, cron_runs) {
        return area.ok(check, format!("{} runs {command}", path.display()));
    }
    let units = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"].map(|dir| root.join(dir));
    let services = units.iter().flat_map(files_in).filter(|path| path.extension().is_some_and(|e| e == "service"));
    let service = services.into_iter().find(runs_it);
    let timer = service.as_ref().and_then(|path| Some(format!("{}.timer", path.file_stem()?.to_string_lossy())));
    // without systemd, a timer runs nothing
    let timer = timer.filter(|_| has_systemd);
    let enabled =
        |timer: &str| units.iter().any(|dir| dir.join("timers.target.wants").join(timer).symlink_metadata().is_ok());
    match (timer, cron) {
        (Some(timer), _) if enabled(&timer) => area.ok(check, format!("{timer} runs {command}")),
        (_, Some(path)) => area.warning(
            check,
            format!("{} is to run {command}, but no cron daemon runs: {without}", path.display()),
            start_cron(root, has_systemd),
        ),
        (Some(timer), None) => {
            area.warning(check, format!("{timer} is not enabled: {without}"), format!("systemctl enable --now {timer}"))
        }
        (None, None) => {
            let user = job.user.unwrap_or_else(|| user.map_or("asterisk", |user| &user.name));
            let program = program.display().to_string();
            let line = format!("{} {user} {} {command} >/dev/null", job.times, shell(&program));
            let start = if cron_runs { String::new() } else { format!(" && {}", start_cron(root, has_systemd)) };
            area.warning(
                check,
                format!("nothing was found that runs {command} (--schedule names what does elsewhere): {without}"),
                // the file may have a line for the other job
                format!("echo {} >> /etc/cron.d/capconduit{start}", shell(&line)),
            );
        }
    }
}

/// Debian's and others' cron, cronie, busybox.
pub(crate) const CRON_DAEMONS: [&str; 3] = ["cron", "crond", "fcron"];

/// Whether a cron daemon runs, or systemd in its place from the same files.
pub(crate) fn cron_runs(root: &Path) -> bool {
    let comm = |process: fs::DirEntry| fs::read_to_string(process.path().join("comm")).ok();
    let mut processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten().filter_map(comm);
    processes.any(|name| CRON_DAEMONS.contains(&name.trim_end()))
        || files_in(root.join("run/systemd/generator"))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .any(|name| name.starts_with("cron-") && name.ends_with(".timer"))
}

/// The command that starts cron, after installing it where it is missing.
pub(crate) fn start_cron(root: &Path, has_systemd: bool) -> String {
    let installed = CRON_DAEMONS.iter().find(|name| root.join("usr/sbin").join(name).is_file());
    match (installed, has_systemd) {
        (Some(name), true) => format!("systemctl enable --now {name}"),
        (Some(name), false) => format!("/usr/sbin/{name}"),
        // its package starts it
        (None, true) => "apt-get install cron".to_owned(),
        (None, false) => "apt-get install cron && /usr/sbin/cron".to_owned(),
    }
}

pub(crate) fn files_in(dir: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file())
}

pub(crate) fn runs(path: &Path, command: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn a_comment_runs_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cron");
        fs::write(&path, "# * * * * * capconduit call replay\n").expect("own folder");
        assert!(!runs(&path, "call replay"));
        fs::write(&path, "* * * * * asterisk capconduit call replay\n").expect("own folder");
        assert!(runs(&path, "call replay"));
    }

    /// What is said of the schedule on the system below `root`.
    fn said_of(root: &Path) -> (State, String, String) {
        let mut area = Area::new("spool");
        schedule(&mut area, &[], None, Path::new("/opt/call centre/capconduit"), &REPLAY, root);
        let finding = area.findings.remove(0);
        (finding.state, finding.message, finding.remedy.unwrap_or_default())
    }

    #[test]
    fn a_schedule_counts_where_something_runs_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let put = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("own folder");
            fs::write(path, text).expect("own folder");
        };
        let (state, message, remedy) = said_of(root);
        assert!(state == State::Warning && message.starts_with("nothing was found"), "{message}");
        // as a shell takes it
        let (echo, rest) = remedy.split_once(" >> /etc/cron.d/capconduit").expect("a file");
        assert_eq!(rest, " && apt-get install cron && /usr/sbin/cron");
        let line = std::process::Command::new("sh").args(["-c", echo]).output().expect("sh runs").stdout;
        let line = String::from_utf8(line).expect("text");
        assert_eq!(line, "* * * * * asterisk '/opt/call centre/capconduit' call replay >/dev/null\n");

        put("etc/cron.d/capconduit", &line);
        let (state, message, remedy) = said_of(root);
        assert!(state == State::Warning && message.contains("no cron daemon runs"), "{message}");
        assert_eq!(remedy, "apt-get install cron && /usr/sbin/cron");
        put("usr/sbin/cron", "");
        put("proc/1/comm", "crontab\n");
        assert_eq!(said_of(root).2, "/usr/sbin/cron");
        put("run/systemd/system/x", "");
        assert_eq!(said_of(root).2, "systemctl enable --now cron");
        put("proc/77/comm", "cron\n");
        assert_eq!(said_of(root).0, State::Ok);
        fs::remove_dir_all(root.join("proc")).expect("own folder");

        put("lib/systemd/system/capconduit-replay.service", "ExecStart=/usr/bin/capconduit call replay\n");
        assert_eq!(said_of(root).2, "systemctl enable --now cron");
        fs::remove_dir_all(root.join("etc")).expect("own folder");
        assert_eq!(said_of(root).2, "systemctl enable --now capconduit-replay.timer");
        put("etc/systemd/system/timers.target.wants/capconduit-replay.timer", "");
        assert_eq!(said_of(root).0, State::Ok);
        put("lib/systemd/system/capconduit-reap.service", "ExecStart=/usr/bin/capconduit call reap\n");
        let mut area = Area::new("spool");
        schedule(&mut area, &[], None, Path::new("capconduit"), &REAP, root);
        assert_eq!(area.findings[0].remedy.as_deref(), Some("systemctl enable --now capconduit-reap.timer"));
        fs::remove_dir_all(root.join("run")).expect("own folder");
        let (state, message, _) = said_of(root);
        assert!(state == State::Warning && message.starts_with("nothing was found"), "{message}");
    }
}
