//! The one error type: a kind, which decides the exit code; what happened and why; what to do.

use std::fmt;

/// What went wrong, with the exit code of the CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None of the others.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The named thing does not exist.
    NotFound = 3,
    /// It exists already, or is still in use.
    Conflict = 4,
    /// A value breaks a rule.
    Invalid = 5,
    /// The database or the file system refuses.
    Permission = 6,
    /// The database cannot be reached: try again. EX_TEMPFAIL of sysexits.h.
    Unreachable = 75,
}

impl Kind {
    /// Every kind, in the order of their exit codes.
    pub const ALL: [Kind; 7] =
        [Kind::Failed, Kind::Usage, Kind::NotFound, Kind::Conflict, Kind::Invalid, Kind::Permission, Kind::Unreachable];

    /// The exit code of the program.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// The name in `{"error":{"kind":...}}`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Invalid => "invalid",
            Kind::Permission => "permission",
            Kind::Unreachable => "unreachable",
        }
    }
}

/// An error as a person reads it: `message` says what and why, `hint` what to do.
#[derive(Clone, Debug)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened, to what, and why. No secrets.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None }
    }

    /// The same error, saying what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A plain failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Error::new(Kind::Failed, message)
    }

    /// A thing that does not exist: `client "acme" does not exist`.
    pub fn not_found(noun: &str, name: impl fmt::Display) -> Self {
        Error::new(Kind::NotFound, format!("{noun} \"{name}\" does not exist"))
    }

    /// A value that breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(Kind::Invalid, message)
    }

    /// Something exists already or is still in use.
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(Kind::Conflict, message)
    }

    /// A file operation that failed: `cannot read /etc/x: permission denied`.
    pub fn io(doing: &str, path: &std::path::Path, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Failed,
        };
        Error::new(kind, format!("cannot {doing} {}: {source}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  {}", hint.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
