//! What the platform needs of a PostgreSQL server and database: one list for `db migrate`, `db status` and `asterisk
//! check`. Each need is judged as this session sees it: settings may differ by role and database.

use postgres::GenericClient;

use crate::pg::Query;
use crate::{Error, Kind, Result, args};

/// The oldest server whose functions are all that the statements here use (`date_bin`).
const OLDEST: i32 = 140_000;
/// A call's statement waits two seconds for a lock; a shorter timeout makes a busy moment a failed call.
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
            current_setting('autovacuum') AS autovacuum,
            (SELECT string_agg(n, ', ') FROM unnest('{fsync,full_page_writes,synchronous_commit}'::text[]) n
             WHERE current_setting(n) = 'off') AS not_durable,
            (SELECT s.name || ' is ' || s.setting FROM pg_settings s
             WHERE CASE WHEN s.name IN ('statement_timeout', 'transaction_timeout') THEN s.setting::bigint END
                   BETWEEN 1 AND $1 - 1
             ORDER BY s.name LIMIT 1) AS short_timeout,
            current_schema()::text AS schema,
            -- that of the migrations, else that of v3.0's tables
            (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname IN ('capconduit_migrations', 'campaign_client_settings') AND c.relkind IN ('r', 'p')
               AND to_regclass('capconduit_migrations') IS NULL AND to_regclass('campaign_client_settings') IS NULL
             ORDER BY c.relname LIMIT 1) AS elsewhere,
            to_jsonb(d) ->> 'datcollversion' AS collation_version
        FROM pg_database d WHERE d.datname = current_database()";
    let row = db.the_row(sql, args![SHORTEST_TIMEOUT])?;
    let text = |name: &str| row.try_get::<_, String>(name);
    let optional = |name: &str| row.try_get::<_, Option<String>>(name);
    let version_num: i32 = row.try_get("version_num")?;
    let (version, encoding, isolation) = (text("version")?, text("encoding")?, text("isolation")?);
    let (role, off, short) = (text("replication_role")?, optional("not_durable")?, optional("short_timeout")?);
    let lacks = if encoding == "SQL_ASCII" { "counts bytes for characters" } else { "lacks letters that names have" };
    let mut all = vec![
        need(
            "server",
            version_num >= OLDEST,
            format!("PostgreSQL {version}"),
            Weight::Defect,
            format!("PostgreSQL {version} lacks what is used here: 14 is the oldest that has it all"),
            "Upgrade PostgreSQL (pg_upgrade keeps all data).",
        ),
        need(
            "encoding",
            encoding == "UTF8",
            "UTF8",
            Weight::Defect,
            format!(
                "the database is in {encoding}, which {lacks}: a caller's name loses them, other names are refused"
            ),
            "pg_dump it, createdb -T template0 -E UTF8 another one, restore, and rename the two.",
        ),
        need(
            "isolation",
            isolation == "read committed",
            "read committed",
            Weight::Fatal,
            format!("transactions are {isolation}: every call is refused, since caps could not be kept"),
            set!("default_transaction_isolation = 'read committed'"),
        ),
        need(
            "writing",
            !row.try_get::<_, bool>("read_only")?,
            "the server takes changes",
            Weight::Fatal,
            "the server takes no changes: it is a standby, or read-only",
            "Name the primary in DATABASE_URL; of several hosts, target_session_attrs=read-write picks it.",
        ),
        need(
            "strings",
            text("strings")? == "on",
            "standard_conforming_strings is on",
            Weight::Fatal,
            "standard_conforming_strings is off: patterns in functions mean something else",
            set!("standard_conforming_strings = on"),
        ),
        schema(optional("schema")?, optional("elsewhere")?),
        need(
            "triggers",
            role != "replica",
            format!("session_replication_role is {role}: triggers and foreign keys work"),
            Weight::Fatal,
            "session_replication_role is replica: foreign keys are not checked, and changes leave no audit",
            set!("session_replication_role = origin"),
        ),
        need(
            "row security",
            text("row_security")? == "on",
            "row_security is on",
            Weight::Defect,
            "row_security is off: the logins of sellers get errors instead of their rows",
            set!("row_security = on"),
        ),
        need(
            "durability",
            off.is_none(),
            "what is committed is kept",
            Weight::Risk,
            format!(
                "{} off: a crash of the server loses call records that count as delivered",
                off.unwrap_or_default()
            ),
            "Turn it on in postgresql.conf, and where a database or role turns it off; for a test server it does not matter.",
        ),
        need(
            "time limits",
            short.is_none(),
            "none that ends a call's statement",
            Weight::Risk,
            format!("{} ms: calls fail that would have waited for another one's claim", short.unwrap_or_default()),
            "Raise it to 5 s or more, or to 0, for this database and its roles.",
        ),
        need(
            "autovacuum",
            text("autovacuum")? == "on",
            "on",
            Weight::Risk,
            "autovacuum is off: what calls leave behind makes each claim slower",
            "autovacuum = on in postgresql.conf, then SELECT pg_reload_conf();",
        ),
    ];
    // older ones keep no version
    if version_num >= 150_000 {
        let actual = db.value(
            "SELECT pg_database_collation_actual_version(d.oid) FROM pg_database d WHERE d.datname = current_database()",
            args![],
        )?;
        all.push(collation(optional("collation_version")?, actual));
    }
    Ok(all)
}

/// A need; `problem` is what is so where it is not met, and what comes of it.
fn need(
    name: &'static str,
    is_met: bool,
    message: impl Into<String>,
    weight: Weight,
    problem: impl Into<String>,
    remedy: &'static str,
) -> Need {
    match is_met {
        true => Need { name, message: message.into(), problem: None },
        false => Need { name, message: problem.into(), problem: Some((weight, remedy)) },
    }
}

fn schema(schema: Option<String>, elsewhere: Option<String>) -> Need {
    let (problem, remedy) = match &elsewhere {
        Some(elsewhere) => (
            format!("the tables are in schema {elsewhere}, where this login does not look"),
            "Set the search_path of this role or database to that schema: ALTER DATABASE :\"DBNAME\" SET search_path = ...",
        ),
        None => (
            "no schema of the search_path exists, or this login may not use it".to_owned(),
            set!("search_path = public"),
        ),
    };
    let is_met = schema.is_some() && elsewhere.is_none();
    let message = format!("tables are looked for in {}", schema.unwrap_or_default());
    need("search_path", is_met, message, Weight::Fatal, problem, remedy)
}

/// After an operating system's upgrade, texts may sort differently than in the indexes.
fn collation(recorded: Option<String>, actual: Option<String>) -> Need {
    let is_met = recorded.is_none() || actual.is_none() || recorded == actual;
    let [recorded, actual] = [recorded, actual].map(Option::unwrap_or_default);
    need(
        "collation",
        is_met,
        "that with which the indexes were built",
        Weight::Risk,
        format!(
            "the database was built with collation version {recorded}, the system has {actual}: an index may miss numbers and names"
        ),
        "REINDEX DATABASE, then ALTER DATABASE :\"DBNAME\" REFRESH COLLATION VERSION; calls wait meanwhile.",
    )
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
