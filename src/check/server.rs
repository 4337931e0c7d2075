//! The running Asterisk: its version, name, limits and modules, its dialplan, transports and carrier,
//! and its way to the database.

use std::fs;
use std::path::Path;

use crate::asterisk::live::answers;
use crate::asterisk::live::console::Console;
use crate::asterisk::{conf, site};
use crate::check::Area;
use crate::check::files::Installation;
use crate::check::loaded::{
    carrier, dialplan, early_answer, modules, realtime, transfers, transports, written_since_start, written_within,
};
use crate::system::process::Process;
use crate::words::some_of;
use crate::{Error, Kind, Result};

/// What a call takes, measured: 10 or 11 files with both its channels up, and pipes while a program runs; two threads,
/// and that program.
const FILES_OF_A_CALL: u64 = 12;
const TASKS_OF_A_CALL: u64 = 3;
/// How many calls at once a server should be able to take.
const ENOUGH_CALLS: u64 = 340;

/// What needs an answer of the server.
type Check = fn(&mut Area, &Console, &Installation) -> Result<()>;

/// The checks that ask the server, by name.
const ASKING: [(&str, Check); 10] = [
    ("folders", folders),
    ("systemname", system_name),
    ("modules", modules),
    ("dialplan", dialplan),
    ("log", log),
    ("early answer", early_answer),
    ("transports", transports),
    ("carrier", carrier),
    ("transfers", transfers),
    ("realtime", realtime),
];

/// Looks at the server; false where it does not answer. `version` is what it has said to `core show
/// version`, `process` the server's, where it could be found.
#[must_use]
pub fn check(
    version: Result<String>,
    console: &Console,
    installation: &Installation,
    process: Option<&Process>,
) -> (Area, bool) {
    let mut area = Area::new("server");
    let answer = version.and_then(|text| self::version(&mut area, &text));
    if let Err(error) = answer {
        let remedy = match error.kind {
            Kind::NotFound => "Install Asterisk, or name its program with --asterisk.",
            _ => "Start it: systemctl start asterisk. Its socket is open to its own user and root only.",
        };
        area.error("running", format!("Asterisk does not answer: {}", error.message), remedy);
        for (name, _) in ASKING {
            area.not_looked_at(name, "Asterisk does not answer");
        }
        user(&mut area, installation);
        return (area, false);
    }
    uptime(&mut area, console, installation);
    user(&mut area, installation);
    limits(&mut area, process);
    environment(&mut area, process);
    memory(&mut area, process);
    for (name, check) in ASKING {
        if let Err(error) = check(&mut area, console, installation) {
            area.unknown(name, error.message, "Ask again; see Asterisk's log.");
        }
    }
    (area, true)
}

fn version(area: &mut Area, text: &str) -> Result<()> {
    let line: String = text.trim().split(" built by").next().unwrap_or_default().chars().take(80).collect();
    match answers::major_version(text) {
        Some(..20) => {
            area.error("running", format!("{line} is too old"), "Install Asterisk 22; 20 is the oldest that works.")
        }
        Some(20 | 21) => area.info("running", format!("{line}; this release is tested with 22")),
        Some(_) => area.ok("running", line),
        // what answers is not an Asterisk
        None if line.is_empty() => return Err(Error::new(Kind::Unreachable, "the answer is empty")),
        None => area.unknown("running", format!("{line}: no version that is known"), "This release is tested with 22."),
    }
    Ok(())
}

fn uptime(area: &mut Area, console: &Console, installation: &Installation) {
    let Ok(Some((up, reloaded))) = console.ask("core show uptime seconds").map(|text| answers::uptime(&text)) else {
        return area.unknown("uptime", "it does not say when it was started", "See Asterisk's log.");
    };
    area.info("uptime", format!("started {up} s ago, reloaded {reloaded} s ago"));
    let at_start = written_since_start(installation, up);
    if !at_start.is_empty() {
        area.advice(
            "uptime",
            format!("written since its start, which alone reads them: {}", some_of(&at_start)),
            conf::RESTART,
        );
    }
    // reloading a single module does not change that time, so this may not matter
    let changed: Vec<&str> = written_within(installation, reloaded).filter(|name| !at_start.contains(name)).collect();
    if !changed.is_empty() {
        area.info(
            "uptime",
            format!("written since then: {} (asterisk -rx 'core reload' reads them)", some_of(&changed)),
        );
    }
}

fn user(area: &mut Area, installation: &Installation) {
    match &installation.user {
        Some(user) => area.ok("user", format!("Asterisk's user is {}", user.name)),
        None => area.unknown(
            "user",
            "Asterisk's user is not known: whether it may read and run its files was not looked at",
            "Name it with --user, or with runuser in asterisk.conf.",
        ),
    }
}

fn limits(area: &mut Area, process: Option<&Process>) {
    let files = process.and_then(|process| process.open_files);
    let in_use = process.and_then(|process| process.files_in_use).unwrap_or(0);
    if let Some(limit) = files.filter(|limit| in_use > limit / 10 * 8) {
        area.warning(
            "open files",
            format!("{in_use} of {limit} are open: without more, Asterisk takes no calls and starts no programs"),
            format!("{}. Without systemd: maxfiles in asterisk.conf.", site::unit_command()),
        );
    } else {
        limit(area, "open files", "files", files, FILES_OF_A_CALL, "maxfiles in asterisk.conf");
    }
    let tasks = process.and_then(|process| process.tasks);
    limit(area, "processes", "threads and processes", tasks, TASKS_OF_A_CALL, "ulimit -u in the script that starts it");
}

/// Whether a limit is enough for the calls of a busy hour. Beyond it a program is not started, and the record is left
/// to the log.
fn limit(area: &mut Area, check: &str, what: &str, limit: Option<u64>, of_a_call: u64, otherwise: &str) {
    match limit {
        Some(u64::MAX) => area.ok(check, "as many as it likes"),
        Some(limit) if limit / of_a_call < ENOUGH_CALLS => area.warning(
            check,
            format!("it may have {limit} {what}: enough for about {} calls", limit / of_a_call),
            format!("{}. Without systemd: {otherwise}.", site::unit_command()),
        ),
        Some(limit) => area.ok(check, format!("{limit}: enough for about {} calls", limit / of_a_call)),
        None => area.unknown(check, "its limits in /proc cannot be read", "Run this as root."),
    }
}

/// The log is where a record is written that no program could keep.
fn log(area: &mut Area, console: &Console, _: &Installation) -> Result<()> {
    if answers::keeps_errors(&console.ask("logger show channels")?) {
        area.ok("log", "a file or syslog keeps errors");
    } else {
        area.warning(
            "log",
            "no file keeps errors: a call record that neither database nor spool takes would be lost",
            "Put messages.log => notice,warning,error below [logfiles] of logger.conf, then asterisk -rx 'logger reload'.",
        );
    }
    Ok(())
}

/// res_config_pgsql has no time limits of its own: one hanging lookup holds up every call.
fn environment(area: &mut Area, process: Option<&Process>) {
    let Some(process) = process.filter(|process| process.environment.is_some()) else {
        return area.unknown("environment", "its environment in /proc cannot be read", "Run this as root.");
    };
    let bounded = process.variable("PGOPTIONS").is_some_and(|options| options.contains("statement_timeout"));
    let missing: Vec<&str> =
        [("PGCONNECT_TIMEOUT", process.variable("PGCONNECT_TIMEOUT").is_some()), ("PGOPTIONS", bounded)]
            .into_iter()
            .filter_map(|(name, set)| (!set).then_some(name))
            .collect();
    if missing.is_empty() {
        area.ok("environment", "lookups of clients are limited in time");
    } else {
        area.warning(
            "environment",
            format!("Asterisk's environment lacks {}: while the database hangs, so do all calls", some_of(&missing)),
            format!(
                "{}. Without systemd, start it with PGCONNECT_TIMEOUT=2 PGOPTIONS='-c statement_timeout=2000'.",
                site::unit_command()
            ),
        );
    }
}

/// A fork copies what the kernel knows of its memory: the larger Asterisk is, the dearer is each program it starts.
fn memory(area: &mut Area, process: Option<&Process>) {
    let Some((process, allocator)) = process.and_then(|process| Some((process, process.allocator?))) else {
        return area.unknown("memory", "its maps in /proc cannot be read", "Run this as root.");
    };
    let caches = |conf: &str| !conf.split(',').any(|option| option == "tcache:false");
    match allocator {
        None => area.advice(
            "memory",
            "its allocator keeps what a busy hour took, and each program that Asterisk starts is slower for it",
            format!("apt-get install libjemalloc2; then, {}", site::unit_command()),
        ),
        Some("libjemalloc")
            if process.environment.is_some() && caches(process.variable("MALLOC_CONF").unwrap_or("")) =>
        {
            area.advice(
                "memory",
                "its threads keep what they have freed since a busy hour, and each program that Asterisk starts is slower for it",
                format!("MALLOC_CONF lacks tcache:false. {}", site::unit_command()),
            );
        }
        Some(_) => area.ok("memory", "its allocator gives back what is no longer used"),
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn folders(area: &mut Area, console: &Console, installation: &Installation) -> Result<()> {
    let settings = console.ask("core show settings")?;
    for (name, none) in [("Maximum calls", "Not set"), ("Maximum load average", "0.000000")] {
        if let Some(limit) = answers::setting(&settings, name).filter(|limit| *limit != none) {
            area.info("limits", format!("{}: {limit}; beyond it Asterisk refuses calls", name.to_lowercase()));
        }
    }
    for (name, expected, option) in [
        ("Configuration directory", &installation.etc_dir, "--etc-dir"),
        ("AGI Scripts directory", &installation.agi_dir, "--agi-dir, or astagidir in asterisk.conf"),
    ] {
        match answers::setting(&settings, name) {
            Some(folder) if same(Path::new(folder), expected) => area.ok("folders", folder.to_owned()),
            Some(folder) => area.error(
                "folders",
                format!("the running Asterisk uses {folder}, not {}", expected.display()),
                format!("Look at the same one with {option}; restart Asterisk after a change of asterisk.conf."),
            ),
            None => area.unknown("folders", format!("core show settings names no \"{name}\""), "See asterisk.conf."),
        }
    }
    Ok(())
}

fn system_name(area: &mut Area, console: &Console, installation: &Installation) -> Result<()> {
    let settings = console.ask("core show settings")?;
    let running = answers::setting(&settings, "System name").filter(|name| !name.is_empty());
    match (running, site::has_system_name(&installation.etc_dir)) {
        (Some(name), true) => area.ok("systemname", name.to_owned()),
        (None, true) => area.warning(
            "systemname",
            "asterisk.conf sets a systemname, but Asterisk was started before that",
            "Restart Asterisk.",
        ),
        (_, false) => area.warning(
            "systemname",
            "asterisk.conf sets no systemname: two servers would give their calls the same unique ids, and records would be lost",
            "Set systemname = NAME, another on each server, below [options] of asterisk.conf, and restart Asterisk.",
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn the_version_decides() {
        let state = |text: &str| {
            let mut area = Area::new("server");
            version(&mut area, text).map(|()| area.findings[0].state)
        };
        assert_eq!(state("Asterisk 18.2.0 built by x").expect("one"), crate::check::State::Error);
        assert_eq!(state("Asterisk 20.5.0 built by x").expect("one"), crate::check::State::Info);
        assert_eq!(state("Asterisk 23.0.0 built by x").expect("one"), crate::check::State::Ok);
        assert!(state("").is_err());
    }

    #[test]
    fn realtime_without_time_limits_is_warned_of() {
        let found = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let process = Process { environment: Some(environment.collect()), ..Process::default() };
            let mut area = Area::new("server");
            super::environment(&mut area, Some(&process));
            area.findings.remove(0)
        };
        let none = found(&[]);
        assert!(
            none.state == State::Warning && none.message.contains("lacks PGCONNECT_TIMEOUT, PGOPTIONS"),
            "{none:?}"
        );
        let remedy = none.remedy.unwrap_or_default();
        assert!(remedy.contains("asterisk.service.d/capconduit.conf && systemctl daemon-reload &&"), "{remedy}");
        let other = found(&[("PGCONNECT_TIMEOUT", "2"), ("PGOPTIONS", "-c work_mem=1MB")]);
        assert!(other.message.contains("lacks PGOPTIONS"), "{other:?}");
        let both = found(&[("PGCONNECT_TIMEOUT", "2"), ("PGOPTIONS", "-c statement_timeout=2000")]);
        assert_eq!(both.state, State::Ok);
    }
}
