//! What tests/bench runs: how fast CapConduit is, beside what else one could do, on this machine.
//!
//! Every figure stands in one table with its alternatives, measured in turn in the same run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

#[path = "../harness/mod.rs"]
mod harness;

mod asterisk;
mod backend;
mod caller;
mod cli;
mod database;
mod figures;
mod growth;
mod machine;
mod process;

use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde_json::{Map, json};

use figures::Table;
use harness::postgres::Postgres;

/// Measures CapConduit beside its alternatives, each figure in turn with what it is compared with.
#[derive(Parser)]
#[command(name = "tests/bench")]
struct Arguments {
    /// What to measure [default: all]
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// A minute or two instead of twenty: shows that it works, and the order of magnitude
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Section {
    /// A routing attempt and a call record as whole processes
    Process,
    /// Calls through Asterisk: set-up time, highest rate, after a burst
    Asterisk,
    /// Claims a second, beside a bare UPDATE
    Database,
    /// What more records, links and DIDs cost
    Growth,
    /// The administrator's commands
    Cli,
}

/// What all sections use.
struct Bench {
    /// Keeps what it commits: fsync and `synchronous_commit` are on.
    postgres: Postgres,
    quick: bool,
}

impl Bench {
    /// One of two sizes.
    fn size<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn main() {
    let arguments = Arguments::parse();
    let all = Section::value_variants();
    let sections = if arguments.sections.is_empty() { all } else { &arguments.sections };
    // before anything of ours makes it higher
    let load = machine::load();
    say("starting PostgreSQL (fsync on)");
    let bench = Bench {
        postgres: Postgres::start_with(&["fsync=on", "shared_buffers=256MB", "max_connections=600"]),
        quick: arguments.quick,
    };
    let version = bench.postgres.database().value("SHOW server_version");
    let mut machine = machine::describe(&version);
    machine.insert("load_before".into(), json!(load));

    let mut results = Map::new();
    for section in all.iter().filter(|s| sections.contains(s)) {
        let name = section.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let begun = Instant::now();
        let tables = match section {
            Section::Process => process::measure(&bench),
            Section::Asterisk => asterisk::measure(&bench),
            Section::Database => database::measure(&bench),
            Section::Growth => growth::measure(&bench),
            Section::Cli => cli::measure(&bench),
        };
        say(&format!("{name}: done in {} s", begun.elapsed().as_secs()));
        if !arguments.json {
            println!("## {name}\n");
            for table in &tables {
                println!("{}", table.text());
            }
        }
        results.insert(name, tables.iter().map(Table::json).collect());
    }
    if arguments.json {
        let document = json!({ "quick": bench.quick, "machine": machine, "sections": results });
        println!("{document:#}");
    } else {
        println!("## machine\n");
        for (name, value) in machine {
            println!(
                "- {}: {}",
                name.replace('_', " "),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            );
        }
    }
}

/// Progress, for whoever waits.
fn say(what: &str) {
    eprintln!("[bench] {what}");
}
