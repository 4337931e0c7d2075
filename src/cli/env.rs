//! What a verb may use of the outside world: settings, streams, the database.

use std::io::{Read, Write};

use crate::config::Config;
use crate::confirm::{self, Confirmed};
use crate::system::user::Identity;
use crate::{Result, pg, store};

/// What a verb may use of the outside world.
pub(crate) struct Env<'a> {
    /// Settings from the environment and the env file.
    pub(crate) config: &'a Config,
    /// For progress lines and questions; results go through [`crate::cli::output::Output`].
    pub(crate) stderr: &'a mut dyn Write,
    /// For passwords and confirmations.
    pub(crate) stdin: &'a mut dyn Read,
    /// Whether there is a person to ask.
    pub(crate) interactive: bool,
    /// `--yes`
    pub(crate) yes: bool,
    /// `--json`
    pub(crate) json: bool,
    /// This command as a shell would take it: what the audit says of a change.
    pub(crate) command: String,
}

impl Env<'_> {
    /// A connection to the configured database.
    ///
    /// # Errors
    /// See [`pg::connect`] and [`store::seller::refuse_inactive_seller`].
    pub(crate) fn connect(&self) -> Result<postgres::Client> {
        let mut db = pg::connect(self.config, "capconduit")?;
        store::seller::refuse_inactive_seller(&mut db)?;
        Ok(db)
    }

    /// Begins a change. The database's audit learns of the command and of who gave it; both are settings
    /// of this transaction only, which is what PgBouncer can carry.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn begin<'c>(&self, db: &'c mut postgres::Client) -> Result<postgres::Transaction<'c>> {
        let mut tx = db.transaction()?;
        self.introduce(&mut tx)?;
        Ok(tx)
    }

    /// What [`Env::begin`] tells the database, for a transaction that is begun elsewhere.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn introduce(&self, tx: &mut impl postgres::GenericClient) -> Result<()> {
        store::audit::introduce(tx, &self.command, &operator())
    }

    /// Asks before something is removed. `what` is a question: `Remove client "acme"?`
    ///
    /// # Errors
    /// See [`confirm::ask`].
    pub(crate) fn confirm(&mut self, what: &str) -> Result<Confirmed> {
        confirm::ask(what, self.yes, self.interactive, self.stdin, self.stderr)
    }

    /// One progress line on standard error, for a person; with `--json` nobody reads it.
    pub(crate) fn progress(&mut self, line: &str) {
        if !self.json {
            // losing a progress line is no reason to stop
            let _ = writeln!(self.stderr, "{line}");
        }
    }
}

/// Who runs this program, as the system knows: behind sudo the person, not root.
fn operator() -> String {
    let of = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    // cron and containers set neither
    of("SUDO_USER").or_else(|| of("USER")).or_else(|| of("LOGNAME")).unwrap_or_else(|| Identity::own().name)
}
