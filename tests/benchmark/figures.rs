//! What was measured: samples, tables of them, and how they are printed.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};
use serde_json::{Map, Value, json};

/// Measurements of one thing, ascending.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(mut values: Vec<f64>) -> Samples {
        values.sort_by(f64::total_cmp);
        Samples(values)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        let (upper, n) = (self.len() / 2, self.len());
        match n {
            0 => f64::NAN,
            _ if n % 2 == 1 => self.0[upper],
            _ => f64::midpoint(self.0[upper - 1], self.0[upper]),
        }
    }

    /// The nearest rank: a value that was measured.
    pub(crate) fn p95(&self) -> f64 {
        let rank = (self.len() * 95).div_ceil(100);
        if rank == 0 { f64::NAN } else { self.0[rank - 1] }
    }
}

/// Something that can be measured again and again. What it returns is the measurement.
pub(crate) struct Alternative<'a> {
    pub(crate) name: String,
    measure: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Alternative<'a> {
    pub(crate) fn new(name: impl Into<String>, measure: impl FnMut() -> f64 + 'a) -> Alternative<'a> {
        Alternative { name: name.into(), measure: Box::new(measure) }
    }
}

/// Measures the alternatives in turn, A B C A B C ..., so that whatever else the machine does falls
/// on all of them alike. The first `warm_up` rounds are thrown away.
pub(crate) fn in_turn(warm_up: usize, rounds: usize, alternatives: &mut [Alternative<'_>]) -> Vec<(String, Samples)> {
    let mut values = vec![Vec::new(); alternatives.len()];
    for round in 0..warm_up + rounds {
        for (alternative, values) in alternatives.iter_mut().zip(&mut values) {
            let value = (alternative.measure)();
            if round >= warm_up {
                values.push(value);
            }
        }
    }
    alternatives.iter().zip(values).map(|(a, v)| (a.name.clone(), Samples::new(v))).collect()
}

/// Milliseconds that something took.
pub(crate) fn clock(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    milliseconds(begun.elapsed())
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A line of a table: its name and its columns.
pub(crate) struct Row(Map<String, Value>);

impl Row {
    pub(crate) fn new(name: &str) -> Row {
        Row(Map::new()).with("alternative", name)
    }

    pub(crate) fn with(mut self, column: &str, value: impl Into<Value>) -> Row {
        self.0.insert(column.to_owned(), value.into());
        self
    }

    /// Three significant digits: more were noise.
    pub(crate) fn number(self, column: &str, value: f64) -> Row {
        let digits = if value == 0.0 { 0.0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) };
        let scale = 10_f64.powf(digits);
        self.with(column, (value * scale).round() / scale)
    }

    /// Median and 95th percentile of milliseconds, and of how many.
    pub(crate) fn samples(self, column: &str, samples: &Samples) -> Row {
        self.number(&format!("{column}_median"), samples.median())
            .number(&format!("{column}_p95"), samples.p95())
            .with("n", samples.len())
    }
}

/// Rows that are to be compared with each other.
pub(crate) struct Table {
    title: String,
    note: String,
    rows: Vec<Row>,
}

impl Table {
    /// `note`: what was measured and how, and what a row is compared with.
    pub(crate) fn new(title: &str, note: &str) -> Table {
        Table { title: title.to_owned(), note: note.split_whitespace().collect::<Vec<_>>().join(" "), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds to each row how many times a column is that of the row named `baseline`.
    pub(crate) fn ratio(&mut self, column: &str, baseline: &str) {
        self.ratio_within(column, baseline, |_| String::new());
    }

    /// As [`Table::ratio`], each row to the baseline of its own group.
    pub(crate) fn ratio_within(&mut self, column: &str, baseline: &str, group: impl Fn(&Map<String, Value>) -> String) {
        let number = |row: &Row| row.0.get(column).and_then(Value::as_f64);
        let bases: Vec<Option<f64>> = self
            .rows
            .iter()
            .map(|row| {
                let same = |other: &&Row| other.0["alternative"] == baseline && group(&other.0) == group(&row.0);
                self.rows.iter().find(same).and_then(number)
            })
            .collect();
        self.rows = std::mem::take(&mut self.rows)
            .into_iter()
            .zip(bases)
            .map(|(row, base)| match (number(&row), base) {
                (Some(value), Some(base)) => row.number(&format!("{column} / {baseline}"), value / base),
                _ => row,
            })
            .collect();
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<&Map<String, Value>> = self.rows.iter().map(|row| &row.0).collect();
        json!({ "title": self.title, "note": self.note, "rows": rows })
    }

    /// As Markdown, so that it can be quoted as it is.
    pub(crate) fn text(&self) -> String {
        let mut columns: Vec<&String> = Vec::new();
        for column in self.rows.iter().flat_map(|row| row.0.keys()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let mut grid = Grid::new();
        grid.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(columns.iter().map(|c| c.replace('_', " ")));
        for row in &self.rows {
            grid.add_row(columns.iter().map(|&column| match row.0.get(column) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(n)) => {
                    n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), |f| f.to_string())
                }
                Some(other) => other.to_string(),
            }));
        }
        for column in grid.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("### {}\n\n{}\n\n{grid}\n", self.title, self.note)
    }
}
