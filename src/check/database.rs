//! The database: its schema, clock and room, and Asterisk's own login to it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Client;

use crate::check::Area;
use crate::pg::Settings;
use crate::store::health::{self, Health};
use crate::store::migrate::{self, State};
use crate::store::needs::{self, Need, Weight};
use crate::words::some_of;
use crate::{Error, Kind, Result, pg};

/// Calls are short transactions, but each of their programs has a connection of its own.
const FEW_CONNECTIONS: i64 = 20;

/// Looks at the database that this program is configured for.
#[must_use]
pub fn check(db: &mut Client) -> Area {
    let mut area = Area::new("database");
    schema(&mut area, db);
    match needs::needs(db) {
        Ok(needs) => needs.iter().for_each(|need| self::need(&mut area, need)),
        Err(e) => area.unknown("server", e.message, "Ask again."),
    }
    let before = Utc::now();
    match health::health(db) {
        Ok(health) => {
            let middle = before + (Utc::now() - before) / 2;
            connections(&mut area, &health);
            clock(&mut area, health.now, middle);
        }
        Err(e) => area.unknown("server", e.message, "Ask again."),
    }
    area
}

fn schema(area: &mut Area, db: &mut Client) {
    let steps = match migrate::status(db) {
        Ok(steps) => steps,
        Err(e) => return area.error("schema", e.message, "capconduit db status"),
    };
    let named = |states: [State; 2]| -> Vec<&str> {
        steps.iter().filter(|step| states.contains(&step.state)).map(|step| step.name.as_str()).collect()
    };
    let (behind, foreign) = (named([State::Pending, State::Changed]), named([State::Mismatch, State::Unknown]));
    if !behind.is_empty() {
        let why = format!("the schema is behind this program: {}", some_of(&behind));
        area.error("schema", why, "capconduit db migrate");
    }
    if !foreign.is_empty() {
        let why = format!("the schema is another release's: {}", some_of(&foreign));
        area.error("schema", why, "Use the capconduit release that belongs to this database.");
    }
    if behind.is_empty() && foreign.is_empty() {
        area.ok("schema", "that of this program");
    }
}

fn need(area: &mut Area, need: &Need) {
    match need.problem {
        None if need.name == "server" => area.info("server", &need.message),
        None => area.ok(need.name, &need.message),
        Some((Weight::Fatal, remedy)) => area.error(need.name, &need.message, remedy),
        Some((Weight::Defect | Weight::Risk, remedy)) => area.warning(need.name, &need.message, remedy),
    }
}

fn connections(area: &mut Area, health: &Health) {
    let free = i64::from(health.max_connections) - health.connections;
    let room = format!("{} of {} connections are in use", health.connections, health.max_connections);
    if free < FEW_CONNECTIONS {
        area.warning(
            "connections",
            format!("{room}: with few left, calls fail when many come at once"),
            "Put PgBouncer in front (asterisk/pgbouncer.ini of this release), or raise max_connections.",
        );
    } else {
        area.ok("connections", room);
    }
}

/// Leases and records compare the two clocks.
fn clock(area: &mut Area, database: DateTime<Utc>, own: DateTime<Utc>) {
    let milliseconds = (database - own).num_milliseconds();
    let size = milliseconds.unsigned_abs();
    #[allow(clippy::cast_precision_loss, reason = "shown to a tenth of a second")]
    let seconds = milliseconds as f64 / 1000.0;
    let message = format!("the database's clock is {seconds:+.1} s from this server's");
    let remedy = "Let both keep time by NTP: apt-get install chrony";
    match size {
        0..=1000 => area.ok("clock", message),
        1001..=5000 => area.warning("clock", format!("{message}: times in call records are off"), remedy),
        _ => area.error("clock", format!("{message}: times in call records are wrong"), remedy),
    }
}

/// What is said where the database does not answer.
#[must_use]
pub fn unreachable(error: &Error) -> Area {
    let mut area = Area::new("database");
    let remedy = error.hint.clone().unwrap_or_else(|| "Check DATABASE_URL.".to_owned());
    area.error("connection", error.message.clone(), remedy);
    for name in ["schema", "writing", "isolation", "connections", "clock"] {
        area.not_looked_at(name, "the database does not answer");
    }
    area
}

/// What is between the programs of each call and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    /// Each session has a process of the server.
    None,
    /// Each session keeps one for as long as it lasts.
    Sessions,
    /// Sessions share processes, each for one transaction.
    Transactions,
}

/// Looks with the AGI programs' own login, which may lead elsewhere than this program's or that of their records.
/// Pool sizes are not looked at: only the pooler's administrator can see them.
pub fn pooler(area: &mut Area, login: Result<Option<(Settings, Option<String>)>>, timeout: Duration) {
    let found = login.and_then(|login| match login {
        Some(login) => Ok((pooling(login.0.clone(), timeout)?, Some(login))),
        None => Ok((Pooling::None, None)),
    });
    let (found, login) = match found {
        Ok(found) => found,
        // the programs' own look at the database says more
        Err(e) => return area.not_looked_at("pooler", &format!("the AGI programs' login: {}", e.message)),
    };
    match found {
        Pooling::Transactions => area.ok("pooler", "the programs of each call share the server's processes"),
        Pooling::Sessions => area.warning(
            "pooler",
            "the pooler in front keeps a server process for each session: few programs at once, and calls wait",
            "pool_mode = transaction in pgbouncer.ini: asterisk/pgbouncer.ini of this release has it all.",
        ),
        Pooling::None => area.advice(
            "pooler",
            "none: PostgreSQL starts a process for each program of each call, which takes about 5 ms",
            "Put PgBouncer in between: asterisk/pgbouncer.ini of this release says how. capconduit agi serve needs none.",
        ),
    }
    match login {
        Some((login, Some(name))) => records_pool(area, &login, &name, timeout),
        Some((_, None)) if found != Pooling::None => area.advice(
            "records' pool",
            "call records have no pool of their own: some that wait for a locked row keep calls from being routed",
            "capconduit_records in pgbouncer.ini, and CAPCONDUIT_RECORDS_DATABASE=capconduit_records in the env file: \
             asterisk/pgbouncer.ini of this release has both.",
        ),
        _ => {}
    }
}

/// Whether the records' name leads to the same database.
fn records_pool(area: &mut Area, login: &Settings, name: &str, timeout: Duration) {
    let mut records = login.clone();
    records.dbname(name);
    let identity = |login: &Settings| health::identity(&mut pg::connect_to(login, timeout)?);
    let remedy =
        "CAPCONDUIT_RECORDS_DATABASE is a name in [databases] of pgbouncer.ini, with dbname= that of DATABASE_URL.";
    match identity(&records).and_then(|there| Ok((there, identity(login)?))) {
        Ok((there, here)) if there == here => {
            area.ok("records' pool", format!("call records have one of their own: {name}"));
        }
        Ok(_) => area.error("records' pool", format!("{name} is another database: calls are not recorded"), remedy),
        Err(e) => area.error("records' pool", format!("call records go to {name}, in vain: {}", e.message), remedy),
    }
}

fn pooling(mut login: Settings, timeout: Duration) -> Result<Pooling> {
    login.application_name("capconduit").tcp_user_timeout(Duration::from_secs(10));
    let mut one = pg::connect_to(&login, timeout)?;
    let pooled = health::health(&mut one)?.port != login.get_ports().first().map_or(5432, |port| i32::from(*port));
    let (sender, receiver) = mpsc::channel();
    // where sessions are pooled there may be no place for a second one: it would wait for the first
    thread::spawn(move || {
        let shared =
            pg::connect_to(&login, timeout).and_then(|mut other| health::share_a_process(&mut one, &mut other));
        // nobody listens any more where the time is up
        let _ = sender.send(shared);
    });
    match receiver.recv_timeout(timeout * 2) {
        Ok(Ok(true)) => Ok(Pooling::Transactions),
        _ if pooled => Ok(Pooling::Sessions),
        Ok(Ok(false)) => Ok(Pooling::None),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(Error::new(Kind::Unreachable, "no answer to a second session")),
    }
}

/// Logs in as Asterisk's realtime does, and reads what it reads; `active` is how many endpoints there
/// are for it to see.
pub fn realtime_login(area: &mut Area, login: &Result<Settings>, active: Option<i64>, timeout: Duration) {
    let mut login = match login {
        Ok(login) => login.clone(),
        Err(e) => return area.unknown("realtime login", e.message.clone(), "Run this as root."),
    };
    let user = login.get_user().unwrap_or("asterisk").to_owned();
    login.application_name("capconduit").tcp_user_timeout(Duration::from_secs(10));
    // what res_config_pgsql takes where its file says nothing
    if login.get_user().is_none() {
        login.user("asterisk");
    }
    if login.get_password().is_none() {
        login.password("asterisk");
    }
    if login.get_dbname().is_none() {
        login.dbname("asterisk");
    }
    if login.get_hosts().is_empty() {
        login.host_path("/var/run/postgresql");
    }
    let seen: Result<i64> = pg::connect_to(&login, timeout).and_then(|mut db| health::read_realtime_views(&mut db));
    match (seen, active) {
        (Ok(seen), Some(active)) if seen != active => area.warning(
            "realtime login",
            format!(
                "Asterisk's login {user} sees {seen} clients' endpoints, there are {active}: it is another database"
            ),
            "Let res_pgsql.conf name the same database as DATABASE_URL: capconduit asterisk install --force",
        ),
        (Ok(seen), _) => area.ok("realtime login", format!("{user} reads {seen} endpoints")),
        (Err(e), _) => {
            let remedy = match e.kind {
                Kind::Permission if e.message.contains("permission denied") => format!(
                    "capconduit db roles makes a login that may; or for this one, in psql: GRANT SELECT ON ps_endpoints, \
                     ps_aors, ps_auths TO \"{}\".",
                    user.replace('"', "\"\"")
                ),
                Kind::Permission => "capconduit asterisk install --force writes the login of ASTERISK_DATABASE_URL into \
                                     res_pgsql.conf (else correct dbuser and dbpass there); then asterisk -rx 'core reload'."
                    .to_owned(),
                _ => "Correct dbhost, dbport and dbname in res_pgsql.conf, or start the database.".to_owned(),
            };
            area.error("realtime login", format!("Asterisk's login {user}: {}", e.message), remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn found(check: impl FnOnce(&mut Area)) -> Vec<(String, crate::check::State)> {
        let mut area = Area::new("database");
        check(&mut area);
        area.findings.into_iter().map(|f| (f.check, f.state)).collect()
    }

    #[test]
    fn clocks_that_differ() {
        use crate::check::State::{Error, Ok, Warning};
        let now = Utc::now();
        for (seconds, state) in [(0, Ok), (-1, Ok), (3, Warning), (-4, Warning), (6, Error), (-600, Error)] {
            assert_eq!(
                found(|area| clock(area, now + TimeDelta::seconds(seconds), now)),
                [("clock".to_owned(), state)]
            );
        }
    }

    #[test]
    fn a_server_that_cannot_do_its_work() {
        let health = Health { now: Utc::now(), port: 5432, max_connections: 100, connections: 97 };
        let not_met = Need { name: "writing", message: "no".into(), problem: Some((Weight::Fatal, "mend it")) };
        let found = found(|area| {
            need(area, &not_met);
            connections(area, &health);
        });
        let problems: Vec<&str> =
            found.iter().filter(|(_, s)| *s >= crate::check::State::Warning).map(|(c, _)| c.as_str()).collect();
        assert_eq!(problems, ["writing", "connections"]);
    }
}
