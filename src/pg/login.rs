//! What a refusal of the database comes from: the login that was used, and the file that names it.

use crate::config::Config;
use crate::pg::connect::database_config;
use crate::system::user::Identity;
use crate::words::shell;
use crate::{Error, Kind};

/// Adds the login, the database and what to do to an error, where the database refused something that depends on the
/// login. An error that names them already stays as it is.
#[must_use]
pub fn name_login(config: &Config, mut error: Error) -> Error {
    let Ok(database) = database_config(config, "capconduit") else { return error };
    let Some(said) = error.message.strip_prefix("database: ") else { return error };
    let name = database.get_dbname().unwrap_or("?");
    let is_missing = said == format!("database \"{name}\" does not exist");
    let place = format!("database \"{name}\")");
    if !is_missing && (error.kind != Kind::Permission || error.message.ends_with(&place)) {
        return error;
    }
    let login = database.get_user().map_or_else(|| Identity::own().name, str::to_owned);
    let source = config.database_source();
    let as_superuser = |command: &str| format!("As PostgreSQL's superuser: runuser -u postgres -- {command}");
    let create = format!("createdb --owner {} {}", shell(&login), shell(name));
    let role = said.strip_prefix("role \"").and_then(|rest| rest.strip_suffix("\" does not exist"));
    if let Some(role) = role {
        let user = format!("createuser --createrole {}", shell(role));
        error.hint = Some(format!(
            "PostgreSQL has no login of this name. {} && runuser -u postgres -- {create}. Then capconduit db migrate. Or \
             name another login: it comes from {source}.",
            as_superuser(&user)
        ));
    } else if is_missing {
        error.hint = Some(format!(
            "{}. Then capconduit db migrate. Or name another database: it comes from {source}.",
            as_superuser(&create)
        ));
        return error;
    } else if said.starts_with("password authentication failed") {
        error.hint = Some(format!(
            "The login comes from {source}: correct its password there. A login that capconduit db roles has made gets a \
             new one with --rotate."
        ));
    } else if said.starts_with("no pg_hba.conf entry") && said.ends_with("no encryption") {
        error.hint = Some(format!(
            "pg_hba.conf of that server lets no unencrypted connection of this login in; it may let encrypted ones (hostssl): \
             sslmode=require in {source}, or verify-full with sslrootcert=FILE."
        ));
    } else if said.starts_with("no pg_hba.conf entry") {
        error.hint = Some(format!("pg_hba.conf of that server has no line for it. The login comes from {source}."));
    } else if said.contains("requires a valid client certificate") || said.starts_with("certificate authentication") {
        error.hint = Some(format!(
            "The server wants a certificate for this login: sslcert=FILE and sslkey=FILE in {source}; its name (CN) is the \
             login's."
        ));
    } else if said.contains("permission denied to create role") || said.contains("permission denied to alter role") {
        let sql = format!("ALTER ROLE \"{login}\" CREATEROLE");
        error.hint = Some(format!("Nothing was changed. {}", as_superuser(&format!("psql -c {}", shell(&sql)))));
    }
    error.message = format!("{} (login \"{login}\", {place}", error.message);
    error.hint.get_or_insert_with(|| {
        format!(
            "This login has no right to do that, or not to what is not its own; it comes from {source}. The administrator's, \
             in admin.env, is read by root: use sudo. capconduit db roles makes a login for each purpose."
        )
    });
    error
}
