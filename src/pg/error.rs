//! What the server or the driver says went wrong, by its SQLSTATE.

use std::error::Error as _;
use std::io;

use postgres::error::SqlState;

use crate::pg::tls;
use crate::{Error, Kind};

impl From<postgres::Error> for Error {
    fn from(e: postgres::Error) -> Self {
        if let Some(error) = encryption_failure(&e) {
            return error;
        }
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

/// Why a connection was not made.
pub(super) struct Refused {
    pub(super) error: Error,
    /// Whether the other way, with or without encryption, may succeed.
    pub(super) otherwise: bool,
}

/// What an error says of encryption; None where it is about something else.
pub(super) fn encryption_failure(e: &postgres::Error) -> Option<Error> {
    let mut source = e.source();
    while let Some(inner) = source {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return Some(own.clone());
        }
        if let Some(error) = inner.downcast_ref::<io::Error>().and_then(tls::failure) {
            return Some(error);
        }
        if inner.to_string() == "server does not support TLS" {
            return Some(tls::not_offered());
        }
        source = inner.source();
    }
    None
}

/// The database cannot be reached, for this reason.
pub(super) fn unreachable(why: &str) -> Error {
    Error::new(Kind::Unreachable, format!("the database is unreachable: {why}"))
        .hint("Check that PostgreSQL runs and that DATABASE_URL is right.")
}

/// An error that the server reports.
pub(super) struct Said<'a> {
    pub(super) code: &'a SqlState,
    pub(super) message: &'a str,
    pub(super) detail: Option<&'a str>,
    pub(super) hint: Option<&'a str>,
    /// It names a table.
    pub(super) table: bool,
}

impl From<Said<'_>> for Error {
    fn from(said: Said<'_>) -> Self {
        let code = said.code;
        let class = &code.code()[..2];
        let kind = match class {
            "08" | "57" | "53" => Kind::Unreachable,
            "28" => Kind::Permission,
            "22" => Kind::Invalid,
            // a standby, or a primary that is handing over: another server will do, or this one later
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
