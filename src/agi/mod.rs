//! What Asterisk asks: the AGI session, the two programs that speak it, and the server that does so for both.

pub mod cc_route;
pub mod cdr_logger;
pub mod channel;
pub mod last_line;
mod record;
pub mod serve;
pub mod session;

use std::io::Write;

/// Whether a person has started the program, with `--help` for instance: Asterisk gives it no
/// arguments. Says what the program is for.
fn is_run_by_hand(program: &str) -> bool {
    let by_hand = std::env::args_os().len() > 1;
    if by_hand {
        let text =
            format!("{program} is started by Asterisk, from the dialplan. See capconduit asterisk install --help.\n");
        // whoever has closed standard error does not want to know
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    by_hand
}
