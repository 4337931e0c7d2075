//! Claims a second, beside the least that a database can do: a bare UPDATE of a row.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use capconduit::model::call::{Attempt, CallRecord, Decision, RouteRequest};
use capconduit::model::number::E164;
use capconduit::pg::{self, Connection};
use capconduit::{args, store};
use chrono::{TimeDelta, Utc};

use crate::figures::{Row, Samples, Table, clock};
use crate::harness::postgres::Database;
use crate::{Bench, say};

/// How many campaigns, or counters, where there are many.
const MANY: usize = 1000;
/// Links of each campaign.
const LINKS: usize = 3;

/// What a session does again and again.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// `cc_route`, one commit. Another session releases what was claimed, many at a time.
    Claim,
    /// `cc_route` and `cc_log_call`: all that a call asks of the database, in two commits.
    Call,
    /// `UPDATE ... SET n = n + 1 WHERE id = ...`, one commit.
    Update,
}

pub(crate) fn measure(bench: &Bench) -> Vec<Table> {
    let database = bench.postgres.by_socket(&bench.postgres.database());
    sellers(&database, MANY, LINKS, MANY);
    database.execute(&format!(
        "CREATE TABLE bench_counters (id integer PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
         INSERT INTO bench_counters SELECT n FROM generate_series(0, {}) n; ANALYZE",
        MANY - 1
    ));
    let seconds = bench.size(1.0, 3.0);
    let rounds = bench.size(1, 3);
    let mut table = Table::new(
        "Commits a second",
        &format!(
            "The median of {rounds} runs of {seconds} s, in turn; 8 rounds of each session and a second of all before that are thrown away. A claim \
             is cc_route: one commit; ten times a second another session releases what is claimed. A call \
             is a claim and its record (cc_log_call): two commits. An update is UPDATE t SET n = n + 1 WHERE \
             id = $1: one commit. Each session works on the same campaign or row, or on one of {MANY} at random; a \
             campaign has {LINKS} weighted links. fsync and synchronous_commit are on, sessions are on the unix socket; \
             they and the server share the processors."
        ),
    );
    for sessions in [1, 4, 16, 64] {
        say(&format!("database: {sessions} sessions"));
        let alternatives = [
            ("update, one row", Work::Update, 1),
            ("claims, one campaign", Work::Claim, 1),
            ("calls, one campaign", Work::Call, 1),
            ("update, many rows", Work::Update, MANY),
            ("claims, many campaigns", Work::Claim, MANY),
            ("calls, many campaigns", Work::Call, MANY),
        ];
        let mut rates = [const { Vec::new() }; 6];
        let mut times = [const { Vec::new() }; 6];
        for _ in 0..rounds {
            for (i, (_, work, spread)) in alternatives.iter().enumerate() {
                let (rate, claims) = run(&database, sessions, *work, *spread, Duration::from_secs_f64(seconds));
                rates[i].push(rate);
                times[i].extend(claims);
            }
        }
        for (((name, work, _), rates), times) in alternatives.iter().zip(rates).zip(times) {
            let (rates, times) = (Samples::new(rates), Samples::new(times));
            let of_one = if *work == Work::Update { "update" } else { "claim" };
            let row = Row::new(name).with("sessions", sessions).number("commits_per_s", rates.median());
            let per_s = if *work == Work::Call { rates.median() / 2.0 } else { rates.median() };
            table.push(row.number("per_s", per_s).with("timed", of_one).samples("ms", &times));
        }
    }
    table.ratio_within("commits_per_s", "update, one row", |row| row["sessions"].to_string());
    vec![table, inside(bench)]
}

/// Commits a second, and the milliseconds of each claim or update as its session saw them.
fn run(database: &Database, sessions: usize, work: Work, spread: usize, time: Duration) -> (f64, Vec<f64>) {
    let warm_up = Duration::from_secs(1);
    let barrier = Barrier::new(sessions);
    let at_work = AtomicUsize::new(sessions);
    let times: Vec<f64> = thread::scope(|scope| {
        let start = |session: usize| {
            let (barrier, at_work) = (&barrier, &at_work);
            scope.spawn(move || {
                let mut worker = Worker::new(database, session);
                // A session plans what it does first, which is no part of a second's work.
                for _ in 0..8 {
                    worker.work(work, spread);
                }
                let mut times = Vec::new();
                barrier.wait();
                let begun = Instant::now();
                loop {
                    let milliseconds = worker.work(work, spread);
                    // what ends within the time counts
                    match begun.elapsed() {
                        now if now < warm_up => {}
                        now if now < warm_up + time => times.push(milliseconds),
                        _ => {
                            at_work.fetch_sub(1, Ordering::Relaxed);
                            return times;
                        }
                    }
                }
            })
        };
        let threads: Vec<_> = (0..sessions).map(start).collect();
        if work == Work::Claim {
            let releaser = scope.spawn(|| {
                let mut client = database.connect();
                while at_work.load(Ordering::Relaxed) > 0 {
                    thread::sleep(Duration::from_millis(100));
                    client
                        .batch_execute(
                            "UPDATE call_attempts SET released_at = now(), release_reason = 'hangup'
                             WHERE released_at IS NULL",
                        )
                        .expect("released");
                }
            });
            drop(releaser);
        }
        threads.into_iter().flat_map(|thread| thread.join().expect("a session")).collect()
    });
    let commits = if work == Work::Call { 2.0 } else { 1.0 };
    (times.len() as f64 * commits / time.as_secs_f64(), times)
}

/// One session.
pub(crate) struct Worker {
    client: Connection,
    prefix: String,
    next: usize,
    random: usize,
}

impl Worker {
    /// Its calls are named for it and the time.
    pub(crate) fn new(database: &Database, session: usize) -> Worker {
        let settings = pg::parse_url(&database.url).expect("a URL");
        let client = pg::open_to(&settings, Duration::from_secs(5)).expect("the database answers");
        let prefix = format!("{}-{session}", Utc::now().timestamp_micros());
        Worker { client, prefix, next: 0, random: session.wrapping_mul(7919) }
    }

    /// Milliseconds of the claim or the update, without those of the record.
    fn work(&mut self, work: Work, spread: usize) -> f64 {
        // an ordinary linear congruential generator: good enough to spread
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (self.random >> 33) % spread;
        match work {
            Work::Update => {
                let id = i32::try_from(n).expect("a small number");
                clock(|| {
                    let update = "UPDATE bench_counters SET n = n + 1 WHERE id = $1 RETURNING id";
                    assert!(self.client.row(update, args![id]).expect("an update").is_some());
                })
            }
            Work::Claim => self.claim(&did(n)).0,
            Work::Call => self.call(&did(n)).0,
        }
    }

    /// Claims; milliseconds, and what was claimed for which call.
    fn claim(&mut self, did: &str) -> (f64, RouteRequest, Attempt) {
        self.next += 1;
        let uniqueid = format!("{}.{}", self.prefix, self.next);
        let request = RouteRequest {
            did: Some(E164::parse(did).expect("a number")),
            uniqueid: uniqueid.clone(),
            linkedid: Some(uniqueid),
            system_name: Some("bench".into()),
            caller_id_num: Some("12125550147".into()),
            known_attempt: Some(0),
            ..RouteRequest::default()
        };
        let mut decision = None;
        let claim = clock(|| decision = Some(store::route::claim(&mut self.client, &request).expect("a decision")));
        let Some(Decision::Proceed(attempt)) = decision else { panic!("{did}: {decision:?}") };
        (claim, request, attempt)
    }

    /// Claims and logs; milliseconds of each.
    pub(crate) fn call(&mut self, did: &str) -> (f64, f64) {
        let (claim, request, attempt) = self.claim(did);
        let uniqueid = request.uniqueid;
        let end = Utc::now();
        let record = CallRecord {
            incoming_did_number: did.to_owned(),
            caller_id_num: request.caller_id_num,
            caller_id_name: None,
            timestamp_start: end - TimeDelta::seconds(60),
            timestamp_answered: Some(end - TimeDelta::seconds(50)),
            timestamp_end: end,
            duration_seconds: 60,
            billsec_seconds: 50,
            call_status: "ANSWERED".into(),
            hangup_cause_code: Some(16),
            hangup_cause_text: Some("Normal Clearing".into()),
            asterisk_uniqueid: uniqueid.clone(),
            asterisk_linkedid: Some(uniqueid),
            dial_status: Some("ANSWER".into()),
            user_id: Some(attempt.user_id),
            campaign_id: Some(attempt.campaign_id),
            did_id: Some(attempt.did_id),
            client_id: Some(attempt.client_id),
            campaign_client_setting_id: Some(attempt.setting_id),
            passed_over: None,
            call_start: None,
        };
        let log = clock(|| {
            store::record::log(&mut self.client, &record).expect("logged");
        });
        (claim, log)
    }
}

/// The number of a campaign's DID.
pub(crate) fn did(campaign: usize) -> String {
    format!("+1{}", 2_000_000_000 + campaign)
}

/// A seller with campaigns of some links each, and DIDs: the first ones feed one campaign each.
pub(crate) fn sellers(database: &Database, campaigns: usize, links: usize, dids: usize) {
    database.execute(&format!(
        "INSERT INTO users (username, email, password_hash, status) VALUES ('seller', 's@test.invalid', '!', 'active');
         INSERT INTO clients (client_identifier, name) SELECT 'client' || n, n FROM generate_series(1, {links}) n;
         INSERT INTO pjsip_aors (id, client_id, contact) SELECT client_identifier, id, 'sip:127.0.0.1:9' FROM clients;
         INSERT INTO pjsip_endpoints (id, client_id, aors, context)
         SELECT client_identifier, id, client_identifier, 'from-client' FROM clients;
         INSERT INTO dids (number, user_id)
         SELECT '+1' || 2000000000 + n, (SELECT id FROM users) FROM generate_series(0, {dids} - 1) n ORDER BY n;
         INSERT INTO campaigns (user_id, name, routing_strategy)
         SELECT (SELECT id FROM users), 'campaign ' || n, 'weighted' FROM generate_series(1, {campaigns}) n ORDER BY n;
         INSERT INTO campaign_dids SELECT c.id, d.id FROM (SELECT id, row_number() OVER (ORDER BY id) n FROM campaigns) c
         JOIN (SELECT id, row_number() OVER (ORDER BY id) n FROM dids) d USING (n);
         INSERT INTO campaign_client_settings (campaign_id, client_id, max_concurrency)
         SELECT g.id, c.id, 1000000 FROM campaigns g CROSS JOIN clients c ORDER BY g.id, c.id"
    ));
}

/// Where the server's time goes.
fn inside(bench: &Bench) -> Table {
    let database = bench.postgres.by_socket(&bench.postgres.database());
    sellers(&database, 1, LINKS, 1);
    database.execute(&format!("ANALYZE; ALTER DATABASE {} SET track_functions = 'all'", database.name));
    let calls = bench.size(200, 3000);
    let mut worker = Worker::new(&database, 0);
    let mut claims = Vec::new();
    let mut logs = Vec::new();
    for _ in 0..calls {
        let (claim, log) = worker.call(&did(0));
        claims.push(claim);
        logs.push(log);
    }
    // a session reports what it counted when it ends, if not before
    drop(worker);
    let counted = "SELECT funcname, calls, total_time, self_time FROM pg_stat_user_functions ORDER BY total_time DESC";
    let mut table = Table::new(
        "Inside the server",
        &format!(
            "Means of {calls} calls of one session as track_functions counts them, in milliseconds, the first call's \
             planning included; the round trips are medians as the session saw them, with parsing and the commit. \
             SQL functions that PostgreSQL inlines are in their caller's own time."
        ),
    );
    for (name, times) in [("round trip: claim", claims), ("round trip: record", logs)] {
        table.push(Row::new(name).with("calls", calls).number("ms", Samples::new(times).median()));
    }
    let mut rows = Vec::new();
    crate::harness::wait_for("the statistics of a session that has ended", || {
        rows = database.query(counted);
        rows.iter().any(|row| row.starts_with(&format!("cc_log_call|{calls}|")))
    });
    for row in rows {
        let fields: Vec<&str> = row.split('|').collect();
        let number = |i: usize| fields[i].parse::<f64>().expect("a number");
        let row = Row::new(fields[0]).with("calls", number(1) as u64).number("ms", number(2) / number(1));
        table.push(row.number("own_ms", number(3) / number(1)));
    }
    table
}
