//! The administrator's commands: how long until they have said what they have to say.

use std::process::{Command, Stdio};

use crate::figures::{Alternative, Row, Table, clock, in_turn};
use crate::harness::postgres::{Database, binary};
use crate::harness::program;
use crate::{Bench, say};

pub(crate) fn measure(bench: &Bench) -> Vec<Table> {
    let database = bench.postgres.by_socket(&bench.postgres.database());
    let dids = bench.size(10_000, 100_000);
    say(&format!("cli: {dids} DIDs"));
    database.execute(&format!(
        "INSERT INTO users (username, email, password_hash, status) VALUES ('seller', 's@test.invalid', '!', 'active');
         INSERT INTO dids (number, user_id)
         SELECT '+1' || 2000000000 + n, (SELECT id FROM users) FROM generate_series(1, {dids}) n;
         ANALYZE"
    ));

    let command = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("DATABASE_URL", &database.url).env("CAPCONDUIT_ENV_FILE", "/dev/null");
        command
    };
    let capconduit = program("capconduit");
    let capconduit = capconduit.to_str().expect("a path of text");
    // not Debian's wrapper, which is a Perl program
    let psql = binary("psql");
    let psql = psql.to_str().expect("a path of text");
    let sql =
        "SELECT number, username, d.status, d.description, d.created_at FROM dids d JOIN users u ON u.id = user_id
               ORDER BY number";
    let starts = [
        ("psql --version", command(psql, &["--version"])),
        ("capconduit --version", command(capconduit, &["--version"])),
        ("capconduit --help", command(capconduit, &["--help"])),
        ("python3 -c pass", command("/usr/bin/python3", &["-c", "pass"])),
        ("psql -c 'SELECT 1'", command(psql, &[&database.url, "-c", "SELECT 1"])),
        ("capconduit db status", command(capconduit, &["db", "status"])),
    ];
    let lists = [
        ("psql, table", command(psql, &[&database.url, "-c", sql])),
        ("psql, CSV", command(psql, &[&database.url, "--csv", "-c", sql])),
        ("did list", command(capconduit, &["did", "list"])),
        ("did list --csv", command(capconduit, &["did", "list", "--csv"])),
        ("did list --json", command(capconduit, &["did", "list", "--json"])),
        ("did list --limit 50", command(capconduit, &["did", "list", "--limit", "50"])),
    ];
    let mut tables = Vec::new();
    for (title, baseline, commands, rounds) in [
        ("Starting up", "psql --version", starts, bench.size(5, 50)),
        ("Listing DIDs", "psql, CSV", lists, bench.size(2, 7)),
    ] {
        let title = if baseline == "psql, CSV" { format!("{title}: {dids} of them") } else { title.to_owned() };
        let mut table = Table::new(
            &title,
            "Milliseconds from the start of the process to its end, of n runs in turn, their output read by nobody; one \
             run before that is thrown away.",
        );
        let mut commands: Vec<Alternative<'_>> = commands
            .into_iter()
            .map(|(name, mut command)| Alternative::new(name, move || time(name, &mut command)))
            .collect();
        for (name, samples) in in_turn(1, rounds, &mut commands) {
            table.push(Row::new(&name).samples("ms", &samples));
        }
        table.ratio("ms_median", baseline);
        tables.push(table);
    }
    tables
}

/// Milliseconds of a command that must succeed.
pub(crate) fn time(name: &str, command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut success = false;
    let time = clock(|| success = command.status().is_ok_and(|status| status.success()));
    assert!(success, "{name} fails");
    time
}

/// Whether this build has a command: its `--help` says so.
pub(crate) fn exists(database: &Database, arguments: &[&str]) -> bool {
    let output = database.command().args(arguments).arg("--help").output();
    output.is_ok_and(|output| output.status.success())
}
