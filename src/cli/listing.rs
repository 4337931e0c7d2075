//! What every list can do: choose, order and cut its rows, and be CSV.

use std::cmp::Ordering;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Env;
use super::input::{integer, not_an_option, number};
use super::output::{self, Output};
use crate::store::Fields;
use crate::{Error, Kind, Result};

/// Options of every list.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "List options")]
pub(super) struct Listing {
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

/// How many rows of a list without end are shown where nobody says.
const NEWEST: i32 = 50;

/// What the database is asked for.
pub(super) struct Page {
    pub(super) limit: i32,
    pub(super) offset: i32,
    is_given: bool,
}

impl Page {
    /// The rows that are shown; says so where nobody asked for an end and there is one.
    pub(super) fn cut<T>(&self, mut rows: Vec<T>, env: &mut Env<'_>) -> Vec<T> {
        if !self.is_given && rows.len() > NEWEST as usize {
            rows.truncate(NEWEST as usize);
            env.progress(&format!("note: these are the newest {NEWEST}, there are more: --limit N shows N"));
        }
        rows
    }
}

impl Listing {
    /// `--limit` and `--offset`, for a list that the database is to cut.
    ///
    /// # Errors
    /// More than the database can count.
    pub(super) fn page(&mut self) -> Result<Page> {
        let offset = number("offset", self.offset.take().unwrap_or(0), 0..=i32::MAX)?.unwrap_or_default();
        let given = number("limit", self.limit.take(), 0..=i32::MAX)?;
        // one more than is shown says whether there are more
        Ok(Page { limit: given.unwrap_or(NEWEST + 1), offset, is_given: given.is_some() })
    }

    /// The rows as they are asked for; `columns` are the fields of the table where nobody chose.
    ///
    /// # Errors
    /// [`Kind::Usage`]: a field that the rows do not have.
    pub(super) fn of<T: Serialize + Fields>(&self, rows: &[T], columns: &[&str], empty: &str) -> Result<Output> {
        let names: Vec<&str> = T::FIELDS.iter().map(|field| field.name).collect();
        let rows = rows.iter().map(output::to_value).collect::<Result<_>>()?;
        self.of_values(rows, &names, columns, empty)
    }

    /// As [`Listing::of`], for rows that are JSON already; `names` are all their fields, `a.b` is a
    /// field of the object `a`.
    pub(super) fn of_values(
        &self,
        mut rows: Vec<Value>,
        names: &[&str],
        columns: &[&str],
        empty: &str,
    ) -> Result<Output> {
        let sort = self.sort.iter().map(|name| match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        });
        let sort: Vec<(&str, bool)> = sort.collect();
        for name in self.columns.iter().map(String::as_str).chain(sort.iter().map(|(name, _)| *name)) {
            check_field(name, names)?;
        }
        if !sort.is_empty() {
            rows.sort_by(|a, b| {
                let by = sort.iter().map(|(name, highest_first)| {
                    let order = compare(output::field(a, name), output::field(b, name));
                    if *highest_first { order.reverse() } else { order }
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

/// Nothing comes last, numbers go by size, text by its letters and then by its case.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::String(a), Value::String(b)) => a.to_lowercase().cmp(&b.to_lowercase()).then_with(|| a.cmp(b)),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAMES: [&str; 3] = ["id", "name", "aor.contact"];

    fn arranged(listing: &Listing) -> Output {
        let rows = vec![
            json!({"id": 1, "name": "b", "aor": {"contact": "y"}}),
            json!({"id": 2, "name": "A", "aor": null}),
            json!({"id": 10, "name": null, "aor": {"contact": "x"}}),
        ];
        listing.of_values(rows, &NAMES, &["id"], "none").expect("known fields")
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
        assert_eq!(ids(&sorted(&["aor.contact"])), [10, 1, 2]);
        assert_eq!(ids(&Listing { offset: Some(1), limit: Some(1), ..sorted(&["id"]) }), [2]);
        assert_eq!(ids(&Listing { offset: Some(9), ..Listing::default() }), [0; 0]);
    }

    #[test]
    fn fields_are_chosen() {
        let columns = ["aor.contact", "id"].map(str::to_owned).to_vec();
        let Output::List { rows, .. } = arranged(&Listing { columns, ..Listing::default() }) else { panic!("a list") };
        assert_eq!(rows[0], json!({"aor": {"contact": "y"}, "id": 1}));
        assert_eq!(rows[1], json!({"aor": null, "id": 2}));
        let error = sorted(&["nmae"]).of_values(Vec::new(), &NAMES, &[], "").expect_err("unknown");
        assert_eq!((error.kind, error.message.as_str()), (Kind::Usage, "no field \"nmae\""));
    }
}
