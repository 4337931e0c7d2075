//! Calls through Asterisk: how long the caller waits, how many calls a second one machine takes, and
//! what a burst leaves behind. A private Asterisk for each alternative, all on one database.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::caller::{Load, Outcome};
use crate::cli;
use crate::figures::{Row, Samples, Table};
use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Database;
use crate::harness::process::{self, Folder, Server};
use crate::harness::sip::{Behaviour, Centre};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, program, wait_for};
use crate::process::HERE;
use crate::{Bench, backend, say};

/// A call must be answered within this time...
const SOON: Duration = Duration::from_millis(200);
/// ... in so many cases of a hundred, for a rate to be sustained.
const MOSTLY: usize = 95;
/// What systemd gives Asterisk in the recommended layout.
const DROP_IN: &str = include_str!("../../asterisk/systemd/asterisk.service.d/capconduit.conf");
/// No higher rate is tried.
const CEILING: u32 = 1000;

/// One way to route calls, on an Asterisk of its own.
struct Way {
    name: &'static str,
    number: String,
    asterisk: Asterisk,
    /// Asterisk asks it; ends with it.
    _server: Option<Server>,
}

/// What all ways share.
struct Scene {
    database: Database,
    site: Site,
    pooler: PgBouncer,
    backend: String,
    odbc: Folder,
    // stopped last: calls end with it
    _centre: Centre,
}

pub(crate) fn measure(bench: &Bench) -> Vec<Table> {
    let scene = Scene::start(bench);
    let mut ways = vec![
        scene.way(bench, "plain Dial", "plain", None),
        scene.way(bench, "do-nothing AGI", "nothing", None),
        scene.way(bench, "cc-route, unix socket", &scene.site.did, None),
        scene.way(bench, "cc-route, PgBouncer", &scene.site.did, None),
    ];
    if cli::exists(&scene.database, &["agi", "serve"]) {
        let port = free_port("127.0.0.1");
        let mut command = scene.database.command();
        command.env("DATABASE_URL", bench.postgres.by_socket(&scene.database).url);
        command.args(["agi", "serve", "--listen", &format!("127.0.0.1:{port}")]);
        let server = Server::start(&command, &process::temporary_folder(), "TERM");
        wait_for("the AGI server to listen", || server.output().contains("listening on"));
        ways.push(scene.way(bench, "agi serve, unix socket", &scene.site.did, Some((server, port))));
    }
    ways.push(scene.way(bench, "func_odbc", "odbc", None));
    ways.push(scene.way(bench, "Python AGI", "python", None));

    let quiet = quiet(bench, &scene, &ways);
    let highest = highest(bench, &scene, &ways);
    let mut tables = vec![quiet, highest];
    if !bench.quick {
        // The others would show the same twice, or take minutes to get over it.
        ways.retain(|way| {
            ["nothing", "odbc"].contains(&&*way.number) || way.name.contains("PgBouncer") || way._server.is_some()
        });
        ways.push(scene.way(bench, "cc-route, PgBouncer, drop-in", &scene.site.did, None));
        tables.push(burst(&scene, &ways));
    }
    tables
}

impl Scene {
    fn start(bench: &Bench) -> Scene {
        let database = bench.postgres.database();
        let centre = Centre::start(Behaviour::Answer { ring: 0 });
        let link = Link { max_concurrency: 1_000_000, ..Link::to(centre.contact()) };
        let site = Site::new(&database, "priority", 20, &[link]);
        let odbc = Folder::new();
        let driver = ["x86_64", "aarch64"].map(|m| format!("/usr/lib/{m}-linux-gnu/odbc/psqlodbcw.so"));
        let driver = driver.iter().find(|d| Path::new(d).exists()).expect("odbc-postgresql is missing");
        let write = |name: &str, text: String| std::fs::write(odbc.path.join(name), text).expect("own folder");
        write("odbcinst.ini", format!("[PostgreSQL]\nDriver={driver}\n"));
        write(
            "odbc.ini",
            format!(
                "[capconduit]\nDriver=PostgreSQL\nServername={}\nPort={}\nDatabase={}\nUsername=postgres\n",
                bench.postgres.socket_dir().display(),
                bench.postgres.port(),
                database.name
            ),
        );
        let pooler = PgBouncer::start_with(&bench.postgres, &database, 10);
        Scene { database, site, pooler, backend: backend::start(), odbc, _centre: centre }
    }

    fn way(&self, bench: &Bench, name: &'static str, number: &str, server: Option<(Server, u16)>) -> Way {
        say(&format!("asterisk: starting one for {name}"));
        let socket = bench.postgres.by_socket(&self.database).url;
        let url = if name.contains("PgBouncer") { &self.pooler.by_socket.url } else { &socket };
        let odbc = self.odbc.path.display().to_string();
        let mut environment = vec![("DATABASE_URL", url.as_str()), ("ODBCSYSINI", &odbc)];
        if number == "python" {
            environment.push(("INTERNAL_API_URL", &self.backend));
        }
        if name.contains("drop-in") {
            let variables = DROP_IN.lines().filter_map(|line| line.strip_prefix("Environment="));
            environment.extend(variables.filter_map(|variable| variable.trim_matches('"').split_once('=')));
        }
        let extensions = include_str!("extensions.conf")
            .replace("@AGI_SERVER@", &server.as_ref().map_or_else(String::new, |(_, port)| format!("127.0.0.1:{port}")))
            .replace("@CLIENT@", &self.site.clients[0])
            .replace("@DID@", &self.site.did)
            .replace("@NOTHING@", &program("examples/agi-nothing").display().to_string())
            .replace("@HERE@", HERE);
        let odbc_conf = "[capconduit]\nenabled=yes\ndsn=capconduit\npre-connect=yes\nmax_connections=20\n";
        let options = Options {
            system_name: &format!("bench{}", self.asterisks()),
            environment: &environment,
            modules: if number == "odbc" { &["res_odbc", "res_odbc_transaction", "func_odbc"] } else { &[] },
            files: &[
                ("extensions_local.conf", &extensions),
                ("func_odbc.conf", include_str!("func_odbc.conf")),
                ("res_odbc.conf", odbc_conf),
                // 1,500 calls at once have four ports each
                ("rtp.conf", "[general]\nrtpstart=10000\nrtpend=31999\n"),
                // no log but what goes wrong
                ("logger.conf", "[logfiles]\nmessages.log => warning,error\n"),
            ],
            ..Options::default()
        };
        let asterisk = Asterisk::start(&self.database, &options);
        let way = Way { name, number: number.to_owned(), asterisk, _server: server.map(|(server, _)| server) };
        let outcome = self.calls(&way, 5.0, 5);
        let log = way.asterisk.log();
        assert_eq!(outcome.answered.len(), 5, "{name}: {:?}\n{log}", outcome.refused);
        way
    }

    /// A number that no other Asterisk of this run has.
    fn asterisks(&self) -> u32 {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Places calls of no length.
    fn calls(&self, way: &Way, per_second: f64, count: usize) -> Outcome {
        self.place(way, &Load { number: &way.number, per_second, count, late: None }, Duration::from_secs(20))
    }

    /// Places calls. An Asterisk that does not come to an end with them in time is started anew. What the
    /// Python logger leaves claimed is released afterwards.
    fn place(&self, way: &Way, load: &Load<'_>, patience: Duration) -> Outcome {
        let outcome = load.place(&way.asterisk);
        let begun = Instant::now();
        while outcome.stopped || way.asterisk.channels() > 0 {
            if outcome.stopped || begun.elapsed() > patience {
                way.asterisk.kill();
                way.asterisk.resume();
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.database.execute(
            "UPDATE call_attempts SET released_at = now(), release_reason = 'hangup' WHERE released_at IS NULL",
        );
        outcome
    }
}

/// What a caller waits for when there is no hurry.
fn quiet(bench: &Bench, scene: &Scene, ways: &[Way]) -> Table {
    let rounds = bench.size(1, 10);
    let mut outcomes: Vec<Outcome> = ways.iter().map(|_| Outcome::default()).collect();
    for round in 1..=rounds {
        say(&format!("asterisk: 5 calls a second, round {round} of {rounds}"));
        for (way, all) in ways.iter().zip(&mut outcomes) {
            let outcome = scene.calls(way, 5.0, 10);
            all.answered.extend(outcome.answered);
            all.ringing.extend(outcome.ringing);
            all.refused.extend(outcome.refused);
        }
    }
    let mut table = Table::new(
        "Set-up at 5 calls a second",
        "Milliseconds from the caller's INVITE to 200 OK (and to the first 180), of n calls: 10 on each in turn, again \
         and again; 5 before that are thrown away. An Asterisk of its own for each; the callee (SIPp) answers at once; \
         caller, callee, database and Asterisk share the machine. Memory: that Asterisk's, resident.",
    );
    for (way, outcome) in ways.iter().zip(outcomes) {
        let ringing = Samples::new(outcome.ringing);
        let row = Row::new(way.name).samples("ms", &Samples::new(outcome.answered));
        let row = row.number("ringing_ms_median", ringing.median()).with("refused", outcome.refused.len());
        table.push(row.with("asterisk_MB", way.asterisk.resident_mb()));
    }
    table.ratio("ms_median", "plain Dial");
    table
}

/// Where the search for the highest rate of a way stands: what it sustained, what it did not.
struct Search {
    sustained: u32,
    failed: Option<u32>,
    /// Of the highest rate it sustained.
    samples: Samples,
}

impl Search {
    /// The next rate to try: twice as much, then half way, until within a tenth.
    fn next(&self, fine: bool) -> Option<u32> {
        match self.failed {
            None if self.sustained >= CEILING => None,
            None if self.sustained == 0 => Some(10),
            None => Some((self.sustained * 2).min(CEILING)),
            Some(failed) if fine && failed - self.sustained > (self.sustained / 10).max(1) => {
                Some(u32::midpoint(self.sustained, failed))
            }
            Some(_) => None,
        }
    }
}

fn highest(bench: &Bench, scene: &Scene, ways: &[Way]) -> Table {
    let seconds = bench.size(2, 10);
    let mut searches: Vec<Search> =
        ways.iter().map(|_| Search { sustained: 0, failed: None, samples: Samples::new(vec![]) }).collect();
    loop {
        let mut tried = false;
        for (way, search) in ways.iter().zip(&mut searches) {
            let Some(rate) = search.next(!bench.quick) else { continue };
            tried = true;
            let count = (rate * seconds) as usize;
            let allowed = count * (100 - MOSTLY) / 100;
            let load = Load { number: &way.number, per_second: f64::from(rate), count, late: Some((allowed, SOON)) };
            let outcome = scene.place(way, &load, Duration::from_secs(20));
            let good = !outcome.stopped;
            say(&format!(
                "asterisk: {}: {rate} calls a second: {}",
                way.name,
                if good { "sustained" } else { "too many" }
            ));
            if good {
                search.sustained = rate;
                search.samples = Samples::new(outcome.answered);
            } else {
                search.failed = Some(rate);
            }
        }
        if !tried {
            break;
        }
    }
    let mut table = Table::new(
        "Highest rate sustained",
        &format!(
            "Calls a second for {seconds} s of which {}% are answered within {} ms: doubled from 10 until it \
             fails or is {CEILING}{}. Calls end at once, which is where the record is written. An Asterisk that failed a \
             rate is started anew. Milliseconds: INVITE to 200 OK at that rate.",
            MOSTLY,
            SOON.as_millis(),
            if bench.quick { "" } else { ", then halved to within a tenth" }
        ),
    );
    for (way, search) in ways.iter().zip(searches) {
        let row = Row::new(way.name).with("calls_per_s", search.sustained);
        let row = if search.failed.is_none() { row.with("more", "not tried") } else { row };
        table.push(row.samples("ms", &search.samples));
    }
    table.ratio("calls_per_s", "plain Dial");
    table
}

/// What is left of a burst that is more than the machine can take.
fn burst(scene: &Scene, ways: &[Way]) -> Table {
    let (calls, quiet, pause) = (1500, 25, 60);
    struct After {
        before_ms: f64,
        before_mb: u64,
        peak_mb: u64,
        answered: Samples,
    }
    let setup = |way: &Way| Samples::new(scene.calls(way, 5.0, quiet).answered).median();
    let done: Vec<After> = ways
        .iter()
        .map(|way| {
            say(&format!("asterisk: {calls} calls at 100 a second: {}", way.name));
            way.asterisk.kill();
            way.asterisk.resume();
            setup(way);
            let (before_ms, before_mb) = (setup(way), way.asterisk.resident_mb());
            let load = Load { number: &way.number, per_second: 100.0, count: calls, late: None };
            // what is left of the burst is this Asterisk's: it is not started anew
            let answered = Samples::new(scene.place(way, &load, Duration::from_secs(600)).answered);
            After { before_ms, before_mb, peak_mb: way.asterisk.resident_mb(), answered }
        })
        .collect();
    say(&format!("asterisk: waiting for {pause} s"));
    thread::sleep(Duration::from_secs(pause));
    let mut table = Table::new(
        "After a burst",
        &format!(
            "{calls} calls at 100 a second on a fresh Asterisk (drop-in: with the allocator of the recommended layout): how many were answered at all and the median \
             milliseconds until then; the resident memory of that Asterisk and the median of {} set-ups at 5 calls a \
             second, before, and {pause} s or more after.",
            quiet
        ),
    );
    for (way, after) in ways.iter().zip(done) {
        let row = Row::new(way.name)
            .with("answered", after.answered.len())
            .number("burst_ms_median", after.answered.median());
        let row = row.number("before_ms", after.before_ms).number("after_ms", setup(way));
        let row = row.with("before_MB", after.before_mb).with("end_MB", after.peak_mb);
        table.push(row.with("after_MB", way.asterisk.resident_mb()));
    }
    table
}
