//! `capconduit call reap`: closes the attempts that a dead Asterisk left behind.

use std::collections::HashSet;

use clap::Args;

use crate::asterisk::live;
use crate::asterisk::live::ari::Ari;
use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::model::call_id;
use crate::model::live::Server;
use crate::store::call::REAPED;
use crate::store::reap::{self, Open};
use crate::words::plural;
use crate::{Result, shape};

/// `call reap`
#[derive(Debug, Args)]
#[command(after_help = "\
Closes attempts of this server's Asterisk whose channel no longer exists, and renews the leases
of those whose channel does: a call that is up is never closed. Of other servers it closes
attempts whose lease ended 15 minutes ago. A place among calls at once is free then; a place in a
total stays taken until the call's record comes (call replay) or a person decides (call lost, call
settle).

Run it on each server after its start, and from cron every 5 minutes, as root: it asks Asterisk's
console. From elsewhere it asks ARI: ASTERISK_ARI_URL (http://127.0.0.1:8088/ari),
ASTERISK_ARI_USER and ASTERISK_ARI_PASSWORD in the env file. An Asterisk without a systemname has
no attempts of its own: another could have them.

Exit code 75 where Asterisk does not answer; leases that are over are closed all the same.")]
pub(crate) struct Reap {
    /// Show what would be closed, and why
    #[arg(long)]
    dry_run: bool,
}

shape! {
    /// An attempt that is closed, and why; a row of the command's table.
    pub(crate) struct Closed<'a> {
        /// The attempt.
        id: i64,
        /// Names the call.
        asterisk_uniqueid: &'a str,
        /// systemname of the Asterisk that had the call.
        system_name: Option<&'a str>,
        /// The client; null where removed since.
        client_identifier: Option<&'a str>,
        /// When it was claimed.
        claimed_at: chrono::DateTime<chrono::Utc>,
        /// expired, asterisk_restarted or channel_gone.
        release_reason: &'static str,
    }
}

impl Reap {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        // First the attempts, then the channels. A call has its channel before it claims and until its logger has run,
        // so a call that is alive when the attempts are read is among the channels, unless its attempt is released by
        // then.
        let open = reap::open(&mut db)?;
        let (server, failure) = match live::ask(Ari::of(env.config)?.as_ref()) {
            Ok(server) => (server, None),
            Err(error) => (None, Some(error)),
        };
        let eyes = server.as_ref().map(Eyes::of);
        let verdicts = || open.iter().map(|attempt| (attempt, verdict(attempt, eyes.as_ref())));
        let closed: Vec<Closed<'_>> = verdicts()
            .filter_map(|(attempt, verdict)| match verdict {
                Verdict::Close(reason) => Some(row((attempt, reason))),
                Verdict::Leave | Verdict::Renew => None,
            })
            .collect();
        if !self.dry_run {
            let mut tx = env.begin(&mut db)?;
            for reason in REAPED {
                let ids = closed.iter().filter(|c| c.release_reason == reason).map(|c| c.id).collect();
                reap::close(&mut tx, ids, reason)?;
            }
            let up =
                verdicts().filter(|(_, verdict)| *verdict == Verdict::Renew).map(|(attempt, _)| attempt.id).collect();
            let mut renewed = reap::renew(&mut tx, up)?;
            if let Some(server) = server.as_ref().filter(|server| !server.system_name.is_empty()) {
                let calls = server.channels.iter().map(|id| call_id::kept_id(id)).collect();
                renewed += reap::reopen(&mut tx, calls, &call_id::kept_id(&server.system_name))?;
            }
            reap::forget_endings(&mut tx)?;
            tx.commit()?;
            if renewed > 0 {
                let leases = plural(renewed, "lease");
                env.progress(&format!("{leases} of calls that are up renewed: the database's clock may have been set"));
            }
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

/// How long ago the lease of another server's attempt must have ended: that server has renewed it by then if
/// the call is up.
const PATIENCE_SECONDS: i64 = 15 * 60;
/// A lease that ends before this server's next look or two is renewed.
const SOON_SECONDS: i64 = 10 * 60;

/// A server and its calls, for a comparison with attempts.
struct Eyes<'a> {
    server: &'a Server,
    system_name: String,
    /// The parts that its channels' ids share with the ids of their calls.
    tails: HashSet<String>,
}

impl Eyes<'_> {
    fn of(server: &Server) -> Eyes<'_> {
        let tails = server.channels.iter().map(|id| call_id::tail(id)).collect();
        Eyes { server, system_name: call_id::kept_id(&server.system_name), tails }
    }
}

/// What to do with an attempt that is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is in order, or its state is unknown here.
    Leave,
    /// Its call is up, and its lease ends soon, or has ended.
    Renew,
    /// It is over, for this reason.
    Close(&'static str),
}

fn verdict(attempt: &Open, eyes: Option<&Eyes<'_>>) -> Verdict {
    // two servers without a name would close each other's live calls
    let own =
        eyes.filter(|eyes| !eyes.system_name.is_empty() && attempt.system_name.as_ref() == Some(&eyes.system_name));
    match own {
        Some(eyes) if eyes.tails.contains(&call_id::tail(&attempt.asterisk_uniqueid)) => {
            if attempt.lease_left_seconds < SOON_SECONDS { Verdict::Renew } else { Verdict::Leave }
        }
        Some(eyes) if attempt.claimed_at < eyes.server.started_at => Verdict::Close("asterisk_restarted"),
        Some(_) => Verdict::Close("channel_gone"),
        None if attempt.lease_left_seconds < -PATIENCE_SECONDS => Verdict::Close("expired"),
        None => Verdict::Leave,
    }
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

    fn attempt(age: i64, lease_left_seconds: i64) -> Open {
        Open {
            id: 1,
            asterisk_uniqueid: "node1-1.2".into(),
            system_name: Some("node1".into()),
            client_identifier: None,
            claimed_at: Utc::now() - Duration::seconds(age),
            lease_expires_at: Utc::now() + Duration::seconds(lease_left_seconds),
            lease_left_seconds,
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
        let of = |attempt: &Open, server: Option<Server>| verdict(attempt, server.as_ref().map(Eyes::of).as_ref());
        let (lives, over, long_over) = (attempt(100, 14_000), attempt(100, -1), attempt(100, -901));
        // no server was asked, or another one
        for asked in [None, Some(server("node2", 50, &[]))] {
            let of = |attempt| of(attempt, asked.as_ref().map(|_| server("node2", 50, &[])));
            assert_eq!(
                [&lives, &over, &long_over].map(of),
                [Verdict::Leave, Verdict::Leave, Verdict::Close("expired")]
            );
        }
        // its own server has the call up, whatever the database's clock says
        let up = || Some(server("node1", 50, &["node1-1.2"]));
        assert_eq!([&lives, &over, &long_over].map(|a| of(a, up())), [Verdict::Leave, Verdict::Renew, Verdict::Renew]);
        // its own server has the call no more
        assert_eq!(of(&lives, Some(server("node1", 50, &[]))), Verdict::Close("asterisk_restarted"));
        assert_eq!(of(&over, Some(server("node1", 500, &["node1-1.3"]))), Verdict::Close("channel_gone"));
        // a call whose unique id another call had; a call whose unique id did not fit
        let repeated = Open { asterisk_uniqueid: "node1-1.2~0123456789abcdef".into(), ..attempt(100, -1) };
        assert_eq!(of(&repeated, up()), Verdict::Renew);
        let name = "n".repeat(60);
        let channel = format!("{name}-1.2");
        let long = Open {
            asterisk_uniqueid: call_id::kept_id(&channel),
            system_name: Some(call_id::kept_id(&name)),
            ..attempt(100, -1)
        };
        assert_eq!(of(&long, Some(server(&name, 50, &[&channel]))), Verdict::Renew);
        assert_eq!(of(&long, Some(server(&name, 500, &[]))), Verdict::Close("channel_gone"));
        let of_nobody = Open { system_name: Some(String::new()), ..attempt(100, 14_000) };
        assert_eq!(of(&of_nobody, Some(server("", 50, &[]))), Verdict::Leave);
    }
}
