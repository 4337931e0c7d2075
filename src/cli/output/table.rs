//! Tables and their cells, as text and as CSV.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;
use std::borrow::Cow;

/// Fields of lists in an object that people are shown, by the list's name.
pub(crate) type Tables = &'static [(&'static str, &'static [&'static str])];

/// A table with a heading line; numbers stand right.
pub(crate) fn table(rows: &[Value], columns: &[&str]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|c| c.rsplit('.').next().unwrap_or(c).to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|c| cell(field(row, c))));
    }
    for (index, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if rows.iter().any(|r| field(r, name).is_number()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A line of field names, then a line per row; nothing is an empty field, a list has `;` between.
pub(crate) fn csv(rows: &[Value], columns: &[String], spreadsheet: bool) -> String {
    let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    let text = |row, name: &String| crate::cli::output::csv::cell(csv_text(field(row, name)), spreadsheet);
    let records = rows.iter().map(|row| columns.iter().map(|name| text(row, name)).collect::<Vec<_>>());
    for record in std::iter::once(columns.to_vec()).chain(records) {
        // writing to memory does not fail
        let _ = writer.write_record(record);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A field of a CSV file.
pub(crate) fn csv_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            items.iter().map(text).collect::<Vec<_>>().join(";")
        }
        other => other.to_string(),
    }
}

/// A field of a row, or of an object in it.
pub(crate) fn field<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, name| &value[name])
}

/// `name  value` lines; a list of objects becomes a table below them, an object its fields that are set.
pub(crate) fn item(value: &Value, tables: Tables) -> String {
    let Some(fields) = value.as_object() else {
        return format!("{}\n", cell(value));
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    let mut below = String::new();
    for (name, field) in fields {
        match field {
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                let some = tables.iter().find(|(list, _)| list == name).map(|(_, columns)| columns.to_vec());
                let columns = some.unwrap_or_else(|| {
                    rows[0].as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default()
                });
                below.push_str(&format!("\n{name}:\n{}", table(rows, &columns)));
            }
            Value::Object(inner) if !inner.is_empty() => {
                // a SIP side has dozens of options that are left to Asterisk
                let set = inner.iter().filter(|(_, value)| !value.is_null());
                let set = Value::Object(set.map(|(name, value)| (name.clone(), value.clone())).collect());
                below.push_str(&format!("\n{name}:\n{}", item(&set, tables)));
            }
            _ => text.push_str(format!("{name:width$}  {}", cell(field)).trim_end()),
        }
        if !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
        }
    }
    text + &below
}

pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(&whole_seconds(text)),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A time without its fraction of a second, which `--json` has; other text as it is.
pub(crate) fn whole_seconds(text: &str) -> Cow<'_, str> {
    let is_time = text.len() > 20 && text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok();
    match text.split_once('.') {
        Some((seconds, _)) if is_time => Cow::Owned(format!("{seconds}Z")),
        _ => Cow::Borrowed(text),
    }
}

/// Text that a caller may have chosen, without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_caller_cannot_steer_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\u{9b}c")), "a\u{FFFD}[2Jb\u{FFFD}c");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(cell(&json!("2026-11-22T07:50:53.072294Z")), "2026-11-22T07:50:53Z");
        assert_eq!(cell(&json!("2026-11-22T07:50:53Z")), "2026-11-22T07:50:53Z");
        assert_eq!(cell(&json!("1721555999.42")), "1721555999.42");
    }

    #[test]
    fn a_table_has_the_fields_that_it_is_to_have() {
        let value = json!({"name": "x", "rows": [{"a": 1, "b": {"c": 2}, "d": 3}]});
        assert_eq!(item(&value, &[("rows", &["b.c", "a"])]), "name  x\n\nrows:\nC  A\n2  1\n");
    }

    #[test]
    fn csv_is_what_spreadsheets_read() {
        let rows = [json!({"a": "x,\"y\"", "b": null, "c": ["p", "q"]}), json!({"a": 1, "b": true, "c": []})];
        let columns = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(csv(&rows, &columns, false), "a,b,c\r\n\"x,\"\"y\"\"\",,p;q\r\n1,true,\r\n");
    }

    #[test]
    fn numbers_stand_right_and_null_is_a_dash() {
        let rows = [json!({"name": "a", "n": 5}), json!({"name": "bcd", "n": null})];
        assert_eq!(table(&rows, &["name", "n"]), "NAME  N\na     5\nbcd   -\n");
    }
}
