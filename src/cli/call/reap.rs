//! `capconduit call reap`: closes the attempts that a dead Asterisk left behind.

use clap::Args;
use serde::Serialize;

use crate::ari::Ari;
use crate::cli::Env;
use crate::cli::output::Output;
use crate::server::{self, Server};
use crate::store::reap::{self, Open};
use crate::{Result, store};

/// `call reap`
#[derive(Debug, Args)]
#[command(after_help = "\
Closes attempts whose lease is over (they have stopped counting by themselves), and attempts of this
server's Asterisk whose channel no longer exists. A live call is never closed. Run it on each server
after its start, and from cron, as root: it asks Asterisk's console. From elsewhere it asks ARI:
ASTERISK_ARI_URL (http://127.0.0.1:8088/ari), ASTERISK_ARI_USER and ASTERISK_ARI_PASSWORD in the
env file. An Asterisk without a systemname has no attempts of its own: another could have them.

Exit code 75 where Asterisk does not answer; leases that are over are closed all the same.")]
pub(in crate::cli) struct Reap {
    /// Show what would be closed, and why
    #[arg(long)]
    dry_run: bool,
}

/// An attempt that is closed, and why; a row of the command's table.
#[derive(Debug, Serialize)]
struct Closed<'a> {
    id: i64,
    asterisk_uniqueid: &'a str,
    system_name: Option<&'a str>,
    client_identifier: Option<&'a str>,
    claimed_at: chrono::DateTime<chrono::Utc>,
    release_reason: &'static str,
}

impl Reap {
    pub(super) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        // First the attempts, then the channels. A call has its channel before it claims and until its
        // logger has run, so one that is alive when the attempts are read is among the channels, unless
        // it is released by then.
        let open = reap::open(&mut db)?;
        let (server, failure) = match server::ask(Ari::of(env.config)?.as_ref()) {
            Ok(server) => (server, None),
            Err(error) => (None, Some(error)),
        };
        let closed: Vec<Closed<'_>> =
            open.iter().filter_map(|attempt| Some((attempt, reason(attempt, server.as_ref())?))).map(row).collect();
        if !self.dry_run {
            let mut tx = env.begin(&mut db)?;
            for reason in ["expired", "asterisk_restarted", "channel_gone"] {
                let ids = closed.iter().filter(|c| c.release_reason == reason).map(|c| c.id).collect();
                store::reap::close(&mut tx, ids, reason)?;
            }
            reap::forget_endings(&mut tx)?;
            tx.commit()?;
        }
        let empty = match open.len() {
            0 => "No attempt is open.".to_owned(),
            n if server.is_none() => format!(
                "No lease is over. {n} open: whether their calls are up, only Asterisk knows, and it was not asked. Run \
                 this on its server, as root, or set ASTERISK_ARI_URL."
            ),
            n if server.is_some_and(|server| server.system_name.is_empty()) => format!(
                "No lease is over. {n} open: Asterisk has no systemname, so that nobody knows which are its own. Set it \
                 in asterisk.conf."
            ),
            _ => "No attempt to close.".to_owned(),
        };
        let output = Output::list(
            &closed,
            &["id", "asterisk_uniqueid", "system_name", "client_identifier", "claimed_at", "release_reason"],
            &empty,
        )?;
        Ok(match failure {
            Some(error) => Output::Findings { output: Box::new(output), error },
            None => output,
        })
    }
}

/// Why an attempt is over although nobody has released it; None where it may be alive.
fn reason(attempt: &Open, server: Option<&Server>) -> Option<&'static str> {
    if attempt.expired {
        return Some("expired");
    }
    let server = server?;
    // two servers without a name would close each other's live calls
    let its_own = attempt.system_name.as_deref().is_some_and(|name| !name.is_empty() && name == server.system_name);
    let gone = !server.channels.contains(&attempt.asterisk_uniqueid);
    if !its_own || !gone {
        return None;
    }
    Some(if attempt.claimed_at < server.started_at { "asterisk_restarted" } else { "channel_gone" })
}

fn row<'a>((attempt, release_reason): (&'a Open, &'static str)) -> Closed<'a> {
    Closed {
        id: attempt.id,
        asterisk_uniqueid: &attempt.asterisk_uniqueid,
        system_name: attempt.system_name.as_deref(),
        client_identifier: attempt.client_identifier.as_deref(),
        claimed_at: attempt.claimed_at,
        release_reason,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Duration, Utc};

    use super::*;

    fn attempt(age: i64, expired: bool) -> Open {
        Open {
            id: 1,
            asterisk_uniqueid: "node1-1.2".into(),
            system_name: Some("node1".into()),
            client_identifier: None,
            claimed_at: Utc::now() - Duration::seconds(age),
            lease_expires_at: Utc::now(),
            expired,
        }
    }

    fn server(name: &str, up_seconds: i64, channels: &[&str]) -> Server {
        Server {
            system_name: name.into(),
            version: "22.5.2".into(),
            started_at: Utc::now() - Duration::seconds(up_seconds),
            channels: channels.iter().map(|&c| c.to_owned()).collect(),
        }
    }

    #[test]
    fn only_what_is_certainly_over_is_closed() {
        assert_eq!(reason(&attempt(100, true), None), Some("expired"));
        assert_eq!(reason(&attempt(100, false), None), None);
        assert_eq!(reason(&attempt(100, false), Some(&server("node1", 50, &[]))), Some("asterisk_restarted"));
        assert_eq!(reason(&attempt(100, false), Some(&server("node1", 500, &[]))), Some("channel_gone"));
        assert_eq!(reason(&attempt(100, false), Some(&server("node1", 50, &["node1-1.2"]))), None);
        assert_eq!(reason(&attempt(100, false), Some(&server("node2", 50, &[]))), None);
        let of_nobody = Open { system_name: Some(String::new()), ..attempt(100, false) };
        assert_eq!(reason(&of_nobody, Some(&server("", 50, &[]))), None);
    }
}
