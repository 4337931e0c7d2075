//! The recommended layout: the shipped PgBouncer configuration and the drop-in for Asterisk's unit, with the
//! logins of `db roles` on a PostgreSQL that asks for passwords as Debian's does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use postgres::{Client, NoTls};
use serde_json::Value;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::pgbouncer::{self, PgBouncer};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, process, wait_for};

const INI: &str = include_str!("../../asterisk/pgbouncer.ini");
const DROP_IN: &str = include_str!("../../asterisk/systemd/asterisk.service.d/capconduit.conf");
/// The ini's.
const PORT: u16 = 6432;
const POOL_SIZE: usize = 10;

struct Layout {
    owner: Database,
    /// For looking at what has come of it.
    superuser: Database,
    env_dir: tempfile::TempDir,
    dir: PathBuf,
    pooler: PgBouncer,
    // after what uses it
    postgres: Postgres,
}

impl Layout {
    fn start() -> Layout {
        let postgres = Postgres::start();
        let first = postgres.empty_database();
        let rules =
            "local all all peer\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(first.value("SHOW hba_file"), rules).expect("the harness's own file");
        first.execute("SELECT pg_reload_conf(); CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'");
        first.execute("CREATE DATABASE capconduit OWNER owner");
        let superuser = Database {
            url: format!("postgresql://postgres@127.0.0.1:{}/capconduit", postgres.port()),
            name: "capconduit".into(),
        };
        let owner = Database { url: superuser.url.replace("postgres@", "owner:owner@"), ..superuser.clone() };
        let wrong = superuser.url.replace("postgres@", "owner:wrong@");
        wait_for("the server to ask for passwords", || Client::connect(&wrong, NoTls).is_err());
        owner.capconduit(&["db", "migrate"]);
        let env_dir = tempfile::tempdir().expect("a folder");
        owner.capconduit(&["db", "roles", "--env-dir", env_dir.path().to_str().expect("UTF-8")]);

        let dir = pgbouncer::folder();
        let ini = moved(INI, &dir).replace("port=5432", &format!("port={}", postgres.port()));
        list_logins(&postgres, &dir);
        let login = credentials(&login(env_dir.path(), "capconduit.env", "DATABASE_URL").url);
        let pooler = PgBouncer::start_on(&dir, &ini, PORT, &login, "capconduit");
        Layout { postgres, owner, superuser, env_dir, dir, pooler }
    }

    fn login(&self, file: &str, variable: &str) -> Database {
        login(self.env_dir.path(), file, variable)
    }
}

/// The shipped text with its paths in a folder of the test's.
fn moved(text: &str, dir: &Path) -> String {
    let dir = dir.to_str().expect("UTF-8");
    text.replace("/var/run/postgresql", dir).replace("/etc/pgbouncer", dir)
}

/// Runs the command that the ini gives for its list of logins.
fn list_logins(postgres: &Postgres, dir: &Path) {
    let line = INI.lines().find_map(|line| line.strip_prefix(";    runuser -u postgres -- ")).expect("the command");
    let mut command = Command::new("sh");
    command.args(["-c", &moved(line, dir)]).env("PGHOST", "127.0.0.1").env("PGUSER", "postgres");
    process::run(command.env("PGPORT", postgres.port().to_string()));
    let text = std::fs::read_to_string(dir.join("userlist.txt")).expect("written");
    assert!(text.starts_with("\"capconduit_agi\" \"SCRAM-SHA-256$1:") && text.lines().count() == 1, "{text}");
}

/// The login that a line of a file names.
fn login(env_dir: &Path, file: &str, variable: &str) -> Database {
    let text = std::fs::read_to_string(env_dir.join(file)).expect("the file");
    let url = text.lines().find_map(|line| line.strip_prefix(&format!("{variable}=")));
    Database { url: url.expect("the variable").to_owned(), name: "capconduit".to_owned() }
}

/// `user:password` of a URL.
fn credentials(url: &str) -> String {
    url.trim_start_matches("postgresql://").split('@').next().expect("a login").to_owned()
}

/// Runs an AGI program; what it sent.
fn run(name: &str, database: &Database, said: &str) -> String {
    let output = agi::run(&mut agi::command(name, &database.url, Path::new("/nonexistent")), said);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_programs_of_each_call_work_through_the_shipped_pooler() {
    let layout = Layout::start();
    let through = &layout.pooler.by_socket;
    let site = Site::new(&layout.superuser, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let sent = run("cc-route", through, &agi::dialled("p-1", &site.did));
    assert!(sent.contains(&format!("\"proceed,,,{},{},", site.settings[0], site.clients[0])), "{sent}");
    run("cdr_logger", through, &agi::answered("p-1", &site.did, site.settings[0]));
    assert_eq!(site.records("call_status, billsec_seconds"), ["ANSWERED|3"]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![1], 0));

    two_hundred_sessions_share_the_pool(through);
    how_busy_it_is(&layout.dir);
    a_call_does_not_wait_for_long(&layout.pooler, &site);
    no_call_waits_for_the_records(&layout, &site);
    the_list_is_written_again_after_a_rotation(&layout, &site);
}

/// All of them are open before the first one asks: sessions do not keep a process of the server.
fn two_hundred_sessions_share_the_pool(through: &Database) {
    // by few at once: a login is dear in a test build, and other tests wait for theirs
    let opened = std::thread::scope(|scope| {
        let open = || (0..50).map(|_| Client::connect(&through.url, NoTls)).collect::<Result<Vec<_>, _>>();
        let threads = [(); 4].map(|()| scope.spawn(open));
        threads.map(|thread| thread.join().expect("no panic").expect("no login fails"))
    });
    let sessions: Vec<Client> = opened.into_iter().flatten().collect();
    assert_eq!(sessions.len(), 200);
    let all_ask = Barrier::new(sessions.len());
    let ask = |mut session: Client| {
        all_ask.wait();
        session.query_typed("SELECT pg_backend_pid()", &[]).map(|rows| rows[0].get::<_, i32>(0))
    };
    let mut pids: Vec<i32> = std::thread::scope(|scope| {
        let asked: Vec<_> = sessions.into_iter().map(|session| scope.spawn(|| ask(session))).collect();
        asked.into_iter().map(|thread| thread.join().expect("no panic").expect("no session fails")).collect()
    });
    pids.sort();
    pids.dedup();
    assert!((1..=POOL_SIZE).contains(&pids.len()), "{pids:?}");
}

/// The ini's command for it.
fn how_busy_it_is(dir: &Path) {
    assert!(INI.contains("psql -p 6432 pgbouncer -c 'SHOW POOLS'"));
    let mut command = process::as_user("postgres", Path::new("psql"));
    command.args(["-p", "6432", "pgbouncer", "-c", "SHOW POOLS"]).env("PGHOST", dir).env("PGUSER", "pgbouncer");
    let shown = process::run(command.current_dir("/"));
    assert!(shown.lines().any(|line| line.contains("capconduit_agi") && line.contains("transaction")), "{shown}");
}

fn a_call_does_not_wait_for_long(pooler: &PgBouncer, site: &Site) {
    let through = &pooler.by_socket;
    let busy: Vec<Client> = (0..POOL_SIZE)
        .map(|_| {
            let mut session = through.connect();
            session.batch_execute("BEGIN; SELECT 1").expect("a transaction");
            session
        })
        .collect();
    let sent = run("cc-route", through, &agi::dialled("p-2", &site.did));
    assert!(sent.contains("\"error,unreachable,42\""), "{sent}");
    // the pooler has sent it away, before its own patience ended
    assert!(pooler.log().contains("query_wait_timeout"), "{}", pooler.log());
    drop(busy);
    wait_for("a place in the pool", || {
        run("cc-route", through, &agi::dialled("p-2", &site.did)).contains("\"proceed,")
    });
}

/// More records than the pool has places wait for a row that a seller's transaction holds.
fn no_call_waits_for_the_records(layout: &Layout, site: &Site) {
    let through = &layout.pooler.by_socket;
    let line = INI.lines().find_map(|line| line.split_once("CAPCONDUIT_RECORDS_DATABASE="));
    let records_database = line.expect("the ini says so").1;
    let spool = tempfile::tempdir().expect("a folder");
    let records = 2 * POOL_SIZE;
    let before = site.records("1").len();
    let mut seller = layout.superuser.connect();
    let lock = format!("BEGIN; SELECT FROM campaign_client_settings WHERE id = {} FOR UPDATE", site.settings[0]);
    seller.batch_execute(&lock).expect("the row");
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%cc_log_call(%' AND wait_event_type = 'Lock'";
    std::thread::scope(|scope| {
        for n in 0..records {
            let mut command = agi::command("cdr_logger", &through.url, spool.path());
            command.env("CAPCONDUIT_RECORDS_DATABASE", records_database);
            let said = agi::answered(&format!("r-{n}"), &site.did, site.settings[0]);
            scope.spawn(move || agi::run(&mut command, &said));
        }
        wait_for("the records' pool to be full", || layout.superuser.value(waiting) == "5");
        for n in 0..5 {
            let sent = run("cc-route", through, &agi::dialled(&format!("q-{n}"), &site.did));
            assert!(sent.contains("\"proceed,"), "{sent}\n{}", layout.pooler.log());
        }
        assert_eq!(site.records("1").len(), before, "all that while no record was written");
        seller.batch_execute("COMMIT").expect("commit");
    });
    // what waited in vain is spooled
    let mut replay = layout.superuser.command();
    replay.env("CAPCONDUIT_SPOOL_DIR", spool.path().join("capconduit")).args(["call", "replay"]);
    process::run(&mut replay);
    assert_eq!(site.records("1").len(), before + records);
}

fn the_list_is_written_again_after_a_rotation(layout: &Layout, site: &Site) {
    let before = layout.pooler.by_socket.clone();
    let env_dir = layout.env_dir.path();
    // as the ini tells to: a rotation does not undo it
    let mut file = std::fs::read_to_string(env_dir.join("capconduit.env")).expect("the file");
    file = file.replace(&layout.login("capconduit.env", "DATABASE_URL").url, &before.url);
    std::fs::write(env_dir.join("capconduit.env"), file).expect("own folder");
    layout.owner.capconduit(&["db", "roles", "--rotate=agi", "--env-dir", env_dir.to_str().expect("UTF-8")]);
    let after = layout.login("capconduit.env", "DATABASE_URL");
    assert_eq!(after.url, before.url.replace(&credentials(&before.url), &credentials(&after.url)));
    assert_ne!(after.url, before.url);
    assert!(Client::connect(&after.url, NoTls).is_err(), "it has the old one");
    list_logins(&layout.postgres, &layout.dir);
    layout.pooler.reload();
    wait_for("the new password to count", || {
        run("cc-route", &after, &agi::dialled("p-3", &site.did)).contains("\"proceed,")
    });
    assert!(Client::connect(&before.url, NoTls).is_err(), "the old password");
    let log = layout.pooler.log();
    assert!(!log.contains(credentials(&before.url).split(':').nth(1).expect("a password")), "{log}");
}

/// What a unit file sets: section, key, value.
fn settings(text: &str) -> Vec<(&str, &str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => section = name,
            None => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
                found.push((section, key, value));
            }
        }
    }
    found
}

/// The environment that the drop-in gives Asterisk.
fn environment() -> Vec<(&'static str, &'static str)> {
    let of = |(section, key, value): (&str, &str, &'static str)| {
        (section == "Service" && key == "Environment").then(|| value.trim_matches('"').split_once('=').expect("a pair"))
    };
    settings(DROP_IN).into_iter().filter_map(of).collect()
}

#[test]
fn the_drop_in_is_one_that_systemd_understands() {
    let found: Vec<(&str, &str)> = settings(DROP_IN).into_iter().map(|(section, key, _)| (section, key)).collect();
    let service = |key| ("Service", key);
    let environment = [service("Environment"); 4];
    assert_eq!(
        found,
        [&[("Unit", "After")][..], &environment, &[service("LimitNOFILE"), service("TasksMax")]].concat()
    );

    let dir = tempfile::tempdir().expect("a folder");
    let unit = dir.path().join("asterisk.service");
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("own folder");
    std::fs::create_dir(dir.path().join("asterisk.service.d")).expect("own folder");
    let verify = |text: &str| {
        std::fs::write(dir.path().join("asterisk.service.d/capconduit.conf"), text).expect("own folder");
        let mut command = Command::new("systemd-analyze");
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()));
        let output = command.args(["verify", "--man=no"]).arg(&unit).output().expect("systemd-analyze runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let complaints = verify(DROP_IN);
    assert!(!complaints.contains("capconduit.conf"), "{complaints}");
    let complaints = verify(&DROP_IN.replace("LimitNOFILE", "LimitNFILE"));
    assert!(complaints.contains("capconduit.conf") && complaints.contains("LimitNFILE"), "{complaints}");
}

#[test]
fn a_call_through_all_of_it() {
    let layout = Layout::start();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&layout.superuser, "priority", 20, &[Link::to(centre.contact())]);
    let realtime = layout.login("admin.env", "ASTERISK_DATABASE_URL");
    let mut environment = environment();
    environment.push(("DATABASE_URL", &layout.pooler.by_socket.url));
    let options = Options { system_name: "laid-out", environment: &environment, ..Options::default() };
    let asterisk = Asterisk::start(&realtime, &options);
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&asterisk), [200]);
    assert_eq!(site.wait_for_records(1, "call_status"), ["ANSWERED"]);

    let check = |asterisk: &Asterisk| {
        let mut command = layout.login("admin.env", "DATABASE_URL").command();
        command.env("AST_SPOOL_DIR", asterisk.dir().join("spool"));
        command.args(["--json", "asterisk", "check", "--etc-dir"]).arg(asterisk.dir().join("etc"));
        findings(command.arg("--asterisk").arg(asterisk.program()))
    };
    let found = check(&asterisk);
    for (area, check) in [
        ("server", "memory"),
        ("server", "environment"),
        ("server", "realtime"),
        ("agi", "database"),
        ("database", "realtime login"),
        ("database", "pooler"),
    ] {
        assert_eq!(state(&found, area, check), "ok", "{area} {check}: {found:#?}");
    }
    let maps = asterisk.maps();
    assert!(maps.contains("libjemalloc.so.2"), "{maps}");

    // one that was started as an earlier release's drop-in says
    environment.retain(|(name, _)| *name != "MALLOC_CONF");
    environment.push(("MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000"));
    let earlier = Asterisk::start(
        &realtime,
        &Options { system_name: "earlier", environment: &environment, ..Options::default() },
    );
    let found = check(&earlier);
    assert_eq!(state(&found, "server", "memory"), "info", "{found:#?}");
}

fn findings(command: &mut Command) -> Vec<Value> {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

fn state(found: &[Value], area: &str, check: &str) -> String {
    let finding = found.iter().find(|finding| finding["area"] == area && finding["check"] == check);
    finding.unwrap_or_else(|| panic!("no {area} {check}: {found:#?}"))["state"].as_str().expect("text").to_owned()
}

#[test]
fn what_is_in_front_of_postgresql_is_found_out() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let folder = tempfile::tempdir().expect("a folder");
    let env_file = folder.path().join("capconduit.env");
    let pooler = |url: &str| {
        std::fs::write(&env_file, format!("DATABASE_URL={url}\n")).expect("own folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&env_file, mode).expect("own file");
        let mut command = database.command();
        command.env("CAPCONDUIT_ENV_FILE", &env_file).args(["--json", "asterisk", "check", "--etc-dir"]);
        state(&findings(command.arg(folder.path())), "database", "pooler")
    };
    assert_eq!(pooler(&database.url), "info");
    let transactions = PgBouncer::start(postgres, &database);
    assert_eq!(pooler(&transactions.database.url), "ok");
    // the pool that records have, by its name
    let records = |name: &str| {
        std::fs::write(
            &env_file,
            format!("DATABASE_URL={}\nCAPCONDUIT_RECORDS_DATABASE={name}\n", transactions.database.url),
        )
        .expect("own folder");
        let mut command = database.command();
        command.env("CAPCONDUIT_ENV_FILE", &env_file).args(["--json", "asterisk", "check", "--etc-dir"]);
        state(&findings(command.arg(folder.path())), "database", "records' pool")
    };
    let other = postgres.empty_database();
    assert_eq!([&database.name, "", "nonsense", &other.name].map(records), ["ok", "info", "error", "error"]);
    // with a place for a second session, and without
    for size in [5, 1] {
        let dir = pgbouncer::folder();
        std::fs::write(dir.join("users.txt"), "\"postgres\" \"\"\n").expect("own folder");
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nunix_socket_dir = {1}\nlisten_port = {PORT}\n\
             auth_type = trust\nauth_file = {1}/users.txt\npool_mode = session\ndefault_pool_size = {size}\n",
            postgres.port(),
            dir.display()
        );
        let sessions = PgBouncer::start_on(&dir, &ini, PORT, "postgres", &database.name);
        assert_eq!(pooler(&sessions.database.url), "warning", "{}", sessions.log());
    }
    assert_eq!(pooler("postgresql://127.0.0.1:1/x"), "unknown");
}
