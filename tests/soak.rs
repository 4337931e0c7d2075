//! What `tests/soak` runs: four Asterisk servers on one database, calls on all of them, and faults of every kind that the
//! tests know, all at once and in random order. At the end nothing may be over a cap, lost, counted twice or left open.
//!
//! `SOAK_SECONDS` (600) says for how long, `SOAK_SEED` repeats an order of faults.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::agi::AgiServer;
use harness::asterisk::{Asterisk, Options};
use harness::pgbouncer::PgBouncer;
use harness::postgres::{Database, Postgres};
use harness::sip::{Behaviour, Calls, Centre, Then};
use harness::site::{Link, Site};
use harness::{OnDrop, free_port, wait_for_secs};

/// How long a centre goes on with a call whose Asterisk is gone; its places stay taken for longer than that.
const CENTRE_GIVES_UP: u32 = 10_000;
/// How long a server that was killed stays away.
const AWAY: Duration = Duration::from_secs(14);

/// A server of the platform.
struct Node {
    name: &'static str,
    asterisk: Asterisk,
    agi_server: Option<AgiServer>,
    /// What its programs and its `agi serve` connect to.
    database: Database,
    /// What shows its programs another time.
    clock: Vec<(&'static str, String)>,
    /// Held by whoever kills it, and by whoever must not meet that.
    up: RwLock<()>,
    /// When it was last killed.
    killed: Mutex<Vec<Instant>>,
}

/// Calls of one caller, and what became of them.
struct Batch {
    node: usize,
    number: String,
    count: usize,
    codes: Vec<u16>,
    begun: Instant,
    ended: Instant,
}

struct Soak {
    postgres: Postgres,
    database: Database,
    poolers: Mutex<Option<PgBouncer>>,
    nodes: Vec<Node>,
    sites: Vec<Site>,
    /// A centre and the cap of the one link that leads to it.
    centres: Vec<(Centre, i32)>,
    /// What Asterisk's clock on one server shows, as libfaketime reads it.
    clock: PathBuf,
    over: AtomicBool,
    batches: Mutex<Vec<Batch>>,
    faults: Mutex<std::collections::BTreeMap<&'static str, u32>>,
}

/// Random numbers that a seed repeats (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("SOAK_SECONDS").unwrap_or(600);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let seed = number("SOAK_SEED").unwrap_or(now).max(1);
    println!("[soak] {seconds} s, seed {seed}");
    let folder = harness::process::Folder::new();
    let soak = Soak::start(&folder.path);
    let begun = Instant::now();
    let first = soak.sizes();
    thread::scope(|scope| {
        for node in 0..soak.nodes.len() {
            let soak = &soak;
            scope.spawn(move || soak.call(node, Dice(seed + 1 + node as u64)));
            scope.spawn(move || soak.tidy(node));
        }
        let _over = OnDrop(|| soak.over.store(true, Ordering::Relaxed));
        let mut dice = Dice(seed);
        while begun.elapsed() < Duration::from_secs(seconds) {
            sleep(Duration::from_secs(2 + dice.below(5)));
            soak.fault(&mut dice);
            if soak.count("placed").is_multiple_of(10) {
                println!(
                    "[soak] {} s: {} calls",
                    begun.elapsed().as_secs(),
                    soak.database.value("SELECT count(*) FROM call_logs")
                );
            }
        }
    });
    soak.settle();
    soak.judge(&first);
}

impl Soak {
    fn start(folder: &Path) -> Soak {
        println!("[soak] starting PostgreSQL, PgBouncer, call centres and four Asterisk servers");
        let postgres = Postgres::start();
        let database = postgres.database();
        let pooler = PgBouncer::start_with(&postgres, &database, 6);
        let talks = |ring| Behaviour::Answer { ring };
        let behaviours = [
            (Behaviour::Refuse(486, "Busy Here"), 3),
            (talks(0), 5),
            (talks(300), 4),
            (talks(0), 6),
            (talks(100), 3),
            (Behaviour::AnswerAndHangUp { ring: 200, talk: 800 }, 4),
            (Behaviour::Ring, 2),
            (talks(0), 3),
            (Behaviour::Refuse(503, "Service Unavailable"), 2),
        ];
        let start = |(behaviour, cap)| (Centre::start_with_patience(behaviour, CENTRE_GIVES_UP), cap);
        let centres: Vec<(Centre, i32)> = behaviours.into_iter().map(start).collect();
        let link = |index: usize, forwarding_priority, weight, total_calls_allowed| Link {
            max_concurrency: u32::try_from(centres[index].1).expect("a cap"),
            forwarding_priority,
            weight,
            total_calls_allowed,
            ..Link::to(centres[index].0.contact())
        };
        let sites = vec![
            Site::new(
                &database,
                "priority",
                3,
                &[link(0, 0, 100, None), link(1, 1, 100, Some(300)), link(2, 2, 100, None)],
            ),
            Site::new(&database, "weighted", 3, &[link(3, 0, 70, None), link(4, 0, 30, Some(100))]),
            Site::new(
                &database,
                "round_robin",
                2,
                &[link(5, 0, 100, None), link(6, 0, 100, None), link(7, 0, 100, Some(50)), link(8, 0, 100, None)],
            ),
        ];
        let clock = folder.join("clock");
        std::fs::write(&clock, "+0\n").expect("own folder");
        let library = std::fs::read_dir("/usr/lib")
            .expect("a folder")
            .flatten()
            .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
            .find(|path| path.is_file())
            .expect("libfaketime is missing: run tests/setup");
        let stepping = [
            ("LD_PRELOAD", library.to_str().expect("UTF-8").to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("UTF-8").to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let layout = [("node1", false, false), ("node2", true, false), ("node3", false, true), ("node4", true, true)];
        let nodes = layout
            .into_iter()
            .zip(0..)
            .map(|((name, serves, pooled), index)| {
                let database = if pooled { pooler.database.clone() } else { database.clone() };
                let agi_server =
                    serves.then(|| AgiServer::start(database.command(), free_port("127.0.0.1"), &["--workers", "8"]));
                let clock = if index == 0 { stepping.to_vec() } else { Vec::new() };
                let options = Options {
                    system_name: name,
                    early_answer: index % 2 == 0,
                    agi_server: agi_server.as_ref().map(|server| server.port),
                    environment: &clock.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(),
                    ..Options::default()
                };
                let asterisk = Asterisk::start(&database, &options);
                asterisk.program();
                Node {
                    name,
                    asterisk,
                    agi_server,
                    database,
                    clock,
                    up: RwLock::new(()),
                    killed: Mutex::new(Vec::new()),
                }
            })
            .collect();
        Soak {
            postgres,
            database,
            poolers: Mutex::new(Some(pooler)),
            nodes,
            sites,
            centres,
            clock,
            over: AtomicBool::new(false),
            batches: Mutex::new(Vec::new()),
            faults: Mutex::default(),
        }
    }

    fn count(&self, fault: &'static str) -> u32 {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let count = faults.entry(fault).or_default();
        *count += 1;
        *count
    }

    /// The callers of one carrier.
    fn call(&self, node: usize, mut dice: Dice) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        thread::scope(|scope| {
            while !self.over.load(Ordering::Relaxed) {
                let then = match dice.below(4) {
                    0 => Then::GiveUpAfter(100 + dice.below(1500) as u32),
                    _ => Then::HangUpAfter(200 + dice.below(2500) as u32),
                };
                let site = &self.sites[dice.below(self.sites.len() as u64) as usize];
                let number = format!("1212{:07}", NEXT.fetch_add(1, Ordering::Relaxed));
                let count = 1 + dice.below(5) as u32;
                scope.spawn(move || {
                    let begun = Instant::now();
                    let calls =
                        Calls { did: &site.did, number: &number, then, count, per_second: 5, ..Calls::default() };
                    let codes = calls.start(&self.nodes[node].asterisk).codes();
                    let batch = Batch { node, number, count: count as usize, codes, begun, ended: Instant::now() };
                    self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
                });
                sleep(Duration::from_millis(1500 + dice.below(1500)));
            }
        });
    }

    /// What cron does on each server, only oftener.
    fn tidy(&self, node: usize) {
        while !self.over.load(Ordering::Relaxed) {
            sleep(Duration::from_secs(3));
            let node = &self.nodes[node];
            if let Ok(_up) = node.up.try_read() {
                node.run(&["call", "replay"]);
                // the sooner, the better it is known what a call lasted across which the clock was set
                if !node.clock.is_empty() {
                    node.replay_log();
                }
                node.run(&["call", "reap"]);
            }
        }
    }

    fn fault(&self, dice: &mut Dice) {
        let pause = Duration::from_millis(500 + dice.below(3000));
        let node = &self.nodes[dice.below(self.nodes.len() as u64) as usize];
        let link = format!("SELECT FROM campaign_client_settings WHERE id = {} FOR UPDATE", self.any_link(dice));
        let fault = match dice.below(14) {
            0 => {
                self.postgres.stop();
                sleep(pause);
                self.postgres.resume();
                "PostgreSQL stopped"
            }
            1 => {
                self.postgres.kill();
                sleep(pause);
                self.postgres.resume();
                "PostgreSQL killed"
            }
            2 => {
                for pooler in self.poolers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    pooler.signal("STOP");
                    sleep(pause);
                    pooler.signal("CONT");
                }
                "PgBouncer stands still"
            }
            3 => {
                node.kill();
                "Asterisk killed"
            }
            4 | 5 => {
                let how = if dice.below(2) == 0 { "KILL" } else { "STOP" };
                for server in self.nodes.iter().filter_map(|node| node.agi_server.as_ref()) {
                    server.signal_below_guard(how);
                }
                if how == "KILL" { "agi serve killed" } else { "agi serve stands still" }
            }
            6 => {
                for program in ["cc-route.agi", "cdr_logger.agi"] {
                    let _ = Command::new("pkill").args(["-KILL", "-f", &format!("/agi/{program}")]).status();
                }
                "programs killed"
            }
            7 => {
                // nothing can be delivered, and nothing spooled
                let _quiet = node.up.write().unwrap_or_else(PoisonError::into_inner);
                let spool = node.asterisk.dir().join("spool/capconduit");
                let aside = spool.with_extension("aside");
                let moved = std::fs::rename(&spool, &aside).is_ok();
                std::fs::write(&spool, "no folder\n").expect("own folder");
                self.postgres.stop();
                sleep(pause);
                self.postgres.resume();
                std::fs::remove_file(&spool).expect("own file");
                if moved {
                    std::fs::rename(&aside, &spool).expect("own folder");
                }
                "spool and database away"
            }
            8 => {
                let mut client = self.database.connect();
                let mut tx = client.transaction().expect("a transaction");
                tx.execute(&link, &[]).expect("a lock");
                sleep(pause);
                "a link's row locked"
            }
            9 => {
                self.database
                    .execute("UPDATE capconduit_migrations SET checksum = '' WHERE name IN ('routing', 'call_log')");
                let _ = self.database.command().args(["db", "migrate"]).output();
                "functions replaced"
            }
            10 => {
                let site = &self.sites[dice.below(self.sites.len() as u64) as usize];
                for verb in ["pause", "enable"] {
                    self.administer(&["campaign", verb, &site.campaign_id.to_string()]);
                    sleep(pause);
                }
                "campaign paused"
            }
            11 => {
                let site = &self.sites[dice.below(self.sites.len() as u64) as usize];
                for verb in ["disable", "enable"] {
                    self.administer(&["client", verb, &site.clients[0]]);
                    sleep(pause);
                }
                "client inactive"
            }
            12 => {
                let offset = dice.below(7200) as i64 - 3600;
                std::fs::write(&self.clock, format!("{offset:+}\n")).expect("own folder");
                "Asterisk's clock set"
            }
            _ => {
                let _ = self.database.command().args(["db", "verify", "--repair"]).output();
                "db verify --repair"
            }
        };
        self.count(fault);
        self.count("placed");
    }

    /// Changes something, however long the database has still to recover.
    fn administer(&self, arguments: &[&str]) {
        let done = || self.database.command().args(arguments).status().is_ok_and(|status| status.success());
        wait_for_secs(60, "a change to be made", done);
    }

    fn any_link(&self, dice: &mut Dice) -> i32 {
        let all: Vec<i32> = self.sites.iter().flat_map(|site| site.settings.iter().copied()).collect();
        all[dice.below(all.len() as u64) as usize]
    }

    /// All servers are up, and what waits is delivered.
    fn settle(&self) {
        println!("[soak] the last calls end");
        wait_for_secs(120, "all channels to go", || self.nodes.iter().all(|node| node.asterisk.channels() == 0));
        // those of a killed Asterisk only end by their patience
        sleep(Duration::from_millis(u64::from(CENTRE_GIVES_UP) + 1_000));
        for node in &self.nodes {
            // PgBouncer tries a server that was away again after 15 s
            wait_for_secs(60, "the spool to be delivered", || node.run(&["call", "replay"]).0 == Some(0));
            println!("[soak] {}: of its log {}", node.name, node.replay_log().trim());
            let (code, said) = node.run(&["call", "reap"]);
            assert_eq!(code, Some(0), "{}: {said}", node.name);
        }
    }

    fn judge(&self, first: &[(&'static str, u64, usize)]) {
        let one = |sql: &str| self.database.value(sql);
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        println!("[soak] faults: {faults:?}");
        let placed: usize = batches.iter().map(|batch| batch.count).sum();
        let answered: usize = batches.iter().flat_map(|batch| &batch.codes).filter(|code| **code == 200).count();
        println!("[soak] calls placed {placed}, SIP 200 to the carrier {answered}");
        println!(
            "[soak] records: {:?}",
            self.database.query("SELECT call_status, count(*) FROM call_logs GROUP BY 1 ORDER BY 1")
        );
        let mut wrong = Vec::new();
        for (index, (centre, cap)) in self.centres.iter().enumerate() {
            let (peak, now) = centre.peak_and_now();
            println!("[soak] centre {index}: {} calls, {peak} at once at most, its cap is {cap}", centre.calls());
            if peak > *cap {
                wrong.push(format!("centre {index} saw {peak} calls at once, its cap is {cap}"));
            }
            if now > 0 {
                wrong.push(format!("centre {index} did not see the end of {now} calls"));
            }
            if peak > *cap || now > 0 {
                for line in centre.errors().lines().filter(|line| line.contains("Aborting")).take(20) {
                    println!("[soak] centre {index}: {line}");
                }
            }
        }
        // Each call has its record, but for those of an Asterisk that was killed.
        let (mut shaken, mut missing) = (0, 0);
        for batch in batches.iter() {
            let node = &self.nodes[batch.node];
            let records: usize =
                one(&format!("SELECT count(*) FROM call_logs WHERE caller_id_num = '{}'", batch.number))
                    .parse()
                    .expect("a number");
            let killed = node.killed.lock().unwrap_or_else(PoisonError::into_inner);
            let from = batch.begun.checked_sub(AWAY * 2).unwrap_or(batch.begun);
            if killed.iter().any(|at| *at >= from && *at <= batch.ended) {
                shaken += batch.count;
                missing += batch.count.saturating_sub(records);
                if records > batch.count {
                    wrong.push(format!("{}: {records} records of {} calls", batch.number, batch.count));
                }
            } else if records != batch.count {
                wrong.push(format!(
                    "{}: {records} records of {} calls of {}: {:?}",
                    batch.number, batch.count, node.name, batch.codes
                ));
            }
        }
        println!("[soak] of {shaken} calls around a killed Asterisk {missing} have no record");
        let lost = one("SELECT count(*) FROM call_attempts WHERE count_pending");
        println!("[soak] calls that hold a place in a total until a person decides: {lost}");
        self.database.capconduit(&["call", "settle", "--all", "--unanswered", "--yes"]);
        for (what, sql) in [
            ("open attempts", "SELECT count(*) FROM call_attempts WHERE released_at IS NULL"),
            ("attempts that wait to be counted", "SELECT count(*) FROM call_attempts WHERE count_pending"),
            (
                "totals exceeded",
                "SELECT count(*) FROM campaign_client_settings WHERE current_total_calls > total_calls_allowed",
            ),
        ] {
            let found = one(sql);
            println!("[soak] {what}: {found}");
            if found != "0" {
                wrong.push(format!("{what}: {found}"));
            }
        }
        // no call of the soak is that long
        let odd = self.database.query(
            "SELECT asterisk_uniqueid, call_status, timestamp_start, timestamp_answered, timestamp_end, billsec_seconds
             FROM call_logs
             WHERE timestamp_answered NOT BETWEEN timestamp_start AND timestamp_end OR billsec_seconds > 15",
        );
        println!("[soak] records that contradict themselves: {}", odd.len());
        if !odd.is_empty() {
            for record in &odd {
                let id = record.split('|').next().expect("an id");
                for node in &self.nodes {
                    for line in node.asterisk.log().lines().filter(|line| line.contains(id)) {
                        println!("[soak] {}: {line}", node.name);
                    }
                }
            }
            wrong.push(format!("records that contradict themselves:\n{}", odd.join("\n")));
        }
        for node in &self.nodes {
            let spool = node.asterisk.dir().join("spool/capconduit");
            let left: Vec<PathBuf> = ["", "failed", "damaged"]
                .iter()
                .flat_map(|folder| std::fs::read_dir(spool.join(folder)).into_iter().flatten().flatten())
                .map(|file| file.path())
                .filter(|path| path.extension().is_some_and(|end| end == "json"))
                .collect();
            if !left.is_empty() {
                wrong.push(format!("{}: left in the spool: {left:?}", node.name));
            }
        }
        let verified = self.database.command().args(["db", "verify", "--json"]).output().expect("it runs");
        let verified = String::from_utf8_lossy(&verified.stdout).into_owned();
        println!("[soak] db verify: {}", verified.trim());
        if verified.trim() != "[]" {
            wrong.push("db verify finds differences".to_owned());
        }
        for ((name, memory, files), (_, memory_before, files_before)) in self.sizes().iter().zip(first) {
            println!("[soak] agi serve on {name}: {memory_before} to {memory} kB, {files_before} to {files} files");
            if *memory > memory_before * 2 + 8_000 || *files > files_before + 20 {
                wrong.push(format!("agi serve on {name} has grown"));
            }
        }
        assert!(wrong.is_empty(), "[soak] wrong:\n{}", wrong.join("\n"));
        println!("[soak] all is right");
    }

    /// The memory (kB) and the open files of each `agi serve`.
    fn sizes(&self) -> Vec<(&'static str, u64, usize)> {
        let size = |node: &Node| {
            let pid = node.agi_server.as_ref()?.pid_below_guard();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            let memory = line.split_whitespace().nth(1)?.parse().ok()?;
            Some((node.name, memory, std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()))
        };
        self.nodes.iter().filter_map(size).collect()
    }
}

impl Node {
    /// Records what only its log has.
    fn replay_log(&self) -> String {
        let log = self.asterisk.dir().join("log/recovered");
        std::fs::write(&log, self.asterisk.log()).expect("own folder");
        self.run(&["call", "replay", "--file", log.to_str().expect("UTF-8")]).1
    }

    /// Runs the CLI as on this server: its exit code, and what it said.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.database.command();
        command.envs(self.clock.iter().map(|(name, value)| (name, value)));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.asterisk.dir().display()));
        command.env("AST_CONFIG_DIR", self.asterisk.dir().join("etc"));
        command.env("CAPCONDUIT_SPOOL_DIR", self.asterisk.dir().join("spool/capconduit"));
        let output = command.args(arguments).output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.code(), said)
    }

    /// Asterisk dies with its calls, and comes again once the centres have noticed.
    fn kill(&self) {
        let _down = self.up.write().unwrap_or_else(PoisonError::into_inner);
        self.asterisk.kill();
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        sleep(AWAY);
        self.asterisk.resume();
    }
}
