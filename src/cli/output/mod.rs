//! The only printer of the CLI: tables for people, JSON for scripts, errors for both.

pub(crate) mod bars;
pub(crate) mod csv;
pub(crate) mod file;
pub(crate) mod frames;
pub(crate) mod table;

use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::output::frames::Frames;
use crate::cli::output::table::{Tables, csv, item, printable, table};
use crate::{Error, Kind, Result};

/// What a command shows.
#[derive(Debug)]
pub enum Output {
    /// Rows; JSON: an array of objects with all fields.
    List {
        /// One object per row.
        rows: Vec<Value>,
        /// The fields of the table, in order; `aor.contact` is a field of the object `aor`.
        columns: Vec<String>,
        /// What is said instead of an empty table.
        empty: String,
    },
    /// Rows as CSV, whatever else is asked for.
    Csv {
        /// One object per row.
        rows: Vec<Value>,
        /// The fields, in order.
        columns: Vec<String>,
        /// Whether formulas are made plain text.
        spreadsheet: bool,
    },
    /// Text in another format that a program reads.
    Text(String),
    /// The same, too long to hold in memory.
    Stream(Stream),
    /// What programs read as JSON and people as a text of its own.
    Report {
        /// For programs.
        value: Value,
        /// For people.
        text: String,
    },
    /// One thing: name and value per line, nested lists as tables; JSON: the object.
    Item(Value),
    /// One thing with lists in it that are too wide for a table of all their fields; JSON: the object.
    Detail {
        /// The object.
        value: Value,
        /// Which fields of which lists the tables show, in order.
        tables: Tables,
    },
    /// Something was done; JSON: the thing as it is now.
    Done {
        /// `Client "acme" added.`
        message: String,
        /// The thing that was changed.
        value: Value,
    },
    /// What is shown again and again; it brings its own format.
    Frames(Frames),
    /// A check that found something: what it looked at, and the error it ends with.
    Findings {
        /// Goes to standard output.
        output: Box<Output>,
        /// Decides the exit code and goes to standard error, unless a report has said it.
        error: Error,
    },
}

/// Writes text as it goes.
pub struct Stream(pub Box<WriteText>);

type WriteText = dyn FnOnce(&mut dyn Write) -> Result<()>;

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Output {
    /// Rows of a table with these columns.
    ///
    /// # Errors
    /// A row that has no JSON form.
    pub fn list<T: Serialize>(rows: &[T], columns: &'static [&'static str], empty: &str) -> Result<Self> {
        let rows = rows.iter().map(to_value).collect::<Result<_>>()?;
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Ok(Output::List { rows, columns, empty: empty.to_owned() })
    }

    /// One thing in full.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn item<T: Serialize>(item: &T) -> Result<Self> {
        Ok(Output::Item(to_value(item)?))
    }

    /// One thing in full, its lists as tables of some of their fields.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn detail<T: Serialize>(item: &T, tables: Tables) -> Result<Self> {
        Ok(Output::Detail { value: to_value(item)?, tables })
    }

    /// The same change in other words, which `message` makes of the changed thing.
    #[must_use]
    pub fn saying(self, message: impl FnOnce(&Value) -> String) -> Self {
        match self {
            Output::Done { value, .. } => Output::Done { message: message(&value), value },
            other => other,
        }
    }

    /// A change that was made, and the thing as it is now.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn done<T: Serialize>(message: impl Into<String>, item: &T) -> Result<Self> {
        Ok(Output::Done { message: message.into(), value: to_value(item)? })
    }
}

pub(crate) fn to_value<T: Serialize>(item: &T) -> Result<Value> {
    serde_json::to_value(item).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))
}

/// Prints a result or an error; returns the exit code. A reader that has gone away (`| head`) is no error.
pub fn print(result: Result<Output>, json: bool, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let output = match result {
        Ok(Output::Frames(frames)) => return print_frames(frames, json, stdout, stderr),
        Ok(Output::Stream(Stream(write))) => {
            let mut out = Gone { out: stdout, gone: false };
            let written = write(&mut out);
            let gone = out.gone;
            return match written {
                Err(error) if !gone => print_error(&error, json, stderr),
                _ => 0,
            };
        }
        Ok(output) => output,
        Err(error) => return print_error(&error, json, stderr),
    };
    let text = if json { as_json(&output) } else { as_text(&output) };
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => match &output {
            // a report has told people already
            Output::Findings { output, error }
                if !json && error.kind == Kind::Failed && matches!(**output, Output::Report { .. }) =>
            {
                error.kind.exit_code()
            }
            Output::Findings { error, .. } => print_error(error, json, stderr),
            _ => 0,
        },
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(e) => {
            let error = Error::failed(format!("cannot write the result: {e}"));
            print_error(&error.hint("The command itself has been carried out."), json, stderr)
        }
    }
}

/// Prints each frame when it comes, until there is none, or nobody reads them any more.
fn print_frames(frames: Frames, json: bool, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    for frame in frames {
        match frame {
            Ok(text) if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() => return 0,
            Ok(_) => {}
            Err(error) => return print_error(&error, json, stderr),
        }
    }
    0
}

/// Remembers that its reader has gone away.
struct Gone<'a> {
    out: &'a mut dyn Write,
    gone: bool,
}

impl Gone<'_> {
    fn note<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        self.gone |= result.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
        result
    }
}

impl Write for Gone<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

fn print_error(error: &Error, json: bool, stderr: &mut dyn Write) -> u8 {
    let text = if json {
        let mut body = Map::new();
        body.insert("kind".into(), error.kind.name().into());
        body.insert("message".into(), error.message.clone().into());
        if let Some(hint) = &error.hint {
            body.insert("hint".into(), hint.clone().into());
        }
        json!({ "error": body }).to_string()
    } else {
        format!("error: {}", printable(&error.to_string()))
    };
    // nobody is left to be told where standard error is closed
    let _ = writeln!(stderr, "{text}");
    error.kind.exit_code()
}

/// Prints clap's help, version or usage error; returns the exit code.
pub fn usage(error: &clap::Error, json: bool, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    if !error.use_stderr() {
        let _ = write!(stdout, "{}", error.render());
        return 0;
    }
    if json {
        let text = error.render().to_string();
        let (message, hint) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.trim().trim_start_matches("error: ");
        return print_error(&Error::new(Kind::Usage, message).hint(hint.trim()), true, stderr);
    }
    let _ = write!(stderr, "{}", error.render());
    Kind::Usage.exit_code()
}

fn as_json(output: &Output) -> String {
    let value = match output {
        Output::Findings { output, .. } => return as_json(output),
        Output::Csv { rows, columns, spreadsheet } => return csv(rows, columns, *spreadsheet),
        Output::Text(text) => return text.clone(),
        // printed as they are made, not here
        Output::Frames(_) | Output::Stream(_) => return String::new(),
        Output::Report { value, .. } => value.clone(),
        Output::List { rows, .. } => Value::Array(rows.clone()),
        Output::Item(value) | Output::Detail { value, .. } | Output::Done { value, .. } => value.clone(),
    };
    format!("{value:#}\n")
}

fn as_text(output: &Output) -> String {
    match output {
        Output::Findings { output, .. } => as_text(output),
        Output::List { rows, empty, .. } if rows.is_empty() => format!("{empty}\n"),
        Output::List { rows, columns, .. } => table(rows, &columns.iter().map(String::as_str).collect::<Vec<_>>()),
        Output::Csv { rows, columns, spreadsheet } => csv(rows, columns, *spreadsheet),
        Output::Text(text) => text.clone(),
        Output::Frames(_) | Output::Stream(_) => String::new(),
        Output::Report { text, .. } => printable(text),
        Output::Item(value) => item(value, &[]),
        Output::Detail { value, tables } => item(value, tables),
        Output::Done { message, .. } => format!("{}\n", printable(message)),
    }
}
