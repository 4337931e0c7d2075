//! `capconduit asterisk check`: goes through an installed system, and says what is wrong and what to do.

use std::fs;
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;

use crate::asterisk::live::ari::Ari;
use crate::asterisk::live::console::{self, Console};
use crate::asterisk::live::of_console;
use crate::asterisk::site;
use crate::check::files::{self, Installation};
use crate::check::{Area, Finding, State, agi, clients, database, environment, server, spool};
use crate::cli::env::Env;
use crate::cli::output::{self, Output};
use crate::store::pjsip;
use crate::store::status::{self, Filter};
use crate::system::process::Process;
use crate::system::user::Identity;
use crate::words::plural;
use crate::{Error, Kind, Result, pg};

/// `asterisk check`
#[derive(Debug, Args)]
#[command(after_help = "\
Changes nothing. Run it as root on the Asterisk server: what it may not look at is \"unknown\".
It asks Asterisk (asterisk -rx), the database, and cc-route.agi, which it runs as Asterisk's
user for a number that no DID has.

Exit code: 0 nothing is wrong, or only warnings; 1 there is an error, or with --strict a warning
or an unknown; 75 neither Asterisk nor the database answers. All print what was found.

  capconduit asterisk check
  capconduit asterisk check --quiet --strict
  capconduit asterisk check --json | jq '.[] | select(.state == \"error\")'")]
pub(crate) struct Check {
    /// Asterisk's configuration folder
    #[arg(long, value_name = "DIR", default_value = site::DEFAULT_ETC_DIR)]
    etc_dir: PathBuf,
    /// Where the AGI programs are [default: astagidir of asterisk.conf]
    #[arg(long, value_name = "DIR")]
    agi_dir: Option<PathBuf>,
    /// The asterisk program [default: /usr/sbin/asterisk, else the one on the PATH]
    #[arg(long, value_name = "PROGRAM")]
    asterisk: Option<PathBuf>,
    /// Who Asterisk runs as [default: as the kernel says, else runuser of asterisk.conf, else asterisk]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A file that says when call replay and call reap run, besides cron's and systemd's; may be repeated
    #[arg(long = "schedule", value_name = "FILE")]
    schedules: Vec<PathBuf>,
    /// Print only what is wrong or unknown
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Take warnings, and what could not be looked at, for errors
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let conf_path = self.etc_dir.join("asterisk.conf");
        let conf = match fs::read_to_string(&conf_path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::io("read", &conf_path, &e).hint("It says where all the rest is: run this as root."));
            }
            // a missing file is found below
            Err(_) => String::new(),
        };
        let folder = |name, default| site::path(&conf, name, default);
        let console =
            Console { program: self.asterisk.clone().unwrap_or_else(console::program), configuration: conf_path };
        let version = console.ask("core show version");
        // a pid file that was left behind may name anybody
        let process = version
            .as_ref()
            .ok()
            .and_then(|_| Process::of_pid_file(&folder("astrundir", "/var/run/asterisk").join("asterisk.pid")));
        let astspooldir = folder("astspooldir", "/var/spool/asterisk");
        let program = std::env::current_exe().map_err(|e| Error::failed(format!("cannot find this program: {e}")))?;
        let installation = Installation {
            agi_dir: self.agi_dir.clone().unwrap_or_else(|| folder("astagidir", site::DEFAULT_AGI_DIR)),
            programs_dir: program.parent().unwrap_or(&program).to_owned(),
            user: self.user(process.as_ref(), &conf)?,
            etc_dir: self.etc_dir.clone(),
        };

        let mut areas = vec![files::check(&installation)];
        let (area, asterisk_answers) = server::check(version, &console, &installation, process.as_ref());
        areas.push(area);
        let (mut database, clients, active, database_is_away) = ask_database(env, asterisk_answers.then_some(&console));
        areas.push(clients);
        let login = files::realtime_login(&self.etc_dir);
        database::realtime_login(&mut database, &login, active, env.config.connect_timeout()?);
        let login = environment::database_login(process.as_ref());
        database::pooler(&mut database, login, env.config.connect_timeout()?);
        let globals = console.ask("dialplan show globals").unwrap_or_default();
        let served = site::setting(&globals, "CC_AGI_SERVER").filter(|address| !address.is_empty());
        areas.push(agi::check(&installation, process.as_ref(), &astspooldir, served));
        areas.push(database);
        let spool_dir =
            process.as_ref().and_then(|process| process.variable("CAPCONDUIT_SPOOL_DIR")).map(PathBuf::from);
        let spool_dir = spool_dir.or_else(|| env.config.get("CAPCONDUIT_SPOOL_DIR").map(PathBuf::from));
        let mut spool = spool::check(
            &spool::Place {
                dir: &spool_dir.unwrap_or_else(|| astspooldir.join("capconduit")),
                replayed: &env.config.spool_dir(),
                user: installation.user.as_ref(),
                schedules: &self.schedules,
                program: &program,
            },
            Utc::now(),
        );
        ari(&mut spool, env);
        areas.push(spool);
        let findings: Vec<Finding> = areas.into_iter().flat_map(|area| area.findings).collect();
        self.output(&findings, !asterisk_answers && database_is_away)
    }

    fn user(&self, process: Option<&Process>, conf: &str) -> Result<Option<Identity>> {
        if let Some(name) = &self.user {
            return match Identity::named(name) {
                Some(user) => Ok(Some(user)),
                None => Err(Error::not_found("user", name.escape_debug()).hint("/etc/passwd does not have it.")),
            };
        }
        let running = process.and_then(|process| process.identity.clone());
        let configured = || site::setting(conf, "runuser").filter(|name| !name.is_empty()).and_then(Identity::named);
        Ok(running.or_else(configured).or_else(|| Identity::named("asterisk")))
    }

    fn output(&self, findings: &[Finding], nothing_answers: bool) -> Result<Output> {
        let count = |state| findings.iter().filter(|finding| finding.state == state).count();
        let (errors, warnings, unknown) = (count(State::Error), count(State::Warning), count(State::Unknown));
        let shown: Vec<&Finding> =
            findings.iter().filter(|finding| !self.quiet || finding.state >= State::Unknown).collect();
        let counts = format!("{}, {}, {unknown} unknown", plural(errors, "error"), plural(warnings, "warning"));
        let summary = format!("{} checks: {counts}.", findings.len());
        let text = format!("{}{summary}\n", text(&shown));
        let output = Output::Report { value: output::to_value(&shown)?, text };
        let error = if nothing_answers {
            Error::new(Kind::Unreachable, "neither Asterisk nor the database answers")
        } else if errors > 0 || (self.strict && warnings + unknown > 0) {
            Error::failed(counts).hint("What to do about each stands below it (with --json: in its remedy).")
        } else {
            return Ok(output);
        };
        Ok(Output::Findings { output: Box::new(output), error })
    }
}

/// The database's findings and clients, how many endpoints Asterisk is to see, and whether the database is away.
fn ask_database(env: &Env<'_>, asterisk: Option<&Console>) -> (Area, Area, Option<i64>, bool) {
    let mut db = match env.connect() {
        Ok(db) => db,
        Err(e) => {
            let mut clients = Area::new("clients");
            clients.not_looked_at("definitions", "the database does not answer");
            return (database::unreachable(&pg::name_login(env.config, e)), clients, None, true);
        }
    };
    let mut area = database::check(&mut db);
    if let Some(console) = asterisk {
        attempts(&mut area, &mut db, console);
    }
    match pjsip::list(&mut db, None) {
        Ok(list) => {
            let active = list.iter().filter(|client| client.status == "active" && client.endpoint.is_some()).count();
            let active = i64::try_from(active).unwrap_or(i64::MAX);
            (area, clients::check(&list, asterisk), Some(active), false)
        }
        Err(e) => {
            let mut clients = Area::new("clients");
            clients.not_looked_at("definitions", &e.message);
            (area, clients, None, false)
        }
    }
}

/// Calls that were lost with Asterisk hold their places until `call reap` closes them.
fn attempts(area: &mut Area, db: &mut postgres::Client, console: &Console) {
    let lost = of_console(console).and_then(|server| status::older_than_start(db, &server, Filter::default()));
    match lost {
        Ok(0) => area.ok("attempts", "no place is held by a call of before Asterisk's start"),
        Ok(lost) => area.warning(
            "attempts",
            format!("{lost} of before Asterisk's start still hold their places: other calls are rejected for them"),
            "capconduit call reap; see reap for what runs it.",
        ),
        Err(e) => area.unknown("attempts", e.message, "Ask again; see Asterisk's log."),
    }
}

/// What `call reap` and `status` ask where there is no console.
fn ari(area: &mut Area, env: &Env<'_>) {
    match Ari::of(env.config) {
        Ok(None) => area.info("ari", "not configured: call reap and status ask Asterisk's console"),
        Ok(Some(ari)) => match ari.server() {
            Ok(_) => area.ok("ari", "it answers: call reap and status ask it"),
            Err(e) => area.warning("ari", e.message, e.hint.unwrap_or_default()),
        },
        Err(e) => area.warning("ari", e.message, e.hint.unwrap_or_default()),
    }
}

/// The findings by area, each with its remedy below.
fn text(findings: &[&Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut area = "";
    for finding in findings {
        if finding.area != area {
            area = finding.area;
            text.push_str(&format!("{area}\n"));
        }
        text.push_str(&format!("  {:7}  {:width$}  {}\n", finding.state, finding.check, finding.message));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("  {:7}  {:width$}  -> {remedy}\n", "", ""));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_below_its_finding() {
        let mut area = Area::new("files");
        area.ok("a.conf", "fine");
        area.error("b", "it is missing", "write it");
        let findings: Vec<&Finding> = area.findings.iter().collect();
        assert_eq!(
            text(&findings),
            "files\n  ok       a.conf  fine\n  error    b       it is missing\n                   -> write it\n\n"
        );
    }
}
