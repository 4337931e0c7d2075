//! What the Asterisk of this host says of itself: its name, when it was started, which channels it has. ARI
//! is asked where it is configured, else the console.

pub mod answers;
pub mod ari;
pub mod console;
pub mod contacts;

use std::time::Duration;

use chrono::{TimeDelta, Utc};

use crate::asterisk::live::ari::Ari;
use crate::asterisk::live::console::Console;
use crate::model::live::Server;
use crate::{Error, Kind, Result};

/// How long the console may take for one question.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The server that ARI leads to; else the one on this host. None: there is nobody to ask, or this user may not.
///
/// # Errors
/// [`Kind::Unreachable`] where it does not answer: what ARI says, where that is configured.
pub fn ask(ari: Option<&Ari>) -> Result<Option<Server>> {
    let console = || Console::local().map(|console| of_console(&console)).transpose();
    match ari.map(Ari::server) {
        None => console(),
        Some(Ok(server)) => Ok(Some(server)),
        Some(Err(error)) => match console() {
            Ok(Some(server)) => Ok(Some(server)),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

/// What its console says. The channels are asked for last, as by [`Ari::server`].
///
/// # Errors
/// [`Kind::Unreachable`] where it does not answer, or not in full.
pub fn of_console(console: &Console) -> Result<Server> {
    let asked = |command: &str| {
        console.ask_within(command, TIMEOUT).map_err(|e| {
            Error::new(e.kind, format!("Asterisk does not answer: {}", e.message))
                .hint("See whether it runs: systemctl status asterisk.")
        })
    };
    let unclear = |command: &str| {
        Error::new(Kind::Unreachable, format!("Asterisk's answer to \"{command}\" is not understood"))
            .hint("This release is tested with Asterisk 22.")
    };
    let settings = asked("core show settings")?;
    let setting = |name| answers::setting(&settings, name).map(str::to_owned);
    let (up, _) = answers::uptime(&asked("core show uptime seconds")?).ok_or_else(|| unclear("core show uptime"))?;
    let seconds = TimeDelta::try_seconds(i64::try_from(up).unwrap_or_default()).unwrap_or_default();
    let started_at = Utc::now() - seconds;
    let count = || {
        let text = asked("core show channels count")?;
        answers::channel_count(&text).ok_or_else(|| unclear("core show channels count"))
    };
    let before = count()?;
    let channels = answers::channels(&asked("core show channels concise")?);
    // a console that is in trouble cuts long answers without a word: a call would be taken for lost
    if channels.len() < before && channels.len() < count()? {
        return Err(Error::new(Kind::Unreachable, "Asterisk's console did not name all channels").hint("Try again."));
    }
    Ok(Server {
        system_name: setting("System name").unwrap_or_default(),
        version: setting("Version").unwrap_or_default(),
        started_at,
        channels,
    })
}
