//! `capconduit call`: records, attempts, and what is up now.

mod advice;
pub(super) mod explain;
mod export;
mod import;
pub(super) mod reap;
pub(super) mod replay;
pub(super) mod settle;
pub(super) mod show;

use clap::Args;

use crate::cli::args::listing::Listing;
use crate::cli::args::period::Period;
use crate::cli::commands::call::show::Show;
use crate::cli::env::Env;
use crate::cli::find::{self, unknown};
use crate::cli::output::Output;
use crate::model::call_status;
use crate::store::call::{self, Attempt, Call, Filter};
use crate::{Kind, Result};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit call list --campaign 'Alice Priority' --from 2026-07-01 --to 2026-07-31
  capconduit call list --status ANSWERED,BUSY --limit 200 --offset 200 --json
  capconduit call list --status 'REJECTED*'
  capconduit call show 1721555999.42
  capconduit call explain 1721555999.42
  capconduit call active
  capconduit call lost --from -7d
  capconduit call settle 1721555999.42 --answered --billsec 95
  capconduit call export --user alice --from 2026-07-01 july.csv
  capconduit call import history.csv

Times are UTC: 2026-07-01, '2026-07-01 12:00', today, yesterday, -2h, -7d.
With --tz, those of --from and --to are that zone's.";

verbs! {
    /// The verbs of `call`.
    enum Verb {
        /// List call records: the newest 50, or the first of --sort, or --limit of them
        List(Box<List>),
        /// Show a call record with its attempts
        Show(Show),
        /// Tell what became of a call, and why
        Explain(explain::Explain),
        /// List the attempts in flight: what counts against the caps now
        Active(Active),
        /// List the attempts of calls that died with their Asterisk, or were left without a record: the
        /// newest 50, or the first of --sort, or --limit of them
        Lost(Lost),
        /// Write call records as CSV, oldest first
        Export(Box<export::Export>),
        /// Add call records from CSV, each once, without counting them
        Import(import::Import),
        /// Deliver the call records that had to be spooled
        Replay(replay::Replay),
        /// Close the attempts that a dead Asterisk left behind
        Reap(reap::Reap),
        /// Say what became of lost calls: answered, and to be counted, or not
        Settle(Box<settle::Settle>),
    }
}

/// Which records.
#[derive(Debug, Args)]
struct Filters {
    /// Only of this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only to this number
    #[arg(long, value_name = "NUMBER")]
    did: Option<String>,
    /// Only those that this client had last
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only of this seller
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[arg(long, value_name = "STATUS", value_delimiter = ',', help = about_status())]
    status: Vec<String>,
    #[command(flatten)]
    period: Period,
}

fn about_status() -> String {
    let known = call_status::statuses().join(", ");
    format!("Only with this call status, or one of these: {known}; REJECTED* stands for all that begin so")
}

impl Filters {
    /// Checks the flags that need no database, then looks up the names.
    fn resolve(self, env: &Env<'_>) -> Result<(postgres::Client, Filter)> {
        check_statuses(&self.status)?;
        self.period.check()?;
        let mut db = env.connect()?;
        let (from, to) = self.period.bounds(&mut db)?;
        let campaign_id = find::campaign_id(&mut db, self.campaign.as_deref(), self.user.as_deref())?;
        let filter = Filter {
            user_id: find::user_id(&mut db, self.user.as_deref())?,
            campaign_id,
            client_id: find::client_id(&mut db, self.client.as_deref())?,
            number: self.did.map(|did| find::called_number(&mut db, env.config, did)).transpose()?,
            statuses: self.status,
            from,
            to,
        };
        Ok((db, filter))
    }
}

/// `call list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(mut self, env: &mut Env<'_>) -> Result<Output> {
        let page = self.listing.page::<Call>(&[])?;
        let (mut db, filter) = self.filters.resolve(env)?;
        let calls = page.cut(call::list(&mut db, &filter, page.asked())?, env);
        self.listing.of(
            &calls,
            &[
                "id",
                "timestamp_start",
                "incoming_did_number",
                "caller_id_num",
                "campaign_name",
                "client_identifier",
                "call_status",
                "duration_seconds",
                "billsec_seconds",
            ],
            "No calls.",
        )
    }
}

/// Refuses a status that no call can have: it is a slip, and would find nothing.
fn check_statuses(statuses: &[String]) -> Result<()> {
    for status in statuses {
        let typed = status.to_uppercase();
        let is_known = match typed.strip_suffix('*') {
            Some(begin) => call_status::statuses().iter().any(|known| known.starts_with(begin)),
            // v3.0 wrote reasons of its own
            None => call_status::statuses().contains(&typed.as_str()) || typed.starts_with("REJECTED_"),
        };
        if !is_known {
            let known: Vec<String> = call_status::statuses().iter().map(|&known| known.to_owned()).collect();
            let mut error = unknown("call status", status, &known);
            if typed.len() > 2 && "REJECTED".starts_with(typed.as_str()) {
                error.hint = Some("REJECTED* stands for all calls that were rejected".to_owned());
            }
            error.kind = Kind::Invalid;
            error.message = format!("\"{}\" is not a call status", status.escape_debug());
            return Err(error);
        }
    }
    Ok(())
}

/// `call active`
#[derive(Debug, Args)]
pub(crate) struct Active {
    #[command(flatten)]
    listing: Listing,
}

impl Active {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        self.listing.of(
            &call::active(&mut env.connect()?)?,
            &[
                "campaign_name",
                "client_identifier",
                "incoming_did_number",
                "caller_id_num",
                "claimed_at",
                "lease_expires_at",
                "attempt_number",
                "asterisk_uniqueid",
            ],
            "No calls are in flight.",
        )
    }
}

/// `call lost`
#[derive(Debug, Args)]
pub(crate) struct Lost {
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    listing: Listing,
}

impl Lost {
    fn run(mut self, env: &mut Env<'_>) -> Result<Output> {
        let page = self.listing.page::<Attempt>(&[])?;
        self.period.check()?;
        let mut db = env.connect()?;
        let (from, to) = self.period.bounds(&mut db)?;
        let attempts = page.cut(call::lost(&mut db, from, to, page.asked())?, env);
        self.listing.of(
            &attempts,
            &[
                "claimed_at",
                "incoming_did_number",
                "caller_id_num",
                "campaign_name",
                "client_identifier",
                "system_name",
                "released_at",
                "release_reason",
                "asterisk_uniqueid",
            ],
            "No calls were lost.",
        )
    }
}
