//! `db roles`: what each login may do and what not, tried with the logins themselves on a server that
//! asks for passwords.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::harness::agi;
use crate::harness::postgres::{Database, Postgres, binary};
use crate::harness::process;
use crate::harness::site::{Link, Site};

/// A server that lets only its administrator in without a password, and a database with the sample data
/// that is owned by a login that is no superuser. Roles are the cluster's: each test has a prefix of its own.
struct Strict {
    server: Postgres,
    template: Database,
}

fn strict() -> &'static Strict {
    static STRICT: OnceLock<Strict> = OnceLock::new();
    STRICT.get_or_init(|| {
        let server = Postgres::start();
        let database = server.empty_database();
        let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(database.value("SHOW hba_file"), rules).expect("the harness's own file");
        database.execute("SELECT pg_reload_conf(); CREATE ROLE probe LOGIN PASSWORD 'right'");
        let probe = database.url.replace("postgres@", "probe:wrong@");
        crate::harness::wait_for("the server to ask for passwords", || Client::connect(&probe, NoTls).is_err());
        database.execute(&format!(
            "CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'; ALTER DATABASE {} OWNER TO owner",
            database.name
        ));
        let template = Database { url: database.url.replace("postgres@", "owner:owner@"), name: database.name };
        template.capconduit(&["db", "migrate"]);
        template.capconduit(&["db", "seed"]);
        template.execute("UPDATE users SET password_hash = '$2b$12$secret'");
        Strict { server, template }
    })
}

fn server() -> &'static Postgres {
    &strict().server
}

/// A database with its logins.
struct Access {
    owner: Database,
    prefix: &'static str,
    folder: tempfile::TempDir,
}

impl Access {
    /// A copy of the template, with logins for alice and bob.
    fn new(prefix: &'static str) -> Access {
        // two copies at a time fail
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let template = &strict().template;
        let name = format!("{}_{prefix}", template.name);
        let last =
            |name: &str| template.url.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).expect("a URL");
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let admin = Database { url: last("postgres").replace("owner:owner@", "postgres@"), name: String::new() };
        admin.execute(&format!("CREATE DATABASE {name} TEMPLATE {} OWNER owner", template.name));
        drop(guard);
        let folder = tempfile::tempdir().expect("a folder");
        let access = Access { owner: Database { url: last(&name), name }, prefix, folder };
        access.roles(&["--seller", "alice", "--seller", "bob"]);
        access
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = self.owner.command();
        command.args(["db", "roles", "--prefix", self.prefix, "--env-dir"]).arg(self.folder.path()).args(arguments);
        command.output().expect("it runs")
    }

    fn roles(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The login that a line of a file names.
    fn login(&self, file: &str, variable: &str) -> Database {
        let text = std::fs::read_to_string(self.file(file)).expect("the file");
        let url = text.lines().find_map(|line| line.strip_prefix(&format!("{variable}=")));
        Database { url: url.expect("the variable").to_owned(), name: self.owner.name.clone() }
    }

    fn agi(&self) -> Database {
        self.login("capconduit.env", "DATABASE_URL")
    }

    fn alice(&self) -> Database {
        self.login("seller-alice.env", "DATABASE_URL")
    }

    fn purposes(&self) -> [Database; 5] {
        [
            self.agi(),
            self.login("admin.env", "DATABASE_URL"),
            self.login("admin.env", "ASTERISK_DATABASE_URL"),
            self.login("report.env", "DATABASE_URL"),
            self.alice(),
        ]
    }
}

/// The statement is refused for want of a right.
#[track_caller]
fn denied(login: &Database, sql: &str) {
    denied_in(&mut login.connect(), sql);
}

/// [`denied`] in a session that goes on: each login costs a while.
#[track_caller]
fn denied_in(session: &mut Client, sql: &str) {
    match session.batch_execute(sql) {
        Ok(()) => panic!("allowed: {sql}"),
        Err(e) => assert_eq!(e.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {e:?}"),
    }
}

/// How many rows a statement changes.
#[track_caller]
fn changed(session: &mut Client, sql: &str) -> u64 {
    session.execute(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

#[test]
fn what_is_created_and_where_its_password_goes() {
    let access = Access::new("made");
    let mode = |name| std::fs::metadata(access.file(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode("capconduit.env"), 0o640);
    for private in ["admin.env", "report.env", "seller-alice.env", "seller-bob.env"] {
        assert_eq!(mode(private), 0o600, "{private}");
    }
    for login in access.purposes() {
        assert_eq!(
            login.value(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles
                                WHERE rolname = session_user"
            ),
            "f"
        );
        let stored = Database { url: server_url(&access), name: String::new() };
        let user = login.value("SELECT session_user");
        let stored = stored.value(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"));
        assert!(stored.starts_with("SCRAM-SHA-256$"), "{user}");
    }
    // no password was ever seen by the server
    let log = server().log();
    for login in access.purposes() {
        let password = login.url.split([':', '@']).nth(2).expect("a password").to_owned();
        assert!(password.len() == 32 && !log.contains(&password));
    }

    // again: nothing changes
    let files = || {
        let mut all: Vec<_> = std::fs::read_dir(access.folder.path())
            .expect("a folder")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let text = std::fs::read_to_string(&path).expect("text");
                let modified = std::fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
                (path, text, modified)
            })
            .collect();
        all.sort();
        all
    };
    let rights = || {
        access.owner.query(
            "SELECT c.relname, c.relacl::text, c.relrowsecurity, array_agg(a.attacl::text ORDER BY a.attnum)::text
             FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
             WHERE c.relnamespace = 'public'::regnamespace GROUP BY c.oid ORDER BY 1",
        )
    };
    let policies = || access.owner.query("SELECT oid, polname, polrelid FROM pg_policy ORDER BY oid");
    let before = (files(), rights(), policies());
    let said = access.roles(&["--seller", "alice"]);
    assert!(!said.contains("created") && said.contains("made_agi"), "{said}");
    assert_eq!((files(), rights(), policies()), before);

    let json = access.roles(&["--json"]) + &access.roles(&["--list", "--json"]);
    for login in access.purposes() {
        assert!(!json.contains(login.url.split([':', '@']).nth(2).expect("a password")), "{json}");
    }
}

/// The administrator of the whole server, in this database.
fn server_url(access: &Access) -> String {
    access.owner.url.replace("owner:owner@", "postgres@")
}

#[test]
fn files_keep_what_is_in_them_and_the_owner_is_not_lost() {
    let access = Access::new("kept");
    let folder = tempfile::tempdir().expect("a folder");
    let shared = folder.path().join("capconduit.env");
    let old = format!("# ours\nDATABASE_URL={}\nINTERNAL_API_TOKEN='a # b'\n", access.owner.url);
    std::fs::write(&shared, old).expect("written");
    let run = |arguments: &[&str]| {
        let mut command = access.owner.command();
        command.args(["db", "roles", "--env-dir"]).arg(folder.path()).args(arguments).output().expect("it runs")
    };
    // the roles are there, the passwords are elsewhere
    let refused = run(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("--rotate") && said.contains("--ask-passwords") && said.contains("kept_agi"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing was written");
    assert_eq!(access.agi().value("SELECT 1"), "1");

    // a rotation changes them all, and the old ones are worth nothing
    let stale = access.purposes();
    let rotated = run(&["--rotate", "--host", "localhost"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    for login in stale {
        assert!(Client::connect(&login.url, NoTls).is_err(), "{}", login.name);
    }
    let text = std::fs::read_to_string(&shared).expect("text");
    assert!(text.starts_with("# ours\nDATABASE_URL=postgresql://kept_agi:") && text.contains("@localhost/"), "{text}");
    assert!(text.ends_with("\nINTERNAL_API_TOKEN='a # b'\n"), "{text}");
    let owner = folder.path().join("owner.env");
    assert_eq!(std::fs::read_to_string(&owner).expect("text"), format!("DATABASE_URL={}\n", access.owner.url));
    assert_eq!(std::fs::metadata(&owner).expect("there").permissions().mode() & 0o7777, 0o600);
    for name in ["admin.env", "report.env", "seller-alice.env", "seller-bob.env"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }

    // some of them
    access.roles(&["--rotate"]);
    let before = access.purposes();
    access.roles(&["--rotate=report,seller_alice"]);
    let login = |login: &Database| Client::connect(&login.url, NoTls).is_ok();
    assert_eq!(before.each_ref().map(login), [true, true, true, false, false]);
    assert_eq!(access.purposes().each_ref().map(login), [true; 5]);
    assert_eq!(access.command(&["--rotate=nobody"]).status.code(), Some(3));
    let other_prefix = access.owner.command().args(["db", "roles", "--prefix", "other"]).output().expect("it runs");
    assert_eq!(other_prefix.status.code(), Some(4));
}

#[test]
fn no_owner_s_password_stays_where_asterisk_reads() {
    let access = Access::new("uri");
    let folder = tempfile::tempdir().expect("a folder");
    let shared = folder.path().join("capconduit.env");
    let run = |arguments: &[&str]| {
        let mut command = access.owner.command();
        command.args(["db", "roles", "--env-dir"]).arg(folder.path()).args(arguments).output().expect("it runs")
    };
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("text");
    // v3.0's name for the same database, another login, and Asterisk's
    let others = ["postgresql+psycopg2://web:hush-1@127.0.0.1/x", "postgresql://realtime:hush-2@127.0.0.1/x"];
    let text = format!("# ours\nDATABASE_URI={}\nASTERISK_DATABASE_URL={}\nRUST_LOG=info\n", others[0], others[1]);
    std::fs::write(&shared, text).expect("written");
    let output = run(&["--rotate"]);
    assert!(output.status.success(), "{output:?}");
    let (text, owner) = (read("capconduit.env"), read("owner.env"));
    assert!(!text.contains("hush") && !text.contains("URI") && !text.contains("ASTERISK"), "{text}");
    assert!(text.starts_with("# ours\nRUST_LOG=info\nDATABASE_URL=postgresql://uri_agi:"), "{text}");
    let expected = [
        format!("DATABASE_URL={}\n", access.owner.url),
        format!("PREVIOUS_DATABASE_URI={}\n", others[0]),
        format!("PREVIOUS_ASTERISK_DATABASE_URL={}\n", others[1]),
    ];
    assert_eq!(owner, expected.concat());
    // also where it comes back later, and nothing else is to be done
    std::fs::write(&shared, format!("{text}DATABASE_URI={}\n", access.owner.url)).expect("written");
    let output = run(&[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((read("capconduit.env"), read("owner.env")), (text, owner));
}

#[test]
fn no_password_goes_where_another_user_reads_or_writes() {
    let access = Access::new("other");
    let refused = |expected: &str| {
        let output = access.command(&["--rotate"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(access.agi().value("SELECT 1"), "1", "nothing was changed");
    };
    let mode =
        |mode| std::fs::set_permissions(access.folder.path(), PermissionsExt::from_mode(mode)).expect("its mode");
    for open in [0o777, 0o770] {
        mode(open);
        refused("is a folder that others may write to");
    }
    mode(0o755);
    if crate::harness::process::is_root() {
        let nobody = Some(65534);
        std::os::unix::fs::chown(access.file("admin.env"), nobody, None).expect("root may");
        refused("admin.env belongs to another user (uid 65534)");
        std::os::unix::fs::chown(access.file("admin.env"), Some(0), None).expect("root may");
        std::os::unix::fs::chown(access.folder.path(), nobody, None).expect("root may");
        refused("is a folder that others may write to");
        std::os::unix::fs::chown(access.folder.path(), Some(0), None).expect("root may");
    }
    access.roles(&["--rotate"]);
}

#[test]
fn passwords_that_are_known_are_asked_for() {
    let access = Access::new("asked");
    let known: Vec<String> = access.purposes()[..4]
        .iter()
        .map(|login| login.url.split([':', '@']).nth(2).expect("a password").to_owned())
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    // at a terminal, which script makes
    let at_terminal = |answers: &[&str]| {
        let program = crate::harness::program("capconduit");
        let line = format!("{} db roles --ask-passwords --env-dir {}", program.display(), folder.path().display());
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("DATABASE_URL", &access.owner.url);
        script.env("CAPCONDUIT_ENV_FILE", "/dev/null").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script runs");
        let typed: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("read");
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = at_terminal(&["wrong"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("the server refuses this password of asked_agi"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);

    // in the order of the table: agi, admin, asterisk, report
    let (code, said) = at_terminal(&known.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, Some(0), "{said}");
    for name in ["capconduit.env", "admin.env", "report.env"] {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(name)).expect("text");
        assert_eq!(read(folder.path()), read(access.folder.path()), "{name}");
    }
}

#[test]
fn a_role_that_no_grant_binds_is_refused() {
    let access = Access::new("bound");
    let database = Database { url: server_url(&access), name: access.owner.name.clone() };
    database.execute("ALTER ROLE bound_report SUPERUSER");
    let output = access.command(&["--rotate"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("role \"bound_report\" is there with SUPERUSER"), "{said}");
    // and who may not create roles is told so
    let output = access.login("admin.env", "DATABASE_URL").command().args(["db", "roles"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "no file of its own: {said}");
    let before = std::fs::read_to_string(access.file("admin.env")).expect("text");
    let mut command = access.login("admin.env", "DATABASE_URL").command();
    database.execute("ALTER ROLE bound_report NOSUPERUSER");
    command.args(["db", "roles", "--rotate", "--env-dir"]).arg(access.folder.path());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("bound_admin") && said.contains(&access.owner.name) && said.contains("CREATEROLE"), "{said}");
    assert_eq!(std::fs::read_to_string(access.file("admin.env")).expect("text"), before);
}

#[test]
fn the_per_call_programs_do_with_three_functions() {
    let access = Access::new("calls");
    let site = Site::new(&access.owner, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let login = access.agi();
    let run = |program: &str, said: &str| {
        let output = agi::run(&mut agi::command(program, &login.url, Path::new("/nonexistent")), said);
        assert!(output.status.success(), "{program}");
        String::from_utf8(output.stdout).expect("text")
    };
    let sent = run("cc-route", &agi::dialled("r-1", &site.did));
    assert!(sent.contains(&format!("\"proceed,,,{},{},", site.settings[0], site.clients[0])), "{sent}");
    run("cdr_logger", &agi::answered("r-1", &site.did, site.settings[0]));
    assert_eq!((site.counts(), site.open_attempts()), (vec![1], 0));

    // and so does a replay of what was spooled
    let spool = tempfile::tempdir().expect("a folder");
    let away = login.url.replace(&format!(":{}/", server().port()), ":1/");
    agi::run(&mut agi::command("cdr_logger", &away, spool.path()), &agi::answered("r-2", &site.did, site.settings[0]));
    let mut replay = login.command();
    let said = replay.args(["call", "replay"]).env("CAPCONDUIT_SPOOL_DIR", spool.path().join("capconduit")).output();
    let said = said.expect("it runs");
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("1 delivered"), "{said:?}");
    assert_eq!(site.counts(), [2]);
    login.execute("SELECT cc_release_call('r-3', '', 16, false)");

    let mut session = login.connect();
    for sql in [
        "SELECT * FROM users",
        "SELECT count(*) FROM call_logs",
        "SELECT password FROM pjsip_auths",
        "SELECT password FROM ps_auths",
        "UPDATE campaign_client_settings SET max_concurrency = 100",
        "INSERT INTO dids (number, user_id) VALUES ('+1', 3)",
        "DELETE FROM call_attempts",
        "TRUNCATE call_logs",
        "DROP TABLE dids",
        "CREATE TABLE mine ()",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "SELECT cc_explain('+18005550101')",
        "SELECT cc_password_set(1)",
        "SELECT cc_seller_user_id()",
        "SELECT * FROM cc_resolve_did('+18005550101')",
        "SELECT cc_grant_access()",
        "SELECT * FROM audit_log",
        "SELECT * FROM database_roles",
        "SELECT nextval('dids_id_seq')",
        "SET ROLE calls_admin",
        "SET ROLE owner",
        "SET SESSION AUTHORIZATION calls_admin",
        "COPY users TO PROGRAM 'true'",
    ] {
        denied_in(&mut session, sql);
    }
    // what is in the caller's hands does not decide which tables the functions see
    login.execute(
        "CREATE TEMP TABLE dids (id int, number text, user_id int, status text);
         CREATE TEMP TABLE call_logs (asterisk_uniqueid text);
         SET search_path = pg_temp, public; SELECT cc_route('+18005550101', 'r-4', '', '', '', '', NULL, NULL)",
    );
    assert_eq!(access.owner.value("SELECT count(*) FROM call_attempts WHERE asterisk_uniqueid = 'r-4'"), "1");
}

#[test]
fn only_the_logins_that_need_it_may_route() {
    let access = Access::new("closed");
    access.owner.execute("CREATE ROLE closed_stranger LOGIN PASSWORD 'x'");
    let stranger = Database {
        url: access.owner.url.replace("owner:owner@", "closed_stranger:x@"),
        name: access.owner.name.clone(),
    };
    let [_, _, asterisk, report, alice] = access.purposes();
    for login in [&stranger, &asterisk, &report, &alice] {
        denied(login, "SELECT cc_route('+18005550101', 'x-1', '', '', '', '', NULL, NULL)");
        denied(login, "SELECT cc_release_call('x-1', '', 16, false)");
        denied(
            login,
            "SELECT cc_log_call('+18005550101', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'x-1', '', '', 1)",
        );
    }
    denied(&stranger, "SELECT cc_explain('+18005550101')");
}

#[test]
fn realtime_reads_three_views() {
    let access = Access::new("real");
    let login = access.login("admin.env", "ASTERISK_DATABASE_URL");
    assert_eq!(login.value("SELECT password FROM ps_auths"), "sample-password");
    assert_eq!(login.value("SELECT count(*) FROM ps_endpoints"), "3");
    assert_eq!(login.value("SELECT count(*) FROM ps_aors"), "3");
    let tables = access.owner.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
            AND relname NOT IN ('ps_endpoints', 'ps_aors', 'ps_auths')",
    );
    assert!(tables.len() >= 16, "{tables:?}");
    let mut session = login.connect();
    for table in tables {
        denied_in(&mut session, &format!("SELECT 1 FROM {table}"));
    }
    for view in ["ps_endpoints", "ps_aors", "ps_auths"] {
        let may = login.value(&format!("SELECT has_table_privilege('{view}', 'INSERT, UPDATE, DELETE, TRUNCATE')"));
        assert_eq!(may, "f", "{view}");
    }
}

#[test]
fn realtime_learns_nothing_of_an_inactive_client() {
    let access = Access::new("leak");
    access.owner.execute(
        "INSERT INTO pjsip_auths (id, client_id, username, password) VALUES ('dormant', 4, 'u', 'hidden-password')
         ON CONFLICT (id) DO UPDATE SET password = 'hidden-password'",
    );
    assert_eq!(access.owner.value("SELECT status FROM clients WHERE id = 4"), "inactive");
    let asterisk = access.login("admin.env", "ASTERISK_DATABASE_URL");
    asterisk.execute(
        // whole tables are read then, and the reader's function is called as early as it may be
        "SET enable_nestloop = off; CREATE TEMP TABLE seen (what text);
         CREATE FUNCTION pg_temp.look(text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO seen VALUES ($1); RETURN true; END $$;
         SELECT * FROM ps_auths WHERE pg_temp.look(password);
         DO $$ BEGIN
             IF EXISTS (SELECT FROM seen WHERE what = 'hidden-password') THEN RAISE 'seen'; END IF;
             IF NOT EXISTS (SELECT FROM seen WHERE what = 'sample-password') THEN RAISE 'not called'; END IF;
         END $$",
    );
    // Asterisk's look at one object is one at an index
    for view in ["ps_endpoints", "ps_aors", "ps_auths"] {
        let plan =
            access.owner.query(&format!("SET enable_seqscan = off; EXPLAIN SELECT * FROM {view} WHERE id = 'acme'"));
        let table = view.replace("ps_", "pjsip_");
        assert!(plan.iter().any(|line| line.contains(&format!("{table}_pkey"))), "{plan:?}");
    }
}

#[test]
fn the_report_login_reads_no_secret() {
    let access = Access::new("rep");
    let login = access.login("report.env", "DATABASE_URL");
    for table in ["dids", "campaigns", "campaign_dids", "campaign_client_settings", "call_logs", "call_attempts"] {
        login.execute(&format!("SELECT * FROM {table}"));
        denied(&login, &format!("DELETE FROM {table}"));
    }
    assert_eq!(login.value("SELECT count(username) FROM users"), "4");
    assert!(login.capconduit(&["user", "list"]).contains("alice"));
    for arguments in [&["client", "list"][..], &["call", "list"], &["campaign", "show", "1"], &["setting", "list"]] {
        login.capconduit(arguments);
    }
    let mut session = login.connect();
    for sql in [
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "SELECT username FROM users WHERE password_hash LIKE '$2b$12$s%'",
        "SELECT password FROM pjsip_auths",
        "SELECT password FROM ps_auths",
        "SELECT * FROM audit_log",
        "UPDATE users SET status = 'inactive'",
    ] {
        denied_in(&mut session, sql);
    }
}

#[test]
fn the_admin_login_has_all_rows_and_no_hand_in_the_audit() {
    let access = Access::new("adm");
    let login = access.login("admin.env", "DATABASE_URL");
    // whatever a later release adds is granted too
    for table in access.owner.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
            AND relname NOT LIKE 'ps\\_%'",
    ) {
        login.execute(&format!("SELECT * FROM {table}"));
    }
    assert_eq!(login.value("SELECT count(*) FROM users"), "4");
    let identifier = "zeta";
    for arguments in [
        &["client", "add", identifier, "--name", "Zeta", "--contact", "sip:127.0.0.1:9"][..],
        &["user", "add", "zoe", "--email", "zoe@x.org"],
        &["did", "add", "+19", "--user", "zoe"],
        &["campaign", "add", "Zoe", "--user", "zoe", "--did", "+19"],
        &["setting", "add", "Zoe", identifier, "--max-concurrency", "2"],
        &["setting", "set", "Zoe", identifier, "--current-total-calls", "7"],
        &["route", "explain", "+19"],
        &["user", "remove", "zoe", "--force", "--yes"],
        &["client", "remove", identifier, "--yes"],
        &["db", "verify", "--repair"],
        &["db", "status"],
        &["db", "roles", "--list"],
        &["audit", "list"],
    ] {
        login.capconduit(arguments);
    }
    assert_eq!(login.capconduit(&["db", "migrate"]), "The schema is up to date.\n");
    access.owner.execute("UPDATE capconduit_migrations SET checksum = 'old' WHERE name = 'routing'");
    let output = login.command().args(["db", "migrate"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(6) && said.contains("owner.env"), "{said}");
    let client = "SELECT DISTINCT login FROM audit_log WHERE command LIKE 'capconduit client %'";
    assert_eq!(login.value(client), "adm_admin");
    let mut session = login.connect();
    for sql in [
        "INSERT INTO audit_log (action, table_name) VALUES ('insert', 'users')",
        "UPDATE audit_log SET login = 'bob'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "ALTER TABLE users DISABLE TRIGGER \"Audit\"",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TRIGGER \"Audit\" ON users",
        "CREATE OR REPLACE FUNCTION cc_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "UPDATE database_roles SET user_id = NULL",
        "INSERT INTO database_roles VALUES ('adm_admin', 'asterisk')",
        "DROP TABLE call_logs",
        "CREATE TABLE mine ()",
        "CREATE ROLE mine",
        "ALTER TABLE users ADD COLUMN mine int",
    ] {
        denied_in(&mut session, sql);
    }
}

#[test]
fn the_audit_s_functions_do_nobody_else_s_work() {
    let access = Access::new("forge");
    let before = access.owner.value("SELECT count(*) FROM audit_log");
    for login in access.purposes() {
        let mut session = login.connect();
        for function in access.owner.query(
            "SELECT proname FROM pg_proc WHERE prorettype = 'trigger'::regtype AND pronamespace = 'public'::regnamespace",
        ) {
            session.batch_execute("CREATE TEMP TABLE IF NOT EXISTS users (id int, username text)").expect("his own");
            let attached = format!("CREATE TRIGGER a AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION {function}()");
            denied_in(&mut session, &attached);
        }
    }
    // also who was given one by mistake, or attached it before, is neither the owner nor recorded
    access.owner.execute("GRANT EXECUTE ON FUNCTION cc_audit(), cc_audit_removal() TO forge_admin");
    let admin = access.login("admin.env", "DATABASE_URL");
    let mut session = admin.connect();
    session
        .batch_execute(
            "CREATE FUNCTION pg_temp.e() RETURNS timestamptz LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'GRANT ALL ON public.audit_log TO forge_admin'; RETURN now(); END $$;
             CREATE TEMP VIEW gone AS SELECT pg_temp.e() timestamp_start;
             GRANT SELECT ON gone TO PUBLIC;
             CREATE TEMP TABLE t (x int);
             CREATE TRIGGER a AFTER DELETE ON t EXECUTE FUNCTION cc_audit_removal();
             CREATE TEMP TABLE users (id int, username text);
             CREATE TRIGGER a AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION cc_audit()",
        )
        .expect("his own");
    for sql in ["DELETE FROM t", "INSERT INTO users VALUES (1, 'forged')", "DELETE FROM audit_log"] {
        denied_in(&mut session, sql);
    }
    assert_eq!(access.owner.value("SELECT count(*) FROM audit_log"), before);
    // the next run takes it back
    access.roles(&[]);
    let mut session = admin.connect();
    session.batch_execute("CREATE TEMP TABLE t (x int)").expect("his own");
    denied_in(&mut session, "CREATE TRIGGER a AFTER DELETE ON t EXECUTE FUNCTION cc_audit_removal()");
    // what runs as the owner looks into the temporary schema last
    let elsewhere = access.owner.query(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
           AND NOT coalesce(proconfig @> '{\"search_path=public, pg_temp\"}', false)",
    );
    assert_eq!(elsewhere, [""; 0]);
}

#[test]
fn a_seller_sees_and_changes_only_what_is_his() {
    let access = Access::new("sell");
    access.owner.execute(
        "SELECT cc_route('+18005550101', 'a-1', '', 'n', '', '', NULL, NULL);
         SELECT cc_route('+18005550103', 'b-1', '', 'n', '', '', NULL, NULL)",
    );
    let alice = access.alice();
    for (table, owner_of) in [
        ("users", "SELECT id FROM users"),
        ("dids", "SELECT user_id FROM dids"),
        ("campaigns", "SELECT user_id FROM campaigns"),
        ("campaign_dids", "SELECT g.user_id FROM campaign_dids k JOIN campaigns g ON g.id = k.campaign_id"),
        (
            "campaign_client_settings",
            "SELECT g.user_id FROM campaign_client_settings s JOIN campaigns g ON g.id = s.campaign_id",
        ),
        ("call_logs", "SELECT user_id FROM call_logs"),
        ("call_attempts", "SELECT user_id FROM call_attempts"),
    ] {
        let whole = access.owner.value(&format!("SELECT count(*) FROM ({owner_of}) t (id) WHERE id = 3"));
        assert_ne!((whole.as_str(), table), ("0", table));
        assert_ne!(
            access.owner.value(&format!("SELECT count(*) FROM ({owner_of}) t (id) WHERE id <> 3")),
            "0",
            "{table}"
        );
        assert_eq!(
            alice.value(&format!("SELECT count(*) || ' ' || count(*) FILTER (WHERE id = 3) FROM ({owner_of}) t (id)")),
            format!("{whole} {whole}"),
            "{table}"
        );
    }
    assert_eq!(alice.value("SELECT count(id) FROM clients"), "4");
    // what became of a call, and why
    assert!(alice.capconduit(&["call", "explain", "a-1"]).contains("The call is up."));
    assert!(alice.capconduit(&["call", "explain", "sample-4"]).contains("A call would go to acme now."));
    for other in ["b-1", "sample-5"] {
        let ran = alice.command().args(["call", "explain", other]).output().expect("it runs");
        assert_eq!(ran.status.code(), Some(3), "{other}");
    }

    // another's rows are not there to be changed
    let mut session = alice.connect();
    for sql in [
        "UPDATE users SET full_name = 'x' WHERE id = 4",
        "UPDATE dids SET status = 'inactive' WHERE id = 3",
        "UPDATE campaigns SET status = 'paused' WHERE id = 3",
        "UPDATE campaign_client_settings SET max_concurrency = 1 WHERE campaign_id = 3",
    ] {
        assert_eq!(changed(&mut session, sql), 0, "{sql}");
    }
    let bob_s = access.owner.value("SELECT min(id) FROM campaign_client_settings WHERE campaign_id = 3");
    let bob_s = format!("'campaign_client_settings', {bob_s}");
    for call in ["'dids', 3", "'campaigns', 3", "'campaign_dids', 3, 3", &bob_s] {
        assert_eq!(alice.value(&format!("SELECT cc_remove_own({call})")), "0", "{call}");
    }
    session = alice.connect();
    for sql in [
        // another's name on a row, and another's rows attached to his
        "INSERT INTO dids (number, user_id) VALUES ('+1999', 4)",
        "UPDATE dids SET user_id = 4 WHERE id = 1",
        "INSERT INTO campaigns (user_id, name) VALUES (4, 'Mine')",
        "UPDATE campaigns SET user_id = 4 WHERE id = 1",
        "INSERT INTO campaign_dids VALUES (1, 3)",
        "INSERT INTO campaign_dids VALUES (3, 1)",
        "INSERT INTO campaign_dids VALUES (3, 3)",
        "UPDATE campaign_dids SET did_id = 3",
        "UPDATE campaign_dids SET campaign_id = 3",
        "INSERT INTO campaign_client_settings (campaign_id, client_id) VALUES (3, 3)",
        "UPDATE campaign_client_settings SET campaign_id = 3",
        "INSERT INTO dids (number, user_id) VALUES ('+18005550103', 4) ON CONFLICT (number) DO UPDATE SET user_id = 3",
        // what even his own rows do not let him change
        "UPDATE users SET role = 'admin'",
        "UPDATE users SET status = 'active'",
        "UPDATE users SET username = 'root'",
        "UPDATE users SET id = 1",
        "INSERT INTO users (username, email, password_hash) VALUES ('x', 'x', 'x')",
        "DELETE FROM users",
        "DELETE FROM dids",
        "DELETE FROM campaigns",
        "DELETE FROM campaign_dids",
        "DELETE FROM campaign_client_settings",
        "SELECT cc_remove_own('users', 3)",
        "UPDATE campaign_client_settings SET current_total_calls = 0",
        "UPDATE campaign_client_settings SET total_calls_base = 0",
        "INSERT INTO campaign_client_settings (campaign_id, client_id, current_total_calls) VALUES (1, 4, 5)",
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status) VALUES ('x', now(), 'x')",
        "UPDATE call_logs SET billsec_seconds = 0",
        "DELETE FROM call_logs",
        "TRUNCATE dids",
        "UPDATE call_attempts SET released_at = now()",
        "DELETE FROM call_attempts",
        "UPDATE clients SET status = 'inactive'",
        "DELETE FROM clients",
        // what he may not see
        "SELECT * FROM users",
        "SELECT password_hash FROM users",
        "UPDATE users SET full_name = password_hash",
        "UPDATE users SET full_name = 'x' RETURNING password_hash",
        "SELECT 1 FROM users WHERE password_hash LIKE '$2b$12$s%'",
        "SELECT u::text FROM users u",
        "SELECT notes FROM clients",
        "SELECT c FROM clients c",
        "SELECT created_by FROM clients",
        "SELECT 1 FROM pjsip_endpoints",
        "SELECT 1 FROM pjsip_aors",
        "SELECT 1 FROM pjsip_auths",
        "SELECT 1 FROM ps_auths",
        "SELECT 1 FROM ps_aors",
        "SELECT 1 FROM routing_turns",
        "SELECT 1 FROM call_endings",
        "SELECT 1 FROM audit_log",
        "SELECT 1 FROM database_roles",
        "SELECT 1 FROM capconduit_migrations",
        "SELECT cc_links(3, 'weighted', NULL, now())",
        "SELECT * FROM cc_look('weighted', NULL, now())",
        "SELECT cc_audit_parent('clients', '1'), cc_audit_parent('campaigns', '99')",
        "COPY users TO STDOUT",
        // ways to be somebody else
        "SET ROLE sell_admin",
        "SET ROLE sell_seller_bob",
        "SET ROLE owner",
        "SET SESSION AUTHORIZATION sell_seller_bob",
        "UPDATE database_roles SET user_id = 4",
        "INSERT INTO database_roles VALUES ('sell_seller_alice', 'seller', 4)",
        "ALTER TABLE dids DISABLE ROW LEVEL SECURITY",
        "DROP POLICY cc_seller ON dids",
        "CREATE POLICY mine ON dids USING (true)",
        "CREATE OR REPLACE FUNCTION cc_seller_user_id() RETURNS int LANGUAGE sql AS 'SELECT 4'",
        "CREATE VIEW mine AS SELECT * FROM dids",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT cc_grant_access()",
        "SELECT cc_as_owner('cc_links')",
    ] {
        denied_in(&mut session, sql);
    }
    let tricks = "SET ROLE sell_seller; SET row_security = on; SET search_path = pg_temp, public;
                  CREATE TEMP TABLE database_roles (role_name text, purpose text, user_id int);
                  INSERT INTO database_roles VALUES (session_user, 'seller', 4)";
    session = alice.connect();
    session.batch_execute(tricks).expect("allowed, and no use");
    let numbers: i64 = session.query_one("SELECT count(*) FROM dids WHERE user_id <> 3", &[]).expect("read").get(0);
    assert_eq!(numbers, 0);
    denied(&alice, "SET row_security = off; SELECT 1 FROM dids");

    // what is his
    session = alice.connect();
    for (sql, rows) in [
        ("UPDATE users SET full_name = 'Alice A.', email = 'a@a', password_hash = '$2b$12$new'", 1),
        ("UPDATE dids SET description = 'x'", 2),
        ("INSERT INTO dids (number, user_id) VALUES ('+1999', 3)", 1),
        ("INSERT INTO campaign_dids SELECT 1, id FROM dids WHERE number = '+1999'", 1),
        ("SELECT cc_remove_own('campaign_dids', 1, id) FROM dids WHERE number = '+1999'", 1),
        ("SELECT cc_remove_own('dids', id) FROM dids WHERE number = '+1999'", 1),
        ("INSERT INTO campaigns (user_id, name) VALUES (3, 'Third')", 1),
        ("UPDATE campaign_client_settings SET max_concurrency = 4, total_calls_allowed = 9 WHERE campaign_id = 1", 3),
        ("SELECT cc_remove_own('campaigns', id) FROM campaigns WHERE name = 'Third'", 1),
    ] {
        assert_eq!(changed(&mut session, sql), rows, "{sql}");
    }
    assert_eq!(access.owner.value("SELECT count(*) FROM audit_log WHERE login = 'sell_seller_alice'"), "12");
    assert_eq!(alice.value("SELECT cc_explain('+18005550103') ->> 'reason'"), "did_not_found");
    assert_eq!(alice.value("SELECT cc_explain('+18005550103') ->> 'user_id' IS NULL"), "t");
    assert_eq!(alice.value("SELECT cc_explain('+18005550101') ->> 'status'"), "proceed");
    assert_eq!(alice.value("SELECT concat(cc_password_set(3), cc_password_set(4))"), "t");
}

#[test]
fn no_seller_s_lock_stands_in_a_call_s_way() {
    let access = Access::new("locks");
    let alice = access.alice();
    let tables = access
        .owner
        .query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')");
    let (mut modes, mut session) = (0, alice.connect());
    for table in tables {
        for mode in [
            "ROW SHARE",
            "ROW EXCLUSIVE",
            "SHARE UPDATE EXCLUSIVE",
            "SHARE",
            "SHARE ROW EXCLUSIVE",
            "EXCLUSIVE",
            "ACCESS EXCLUSIVE",
        ] {
            // NOWAIT: a lock that is refused for want of a right is refused before anybody waits
            let sql = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE NOWAIT");
            denied_in(&mut session, &sql);
            session.batch_execute("ROLLBACK").expect("an end");
            modes += 1;
        }
    }
    assert!(modes > 100, "{modes}");
    // what he can hold: the least of locks on his tables, and his own rows but those that a call counts on
    session
        .batch_execute(
            "BEGIN; LOCK TABLE dids, campaigns, campaign_dids, campaign_client_settings, call_logs IN ACCESS SHARE MODE;
             SELECT id FROM dids FOR UPDATE; SELECT id FROM campaigns FOR UPDATE;
             SELECT id FROM campaign_client_settings FOR UPDATE; UPDATE users SET full_name = 'x';
             INSERT INTO dids (number, user_id) VALUES ('+1777', 3); SELECT cc_remove_own('dids', 2)",
        )
        .expect("his own");
    for (did, call) in [("+18005550101", "l-1"), ("+18005550103", "l-2")] {
        let route = format!("SELECT status FROM cc_route('{did}', '{call}', '', 'n', '', '', NULL, NULL)");
        assert_eq!(access.agi().value(&route), "proceed", "{did}");
    }
    // another seller's call is recorded meanwhile
    let setting =
        access.owner.value("SELECT campaign_client_setting_id FROM call_attempts WHERE asterisk_uniqueid = 'l-2'");
    access.agi().execute(&format!(
        "SELECT cc_log_call('+18005550103', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'l-2', '', '', {setting})"
    ));
}

#[test]
fn the_cli_works_for_a_seller() {
    let access = Access::new("cli");
    let alice = access.alice();
    for arguments in [
        &["user", "show", "alice"][..],
        &["user", "list"],
        &["user", "set", "alice", "--full-name", "A", "--company-name", "", "--email", "a@a.org"],
        &["did", "list"],
        &["did", "add", "+1999", "--user", "alice", "--campaign", "Alice Priority"],
        &["did", "set", "+1999", "--status", "inactive", "--number", "+1998"],
        &["did", "show", "+1998"],
        &["did", "remove", "+1998", "--force", "--yes"],
        &["campaign", "add", "Third", "--user", "alice", "--routing-strategy", "weighted"],
        &["campaign", "set", "Third", "--name", "Fourth", "--status", "paused", "--add-did", "+18005550102"],
        &["campaign", "set", "Fourth", "--remove-did", "+18005550102"],
        &["campaign", "list"],
        &["campaign", "show", "Fourth"],
        &["setting", "add", "Fourth", "acme", "--max-concurrency", "3", "--weight", "7"],
        &["setting", "set", "Fourth", "acme", "--total-calls-allowed", "9", "--status", "inactive"],
        &["setting", "list", "--client", "acme"],
        &["setting", "show", "Fourth", "acme"],
        &["setting", "remove", "Fourth", "acme", "--yes"],
        &["campaign", "remove", "Fourth", "--yes"],
        &["campaign", "add", "Fifth", "--user", "alice", "--client", "acme:2", "--client", "cygnus:3"],
        &["campaign", "pause", "Fifth"],
        &["campaign", "enable", "Fifth"],
        &["campaign", "disable", "Fifth"],
        &["setting", "disable", "Fifth", "acme"],
        &["setting", "enable", "Fifth", "acme"],
        &["campaign", "remove", "Fifth", "--yes"],
        &["did", "disable", "+18005550102"],
        &["did", "enable", "+18005550102"],
        &["did", "export"],
        &["call", "export"],
        &["client", "list"],
        &["client", "show", "acme"],
        &["status"],
        &["status", "--check"],
        &["report", "--by", "day"],
        &["report", "--by", "campaign,client"],
        &["report", "--by", "seller"],
        &["call", "list", "--client", "acme", "--campaign", "Alice Priority"],
        &["call", "show", "1"],
        &["call", "active"],
        &["route", "explain", "+18005550101"],
    ] {
        let shown = alice.capconduit(arguments);
        assert!(!shown.contains("Bob"), "{arguments:?}: {shown}");
    }
    let mut password = alice.command();
    password.args(["user", "passwd", "alice", "--password-stdin"]).stdin(Stdio::piped());
    let mut child = password.stdout(Stdio::null()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(b"correct horse\n").expect("read");
    assert!(child.wait().expect("it ends").success());

    // what is not sold of all that is hers, and of nobody else's
    access.owner.execute("UPDATE campaigns SET status = 'paused' WHERE name IN ('Alice Priority', 'Bob Weighted')");
    access.owner.execute(
        "UPDATE campaign_client_settings s SET status = 'inactive' FROM campaigns g WHERE g.id = s.campaign_id",
    );
    let seen: serde_json::Value = serde_json::from_str(&alice.capconduit(&["status", "--json"])).expect("JSON");
    let of = |list: &str| {
        seen[list].as_array().expect("a list").iter().map(|f| f["message"].to_string()).collect::<String>()
    };
    assert!(of("notices").contains("Alice Priority") && of("findings").contains("Alice Round Robin"), "{seen}");
    assert!(!seen.to_string().contains("Bob"), "{seen}");

    let audit = alice.command().args(["audit", "list"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&audit.stderr).into_owned();
    assert!(said.contains("The audit is the administrator's to read."), "{said}");
    let client = alice.capconduit(&["client", "show", "acme", "--json"]);
    assert!(client.contains("\"name\"") && !client.contains("sip:"), "{client}");

    // what is another's is told as that, not as what is missing or a fault
    let said = |arguments: &[&str]| {
        let output = alice.command().args(arguments).output().expect("it runs");
        [output.stdout, output.stderr].iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<String>()
    };
    assert!(said(&["route", "explain", "+18005550103"]).contains("No DID of yours has this number"));
    for arguments in [
        &["did", "add", "+18005550103", "--user", "alice"][..],
        &["did", "set", "+18005550102", "--number", "+18005550103"],
    ] {
        let said = said(arguments);
        assert!(said.starts_with("error: DID \"+18005550103\" exists already\n"), "{said}");
    }
    let said_of_counter = said(&["setting", "set", "Alice Priority", "acme", "--reset-total-calls"]);
    assert!(said_of_counter.contains("leave out --reset-total-calls"), "{said_of_counter}");
    assert!(said(&["client", "show", "acme"]).contains("note: contact, endpoint and notes are the administrator's"));

    for (code, arguments) in [
        (6, &["user", "set", "alice", "--role", "admin"][..]),
        (6, &["user", "set", "alice", "--status", "active"]),
        (6, &["user", "add", "x", "--email", "x@x.org"]),
        (6, &["user", "remove", "alice", "--force", "--yes"]),
        (6, &["setting", "set", "Alice Priority", "acme", "--reset-total-calls"]),
        (6, &["client", "add", "x", "--name", "X", "--contact", "sip:127.0.0.1:9"]),
        (6, &["pjsip", "list"]),
        (6, &["audit", "list"]),
        (6, &["config", "export"]),
        (6, &["call", "reap"]),
        (6, &["db", "verify"]),
        (3, &["did", "show", "+18005550103"]),
        (3, &["campaign", "set", "Bob Weighted", "--status", "paused"]),
        (3, &["did", "add", "+1999", "--user", "bob"]),
        (3, &["call", "list", "--user", "bob"]),
    ] {
        let output = alice.command().args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        if code == 6 {
            let who = format!("(login \"cli_seller_alice\", database \"{}\")", access.owner.name);
            assert!(said.contains("permission denied") && said.contains(&who), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_setting_that_a_seller_removes_and_adds_again_begins_a_new_count_as_is_said() {
    let access = Access::new("anew");
    let alice = access.alice();
    let pair = ["Alice Priority", "acme"];
    let of = |verb: &str, options: &[&str]| alice.capconduit(&[&["setting", verb], &pair[..], options].concat());
    of("set", &["--max-concurrency", "7", "--total-calls-allowed", "1000"]);
    access.owner.execute("UPDATE campaign_client_settings SET current_total_calls = 900, forwarding_priority = -1");
    let claim = "SELECT client_identifier FROM cc_route('+18005550101', 'up', NULL, 'n', '1', 'N', NULL, NULL)";
    assert_eq!(access.agi().value(claim), "acme");
    let count = || {
        let shown: serde_json::Value = serde_json::from_str(&of("show", &["--json"])).expect("JSON");
        (shown["current_total_calls"].clone(), shown["live_calls"].clone())
    };
    assert_eq!(count(), (900.into(), 1.into()));
    of("remove", &["--force", "--yes"]);
    of("add", &["--max-concurrency", "1", "--total-calls-allowed", "1000"]);
    assert_eq!(count(), (0.into(), 1.into()));
    let explained = alice.capconduit(&["route", "explain", "+18005550101", "--json"]);
    assert!(explained.contains("\"concurrency_cap\""), "{explained}");
    for text in [access.owner.capconduit(&["db", "roles", "--help"]), include_str!("../../man/capconduit.7").to_owned()]
    {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("removes and adds again begins a new count") && text.contains("trust with their caps"),
            "{text}"
        );
    }
}

#[test]
fn a_login_that_v3_was_given_sees_all_rows_as_before() {
    let access = Access::new("vthree");
    access.owner.execute(&format!(
        "CREATE ROLE vthree_web LOGIN PASSWORD 'web';
         GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO vthree_web;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO vthree_web",
        tables = "users, clients, pjsip_endpoints, pjsip_aors, pjsip_auths, dids, campaigns, campaign_dids, \
                  campaign_client_settings, call_logs"
    ));
    access.roles(&[]);
    let url = access.owner.url.replace("owner:owner@", "vthree_web:web@");
    let web = Database { url, name: access.owner.name.clone() };
    for table in ["users", "dids", "campaigns", "campaign_dids", "campaign_client_settings", "call_logs", "clients"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(web.value(&count), access.owner.value(&count), "{table}");
    }
    web.execute(
        "INSERT INTO dids (number, user_id) VALUES ('+1', 3), ('+2', 4);
         UPDATE campaigns SET status = 'paused';
         UPDATE campaign_client_settings SET current_total_calls = 3;
         INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status) VALUES ('x', now(), 'x');
         DELETE FROM call_logs; DELETE FROM users WHERE username = 'bob'",
    );
    assert_eq!(access.owner.value("SELECT count(*) FROM campaigns WHERE status = 'paused'"), "2");
    // the audit knows it, and it cannot touch what is recorded
    assert_eq!(
        access.owner.value("SELECT count(*) FROM audit_log WHERE login = 'vthree_web' AND table_name = 'users'"),
        "1"
    );
    denied(&web, "DELETE FROM audit_log");
    denied(&web, "SELECT 1 FROM audit_log");
}

#[test]
fn a_login_with_all_rights_on_the_tables_makes_no_trigger() {
    let access = Access::new("trig");
    let tables = "users, clients, dids, campaigns, campaign_client_settings, call_logs, call_attempts";
    access.owner.execute(&format!(
        "CREATE ROLE trig_web LOGIN PASSWORD 'web'; GRANT ALL ON {tables} TO trig_web WITH GRANT OPTION"
    ));
    access.roles(&[]);
    let url = access.owner.url.replace("owner:owner@", "trig_web:web@");
    let web = Database { url, name: access.owner.name.clone() };
    let mut session = web.connect();
    session
        .batch_execute(
            "CREATE FUNCTION pg_temp.e() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'GRANT owner TO trig_web'; RETURN NULL; END $$",
        )
        .expect("his own");
    for table in tables.split(", ") {
        denied_in(&mut session, &format!("CREATE TRIGGER a AFTER UPDATE ON {table} EXECUTE FUNCTION pg_temp.e()"));
    }
    // the rest of what he was given stays
    web.execute("UPDATE dids SET description = 'x'; DELETE FROM call_attempts; TRUNCATE call_logs");
}

#[test]
fn rights_survive_an_upgrade() {
    let access = Access::new("upgr");
    access
        .owner
        .execute("UPDATE capconduit_migrations SET checksum = 'old' WHERE name IN ('routing', 'call_log', 'realtime')");
    let oid = "SELECT 'cc_route'::regproc::oid";
    let before = access.owner.value(oid);
    access.owner.capconduit(&["db", "migrate"]);
    assert_ne!(access.owner.value(oid), before, "the functions were replaced");
    access.agi().execute("SELECT cc_route('+18005550101', 'u-1', '', '', '', '', NULL, NULL)");
    access.agi().execute("SELECT cc_release_call('u-1', '', 16, false)");
    denied(&access.agi(), "SELECT cc_explain('+18005550101')");
    denied(&access.alice(), "SELECT cc_route('+18005550101', 'u-2', '', '', '', '', NULL, NULL)");
    access.alice().execute("SELECT cc_explain('+18005550101')");
    access.login("admin.env", "ASTERISK_DATABASE_URL").execute("SELECT * FROM ps_aors");
    // what somebody has given one of them by hand is taken back, what he has given to others stays
    access.owner.execute(
        "CREATE ROLE upgr_other; GRANT SELECT ON users TO upgr_agi, upgr_other;
         UPDATE capconduit_migrations SET checksum = 'old' WHERE name = 'access'",
    );
    access.owner.capconduit(&["db", "migrate"]);
    denied(&access.agi(), "SELECT 1 FROM users");
    assert_eq!(access.owner.value("SELECT has_table_privilege('upgr_other', 'users', 'SELECT')"), "t");
}

#[test]
fn a_password_that_another_seller_had_is_worth_nothing() {
    let access = Access::new("reuse");
    access
        .owner
        .execute("INSERT INTO users (username, email, password_hash, status) VALUES ('carl.x', 'c@x', 'x', 'active')");
    access.roles(&["--seller", "carl.x"]);
    let old = access.login("seller-carl_x.env", "DATABASE_URL");
    old.execute(
        "ALTER ROLE reuse_seller_carl_x SET search_path = nowhere; ALTER ROLE reuse_seller_carl_x SET work_mem = '1GB'",
    );
    access.owner.execute(
        "DELETE FROM users WHERE username = 'carl.x';
         INSERT INTO users (username, email, password_hash, status) VALUES ('carl_x', 'c@x', 'x', 'active')",
    );
    let refused = access.command(&["--seller", "carl_x"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("not recorded as carl_x's") && said.contains("--rotate=reuse_seller_carl_x"), "{said}");
    let mut open = old.connect();
    access.roles(&["--seller", "carl_x", "--rotate=reuse_seller_carl_x"]);
    assert!(Client::connect(&old.url, NoTls).is_err());
    assert!(open.batch_execute("SELECT 1").is_err(), "the old session is over");
    let new = access.login("seller-carl_x.env", "DATABASE_URL");
    assert_eq!(new.value("SELECT username FROM users"), "carl_x");
    assert_eq!(new.value("SHOW search_path"), "\"$user\", public");
    assert_ne!(new.value("SHOW work_mem"), "1GB");
}

#[test]
fn what_is_open_to_everybody_is_refused() {
    let access = Access::new("open");
    let server = Database { url: server_url(&access), name: access.owner.name.clone() };
    let refused = |expected: &[&str]| {
        let output = access.command(&["--rotate"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        for text in expected {
            assert!(said.contains(text), "{text}: {said}");
        }
        assert_eq!(access.agi().value("SELECT 1"), "1", "nothing was changed");
    };
    // memberships and attributes, of logins and of the group
    for (give, take, text) in [
        (
            "GRANT owner TO open_report",
            "REVOKE owner FROM open_report",
            "\"open_report\" is there with membership in owner",
        ),
        ("GRANT open_admin TO open_seller_bob", "REVOKE open_admin FROM open_seller_bob", "membership in open_admin"),
        (
            "ALTER ROLE open_seller BYPASSRLS",
            "ALTER ROLE open_seller NOBYPASSRLS",
            "\"open_seller\" is there with BYPASSRLS",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO open_agi",
            "REVOKE CREATE ON SCHEMA public FROM open_agi",
            "CREATE on schema public",
        ),
        ("GRANT SELECT ON users TO PUBLIC", "REVOKE ALL ON users FROM PUBLIC", "REVOKE ALL ON users FROM PUBLIC"),
        (
            "GRANT SELECT (password) ON pjsip_auths TO PUBLIC",
            "REVOKE ALL ON pjsip_auths FROM PUBLIC",
            "everybody has rights on pjsip_auths",
        ),
    ] {
        server.execute(give);
        refused(&[text]);
        server.execute(take);
    }
    // a schema that is another's, as in a database from PostgreSQL 14
    server.execute("ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC");
    refused(&["schema public", "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO owner"]);
    server.execute("ALTER SCHEMA public OWNER TO owner");
    access.roles(&["--rotate"]);
    denied(&access.alice(), "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    // rights that come by default
    server.execute(
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT EXECUTE ON FUNCTIONS TO open_seller, open_report;
         ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO open_seller;
         UPDATE capconduit_migrations SET checksum = 'old' WHERE name IN ('routing', 'call_log')",
    );
    access.owner.capconduit(&["db", "migrate"]);
    denied(&access.alice(), "SELECT cc_route('+18005550101', 'o-1', '', '', '', '', NULL, NULL)");
    denied(&access.login("report.env", "DATABASE_URL"), "SELECT cc_release_call('o-1', '', 16, false)");
}

#[test]
fn logins_have_limits_and_a_superuser_closes_the_advisory_locks() {
    let access = Access::new("limit");
    let limits = "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'limit\\_%' ORDER BY 1";
    assert_eq!(
        access.owner.query(limits),
        [
            "limit_admin|-1",
            "limit_agi|-1",
            "limit_asterisk|10",
            "limit_report|10",
            "limit_seller|-1",
            "limit_seller_alice|5",
            "limit_seller_bob|5"
        ]
    );
    let alice = access.alice();
    assert_eq!(alice.value("SHOW statement_timeout"), "1min");
    assert_eq!(alice.value("SHOW idle_in_transaction_session_timeout"), "1min");
    assert_eq!(access.login("report.env", "DATABASE_URL").value("SHOW lock_timeout"), "5s");
    alice.execute("SELECT pg_advisory_lock(1)");
    let said = String::from_utf8_lossy(&access.command(&[]).stderr).into_owned();
    let note = &said[said.find("runuser -u postgres -- psql -d ").expect("the note")..];
    let command = &note[..note.rfind("\nEND").expect("its end") + 4];
    // by what the note says, and by a superuser's run
    let server = Database { url: server_url(&access), name: access.owner.name.clone() };
    let closed = || {
        for sql in ["pg_advisory_lock(1)", "pg_try_advisory_lock(1)", "pg_advisory_xact_lock_shared(1, 1)"] {
            denied(&alice, &format!("SELECT {sql}"));
        }
        access.login("admin.env", "DATABASE_URL").execute("SELECT pg_advisory_xact_lock(1)");
        access.agi().execute("SELECT cc_route('+18005550101', 'm-1', '', '', '', '', NULL, NULL)");
        access.owner.capconduit(&["db", "migrate"]);
    };
    let psql = format!("{} -v ON_ERROR_STOP=1 '{}' <<", binary("psql").display(), server.url);
    let pasted = format!("{psql}{}", command.split_once("<<").expect("a document").1);
    process::run(Command::new("sh").args(["-c", &pasted]));
    closed();
    server.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO PUBLIC");
    alice.execute("SELECT pg_advisory_lock(1)");
    let mut command = server.command();
    command.args(["db", "roles", "--env-dir"]).arg(access.folder.path());
    let output = command.output().expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    closed();
}

#[test]
fn a_login_that_cannot_be_dropped_is_dead_all_the_same() {
    let access = Access::new("dead");
    let (alice, bob) = (access.alice(), access.login("seller-bob.env", "DATABASE_URL"));
    // something of hers here goes with her
    alice.execute("SELECT lo_create(0)");
    let mut open = alice.connect();
    access.roles(&["--remove-seller", "alice", "--yes"]);
    assert!(open.batch_execute("SELECT 1").is_err() && Client::connect(&alice.url, NoTls).is_err());
    assert_eq!(access.owner.value("SELECT count(*) FROM pg_roles WHERE rolname = 'dead_seller_alice'"), "0");
    // something in another database is not this database's owner's to remove
    let elsewhere = server().empty_database();
    Database { url: bob.url.replace(&access.owner.name, &elsewhere.name), name: elsewhere.name }
        .execute("SELECT lo_create(0)");
    let output = access.command(&["--remove-seller", "bob", "--yes", "--json"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"disabled\""), "{output:?}");
    assert!(Client::connect(&bob.url, NoTls).is_err() && !access.file("seller-bob.env").exists());
    assert_eq!(access.owner.value("SELECT count(*) FROM database_roles WHERE purpose = 'seller'"), "0");
    let member = "SELECT pg_has_role('dead_seller_bob', 'dead_seller', 'MEMBER')";
    assert_eq!(access.owner.value(member), "f");
}

#[test]
fn a_seller_s_login_is_removed() {
    let access = Access::new("gone");
    let (alice, bob) = (access.alice(), access.login("seller-bob.env", "DATABASE_URL"));
    let refused = access.command(&["--remove-seller", "alice"]);
    assert_eq!(refused.status.code(), Some(2), "nobody agreed");
    access.roles(&["--remove-seller", "alice", "--yes"]);
    assert!(Client::connect(&alice.url, NoTls).is_err());
    assert!(!access.file("seller-alice.env").exists());
    assert_eq!(access.command(&["--remove-seller", "alice", "--yes"]).status.code(), Some(3));
    assert_eq!(access.command(&["--remove-seller", "staff", "--yes"]).status.code(), Some(3));

    // one who is suspended sees nothing, and changes nothing
    access.owner.execute("UPDATE users SET status = 'suspended' WHERE username = 'bob'");
    assert_eq!(bob.value("SELECT count(*) FROM dids"), "0");
    denied(&bob, "INSERT INTO dids (number, user_id) VALUES ('+1555', 4)");
    denied(&bob, "SELECT cc_remove_own('dids', 3)");
    for arguments in [&["did", "list"][..], &["status"]] {
        let output = bob.command().args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(6) && said.contains("the seller of this login is not active"), "{said}");
    }
    access.owner.execute("UPDATE users SET status = 'active' WHERE username = 'bob'");
    assert_ne!(bob.value("SELECT count(*) FROM dids"), "0");

    // a user who is gone leaves a login that sees nothing, and that can be removed
    access.owner.execute("DELETE FROM users WHERE username = 'bob'");
    assert_eq!(
        bob.value("SELECT count(*) + (SELECT count(id) FROM clients) + (SELECT count(id) FROM users) FROM dids"),
        "0"
    );
    assert_eq!(bob.value("SELECT cc_explain('+18005550101') ->> 'reason'"), "did_not_found");
    access.roles(&["--remove-seller", "bob", "--yes"]);
    assert!(Client::connect(&bob.url, NoTls).is_err());
    let left = access.roles(&["--list"]);
    assert!(left.contains("gone_agi") && !left.contains("alice") && !left.contains("bob"), "{left}");
}
