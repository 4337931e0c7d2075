//! One statement per run, and both programs through a real PgBouncer in transaction mode.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::program;
use crate::harness::site::{Link, Site};

/// Runs an AGI program as Asterisk would; gives what it sent after its question to the channel.
fn agi(name: &str, database: &Database, uniqueid: &str, channel: &str) -> String {
    let mut child = Command::new(program(name))
        .env("DATABASE_URL", &database.url)
        .env("CAPCONDUIT_ENV_FILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let said = format!("agi_uniqueid: {uniqueid}\n\n200 result=1 ({channel})\n200 result=1\n200 result=1\n");
    child.stdin.take().expect("piped").write_all(said.as_bytes()).expect("read");
    let output = child.wait_with_output().expect("it ends");
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
    let digits = &site.did[1..];
    let sent = agi("cc-route", through, call, &format!("{call}&node&{digits}&555&Zo%C3%AB&&0"));
    assert!(sent.contains(&format!("\"proceed,,{},{},", site.settings[0], site.clients[0])), "{sent}");
    let times = "2026-01-02T03:04:05.000000Z&2026-01-02T03:04:07.000000Z&2026-01-02T03:04:10.000000Z";
    let channel = format!("{call}&{digits}&555&Zo%C3%AB&{times}&proceed&&ANSWER&16&{}&{call}", site.settings[0]);
    assert_eq!(agi("cdr_logger", through, call, &channel), "", "silent when all is well");
}

#[test]
fn each_run_is_one_statement() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    database.execute(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
    let site = Site::new(&database, "weighted", 20, &[Link::to("sip:127.0.0.1:9"), Link::to("sip:127.0.0.1:9")]);
    for call in ["a-1.1", "a-1.2"] {
        agi("cc-route", &database, call, &format!("{call}&node&{}&555&x&&0", &site.did[1..]));
        // the second attempt closes the first one in the same statement
        agi("cc-route", &database, call, &format!("{call}&node&{}&555&x&BUSY&17", &site.did[1..]));
        agi("cdr_logger", &database, call, &format!("{call}&{}&&&&&&proceed&&BUSY&17&&{call}", &site.did[1..]));
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
}
