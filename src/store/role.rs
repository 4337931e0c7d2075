//! The database's roles: created in the cluster, kept in `database_roles`, and given their rights by
//! `cc_grant_access` (`sql/routines/access.sql`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postgres::GenericClient;
use sha2::{Digest, Sha256};

use crate::confirm::Confirmed;
use crate::pg::Query;
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
pub fn recorded(db: &mut impl GenericClient) -> Result<Vec<Role>> {
    crate::pg::all(&db.rows(
        "SELECT r.role_name, r.purpose, r.user_id, u.username,
                EXISTS (SELECT FROM pg_roles p WHERE p.rolname = r.role_name) AS is_there
         FROM database_roles r LEFT JOIN users u ON u.id = r.user_id
         ORDER BY r.purpose = 'seller', r.role_name",
        args![],
    )?)
}

/// Holds off other runs, and migrations, until the end of the transaction.
pub fn lock(tx: &mut impl GenericClient) -> Result<()> {
    tx.batch_execute("SET LOCAL lock_timeout = '5s'")?;
    crate::store::migrate::lock(tx)
}

/// What a role has that our grants do not limit: `SUPERUSER`, the tables, a membership in another role than `group`.
/// None where the cluster lacks the role.
pub fn attributes(db: &mut impl GenericClient, name: &str, group: &str) -> Result<Option<String>> {
    let row = db.row(
        "SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
                CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
                CASE WHEN rolreplication THEN 'REPLICATION' END,
                CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid = to_regclass('users'))
                     THEN 'the tables as its own' END,
                CASE WHEN EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                                  WHERE n.nspname = current_schema() AND a.grantee = r.oid AND a.privilege_type = 'CREATE')
                     THEN 'CREATE on schema ' || current_schema() END,
                (SELECT 'membership in ' || string_agg(g.rolname, ', ' ORDER BY g.rolname)
                 FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                 WHERE m.member = r.oid AND g.rolname <> $2))
         FROM pg_roles r WHERE rolname = $1",
        args![name, group],
    )?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Creates a login with this password; the server gets only its verifier. It takes CREATEROLE.
pub fn create_login(
    tx: &mut impl GenericClient,
    name: &str,
    purpose: &str,
    password: &str,
    origin: Origin,
) -> Result<()> {
    tx.batch_execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ident(name)?, verifier(password, origin)?))?;
    limit(tx, name, purpose)
}

/// Limits how many sessions people's logins may have, and how long one may keep others waiting. A session can lift
/// its own time limits: they are for accidents.
fn limit(tx: &mut impl GenericClient, name: &str, purpose: &str) -> Result<()> {
    let (connections, statement_timeout) = match purpose {
        "seller" => (5, Some("1min")),
        "report" => (10, Some("10min")),
        "asterisk" => (10, None),
        _ => (-1, None),
    };
    let role = ident(name)?;
    tx.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT {connections}"))?;
    if let Some(time) = statement_timeout {
        tx.batch_execute(&format!(
            "ALTER ROLE {role} SET statement_timeout = '{time}'; ALTER ROLE {role} SET lock_timeout = '5s';
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '1min'"
        ))?;
    }
    Ok(())
}

/// A role that nobody logs in as. It takes CREATEROLE.
pub fn create_group(tx: &mut impl GenericClient, name: &str) -> Result<()> {
    Ok(tx.batch_execute(&format!("CREATE ROLE {} NOLOGIN", ident(name)?))?)
}

/// Sets another password; the server gets only its verifier. What the old password's holder set for his sessions
/// goes; his open sessions do not: [`end_sessions`].
pub fn set_password(
    tx: &mut impl GenericClient,
    name: &str,
    purpose: &str,
    password: &str,
    origin: Origin,
) -> Result<()> {
    let (_, database) = place(tx)?;
    let (role, database) = (ident(name)?, database.replace('"', "\"\""));
    tx.batch_execute(&format!(
        "ALTER ROLE {role} LOGIN PASSWORD '{}'; ALTER ROLE {role} RESET ALL;
         ALTER ROLE {role} IN DATABASE \"{database}\" RESET ALL",
        verifier(password, origin)?
    ))?;
    limit(tx, name, purpose)
}

/// Ends a login's sessions. This takes membership in the role, which a user with CREATEROLE can give himself.
pub fn end_sessions(tx: &mut impl GenericClient, name: &str) -> Result<()> {
    let is_member = enter(tx, name)?;
    tx.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()",
        args![name],
    )?;
    if !is_member {
        tx.batch_execute(&format!("REVOKE {} FROM CURRENT_USER", ident(name)?))?;
    }
    Ok(())
}

/// Makes this session's user a member of a role; returns whether he was one.
fn enter(tx: &mut impl GenericClient, name: &str) -> Result<bool> {
    let is_member = tx.row("SELECT 1 WHERE pg_has_role($1::text, 'USAGE')", args![name])?.is_some();
    if !is_member {
        tx.batch_execute(&format!("GRANT {} TO CURRENT_USER", ident(name)?))?;
    }
    Ok(is_member)
}

/// Makes a login a member of a group, if it is not one.
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

/// Takes all rights from a seller's login, and forgets it. Its sessions go on: [`end_sessions`].
pub fn disable(tx: &mut impl GenericClient, name: &str, group: &str, _: &Confirmed) -> Result<()> {
    tx.run("DELETE FROM database_roles WHERE role_name = $1", args![name])?;
    if attributes(tx, name, group)?.is_none() {
        return Ok(());
    }
    tx.batch_execute(&format!("ALTER ROLE {} NOLOGIN", ident(name)?))?;
    if attributes(tx, group, "")?.is_some() {
        tx.batch_execute(&format!("REVOKE {} FROM {}", ident(group)?, ident(name)?))?;
    }
    Ok(())
}

/// Removes a login from the cluster, with its objects in this database. In others it must have nothing.
pub fn drop(tx: &mut impl GenericClient, name: &str, _: &Confirmed) -> Result<()> {
    if attributes(tx, name, "")?.is_none() {
        return Ok(());
    }
    enter(tx, name)?;
    Ok(tx.batch_execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", ident(name)?))?)
}

/// Records a role's purpose; a recorded one stays.
pub fn record(tx: &mut impl GenericClient, name: &str, purpose: &str, user_id: Option<i32>) -> Result<u64> {
    tx.run(
        "INSERT INTO database_roles (role_name, purpose, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        args![name, purpose, user_id],
    )
}

/// Gives every recorded role what its purpose needs. It takes the owner of the tables.
pub fn grant_access(tx: &mut impl GenericClient) -> Result<()> {
    tx.rows("SELECT cc_grant_access()", args![])?;
    Ok(())
}

/// The port that the server listens on, and its database's name.
pub fn place(db: &mut impl GenericClient) -> Result<(String, String)> {
    let row = db.the_row("SELECT current_setting('port'), current_database()::text", args![])?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The login of this session, as the server knows it.
pub fn login(db: &mut impl GenericClient) -> Result<String> {
    db.value("SELECT session_user::text", args![])
}

/// Takes CREATE on the schema of the tables from everybody: functions that run as their owner look names
/// up there. Returns the schema where it was open.
///
/// # Errors
/// [`crate::Kind::Conflict`] where this login cannot: the schema is another's, as in databases made by
/// PostgreSQL 14 and older.
pub fn close_schema(tx: &mut impl GenericClient) -> Result<Option<String>> {
    let row = tx.row(
        "SELECT n.nspname::text, quote_ident(n.nspname), quote_ident(current_user),
                pg_has_role(n.nspowner, 'USAGE')
         FROM pg_namespace n
         WHERE n.nspname = current_schema() AND has_schema_privilege('public', n.oid, 'CREATE')",
        args![],
    )?;
    let Some(row) = row else { return Ok(None) };
    let (name, schema, user): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if !row.try_get::<_, bool>(3)? {
        return Err(Error::conflict(format!(
            "everybody may create things in schema {name}, and functions that run as their owner would find them"
        ))
        .hint(format!(
            "Nothing was changed. The schema's owner, or a superuser, runs in this database: \
             REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC; GRANT CREATE ON SCHEMA {schema} TO {user}"
        )));
    }
    tx.batch_execute(&format!("REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"))?;
    Ok(Some(name))
}

/// The platform's tables that everybody has rights on: no login is limited to its own rights then.
pub fn open_tables(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows(
        "SELECT quote_ident(c.relname)
         FROM pg_class c LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v', 'p')
           AND c.relname IN (SELECT t.name FROM cc_tables() t)
           AND (EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)
                OR EXISTS (SELECT FROM aclexplode(t.attacl) a WHERE a.grantee = 0))
         GROUP BY c.relname ORDER BY 1",
        args![],
    )?)
}

/// Lets only the functions' owner and `admin` take advisory locks, which calls wait for. Returns the SQL for a
/// superuser to run, where everybody may take them and this login is no superuser.
pub fn guard_advisory_locks(tx: &mut impl GenericClient, admin: &str) -> Result<Option<String>> {
    let row = tx.row(
        "SELECT (SELECT pg_get_userbyid(p.proowner)::text FROM pg_proc p
                 WHERE p.pronamespace = current_schema()::regnamespace AND p.proname = 'cc_route'),
                (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
         WHERE has_function_privilege('public', 'pg_advisory_lock(bigint)', 'EXECUTE')",
        args![],
    )?;
    let Some(row) = row else { return Ok(None) };
    // a superuser is to run the SQL: a name that needs quoting in it is not worth the risk
    let Ok(owner) = ident(&row.try_get::<_, String>(0)?) else { return Ok(None) };
    let sql = format!(
        "DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
         AND proname ~ '^pg_(try_)?advisory_(xact_)?lock' LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %1$s FROM PUBLIC; \
         GRANT EXECUTE ON FUNCTION %1$s TO {owner}, {}', f); END LOOP; END $$",
        ident(admin)?
    );
    if !row.try_get::<_, bool>(1)? {
        return Ok(Some(sql));
    }
    tx.batch_execute(&sql)?;
    Ok(None)
}

/// Who made a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A person: guessing it is made slow.
    Chosen,
    /// A random generator: nobody guesses it, however fast. Logging in with it takes a millisecond less,
    /// on either side, which each program that a call starts would otherwise spend.
    Generated,
}

/// What the server stores instead of a password: it and its logs never see the password itself.
///
/// RFC 5803's form of RFC 5802's values, as PostgreSQL writes it.
fn verifier(password: &str, origin: Origin) -> Result<String> {
    if origin == Origin::Chosen {
        return Ok(postgres_protocol::password::scram_sha_256(password.as_bytes()));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| Error::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(verifier_of_one_round(password, salt))
}

/// The verifier of a password that SASLprep leaves as it is: letters and digits.
fn verifier_of_one_round(password: &str, salt: [u8; 16]) -> String {
    let keyed = |key: &[u8], text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(text);
        mac.finalize().into_bytes()
    };
    // the only block of PBKDF2, after one round
    let salted = keyed(password.as_bytes(), &[&salt[..], &1_u32.to_be_bytes()].concat());
    let stored = Sha256::digest(keyed(&salted, b"Client Key"));
    let server = keyed(&salted, b"Server Key");
    let [salt, stored, server] = [&salt[..], &stored, &server].map(|bytes| BASE64_STANDARD.encode(bytes));
    format!("SCRAM-SHA-256$1:{salt}${stored}:{server}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_guesses_is_quick_to_try() {
        assert!(verifier("summer", Origin::Chosen).expect("text").starts_with("SCRAM-SHA-256$4096:"));
        assert!(verifier("VgZ6", Origin::Generated).expect("text").starts_with("SCRAM-SHA-256$1:"));
        // the form of the values; that servers and clients take them, the tests of logins show
        let text = verifier_of_one_round("pencil", [7; 16]);
        let (salt, keys) = text["SCRAM-SHA-256$1:".len()..].split_once('$').expect("two parts");
        let (stored, server) = keys.split_once(':').expect("two keys");
        assert_eq!([salt, stored, server].map(str::len), [24, 44, 44]);
    }
}
