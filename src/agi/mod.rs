//! What Asterisk spawns: the AGI session and the two programs that speak it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::{Error, Kind, Result, store};

pub mod cc_route;
pub mod cdr_logger;
pub mod channel;
pub mod session;

/// How long a statement may take once connected. Both functions wait for locks for less.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs one piece of database work with a limit on both connecting and working, whatever the server
/// or the network does: a call must not wait for them.
///
/// # Errors
/// [`Kind::Unreachable`] when the time is up (the thread is left behind; the process is about to
/// end), else what the work says.
fn with_database<T: Send + 'static>(
    program: &'static str,
    work: impl FnOnce(&mut postgres::Client) -> Result<T> + Send + 'static,
) -> Result<T> {
    enum Event<T> {
        Connected,
        Done(Result<T>),
    }
    let config = Config::load()?;
    let connect_timeout = config.connect_timeout()?;
    let (events, received) = mpsc::channel();
    thread::spawn(move || {
        // a receiver that has given up hears nothing
        let result = store::connect(&config, program).and_then(|mut client| {
            let _ = events.send(Event::Connected);
            work(&mut client)
        });
        let _ = events.send(Event::Done(result));
    });
    let timeout = |what: &str, limit: Duration| {
        Error::new(Kind::Unreachable, format!("the database did not {what} within {} s", limit.as_secs_f32()))
    };
    match received.recv_timeout(connect_timeout) {
        Ok(Event::Done(result)) => result,
        Ok(Event::Connected) => match received.recv_timeout(STATEMENT_TIMEOUT) {
            Ok(Event::Done(result)) => result,
            _ => Err(timeout("answer", STATEMENT_TIMEOUT)),
        },
        Err(_) => Err(timeout("accept a connection", connect_timeout)),
    }
}
