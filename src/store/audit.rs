//! The audit: who changed what, recorded by the database (`sql/routines/audit.sql`).

use chrono::{DateTime, Utc};
use postgres::GenericClient;
use serde_json::Value;

use crate::pg::Query;
use crate::store::page::Page;
use crate::{Result, args, row};

row! {
    /// A change.
    pub struct Entry {
        /// Key.
        pub id: i64,
        /// When.
        pub at: DateTime<Utc>,
        /// The database login that made it.
        pub login: String,
        /// The person, as capconduit says; null for other programs.
        pub operator: Option<String>,
        /// The command, as capconduit says; null for other programs.
        pub command: Option<String>,
        /// The program, as it says itself.
        pub program: Option<String>,
        /// insert, update, delete or truncate.
        pub action: String,
        /// The table.
        pub table_name: String,
        /// The row's key; null where many rows went at once.
        pub row_id: Option<String>,
        /// The row's name: username, identifier, number, campaign, "campaign / client".
        pub row_name: Option<String>,
        /// Which columns an update changed.
        pub columns: Vec<String>,
        /// Columns and values before: of an update those that changed. Secrets are masked.
        pub before: Option<Value>,
        /// Columns and values after: of an update those that changed. Secrets are masked.
        pub after: Option<Value>,
    }
}

const SELECT: &str =
    "SELECT a.*, ARRAY(SELECT k FROM jsonb_object_keys(a.after) k WHERE a.action = 'update' ORDER BY k)
    AS columns FROM audit_log a";

/// Which changes; None and an empty list let everything through.
#[derive(Debug, Default)]
pub struct Filter {
    /// At or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub to: Option<DateTime<Utc>>,
    /// What `cc_tables` calls the table's noun.
    pub noun: Option<String>,
    /// `audit_log.table_name`
    pub table: Option<String>,
    /// `audit_log.row_name`, or a part of "campaign / client": one of these, in any case.
    pub names: Vec<String>,
    /// `audit_log.operator`
    pub operator: Option<String>,
    /// `audit_log.login`
    pub login: Option<String>,
    /// `audit_log.action`
    pub action: Option<String>,
    /// A part of `audit_log.command`, in any case.
    pub command: Option<String>,
}

/// Tells the database which command this transaction carries out, and who gave it. Both end with the
/// transaction.
pub fn introduce(tx: &mut impl GenericClient, command: &str, operator: &str) -> Result<()> {
    tx.rows(
        "SELECT set_config('capconduit.command', $1, true), set_config('capconduit.operator', $2, true)",
        args![command, operator],
    )?;
    Ok(())
}

/// Changes, newest first where the page has no order of its own.
pub fn list(db: &mut impl GenericClient, filter: &Filter, page: &Page) -> Result<Vec<Entry>> {
    let select = format!(
        "{SELECT}
         WHERE ($1::timestamptz IS NULL OR a.at >= $1) AND ($2::timestamptz IS NULL OR a.at < $2)
           AND ($3::text IS NULL OR a.table_name IN (SELECT t.name FROM cc_tables() t WHERE t.noun = $3))
           AND ($9::text IS NULL OR a.table_name = $9)
           AND ($4::text[] = '{{}}'
                OR ARRAY(SELECT lower(n) FROM unnest($4) n)
                && (lower(a.row_name) || string_to_array(lower(a.row_name), ' / ')))
           AND ($5::text IS NULL OR a.operator = $5) AND ($6::text IS NULL OR a.login = $6)
           AND ($7::text IS NULL OR a.action = $7)
           AND ($8::text IS NULL OR position(lower($8) IN lower(a.command)) > 0)"
    );
    let sql = page.of(&select, "r.id DESC");
    crate::pg::all(&db.rows(
        &sql,
        args![
            filter.from,
            filter.to,
            filter.noun,
            filter.names,
            filter.operator,
            filter.login,
            filter.action,
            filter.command,
            filter.table,
        ],
    )?)
}

/// The names of all rows that were ever changed.
pub fn names(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows(
        "SELECT DISTINCT n FROM audit_log a, unnest(a.row_name || string_to_array(a.row_name, ' / ')) n
         WHERE n <> '' ORDER BY 1",
        args![],
    )?)
}

/// Whether the login may read it: a seller's may not.
pub fn is_readable(db: &mut impl GenericClient) -> Result<bool> {
    Ok(db.row("SELECT 1 WHERE has_table_privilege('audit_log', 'SELECT')", args![])?.is_some())
}

row! {
    /// A column of a row, changed.
    pub struct ColumnChange {
        /// When.
        pub at: DateTime<Utc>,
        /// The person, else the database login.
        pub by: String,
        /// The value before.
        pub before: String,
        /// The value after.
        pub after: String,
    }
}

/// The first change of this column of this row after a time: its `before` is the value at that time.
pub fn next_change(
    db: &mut impl GenericClient,
    table: &str,
    row_id: &str,
    column: &str,
    from: DateTime<Utc>,
) -> Result<Option<ColumnChange>> {
    crate::pg::one(db.row(
        "SELECT a.at, coalesce(a.operator, a.login) AS by,
             coalesce(a.before ->> $3, '-') AS before, coalesce(a.after ->> $3, '-') AS after
         FROM audit_log a
         WHERE a.table_name = $1 AND a.row_id = $2 AND a.action = 'update' AND jsonb_exists(a.after, $3) AND a.at >= $4
         ORDER BY a.id LIMIT 1",
        args![table, row_id, column, from],
    )?)
}

/// The change with this id.
pub fn find(db: &mut impl GenericClient, id: i64) -> Result<Option<Entry>> {
    crate::pg::one(db.row(&format!("{SELECT} WHERE a.id = $1"), args![id])?)
}
