//! The guard of `agi serve`: a parent process that ends a server which stands still, and starts another.
//!
//! In `h` Asterisk waits for a session without any limit. A server that is stopped, swapped out or
//! locked up would hold every hangup, and with it the call's claim, for as long. Once it is killed
//! its connections close, and the dialplan starts the program. The guard keeps the listening socket
//! but takes no connection: it is in no call's way.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::system::systemd;
use crate::{Error, Result};

/// How often a server says that it goes on.
const BEAT: Duration = Duration::from_secs(1);
/// How long a server that says nothing may live: several beats, for a machine that is busy.
const SILENCE: Duration = Duration::from_secs(5);
/// Tells a server that it has a guard.
const GUARDED: &str = "CAPCONDUIT_AGI_GUARDED";
/// The exit code of a server that had to cut sessions off.
const CUT_OFF: i32 = 10;

/// A server's connection to its guard.
pub struct Line(UnixStream);

/// In a server that a guard has started: the listening socket, which is its standard input, and the
/// line, its standard output.
///
/// # Errors
/// They are not what a guard hands over.
pub fn handed_over() -> Result<Option<(TcpListener, Line)>> {
    if std::env::var_os(GUARDED).is_none() {
        return Ok(None);
    }
    let failed = |e: io::Error| Error::failed(format!("cannot take what the guard hands over: {e}"));
    // a server without a guard would hold its port against the next one
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| failed(e.into()))?;
    let listener = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let line = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    Ok(Some((TcpListener::from(listener), Line(UnixStream::from(line)))))
}

impl Line {
    /// Tells the guard from now on that this process goes on. Without a guard it ends.
    pub fn beat(mut self) {
        thread::spawn(move || {
            while self.0.write_all(b".").is_ok() {
                thread::sleep(BEAT);
            }
            std::process::exit(1);
        });
    }

    /// Ends the server. `in_time`: no session was cut off.
    pub fn end(in_time: bool) -> ! {
        std::process::exit(if in_time { 0 } else { CUT_OFF })
    }
}

/// What signals act on: the server, and whether it is to stop.
#[derive(Default)]
struct State {
    /// The server, once it hears signals.
    server: Option<Pid>,
    /// Whether a reload was asked for before that.
    reload: bool,
    stopping: bool,
}

impl State {
    fn pass_on(&mut self) {
        let Some(server) = self.server else { return };
        // the guard has not yet waited for a server that just ended: the id is still its own
        if self.stopping {
            let _ = kill_process(server, Signal::TERM);
        } else if std::mem::take(&mut self.reload) {
            let _ = kill_process(server, Signal::HUP);
        }
    }
}

/// Keeps a server on this socket until a signal stops it. Returns whether no session was cut off.
///
/// # Errors
/// A server cannot be started, or ends before it has begun.
pub fn keep(listener: &TcpListener, program: &Path, mut signals: Signals) -> Result<bool> {
    let state = Arc::new(Mutex::new(State::default()));
    let lock = |state: &Arc<Mutex<State>>| {
        let state = Arc::clone(state);
        move |change: &dyn Fn(&mut State)| change(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let change = lock(&state);
    let heard = lock(&state);
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal != SIGHUP {
                systemd::notify("STOPPING=1");
            }
            heard(&|state| {
                state.stopping |= signal != SIGHUP;
                state.reload |= signal == SIGHUP;
                state.pass_on();
            });
        }
    });
    let mut ready = false;
    loop {
        let mut alive = false;
        let (mut server, line) = start(listener, program)?;
        let pid = Pid::from_child(&server);
        let frozen = watch(line, || {
            alive = true;
            change(&|state| {
                if state.server.replace(pid).is_none() {
                    state.pass_on();
                }
            });
            if !std::mem::replace(&mut ready, true) {
                systemd::notify("READY=1");
            }
            systemd::notify("WATCHDOG=1");
        });
        change(&|state| state.server = None);
        let ended = end(&mut server)?;
        let told = state.lock().unwrap_or_else(PoisonError::into_inner).stopping;
        // A terminal's Ctrl-C and `kill` of the process group reach the server as well, and it may
        // have ended before this process hears of it. By itself it never ends like that.
        let stopped = matches!(ended.code(), Some(0 | CUT_OFF));
        if told || stopped {
            return Ok(!frozen && ended.code() != Some(CUT_OFF));
        }
        if !frozen && !alive {
            return Err(Error::failed(format!("the server ended before it had begun: {ended}")));
        }
        let seconds = SILENCE.as_secs();
        match frozen {
            true => log::error!("the server stood still for {seconds} s: it was ended, and another one begins"),
            false => log::error!("the server has ended ({ended}): another one begins"),
        }
    }
}

/// The signals that a guard passes on.
///
/// # Errors
/// The system refuses.
pub fn signals() -> Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| Error::failed(format!("cannot wait for signals: {e}")))
}

/// Another process of this command line.
fn start(listener: &TcpListener, program: &Path) -> Result<(Child, UnixStream)> {
    let attempt = || {
        let (line, its) = UnixStream::pair()?;
        line.set_read_timeout(Some(SILENCE))?;
        let server = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(GUARDED, "1")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(its)))
            .spawn()?;
        Ok((server, line))
    };
    attempt().map_err(|e: io::Error| Error::io("start", program, &e))
}

/// Hears a server's beats until it has ended; returns whether it stands still instead.
fn watch(mut line: UnixStream, mut beat: impl FnMut()) -> bool {
    let mut beats = [0; 64];
    loop {
        match line.read(&mut beats) {
            Ok(0) => return false,
            Ok(_) => beat(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Ends a server, if it has not ended.
fn end(server: &mut Child) -> Result<ExitStatus> {
    let failed = |e: io::Error| Error::failed(format!("cannot end the server: {e}"));
    // One that is ending by itself has closed its line: give it the moment for its exit status.
    for _ in 0..20 {
        if let Some(status) = server.try_wait().map_err(failed)? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    server.kill().map_err(failed)?;
    server.wait().map_err(failed)
}
