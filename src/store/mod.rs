//! All SQL: one file per noun, each statement beside the row it returns. Absence is `Ok(None)`.
//!
//! Statements go out unnamed with their types ([`Query`]): that is one round trip, and works through
//! PgBouncer in transaction mode, where named prepared statements and session state do not. (`wire` prepares
//! what is asked again on one connection, where it has found out that nothing stands between.)

use std::error::Error as _;

use chrono::{DateTime, Utc};
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{GenericClient, Row};

use crate::{Error, Kind, Result};

pub mod audit;
pub mod call;
pub mod campaign;
pub mod client;
pub mod config;
mod connect;
pub mod did;
pub mod health;
pub mod history;
mod login;
pub mod migrate;
pub mod needs;
pub mod page;
pub mod pjsip;
pub mod reap;
pub mod record;
pub mod report;
pub mod role;
pub mod route;
pub mod setting;
pub mod status;
mod url;
pub mod user;
pub mod verify;
mod wire;
pub mod zone;

pub use connect::{
    Kept, accepts, asterisk_config, config_of, connect, connect_to, database_config, open, open_to, with_deadline,
};
pub use login::name_login;
pub use url::parse_url;
pub use wire::Connection;

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
    Vec<i32> => INT4_ARRAY, Vec<i64> => INT8_ARRAY, Vec<String> => TEXT_ARRAY,
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

/// Removes the row with this id.
fn remove(db: &mut impl GenericClient, table: &str, id: i32) -> Result<u64> {
    if only_own(db, table)? {
        return rows_removed(db.row("SELECT cc_remove_own($1, $2)", args![table, id])?);
    }
    db.run(&format!("DELETE FROM {table} WHERE id = $1"), args![id])
}

/// Whether the login may not DELETE, but remove what is its own with `cc_remove_own`: a seller's.
fn only_own(db: &mut impl GenericClient, table: &str) -> Result<bool> {
    let row = db.row(
        "SELECT 1 WHERE NOT has_table_privilege($1, 'DELETE')
           AND has_function_privilege('cc_remove_own(text, integer, integer)', 'EXECUTE')",
        args![table],
    )?;
    Ok(row.is_some())
}

/// Whether the login is a seller's, who sees what is his own only.
///
/// # Errors
/// The database's.
pub fn is_seller_s(db: &mut impl GenericClient) -> Result<bool> {
    // also in a database that has no such things yet, where nobody is
    let row = db.row(
        "SELECT 1 WHERE has_function_privilege(to_regprocedure('cc_remove_own(text, integer, integer)'), 'EXECUTE')
           AND NOT has_table_privilege(to_regclass('dids'), 'DELETE')",
        args![],
    )?;
    Ok(row.is_some())
}

/// Refuses the login of a seller who is not active: to him everything would look empty.
///
/// # Errors
/// [`Kind::Permission`]
pub fn refuse_inactive_seller(db: &mut impl GenericClient) -> Result<()> {
    if is_seller_s(db)? && db.row("SELECT 1 FROM users LIMIT 1", args![])?.is_none() {
        return Err(Error::new(
            Kind::Permission,
            "database: permission denied: the seller of this login is not active",
        )
        .hint("He sees and changes nothing. The administrator can change that: capconduit user enable SELLER"));
    }
    Ok(())
}

/// What `cc_remove_own` says.
fn rows_removed(row: Option<Row>) -> Result<u64> {
    let rows: i64 = row.ok_or_else(|| Error::failed("database: no answer"))?.try_get(0)?;
    Ok(rows.unsigned_abs())
}

/// The id that a name may be: things are named by natural key or id.
fn as_id(name: &str) -> Option<i32> {
    if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// A field of a JSON object, as the manual and `capconduit schema` describe it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Its name: that of the column.
    pub name: &'static str,
    /// The type that it is serialised from: `Option<i32>`.
    pub rust_type: &'static str,
    /// What it says.
    pub about: &'static str,
}

impl Field {
    /// The type of what it holds where it is not null.
    #[must_use]
    pub fn inner_type(&self) -> &'static str {
        self.rust_type.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(self.rust_type)
    }

    /// Whether it is a point in time.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.inner_type() == "DateTime<Utc>"
    }
}

/// What can be listed: its fields are known without a row of it.
pub trait Fields {
    /// In the order in which they are printed.
    const FIELDS: &'static [Field];
}

/// Declares a row: a serialisable struct whose fields are the columns, and its conversion.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }

        impl $crate::store::Fields for $name {
            const FIELDS: &'static [$crate::store::Field] = &[$($crate::store::Field {
                name: stringify!($field),
                rust_type: stringify!($type),
                about: concat!($($doc),*),
            }),*];
        }

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
                unreachable(&message)
            } else if message.contains("deserializing column") {
                Error::failed(format!("database: {message}"))
                    .hint("The schema is not this program's: run capconduit db migrate.")
            } else {
                Error::failed(format!("database: {message}"))
            };
        };
        Error::from(Said {
            code: db.code(),
            message: db.message(),
            detail: db.detail(),
            hint: db.hint(),
            table: db.table().is_some(),
        })
    }
}

/// The database cannot be reached, for this reason.
fn unreachable(why: &str) -> Error {
    Error::new(Kind::Unreachable, format!("the database is unreachable: {why}"))
        .hint("Check that PostgreSQL runs and that DATABASE_URL is right.")
}

/// An error that the server reports.
struct Said<'a> {
    code: &'a SqlState,
    message: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    /// It names a table.
    table: bool,
}

impl From<Said<'_>> for Error {
    fn from(said: Said<'_>) -> Self {
        let code = said.code;
        let class = &code.code()[..2];
        let kind = match class {
            "08" | "57" | "53" => Kind::Unreachable,
            "28" => Kind::Permission,
            "22" => Kind::Invalid,
            // a standby, or a primary that is handing over: another server, or this one later
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Kind::Unreachable,
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Kind::Permission,
            _ if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::FOREIGN_KEY_VIOLATION => Kind::Conflict,
            "23" => Kind::Invalid,
            _ => Kind::Failed,
        };
        let mut error = Error::new(kind, format!("database: {}", said.message));
        if let Some(detail) = said.detail {
            // the detail of a failed row names its values, which may be secret
            if class != "23" || kind == Kind::Conflict || *code == SqlState::CHECK_VIOLATION && !said.table {
                error.message = format!("{}\n{detail}", error.message);
            }
        }
        error.hint = if *code == SqlState::UNDEFINED_TABLE
            || *code == SqlState::UNDEFINED_FUNCTION
            || *code == SqlState::UNDEFINED_COLUMN
        {
            Some("The schema is missing or older than this program: run capconduit db migrate.".into())
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            Some("Create the database first, then capconduit db migrate.".into())
        } else if *code == SqlState::LOCK_NOT_AVAILABLE {
            Some("Another session holds a lock: see pg_stat_activity and pg_blocking_pids(). Nothing was changed; try again.".into())
        } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            Some(
                "This server takes no changes: name all servers in DATABASE_URL, with target_session_attrs=read-write."
                    .into(),
            )
        } else if kind == Kind::Unreachable {
            Some("The database is stopping, starting or full: try again.".into())
        } else {
            said.hint.map(str::to_owned)
        };
        error
    }
}
