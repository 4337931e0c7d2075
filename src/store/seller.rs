//! Logins of sellers: whether this is one, and how a seller removes what is his own.

use postgres::{GenericClient, Row};

use crate::pg::Query;
use crate::{Error, Kind, Result, args};

/// Whether the login may not DELETE, but may remove its own rows with `cc_remove_own`: a seller's.
pub(super) fn only_own(db: &mut impl GenericClient, table: &str) -> Result<bool> {
    // also in a database that lacks these objects, where no login is a seller's
    let row = db.row(
        "SELECT 1 WHERE NOT has_table_privilege(to_regclass($1), 'DELETE')
           AND has_function_privilege(to_regprocedure('cc_remove_own(text, integer, integer)'), 'EXECUTE')",
        args![table],
    )?;
    Ok(row.is_some())
}

/// Whether the login is a seller's, which sees only its own rows.
pub fn is_seller_s(db: &mut impl GenericClient) -> Result<bool> {
    only_own(db, "dids")
}

/// Refuses the login of a seller who is not active: to him everything would look empty.
///
/// # Errors
/// [`Kind::Permission`]
pub fn refuse_inactive_seller(db: &mut impl GenericClient) -> Result<()> {
    if is_seller_s(db)? && db.row("SELECT 1 FROM users LIMIT 1", args![])?.is_none() {
        return Err(Error::new(
            Kind::Permission,
            "database: permission denied: the seller of this login is not active",
        )
        .hint("He sees and changes nothing. The administrator can change that: capconduit user enable SELLER"));
    }
    Ok(())
}

/// What `cc_remove_own` says.
pub(super) fn rows_removed(row: Option<Row>) -> Result<u64> {
    let rows: i64 = row.ok_or_else(|| Error::failed("database: no answer"))?.try_get(0)?;
    Ok(rows.unsigned_abs())
}
