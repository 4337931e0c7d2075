//! The audit: who changed what, recorded by the database.

use postgres::GenericClient;

use super::Query;
use crate::{Result, args};

/// Tells the database which command this transaction carries out, and who gave it. Both end with the
/// transaction.
///
/// # Errors
/// The database's.
pub fn introduce(tx: &mut impl GenericClient, command: &str, operator: &str) -> Result<()> {
    tx.rows(
        "SELECT set_config('capconduit.command', $1, true), set_config('capconduit.operator', $2, true)",
        args![command, operator],
    )?;
    Ok(())
}
