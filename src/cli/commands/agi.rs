//! `capconduit agi`: the FastAGI server.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::agi::serve::guard::{self, Line};
use crate::agi::serve::server::{self, Limits, MIN_WORKERS, Server};
use crate::cli::env::Env;
use crate::cli::output::Output;
use crate::config::Config;
use crate::system::systemd;
use crate::{Error, Kind, Result};

/// Longer than any session can take once it has begun, whether the database answers or not.
const PATIENCE: Duration = Duration::from_secs(15);

/// The verbs of `agi`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Route and log calls for Asterisk over FastAGI, until stopped
    Serve(Serve),
}

/// `agi serve`
#[derive(Debug, Args)]
#[command(after_help = "\
Without it, Asterisk starts a program for each routing attempt and each call record. Starting one
costs a large Asterisk 12 to 50 ms, and two processors no more than some 30 calls a second: this
server is for those who need more. Try it by hand, then as a service:

  capconduit agi serve
  cp asterisk/systemd/capconduit-agi.* /etc/systemd/system/    # the Debian package has them there
  systemctl daemon-reload && systemctl enable --now capconduit-agi.service
  capconduit asterisk install --agi-server 127.0.0.1:4573 --force
  asterisk -rx 'core reload'

The programs stay installed and stand in, within the same attempt, whenever the server is away,
full or stuck: no call depends on it. `--agi-server ''` goes back to the programs alone.

SIGTERM and SIGINT: no new sessions, those that run are finished. SIGHUP: the env file is read
again, new database connections. FastAGI knows no passwords: whoever reaches the port can claim and
end calls. RUST_LOG=info says why sessions failed.")]
pub(crate) struct Serve {
    /// Where to listen, unless systemd hands over a socket
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4573")]
    listen: SocketAddr,
    /// Listen on an address that other machines reach: only behind a firewall that lets Asterisk alone through
    #[arg(long)]
    allow_remote: bool,
    /// Sessions at once, each with a database connection; at least 2, and records take no more than half
    /// [default: twice the processors, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: Option<u16>,
    /// Connections that wait for a worker, routing and records each; more are closed, and the programs take those calls
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(0..=4096))]
    queue: u16,
}

impl Verb {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::Serve(verb) => verb.run(env),
        }
    }
}

impl Serve {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        // before anything else: a signal from here on is one to stop or reload
        let signals = guard::signals()?;
        let workers = self.workers.map_or_else(default_workers, usize::from).max(MIN_WORKERS);
        if let Some((listener, line)) = guard::handed_over()? {
            return self.serve(env, listener, line, signals, workers);
        }
        load()?;
        let listener = self.listener()?;
        let address = address(&listener)?;
        let program = std::env::current_exe().map_err(|e| Error::failed(format!("cannot tell its own path: {e}")))?;
        let message = match guard::keep(&listener, &program, signals)? {
            true => "Stopped.",
            false => "Stopped; sessions that did not end in time were cut off.",
        };
        Output::done(message, &json!({ "listen": address.to_string(), "workers": workers }))
    }

    /// The server itself, below its guard.
    fn serve(
        &self,
        env: &mut Env<'_>,
        listener: TcpListener,
        line: Line,
        mut signals: Signals,
        workers: usize,
    ) -> Result<Output> {
        end_on_panic();
        let config = load()?;
        let address = address(&listener)?;
        let server = Server::start(listener, config, Limits { workers, queue: usize::from(self.queue) })?;
        env.progress(&format!("listening on {address}, {workers} workers"));
        line.beat();
        while let Some(SIGHUP) = signals.forever().next() {
            match load() {
                Ok(config) => {
                    server.reload(config);
                    env.progress("configuration read again");
                }
                // the calls go on
                Err(error) => log::error!("the configuration stays as it was: {}", error.message),
            }
        }
        env.progress("stopping");
        Line::end(server.stop(PATIENCE))
    }

    fn listener(&self) -> Result<TcpListener> {
        let listener = match systemd::listener()? {
            Some(listener) => listener,
            None => {
                self.allow(self.listen)?;
                TcpListener::bind(self.listen).map_err(|e| {
                    let kind = match e.kind() {
                        std::io::ErrorKind::AddrInUse => Kind::Conflict,
                        std::io::ErrorKind::PermissionDenied => Kind::Permission,
                        _ => Kind::Failed,
                    };
                    Error::new(kind, format!("cannot listen on {}: {e}", self.listen))
                        .hint("ss -ltnp shows what listens there.")
                })?
            }
        };
        self.allow(address(&listener)?)?;
        Ok(listener)
    }

    fn allow(&self, address: SocketAddr) -> Result<()> {
        if address.ip().to_canonical().is_loopback() || self.allow_remote {
            return Ok(());
        }
        Err(Error::new(
            Kind::Usage,
            format!("{address} can be reached from other machines, and FastAGI knows no passwords"),
        )
        .hint("Listen on 127.0.0.1, or let a firewall pass Asterisk alone and add --allow-remote."))
    }
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| Error::failed(format!("cannot tell where it listens: {e}")))
}

fn load() -> Result<Config> {
    let config = Config::load()?;
    server::check(&config)?;
    Ok(config)
}

fn default_workers() -> usize {
    thread::available_parallelism().map_or(4, |n| (2 * n.get()).max(4))
}

/// A panic is a fault in this program: nothing is known about the state it left. A panic ends the process in every
/// build as in a release, where panics do not unwind: the programs take over each session in its attempt, and systemd
/// starts the server again.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
