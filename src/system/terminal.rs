//! The terminal's echo, which is off while a password is typed: a signal that ends the program then must
//! not leave it off.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The terminal as it was before the question; None while nothing is asked.
static ASKING: Mutex<Option<(File, Termios)>> = Mutex::new(None);

fn asking() -> MutexGuard<'static, Option<(File, Termios)>> {
    ASKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this lives, a signal that ends the program restores the terminal's echo first.
#[derive(Debug)]
pub(crate) struct Echo;

impl Echo {
    /// Remembers the terminal as it is now.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub(crate) fn kept() -> io::Result<Echo> {
        // for good: once registered, the signals would do nothing without a listener
        static LISTENING: OnceLock<()> = OnceLock::new();
        if LISTENING.get().is_none() {
            let signals = Signals::new(TERM_SIGNALS)?;
            thread::Builder::new().spawn(|| restore_and_end(signals))?;
            let _ = LISTENING.set(());
        }
        // without a terminal there is no echo to lose, and rpassword says so
        if let Ok(terminal) = File::open("/dev/tty")
            && let Ok(as_it_was) = tcgetattr(&terminal)
        {
            *asking() = Some((terminal, as_it_was));
        }
        Ok(Echo)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        *asking() = None;
    }
}

fn restore_and_end(mut signals: Signals) {
    for signal in &mut signals {
        if let Some((terminal, as_it_was)) = &*asking() {
            // the program ends in any case
            let _ = tcsetattr(terminal, OptionalActions::Now, as_it_was);
        }
        let _ = emulate_default_handler(signal);
    }
}
