//! `capconduit agi serve`: one process that answers for both programs, and the guard that keeps it running.

pub mod guard;
pub mod server;
