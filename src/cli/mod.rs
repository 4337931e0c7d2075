//! The admin CLI: one file per noun, a struct per verb whose `run` returns what is to be shown and
//! prints nothing. [`output`] is the only printer.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod args;
pub mod commands;
mod env;
mod find;
pub mod output;
mod remove;

use crate::cli::args::synonyms;
use crate::cli::commands::{
    agi, asterisk, audit, call, campaign, client, completion, config, db, did, pjsip, report, route, schema, setting,
    status, user,
};
use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::config::Config;
use crate::words::shell;
use crate::{Result, pg};

/// Route pay-per-call phone calls to call centres through Asterisk, never over a cap.
#[derive(Debug, Parser)]
#[command(name = "capconduit", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// Print one JSON document instead of a table
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// Do not ask before something is removed
    #[arg(long, short = 'y', global = true, display_order = 901)]
    yes: bool,
    #[command(subcommand)]
    noun: Noun,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 usage; 3 not found; 4 conflict (exists, or still in use);
5 invalid value; 6 permission denied; 75 database unreachable (try again).

The database is DATABASE_URL, from the environment, /etc/capconduit/admin.env or
/etc/capconduit/capconduit.env; by default the local socket, database capconduit.";

#[derive(Debug, Subcommand)]
enum Noun {
    /// The database: schema, sample data, consistency
    #[command(subcommand)]
    Db(db::Verb),
    /// Users: who logs in to the web back end, and the sellers
    #[command(subcommand, after_help = user::EXAMPLES)]
    User(user::Verb),
    /// Clients: the call centres that calls are sold to
    #[command(subcommand, after_help = client::EXAMPLES)]
    Client(client::Verb),
    /// The clients' SIP side, as Asterisk reads it
    #[command(subcommand, after_help = pjsip::EXAMPLES)]
    Pjsip(pjsip::Verb),
    /// DIDs: the phone numbers that sellers own
    #[command(subcommand, after_help = did::EXAMPLES)]
    Did(did::Verb),
    /// Campaigns: what DIDs feed, and how their calls are shared out
    #[command(subcommand, after_help = campaign::EXAMPLES)]
    Campaign(campaign::Verb),
    /// Settings: what a client may get of a campaign, with its caps
    #[command(subcommand, after_help = setting::EXAMPLES)]
    Setting(setting::Verb),
    /// Calls: records, attempts, and what is up now
    #[command(subcommand, after_help = call::EXAMPLES)]
    Call(call::Verb),
    /// The whole configuration as one document
    #[command(subcommand, after_help = config::EXAMPLES)]
    Config(config::Verb),
    /// Routing decisions
    #[command(subcommand)]
    Route(route::Verb),
    /// How the platform is doing now: live calls against caps, today's calls, what needs attention
    Status(Box<status::Status>),
    /// Count calls by day, campaign, client and so on
    Report(Box<report::Report>),
    /// The audit: who changed what
    #[command(subcommand, after_help = audit::EXAMPLES)]
    Audit(audit::Verb),
    /// The Asterisk server's files
    #[command(subcommand)]
    Asterisk(asterisk::Verb),
    /// The server that routes and logs calls without a process for each
    #[command(subcommand)]
    Agi(agi::Verb),
    /// The fields of what each command prints with --json
    Schema(schema::Schema),
    /// Print a script that completes commands and options in a shell
    Completion(completion::Completion),
}

/// An argument without the carriage return that `$(... --csv | tail -1)` leaves of CSV's line end.
fn without_line_end(arg: OsString) -> OsString {
    match arg.to_str().and_then(|arg| arg.strip_suffix('\r')) {
        Some(line) => line.into(),
        None => arg,
    }
}

/// The command line without the program's folder, quoted as a shell needs it.
fn command_line(args: &[OsString]) -> String {
    let words = args.iter().skip(1).map(|arg| shell(&arg.to_string_lossy()).into_owned());
    std::iter::once("capconduit".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

impl Noun {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Noun::Db(verb) => verb.run(env),
            Noun::User(verb) => verb.run(env),
            Noun::Client(verb) => verb.run(env),
            Noun::Pjsip(verb) => verb.run(env),
            Noun::Did(verb) => verb.run(env),
            Noun::Campaign(verb) => verb.run(env),
            Noun::Setting(verb) => verb.run(env),
            Noun::Call(verb) => verb.run(env),
            Noun::Config(verb) => verb.run(env),
            Noun::Route(verb) => verb.run(env),
            Noun::Status(verb) => verb.run(env),
            Noun::Report(verb) => verb.run(env),
            Noun::Audit(verb) => verb.run(env),
            Noun::Asterisk(verb) => verb.run(env),
            Noun::Agi(verb) => verb.run(env),
            Noun::Schema(schema) => schema.run(),
            Noun::Completion(completion) => Ok(completion.run(command())),
        }
    }

    /// Whether only the owner of the tables may do it.
    fn is_the_owner_s(&self) -> bool {
        matches!(self, Noun::Db(verb) if verb.is_the_owner_s())
    }

    /// Whether it describes this program only: then it runs without a readable env file.
    fn is_about_the_program(&self) -> bool {
        matches!(self, Noun::Schema(_) | Noun::Completion(_))
    }
}

/// The whole command line, for the manual and for completion.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the CLI on this process's arguments and streams.
#[must_use]
pub fn main() -> ExitCode {
    start_logging();
    let args: Vec<OsString> = std::env::args_os().map(without_line_end).collect();
    // standard error is not locked: a server's threads log to it
    let code = run(&args, &mut std::io::stdout().lock(), &mut std::io::stderr());
    ExitCode::from(code)
}

/// `RUST_LOG`, but for what would show secrets: the libraries log whole statements with their
/// values, and whole requests with their headers.
fn start_logging() {
    let mut logger = env_logger::Builder::new();
    // said here: with a filter for any module, the default for all others is nothing
    logger.filter_level(log::LevelFilter::Error).parse_default_env();
    for library in ["postgres", "tokio_postgres", "ureq", "ureq_proto", "rustls"] {
        logger.filter_module(library, log::LevelFilter::Info);
    }
    logger.init();
}

/// Parses, runs and prints one command; returns the exit code.
fn run(args: &[OsString], stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    // clap fails before it knows of --json
    let json = args.iter().any(|a| a == "--json");
    let parsed = synonyms::with_synonyms(Cli::command()).try_get_matches_from(args);
    let cli = match parsed.and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(e) => {
            let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
            let e = synonyms::advise(e, &synonyms::with_synonyms(Cli::command()), &words);
            return output::usage(&e, json, stdout, stderr);
        }
    };
    let config = match &cli.noun {
        noun if noun.is_about_the_program() => Ok(Config::default()),
        noun if noun.is_the_owner_s() => Config::load_for_owner(),
        _ => Config::load_for_admin(),
    };
    let result = config.and_then(|config| {
        let mut env = Env {
            config: &config,
            stderr: &mut *stderr,
            stdin: &mut std::io::stdin().lock(),
            interactive: std::io::stdin().is_terminal(),
            yes: cli.yes,
            json: cli.json,
            command: command_line(args),
        };
        cli.noun.run(&mut env).map_err(|error| pg::name_login(&config, error))
    });
    output::print(result, cli.json, stdout, stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        synonyms::with_synonyms(Cli::command()).debug_assert();
    }
}
