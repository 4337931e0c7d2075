//! The database's roles: created in the cluster, kept in `database_roles`, and given their rights by
//! `cc_grant_access` (`sql/routines/access.sql`).

use postgres::GenericClient;

use super::Query;
use crate::confirm::Confirmed;
use crate::{Error, Result, args, row};

row! {
    /// A role that this database has recorded.
    pub struct Role {
        /// Its name in the cluster.
        pub role_name: String,
        /// asterisk, agi, admin, report, seller_group or seller.
        pub purpose: String,
        /// The seller.
        pub user_id: Option<i32>,
        /// The seller's name.
        pub username: Option<String>,
        /// Whether the cluster has it: a database that was restored elsewhere knows roles that are not there.
        pub is_there: bool,
    }
}

/// The recorded roles, sellers last.
///
/// # Errors
/// The database's.
pub fn recorded(db: &mut impl GenericClient) -> Result<Vec<Role>> {
    super::all(&db.rows(
        "SELECT r.role_name, r.purpose, r.user_id, u.username,
                EXISTS (SELECT FROM pg_roles p WHERE p.rolname = r.role_name) AS is_there
         FROM database_roles r LEFT JOIN users u ON u.id = r.user_id
         ORDER BY r.purpose = 'seller', r.role_name",
        args![],
    )?)
}

/// Holds off other runs, and migrations, until the end of the transaction.
///
/// # Errors
/// The database's.
pub fn lock(tx: &mut impl GenericClient) -> Result<()> {
    tx.batch_execute("SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '5s'")?;
    tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('capconduit db migrate', 0))", args![])?;
    Ok(())
}

/// Whether the cluster has the role; None where it has not, else what of its attributes is more than
/// a login's: `SUPERUSER`, the tables.
///
/// # Errors
/// The database's.
pub fn attributes(db: &mut impl GenericClient, name: &str) -> Result<Option<String>> {
    let row = db.row(
        "SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
                CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
                CASE WHEN rolreplication THEN 'REPLICATION' END,
                CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid = to_regclass('users'))
                     THEN 'the tables as its own' END)
         FROM pg_roles r WHERE rolname = $1",
        args![name],
    )?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// A login with this password, of which the server gets the verifier only.
///
/// # Errors
/// The database's: creating roles takes CREATEROLE.
pub fn create_login(tx: &mut impl GenericClient, name: &str, password: &str) -> Result<()> {
    Ok(tx.batch_execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ident(name)?, verifier(password)))?)
}

/// A role that nobody logs in as.
///
/// # Errors
/// The database's: creating roles takes CREATEROLE.
pub fn create_group(tx: &mut impl GenericClient, name: &str) -> Result<()> {
    Ok(tx.batch_execute(&format!("CREATE ROLE {} NOLOGIN", ident(name)?))?)
}

/// Another password, of which the server gets the verifier only.
///
/// # Errors
/// The database's.
pub fn set_password(tx: &mut impl GenericClient, name: &str, password: &str) -> Result<()> {
    Ok(tx.batch_execute(&format!("ALTER ROLE {} PASSWORD '{}'", ident(name)?, verifier(password)))?)
}

/// Makes a login a member of a group, if it is not one.
///
/// # Errors
/// The database's.
pub fn join(tx: &mut impl GenericClient, login: &str, group: &str) -> Result<()> {
    let member = tx.row(
        "SELECT 1 FROM pg_auth_members m WHERE m.roleid = $1::text::regrole AND m.member = $2::text::regrole",
        args![group, login],
    )?;
    if member.is_some() {
        return Ok(());
    }
    Ok(tx.batch_execute(&format!("GRANT {} TO {}", ident(group)?, ident(login)?))?)
}

/// Removes a login from the cluster and from this database's record. Returns whether there was one.
///
/// # Errors
/// The database's: also where another database has given it rights.
pub fn drop(tx: &mut impl GenericClient, name: &str, _: &Confirmed) -> Result<bool> {
    let recorded = tx.run("DELETE FROM database_roles WHERE role_name = $1", args![name])? > 0;
    let there = attributes(tx, name)?.is_some();
    if there {
        tx.batch_execute(&format!("DROP ROLE {}", ident(name)?))?;
    }
    Ok(recorded || there)
}

/// Records what a role is for; one that is recorded stays.
///
/// # Errors
/// The database's.
pub fn record(tx: &mut impl GenericClient, name: &str, purpose: &str, user_id: Option<i32>) -> Result<u64> {
    tx.run(
        "INSERT INTO database_roles (role_name, purpose, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        args![name, purpose, user_id],
    )
}

/// Gives every recorded role what its purpose needs.
///
/// # Errors
/// The database's: it takes the owner of the tables.
pub fn grant_access(tx: &mut impl GenericClient) -> Result<()> {
    tx.rows("SELECT cc_grant_access()", args![])?;
    Ok(())
}

/// The port that the server listens on, and its database's name.
///
/// # Errors
/// The database's.
pub fn place(db: &mut impl GenericClient) -> Result<(String, String)> {
    let row = db
        .row("SELECT current_setting('port'), current_database()::text", args![])?
        .ok_or_else(|| Error::failed("database: no answer"))?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The schema of the tables, if everybody may create things in it: functions that run as their owner
/// look names up there.
///
/// # Errors
/// The database's.
pub fn open_schema(db: &mut impl GenericClient) -> Result<Option<String>> {
    let row = db.row(
        "SELECT current_schema()::text WHERE has_schema_privilege('public', current_schema(), 'CREATE')",
        args![],
    )?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// What the server stores instead of a password: it and its logs never see the password itself.
fn verifier(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

/// A role's name as SQL takes it.
fn ident(name: &str) -> Result<String> {
    if !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    {
        return Ok(format!("\"{name}\""));
    }
    Err(Error::invalid(format!("\"{}\" is not usable as a role's name", name.escape_debug()))
        .hint("A prefix is of a-z 0-9 _, and a whole name has at most 63 characters."))
}
