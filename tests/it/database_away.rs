//! The database refuses, hangs, stops or dies: what callers get, and that no record is lost.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::harness::agi::AgiServer;
use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, free_port, wait_for, wait_for_secs};
use crate::stage::{stage, stage_alone};

/// The files that wait in a spool.
fn spooled(spool: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(spool.join("capconduit")).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect()
}

/// Runs `call replay`; its exit code and its JSON.
fn replay(database: &Database, spool: &Path) -> (Option<i32>, Value) {
    let mut command = database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", spool.join("capconduit")).args(["call", "replay", "--json"]);
    let output: Output = command.output().expect("it runs");
    let summary = serde_json::from_slice(&output.stdout);
    (output.status.code(), summary.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn a_server_that_is_not_there_or_does_not_answer_is_no_decision() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("bound").port();
    for (n, port) in [free_port("127.0.0.1"), silent_port].into_iter().enumerate() {
        let url = format!("postgresql://u:secret@127.0.0.1:{port}/x");
        let run = |name: &str, said: &str| {
            let mut command = agi::command(name, &url, folder.path());
            let output = agi::run(command.env("CAPCONDUIT_CONNECT_TIMEOUT", "0.5"), said);
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let call = format!("node-{n}.1");
        let (code, sent) = run("cc-route", &agi::dialled(&call, "+18005550101"));
        assert_eq!(code, Some(1), "{sent}");
        assert!(
            sent.contains("SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_HANGUP_CAUSE)\" \"error,unreachable,42\""),
            "{sent}"
        );
        assert!(sent.contains("EXEC Log \"ERROR,cc-route.agi: no decision: the database"), "{sent}");
        assert!(!sent.contains("secret"), "{sent}");

        let (code, sent) = run("cdr_logger", &agi::answered(&call, "+18005550101", 1));
        assert_eq!(code, Some(0), "the record is safe: {sent}");
        assert!(sent.contains(&format!("call {call} spooled to ")) && !sent.contains("secret"), "{sent}");
        assert_eq!(spooled(folder.path()).len(), n + 1);
    }
    let files: String = spooled(folder.path()).iter().map(|p| std::fs::read_to_string(p).expect("readable")).collect();
    assert!(!files.contains("secret"), "{files}");
}

#[test]
fn a_statement_that_is_given_up_claims_nothing_later() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let pooler = PgBouncer::start_with(postgres, &database, 5);
    database.execute(
        "DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s SET lock_timeout = 0', 'cc_route'::regproc::oid::regprocedure); END $$",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let serve = |database: &Database| AgiServer::start(database.command(), free_port("127.0.0.1"), &["--workers", "1"]);
    for (n, through) in [&database, &pooler.database].into_iter().enumerate() {
        let server = serve(through);
        // its connection is kept from now on
        assert!(server.ask("route", &agi::dialled(&format!("c-{n}.0"), &site.did)).contains("\"proceed,,,"));
        let mut administrator = database.connect();
        administrator
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock(1128481603, {})", site.campaign_id))
            .expect("the campaign's lock");
        let url = through.url.clone();
        let mut program = agi::command("cc-route", &url, folder.path());
        let said = agi::dialled(&format!("c-{n}.1"), &site.did);
        let output = std::thread::scope(|scope| {
            let program = scope.spawn(|| agi::run(&mut program, &said));
            // the kept connection and a new one
            let sent = server.ask("route", &agi::dialled(&format!("c-{n}.2"), &site.did));
            assert_eq!(sent.lines().count(), 1, "{sent}");
            program.join().expect("it ends")
        });
        let sent = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(sent.contains("\"error,unreachable,42\""), "{sent}");
        administrator.batch_execute("COMMIT").expect("commit");
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND state = 'active' AND query LIKE 'SELECT * FROM cc_route(%'";
        wait_for("the statements to be over", || database.value(waiting) == "0");
        assert!(server.ask("route", &agi::dialled(&format!("c-{n}.3"), &site.did)).contains("\"proceed,,,"));
        let calls =
            format!("SELECT asterisk_uniqueid FROM call_attempts WHERE asterisk_uniqueid LIKE 'c-{n}.%' ORDER BY id");
        assert_eq!(database.query(&calls), [format!("c-{n}.0"), format!("c-{n}.3")]);
    }
}

#[test]
fn of_several_servers_the_one_that_answers_is_used() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (closed, silent) = (free_port("127.0.0.1"), silent.local_addr().expect("bound").port());
    let (head, tail) = database.url.split_once("127.0.0.1:").expect("a URL");
    let (port, name) = tail.split_once('/').expect("a database");
    let url =
        format!("{head}127.0.0.1:{closed},127.0.0.1:{silent},127.0.0.1:{port}/{name}?target_session_attrs=read-write");
    let output =
        agi::run(&mut agi::command("cc-route", &url, Path::new("/nonexistent")), &agi::dialled("a-1.1", &site.did));
    let sent = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(sent.contains("\"proceed,,,"), "{sent}");
}

#[test]
fn an_administrators_open_transaction_holds_up_no_client_and_costs_no_record() {
    let database = Postgres::shared().database();
    let link = Link { max_concurrency: 2, total_calls_allowed: Some(2), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let folder = tempfile::tempdir().expect("a folder");
    let claim = |call: &str| {
        database.value(&format!(
            "SELECT coalesce(call_status, status) FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)",
            site.did
        ))
    };
    assert_eq!(claim("open-1"), "proceed");
    let mut administrator = database.connect();
    let mut tx = administrator.transaction().expect("a transaction");
    tx.batch_execute("UPDATE campaign_client_settings SET weight = 50").expect("own rows");
    let mut logger = agi::command("cdr_logger", &database.url, folder.path());
    let output = agi::run(&mut logger, &agi::answered("open-1", &site.did, site.settings[0]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((spooled(folder.path()).len(), site.open_attempts(), site.records("1").len()), (1, 0, 0));
    // the client is free for the second call; the first still counts towards the total
    assert_eq!(claim("open-2"), "proceed");
    assert_eq!(claim("open-3"), "REJECTED_TOTAL");
    tx.commit().expect("commit");
    let (code, summary) = replay(&database, folder.path());
    assert_eq!((code, &summary["delivered"]), (Some(0), &1.into()), "{summary}");
    assert_eq!((site.counts(), site.records("call_status")), (vec![1], vec!["ANSWERED".to_owned()]));
    assert_eq!(claim("open-3"), "REJECTED_TOTAL");
    assert_eq!(database.value("SELECT count(*) FROM call_attempts WHERE count_pending"), "0");
}

#[test]
fn a_call_is_refused_with_503_and_its_record_spooled() {
    // beside the tests that measure times
    let (_, _turn) = stage();
    let nowhere = Database { url: format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1")), name: "x".into() };
    let asterisk =
        Asterisk::start(&nowhere, &Options { system_name: "alone", early_answer: false, ..Options::default() });
    let call = Calls { did: "18005550101", number: "5551234", ..Calls::default() };
    assert_eq!(call.place(&asterisk), [503]);
    let spool = asterisk.dir().join("spool");
    wait_for("the record in the spool", || spooled(&spool).len() == 1);
    // the logger says so after it has done it
    wait_for("the call to be over", || asterisk.channels() == 0);
    let log = asterisk.log();
    for (level, said) in
        [("] ERROR[", "cc-route.agi: no decision: the database"), ("] WARNING[", "cdr_logger.agi: call alone-")]
    {
        assert!(log.lines().any(|l| l.contains(level) && l.contains(said)), "{log}");
    }
    let (code, summary) = replay(&nowhere, &spool);
    assert_eq!((code, &summary["remaining"]), (Some(75), &1.into()), "{summary}");
    // it names a number that this database does not have
    let database = Postgres::shared().database();
    let (code, summary) = replay(&database, &spool);
    assert_eq!((code, &summary["delivered"]), (Some(0), &1.into()), "{summary}");
    let record = "SELECT call_status, incoming_did_number, caller_id_num, hangup_cause_code, asterisk_uniqueid LIKE 'alone-%' FROM call_logs";
    assert_eq!(database.query(record), ["FAILED|+18005550101|5551234|42|t"]);
}

#[test]
fn a_fallback_takes_the_calls_that_no_decision_can_be_made_for() {
    let (_, _turn) = stage();
    let nowhere = Database { url: format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1")), name: "x".into() };
    let overflow = Centre::start(Behaviour::Answer { ring: 0 });
    let options = Options { system_name: "fallback", fallback: Some(overflow.port), ..Options::default() };
    let asterisk = Asterisk::start(&nowhere, &options);
    assert_eq!(Calls { did: "18005550101", ..Calls::default() }.place(&asterisk), [200]);
    assert_eq!(overflow.calls(), 1);
    let spool = asterisk.dir().join("spool");
    wait_for("the record in the spool", || spooled(&spool).len() == 1);
    let text = std::fs::read_to_string(&spooled(&spool)[0]).expect("readable");
    assert!(text.contains("\"call_status\":\"FAILED\"") && text.contains("\"billsec_seconds\":0"), "{text}");
}

#[test]
fn calls_that_end_while_the_database_is_stopped_are_recorded_later() {
    let (_, _turn) = stage_alone();
    let postgres = Postgres::start();
    let database = postgres.database();
    let asterisk =
        Asterisk::start(&database, &Options { system_name: "outage", early_answer: false, ..Options::default() });
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&database, "priority", 20, &[Link::to(centre.contact())]);
    let calls = Calls { did: &site.did, then: Then::HangUpAfter(6000), count: 10, per_second: 10, ..Calls::default() };
    let calling = calls.start(&asterisk);
    wait_for("ten calls", || centre.peak_and_now() == (10, 10));
    postgres.stop();
    assert_eq!(calling.finish(), [200; 10]);
    let spool = asterisk.dir().join("spool");
    wait_for_secs(30, "ten records in the spool", || spooled(&spool).len() == 10);
    wait_for("the channels to be gone", || asterisk.channels() == 0);
    // a call now is refused, and recorded too
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&asterisk), [503]);
    wait_for("its record in the spool", || spooled(&spool).len() == 11);

    postgres.resume();
    let (code, summary) = replay(&database, &spool);
    assert_eq!((code, &summary["delivered"], &summary["remaining"]), (Some(0), &11.into(), &0.into()), "{summary}");
    let columns =
        "call_status, billsec_seconds BETWEEN 5 AND 7, timestamp_end - timestamp_answered BETWEEN '5 s' AND '7 s'";
    let mut records = site.records(columns);
    records.sort();
    assert_eq!(records, [vec!["ANSWERED|t|t"; 10], vec!["FAILED|f|"]].concat());
    assert_eq!((site.counts(), site.open_attempts()), (vec![10], 0));
    assert_eq!(spooled(&spool).len(), 0);
    let (code, summary) = replay(&database, &spool);
    assert_eq!((code, &summary["delivered"]), (Some(0), &0.into()), "{summary}");
    assert_eq!((site.counts(), site.records("1").len()), (vec![10], 11));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    // and the next call works, with no restart of anything
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&asterisk), [200]);
    assert_eq!(site.wait_for_records(12, "call_status")[11], "ANSWERED");
}

#[test]
fn a_database_killed_three_times_in_200_calls_costs_no_record_and_no_cap() {
    let (_, _turn) = stage_alone();
    let postgres = Postgres::start();
    let database = postgres.database();
    let asterisk =
        Asterisk::start(&database, &Options { system_name: "killed", early_answer: false, ..Options::default() });
    let centres = [(); 2].map(|()| Centre::start(Behaviour::Answer { ring: 0 }));
    let caps = [4, 3];
    let links: Vec<Link> =
        centres.iter().zip(caps).map(|(c, cap)| Link { max_concurrency: cap, ..Link::to(c.contact()) }).collect();
    let site = Site::new(&database, "weighted", 20, &links);
    let calls = Calls { did: &site.did, then: Then::HangUpAfter(1500), count: 200, per_second: 5, ..Calls::default() };
    let calling = calls.start(&asterisk);
    for _ in 0..3 {
        // "a random moment": the clock's low digits
        let random =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_micros());
        std::thread::sleep(Duration::from_millis(5000 + u64::from(random % 4000)));
        postgres.kill();
        std::thread::sleep(Duration::from_millis(1500));
        postgres.resume();
    }
    let codes = calling.finish();
    assert_eq!(codes.len(), 200);
    wait_for_secs(60, "the channels to be gone", || asterisk.channels() == 0);
    let spool = asterisk.dir().join("spool");
    let (code, summary) = replay(&database, &spool);
    assert_eq!(code, Some(0), "{summary}");
    let answered = codes.iter().filter(|&&c| c == 200).count();
    let records = site.records("call_status, asterisk_uniqueid");
    assert_eq!(records.len(), 200, "{summary}");
    assert_eq!(records.iter().filter(|r| r.starts_with("ANSWERED|")).count(), answered);
    assert_eq!(site.counts().iter().sum::<i32>(), i32::try_from(answered).expect("small"));
    let per_link = "SELECT count(*) FILTER (WHERE call_status = 'ANSWERED') = max(s.current_total_calls)
                    FROM campaign_client_settings s LEFT JOIN call_logs l ON l.campaign_client_setting_id = s.id GROUP BY s.id";
    assert_eq!(database.query(per_link), ["t", "t"]);
    assert_eq!(site.open_attempts(), 0);
    for (centre, cap) in centres.iter().zip(caps) {
        wait_for("the client to be told", || centre.peak_and_now().1 == 0);
        let (peak, now) = centre.peak_and_now();
        assert!(
            peak <= i32::try_from(cap).expect("small") && now == 0,
            "{peak} at once, {now} left: {}",
            centre.errors()
        );
    }
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    assert!(answered > 20, "too few calls were answered to show anything: {answered}");
}
