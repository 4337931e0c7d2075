//! All SQL: one file per noun, each statement beside the row it returns. Absence is `Ok(None)`.
//!
//! Statements go out unnamed with their types ([`Query`]): that is one round trip, and works through
//! PgBouncer in transaction mode, where named prepared statements and session state do not.

use std::error::Error as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, GenericClient, NoTls, Row};

use crate::config::Config;
use crate::{Error, Kind, Result};

pub mod call;
pub mod campaign;
pub mod client;
pub mod did;
pub mod migrate;
pub mod pjsip;
pub mod record;
pub mod route;
pub mod setting;
pub mod user;

/// Connects to the configured database.
///
/// # Errors
/// [`Kind::Unreachable`] where no server answers within the connect timeout; [`Kind::Permission`]
/// where it refuses the login; [`Kind::Invalid`] where the URL does not parse.
pub fn connect(config: &Config, application_name: &str) -> Result<Client> {
    let database = database_config(config, application_name)?;
    database.connect(NoTls).map_err(|e| {
        let mut error = Error::from(e);
        if error.kind == Kind::Unreachable {
            error.message = format!("{} ({})", error.message, place(&database));
        }
        error
    })
}

/// The connection settings, from the database URL and the timeouts. What the URL says goes first.
///
/// # Errors
/// [`Kind::Invalid`] where the URL does not parse. The URL is not repeated: it may hold a password.
pub fn database_config(config: &Config, application_name: &str) -> Result<postgres::Config> {
    let mut database = match config.database_url() {
        Some(url) => parse_url(&url)?,
        None => postgres::Config::new(),
    };
    if database.get_hosts().is_empty() && database.get_hostaddrs().is_empty() {
        database.host_path("/var/run/postgresql");
    }
    if database.get_dbname().is_none() {
        database.dbname("capconduit");
    }
    if database.get_connect_timeout().is_none() {
        database.connect_timeout(config.connect_timeout()?);
    }
    if database.get_application_name().is_none() {
        database.application_name(application_name);
    }
    // a server that vanishes in the middle of a statement is noticed within this time
    if database.get_tcp_user_timeout().is_none() {
        database.tcp_user_timeout(Duration::from_secs(10));
    }
    Ok(database)
}

/// A libpq URL or `key=value` string; SQLAlchemy's `postgresql+psycopg2://` is understood.
fn parse_url(url: &str) -> Result<postgres::Config> {
    let url = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgres") => format!("postgresql://{rest}"),
        _ => url.to_owned(),
    };
    url.parse().map_err(|e: postgres::Error| {
        let why = e.source().map(|s| format!(": {s}")).unwrap_or_default();
        Error::invalid(format!("DATABASE_URL cannot be understood{why}"))
            .hint("Write postgresql://user:password@host:5432/capconduit, special characters of the password as %XX.")
    })
}

/// Where the database was looked for: hosts, ports and name, no user and no password.
fn place(database: &postgres::Config) -> String {
    let ports = database.get_ports();
    let hosts: Vec<String> = database
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                postgres::config::Host::Tcp(name) => format!("{name}:{port}"),
                postgres::config::Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("{}, database {}", hosts.join(", "), database.get_dbname().unwrap_or("?"))
}

/// A Rust type and the PostgreSQL type that it is sent as.
pub trait SqlArg: ToSql + Sync + Sized {
    /// The type named in the Parse message.
    const TYPE: Type;
}

macro_rules! sql_arg {
    ($($rust:ty => $sql:ident),* $(,)?) => {
        $(impl SqlArg for $rust { const TYPE: Type = Type::$sql; })*
    };
}
sql_arg! {
    bool => BOOL, i32 => INT4, i64 => INT8, String => TEXT, &str => TEXT, DateTime<Utc> => TIMESTAMPTZ,
    Vec<i32> => INT4_ARRAY, Vec<String> => TEXT_ARRAY,
}
impl<T: SqlArg> SqlArg for Option<T> {
    const TYPE: Type = T::TYPE;
}

/// An argument with its type, for [`args!`].
pub fn arg<T: SqlArg>(value: &T) -> (&(dyn ToSql + Sync), Type) {
    (value, T::TYPE)
}

/// `args![a, b]`: the arguments of a [`Query`] method, typed by their Rust types.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::arg(&$value)),*] };
}

/// Statements with typed arguments on a client or a transaction.
pub trait Query {
    /// All rows.
    ///
    /// # Errors
    /// What the database says, by its SQLSTATE.
    fn rows(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>>;

    /// The only row, or None.
    ///
    /// # Errors
    /// What the database says; more than one row.
    fn row(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>>;

    /// How many rows the statement changed.
    ///
    /// # Errors
    /// What the database says, by its SQLSTATE.
    fn run(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64>;
}

impl<C: GenericClient> Query for C {
    fn rows(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        Ok(self.query_typed(sql, args)?)
    }

    fn row(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>> {
        Ok(self.query_typed_opt(sql, args)?)
    }

    fn run(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64> {
        Ok(self.execute_typed(sql, args)?)
    }
}

/// All rows as what they stand for.
fn all<T: for<'r> TryFrom<&'r Row, Error = Error>>(rows: &[Row]) -> Result<Vec<T>> {
    rows.iter().map(T::try_from).collect()
}

/// The only row as what it stands for.
fn one<T: for<'r> TryFrom<&'r Row, Error = Error>>(row: Option<Row>) -> Result<Option<T>> {
    row.as_ref().map(T::try_from).transpose()
}

/// The first column of all rows.
fn column<T: for<'r> postgres::types::FromSql<'r>>(rows: &[Row]) -> Result<Vec<T>> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The id that a name may be: things are named by natural key or id.
fn as_id(name: &str) -> Option<i32> {
    if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// Declares a row: a serialisable struct whose fields are the columns, and its conversion.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl TryFrom<&postgres::Row> for $name {
            type Error = $crate::Error;

            fn try_from(row: &postgres::Row) -> $crate::Result<Self> {
                Ok($name { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}

impl From<postgres::Error> for Error {
    fn from(e: postgres::Error) -> Self {
        let Some(db) = e.as_db_error() else {
            // postgres::Error prints only its own layer: the cause is in its sources
            let mut message = e.to_string();
            let mut source = e.source();
            while let Some(inner) = source {
                message = format!("{message}: {inner}");
                source = inner.source();
            }
            let io = e.source().is_some_and(|s| s.is::<std::io::Error>());
            return if io || e.is_closed() || message.contains("connecting to server") || message.contains("timed out") {
                Error::new(Kind::Unreachable, format!("the database is unreachable: {message}"))
                    .hint("Check that PostgreSQL runs and that DATABASE_URL is right.")
            } else {
                Error::failed(format!("database: {message}"))
            };
        };
        let code = db.code();
        let class = &code.code()[..2];
        let kind = match class {
            "08" | "57" | "53" => Kind::Unreachable,
            "28" => Kind::Permission,
            "22" => Kind::Invalid,
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Kind::Permission,
            _ if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::FOREIGN_KEY_VIOLATION => Kind::Conflict,
            "23" => Kind::Invalid,
            _ => Kind::Failed,
        };
        let mut error = Error::new(kind, format!("database: {}", db.message()));
        if let Some(detail) = db.detail() {
            // the detail of a failed row names its values, which may be secret
            if class != "23" || kind == Kind::Conflict || *code == SqlState::CHECK_VIOLATION && db.table().is_none() {
                error.message = format!("{}\n{detail}", error.message);
            }
        }
        error.hint = if *code == SqlState::UNDEFINED_TABLE
            || *code == SqlState::UNDEFINED_FUNCTION
            || *code == SqlState::UNDEFINED_COLUMN
        {
            Some("The schema is missing or older than this program: run capconduit db migrate.".into())
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            Some("Create the database first: createdb capconduit, then capconduit db migrate.".into())
        } else if kind == Kind::Unreachable {
            Some("The database is stopping, starting or full: try again.".into())
        } else {
            db.hint().map(str::to_owned)
        };
        error
    }
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
    fn a_bad_url_is_not_repeated() {
        let error = parse_url("postgresql://u:secret@db:port/cc").expect_err("invalid");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
