//! The FastAGI server: what the two AGI programs do, over TCP and without a process for each call.
//!
//! A thread accepts; workers, each with a database connection of its own, attend to one session at a
//! time. What cannot be attended to soon is closed, and what is asked in vain is left unanswered:
//! the dialplan then starts the program. That is safe at any point, because claiming and logging
//! are done once however often they are asked for.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::session::{AgiError, Session};
use super::{cc_route, cdr_logger};
use crate::config::Config;
use crate::delivery::Sink;
use crate::store::{self, Kept};
use crate::{Error, Kind, Result};

/// How it names itself to the database and in logs.
const PROGRAM: &str = "capconduit agi serve";

/// How long a connection may wait for a worker. The caller waits too, and a program starts sooner.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long the environment block may take: Asterisk sends it at once.
const ENVIRONMENT_TIME: Duration = Duration::from_secs(5);
/// How long Asterisk may take for all its replies together, what it is asked in between included.
const SESSION_TIME: Duration = Duration::from_secs(30);

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions at once; each worker has a database connection.
    pub workers: usize,
    /// Connections that wait for a worker.
    pub queue: usize,
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    /// Ends when the last worker has ended; nothing is ever sent.
    ended: Receiver<Infallible>,
}

/// What its threads share.
struct Shared {
    config: Mutex<Arc<Config>>,
    desk: Mutex<Desk>,
    overloaded: AtomicBool,
}

/// Where connections and workers meet.
#[derive(Default)]
struct Desk {
    waiting: VecDeque<Waiting>,
    /// How many may wait when no worker is idle.
    seats: usize,
    /// The one that has worked last is the next to work: its connection and the server process behind it
    /// have all at hand that a call needs, and those that are not needed sleep.
    idle: Vec<Thread>,
    stopping: bool,
}

/// A connection that no worker has taken yet.
struct Waiting {
    stream: TcpStream,
    since: Instant,
}

/// Whether this configuration can be served with.
///
/// # Errors
/// A setting that a call would stumble over.
pub fn check(config: &Config) -> Result<()> {
    store::database_config(config, PROGRAM)?;
    config.connect_timeout()?;
    config.number_rules()?;
    Sink::of(config).map(|_| ())
}

impl Server {
    /// Starts to serve. The listener stays open for as long as this process runs.
    ///
    /// # Errors
    /// The system allows no more threads.
    pub fn start(listener: TcpListener, config: Config, limits: Limits) -> Result<Server> {
        let shared = Arc::new(Shared {
            config: Mutex::new(Arc::new(config)),
            desk: Mutex::new(Desk { seats: limits.queue, ..Desk::default() }),
            overloaded: AtomicBool::new(false),
        });
        let (alive, ended) = mpsc::channel();
        for _ in 0..limits.workers {
            let (shared, alive) = (Arc::clone(&shared), alive.clone());
            spawn(move || work(&shared, alive))?;
        }
        let server = Server { shared: Arc::clone(&shared), ended };
        spawn(move || accept(&listener, &shared))?;
        Ok(server)
    }

    /// Serves the sessions that begin from now on with another configuration, on new connections.
    pub fn reload(&self, config: Config) {
        *lock(&self.shared.config) = Arc::new(config);
    }

    /// Takes no more sessions and waits for those that have begun, for this long. Whether all ended.
    #[must_use]
    pub fn stop(self, patience: Duration) -> bool {
        // the workers end with what is left in it
        let mut desk = lock(&self.shared.desk);
        desk.stopping = true;
        desk.idle.drain(..).for_each(|worker| worker.unpark());
        drop(desk);
        matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .spawn(body)
        .map(|_| ())
        .map_err(|e| Error::failed(format!("cannot start a thread: {e}")).hint("Ask for fewer --workers."))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => shared.offer(stream),
            Err(e) => {
                log::error!("cannot accept: {e}");
                // out of descriptors: sessions that end free some
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

impl Shared {
    /// Lets a connection wait for a worker. Where too many do, it is closed at once.
    fn offer(&self, stream: TcpStream) {
        let mut desk = lock(&self.desk);
        if desk.stopping {
            return;
        }
        // those whom an idle worker is about to take have no need of a seat
        if desk.waiting.len() >= desk.seats + desk.idle.len() {
            drop(desk);
            return self.note(true);
        }
        desk.waiting.push_back(Waiting { stream, since: Instant::now() });
        if let Some(worker) = desk.idle.pop() {
            worker.unpark();
        }
    }

    /// Waits for a connection to attend to. None: the server stops, and none is left.
    fn next(&self) -> Option<Waiting> {
        loop {
            let mut desk = lock(&self.desk);
            if let Some(waiting) = desk.waiting.pop_front() {
                return Some(waiting);
            }
            if desk.stopping {
                return None;
            }
            let me = thread::current();
            // it may have been woken for nothing
            desk.idle.retain(|worker| worker.id() != me.id());
            desk.idle.push(me);
            drop(desk);
            thread::park();
        }
    }

    /// The env file may name another login since this configuration was read.
    fn look_for_another_login(&self, config: &Arc<Config>) {
        let Ok(new) = Config::load() else { return };
        let mut current = lock(&self.config);
        if Arc::ptr_eq(&current, config) && new.database_url() != config.database_url() && check(&new).is_ok() {
            log::error!("the env file has another DATABASE_URL: it is read again");
            *current = Arc::new(new);
        }
    }

    /// Says once, not for each call, that there is more to do than can be done.
    fn note(&self, overloaded: bool) {
        if self.overloaded.swap(overloaded, Ordering::Relaxed) != overloaded {
            let what = if overloaded {
                "all workers are busy: calls go to the programs (more --workers, or a slow database?)"
            } else {
                "workers are free again"
            };
            log::error!("{what}");
        }
    }
}

/// Attends to one session after the other. `_alive` ends with it.
fn work(shared: &Shared, _alive: Sender<Infallible>) {
    let mut config = Arc::clone(&lock(&shared.config));
    let mut database = Kept::default();
    loop {
        let Some(Waiting { stream, since }) = shared.next() else { return };
        let late = since.elapsed() > MAX_WAIT;
        shared.note(late);
        if late {
            continue;
        }
        let current = Arc::clone(&lock(&shared.config));
        if !Arc::ptr_eq(&config, &current) {
            (config, database) = (current, Kept::default());
        }
        match attend(&stream, &config, &mut database) {
            Ok(Ok(())) => {}
            // The program stands in, and says so where it fails, too.
            Ok(Err(error)) => {
                log::error!("left to the program: {}", error.message);
                if error.kind == Kind::Permission {
                    shared.look_for_another_login(&config);
                }
            }
            Err(error) => log::info!("{error}"),
        }
    }
}

/// One session: the program that the URL names. What is in vain here, for whatever reason, is left
/// unanswered: it may be this server's own fault (a connection that hangs, a login that has changed).
fn attend(stream: &TcpStream, config: &Config, database: &mut Kept) -> Result<Result<()>, AgiError> {
    stream.set_nodelay(true)?;
    let deadline = Cell::new(Instant::now() + ENVIRONMENT_TIME);
    let wire = || Wire { stream, deadline: &deadline };
    let mut session = Session::start(BufReader::new(wire()), wire())?;
    deadline.set(Instant::now() + SESSION_TIME);
    match session.environment("agi_network_script") {
        Some(b"route") => cc_route::attend(&mut session, Ok(config), |config, request| {
            database.run(config, PROGRAM, move |client| store::route::claim(client, &request))
        }),
        Some(b"log") => {
            let delivered = cdr_logger::deliver(&mut session, config, |config, work| {
                database.run(config, PROGRAM, move |client| work.clone().run(client))
            })?;
            if delivered.is_ok() {
                // to Asterisk, a server that does nothing is a success: only this says that it is done
                session.set_variables(&[("CC_LOGGED", "1")])?;
            }
            Ok(delivered)
        }
        _ => {
            let line = format!("{PROGRAM}: the URL must end in /route or /log");
            log::error!("{line}");
            session.log("ERROR", &line)?;
            Err(AgiError::Protocol("unknown script"))
        }
    }
}

/// A connection whose reads and writes all end by one deadline, however slowly bytes drip.
struct Wire<'a> {
    stream: &'a TcpStream,
    deadline: &'a Cell<Instant>,
}

impl Wire<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        // the system takes none for no limit
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
