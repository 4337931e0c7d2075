//! What a claim, a record and the administrator's lists cost as the tables grow.

use chrono::{TimeDelta, Utc};

use crate::cli;
use crate::database::{Worker, did, sellers};
use crate::figures::{Alternative, Row, Samples, Table, in_turn};
use crate::harness::postgres::Database;
use crate::{Bench, say};

pub(crate) fn measure(bench: &Bench) -> Vec<Table> {
    vec![records(bench), links(bench), dids(bench)]
}

/// Medians of calls on one campaign of a database.
fn calls(database: &Database, count: usize, row: Row) -> Row {
    let mut worker = Worker::new(database, 0);
    for _ in 0..10 {
        worker.call(&did(0));
    }
    let (claims, logs) = (0..count).map(|_| worker.call(&did(0))).unzip();
    let (claims, logs) = (Samples::new(claims), Samples::new(logs));
    row.number("claim_ms_median", claims.median())
        .number("claim_ms_p95", claims.p95())
        .number("record_ms_median", logs.median())
        .number("record_ms_p95", logs.p95())
        .with("n", count)
}

/// Old calls: their records and their attempts.
fn records(bench: &Bench) -> Table {
    let database = bench.postgres.by_socket(&bench.postgres.database());
    sellers(&database, 100, 3, 100);
    let n = bench.size(30, 300);
    let runs = bench.size(2, 7);
    let mut table = Table::new(
        "Call records",
        &format!(
            "Milliseconds of n claims and records by one session, and of whole commands: medians of {runs} runs in \
             turn after one that is thrown away. 100 campaigns of three links; calls spread over 60 days."
        ),
    );
    let sizes: &[usize] = bench.size(&[1000, 10_000, 100_000], &[1000, 10_000, 100_000, 1_000_000]);
    let all = (Utc::now() - TimeDelta::days(61)).format("%Y-%m-%d").to_string();
    let commands: Vec<(&str, Vec<&str>)> = [
        ("call list", vec!["call", "list"]),
        ("call active", vec!["call", "active"]),
        ("setting list", vec!["setting", "list"]),
        ("status", vec!["status"]),
        ("report by day", vec!["report", "--by", "day"]),
        ("report of all by campaign", vec!["report", "--by", "campaign", "--from", &all]),
    ]
    .into_iter()
    .filter(|(_, arguments)| {
        let command: Vec<&str> = arguments.iter().copied().take_while(|word| !word.starts_with('-')).collect();
        cli::exists(&database, &command)
    })
    .collect();
    let mut have = 0;
    for &size in sizes {
        say(&format!("growth: {size} call records"));
        // foreign keys are checked row by row: the rows are right by how they are made
        database.execute(&format!(
            "SET session_replication_role = replica;
             CREATE TEMP TABLE made AS
             SELECT n, s.*, g.user_id, cd.did_id, d.number, now() - interval '60 days' * n / {size} AS begun
             FROM generate_series({have} + 1, {size}) n
             JOIN (SELECT id AS setting_id, campaign_id, client_id, row_number() OVER (ORDER BY id) - 1 AS i
                   FROM campaign_client_settings) s ON s.i = n % 300
             JOIN campaigns g ON g.id = s.campaign_id JOIN campaign_dids cd ON cd.campaign_id = g.id
             JOIN dids d ON d.id = cd.did_id;
             INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
                 campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at, released_at,
                 release_reason, dial_status)
             SELECT 'old-' || n, 1, user_id, campaign_id, did_id, client_id, setting_id, number, begun,
                 begun + interval '4 hours', begun + interval '1 minute', 'hangup', 'ANSWER' FROM made;
             INSERT INTO call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                 incoming_did_number, caller_id_num, timestamp_start, timestamp_answered, timestamp_end,
                 duration_seconds, billsec_seconds, call_status, hangup_cause_code, asterisk_uniqueid)
             SELECT user_id, campaign_id, did_id, client_id, setting_id, number, '12125550147', begun,
                 CASE WHEN n % 4 < 3 THEN begun + interval '8 s' END, begun + interval '1 minute', 60, 52,
                 CASE WHEN n % 4 < 3 THEN 'ANSWERED' ELSE 'NOANSWER' END, 16, 'old-' || n FROM made;
             RESET session_replication_role"
        ));
        have = size;
        database.execute("VACUUM ANALYZE");
        let mut row = calls(&database, n, Row::new(&size.to_string()));
        let mut alternatives: Vec<Alternative<'_>> = commands
            .iter()
            .map(|(name, arguments)| {
                let mut command = database.command();
                command.args(arguments);
                Alternative::new(*name, move || cli::time(name, &mut command))
            })
            .collect();
        for (name, samples) in in_turn(1, runs, &mut alternatives) {
            row = row.number(&format!("{name}_ms"), samples.median());
        }
        table.push(row);
    }
    table.ratio("claim_ms_median", "1000");
    table
}

/// Links of one campaign.
fn links(bench: &Bench) -> Table {
    let mut table = Table::new(
        "Links of a campaign",
        "Milliseconds of n claims and records by one session on one weighted campaign of so many eligible links.",
    );
    let sizes: &[usize] = bench.size(&[10, 100, 1000], &[10, 100, 1000, 10_000]);
    for &size in sizes {
        say(&format!("growth: {size} links"));
        let database = bench.postgres.by_socket(&bench.postgres.database());
        sellers(&database, 1, size, 1);
        database.execute("VACUUM ANALYZE");
        let n = bench.size(20, 200).min(200_000 / size);
        table.push(calls(&database, n, Row::new(&size.to_string())));
    }
    table.ratio("claim_ms_median", "10");
    table
}

/// DIDs, of one seller.
fn dids(bench: &Bench) -> Table {
    let mut table =
        Table::new("DIDs", "Milliseconds of n claims and records by one session, with so many DIDs in the database.");
    let sizes: &[usize] = bench.size(&[10, 10_000], &[10, 1000, 100_000]);
    for &size in sizes {
        say(&format!("growth: {size} DIDs"));
        let database = bench.postgres.by_socket(&bench.postgres.database());
        sellers(&database, 1, 3, size);
        database.execute("VACUUM ANALYZE");
        table.push(calls(&database, bench.size(30, 300), Row::new(&size.to_string())));
    }
    table.ratio("claim_ms_median", "10");
    table
}
