//! Why a question has no answer.

use std::io;

use postgres::error::SqlState;

use crate::Error;
use crate::pg::error::{Said, unreachable};
use crate::pg::tls;
use crate::pg::wire::message::Body;

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    /// The server says so.
    Said {
        code: SqlState,
        error: Error,
    },
    /// An error that is worded already.
    Told(Error),
    /// This program cannot do it.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Io(e)
    }
}

impl Failure {
    pub(super) fn of(mut body: Body) -> Failure {
        let (mut code, mut message, mut detail, mut hint, mut table) = (None, String::new(), None, None, false);
        while let Ok(field @ 1..) = body.byte() {
            let Ok(text) = body.text() else { break };
            match field {
                b'C' => code = Some(SqlState::from_code(&text)),
                b'M' => message = text,
                b'D' => detail = Some(text),
                b'H' => hint = Some(text),
                b't' => table = true,
                _ => {}
            }
        }
        let code = code.unwrap_or(SqlState::INTERNAL_ERROR);
        let said = Said { code: &code, message: &message, detail: detail.as_deref(), hint: hint.as_deref(), table };
        let error = Error::from(said);
        Failure::Said { code, error }
    }

    /// Whether another `sslmode` may make the difference.
    pub(super) fn is_about_encryption(&self) -> bool {
        match self {
            Failure::Io(e) => tls::failure(e).is_some(),
            Failure::Said { code, .. } => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            Failure::Told(_) => true,
            Failure::Other(_) => false,
        }
    }

    /// The error as it is reported.
    pub(super) fn told(self, doing: &str) -> Error {
        match self {
            Failure::Io(e) => tls::failure(&e).unwrap_or_else(|| unreachable(&format!("{doing}{e}"))),
            Failure::Said { error, .. } | Failure::Told(error) => error,
            Failure::Other(message) => Error::failed(format!("database: {message}")),
        }
    }
}
