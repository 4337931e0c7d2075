//! A connection that is kept from one question to the next, and replaced where it has ended.

use crate::config::Config;
use crate::pg::connect::{STATEMENT_TIMEOUT, bounded, open};
use crate::pg::wire::Connection;
use crate::{Kind, Result};
use std::time::Duration;

/// How long a kept connection may take before a new one is tried: more than a claim waits for a lock. This, a connect
/// and a statement together end before the dialplan gives a server up.
const KEPT_TIMEOUT: Duration = Duration::from_millis(2500);

/// A connection that a server keeps between pieces of work: opened for the first, and again after an
/// error.
#[derive(Default)]
pub struct Kept(Option<Connection>);

impl Kept {
    /// Runs a piece of work, bounded as by [`with_deadline`].
    ///
    /// A kept connection may have died, hang, or lead to a server that is now a standby, and only using it tells. The
    /// work is then done again on a new one, though it may have been done before: it must be work that repeating does
    /// not double, as claiming and logging are.
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

    /// Keeps the connection, but closes it after an error: it may be broken, or its server now a standby.
    fn keep<T>(&mut self, connection: Connection, result: Result<T>) -> Result<T> {
        self.0 = result.is_ok().then_some(connection);
        result
    }
}
