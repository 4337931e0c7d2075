//! A routing attempt and a call record as Asterisk would run them: whole processes, from their start
//! to their end, with the AGI conversation over pipes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::figures::{Alternative, Row, Samples, Table, clock, in_turn};
use crate::harness::pgbouncer::{self, PgBouncer};
use crate::harness::postgres::Database;
use crate::harness::process::{Folder, run};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, free_port, program};
use crate::{Bench, backend, say};

/// The folder of what is compared with.
pub(crate) const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/benchmark");

/// One way to do it: a program and where it finds the database.
struct Way {
    name: String,
    program: PathBuf,
    url: String,
    /// What it reads besides: a cold start does without them, too.
    libraries: Vec<PathBuf>,
    /// None: it claims nothing.
    says: Option<&'static str>,
}

/// The calls that the ways are asked about.
struct Caller<'a> {
    site: &'a Site,
    backend: &'a str,
    next: AtomicU32,
}

pub(crate) fn measure(bench: &Bench) -> Vec<Table> {
    let tcp = bench.postgres.database();
    let socket = bench.postgres.by_socket(&tcp);
    let pooler = PgBouncer::start_with(&bench.postgres, &tcp, 10);
    let site = Site::new(
        &tcp,
        "weighted",
        20,
        &[("sip:127.0.0.1:9", 1_000_000), ("sip:127.0.0.1:9", 1_000_000)]
            .map(|(contact, max_concurrency)| Link { max_concurrency, ..Link::to(contact) }),
    );
    let backend = backend::start();
    let caller = Caller { site: &site, backend: &backend, next: AtomicU32::new(1) };
    let (_layout, recommended) = recommended(bench, &tcp);
    let certificates = Folder::new();
    bench.postgres.encrypt(&certificates.path, "db.example");
    let by_tcp = |parameters: &str| Database { url: format!("{}?{parameters}", tcp.url), ..tcp.clone() };
    let plain = by_tcp("sslmode=disable");
    let root = certificates.path.join("ca.pem");
    let encrypted = by_tcp(&format!("sslmode=verify-ca&sslrootcert={}", root.display()));
    let places = [
        ("unix socket", &socket),
        ("TCP", &plain),
        ("TCP, encrypted", &encrypted),
        ("PgBouncer, unix socket", &pooler.by_socket),
        ("PgBouncer, unix socket, login of db roles", &recommended),
        ("PgBouncer, TCP", &pooler.database),
    ];

    let nothing = || Way {
        name: "do-nothing".into(),
        program: program("examples/agi-nothing"),
        url: String::new(),
        libraries: vec![],
        says: None,
    };
    let ours = |name: &str| {
        places.map(|(place, database)| Way {
            name: format!("{name}, {place}"),
            program: program(name),
            url: database.url.clone(),
            libraries: vec![],
            says: (name == "cc-route").then_some("proceed,"),
        })
    };
    let python = |script: &str, module: &str, place: &str, database: &Database| Way {
        name: format!("Python {module}{place}"),
        program: Path::new(HERE).join(script),
        url: database.url.clone(),
        libraries: python_files(module),
        says: (script == "route.py").then_some("proceed,"),
    };
    let mut route = vec![nothing()];
    route.extend(ours("cc-route"));
    route.push(python("route.py", "psycopg2", ", unix socket", &socket));
    route.push(python("route.py", "psycopg2", ", PgBouncer, unix socket", &pooler.by_socket));
    let mut log = vec![nothing()];
    log.extend(ours("cdr_logger"));
    log.push(python("log.py", "requests", ", HTTP", &socket));

    vec![
        table(bench, &caller, "One routing attempt: process start to process end, with its commit", &route),
        table(bench, &caller, "One call record: process start to process end, with its commit (HTTP: without)", &log),
    ]
}

/// The database as the recommended layout has it: PgBouncer on a unix socket, with the login that `db roles`
/// makes for the programs, and its password.
fn recommended(bench: &Bench, database: &Database) -> (PgBouncer, Database) {
    let files = Folder::new();
    run(database.command().args(["db", "roles", "--env-dir"]).arg(&files.path));
    let text = std::fs::read_to_string(files.path.join("capconduit.env")).expect("db roles writes it");
    let login = text.split("://").nth(1).and_then(|rest| rest.split('@').next()).expect("a URL");
    let users = "SELECT format('\"%s\" \"%s\"', rolname, rolpassword) FROM pg_authid WHERE rolname = 'capconduit_agi'";
    let (dir, port) = (pgbouncer::folder(), free_port("127.0.0.1"));
    std::fs::write(dir.join("userlist.txt"), database.query(users).join("\n")).expect("own folder");
    let ini = format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\nunix_socket_dir = {2}\nlisten_port = {port}\n\
         auth_type = scram-sha-256\nauth_file = {2}/userlist.txt\npool_mode = transaction\n\
         default_pool_size = 10\nmax_client_conn = 900\nlog_connections = 0\nlog_disconnections = 0\n",
        bench.postgres.socket_dir().display(),
        bench.postgres.port(),
        dir.display()
    );
    let pooler = PgBouncer::start_on(&dir, &ini, port, login, &database.name);
    let database = pooler.database.clone();
    (pooler, database)
}

fn table(bench: &Bench, caller: &Caller<'_>, title: &str, ways: &[Way]) -> Table {
    let rounds = bench.size(20, 200);
    say(&format!("process: {} programs, {rounds} runs of each in turn", ways.len()));
    let mut warm: Vec<Alternative<'_>> =
        ways.iter().map(|way| Alternative::new(&*way.name, || caller.run(way, false))).collect();
    let warm = in_turn(3, rounds, &mut warm);
    // only what is on the disk leaves the page cache
    run(Command::new("sync").args(ways.iter().map(|way| &way.program)));
    let cold_rounds = bench.size(3, 15);
    let mut cold: Vec<Alternative<'_>> =
        ways.iter().map(|way| Alternative::new(&*way.name, || caller.run(way, true))).collect();
    let cold = in_turn(1, cold_rounds, &mut cold);

    let mut table = Table::new(
        title,
        &format!(
            "Milliseconds of n runs, in turn, each a new process for a new call; 3 runs before that are thrown away. \
             Cold: the median of {cold_rounds} runs with the program's own files out of the page cache (Python: \
             the interpreter and all modules, too). Memory: the process's peak, the median of 5 runs. PostgreSQL \
             with fsync on."
        ),
    );
    for ((way, (_, warm)), (_, cold)) in ways.iter().zip(warm).zip(cold) {
        let memory = Samples::new((0..5).map(|_| caller.memory(way)).collect());
        let size = std::fs::metadata(&way.program).map_or(f64::NAN, |m| m.len() as f64 / 1e6);
        let row = Row::new(&way.name).samples("ms", &warm).number("cold_ms_median", cold.median());
        table.push(row.number("peak_MB", memory.median()).number("file_MB", size));
    }
    table.ratio("ms_median", "do-nothing");
    table
}

impl Caller<'_> {
    /// A program and what its channel says. A logger logs a call that has been routed.
    fn call(&self, way: &Way) -> (Command, String) {
        let call = format!("bench-{}.1", self.next.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(&way.program);
        command
            .env("DATABASE_URL", &way.url)
            .env("CAPCONDUIT_ENV_FILE", "/dev/null")
            .env("AST_SPOOL_DIR", "/nonexistent");
        if way.says.is_some() {
            return (command, agi::dialled(&call, &self.site.did));
        }
        if !way.url.is_empty() {
            let claim = format!("SELECT cc_route('{}', '{call}', NULL, NULL, NULL, NULL, NULL, NULL)", self.site.did);
            self.site.database.execute(&claim);
        }
        if way.name.starts_with("Python") {
            command.env("INTERNAL_API_URL", self.backend);
        }
        (command, agi::answered(&call, &self.site.did, self.site.settings[0]))
    }

    /// Milliseconds of one run. What it claimed is released afterwards.
    fn run(&self, way: &Way, cold: bool) -> f64 {
        let (mut command, said) = self.call(way);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        if cold {
            way.forget();
        }
        let mut output = None;
        let time = clock(|| output = Some(agi::run(&mut command, &said)));
        let output = output.expect("it has run");
        let sent = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && sent.contains(way.says.unwrap_or_default()), "{}: {sent}", way.name);
        self.release();
        time
    }

    /// Megabytes at its peak, as time(1) is told by the kernel. This program itself is larger than
    /// what it starts, and a process begins as large as what started it.
    fn memory(&self, way: &Way) -> f64 {
        let folder = Folder::new();
        let file = folder.path.join("memory");
        let (command, said) = self.call(way);
        let mut timed = Command::new("/usr/bin/time");
        timed.args(["-f", "%M", "-o"]).arg(&file).arg(command.get_program());
        timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        timed.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let output = agi::run(&mut timed, &said);
        assert!(output.status.success(), "{}: {output:?}", way.name);
        self.release();
        let kilobytes: f64 = std::fs::read_to_string(&file).unwrap_or_default().trim().parse().expect("kilobytes");
        kilobytes / 1024.0
    }

    /// Calls in flight make the next claim dearer.
    fn release(&self) {
        self.site.database.execute(
            "UPDATE call_attempts SET released_at = now(), release_reason = 'hangup' WHERE released_at IS NULL",
        );
    }
}

impl Way {
    /// Drops its files from the page cache.
    fn forget(&self) {
        for file in self.libraries.iter().chain([&self.program]) {
            let file = file.display();
            run(Command::new("dd").arg(format!("if={file}")).args(["iflag=nocache", "count=0", "status=none"]));
        }
    }
}

/// Python itself and the files behind a module.
fn python_files(module: &str) -> Vec<PathBuf> {
    let list = format!(
        "import sys, os, {module}\nprint(os.path.realpath(sys.executable))\nfor m in list(sys.modules.values()):\n  \
         for f in (getattr(m, '__cached__', None), getattr(m, '__file__', None)):\n    \
         if f and os.path.isfile(f): print(os.path.realpath(f))"
    );
    run(Command::new("/usr/bin/python3").args(["-c", &list])).lines().map(PathBuf::from).collect()
}
