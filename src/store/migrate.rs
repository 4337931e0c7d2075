//! Bringing a database to this program's schema: numbered migrations, applied once each, and
//! routines (functions and views), applied again whenever their text changes.
//!
//! Each one is a transaction of its own under an advisory lock of that transaction, so that two
//! runs at once do not meet, also through PgBouncer. What was applied is recorded with its SHA-256.

use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use postgres::error::SqlState;
use postgres::{Client, GenericClient};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::pg::Query;
use crate::store::needs;
use crate::{Error, Result, args, as_json, shape};

/// One part of the schema: the text of one SQL file or of several.
struct Step {
    name: &'static str,
    sql: &'static str,
    /// A routine may change; a migration, once applied, never.
    routine: bool,
}

macro_rules! migration {
    ($name:literal) => {
        Step { name: $name, sql: include_str!(concat!("../../sql/migrations/", $name, ".sql")), routine: false }
    };
}

macro_rules! routine {
    ($name:literal: $($file:literal)+) => {{
        const SQL: &str = concat!($(include_str!(concat!("../../sql/routines/", $file, ".sql"))),+);
        Step { name: $name, sql: SQL, routine: true }
    }};
}

/// In the order in which they are applied. Databases record the names: a name stays, whatever files its step has.
const STEPS: &[Step] = &[
    migration!("0001_v3_tables"),
    migration!("0002_ledger"),
    migration!("0003_counters"),
    migration!("0004_audit"),
    migration!("0005_access"),
    migration!("0006_pjsip_options"),
    migration!("0008_decisions"),
    migration!("0009_call_identity"),
    migration!("0010_no_transfer"),
    routine!("base": "base"),
    // before the functions that they secure; the list of tables is in both, so that both follow a change of it
    routine!("access": "tables" "access"),
    routine!("audit": "tables" "audit"),
    routine!("routing": "route/resolve" "route/links" "route/turns" "route/reasons" "route/rejection"
             "route/passed_over" "route/route" "route/explain"),
    routine!("call_log": "settle/log_call" "settle/release" "settle/settle_call" "settle/counters"),
    routine!("realtime": "realtime"),
    routine!("verify": "verify"),
    routine!("unsold": "unsold"),
];

/// For how long a step that gave way to calls is tried again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause for calls between two tries.
const PAUSE: Duration = Duration::from_millis(500);

const SAMPLE_DATA: &str = include_str!("../../sql/seed.sql");

/// Where a step stands in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not applied.
    Pending,
    /// Applied as this program has it.
    Applied,
    /// A routine that was applied with another text.
    Changed,
    /// A migration that was applied with another text: this program does not belong to this database.
    Mismatch,
    /// Applied by a newer program: this one does not know it.
    Unknown,
}

as_json! { Text: State; }

shape! {
    /// One step and where it stands.
    #[derive(Clone, Debug)]
    pub struct Status {
        /// 0001_v3_tables, routing, ...
        pub name: String,
        /// pending, applied, changed (a routine with another text), mismatch (a migration with another text) or
        /// unknown (a newer program's).
        pub state: State,
        /// When it was applied last.
        pub applied_at: Option<DateTime<Utc>>,
    }
}

shape! {
    /// What `migrate` did.
    #[derive(Clone, Debug)]
    pub struct Applied {
        /// The step.
        pub name: String,
        /// It replaced an older text of a routine.
        pub replaced: bool,
        /// How long it took.
        pub milliseconds: i64,
    }
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Where each step stands, in order; steps of a newer program last.
pub fn status(client: &mut impl GenericClient) -> Result<Vec<Status>> {
    let mut recorded = Vec::new();
    if client.row("SELECT 1 WHERE to_regclass('capconduit_migrations') IS NOT NULL", args![])?.is_some() {
        for row in client.rows("SELECT name, checksum, applied_at FROM capconduit_migrations ORDER BY name", args![])? {
            recorded.push((row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?, row.try_get(2)?));
        }
    }
    let mut all = Vec::new();
    for step in STEPS {
        let applied = recorded.iter().position(|(name, ..)| name == step.name).map(|at| recorded.remove(at));
        let (state, applied_at) = match applied {
            None => (State::Pending, None),
            Some((_, sum, at)) if sum == checksum(step.sql) => (State::Applied, at),
            Some((_, _, at)) if step.routine => (State::Changed, at),
            Some((_, _, at)) => (State::Mismatch, at),
        };
        all.push(Status { name: step.name.to_owned(), state, applied_at });
    }
    all.extend(recorded.into_iter().map(|(name, _, applied_at)| Status { name, state: State::Unknown, applied_at }));
    Ok(all)
}

/// Applies what is missing and says what it does through `progress`, a line at a time. A step that would hold up calls
/// gives way to them, and is tried again for a while.
///
/// # Errors
/// A migration that was applied with another text, or a newer program's schema: nothing is changed.
/// Rows that break a new rule: they are named, and that migration changes nothing. A server or database
/// that is not as it must be: nothing is changed.
pub fn migrate(client: &mut Client, mut progress: impl FnMut(&str)) -> Result<Vec<Applied>> {
    let mut done = Vec::new();
    // where there is nothing to do, any login that may look is told so
    let now = status(client)?;
    if now.iter().all(|step| step.state == State::Applied) {
        return Ok(done);
    }
    let is_new = now.iter().all(|step| step.state == State::Pending);
    needs::refuse(&needs::needs(client)?, is_new)?;
    let until = Instant::now() + PATIENCE;
    let (mut steps, mut waits) = (STEPS.iter().peekable(), false);
    while let Some(step) = steps.peek() {
        let mut tx = client.transaction()?;
        lock(&mut tx)?;
        tx.batch_execute(
            "CREATE TABLE IF NOT EXISTS capconduit_migrations (
                 name       text PRIMARY KEY,
                 checksum   text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(),
                 applied_by text NOT NULL DEFAULT current_user
             )",
        )?;
        let now = status(&mut tx)?;
        refuse_what_does_not_fit(&now)?;
        let state = now.iter().find(|s| s.name == step.name).map_or(State::Pending, |s| s.state);
        if state == State::Applied {
            tx.commit()?;
            steps.next();
            continue;
        }
        if !waits {
            progress(&format!("applying {}", step.name));
        }
        // While this waits for a call's lock, or for somebody's open transaction, calls queue behind it. The wait is
        // too short for a call to be refused, or for PostgreSQL to look for a deadlock.
        tx.batch_execute("SET LOCAL lock_timeout = '500ms'")?;
        let begun = Instant::now();
        let mut at = format!("{}: ", step.name);
        let applied = tx.batch_execute(step.sql).and_then(|()| {
            at.clear();
            grant_access(&mut tx)
        });
        match applied {
            Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && begun < until => {
                tx.rollback()?;
                if !waits {
                    progress("waiting for a moment without calls");
                }
                waits = true;
                thread::sleep(PAUSE);
                continue;
            }
            applied => applied.map_err(|e| {
                let mut error = Error::from(e);
                error.message = format!("{at}{}", error.message);
                error
            })?,
        }
        waits = false;
        tx.run(
            "INSERT INTO capconduit_migrations (name, checksum) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE
             SET checksum = excluded.checksum, applied_at = now(), applied_by = current_user",
            args![step.name, checksum(step.sql)],
        )?;
        tx.commit()?;
        done.push(Applied {
            name: step.name.to_owned(),
            replaced: state == State::Changed,
            milliseconds: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
        });
        steps.next();
    }
    let mut tx = client.transaction()?;
    lock(&mut tx)?;
    tx.rows("SELECT cc_drop_aside()", args![])?;
    tx.commit()?;
    Ok(done)
}

/// Holds off other runs, and `db roles`, until the end of the transaction.
pub(super) fn lock(tx: &mut impl GenericClient) -> Result<()> {
    tx.batch_execute("SET LOCAL client_min_messages = warning")?;
    tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('capconduit db migrate', 0))", args![])?;
    Ok(())
}

/// Grants again what replacing a routine dropped, before anybody can see that it was gone.
fn grant_access(tx: &mut impl GenericClient) -> std::result::Result<(), postgres::Error> {
    tx.batch_execute(
        "DO $$ BEGIN IF to_regprocedure('cc_grant_access()') IS NOT NULL THEN PERFORM cc_grant_access(); END IF; END $$",
    )
}

fn refuse_what_does_not_fit(now: &[Status]) -> Result<()> {
    for step in now {
        match step.state {
            State::Mismatch => {
                return Err(Error::conflict(format!(
                    "migration {} was applied to this database with another text than this program has",
                    step.name
                ))
                .hint("Nothing was changed. Use the capconduit release that belongs to this database."));
            }
            State::Unknown => {
                return Err(Error::conflict(format!(
                    "this database has {}, which this program does not know",
                    step.name
                ))
                .hint("Nothing was changed. Upgrade capconduit to the release that this database has."));
            }
            State::Pending | State::Applied | State::Changed => {}
        }
    }
    Ok(())
}

/// Loads the sample data: users, clients, DIDs, campaigns, settings and some call records. Loading
/// it again changes nothing. Returns false where it was there already.
///
/// # Errors
/// [`crate::Kind::Conflict`] where the database holds other users: sample data is not for a live system.
pub fn seed(tx: &mut impl GenericClient) -> Result<bool> {
    tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('capconduit db seed', 0))", args![])?;
    let row =
        tx.the_row("SELECT count(*) FILTER (WHERE email LIKE '%@sample.invalid'), count(*) FROM users", args![])?;
    let (sample, all): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if all > sample {
        return Err(Error::conflict("this database holds users: sample data is for an empty one").hint(
            "Nothing was changed. Use a database of its own: createdb sample, DATABASE_URL=postgresql:///sample",
        ));
    }
    if sample > 0 {
        return Ok(false);
    }
    tx.batch_execute(SAMPLE_DATA)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_list_of_tables_is_done_again_when_that_changes() {
        let list = include_str!("../../sql/routines/tables.sql");
        for name in ["access", "audit"] {
            let step = STEPS.iter().find(|step| step.name == name).expect("a step");
            assert!(step.sql.starts_with(list), "{name}");
        }
    }
}
