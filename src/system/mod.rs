//! The machine that this program runs on: files, users, processes, clocks, terminals, logs.

pub mod clock;
pub mod file;
pub mod process;
pub mod run;
pub mod syslog;
pub mod systemd;
pub mod terminal;
pub mod user;
