//! What every list can do: choose, order and cut its rows, and be CSV.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::args::input::{integer, not_an_option};
use crate::cli::env::Env;
use crate::cli::output::{self, Output, table};
use crate::model::shape::{Field, Fields};
use crate::model::values::number;
use crate::store::page::{self, By};
use crate::{Error, Kind, Result};

/// Options of every list.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "List options")]
pub(crate) struct Listing {
    /// Only these fields, in this order; --json prints their names
    #[arg(long, value_name = "FIELD,...", value_delimiter = ',', display_order = 800)]
    columns: Vec<String>,
    /// Order by these fields; -FIELD: the highest first
    #[arg(long, value_name = "FIELD,...", value_delimiter = ',', allow_hyphen_values = true, value_parser = not_an_option("a field"), display_order = 801)]
    sort: Vec<String>,
    /// How many rows at most
    #[arg(long, value_name = "N", value_parser = integer::<0>, allow_negative_numbers = true, display_order = 802)]
    limit: Option<i64>,
    /// How many rows to leave out at the beginning
    #[arg(long, value_name = "N", value_parser = integer::<0>, allow_negative_numbers = true, display_order = 803)]
    offset: Option<i64>,
    /// Print CSV (RFC 4180) with a line of field names
    #[arg(long, conflicts_with = "json", display_order = 804)]
    csv: bool,
    /// With --csv: a ' before what a spreadsheet would take for a formula; import does not take it off
    #[arg(long, requires = "csv", display_order = 805)]
    spreadsheet: bool,
}

/// How many rows of an endless list are shown by default.
const NEWEST: i32 = 50;

/// The part of a list that the database is asked for.
pub(crate) struct Page {
    of: page::Page,
    is_given: bool,
}

impl Page {
    /// The page as the database gets it, maybe with a row more than [`Page::cut`] leaves.
    pub(crate) fn asked(&self) -> &page::Page {
        &self.of
    }

    /// The rows to show; says so where the default number leaves some out.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, env: &mut Env<'_>) -> Vec<T> {
        if !self.is_given && rows.len() > NEWEST as usize {
            rows.truncate(NEWEST as usize);
            let which = match (self.of.offset, self.of.order.as_slice()) {
                (0, []) => format!("the newest {NEWEST}"),
                (0, _) => format!("the first {NEWEST} in this order"),
                (offset, []) => format!("{NEWEST} after the newest {offset}"),
                (offset, _) => format!("{NEWEST} after the first {offset} in this order"),
            };
            env.progress(&format!("note: these are {which}, there are more: --limit N shows N"));
        }
        rows
    }
}

/// A field that rows have.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_time: bool,
}

impl<'a> From<&'a Field> for Known<'a> {
    fn from(field: &'a Field) -> Known<'a> {
        Known { name: field.name, is_time: field.is_time() }
    }
}

impl Listing {
    /// Lets the database do what [`Listing::of`] does: it sorts an endless list where all rows are. `T` are its rows;
    /// `made` are fields that they get here, and that cannot order them.
    ///
    /// # Errors
    /// [`Kind::Usage`]: a field that the rows do not have. More than the database can count.
    pub(crate) fn page<T: Fields>(&mut self, made: &[Field]) -> Result<Page> {
        let names: Vec<&str> = T::FIELDS.iter().chain(made).map(|field| field.name).collect();
        for name in &self.columns {
            check_field(name, &names)?;
        }
        let mut order = Vec::new();
        for text in self.sort.drain(..) {
            let (name, highest_first) = direction(&text);
            check_field(name, &names)?;
            let field = T::FIELDS.iter().find(|field| field.name == name).ok_or_else(|| {
                let hint = "It is put together from other fields for people: order by those.";
                Error::new(Kind::Usage, format!("--sort {name}: it has no order of its own")).hint(hint)
            })?;
            order.push(By { field, highest_first });
        }
        let offset = number("offset", self.offset.take().unwrap_or(0), 0..=i32::MAX)?.unwrap_or_default();
        let given = number("limit", self.limit.take(), 0..=i32::MAX)?;
        // one row more than is shown tells whether there are more
        let limit = given.unwrap_or(NEWEST + 1);
        Ok(Page { of: page::Page { order, limit, offset }, is_given: given.is_some() })
    }

    /// The rows as they are asked for; `columns` are the table's fields by default.
    ///
    /// # Errors
    /// [`Kind::Usage`]: a field that the rows do not have.
    pub(crate) fn of<T: Serialize + Fields>(&self, rows: &[T], columns: &[&str], empty: &str) -> Result<Output> {
        let fields: Vec<Known<'_>> = T::FIELDS.iter().map(Known::from).collect();
        let rows = rows.iter().map(output::to_value).collect::<Result<_>>()?;
        self.of_values(rows, &fields, columns, empty)
    }

    /// As [`Listing::of`], for rows that are JSON already; `fields` are all that they have, `a.b` is a
    /// field of the object `a`.
    pub(crate) fn of_values(
        &self,
        mut rows: Vec<Value>,
        fields: &[Known<'_>],
        columns: &[&str],
        empty: &str,
    ) -> Result<Output> {
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let sort: Vec<(&str, bool)> = self.sort.iter().map(|text| direction(text)).collect();
        for name in self.columns.iter().map(String::as_str).chain(sort.iter().map(|(name, _)| *name)) {
            check_field(name, &names)?;
        }
        if !sort.is_empty() {
            let is_time = |name: &str| fields.iter().any(|field| field.name == name && field.is_time);
            let sort: Vec<_> =
                sort.iter().map(|(name, highest_first)| (*name, *highest_first, is_time(name))).collect();
            rows.sort_by(|a, b| {
                let by = sort.iter().map(|(name, highest_first, is_time)| {
                    compare(table::field(a, name), table::field(b, name), *is_time, *highest_first)
                });
                by.fold(Ordering::Equal, Ordering::then)
            });
        }
        let size = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(offset) = self.offset {
            rows.drain(..size(offset).min(rows.len()));
        }
        if let Some(limit) = self.limit {
            rows.truncate(size(limit));
        }
        let chosen: Vec<String> = match (self.columns.as_slice(), self.csv) {
            ([], false) => columns.iter().map(|&name| name.to_owned()).collect(),
            // a program reads it: everything, as with --json
            ([], true) => names.iter().map(|&name| name.to_owned()).collect(),
            (chosen, _) => chosen.to_vec(),
        };
        if self.csv {
            return Ok(Output::Csv { rows, columns: chosen, spreadsheet: self.spreadsheet });
        }
        if !self.columns.is_empty() {
            rows = rows.iter().map(|row| only(row, &chosen)).collect();
        }
        Ok(Output::List { rows, columns: chosen, empty: empty.to_owned() })
    }
}

/// A row with these fields; `a.b` stays inside its object `a`.
fn only(row: &Value, names: &[String]) -> Value {
    let mut chosen = Map::new();
    for name in names {
        match name.split_once('.') {
            None => {
                chosen.insert(name.clone(), row[name].clone());
            }
            Some((object, inner)) if row[object].is_object() => {
                let entry = chosen.entry(object).or_insert_with(|| Value::Object(Map::new()));
                entry[inner] = row[object][inner].clone();
            }
            Some((object, _)) => {
                chosen.insert(object.to_owned(), row[object].clone());
            }
        }
    }
    Value::Object(chosen)
}

fn check_field(name: &str, names: &[&str]) -> Result<()> {
    if names.contains(&name) {
        return Ok(());
    }
    let error = Error::new(Kind::Usage, format!("no field \"{}\"", name.escape_debug()));
    Err(error.hint(format!("There are: {}", names.join(", "))))
}

/// The field that `-FIELD` or `FIELD` orders by, and whether the highest comes first.
fn direction(text: &str) -> (&str, bool) {
    match text.strip_prefix('-') {
        Some(name) => (name, true),
        None => (text, false),
    }
}

/// Empty values come last in either order. Numbers go by size, times by moment, text by its letters whatever the case
/// of A to Z, then by its bytes: the order that the database gives (`store::page`), whatever its locale.
fn compare(a: &Value, b: &Value, is_time: bool, highest_first: bool) -> Ordering {
    let number = |n: &serde_json::Number| n.as_f64().unwrap_or_default();
    let time = |text: &str| text.parse::<DateTime<Utc>>().ok();
    let order = match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => return Ordering::Greater,
        (_, Value::Null) => return Ordering::Less,
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => number(a).total_cmp(&number(b)),
        },
        // as text, a whole second would come after its fractions
        (Value::String(a), Value::String(b)) if is_time => time(a).cmp(&time(b)),
        (Value::String(a), Value::String(b)) => by_letters(a, b),
        (a, b) => by_letters(&a.to_string(), &b.to_string()),
    };
    if highest_first { order.reverse() } else { order }
}

fn by_letters(a: &str, b: &str) -> Ordering {
    a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: [Known<'_>; 4] = [
        Known { name: "id", is_time: false },
        Known { name: "name", is_time: false },
        Known { name: "aor.contact", is_time: false },
        Known { name: "at", is_time: true },
    ];

    fn arranged(listing: &Listing) -> Output {
        let rows = vec![
            json!({"id": 1, "name": "b", "aor": {"contact": "y"}, "at": "2026-07-01T12:00:00.500001Z"}),
            json!({"id": 2, "name": "A", "aor": null, "at": "2026-07-01T12:00:00Z"}),
            json!({"id": 10, "name": null, "aor": {"contact": "x"}, "at": "2026-07-01T12:00:00.500Z"}),
        ];
        listing.of_values(rows, &FIELDS, &["id"], "none").expect("known fields")
    }

    fn ids(listing: &Listing) -> Vec<i64> {
        let Output::List { rows, .. } = arranged(listing) else { panic!("a list") };
        rows.iter().map(|row| row["id"].as_i64().expect("a number")).collect()
    }

    fn sorted(by: &[&str]) -> Listing {
        Listing { sort: by.iter().map(|&name| name.to_owned()).collect(), ..Listing::default() }
    }

    #[test]
    fn rows_are_ordered_and_cut() {
        assert_eq!(ids(&sorted(&["-id"])), [10, 2, 1]);
        assert_eq!(ids(&sorted(&["name"])), [2, 1, 10]);
        assert_eq!(ids(&sorted(&["-name"])), [1, 2, 10], "nothing is not the highest");
        assert_eq!(ids(&sorted(&["aor.contact"])), [10, 1, 2]);
        assert_eq!(ids(&sorted(&["-aor.contact"])), [1, 10, 2]);
        assert_eq!(ids(&sorted(&["at"])), [2, 10, 1], "by when they were, not by their letters");
        assert_eq!(ids(&Listing { offset: Some(1), limit: Some(1), ..sorted(&["id"]) }), [2]);
        assert_eq!(ids(&Listing { offset: Some(9), ..Listing::default() }), [0; 0]);
    }

    #[test]
    fn fields_are_chosen() {
        let columns = ["aor.contact", "id"].map(str::to_owned).to_vec();
        let Output::List { rows, .. } = arranged(&Listing { columns, ..Listing::default() }) else { panic!("a list") };
        assert_eq!(rows[0], json!({"aor": {"contact": "y"}, "id": 1}));
        assert_eq!(rows[1], json!({"aor": null, "id": 2}));
        let error = sorted(&["nmae"]).of_values(Vec::new(), &FIELDS, &[], "").expect_err("unknown");
        assert_eq!((error.kind, error.message.as_str()), (Kind::Usage, "no field \"nmae\""));
    }
}
