//! `capconduit asterisk install`: the files that an Asterisk server needs.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use serde_json::json;

use crate::asterisk::conf;
use crate::asterisk::install::{self, Change, Installed};
use crate::asterisk::site::{self, Site};
use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::pg::Settings;
use crate::{Error, Result, pg};

/// `asterisk install`
#[derive(Debug, Args)]
#[command(after_help = "\
Asterisk's realtime gets the login of ASTERISK_DATABASE_URL, which capconduit db roles writes into
admin.env, else of DATABASE_URL; the AGI programs read /etc/capconduit/capconduit.env. Options that are
not given keep what is installed, so that an upgrade needs none. Restart Asterisk after the first
installation, and where modules.conf, sorcery.conf or extconfig.conf changed; for other changes
`asterisk -rx 'core reload'` is enough. Time limits of Asterisk's realtime stand in Asterisk's own
environment: PGCONNECT_TIMEOUT and PGOPTIONS, see capconduit.env(5). What a site adds goes into
pjsip_local.conf, extensions_local.conf and modules_local.conf, which are never touched.")]
pub(crate) struct Install {
    /// Asterisk's configuration folder
    #[arg(long, value_name = "DIR", default_value = site::DEFAULT_ETC_DIR)]
    etc_dir: PathBuf,
    /// Where the AGI programs go [default: astagidir of asterisk.conf]
    #[arg(long, value_name = "DIR")]
    agi_dir: Option<PathBuf>,
    /// Where SIP listens, UDP and TCP, as 192.0.2.1:5060 [default: as installed, else 0.0.0.0:5060]
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<SocketAddr>,
    /// An address, network or host name that the carrier's calls come from; may be repeated [default: as installed]
    #[arg(long = "carrier", value_name = "ADDRESS")]
    carriers: Vec<String>,
    /// Whether Asterisk answers the caller before it asks for a client; with no, the caller rings
    /// until a client answers, and the carrier gets a SIP failure otherwise [default: as installed, else yes]
    #[arg(long, value_name = "yes|no", value_parser = ["yes", "no"])]
    early_answer: Option<String>,
    /// Where calls go while the database is away, as Dial names it: PJSIP/overflow; empty: nowhere,
    /// they fail [default: as installed, else nowhere]
    #[arg(long, value_name = "DESTINATION")]
    fallback: Option<String>,
    /// Where capconduit agi serve listens, as 127.0.0.1:4573; empty: a program is started for each
    /// call [default: as installed, else empty]
    #[arg(long, value_name = "ADDR:PORT")]
    agi_server: Option<String>,
    /// Replace configuration files that differ, keeping a copy of each
    #[arg(long)]
    force: bool,
}

impl Install {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let database = pg::asterisk_config(env.config)?;
        let program = std::env::current_exe().map_err(|e| Error::failed(format!("cannot find this program: {e}")))?;
        let programs_dir = program.parent().unwrap_or(&program);
        let site = Site {
            etc_dir: self.etc_dir,
            agi_dir: self.agi_dir,
            bind: self.bind.map(|b| b.to_string()),
            carriers: self.carriers,
            early_answer: self.early_answer.map(|choice| choice == "yes"),
            fallback: self.fallback,
            agi_server: self.agi_server,
            force: self.force,
        };
        let installed = install::install(&site, &database, programs_dir, Utc::now())?;
        let warnings = warnings(&site, &database, env);
        for warning in &warnings {
            env.progress(&format!("warning: {warning}"));
        }
        let count = |change| installed.iter().filter(|i| i.change == change).count();
        let mut message = format!(
            "{} files created, {} replaced, {} unchanged in {} and the AGI folder.",
            count(Change::Created),
            count(Change::Replaced),
            count(Change::Unchanged),
            site.etc_dir.display()
        );
        for step in next_steps(&installed) {
            message.push_str(&format!("\nNext: {step}"));
        }
        Output::done(message, &json!({ "files": installed, "warnings": warnings }))
    }
}

/// The command that makes Asterisk read the new files; the programs need none.
fn next_steps(installed: &[Installed]) -> Vec<String> {
    let written: Vec<&Installed> = installed
        .iter()
        .filter(|file| file.change != Change::Unchanged && file.path.extension().is_none_or(|end| end != "agi"))
        .collect();
    if written.is_empty() {
        return Vec::new();
    }
    // a server whose files came from elsewhere is a first installation, too
    let restart = written.iter().any(|file| file.change == Change::Created || conf::is_read_at_start(&file.path));
    let mut steps = Vec::new();
    if !site::unit_limits_realtime() {
        steps.push(format!(
            "give Asterisk PGCONNECT_TIMEOUT and PGOPTIONS, without which a database that hangs holds up all calls (see \
             capconduit.env(5)); with systemd, {}",
            site::unit_command()
        ));
    }
    steps.push(if restart { conf::RESTART } else { "asterisk -rx 'core reload'" }.to_owned());
    steps
}

/// What would keep calls from being routed, or records from being told apart.
fn warnings(site: &Site, database: &Settings, env: &Env<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !site::has_system_name(&site.etc_dir) {
        warnings.push(format!(
            "{}/asterisk.conf sets no systemname: calls of two servers would get the same unique ids",
            site.etc_dir.display()
        ));
    }
    if !site::has_carrier(site) {
        warnings.push("no --carrier: calls are refused until one is named".to_owned());
    }
    if env.config.get("ASTERISK_DATABASE_URL").is_none() {
        warnings.push(
            "no ASTERISK_DATABASE_URL: res_pgsql.conf gets the login of DATABASE_URL, which may do more than read; \
             capconduit db roles makes one for it"
                .to_owned(),
        );
    }
    if database.get_user().is_none() {
        warnings.push("DATABASE_URL names no user: Asterisk's realtime logs in as \"asterisk\"".to_owned());
    }
    let parameters = database.tls.parameters();
    if !parameters.is_empty() {
        let names = parameters.iter().map(|(name, value)| format!("PG{}={value}", name.to_uppercase()));
        warnings.push(format!(
            "res_pgsql.conf holds no sslmode: Asterisk's realtime encrypts as its environment says; give it {}",
            names.collect::<Vec<_>>().join(" ")
        ));
    }
    if !env.config.is_database_in_file() {
        warnings.push(
            "DATABASE_URL is not in the env file: Asterisk's AGI programs find the database only if Asterisk's own \
             environment has it"
                .to_owned(),
        );
    }
    warnings
}
