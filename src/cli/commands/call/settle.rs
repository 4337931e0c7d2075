//! `capconduit call settle`: the record of a call whose end nobody saw, as a person decides it.

use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::args::input::any_integer;
use crate::cli::args::period::Period;
use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::model::values::number;
use crate::store::call::{self, Attempt};
use crate::store::page::Page;
use crate::store::reap::{self, Outcome};
use crate::words::plural;
use crate::{Error, Kind, Result, shape};

/// `call settle`
#[derive(Debug, Args)]
#[command(after_help = "\
A call that died with its Asterisk keeps its place in its link's total: nobody knows whether it
was answered. Where the client knows, say so here: the call gets a record, ANSWERED or FAILED, and
is counted or not. Look for records that wait in a spool first (call replay). One that comes later
all the same takes the place of what was decided here, in the records and in the count.

Examples:
  capconduit call lost
  capconduit call settle node1-1795852653.42 --answered --billsec 95
  capconduit call settle --all --from yesterday --unanswered --dry-run")]
pub(crate) struct Settle {
    /// Asterisk's uniqueids of the calls, as call lost shows them
    #[arg(value_name = "CALL", required_unless_present = "all", conflicts_with = "all")]
    calls: Vec<String>,
    /// All calls that call lost would show, of --from and --to
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    period: Period,
    /// A client answered: record and count them
    #[arg(long, required_unless_present = "unanswered", conflicts_with = "unanswered")]
    answered: bool,
    /// No client answered: record them as FAILED, and free their places
    #[arg(long)]
    unanswered: bool,
    /// How many seconds each was with its client; without, nobody knows
    #[arg(long, value_name = "SECONDS", value_parser = any_integer, allow_negative_numbers = true, requires = "answered")]
    billsec: Option<i64>,
    /// Show what would be recorded
    #[arg(long)]
    dry_run: bool,
}

shape! {
    /// A call that is settled; a row of the command's table.
    pub(crate) struct Settled {
        /// Names the call.
        asterisk_uniqueid: String,
        /// When its last client was claimed.
        claimed_at: DateTime<Utc>,
        /// The campaign; null where removed since.
        campaign_name: Option<String>,
        /// The client; null where removed since.
        client_identifier: Option<String>,
        /// ANSWERED or FAILED.
        call_status: &'static str,
        /// Seconds with the client; null: nobody knows.
        billsec_seconds: Option<i32>,
        /// The record; null with --dry-run.
        id: Option<i64>,
    }
}

impl Settle {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let billsec = number("billsec", self.billsec, 0..=86400)?;
        self.period.check()?;
        let mut db = env.connect()?;
        let attempts = if self.all {
            let (from, to) = self.period.bounds(&mut db)?;
            call::lost(&mut db, from, to, &Page::whole())?
        } else {
            self.calls.iter().map(|name| last_attempt(&mut db, name)).collect::<Result<Vec<_>>>()?
        };
        let call_status = if self.answered { "ANSWERED" } else { "FAILED" };
        if self.all && !self.dry_run && !attempts.is_empty() {
            env.confirm(&format!("Record {} as {call_status}?", plural(attempts.len(), "lost call")))?;
        }
        let mut settled: Vec<Settled> =
            attempts.into_iter().map(|attempt| self.row(attempt, call_status, billsec)).collect();
        let mut tx = env.begin(&mut db)?;
        reap::lock_calls(&mut tx, settled.iter().map(|call| call.asterisk_uniqueid.clone()).collect())?;
        for call in &mut settled {
            let name = &call.asterisk_uniqueid;
            match reap::settle(&mut tx, name, self.answered, billsec)? {
                Outcome::Settled(id) => call.id = Some(id).filter(|_| !self.dry_run),
                // its record has come in the meantime
                Outcome::Recorded if self.all => {}
                outcome => return Err(refused(name, &outcome)),
            }
        }
        // a dry run finds out about refusals, too
        if self.dry_run {
            tx.rollback()?;
        } else {
            tx.commit()?;
            settled.retain(|call| call.id.is_some());
        }
        Output::list(
            &settled,
            &["asterisk_uniqueid", "claimed_at", "campaign_name", "client_identifier", "call_status", "id"],
            "No call to settle.",
        )
    }

    fn row(&self, attempt: Attempt, call_status: &'static str, billsec: Option<i32>) -> Settled {
        Settled {
            asterisk_uniqueid: attempt.asterisk_uniqueid,
            claimed_at: attempt.claimed_at,
            campaign_name: attempt.campaign_name,
            client_identifier: attempt.client_identifier,
            call_status,
            billsec_seconds: if self.answered { billsec } else { Some(0) },
            id: None,
        }
    }
}

fn last_attempt(db: &mut postgres::Client, name: &str) -> Result<Attempt> {
    let attempts = call::attempts(db, name)?;
    attempts.into_iter().last().ok_or_else(|| {
        Error::not_found("lost call", name).hint("capconduit call lost lists the calls that can be settled.")
    })
}

fn refused(name: &str, outcome: &Outcome) -> Error {
    let call = name.escape_debug();
    match outcome {
        Outcome::Recorded => Error::conflict(format!("call {call} has a record"))
            .hint(format!("Nothing was changed. capconduit call show {} shows it.", crate::words::shell(name))),
        Outcome::Live | Outcome::Settled(_) => Error::new(Kind::Conflict, format!("call {call} may be up")).hint(
            "Nothing was changed. capconduit call reap, on its server, closes what is not up; a lease ends by itself.",
        ),
    }
}
