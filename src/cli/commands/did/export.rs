//! `capconduit did export`: DIDs as CSV.

use std::path::PathBuf;

use clap::Args;

use crate::cli::commands::did::COLUMNS;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::{Output, csv, file};
use crate::store::did::{self, Did};
use crate::{Error, Result, words};

/// `did export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to write; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Only this seller's
    #[arg(long, value_name = "SELLER")]
    user: Option<String>,
    /// A ' before what a spreadsheet would take for a formula; import does not take it off
    #[arg(long)]
    spreadsheet: bool,
}

impl Export {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        csv::refuse_json(env, &self.file, "did")?;
        let mut db = env.connect()?;
        let user_id = find::user_id(&mut db, self.user.as_deref())?;
        let dids = did::list(&mut db, user_id, None, None)?;
        let csv = csv(&dids, self.spreadsheet)?;
        if file::is_stream(&self.file) {
            return Ok(Output::Text(csv));
        }
        file::replace(&self.file, false, |out| {
            out.write_all(csv.as_bytes()).map_err(|e| Error::io("write", &self.file, &e))
        })?;
        let count = dids.len();
        let value = serde_json::json!({ "file": self.file, "dids": count });
        let dids = words::plural(count, "DID");
        Output::done(format!("{dids} written to {}.", self.file.display()), &value)
    }
}

fn csv(dids: &[Did], spreadsheet: bool) -> Result<String> {
    let mut out = csv::writer(Vec::new());
    out.write_record(COLUMNS).map_err(|e| csv::unwritable(&e))?;
    for did in dids {
        let campaigns: Vec<String> = did.campaigns.iter().map(|name| escaped(name)).collect();
        let description = did.description.as_deref().unwrap_or_default();
        let fields = [&did.number, &did.username, &did.status, description, &campaigns.join(";")];
        out.write_record(fields.map(|text| csv::cell(text.to_owned(), spreadsheet)))
            .map_err(|e| csv::unwritable(&e))?;
    }
    let bytes = out.into_inner().map_err(|e| Error::failed(format!("cannot write the result: {e}")))?;
    String::from_utf8(bytes).map_err(|e| Error::failed(format!("cannot write the result: {e}")))
}

/// A name in a list with `;` between.
fn escaped(name: &str) -> String {
    name.replace('\\', r"\\").replace(';', r"\;")
}
