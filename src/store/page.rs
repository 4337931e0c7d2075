//! One page of a long list: the database orders all matching rows, and then cuts.
//!
//! The order is that of `cli::listing`: null comes last, either way; text goes by its letters whatever the case of A
//! to Z, then by its bytes.

use crate::model::shape::{Field, Json};

/// A field to order by.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// Of the row that is listed.
    pub field: &'static Field,
    /// Descending.
    pub highest_first: bool,
}

/// Which rows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The first of these that tells two rows apart decides.
    pub order: Vec<By>,
    /// How many at most.
    pub limit: i32,
    /// How many are left out at the beginning.
    pub offset: i32,
}

impl Page {
    /// All rows, in the list's own order.
    #[must_use]
    pub fn whole() -> Page {
        Page { order: Vec::new(), limit: i32::MAX, offset: 0 }
    }

    /// The rows of `select` that are on this page. `otherwise` orders what the fields do not tell apart, by
    /// columns of `r`.
    pub(super) fn of(&self, select: &str, otherwise: &str) -> String {
        let order: String = self.order.iter().map(By::sql).collect();
        let Page { limit, offset, .. } = self;
        format!("SELECT * FROM ({select}) r ORDER BY {order}{otherwise} LIMIT {limit} OFFSET {offset}")
    }
}

impl By {
    /// Its terms, each with a comma behind it. The name is one that the program has, never a text of the user's.
    fn sql(&self) -> String {
        let column = format!("r.\"{}\"", self.field.name);
        let text = |text: &str| vec![format!("lower({text} COLLATE \"C\")"), format!("{text} COLLATE \"C\"")];
        let terms = match self.field.json.known() {
            Json::Integer | Json::Number | Json::Boolean | Json::Time | Json::Date => vec![column],
            Json::Text => text(&format!("{column}::text")),
            // a list or an object goes by how it is printed
            _ => text(&format!("to_json({column})::text")),
        };
        let way = if self.highest_first { "DESC" } else { "ASC" };
        terms.iter().map(|term| format!("{term} {way} NULLS LAST, ")).collect()
    }
}
