//! What Asterisk spawns: the AGI session and the two programs that speak it.

pub mod cc_route;
pub mod cdr_logger;
pub mod channel;
pub mod session;
