//! Rows that are added and changed by column: the verbs' statements for every noun.

use postgres::GenericClient;
use serde_json::{Map, Value};

use crate::confirm::Confirmed;
use crate::model::realtime::Text;
use crate::pg::Query;
use crate::store::noun::Noun;
use crate::store::seller;
use crate::{Result, args};

/// Columns with their new values; null clears one.
pub type Changes = Map<String, Value>;

/// Changes of these columns.
pub(crate) fn of<const N: usize>(columns: [(&str, Value); N]) -> Changes {
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Adds a row, with the database's defaults for what is not given; returns the id that names it in [`set`].
///
/// # Errors
/// [`crate::Kind::Conflict`] where the row exists already.
pub fn add(db: &mut impl GenericClient, noun: Noun, row: Changes) -> Result<i32> {
    let columns = |of: &str| row.keys().map(|name| format!("{of}\"{name}\"")).collect::<Vec<_>>().join(", ");
    let (table, handle) = (noun.table(), noun.handle());
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM jsonb_populate_record(NULL::{table}, $1::text::jsonb) x RETURNING {handle}",
        columns(""),
        columns("x."),
    );
    db.value(&sql, args![stored(noun, row).to_string()])
}

/// Changes a row; without changes, only its time of the last change. Returns how many rows were changed. The SIP side
/// is named by its client's id.
///
/// # Errors
/// [`crate::Kind::Conflict`] where the new value is another row's.
pub fn set(db: &mut impl GenericClient, noun: Noun, id: i32, changes: &Changes) -> Result<u64> {
    // names only the columns that change: a seller's login may not touch all of them
    let columns: String = changes.keys().map(|name| format!("\"{name}\" = x.\"{name}\", ")).collect();
    let (table, updated, handle) = (noun.table(), noun.updated(), noun.handle());
    let sql = format!(
        "UPDATE {table} t SET {columns}{updated} = now()
         FROM jsonb_populate_record(NULL::{table}, $1::text::jsonb) x WHERE t.{handle} = $2"
    );
    db.run(&sql, args![stored(noun, changes.clone()).to_string(), id])
}

/// Removes a row with all that depends on it; call records stay, but name it no more. Returns how many rows were
/// removed.
pub fn remove(db: &mut impl GenericClient, noun: Noun, id: i32, _: &Confirmed) -> Result<u64> {
    let table = noun.table();
    if matches!(noun, Noun::Did | Noun::Campaign | Noun::Setting) && seller::only_own(db, table)? {
        return seller::rows_removed(db.row("SELECT cc_remove_own($1, $2)", args![table, id])?);
    }
    db.run(&format!("DELETE FROM {table} WHERE id = $1"), args![id])
}

/// A row as a statement takes it: texts in their stored form.
pub(crate) fn stored(noun: Noun, mut fields: Changes) -> Value {
    for (name, value) in &mut fields {
        if let Value::String(text) = value
            && noun.is_escaped()
            && name != "client"
        {
            *text = Text(std::mem::take(text)).encoded();
        }
    }
    Value::Object(fields)
}
