//! One statement per run, and both programs through a real PgBouncer in transaction mode.

use std::path::Path;
use std::time::Duration;

use capconduit::{args, pg};

use crate::harness::agi;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};

/// Runs an AGI program; gives what it sent after its question to the channel.
fn run(name: &str, database: &Database, said: &str) -> String {
    let output = agi::run(&mut agi::command(name, &database.url, Path::new("/nonexistent")), said);
    let sent = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{name}: {sent}");
    sent.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

/// What the server logged for this database and application: statements, each with its session.
fn statements<'a>(log: &'a str, database: &Database, application: &str) -> Vec<&'a str> {
    let tag = format!("db={} app={application} ", database.name);
    log.lines().filter(|l| l.contains(&tag) && (l.contains("execute <unnamed>:") || l.contains("statement:"))).collect()
}

fn route_and_log(through: &Database, site: &Site, call: &str) {
    let sent = run("cc-route", through, &agi::dialled(call, &site.did));
    assert!(sent.contains(&format!("\"proceed,,,{},{},", site.settings[0], site.clients[0])), "{sent}");
    let said = agi::answered(call, &site.did, site.settings[0]);
    assert_eq!(run("cdr_logger", through, &said), "", "silent when all is well");
}

#[test]
fn each_run_is_one_statement() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    database.execute(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
    let site = Site::new(&database, "weighted", 20, &[Link::to("sip:127.0.0.1:9"), Link::to("sip:127.0.0.1:9")]);
    for call in ["a-1.1", "a-1.2"] {
        run("cc-route", &database, &agi::dialled(call, &site.did));
        // the second attempt closes the first one in the same statement
        let busy = format!("{call}&node&{}&BUSY&17", &site.did[1..]);
        run("cc-route", &database, &agi::said(call, &busy));
        let ended = format!("{call}&{}&&&&proceed&&BUSY&17", &site.did[1..]);
        run("cdr_logger", &database, &agi::said(call, &ended));
    }
    assert_eq!(site.attempts("release_reason"), ["failover", "hangup", "failover", "hangup"]);
    let log = postgres.log();
    let routed = statements(&log, &database, "cc-route.agi");
    assert_eq!(routed.len(), 4, "{routed:#?}");
    assert!(routed.iter().all(|s| s.contains("SELECT * FROM cc_route(")), "{routed:#?}");
    assert_eq!(statements(&log, &database, "cdr_logger.agi").len(), 2);
}

#[test]
fn both_programs_work_through_pgbouncer() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let pgbouncer = PgBouncer::start(postgres, &database);
    // more runs than the pooler has server connections
    std::thread::scope(|scope| {
        for session in 0..6 {
            let (through, site) = (&pgbouncer.database, &site);
            scope.spawn(move || {
                for n in 0..5 {
                    route_and_log(through, site, &format!("p{session}-{n}"));
                }
            });
        }
    });
    let record = "ANSWERED|5|3|Zoë|555";
    let columns = "call_status, duration_seconds, billsec_seconds, caller_id_name, caller_id_num";
    assert_eq!(site.records(columns), vec![record; 30]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![30], 0));
    // the CLI, too
    let text = pgbouncer.database.capconduit(&["route", "explain", &site.did, "--json"]);
    assert!(text.contains("\"status\": \"proceed\""), "{text}");
    pgbouncer.database.capconduit(&["db", "migrate"]);
    // what a repair sets is its transaction's: the sessions are used by others afterwards
    let plant = "UPDATE campaign_client_settings SET current_total_calls = 10";
    database.execute(&format!("SET capconduit.repair = 'on'; {plant}"));
    for _ in 0..4 {
        pgbouncer.database.capconduit(&["db", "verify", "--repair"]);
    }
    assert_eq!(site.counts(), [30]);
    pgbouncer.database.execute(plant);
    assert_eq!(pgbouncer.database.capconduit(&["db", "verify"]), "No difference.\n");
}

/// A connection as `capconduit agi serve` keeps them.
fn kept(database: &Database) -> pg::Connection {
    pg::open_to(&pg::parse_url(&database.url).expect("a URL"), Duration::from_secs(20)).expect("it answers")
}

fn double(connection: &mut pg::Connection, n: i32) -> i64 {
    let row = connection.row("SELECT * FROM double($1)", args![n]).expect("an answer").expect("a row");
    row.try_get("doubled").expect("a number")
}

fn prepared(connection: &mut pg::Connection) -> i64 {
    let row = connection.row("SELECT count(*) AS n FROM pg_prepared_statements WHERE name <> ''", args![]);
    row.expect("an answer").expect("a row").try_get("n").expect("a number")
}

#[test]
fn what_is_asked_again_is_prepared_unless_a_pooler_stands_between() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let define = "CREATE FUNCTION double(n integer, OUT doubled bigint) LANGUAGE sql AS 'SELECT 2::bigint * n'";
    database.execute(define);

    let mut direct = kept(&database);
    assert_eq!([1, 2, 3].map(|n| double(&mut direct, n)), [2, 4, 6]);
    assert_eq!(prepared(&mut direct), 1);
    // a migration replaces what it calls
    database.execute(
        "DROP FUNCTION double; CREATE FUNCTION double(n integer, OUT doubled bigint, OUT more text) LANGUAGE sql
         AS $$ SELECT 2::bigint * n, 'x' $$",
    );
    assert_eq!([1, 2, 3].map(|n| double(&mut direct, n)), [2, 4, 6]);
    // somebody discards it
    let mut direct = kept(&database);
    assert_eq!([1, 2, 3].map(|n| double(&mut direct, n)), [2, 4, 6]);
    direct.row("DEALLOCATE ALL", args![]).expect("done");
    assert_eq!([1, 2, 3].map(|n| double(&mut direct, n)), [2, 4, 6]);
    // an error leaves nothing half prepared
    let mut direct = kept(&database);
    for _ in 0..3 {
        assert!(direct.row("SELECT 1 / $1", args![0]).is_err(), "division by zero");
    }
    assert_eq!([1, 2, 3].map(|n| double(&mut direct, n)), [2, 4, 6]);

    let pgbouncer = PgBouncer::start(postgres, &database);
    let mut sessions: Vec<_> = (0..4).map(|_| kept(&pgbouncer.database)).collect();
    for n in 0..5 {
        for session in &mut sessions {
            assert_eq!(double(session, n), i64::from(2 * n));
        }
    }
    assert_eq!(prepared(&mut sessions[0]), 0);
}
