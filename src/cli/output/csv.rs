//! CSV files (RFC 4180): the names in the first line say which column is which.

use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::rc::Rc;

use csv::{ReaderBuilder, StringRecord, Terminator, Writer, WriterBuilder};

use crate::cli::env::Env;
use crate::cli::output::file::is_stream;
use crate::words::nearest;
use crate::words::plural;
use crate::{Error, Kind, Result};

/// Reads a file with a line of column names.
pub(crate) struct Sheet<R> {
    reader: csv::Reader<io::Chain<Cursor<Vec<u8>>, R>>,
    /// In the file's order.
    names: Rc<[String]>,
    problems: Vec<Problem>,
}

/// What is wrong with a line, and how often the same was found after it.
struct Problem {
    line: u64,
    what: String,
    again: usize,
}

/// A line of a file.
pub(crate) struct Line {
    /// Counted from 1, as editors do.
    pub(crate) number: u64,
    names: Rc<[String]>,
    record: StringRecord,
}

impl Line {
    /// What stands in a column; None where the file has no such column.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.record.get(self.names.iter().position(|column| column == name)?)
    }

    /// What stands in a column, where there is anything.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| !text.is_empty())
    }
}

impl<R: Read> Sheet<R> {
    /// Reads the first line. `known` are the names that it may hold, `required` those that it must.
    pub(crate) fn new(mut input: R, known: &[&str], required: &[&str]) -> Result<Self> {
        let first = first_line(&mut input)?;
        // spreadsheets write ; between the columns where , is in their numbers
        let delimiter = if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' };
        let whole = Cursor::new(first).chain(input);
        let mut reader = ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(whole);
        let header = reader.headers().map_err(|e| Error::invalid(format!("line 1: {}", why(&e))))?;
        // a spreadsheet may put a byte order mark first
        let names: Vec<String> =
            header.iter().map(|name| known_as(name.trim_start_matches('\u{feff}').trim(), known)).collect();
        let mut problems = Vec::new();
        for (at, name) in names.iter().enumerate() {
            // a comma at the end, or an empty column: what stands in it is refused line by line
            if name.is_empty() && names.len() > 1 {
                continue;
            }
            if !known.contains(&name.as_str()) {
                let columns: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
                let near = nearest(name, &columns).map(|near| format!(": did you mean \"{near}\"?"));
                let what = near.unwrap_or_else(|| format!("; there are {}", known.join(", ")));
                problems.push(format!("line 1: no column \"{}\"{what}", name.escape_debug()));
            } else if names[..at].contains(name) {
                problems.push(format!("line 1: the column {name} is there twice"));
            }
        }
        for name in required {
            if !names.iter().any(|column| column == name) {
                problems.push(format!("line 1: the column {name} is missing"));
            }
        }
        // without its columns no line makes sense
        refuse(&problems)?;
        Ok(Sheet { reader, names: names.into(), problems: Vec::new() })
    }

    /// The next well-formed line; faults of the lines before it are remembered.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let mut record = StringRecord::new();
            match self.reader.read_record(&mut record) {
                Ok(false) => return Ok(None),
                Ok(true) => {}
                Err(e) if e.is_io_error() => return Err(Error::failed(format!("cannot read the file: {e}"))),
                Err(e) => {
                    let line = e.position().map_or(0, csv::Position::line);
                    self.problem(line, why(&e));
                    continue;
                }
            }
            let number = record.position().map_or(0, csv::Position::line);
            // a spreadsheet leaves this of a cleared line
            if record.len() > 1 && record.iter().all(str::is_empty) {
                continue;
            }
            let count = self.names.len();
            let unnamed = |at: usize| self.names.get(at).is_none_or(|name| name.is_empty());
            let stray = record.iter().enumerate().find(|(at, text)| unnamed(*at) && !text.is_empty());
            match stray.map(|(at, _)| at + 1) {
                _ if record.len() < count => {
                    self.problem(number, &format!("it has {}, not {count}", plural(record.len(), "field")));
                }
                Some(at) if at > count => {
                    let has = plural(record.len(), "field");
                    self.problem(
                        number,
                        &format!("it has {has}, not {count}: a text with a comma in it stands in quotes"),
                    );
                }
                Some(at) => {
                    self.problem(number, &format!("field {at} is not empty, and line 1 does not name its column"))
                }
                None => return Ok(Some(Line { number, names: Rc::clone(&self.names), record })),
            }
        }
    }

    /// Remembers a line's fault.
    pub(crate) fn problem(&mut self, line: u64, what: &str) {
        match self.problems.iter_mut().find(|there| there.what == what) {
            Some(there) => there.again += 1,
            None => self.problems.push(Problem { line, what: what.to_owned(), again: 0 }),
        }
    }

    /// Whether nothing has been wrong so far.
    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Refuses a file with anything wrong in it.
    pub(crate) fn finish(self) -> Result<()> {
        let line = |problem: &Problem| {
            let again = match problem.again {
                0 => String::new(),
                1 => " (and in 1 more line)".to_owned(),
                n => format!(" (and in {n} more lines)"),
            };
            format!("line {}: {}{again}", problem.line, problem.what)
        };
        refuse(&self.problems.iter().map(line).collect::<Vec<_>>())
    }
}

/// A column's name, in whatever case it is written.
fn known_as(name: &str, known: &[&str]) -> String {
    let same = known.iter().find(|known| known.eq_ignore_ascii_case(name));
    (*same.unwrap_or(&name)).to_owned()
}

/// A file's first line with its end.
fn first_line(input: &mut impl Read) -> Result<Vec<u8>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(line),
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::failed(format!("cannot read the file: {e}"))),
        }
        if line.last() == Some(&b'\n') {
            return Ok(line);
        }
    }
}

fn refuse(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("the file has what cannot be imported:\n{}", problems.join("\n")))
        .hint("Nothing was changed. Put these lines right and try again."))
}

fn why(error: &csv::Error) -> &'static str {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8",
        _ => "it is not CSV",
    }
}

/// Refuses to print CSV where JSON is asked for. For a file that is written, JSON reports on it.
pub(crate) fn refuse_json(env: &Env<'_>, file: &Path, noun: &str) -> Result<()> {
    if !env.json || !is_stream(file) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{noun} export prints CSV: with --json it needs a file"))
        .hint(format!("capconduit {noun} list --json prints JSON.")))
}

/// Writes a file as spreadsheets read it.
pub(crate) fn writer<W: Write>(out: W) -> Writer<W> {
    WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out)
}

/// A field as it is written: for a spreadsheet with a `'` before what it would take for a formula. Numbers with a sign,
/// such as telephone numbers, are no formulas.
pub(crate) fn cell(text: String, spreadsheet: bool) -> String {
    let is_number = |text: &str| text.len() > 1 && text[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_formula = text.starts_with(['=', '@', '\t', '\r']) || (text.starts_with(['+', '-']) && !is_number(&text));
    if spreadsheet && is_formula { format!("'{text}") } else { text }
}

/// The error for a file that cannot be written; its reader may have gone away.
pub(crate) fn unwritable(error: &csv::Error) -> Error {
    match error.kind() {
        csv::ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            Error::failed("cannot write the result: the reader has gone away")
        }
        _ => Error::failed(format!("cannot write the result: {error}")),
    }
}
