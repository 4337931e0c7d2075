//! The row that a function answers with.

use std::sync::Arc;

use bytes::Bytes;
use postgres::types::{FromSql, Type};

use crate::{Error, Result};

/// The names and types of an answer's columns.
pub(super) type Columns = Arc<[(String, Type)]>;

/// A row of an answer.
pub struct Row {
    pub(super) columns: Columns,
    pub(super) values: Vec<Option<Bytes>>,
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// There is no such column, or it has another type.
    pub fn try_get<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T> {
        let index = self.columns.iter().position(|(name, _)| name == column);
        let decoded = match index {
            Some(index) => self.decode(index),
            None => Err("there is none".into()),
        };
        decoded.map_err(|e| {
            Error::failed(format!("database: error deserializing column {column}: {e}"))
                .hint("The schema is not this program's: run capconduit db migrate.")
        })
    }

    pub(super) fn decode<'a, T: FromSql<'a>>(
        &'a self,
        index: usize,
    ) -> Result<T, Box<dyn std::error::Error + Sync + Send>> {
        let (Some((_, sql_type)), Some(value)) = (self.columns.get(index), self.values.get(index)) else {
            return Err("there is none".into());
        };
        if !T::accepts(sql_type) {
            return Err(format!("it is a {sql_type}").into());
        }
        T::from_sql_nullable(sql_type, value.as_deref())
    }
}
