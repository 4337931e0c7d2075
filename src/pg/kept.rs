//! A connection that is kept from one question to the next, and replaced where it has ended.

use crate::config::Config;
use crate::pg::connect::{STATEMENT_TIMEOUT, bounded, open};
use crate::pg::wire::Connection;
use crate::{Kind, Result};
use std::time::Duration;

/// How long a connection that was kept may take before a new one is tried: a claim waits for a lock for
/// less. With this, a connect and a statement end before the dialplan gives a server up.
const KEPT_TIMEOUT: Duration = Duration::from_millis(2500);

/// A connection that a server keeps between pieces of work: opened for the first, and again after an
/// error.
#[derive(Default)]
pub struct Kept(Option<Connection>);

impl Kept {
    /// Runs a piece of work, bounded as by [`with_deadline`].
    ///
    /// A connection that was kept may have died since, hang, or lead to a server that is a standby by now,
    /// and only using it tells. The work is then done again on a new one, and whether it was done before is not known: it must be work that is done
    /// once however often it is asked for, as claiming and logging are.
    ///
    /// # Errors
    /// As [`with_deadline`].
    pub fn run<T>(&mut self, config: &Config, program: &str, work: impl Fn(&mut Connection) -> Result<T>) -> Result<T> {
        if let Some(mut connection) = self.0.take() {
            match bounded(&mut connection, KEPT_TIMEOUT, &work) {
                Err(error) if error.kind == Kind::Unreachable => log::debug!("again: {}", error.message),
                result => return self.keep(connection, result),
            }
        }
        let mut connection = open(config, program)?;
        let result = bounded(&mut connection, STATEMENT_TIMEOUT, &work);
        self.keep(connection, result)
    }

    /// One that an error came from may be broken, or with a server that has become a standby: it is closed.
    fn keep<T>(&mut self, connection: Connection, result: Result<T>) -> Result<T> {
        self.0 = result.is_ok().then_some(connection);
        result
    }
}
