//! Statements with typed arguments, and the rows they return.

use chrono::{DateTime, Utc};
use postgres::types::{FromSql, ToSql, Type};
use postgres::{GenericClient, Row};

use crate::{Error, Result};

/// A Rust type and the PostgreSQL type that it is sent as.
pub trait SqlArg: ToSql + Sync + Sized {
    /// The type named in the Parse message.
    const TYPE: Type;
}

macro_rules! sql_arg {
    ($($rust:ty => $sql:ident),* $(,)?) => {
        $(impl SqlArg for $rust { const TYPE: Type = Type::$sql; })*
    };
}
sql_arg! {
    bool => BOOL, i32 => INT4, i64 => INT8, String => TEXT, &str => TEXT, DateTime<Utc> => TIMESTAMPTZ,
    Vec<i32> => INT4_ARRAY, Vec<i64> => INT8_ARRAY, Vec<String> => TEXT_ARRAY,
    Vec<&str> => TEXT_ARRAY,
}
impl<T: SqlArg> SqlArg for Option<T> {
    const TYPE: Type = T::TYPE;
}

/// An argument with its type, for [`args!`].
pub fn arg<T: SqlArg>(value: &T) -> (&(dyn ToSql + Sync), Type) {
    (value, T::TYPE)
}

/// `args![a, b]`: the arguments of a [`Query`] method, typed by their Rust types.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::pg::arg(&$value)),*] };
}

/// Statements with typed arguments on a client or a transaction. Each fails with what the database says, by its SQLSTATE.
pub trait Query: GenericClient {
    /// All rows.
    fn rows(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        Ok(self.query_typed(sql, args)?)
    }

    /// The only row, or None. More than one is an error.
    fn row(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>> {
        Ok(self.query_typed_opt(sql, args)?)
    }

    /// The row of a statement that always has one.
    fn the_row(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row> {
        Ok(self.query_typed_one(sql, args)?)
    }

    /// The first column of that row.
    fn value<T: for<'r> FromSql<'r>>(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<T> {
        Ok(self.the_row(sql, args)?.try_get(0)?)
    }

    /// How many rows the statement changed.
    fn run(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64> {
        Ok(self.execute_typed(sql, args)?)
    }
}

impl<C: GenericClient> Query for C {}

/// All rows, converted.
pub(crate) fn all<T: for<'r> TryFrom<&'r Row, Error = Error>>(rows: &[Row]) -> Result<Vec<T>> {
    rows.iter().map(T::try_from).collect()
}

/// The only row, converted.
pub(crate) fn one<T: for<'r> TryFrom<&'r Row, Error = Error>>(row: Option<Row>) -> Result<Option<T>> {
    row.as_ref().map(T::try_from).transpose()
}

/// The first column of all rows.
pub(crate) fn column<T: for<'r> FromSql<'r>>(rows: &[Row]) -> Result<Vec<T>> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
