//! The FastAGI server: what the two AGI programs do, over TCP and without a process for each call.
//!
//! One thread accepts and reads what each session is for; workers, each with a database connection of its own, attend
//! to one session at a time. Callers go first. Records, for which nobody waits, take no more than half of the
//! workers: one that waits for a locked row or a slow back end holds up no caller.
//!
//! A session that cannot be attended to soon is closed, and one that fails is left unanswered: the dialplan then
//! starts the program. That is safe at any point: claiming and logging are done once, however often they are asked
//! for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::agi::session::{AgiError, Session};
use crate::agi::{cc_route, cdr_logger};
use crate::config::Config;
use crate::delivery::Sink;
use crate::pg::{self, Kept};
use crate::{Error, Kind, Result, store};

/// How it names itself to the database and in logs.
const PROGRAM: &str = "capconduit agi serve";

/// How long a connection may wait for a worker. The caller waits too, and a program starts sooner.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// One for callers, one for records.
pub const MIN_WORKERS: usize = 2;
/// How many connections may not have said yet what they are for. Asterisk says it at once: beyond this, the one that
/// has been silent for longest is closed.
const MAX_ARRIVING: usize = 256;
/// An environment block of Asterisk has one or two thousand bytes.
const MAX_ENVIRONMENT: usize = 64 << 10;
/// How long the environment block may take: Asterisk sends it at once.
const ENVIRONMENT_TIME: Duration = Duration::from_secs(5);
/// How long Asterisk may take for all its replies together, what it is asked in between included.
const SESSION_TIME: Duration = Duration::from_secs(30);

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions at once, at least [`MIN_WORKERS`]; each worker has a database connection. Records take at
    /// most half of them.
    pub workers: usize,
    /// Connections that wait for a worker, routing and records each.
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
    /// For each kind, whether the overload was logged already.
    overloaded: [AtomicBool; 2],
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// A caller waits for it.
    Route,
    /// Nobody waits for it, except a channel that has hung up.
    Record,
}

/// Where connections and workers meet.
#[derive(Default)]
struct Desk {
    /// Connections that wait, in the order in which they came: callers, and records.
    waiting: [VecDeque<Waiting>; 2],
    /// How many of each may wait when no worker is free.
    seats: usize,
    workers: usize,
    /// How many workers attend to callers, and how many to records.
    attended: [usize; 2],
    /// The last worker to finish is the next to work: its connection and its server process have at hand what a call
    /// needs, and workers that are not needed sleep.
    idle: Vec<Thread>,
    stopping: bool,
}

/// A connection that no worker has taken yet.
struct Waiting {
    stream: TcpStream,
    since: Instant,
    /// What has been read of it: its environment block, at least.
    received: Vec<u8>,
}

impl Waiting {
    fn is_late(&self) -> bool {
        self.since.elapsed() > MAX_WAIT
    }
}

impl Desk {
    /// How many records may be attended to at once: the other workers are for callers alone.
    fn most_records(&self) -> usize {
        (self.workers / 2).max(1)
    }

    /// How many more sessions of this kind workers could begin at once.
    fn free(&self, task: Task) -> usize {
        let free = self.workers.saturating_sub(self.attended.iter().sum());
        match task {
            Task::Route => free,
            Task::Record => free.min(self.most_records().saturating_sub(self.attended[Task::Record as usize])),
        }
    }

    /// What a free worker does next. Callers go first, except that records get a quarter of the workers: else, in a
    /// busy hour, all records would be left to programs, which cost a call more.
    fn choose(&self) -> Option<Task> {
        let [callers, records] = self.waiting.each_ref().map(|waiting| !waiting.is_empty());
        let with_records = self.attended[Task::Record as usize];
        let records = records && with_records < self.most_records();
        if records && (!callers || 4 * with_records < self.workers) {
            Some(Task::Record)
        } else if callers {
            Some(Task::Route)
        } else {
            None
        }
    }
}

/// Whether this configuration can be served with.
///
/// # Errors
/// A setting that a call would stumble over.
pub fn check(config: &Config) -> Result<()> {
    pg::database_config(config, PROGRAM)?;
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
            desk: Mutex::new(Desk { seats: limits.queue, workers: limits.workers, ..Desk::default() }),
            overloaded: Default::default(),
        });
        let (alive, ended) = mpsc::channel();
        for _ in 0..limits.workers {
            let (shared, alive) = (Arc::clone(&shared), alive.clone());
            spawn(move || work(&shared, alive))?;
        }
        let server = Server { shared: Arc::clone(&shared), ended };
        listener.set_nonblocking(true).map_err(|e| Error::failed(format!("cannot listen: {e}")))?;
        spawn(move || receive(&listener, &shared))?;
        Ok(server)
    }

    /// Serves the sessions that begin from now on with another configuration, on new connections.
    pub fn reload(&self, config: Config) {
        *lock(&self.shared.config) = Arc::new(config);
    }

    /// Takes no more sessions and waits this long for those that have begun. Returns whether all ended.
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

/// A connection that has not said yet what it is for.
struct Arriving(Waiting);

/// What became of one.
enum Arrival {
    /// There is more to come.
    Silent,
    /// Its environment block is here.
    Ready(Task),
    /// It is closed, or not Asterisk's.
    Over,
}

impl Arriving {
    /// Takes what is here, without waiting.
    fn read(&mut self) -> Arrival {
        let Waiting { stream, received, .. } = &mut self.0;
        let mut part = [0; 4096];
        loop {
            match stream.read(&mut part) {
                Ok(0) => return Arrival::Over,
                Ok(count) => {
                    // an empty line may have begun before
                    let seen = received.len().saturating_sub(2);
                    received.extend_from_slice(&part[..count]);
                    if has_empty_line(received, seen) {
                        return Arrival::Ready(task(received));
                    }
                    if received.len() > MAX_ENVIRONMENT {
                        return Arrival::Over;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Arrival::Silent,
                Err(_) => return Arrival::Over,
            }
        }
    }
}

/// Whether there is an empty line that ends after `from`.
fn has_empty_line(received: &[u8], from: usize) -> bool {
    let rest = &received[from..];
    received.starts_with(b"\n")
        || received.starts_with(b"\r\n")
        || rest.windows(2).any(|bytes| bytes == b"\n\n")
        || rest.windows(3).any(|bytes| bytes == b"\n\r\n")
}

/// What a session with this environment is for. An unknown one goes with the callers, and is refused there.
fn task(environment: &[u8]) -> Task {
    let script = environment.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"agi_network_script:"));
    match script.map(<[u8]>::trim_ascii) {
        Some(b"log") => Task::Record,
        _ => Task::Route,
    }
}

/// Accepts connections, hears what each is for, and closes those that wait too long. Nothing here waits for a single
/// one.
fn receive(listener: &TcpListener, shared: &Shared) {
    let mut arriving: VecDeque<Arriving> = VecDeque::new();
    loop {
        let oldest = arriving.front().map(|Arriving(waiting)| waiting.since + ENVIRONMENT_TIME);
        let next = [oldest, shared.give_up()].into_iter().flatten().min();
        let ready = match look(listener, &arriving, next) {
            Ok(ready) => ready,
            Err(e) => {
                log::error!("cannot wait for connections: {e}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let mut ready = ready.into_iter();
        let is_new = ready.next().unwrap_or(false);
        for mut connection in std::mem::take(&mut arriving) {
            let arrival = if ready.next().unwrap_or(false) { connection.read() } else { Arrival::Silent };
            match arrival {
                Arrival::Ready(task) => shared.offer(connection.0, task),
                Arrival::Silent if connection.0.since.elapsed() < ENVIRONMENT_TIME => arriving.push_back(connection),
                Arrival::Silent | Arrival::Over => {}
            }
        }
        if is_new {
            accept(listener, shared, &mut arriving);
        }
    }
}

/// Waits until this time for something to do: whether there is a new connection, and of each of the others,
/// whether it has said something.
fn look(listener: &TcpListener, arriving: &VecDeque<Arriving>, until: Option<Instant>) -> io::Result<Vec<bool>> {
    let mut all = vec![PollFd::new(listener, PollFlags::IN)];
    all.extend(arriving.iter().map(|Arriving(waiting)| PollFd::new(&waiting.stream, PollFlags::IN)));
    // a little longer, so that the time is over on return
    let left = until.map(|until| until.saturating_duration_since(Instant::now()) + Duration::from_millis(2));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut all, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(all.iter().map(|one| !one.revents().is_empty()).collect()),
        Err(e) => Err(e.into()),
    }
}

/// Takes all new connections.
fn accept(listener: &TcpListener, shared: &Shared, arriving: &mut VecDeque<Arriving>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // it was closed again
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => continue,
            Err(e) => {
                log::error!("cannot accept: {e}");
                // out of descriptors: sessions that end free some
                thread::sleep(Duration::from_millis(100));
                return;
            }
        };
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        let mut connection = Arriving(Waiting { stream, since: Instant::now(), received: Vec::new() });
        match connection.read() {
            Arrival::Ready(task) => shared.offer(connection.0, task),
            Arrival::Silent => {
                if arriving.len() >= MAX_ARRIVING {
                    arriving.pop_front();
                }
                arriving.push_back(connection);
            }
            Arrival::Over => {}
        }
    }
}

impl Shared {
    /// Lets a connection wait for a worker. Where too many do, it is closed at once.
    fn offer(&self, connection: Waiting, task: Task) {
        if connection.stream.set_nonblocking(false).is_err() {
            return;
        }
        let mut desk = lock(&self.desk);
        if desk.stopping {
            return;
        }
        // a connection that a free worker is about to take needs no seat
        if desk.waiting[task as usize].len() >= desk.seats + desk.free(task) {
            drop(desk);
            return self.note(task, true);
        }
        desk.waiting[task as usize].push_back(connection);
        if desk.free(task) > 0
            && let Some(worker) = desk.idle.pop()
        {
            worker.unpark();
        }
    }

    /// Closes the connections that have waited too long. Returns when the next one will have.
    fn give_up(&self) -> Option<Instant> {
        let mut desk = lock(&self.desk);
        let mut late = [false; 2];
        for (waiting, late) in desk.waiting.iter_mut().zip(&mut late) {
            while waiting.front().is_some_and(Waiting::is_late) {
                waiting.pop_front();
                *late = true;
            }
        }
        let next = desk.waiting.iter().filter_map(|waiting| Some(waiting.front()?.since + MAX_WAIT)).min();
        drop(desk);
        for task in [Task::Route, Task::Record] {
            if late[task as usize] {
                self.note(task, true);
            }
        }
        next
    }

    /// Waits for the next connection. `done` is closed only once this worker counts as free, so that the next caller
    /// finds it so. None: the server stops, and the workers that are still busy take what is left.
    fn next(&self, mut done: Option<(TcpStream, Task)>) -> Option<(Waiting, Task)> {
        let mut desk = lock(&self.desk);
        if let Some((_, task)) = done {
            desk.attended[task as usize] -= 1;
        }
        loop {
            if let Some(task) = desk.choose()
                && let Some(connection) = desk.waiting[task as usize].pop_front()
            {
                let late = connection.is_late();
                desk.attended[task as usize] += usize::from(!late);
                drop(desk);
                self.note(task, late);
                if !late {
                    return Some((connection, task));
                }
                desk = lock(&self.desk);
                continue;
            }
            if desk.stopping {
                return None;
            }
            let me = thread::current();
            // it may have been woken for nothing
            desk.idle.retain(|worker| worker.id() != me.id());
            desk.idle.push(me);
            drop(desk);
            drop(done.take());
            thread::park();
            desk = lock(&self.desk);
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
    fn note(&self, task: Task, overloaded: bool) {
        if self.overloaded[task as usize].swap(overloaded, Ordering::Relaxed) != overloaded {
            let what = match (task, overloaded) {
                (Task::Route, true) => {
                    "all workers are busy: calls go to the programs (more --workers, or a slow database?)"
                }
                (Task::Route, false) => "workers are free again",
                (Task::Record, true) => {
                    "records wait too long: they go to the program, calls are routed as before (a transaction that \
                     holds a campaign's row, a slow back end or database, or more --workers?)"
                }
                (Task::Record, false) => "records wait no longer",
            };
            log::error!("{what}");
        }
    }
}

/// A worker's connections to the database.
struct Sessions {
    database: Kept,
    /// The connection for records, where they go another way.
    records: Option<(Config, Kept)>,
}

impl Sessions {
    fn of(config: &Config) -> Sessions {
        let records = config.records_database().map(|_| (config.for_records(), Kept::default()));
        Sessions { database: Kept::default(), records }
    }
}

/// Attends to one session after the other. `_alive` ends with it.
fn work(shared: &Shared, _alive: Sender<Infallible>) {
    let mut config = Arc::clone(&lock(&shared.config));
    let mut sessions = Sessions::of(&config);
    let mut done = None;
    while let Some((connection, task)) = shared.next(done) {
        let current = Arc::clone(&lock(&shared.config));
        if !Arc::ptr_eq(&config, &current) {
            sessions = Sessions::of(&current);
            config = current;
        }
        match attend(&connection, &config, &mut sessions) {
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
        done = Some((connection.stream, task));
    }
}

/// One session of the program that the URL names. A failure, whatever its cause, is left unanswered: it may be this
/// server's own fault (a connection that hangs, a login that has changed).
fn attend(connection: &Waiting, config: &Config, sessions: &mut Sessions) -> Result<Result<()>, AgiError> {
    let Waiting { stream, received, .. } = connection;
    stream.set_nodelay(true)?;
    let deadline = Instant::now() + SESSION_TIME;
    let wire = || Wire { stream, deadline };
    let mut session = Session::start(BufReader::new(Cursor::new(received).chain(wire())), wire())?;
    match session.environment("agi_network_script") {
        Some(b"route") => cc_route::attend(&mut session, Ok(config), |config, request| {
            sessions.database.run(config, PROGRAM, move |client| store::route::claim(client, &request))
        }),
        Some(b"log") => {
            let (config, database) = match &mut sessions.records {
                Some((config, database)) => (&*config, database),
                None => (config, &mut sessions.database),
            };
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
    deadline: Instant,
}

impl Wire<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
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
