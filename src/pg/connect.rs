//! Reaching the database within a bounded time, whatever servers and networks do.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::config::{Host, SslMode};
use postgres::error::SqlState;

use crate::config::Config;
use crate::pg::encrypted::Encryption;
use crate::pg::error::{Refused, encryption_failure};
use crate::pg::settings::Settings;
use crate::pg::tls::Mode;
use crate::pg::url::parse_url;
use crate::pg::wire::Connection;
use crate::{Error, Kind, Result};

/// How long a program that a call waits for lets a statement take. The functions it calls wait for
/// locks for less.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the configured database. All its hosts together get the connect timeout, also where one accepts and
/// never answers, or swallows packets.
///
/// # Errors
/// [`Kind::Unreachable`] where no server answers in time; [`Kind::Permission`] where the last one
/// refuses the login; [`Kind::Invalid`] where the URL does not parse.
pub fn connect(config: &Config, application_name: &str) -> Result<Client> {
    connect_to(&database_config(config, application_name)?, config.connect_timeout()?)
}

/// [`connect`] with settings that are not this program's own: Asterisk's login, for a check of it.
///
/// # Errors
/// As [`connect`].
pub fn connect_to(database: &Settings, timeout: Duration) -> Result<Client> {
    first(database, timeout, |candidate, _| each_way(&candidate, connect_once))
}

/// [`connect`] for what is asked on behalf of a call.
///
/// # Errors
/// As [`connect`], but a bad configuration is [`Kind::Failed`]: the call's data is not at fault.
pub fn open(config: &Config, application_name: &str) -> Result<Connection> {
    let opened =
        database_config(config, application_name).and_then(|database| open_to(&database, config.connect_timeout()?));
    opened.map_err(|error| match error.kind {
        Kind::Invalid => Error { kind: Kind::Failed, ..error },
        _ => error,
    })
}

/// [`open`] with these settings.
///
/// # Errors
/// As [`connect`].
pub fn open_to(database: &Settings, timeout: Duration) -> Result<Connection> {
    if !is_prompt(database) {
        return first(database, timeout, |candidate, deadline| {
            each_way(&candidate, |one| Connection::open(one, deadline))
        });
    }
    let deadline = Instant::now() + timeout;
    each_way(database, |one| Connection::open(one, deadline))
        .map_err(|error| placed(if Instant::now() < deadline { error } else { no_answer(timeout) }, database))
}

/// Connects to a host with encryption, without, or trying both in turn, as `sslmode` says.
fn each_way<T>(host: &Settings, connect: impl Fn(&Settings) -> Result<T, Refused>) -> Result<T> {
    let ways: &[SslMode] = match host.tls.mode_for(host.get_hosts()) {
        Mode::Disable => &[SslMode::Disable],
        _ if matches!(host.get_hosts(), [Host::Unix(_)]) => &[SslMode::Disable],
        Mode::Allow => &[SslMode::Disable, SslMode::Require],
        Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
    };
    let mut refused = None;
    for way in ways {
        let mut one = host.clone();
        one.ssl_mode(*way);
        match connect(&one) {
            Ok(connection) => return Ok(connection),
            Err(Refused { error, otherwise: true }) => refused = refused.or(Some(error)),
            Err(Refused { error, .. }) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::failed("database: no way to connect")))
}

fn connect_once(one: &Settings) -> Result<Client, Refused> {
    let encryption = Encryption { tls: one.tls.clone(), host: one.get_hosts().first().cloned() };
    one.connect(encryption).map_err(|e| Refused {
        otherwise: e.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || encryption_failure(&e).is_some(),
        error: Error::from(e),
    })
}

/// Whether every step of connecting has a time limit: one host with a known address. Looking a name up has none.
fn is_prompt(database: &Settings) -> bool {
    match database.get_hosts() {
        [Host::Unix(_)] => true,
        [Host::Tcp(name)] => database.get_hostaddrs().len() == 1 || name.parse::<IpAddr>().is_ok(),
        _ => false,
    }
}

/// Tries each host in turn with `attempt`, until a deadline.
fn first<T: Send + 'static>(
    database: &Settings,
    timeout: Duration,
    attempt: impl Fn(Settings, Instant) -> Result<T> + Clone + Send + 'static,
) -> Result<T> {
    let candidates = one_host_each(database);
    let deadline = Instant::now() + timeout;
    let (clients, connected) = mpsc::channel();
    let (mut failure, mut waiting) = (None, 0_u32);
    let mut untried = candidates.into_iter();
    loop {
        let share = match untried.next() {
            Some(candidate) => {
                let (clients, attempt) = (clients.clone(), attempt.clone());
                // Not every step has a time limit. A thread that still waits at the deadline is left behind, and its
                // connection is dropped.
                thread::spawn(move || {
                    let _ = clients.send(attempt(candidate, deadline));
                });
                waiting += 1;
                let left = deadline.saturating_duration_since(Instant::now());
                left / u32::try_from(untried.len() + 1).unwrap_or(1)
            }
            None if waiting > 0 => deadline.saturating_duration_since(Instant::now()),
            None => break,
        };
        match connected.recv_timeout(share) {
            Ok(Ok(client)) => {
                log::debug!("connected to one of {}", place(database));
                return Ok(client);
            }
            Ok(Err(error)) => {
                waiting -= 1;
                log::debug!("{}", error.message);
                failure = Some(error);
            }
            Err(_) if untried.len() == 0 => break,
            Err(_) => {}
        }
    }
    Err(placed(failure.unwrap_or_else(|| no_answer(timeout)), database))
}

fn no_answer(timeout: Duration) -> Error {
    crate::pg::error::unreachable(&format!("no answer within {} s", timeout.as_secs_f32()))
}

/// Adds to an error where the database was looked for, if that matters.
fn placed(mut error: Error, database: &Settings) -> Error {
    if error.kind == Kind::Unreachable {
        error.message = format!("{} ({})", error.message, place(database));
    }
    error
}

/// Connects and runs one piece of work, for a program that a call waits for: both are bounded.
///
/// # Errors
/// As [`open`]; [`Kind::Unreachable`] where the answer takes too long, in which case the work may or may
/// not have been done; else what the work says.
pub fn with_deadline<T>(config: &Config, program: &str, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
    bounded(&mut open(config, program)?, STATEMENT_TIMEOUT, work)
}

/// Runs a piece of work that is given up when it takes longer.
pub(super) fn bounded<T>(
    connection: &mut Connection,
    limit: Duration,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    connection.allow(Some(limit));
    work(connection).map_err(|error| match error.kind {
        Kind::Unreachable if begun.elapsed() >= limit => {
            let seconds = limit.as_secs_f32();
            Error::new(Kind::Unreachable, format!("the database did not answer within {seconds} s"))
        }
        _ => error,
    })
}

/// The connection settings, from the database URL. What the URL says goes first.
///
/// # Errors
/// [`Kind::Invalid`] where the URL does not parse. The URL is not repeated: it may hold a password.
pub fn database_config(config: &Config, application_name: &str) -> Result<Settings> {
    let mut database = config_of(config.database_url().as_deref(), application_name)?;
    if let Some(name) = config.database_name() {
        database.dbname(&name);
    }
    Ok(database)
}

/// As [`database_config`], for Asterisk's realtime: `ASTERISK_DATABASE_URL`, else the same database.
///
/// # Errors
/// As [`database_config`].
pub fn asterisk_config(config: &Config) -> Result<Settings> {
    config_of(config.get("ASTERISK_DATABASE_URL").or_else(|| config.database_url()).as_deref(), "asterisk")
}

/// Whether the configured server lets this login in with this password.
///
/// # Errors
/// [`Kind::Unreachable`] where it cannot be asked.
pub fn accepts(config: &Config, login: &str, password: &str) -> Result<bool> {
    let mut database = database_config(config, "capconduit")?;
    database.user(login).password(password).connect_timeout(config.connect_timeout()?);
    match each_way(&database, connect_once) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::Permission => Ok(false),
        Err(error) => Err(error),
    }
}

/// The settings that a URL stands for; without one, the local socket.
///
/// # Errors
/// As [`database_config`].
pub fn config_of(url: Option<&str>, application_name: &str) -> Result<Settings> {
    let mut database = match url {
        Some(url) => parse_url(url)?,
        None => Settings::default(),
    };
    if database.get_hosts().is_empty() && database.get_hostaddrs().is_empty() {
        database.host_path("/var/run/postgresql");
    }
    if database.get_dbname().is_none() {
        database.dbname("capconduit");
    }
    if database.get_application_name().is_none() {
        database.application_name(application_name);
    }
    // a server that vanishes in the middle of a statement is noticed within this time
    if database.get_tcp_user_timeout().is_none() {
        database.tcp_user_timeout(Duration::from_secs(10));
    }
    // Keepalives stop a firewall from forgetting an idle connection, or show that it did. Two hours is the library's
    // default: any other value is the URL's, and stays.
    if database.get_keepalives_idle() == Duration::from_secs(2 * 60 * 60) {
        database.keepalives_idle(Duration::from_secs(30));
    }
    if database.get_keepalives_interval().is_none() {
        database.keepalives_interval(Duration::from_secs(10));
    }
    if database.get_keepalives_retries().is_none() {
        database.keepalives_retries(3);
    }
    Ok(database)
}

/// The same settings for each host alone.
fn one_host_each(database: &Settings) -> Vec<Settings> {
    let hosts = database.get_hosts();
    if hosts.len() < 2 {
        return vec![database.clone()];
    }
    let ports = database.get_ports();
    let addresses = database.get_hostaddrs();
    hosts
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let mut one = Settings::new(postgres::Config::new(), database.tls.clone());
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            if let Some(address) = addresses.get(index) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                one.port(*port);
            }
            if let Some(user) = database.get_user() {
                one.user(user);
            }
            if let Some(password) = database.get_password() {
                one.password(password);
            }
            if let Some(name) = database.get_dbname() {
                one.dbname(name);
            }
            if let Some(options) = database.get_options() {
                one.options(options);
            }
            if let Some(name) = database.get_application_name() {
                one.application_name(name);
            }
            if let Some(timeout) = database.get_connect_timeout() {
                one.connect_timeout(*timeout);
            }
            if let Some(timeout) = database.get_tcp_user_timeout() {
                one.tcp_user_timeout(*timeout);
            }
            one.ssl_mode(database.get_ssl_mode())
                .channel_binding(database.get_channel_binding())
                .target_session_attrs(database.get_target_session_attrs())
                .keepalives(database.get_keepalives())
                .keepalives_idle(database.get_keepalives_idle());
            if let Some(interval) = database.get_keepalives_interval() {
                one.keepalives_interval(interval);
            }
            if let Some(retries) = database.get_keepalives_retries() {
                one.keepalives_retries(retries);
            }
            one
        })
        .collect()
}

/// Where the database was looked for: hosts, ports and name, no user and no password.
fn place(database: &Settings) -> String {
    let ports = database.get_ports();
    let hosts: Vec<String> = database
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("{}, database {}", hosts.join(", "), database.get_dbname().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlalchemy_urls_are_understood() {
        let database = parse_url("postgresql+psycopg2://u:p@db:5433/cc").expect("valid");
        assert_eq!(place(&database), "db:5433, database cc");
    }

    #[test]
    fn each_host_keeps_its_port_and_the_common_settings() {
        let url = "postgresql://u:p@a:1,b:2/cc?target_session_attrs=read-write&application_name=x";
        let each = one_host_each(&parse_url(url).expect("valid"));
        assert_eq!(each.iter().map(place).collect::<Vec<_>>(), ["a:1, database cc", "b:2, database cc"]);
        for one in each {
            assert_eq!((one.get_user(), one.get_password()), (Some("u"), Some(b"p".as_slice())));
            assert_eq!(one.get_target_session_attrs(), postgres::config::TargetSessionAttrs::ReadWrite);
        }
    }
}
