//! What `capconduit asterisk check` looks at: an installed system, part by part, as an expert would.
//!
//! Each part is a file with small functions that say what they found; nothing here changes anything.
//! What could not be looked at is said to be unknown, never to be in order.

use std::fmt;

use serde::Serialize;

use crate::{as_json, shape};

pub mod agi;
pub mod clients;
pub mod database;
pub mod environment;
pub mod files;
pub mod loaded;
pub mod schedule;
pub mod server;
pub mod spool;

/// What a look at something came to, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Info,
    /// It could not be looked at.
    Unknown,
    /// Calls go through, but something is wrong or will be.
    Warning,
    /// Calls or their records are lost, or will be.
    Error,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

as_json! { Text: State; }

shape! {
    /// What was looked at, and what was found.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Finding {
        /// The part of the system: files, server, clients, agi, database or spool.
        pub area: &'static str,
        /// What was looked at.
        pub check: String,
        /// ok, info, unknown (it could not be looked at), warning or error.
        pub state: State,
        /// What is so, and why it matters.
        pub message: String,
        /// What to do about it.
        pub remedy: Option<String>,
    }
}

/// The findings of one area.
#[derive(Debug)]
pub struct Area {
    name: &'static str,
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Area {
    /// An area without findings yet.
    #[must_use]
    pub fn new(name: &'static str) -> Area {
        Area { name, findings: Vec::new() }
    }

    fn add(&mut self, state: State, check: &str, message: String, remedy: Option<String>) {
        self.findings.push(Finding { area: self.name, check: check.to_owned(), state, message, remedy });
    }

    /// It is as it should be.
    pub fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(State::Ok, check, message.into(), None);
    }

    /// It is worth knowing.
    pub fn info(&mut self, check: &str, message: impl Into<String>) {
        self.add(State::Info, check, message.into(), None);
    }

    /// It works, and could be better: `remedy` says how.
    pub fn advice(&mut self, check: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Info, check, message.into(), Some(remedy.into()));
    }

    /// It could not be looked at, and why; `remedy` says how it can be.
    pub fn unknown(&mut self, check: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Unknown, check, message.into(), Some(remedy.into()));
    }

    /// It could not be looked at because of something that is said elsewhere.
    pub fn not_looked_at(&mut self, check: &str, why: &str) {
        self.add(State::Unknown, check, format!("not looked at: {why}"), None);
    }

    /// Something is wrong or will be.
    pub fn warning(&mut self, check: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Warning, check, message.into(), Some(remedy.into()));
    }

    /// Calls or records are lost, or will be.
    pub fn error(&mut self, check: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Error, check, message.into(), Some(remedy.into()));
    }
}
