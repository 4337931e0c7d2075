//! What a running Asterisk says of itself and of its clients' contacts.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{as_json, shape};

/// A server as it is now.
#[derive(Debug)]
pub struct Server {
    /// `systemname` of asterisk.conf; empty where it is not set.
    pub system_name: String,
    /// Its version: `22.5.2`.
    pub version: String,
    /// When it was started, by its own clock.
    pub started_at: DateTime<Utc>,
    /// The unique ids of its channels.
    pub channels: Vec<String>,
}

/// What Asterisk says of a contact; of several, the best, since one is enough for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asterisk was not asked.
    #[default]
    NotAsked,
    /// Asterisk was asked, and does not say.
    Unknown,
    /// It does not answer OPTIONS: no call is placed with it.
    Unreachable,
    /// It gets no OPTIONS: calls are placed with it, whether it is there or not.
    NotQualified,
    /// It answers OPTIONS.
    Reachable,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

as_json! { Text: State; }

shape! {
    /// The contact of a client.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    pub struct Contact {
        /// What Asterisk says of the client's contact: reachable, unreachable, not_qualified, unknown or not_asked.
        pub contact_state: State,
        /// Milliseconds that the contact's last answer took, where Asterisk says so.
        pub contact_rtt_ms: Option<f64>,
    }
}
