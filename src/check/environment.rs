//! The environment that the per-call programs get from Asterisk, and the env file that they read.

use crate::check::Area;
use crate::check::files::Installation;
use crate::config::DEFAULT_ENV_FILE;
use crate::config::env_file::EnvFile;
use crate::pg::Settings;
use crate::system::process::Process;
use crate::system::user::Access;
use crate::{Error, Result, pg};
use std::path::PathBuf;

/// The part of Asterisk's environment that the programs use; without Asterisk, what is known of it. The rest is left
/// out: Asterisk's user may have changed it.
pub(crate) fn environment(process: Option<&Process>) -> Vec<(String, String)> {
    let used = |name: &str| {
        ["CAPCONDUIT_", "DATABASE_UR", "INTERNAL_API_", "PG"].iter().any(|prefix| name.starts_with(prefix))
    };
    match process.and_then(|process| process.environment.as_ref()) {
        Some(environment) => environment.iter().filter(|(name, _)| used(name)).cloned().collect(),
        None => std::env::var("CAPCONDUIT_ENV_FILE")
            .map(|file| ("CAPCONDUIT_ENV_FILE".to_owned(), file))
            .into_iter()
            .collect(),
    }
}

/// Where the programs connect to, and the database's name for their call records, where that is another. None:
/// nothing says so, and they use PostgreSQL's own socket.
///
/// # Errors
/// The env file or Asterisk's environment cannot be read, or the URL does not parse.
pub fn database_login(process: Option<&Process>) -> Result<Option<(Settings, Option<String>)>> {
    let environment = environment(process);
    let file = EnvFile::read(&env_file_path(&environment))?;
    let value = |name: &str| {
        let own = environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        own.or_else(|| file.get(name)).filter(|value| !value.is_empty())
    };
    let Some(url) = value("DATABASE_URL").or_else(|| value("DATABASE_URI")) else {
        return match process {
            Some(Process { environment: None, .. }) => Err(Error::failed("Asterisk's environment cannot be read")),
            _ => Ok(None),
        };
    };
    Ok(Some((pg::config_of(Some(&url), "capconduit")?, value("CAPCONDUIT_RECORDS_DATABASE"))))
}

pub(crate) fn env_file_path(environment: &[(String, String)]) -> PathBuf {
    let named = environment.iter().find(|(name, _)| name == "CAPCONDUIT_ENV_FILE");
    named.map_or_else(|| PathBuf::from(DEFAULT_ENV_FILE), |(_, path)| PathBuf::from(path))
}

pub(crate) fn env_file(area: &mut Area, installation: &Installation, process: Option<&Process>) {
    let path = env_file_path(&environment(process));
    let shown = path.display();
    match installation.user.as_ref().map(|user| (user, user.may(Access::Read, &path))) {
        Some((_, Ok(true))) => area.ok("env file", format!("{shown} can be read by Asterisk's programs")),
        Some((user, Ok(false))) => area.error(
            "env file",
            format!("{shown} cannot be read by Asterisk's programs, which run as {}", user.name),
            format!("chgrp {} {shown} && chmod 640 {shown}, and let it through the folders above.", user.group),
        ),
        Some((_, Err(e))) if e.kind() == std::io::ErrorKind::NotFound => {
            area.info("env file", format!("there is no {shown}: Asterisk's environment and defaults count"));
        }
        Some((_, Err(e))) => area.unknown("env file", format!("{shown}: {e}"), "Run this as root."),
        None => area.unknown("env file", "Asterisk's user is not known", "Name it with --user."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_asterisks_environment_only_what_the_programs_use_is_taken() {
        let pairs = ["DATABASE_URL", "LD_PRELOAD", "PATH", "CAPCONDUIT_ENV_FILE", "PGOPTIONS"];
        let environment_of = pairs.map(|name| (name.to_owned(), "x".to_owned())).to_vec();
        let process = Process { environment: Some(environment_of), ..Process::default() };
        let names: Vec<String> = environment(Some(&process)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["DATABASE_URL", "CAPCONDUIT_ENV_FILE", "PGOPTIONS"]);
    }
}
