//! What is relied on of a PostgreSQL server and database: one list, which `db migrate`, `db status` and
//! `asterisk check` go by. Each is as this session sees it: settings may differ by role and database.

use postgres::{GenericClient, Row};

use crate::pg::Query;
use crate::{Error, Kind, Result, args};

/// The oldest server whose functions are all that the statements here use (`date_bin`).
const OLDEST: i32 = 140_000;
/// A call's statement waits two seconds for a lock; what ends it sooner makes a busy moment a failed call.
const SHORTEST_TIMEOUT: i64 = 3_000;

/// How bad it is where a need is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It works, and something is at risk.
    Risk,
    /// Something breaks: a new database is not set up like this, and one that is in use goes on.
    Defect,
    /// Calls are refused, or caps and records are wrong.
    Fatal,
}

/// One property, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its short name: `encoding`.
    pub name: &'static str,
    /// What is so; where it is not as it must be, also what comes of it.
    pub message: String,
    /// How bad it is, and what to do; None where it is as it must be.
    pub problem: Option<(Weight, &'static str)>,
}

/// How to set a parameter for good.
macro_rules! set {
    ($setting:literal) => {
        concat!(
            "In psql: ALTER DATABASE :\"DBNAME\" SET ",
            $setting,
            "; and so for a role that sets its own. PgBouncer: RECONNECT."
        )
    };
}

/// All of them, met or not.
pub fn needs(db: &mut impl GenericClient) -> Result<Vec<Need>> {
    let sql = "SELECT current_setting('server_version_num')::int AS version_num,
            current_setting('server_version') AS version,
            pg_encoding_to_char(d.encoding)::text AS encoding,
            current_setting('transaction_isolation') AS isolation,
            pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only,
            current_setting('standard_conforming_strings') AS strings,
            current_setting('session_replication_role') AS replication_role,
            current_setting('row_security') AS row_security,
            current_setting('synchronous_commit') AS synchronous_commit,
            current_setting('fsync') AS fsync,
            current_setting('full_page_writes') AS full_page_writes,
            current_setting('autovacuum') AS autovacuum,
            (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'statement_timeout') AS statement_timeout,
            (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'transaction_timeout') AS transaction_timeout,
            current_schema()::text AS schema,
            -- that of the migrations, else that of v3.0's tables
            (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname IN ('capconduit_migrations', 'campaign_client_settings') AND c.relkind IN ('r', 'p')
               AND to_regclass('capconduit_migrations') IS NULL AND to_regclass('campaign_client_settings') IS NULL
             ORDER BY c.relname LIMIT 1) AS elsewhere,
            to_jsonb(d) ->> 'datcollversion' AS collation_version
        FROM pg_database d WHERE d.datname = current_database()";
    let row = db.the_row(sql, args![])?;
    let version: i32 = row.try_get("version_num")?;
    let mut all = vec![self::version(&row)?];
    all.extend([encoding(&row)?, isolation(&row)?, writing(&row)?, strings(&row)?, schema(&row)?, triggers(&row)?]);
    all.extend([row_security(&row)?, durability(&row)?, timeouts(&row)?, vacuum(&row)?]);
    // older ones keep no version
    if version >= 150_000 {
        let actual = db.row(
            "SELECT pg_database_collation_actual_version(d.oid) FROM pg_database d WHERE d.datname = current_database()",
            args![],
        )?;
        let actual = actual.map(|row| row.try_get::<_, Option<String>>(0)).transpose()?.flatten();
        all.push(collation(row.try_get("collation_version")?, actual));
    }
    Ok(all)
}

fn met(name: &'static str, message: impl Into<String>) -> Need {
    Need { name, message: message.into(), problem: None }
}

fn not_met(name: &'static str, weight: Weight, message: impl Into<String>, remedy: &'static str) -> Need {
    Need { name, message: message.into(), problem: Some((weight, remedy)) }
}

fn version(row: &Row) -> Result<Need> {
    let version: String = row.try_get("version")?;
    if row.try_get::<_, i32>("version_num")? >= OLDEST {
        return Ok(met("server", format!("PostgreSQL {version}")));
    }
    let message = format!("PostgreSQL {version} lacks what is used here: 14 is the oldest that has it all");
    Ok(not_met("server", Weight::Defect, message, "Upgrade PostgreSQL (pg_upgrade keeps all data)."))
}

fn encoding(row: &Row) -> Result<Need> {
    let encoding: String = row.try_get("encoding")?;
    if encoding == "UTF8" {
        return Ok(met("encoding", "UTF8"));
    }
    let lacks = if encoding == "SQL_ASCII" { "counts bytes for characters" } else { "lacks letters that names have" };
    Ok(not_met(
        "encoding",
        Weight::Defect,
        format!("the database is in {encoding}, which {lacks}: a caller's name loses them, other names are refused"),
        "pg_dump it, createdb -T template0 -E UTF8 another one, restore, and rename the two.",
    ))
}

fn isolation(row: &Row) -> Result<Need> {
    let isolation: String = row.try_get("isolation")?;
    if isolation == "read committed" {
        return Ok(met("isolation", "read committed"));
    }
    Ok(not_met(
        "isolation",
        Weight::Fatal,
        format!("transactions are {isolation}: every call is refused, since caps could not be kept"),
        set!("default_transaction_isolation = 'read committed'"),
    ))
}

fn writing(row: &Row) -> Result<Need> {
    if !row.try_get::<_, bool>("read_only")? {
        return Ok(met("writing", "the server takes changes"));
    }
    Ok(not_met(
        "writing",
        Weight::Fatal,
        "the server takes no changes: it is a standby, or read-only",
        "Name the primary in DATABASE_URL; of several hosts, target_session_attrs=read-write picks it.",
    ))
}

fn strings(row: &Row) -> Result<Need> {
    if row.try_get::<_, String>("strings")? == "on" {
        return Ok(met("strings", "standard_conforming_strings is on"));
    }
    Ok(not_met(
        "strings",
        Weight::Fatal,
        "standard_conforming_strings is off: patterns in functions mean something else",
        set!("standard_conforming_strings = on"),
    ))
}

fn schema(row: &Row) -> Result<Need> {
    let (schema, elsewhere): (Option<String>, Option<String>) = (row.try_get("schema")?, row.try_get("elsewhere")?);
    match (schema, elsewhere) {
        (Some(schema), None) => Ok(met("search_path", format!("tables are looked for in {schema}"))),
        (_, Some(elsewhere)) => Ok(not_met(
            "search_path",
            Weight::Fatal,
            format!("the tables are in schema {elsewhere}, where this login does not look"),
            "Set the search_path of this role or database to that schema: ALTER DATABASE :\"DBNAME\" SET search_path = ...",
        )),
        (None, None) => Ok(not_met(
            "search_path",
            Weight::Fatal,
            "no schema of the search_path exists, or this login may not use it",
            set!("search_path = public"),
        )),
    }
}

fn triggers(row: &Row) -> Result<Need> {
    let role: String = row.try_get("replication_role")?;
    if role != "replica" {
        return Ok(met("triggers", format!("session_replication_role is {role}: triggers and foreign keys work")));
    }
    Ok(not_met(
        "triggers",
        Weight::Fatal,
        "session_replication_role is replica: foreign keys are not checked, and changes leave no audit",
        set!("session_replication_role = origin"),
    ))
}

fn row_security(row: &Row) -> Result<Need> {
    if row.try_get::<_, String>("row_security")? == "on" {
        return Ok(met("row security", "row_security is on"));
    }
    Ok(not_met(
        "row security",
        Weight::Defect,
        "row_security is off: the logins of sellers get errors instead of their rows",
        set!("row_security = on"),
    ))
}

fn durability(row: &Row) -> Result<Need> {
    let mut off = Vec::new();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        if row.try_get::<_, String>(setting)? == "off" {
            off.push(setting);
        }
    }
    if off.is_empty() {
        return Ok(met("durability", "what is committed is kept"));
    }
    Ok(not_met(
        "durability",
        Weight::Risk,
        format!("{} off: a crash of the server loses call records that count as delivered", off.join(", ")),
        "Turn it on in postgresql.conf, and where a database or role turns it off; for a test server it does not matter.",
    ))
}

fn timeouts(row: &Row) -> Result<Need> {
    for setting in ["statement_timeout", "transaction_timeout"] {
        let milliseconds: i64 = row.try_get::<_, Option<i64>>(setting)?.unwrap_or(0);
        if (1..SHORTEST_TIMEOUT).contains(&milliseconds) {
            return Ok(not_met(
                "time limits",
                Weight::Risk,
                format!("{setting} is {milliseconds} ms: calls fail that would have waited for another one's claim"),
                "Raise it to 5 s or more, or to 0, for this database and its roles.",
            ));
        }
    }
    Ok(met("time limits", "none that ends a call's statement"))
}

fn vacuum(row: &Row) -> Result<Need> {
    if row.try_get::<_, String>("autovacuum")? == "on" {
        return Ok(met("autovacuum", "on"));
    }
    Ok(not_met(
        "autovacuum",
        Weight::Risk,
        "autovacuum is off: what calls leave behind makes each claim slower",
        "autovacuum = on in postgresql.conf, then SELECT pg_reload_conf();",
    ))
}

/// An operating system's upgrade may sort otherwise than the indexes were built.
fn collation(recorded: Option<String>, actual: Option<String>) -> Need {
    match (recorded, actual) {
        (Some(recorded), Some(actual)) if recorded != actual => not_met(
            "collation",
            Weight::Risk,
            format!(
                "the database was built with collation version {recorded}, the system has {actual}: an index may miss numbers and names"
            ),
            "REINDEX DATABASE, then ALTER DATABASE :\"DBNAME\" REFRESH COLLATION VERSION; calls wait meanwhile.",
        ),
        _ => met("collation", "that with which the indexes were built"),
    }
}

/// Refuses what would break. `is_new`: the database is not in use yet, so that nobody is kept from an upgrade.
///
/// # Errors
/// [`Kind::Failed`], naming the first that is not met.
pub fn refuse(needs: &[Need], is_new: bool) -> Result<()> {
    for need in needs {
        if let Some((weight, remedy)) = need.problem
            && (weight == Weight::Fatal || weight == Weight::Defect && is_new)
        {
            return Err(Error::new(Kind::Failed, format!("{}: {}", need.name, need.message))
                .hint(format!("Nothing was changed. {remedy}")));
        }
    }
    Ok(())
}
