//! Configuration: environment variables, and an env file for those that the environment lacks.
//!
//! The file is `/etc/capconduit/capconduit.env`, or the one that `CAPCONDUIT_ENV_FILE` names. It
//! holds `NAME=value` lines; a value with `$`, `#` or spaces stands in single quotes.

use std::collections::HashMap;
use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::number::NumberRules;
use crate::{Error, Kind, Result};

/// Where the env file is looked for when `CAPCONDUIT_ENV_FILE` does not say.
pub const DEFAULT_ENV_FILE: &str = "/etc/capconduit/capconduit.env";

/// The settings of one run.
#[derive(Clone, Default)]
pub struct Config {
    from_file: HashMap<String, String>,
}

impl Config {
    /// Reads the env file, if there is one.
    ///
    /// # Errors
    /// A file that `CAPCONDUIT_ENV_FILE` names must be readable; the default file may be missing,
    /// and may be unreadable where the environment has a database URL. Lines must parse.
    pub fn load() -> Result<Self> {
        let named = env::var_os("CAPCONDUIT_ENV_FILE").map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_ENV_FILE));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Config::default());
            }
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::PermissionDenied => {
                if env::var_os("DATABASE_URL").is_some() || env::var_os("DATABASE_URI").is_some() {
                    return Ok(Config::default());
                }
                return Err(
                    Error::io("read", &path, &e).hint("Run this as a member of the file's group, or set DATABASE_URL.")
                );
            }
            Err(e) => return Err(Error::io("read", &path, &e)),
        };
        let config = Self::from_env_file(&text, &path)?;
        config.refuse_open_secrets(&path)?;
        Ok(config)
    }

    /// A file that holds a secret must not be everybody's to read.
    fn refuse_open_secrets(&self, path: &Path) -> Result<()> {
        let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
        let in_url =
            |name: &str| self.from_file.get(name).is_some_and(|url| url.contains('@') || url.contains("password="));
        let secret =
            ["INTERNAL_API_TOKEN", "ASTERISK_ARI_PASSWORD"].into_iter().find(|name| self.from_file.contains_key(*name));
        let secret = secret.or_else(|| ["DATABASE_URL", "DATABASE_URI"].into_iter().find(|name| in_url(name)));
        match secret {
            Some(secret) if mode & 0o007 != 0 => Err(Error::new(
                Kind::Permission,
                format!("{} holds {secret} and is open to every user (mode {:04o})", path.display(), mode & 0o7777),
            )
            .hint(format!("chmod 640 {0} && chgrp asterisk {0}", path.display()))),
            _ => Ok(()),
        }
    }

    fn from_env_file(text: &[u8], path: &Path) -> Result<Self> {
        let mut from_file = HashMap::new();
        for (index, item) in dotenvy::from_read_iter(text).enumerate() {
            // The parser's message quotes the line, which may hold a password.
            let (name, value) = item.map_err(|_| {
                Error::invalid(format!("{}: entry {} is not NAME=value", path.display(), index + 1))
                    .hint("Put a value with spaces, $ or # in single quotes.")
            })?;
            from_file.insert(name, value);
        }
        Ok(Config { from_file })
    }

    /// A variable: the environment's, else the file's. Empty counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        env::var(name).ok().or_else(|| self.from_file.get(name).cloned()).filter(|value| !value.is_empty())
    }

    /// `DATABASE_URL`, or v3.0's `DATABASE_URI`. None: the local socket, database `capconduit`.
    #[must_use]
    pub fn database_url(&self) -> Option<String> {
        self.get("DATABASE_URL").or_else(|| self.get("DATABASE_URI"))
    }

    /// Whether the env file names the database, and so also for programs that Asterisk starts.
    #[must_use]
    pub fn is_database_in_file(&self) -> bool {
        ["DATABASE_URL", "DATABASE_URI"].iter().any(|name| self.from_file.contains_key(*name))
    }

    /// `CAPCONDUIT_CONNECT_TIMEOUT` in seconds, fractions allowed; default 2.
    ///
    /// # Errors
    /// The value must be a number above 0 and at most 60.
    pub fn connect_timeout(&self) -> Result<Duration> {
        let Some(text) = self.get("CAPCONDUIT_CONNECT_TIMEOUT") else {
            return Ok(Duration::from_secs(2));
        };
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds <= 60.0 => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(Error::invalid(format!(
                "CAPCONDUIT_CONNECT_TIMEOUT is \"{text}\": it must be seconds, above 0 and at most 60"
            ))),
        }
    }

    /// `CAPCONDUIT_SPOOL_DIR`, else [`default_spool_dir`].
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.get("CAPCONDUIT_SPOOL_DIR").map_or_else(default_spool_dir, PathBuf::from)
    }

    /// `CAPCONDUIT_NUMBER_RULES`: how a carrier's numbers become E.164.
    ///
    /// # Errors
    /// See [`NumberRules::parse`].
    pub fn number_rules(&self) -> Result<NumberRules> {
        match self.get("CAPCONDUIT_NUMBER_RULES") {
            Some(text) => NumberRules::parse(&text),
            None => Ok(NumberRules::default()),
        }
    }
}

/// `capconduit` below Asterisk's spool folder, which Asterisk tells its AGI programs.
#[must_use]
pub fn default_spool_dir() -> PathBuf {
    let asterisk = env::var_os("AST_SPOOL_DIR").map_or_else(|| PathBuf::from("/var/spool/asterisk"), PathBuf::from);
    asterisk.join("capconduit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_named_without_its_content() {
        let error =
            Config::from_env_file(b"A=1\nDATABASE_URL=a b secret\n", Path::new("/x.env")).err().expect("must fail");
        assert!(error.message.contains("/x.env: entry 2"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn quotes_comments_and_export_are_understood() {
        let config = Config::from_env_file(
            b"# comment\nexport CC_TEST_A='p$ss w#rd'\nCC_TEST_B=\"x\"\nCC_TEST_C=\n",
            Path::new("/x.env"),
        )
        .expect("must parse");
        assert_eq!(config.get("CC_TEST_A").as_deref(), Some("p$ss w#rd"));
        assert_eq!(config.get("CC_TEST_B").as_deref(), Some("x"));
        assert_eq!(config.get("CC_TEST_C"), None);
    }
}
