//! `call show`: a call with its attempts.

use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::cli::output::table::Tables;
use crate::store::call::{self, Attempt, Call};
use crate::{Error, Result, shape};
use clap::Args;
use postgres::GenericClient;

/// All that is known of a call, by its uniqueid or its record's id: a call that is up has no record, a
/// rejected one may have no attempts.
pub(crate) fn known(db: &mut impl GenericClient, name: &str) -> Result<(Option<Call>, Vec<Attempt>)> {
    let call = call::find(db, name)?;
    let uniqueid = call.as_ref().map_or(Some(name), |call| call.asterisk_uniqueid.as_deref());
    let attempts = uniqueid.map_or_else(|| Ok(Vec::new()), |uniqueid| call::attempts(db, uniqueid))?;
    if call.is_none() && attempts.is_empty() {
        return Err(Error::not_found("call", name));
    }
    Ok((call, attempts))
}

/// `call show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Asterisk's uniqueid of the call, or the record's id
    call: String,
}

/// What differs from attempt to attempt.
pub(crate) const ATTEMPTS: Tables = &[(
    "attempts",
    &[
        "attempt_number",
        "client_identifier",
        "system_name",
        "claimed_at",
        "lease_expires_at",
        "released_at",
        "release_reason",
        "dial_status",
        "hangup_cause_code",
        "passed_over",
    ],
)];

shape! {
    /// A call and what was tried.
    pub(crate) struct Whole {
        #[serde(flatten)]
        call: Call,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    }
}

shape! {
    /// A call that is still up: it has no record yet.
    pub(crate) struct Unrecorded<'a> {
        /// Null.
        id: Option<i64>,
        /// Null.
        call_status: Option<&'a str>,
        /// Names the call.
        asterisk_uniqueid: &'a str,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    }
}

impl Show {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let (call, attempts) = known(&mut env.connect()?, &self.call)?;
        if let Some(call) = call {
            return Output::detail(&Whole { call, attempts }, ATTEMPTS);
        }
        Output::detail(&Unrecorded { id: None, call_status: None, asterisk_uniqueid: &self.call, attempts }, ATTEMPTS)
    }
}
