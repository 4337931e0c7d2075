//! The spool: whether a record can be kept there, what waits in it, and whether
//! somebody delivers it; beside that, whether somebody frees the places of lost calls.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use crate::check::Area;
use crate::delivery::spool::Spool;
use crate::system::user::{Access, Identity};
use crate::words::shell;

/// A record that has waited for longer is not being delivered.
const LONG: TimeDelta = TimeDelta::minutes(15);
const GIGABYTE: u64 = 1 << 30;

/// What there is to look at.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where the AGI programs put records.
    pub dir: &'a Path,
    /// Where `call replay` looks for them.
    pub replayed: &'a Path,
    /// Who Asterisk runs as.
    pub user: Option<&'a Identity>,
    /// Files besides those of cron and systemd that say when `call replay` and `call reap` run.
    pub schedules: &'a [PathBuf],
    /// The program that is to be run.
    pub program: &'a Path,
}

/// Looks at the spool.
#[must_use]
pub fn check(place: &Place<'_>, now: DateTime<Utc>) -> Area {
    let mut area = Area::new("spool");
    folder(&mut area, place);
    space(&mut area, place.dir);
    records(&mut area, place.dir, now);
    if place.dir != place.replayed {
        area.warning(
            "replay",
            format!(
                "records are put into {}, but call replay looks in {}",
                place.dir.display(),
                place.replayed.display()
            ),
            "Set CAPCONDUIT_SPOOL_DIR in the env file, for both.",
        );
    }
    for job in [REPLAY, REAP] {
        schedule(&mut area, place, &job, Path::new("/"));
    }
    area
}

/// The folder itself, or the nearest one above it that is there: it is made when it is needed.
fn nearest(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

fn folder(area: &mut Area, place: &Place<'_>) {
    let dir = nearest(place.dir);
    let Some(user) = place.user else {
        return area.unknown("folder", "Asterisk's user is not known", "Name it with --user.");
    };
    let may = [Access::Write, Access::Execute].map(|access| user.may(access, dir));
    match may {
        [Ok(true), Ok(true)] if dir.is_dir() => area.ok("folder", format!("{} may write {}", user.name, dir.display())),
        [Err(e), _] | [_, Err(e)] => area.unknown("folder", format!("{}: {e}", dir.display()), "Run this as root."),
        _ => area.error(
            "folder",
            format!("{} cannot write {}: records are lost while the database is away", user.name, dir.display()),
            format!("install -d -o {} -g {} -m 750 {}", user.name, user.group, place.dir.display()),
        ),
    }
}

fn space(area: &mut Area, dir: &Path) {
    match rustix::fs::statvfs(nearest(dir)) {
        Ok(disk) => {
            let (free, all) =
                (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
            let message = format!("{} MB free where the spool is", free >> 20);
            if is_low(free, all) {
                area.warning("disk", format!("{message}: a full disk loses records"), "Make room.");
            } else {
                area.ok("disk", message);
            }
        }
        Err(e) => area.unknown("disk", format!("{}: {e}", dir.display()), "Run this as root."),
    }
}

/// Below a gigabyte; below a twentieth, unless that is still plenty.
fn is_low(free: u64, all: u64) -> bool {
    free < GIGABYTE || (free < all / 20 && free < 10 * GIGABYTE)
}

fn records(area: &mut Area, dir: &Path, now: DateTime<Utc>) {
    let spool = Spool::new(dir.to_owned());
    match spool.entries() {
        Ok(entries) if entries.is_empty() => area.ok("waiting", "no record waits"),
        Ok(entries) => {
            let times = entries.iter().filter_map(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
            let oldest = times.map(DateTime::<Utc>::from).min().unwrap_or(now);
            let wait = if entries.len() == 1 { "record waits" } else { "records wait" };
            let oldest_at = oldest.format("%Y-%m-%dT%H:%M:%SZ");
            let message = format!("{} {wait}, the oldest since {oldest_at}", entries.len());
            if now - oldest > LONG {
                area.warning("waiting", format!("{message}: nobody delivers them"), "capconduit call replay says why.");
            } else {
                area.info("waiting", message);
            }
        }
        Err(e) => area.unknown("waiting", e.message, "Run this as root."),
    }
    match spool.failed() {
        Ok(failed) if failed.is_empty() => area.ok("refused", "no record was refused for good"),
        Ok(failed) => area.warning(
            "refused",
            format!("{} records were refused for good", failed.len()),
            format!("See \"reason\" in each file of {}/failed, then remove it.", dir.display()),
        ),
        Err(e) => area.unknown("refused", e.message, "Run this as root."),
    }
}

/// What is to run again and again.
struct Job {
    /// The name of the check.
    check: &'static str,
    command: &'static str,
    /// How often, as cron has it.
    times: &'static str,
    /// Who cron runs it as, unless it is Asterisk's user.
    user: Option<&'static str>,
    /// What becomes of it when nobody does.
    without: &'static str,
}

const REPLAY: Job = Job {
    check: "schedule",
    command: "call replay",
    times: "* * * * *",
    user: None,
    without: "nobody delivers spooled records",
};
const REAP: Job = Job {
    check: "reap",
    command: "call reap",
    times: "*/5 * * * *",
    // it takes admin.env and Asterisk's console
    user: Some("root"),
    without: "calls that are lost with Asterisk hold their places until their leases end",
};

/// Whether something runs the job, on the system below `root`.
fn schedule(area: &mut Area, place: &Place<'_>, job: &Job, root: &Path) {
    let Job { check, command, without, .. } = job;
    let runs_it = |path: &PathBuf| runs(path, command);
    if let Some(path) = place.schedules.iter().find(|path| runs_it(path)) {
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
    // what systemd does not run is not there for anybody else
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
            let user = job.user.unwrap_or_else(|| place.user.map_or("asterisk", |user| &user.name));
            let program = place.program.display().to_string();
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
const CRON_DAEMONS: [&str; 3] = ["cron", "crond", "fcron"];

/// Whether a cron daemon runs, or systemd in its place from the same files.
fn cron_runs(root: &Path) -> bool {
    let comm = |process: fs::DirEntry| fs::read_to_string(process.path().join("comm")).ok();
    let mut processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten().filter_map(comm);
    processes.any(|name| CRON_DAEMONS.contains(&name.trim_end()))
        || files_in(root.join("run/systemd/generator"))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .any(|name| name.starts_with("cron-") && name.ends_with(".timer"))
}

/// The command that starts cron, and first brings it where it is missing.
fn start_cron(root: &Path, has_systemd: bool) -> String {
    let installed = CRON_DAEMONS.iter().find(|name| root.join("usr/sbin").join(name).is_file());
    match (installed, has_systemd) {
        (Some(name), true) => format!("systemctl enable --now {name}"),
        (Some(name), false) => format!("/usr/sbin/{name}"),
        // its package starts it
        (None, true) => "apt-get install cron".to_owned(),
        (None, false) => "apt-get install cron && /usr/sbin/cron".to_owned(),
    }
}

fn files_in(dir: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file())
}

fn runs(path: &Path, command: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn a_disk_is_low_when_a_day_could_fill_it() {
        assert!(is_low(GIGABYTE - 1, 2 * GIGABYTE));
        assert!(is_low(4 * GIGABYTE, 100 * GIGABYTE));
        assert!(!is_low(6 * GIGABYTE, 100 * GIGABYTE));
        assert!(!is_low(20 * GIGABYTE, 1000 * GIGABYTE));
    }

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
        let place = Place {
            dir: root,
            replayed: root,
            user: None,
            schedules: &[],
            program: Path::new("/opt/call centre/capconduit"),
        };
        let mut area = Area::new("spool");
        schedule(&mut area, &place, &REPLAY, root);
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
        let place = Place { dir: root, replayed: root, user: None, schedules: &[], program: Path::new("capconduit") };
        schedule(&mut area, &place, &REAP, root);
        assert_eq!(area.findings[0].remedy.as_deref(), Some("systemctl enable --now capconduit-reap.timer"));
        fs::remove_dir_all(root.join("run")).expect("own folder");
        let (state, message, _) = said_of(root);
        assert!(state == State::Warning && message.starts_with("nothing was found"), "{message}");
    }
}
