//! Configuration: environment variables, and an env file for those that the environment lacks.
//!
//! The file is `/etc/capconduit/capconduit.env`, or the one that `CAPCONDUIT_ENV_FILE` names; the admin
//! CLI reads `/etc/capconduit/admin.env` before it, where it may. A file
//! holds `NAME=value` lines; a value with `$`, `#` or spaces stands in single quotes.

pub mod env_file;

use std::collections::HashMap;
use std::env;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::number::NumberRules;
use crate::{Error, Kind, Result};

/// Where the env file is looked for when `CAPCONDUIT_ENV_FILE` does not say.
pub const DEFAULT_ENV_FILE: &str = "/etc/capconduit/capconduit.env";

/// The admin CLI's own, beside it: Asterisk's user cannot read it.
const ADMIN_ENV_FILE: &str = "admin.env";

/// Beside both: the login of the tables' owner, for what only the owner may do.
pub const OWNER_ENV_FILE: &str = "owner.env";

/// The settings of one run.
#[derive(Clone, Default)]
pub struct Config {
    from_file: HashMap<String, String>,
    /// Whether the file that Asterisk's programs also read names the database.
    database_is_shared: bool,
    /// The file that names the database that is used, unless the environment does.
    database_file: Option<PathBuf>,
    /// Whether this is for writing call records.
    for_records: bool,
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
            Err(e) if named.is_none() && e.kind() == ErrorKind::NotFound => {
                return Ok(Config::default());
            }
            Err(e) if named.is_none() && e.kind() == ErrorKind::PermissionDenied => {
                if env::var_os("DATABASE_URL").is_some() || env::var_os("DATABASE_URI").is_some() {
                    return Ok(Config::default());
                }
                return Err(Error::io("read", &path, &e).hint("Run this as root, or with sudo; or set DATABASE_URL."));
            }
            Err(e) => return Err(Error::io("read", &path, &e)),
        };
        Self::from_env_file(&text, &path)
    }

    /// As [`Config::load`], for the admin CLI: `admin.env` goes before `capconduit.env`, unless `CAPCONDUIT_ENV_FILE`
    /// names another file for both. A user who may not read `admin.env` does without it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for_admin() -> Result<Self> {
        if env::var_os("CAPCONDUIT_ENV_FILE").is_some() {
            return Config::load();
        }
        Config::admin_beside(Path::new(DEFAULT_ENV_FILE), Config::load)
    }

    /// As [`Config::load_for_admin`], for what only the owner of the tables may do: the database that
    /// `owner.env` names goes before that of the other files, and after the environment's.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for_owner() -> Result<Self> {
        let config = Config::load_for_admin()?;
        if env::var_os("CAPCONDUIT_ENV_FILE").is_some() {
            return Ok(config);
        }
        config.owned_beside(Path::new(DEFAULT_ENV_FILE))
    }

    fn owned_beside(mut self, shared_file: &Path) -> Result<Self> {
        let Some(owner) = Config::beside(shared_file, OWNER_ENV_FILE)? else { return Ok(self) };
        if let Some(url) = ["DATABASE_URL", "DATABASE_URI"].iter().find_map(|name| owner.from_file.get(*name)) {
            self.from_file.remove("DATABASE_URI");
            self.from_file.insert("DATABASE_URL".to_owned(), url.clone());
            self.database_file = owner.database_file;
        }
        Ok(self)
    }

    fn admin_beside(shared_file: &Path, shared: impl FnOnce() -> Result<Self>) -> Result<Self> {
        let Some(admin) = Config::beside(shared_file, ADMIN_ENV_FILE)? else { return shared() };
        let mut config = shared()?;
        config.from_file.extend(admin.from_file);
        config.database_file = admin.database_file.or(config.database_file);
        Ok(config)
    }

    /// Reads a file that may be missing, and that this user may be unable to read.
    fn beside(shared_file: &Path, name: &str) -> Result<Option<Self>> {
        let path = shared_file.with_file_name(name);
        match std::fs::read(&path) {
            Ok(text) => Self::from_env_file(&text, &path).map(Some),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
            Err(e) => Err(Error::io("read", &path, &e)),
        }
    }

    /// A file that holds a secret must not be everybody's to read.
    fn refuse_open_secrets(&self, path: &Path) -> Result<()> {
        let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
        let in_url =
            |name: &str| self.from_file.get(name).is_some_and(|url| url.contains('@') || url.contains("password="));
        let secret =
            ["INTERNAL_API_TOKEN", "ASTERISK_ARI_PASSWORD"].into_iter().find(|name| self.from_file.contains_key(*name));
        let secret = secret.or_else(|| {
            ["DATABASE_URL", "DATABASE_URI", "ASTERISK_DATABASE_URL"].into_iter().find(|name| in_url(name))
        });
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
        // the byte order mark that some editors put first is no part of a name
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        for (index, item) in dotenvy::from_read_iter(text).enumerate() {
            // The parser's message quotes the line, which may hold a password.
            let (name, value) = item.map_err(|_| {
                Error::invalid(format!("{}: entry {} is not NAME=value", path.display(), index + 1))
                    .hint("Put a value with spaces, $ or # in single quotes.")
            })?;
            from_file.insert(name, value);
        }
        let database_is_shared = ["DATABASE_URL", "DATABASE_URI"].iter().any(|name| from_file.contains_key(*name));
        let database_file = database_is_shared.then(|| path.to_owned());
        let config = Config { from_file, database_is_shared, database_file, for_records: false };
        config.refuse_open_secrets(path)?;
        Ok(config)
    }

    /// A variable: the environment's, else the file's. Empty counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        env::var(name).ok().or_else(|| self.from_file.get(name).cloned()).filter(|value| !value.is_empty())
    }

    /// `DATABASE_URL`, or v3.0's `DATABASE_URI`. None: the local socket, database `capconduit`.
    #[must_use]
    pub fn database_url(&self) -> Option<String> {
        // whatever its name, the environment's goes before a file's
        Config::database_of_environment().or_else(|| self.get("DATABASE_URL")).or_else(|| self.get("DATABASE_URI"))
    }

    fn database_of_environment() -> Option<String> {
        ["DATABASE_URL", "DATABASE_URI"].iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// `CAPCONDUIT_RECORDS_DATABASE`: the name by which a pooler knows the database for call records.
    #[must_use]
    pub fn records_database(&self) -> Option<String> {
        self.get("CAPCONDUIT_RECORDS_DATABASE")
    }

    /// The same, for writing call records.
    #[must_use]
    pub fn for_records(&self) -> Config {
        Config { for_records: true, ..self.clone() }
    }

    /// The database's name, where it is another than the URL's.
    #[must_use]
    pub fn database_name(&self) -> Option<String> {
        self.records_database().filter(|_| self.for_records)
    }

    /// Where [`Config::database_url`] comes from, for a person.
    #[must_use]
    pub fn database_source(&self) -> String {
        match (Config::database_of_environment(), &self.database_file) {
            (Some(_), _) => "DATABASE_URL in the environment".to_owned(),
            (None, Some(file)) => format!("DATABASE_URL in {}", file.display()),
            (None, None) => "no DATABASE_URL, which is the local socket as the system user".to_owned(),
        }
    }

    /// Whether the env file names the database, also for the programs that Asterisk starts.
    #[must_use]
    pub fn is_database_in_file(&self) -> bool {
        self.database_is_shared
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
    fn the_admin_s_file_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared_file = folder.path().join("capconduit.env");
        let shared = || Config::from_env_file(b"CC_TEST_D=agi\nCC_TEST_E=both\n", &shared_file);
        let config = Config::admin_beside(&shared_file, shared).expect("no admin.env");
        assert_eq!(config.get("CC_TEST_D").as_deref(), Some("agi"));

        let admin_file = folder.path().join("admin.env");
        std::fs::write(&admin_file, "CC_TEST_D=admin\nASTERISK_DATABASE_URL=postgresql://a:b@h/d\n").expect("written");
        let mode = |mode| std::fs::set_permissions(&admin_file, PermissionsExt::from_mode(mode)).expect("own file");
        mode(0o600);
        let config = Config::admin_beside(&shared_file, shared).expect("both");
        assert_eq!(config.get("CC_TEST_D").as_deref(), Some("admin"));
        assert_eq!(config.get("CC_TEST_E").as_deref(), Some("both"));
        assert!(!config.is_database_in_file(), "the programs that Asterisk starts read the other file");
        let owner_file = folder.path().join("owner.env");
        std::fs::write(&owner_file, "DATABASE_URL='host=/s user=o dbname=d'\nCC_TEST_E=x\n").expect("written");
        let owned = config.clone().owned_beside(&shared_file).expect("all three");
        assert_eq!(owned.from_file["DATABASE_URL"], "host=/s user=o dbname=d");
        assert_eq!(owned.database_file, Some(owner_file));
        assert_eq!(owned.from_file["CC_TEST_E"], "both", "only the database is another");
        mode(0o644);
        let error = Config::admin_beside(&shared_file, shared).err().expect("open to all");
        assert_eq!(error.kind, Kind::Permission);
    }

    #[test]
    fn the_first_variable_of_any_editor_s_file_is_read() {
        for begin in ["", "\u{feff}", "\u{feff}# ours\n", "\u{feff}\n", "\n\n", "  "] {
            for export in ["", "export ", "export   "] {
                for value in ["x y", "it's"] {
                    for end in ["\n", "\r\n"] {
                        let quote = if value.contains('\'') { '"' } else { '\'' };
                        let text = format!("{begin}{export}CC_TEST_F={quote}{value}{quote}{end}CC_TEST_G=2{end}");
                        let text = text.replace("# ours\n", &format!("# ours{end}"));
                        let config = Config::from_env_file(text.as_bytes(), Path::new("/x.env"))
                            .unwrap_or_else(|e| panic!("{text:?}: {e}"));
                        let read = (config.get("CC_TEST_F"), config.get("CC_TEST_G"));
                        assert_eq!(read, (Some(value.to_owned()), Some("2".to_owned())), "{text:?}");
                        assert_eq!(config.from_file.len(), 2, "{text:?}");
                    }
                }
            }
        }
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
