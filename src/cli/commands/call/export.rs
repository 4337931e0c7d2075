//! `capconduit call export`: call records as CSV, however many there are.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::commands::call::Filters;
use crate::cli::env::Env;
use crate::cli::output::{self, Output, Stream, csv, file, table};
use crate::model::shape::Fields;
use crate::store::call::{self, Call, Filter};
use crate::{Result, words};

/// `call export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to write; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    filters: Filters,
    /// A ' before what a spreadsheet would take for a formula; import does not take it off
    #[arg(long)]
    spreadsheet: bool,
}

impl Export {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        csv::refuse_json(env, &self.file, "call")?;
        let (mut db, filter) = self.filters.resolve(env)?;
        if file::is_stream(&self.file) {
            return Ok(Output::Stream(Stream(Box::new(move |out| {
                write(&mut db, &filter, self.spreadsheet, out).map(|_| ())
            }))));
        }
        let mut count = 0;
        file::replace(&self.file, false, |out| {
            count = write(&mut db, &filter, self.spreadsheet, out)?;
            Ok(())
        })?;
        let value = serde_json::json!({ "file": self.file, "calls": count });
        let records = words::plural(count, "call record");
        Output::done(format!("{records} written to {}.", self.file.display()), &value)
    }
}

/// Writes the records as they come; returns how many there were.
fn write(db: &mut postgres::Client, filter: &Filter, spreadsheet: bool, out: &mut dyn Write) -> Result<u64> {
    const AT_ONCE: i32 = 2000;
    let mut out = csv::writer(out);
    let unwritable = |e: ::csv::Error| csv::unwritable(&e);
    out.write_record(Call::FIELDS.iter().map(|field| field.name)).map_err(unwritable)?;
    let (mut last, mut count) = (None, 0);
    loop {
        let calls = call::after(db, filter, last, AT_ONCE)?;
        let Some(end) = calls.last() else { break };
        last = Some((end.timestamp_start, end.id));
        for call in &calls {
            let row = output::to_value(call)?;
            let cell = |name| csv::cell(table::csv_text(&row[name]), spreadsheet);
            out.write_record(Call::FIELDS.iter().map(|field| cell(field.name))).map_err(unwritable)?;
            count += 1;
        }
    }
    out.flush().map_err(|e| csv::unwritable(&e.into()))?;
    Ok(count)
}
