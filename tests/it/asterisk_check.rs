//! `capconduit asterisk check`: nothing to say of a system in order, and each planted fault is found
//! and named with its remedy.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::agi::AgiServer;
use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, program, wait_for};

/// The password of the database login; no output may have it.
const PASSWORD: &str = "right-Pa55";

/// What cron is to run.
const SCHEDULE: &str = "* * * * * asterisk capconduit call replay\n*/5 * * * * root capconduit call reap\n";

/// A whole system of its own: faults are planted in all parts of it.
struct System {
    asterisk: Asterisk,
    database: Database,
    site: Site,
    postgres: Postgres,
    program: PathBuf,
}

impl System {
    fn start() -> System {
        let postgres = Postgres::start_with(&["fsync=on"]);
        let database = postgres.database();
        let hba = database.value("SHOW hba_file");
        database.execute(&format!(
            "CREATE ROLE cc SUPERUSER LOGIN PASSWORD '{PASSWORD}';
             COPY (VALUES ('host all cc 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')) TO '{hba}';
             SELECT pg_reload_conf()"
        ));
        let url = database.url.replace("postgres@", &format!("cc:{PASSWORD}@"));
        let wrong = Database { url: url.replace(PASSWORD, "wrong"), ..database.clone() };
        wait_for("the password to count", || !run(&mut wrong.command(), &["db", "status"]).status.success());
        let database = Database { url, ..database };
        let options = Options { system_name: "checked", early_answer: true, ..Options::default() };
        let asterisk = Asterisk::start(&database, &options);
        let links = ["sip:127.0.0.1:9", "sip:127.0.0.1:9;transport=tcp"].map(Link::to);
        let site = Site::new(&database, "priority", 5, &links);
        let program = asterisk.program();
        fs::write(asterisk.dir().join("cron"), SCHEDULE).expect("own folder");
        System { asterisk, database, site, postgres, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.asterisk.dir().join(name)
    }

    fn command(&self) -> Command {
        let mut command = self.database.command();
        command.env("AST_SPOOL_DIR", self.path("spool"));
        command.args(["asterisk", "check", "--etc-dir"]).arg(self.path("etc"));
        command.arg("--asterisk").arg(&self.program).arg("--schedule").arg(self.path("cron"));
        command
    }

    fn check(&self, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
        findings(&run(self.command().arg("--json"), arguments))
    }

    /// Plants a fault, looks for what is said of it, and takes it away again.
    fn finds(&self, arguments: &[&str], plant: impl FnOnce(), expected: &[Expected<'_>], repair: impl FnOnce()) {
        plant();
        let (found, code) = self.check(arguments);
        for expected in expected {
            expected.among(&found);
        }
        let worst = if expected.iter().any(|e| e.state == "error") { 1 } else { 0 };
        assert_eq!(code, Some(worst), "{found:#?}");
        repair();
    }

    /// Changes a file, which [`System::restore`] puts back as it was.
    fn edit(&self, name: &str, change: impl FnOnce(&str) -> String) {
        let path = self.path(name);
        fs::copy(&path, self.path("kept")).expect("own folder");
        let text = fs::read_to_string(&path).expect("own file");
        let changed = change(&text);
        assert_ne!(changed, text, "the fault is planted");
        fs::write(&path, changed).expect("own file");
    }

    fn restore(&self, name: &str) {
        fs::copy(self.path("kept"), self.path(name)).expect("own folder");
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("own file");
    }
}

/// What is to be said of a fault.
struct Expected<'a> {
    area: &'a str,
    check: &'a str,
    state: &'a str,
    message: &'a str,
    remedy: &'a str,
}

impl Expected<'_> {
    fn among(&self, found: &[Value]) {
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let is = |finding: &&Value| {
            finding["area"] == self.area
                && finding["check"] == self.check
                && finding["state"] == self.state
                && text(finding, "message").contains(self.message)
                && text(finding, "remedy").contains(self.remedy)
        };
        assert!(
            found.iter().any(|finding| is(&finding)),
            "{} {} {}: {} -> {}\n{found:#?}",
            self.area,
            self.check,
            self.state,
            self.message,
            self.remedy
        );
    }
}

fn expect<'a>(area: &'a str, check: &'a str, state: &'a str, message: &'a str, remedy: &'a str) -> Expected<'a> {
    Expected { area, check, state, message, remedy }
}

fn run(command: &mut Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("it runs")
}

fn findings(output: &Output) -> (Vec<Value>, Option<i32>) {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(PASSWORD) && !complained.contains(PASSWORD), "{said}\n{complained}");
    let found = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}\n{complained}"));
    (found, output.status.code())
}

#[test]
fn every_planted_fault_is_found() {
    let system = System::start();
    in_order(&system);
    files(&system);
    server(&system);
    ari(&system);
    clients(&system);
    database_and_spool(&system);
    // everything was put back, and no look at it has left a trace
    in_order(&system);
    assert_eq!(system.database.value("SELECT count(*) FROM call_attempts"), "0");
    assert_eq!(system.database.value("SELECT count(*) FROM call_endings"), "0");
    stopped(system);
}

fn in_order(system: &System) {
    let (found, code) = system.check(&["--strict"]);
    let wrong: Vec<&Value> = found.iter().filter(|f| f["state"] != "ok" && f["state"] != "info").collect();
    assert!(wrong.is_empty() && code == Some(0), "{wrong:#?}");
    for area in ["files", "server", "clients", "agi", "database", "spool"] {
        assert!(found.iter().any(|f| f["area"] == area && f["state"] == "ok"), "{area}: {found:#?}");
    }
    let quiet = run(&mut system.command(), &["--quiet"]);
    let said = String::from_utf8_lossy(&quiet.stdout).into_owned();
    // what is worth knowing may have changed since
    assert!(said.ends_with(" checks: 0 errors, 0 warnings, 0 unknown.\n") && said.lines().count() == 1, "{said}");
}

fn files(system: &System) {
    let nothing = || {};
    let aside = system.path("cdr_logger.aside");
    let logger = system.path("agi/cdr_logger.agi");
    system.finds(
        &[],
        || fs::rename(&logger, &aside).expect("own folder"),
        &[expect("files", "cdr_logger.agi", "error", "is missing", "asterisk install")],
        || fs::rename(&aside, &logger).expect("own folder"),
    );
    system.finds(
        &[],
        || system.mode("agi/cc-route.agi", 0o644),
        &[
            expect("files", "cc-route.agi", "error", "may not run", "chmod 755"),
            expect("agi", "database", "error", "", ""),
        ],
        || system.mode("agi/cc-route.agi", 0o755),
    );
    let whole = fs::read(&logger).expect("own file");
    system.finds(
        &[],
        || fs::write(&logger, "#!/bin/false\n").expect("own file"),
        &[expect("files", "cdr_logger.agi", "warning", "another release", "asterisk install")],
        || fs::write(&logger, &whole).expect("own file"),
    );
    system.finds(
        &[],
        || system.mode("etc/res_pgsql.conf", 0o644),
        &[expect("files", "res_pgsql.conf", "error", "open to every user", "chmod 640")],
        || system.mode("etc/res_pgsql.conf", 0o640),
    );
    system.finds(
        &[],
        || system.edit("etc/res_pgsql.conf", |text| text.replace(PASSWORD, "wrong")),
        &[expect("database", "realtime login", "error", "password authentication failed", "install --force")],
        || system.restore("etc/res_pgsql.conf"),
    );
    system.database.execute("CREATE ROLE blind LOGIN; GRANT SELECT ON ps_endpoints, ps_aors TO blind");
    system.finds(
        &[],
        || system.edit("etc/res_pgsql.conf", |text| text.replace("dbuser=cc", "dbuser=blind")),
        &[expect("database", "realtime login", "error", "permission denied for view ps_auths", "GRANT SELECT")],
        || system.restore("etc/res_pgsql.conf"),
    );
    system.finds(
        &[],
        || system.edit("etc/extensions.conf", |text| text.replace("iL(", "L(")),
        &[
            expect("files", "extensions.conf", "warning", "differs from line", "_local.conf"),
            expect("server", "dialplan", "warning", "another capconduit than", "dialplan reload"),
        ],
        || system.restore("etc/extensions.conf"),
    );
    let kept = fs::read(system.path("etc/sorcery.conf")).expect("own file");
    system.finds(
        &[],
        || fs::remove_file(system.path("etc/sorcery.conf")).expect("own folder"),
        &[expect("files", "sorcery.conf", "error", "is missing", "asterisk install")],
        || fs::write(system.path("etc/sorcery.conf"), kept).expect("own folder"),
    );
    system.mode("etc/sorcery.conf", 0o640);
    // another user than these files are for
    let of_another = [
        expect("files", "res_pgsql.conf", "error", "cannot be read by Asterisk, which runs as nobody", "chgrp"),
        expect("spool", "folder", "error", "nobody cannot write", "install -d -o nobody"),
        expect("agi", "database", "ok", "it asks the database", ""),
    ];
    system.finds(&["--user", "nobody"], nothing, &of_another, nothing);
}

fn server(system: &System) {
    let cli = |command: &str| system.asterisk.cli(command);
    let kept = fs::read(system.path("etc/modules.conf")).expect("own file");
    fs::write(system.path("etc/modules.conf"), kept).expect("own file");
    let unread = "written since its start, which alone reads them: modules.conf";
    expect("server", "uptime", "info", unread, "restart").among(&system.check(&[]).0);
    cli("module unload app_dial.so");
    expect("server", "modules", "error", "app_dial.so", "restart").among(&system.check(&[]).0);
    cli("module load app_dial.so");
    let before = SystemTime::now() - Duration::from_secs(86400);
    for name in ["modules.conf", "sorcery.conf"] {
        let file = File::options().write(true).open(system.path("etc").join(name)).expect("own file");
        file.set_modified(before).expect("own file");
    }
    for (module, state) in [("app_dial.so", "error"), ("res_pjsip_header_funcs.so", "warning")] {
        system.finds(
            &[],
            || drop(cli(&format!("module unload {module}"))),
            &[expect("server", "modules", state, module, &format!("module load {module}"))],
            || drop(cli(&format!("module load {module}"))),
        );
    }
    system.finds(
        &[],
        || system.edit("etc/asterisk.conf", |text| text.replace("systemname = checked", "")),
        &[expect("server", "systemname", "warning", "sets no systemname", "restart Asterisk")],
        || system.restore("etc/asterisk.conf"),
    );
    system.finds(
        &[],
        || {
            system.edit("etc/pjsip.conf", |text| text.replace("type=identify\nendpoint=carrier\nmatch=127.0.0.2", ""));
            cli("core reload");
            wait_for("the carrier to go", || !cli("pjsip show identifies").contains("carrier/carrier"));
        },
        &[expect("server", "carrier", "error", "every call is refused", "--carrier ADDRESS")],
        || {
            system.restore("etc/pjsip.conf");
            cli("core reload");
            wait_for("the carrier to be back", || cli("pjsip show identifies").contains("carrier/carrier"));
        },
    );
    // each line that keeps calls from being taken elsewhere
    for (line, instead, said) in [
        ("endpoint_identifier_order=header,ip", "endpoint_identifier_order=ip,header", "an INVITE with Replaces"),
        ("match_header=Replaces: /./", "match=192.0.2.1", "an INVITE with Replaces"),
        ("message_context=no-messages", "allow_transfer=yes", "carrier may transfer calls with REFER"),
        ("message_context=no-messages", "", "a MESSAGE of carrier runs the dialplan of its calls"),
    ] {
        let known =
            || ["settings", "identifies", "endpoint carrier"].map(|what| cli(&format!("pjsip show {what}"))).concat();
        let before = known();
        let reload = |is_planted: bool| {
            cli("module reload res_pjsip.so");
            cli("module reload res_pjsip_endpoint_identifier_ip.so");
            wait_for("Asterisk to read pjsip.conf", || (known() != before) == is_planted);
        };
        system.finds(
            &[],
            || {
                system.edit("etc/pjsip.conf", |text| text.replace(line, instead));
                reload(true);
            },
            &[expect("server", "transfers", "error", said, "install --force")],
            || {
                system.restore("etc/pjsip.conf");
                reload(false);
            },
        );
    }
    system.finds(
        &[],
        || system.edit("etc/pjsip.conf", |text| text.replace(&system.asterisk.sip_port.to_string(), "5999")),
        &[expect("server", "transports", "error", "pjsip.conf says 127.0.0.1:5999", "restart")],
        || system.restore("etc/pjsip.conf"),
    );
    system.finds(
        &[],
        || {
            system.edit("etc/logger.conf", |text| {
                text.replace("messages.log => notice,warning,error", "messages.log => verbose")
            });
            cli("logger reload");
        },
        &[expect("server", "log", "warning", "no file keeps errors", "logger reload")],
        || {
            system.restore("etc/logger.conf");
            cli("logger reload");
        },
    );
    let allow = |files: &str| system.asterisk.limit("nofile", files);
    for (files, message) in [("1024", "it may have 1024 files: enough for about 85 calls"), ("28", "of 28 are open")] {
        system.finds(
            &[],
            || allow(files),
            &[expect("server", "open files", "warning", message, "maxfiles")],
            || allow("8192"),
        );
    }
    expect("server", "open files", "ok", "8192: enough for about 682 calls", "").among(&system.check(&[]).0);
    expect("server", "processes", "ok", "", "").among(&system.check(&[]).0);
    expect("server", "carrier", "ok", "calls are taken from 127.0.0.2/32 (carrier)", "").among(&system.check(&[]).0);
    let nobody = "nobody takes a call elsewhere past the dialplan";
    expect("server", "transfers", "ok", nobody, "").among(&system.check(&[]).0);
    expect("server", "early answer", "info", "does not reroute", "--early-answer no").among(&system.check(&[]).0);
    cli("dialplan set global CC_EARLY_ANSWER no");
    expect("server", "early answer", "ok", "the carrier gets a SIP failure", "").among(&system.check(&[]).0);
    let port = free_port("127.0.0.1");
    let set = |value: &str| cli(&format!("dialplan set global CC_AGI_SERVER {value}"));
    let where_it_is = format!("127.0.0.1:{port}");
    system.finds(
        &[],
        || drop(set(&where_it_is)),
        &[expect("agi", "server", "warning", &where_it_is, "capconduit-agi.socket")],
        || {},
    );
    // a socket without a server, as systemd keeps it
    let silent = TcpListener::bind(&where_it_is).expect("free");
    system.finds(&[], || {}, &[expect("agi", "server", "warning", "has to start the programs", "")], || drop(silent));
    let server = AgiServer::start(system.database.command(), port, &[]);
    system.finds(&[], || {}, &[expect("agi", "server", "ok", &where_it_is, "")], || {});
    drop(server);
    cli("dialplan reload");
    system.finds(
        &["--agi-dir", "/proc/nonexistent"],
        || {},
        &[
            expect("server", "folders", "error", "not /proc/nonexistent", "--agi-dir"),
            expect("files", "cc-route.agi", "error", "is missing", ""),
            expect("agi", "database", "unknown", "cc-route.agi is missing", ""),
        ],
        || {},
    );
}

/// Asterisk on the modules.conf that is installed, without what its end names for ARI.
fn ari(system: &System) {
    let mut modules = ["res_ari_endpoints", "res_ari_channels", "res_ari_asterisk", "res_ari_model", "res_ari"];
    let each = |verb: &str, modules: &[&str]| {
        modules.iter().for_each(|module| drop(system.asterisk.cli(&format!("module {verb} {module}.so"))));
    };
    let look = || {
        let mut command = system.command();
        system.asterisk.through_ari(&mut command);
        findings(&run(command.arg("--json"), &[])).0
    };
    expect("spool", "ari", "ok", "it answers", "").among(&look());
    each("unload", &modules);
    expect("spool", "ari", "warning", "404", "modules.conf as CapConduit installs it loads none").among(&look());
    let mut reap = system.database.command();
    system.asterisk.through_ari(&mut reap);
    let said = String::from_utf8(run(reap.args(["call", "reap"]), &[]).stderr).expect("UTF-8");
    assert!(said.contains("404") && said.contains("modules_local.conf"), "{said}");
    modules.reverse();
    each("load", &modules);
    expect("spool", "ari", "ok", "it answers", "").among(&look());
}

fn clients(system: &System) {
    let name = &system.site.clients[0];
    let client = format!("client {name}");
    let sql = |sql: &str| system.database.execute(&sql.replace("NAME", name));
    system.finds(
        &[],
        || sql("UPDATE pjsip_endpoints SET transport = 'transport-tls' WHERE id = 'NAME'"),
        &[expect("clients", &client, "error", "\"transport-tls\" does not exist", "transport-udp")],
        || sql("UPDATE pjsip_endpoints SET transport = NULL WHERE id = 'NAME'"),
    );
    system.finds(
        &[],
        || sql("UPDATE pjsip_endpoints SET allow = 'ulaw,g7111' WHERE id = 'NAME'"),
        &[
            expect("clients", &client, "error", "does not know: g7111", "--allow"),
            expect("clients", &client, "error", "no such endpoint", "pjsip show endpoint"),
        ],
        || sql("UPDATE pjsip_endpoints SET allow = 'ulaw' WHERE id = 'NAME'"),
    );
    // another client's login and contact are no fault
    let other = &system.site.clients[1];
    let shared = "INSERT INTO pjsip_auths (id, client_id, username, password)
                  SELECT c.client_identifier, c.id, 'us', 'x' FROM clients c WHERE c.client_identifier = 'OTHER';
                  UPDATE pjsip_endpoints SET outbound_auth = 'OTHER', auth = 'OTHER', aors = 'OTHER' WHERE id = 'NAME'";
    sql(&shared.replace("OTHER", other));
    let (found, code) = system.check(&[]);
    let of_client = found.iter().filter(|f| f["check"] == client.as_str() && f["state"] != "info");
    assert_eq!((of_client.collect::<Vec<_>>(), code), (vec![], Some(0)));
    sql(
        "UPDATE pjsip_endpoints SET outbound_auth = NULL, auth = NULL, aors = id WHERE id = 'NAME'; DELETE FROM pjsip_auths",
    );
    system.finds(
        &[],
        || sql("UPDATE pjsip_endpoints SET outbound_auth = 'nonsense', auth = 'nobody', context = 'nowhere' WHERE id = 'NAME'"),
        &[
            expect("clients", &client, "warning", "outbound_auth \"nonsense\" does not exist: calls that", "--outbound-auth"),
            expect("clients", &client, "warning", "auth \"nobody\" does not exist: it cannot log in", "--auth ''"),
            expect("clients", &client, "warning", "context \"nowhere\" is not in the dialplan", "--context from-client"),
        ],
        || sql("UPDATE pjsip_endpoints SET outbound_auth = NULL, auth = NULL, context = 'from-client' WHERE id = 'NAME'"),
    );
    for contact in ["sip:127.0.0.1:9^3Btransport=tls", "sips:127.0.0.1:9"] {
        system.finds(
            &[],
            || sql(&format!("UPDATE pjsip_aors SET contact = '{contact}' WHERE id = 'NAME'")),
            &[expect("clients", &client, "error", "no transport for tls", "--contact")],
            || sql("UPDATE pjsip_aors SET contact = 'sip:127.0.0.1:9' WHERE id = 'NAME'"),
        );
    }
    // the names that are taken without asking are those that it has
    let shown = system.asterisk.cli("core show codecs");
    let unknown = capconduit::model::codecs::CODECS
        .iter()
        .filter(|name| !shown.lines().any(|line| line.split_whitespace().any(|word| word == **name)));
    assert_eq!(unknown.collect::<Vec<_>>(), [&""; 0], "{shown}");
    system.finds(
        &[],
        || sql("CREATE TABLE kept AS SELECT * FROM pjsip_endpoints WHERE id = 'NAME'; DELETE FROM pjsip_endpoints WHERE id = 'NAME'"),
        &[expect("clients", &client, "error", "there is no endpoint", &format!("capconduit pjsip add {name}; or"))],
        || sql("INSERT INTO pjsip_endpoints SELECT * FROM kept; DROP TABLE kept"),
    );
    // as on a server that was not restarted after the first installation
    system.finds(
        &[],
        || system.database.execute("ALTER VIEW ps_endpoints RENAME TO kept"),
        &[expect("clients", "endpoints", "error", "no endpoint of an active client", "systemctl restart asterisk")],
        || system.database.execute("ALTER VIEW kept RENAME TO ps_endpoints"),
    );
    let qualify = |seconds: u32| {
        sql(&format!("UPDATE pjsip_aors SET qualify_frequency = {seconds} WHERE id = 'NAME'"));
        system.asterisk.cli(&format!("pjsip reload qualify aor {name}"));
    };
    let status = || {
        let contacts = system.asterisk.cli("pjsip show contacts");
        contacts.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned()
    };
    system.finds(
        &[],
        || {
            qualify(1);
            wait_for("Asterisk to ask the client", || status().contains("Unavail"));
        },
        &[expect("clients", &client, "warning", "sip:127.0.0.1:9 does not answer OPTIONS", "--qualify-frequency 0")],
        || {
            qualify(0);
            wait_for("Asterisk to ask no more", || status().contains("NonQual"));
        },
    );
}

fn database_and_spool(system: &System) {
    system.finds(
        &[],
        || system.database.execute("DELETE FROM capconduit_migrations WHERE name = 'realtime'"),
        &[expect("database", "schema", "error", "behind this program: realtime", "db migrate")],
        || drop(system.database.capconduit(&["db", "migrate"])),
    );
    let isolation = |level: &str| {
        system
            .database
            .execute(&format!("ALTER DATABASE {} SET default_transaction_isolation = '{level}'", system.database.name));
    };
    system.finds(
        &[],
        || isolation("serializable"),
        &[expect("database", "isolation", "error", "serializable", "read committed")],
        || isolation("read committed"),
    );
    // a call that nobody has
    let claim =
        format!("SELECT status FROM cc_route('{}', 'checked-0.1', '', 'checked', '', '', NULL, NULL)", system.site.did);
    system.finds(
        &[],
        || {
            assert_eq!(system.database.value(&claim), "proceed");
            system.database.execute("UPDATE call_attempts SET claimed_at = now() - interval '1 day'");
        },
        &[expect("database", "attempts", "warning", "1 of before Asterisk's start", "call reap")],
        || system.database.execute("DELETE FROM call_attempts"),
    );
    let spool = system.path("spool/capconduit");
    let record = spool.join("1.2.json");
    system.finds(
        &[],
        || {
            fs::create_dir(&spool).expect("own folder");
            let file = File::create(&record).expect("own folder");
            file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("own file");
        },
        &[expect("spool", "waiting", "warning", "1 record waits", "call replay")],
        || fs::remove_dir_all(&spool).expect("own folder"),
    );
    let in_cron = |verb: &str| format!(" {} call {verb}", program("capconduit").display());
    system.finds(
        &["--schedule", "/dev/null"],
        || fs::write(system.path("cron"), "# capconduit call replay\n").expect("own folder"),
        &[
            expect("spool", "schedule", "warning", "nothing was found that runs call replay", &in_cron("replay")),
            expect("spool", "reap", "warning", "nothing was found that runs call reap", &in_cron("reap")),
        ],
        || fs::write(system.path("cron"), SCHEDULE).expect("own folder"),
    );
}

/// What is left to say when one or the other is away.
fn stopped(mut system: System) {
    system.finds(
        &[],
        || system.postgres.stop(),
        &[
            expect("database", "connection", "error", "unreachable", "PostgreSQL runs"),
            expect("database", "schema", "unknown", "database does not answer", ""),
            expect("database", "realtime login", "error", "unreachable", "start the database"),
            expect("server", "realtime", "error", "does not reach the clients", "database login"),
            expect("agi", "database", "error", "unreachable", "DATABASE_URL"),
            expect("server", "modules", "ok", "", ""),
        ],
        || system.postgres.resume(),
    );
    system.asterisk.kill();
    let env_file = system.path("capconduit.env");
    fs::write(&env_file, format!("DATABASE_URL={}\n", system.database.url)).expect("own folder");
    fs::set_permissions(&env_file, Permissions::from_mode(0o600)).expect("own file");
    let mut command = system.command();
    command.env("CAPCONDUIT_ENV_FILE", &env_file).args(["--json", "--user", "nobody"]);
    let (found, code) = findings(&run(&mut command, &[]));
    assert_eq!(code, Some(1), "{found:#?}");
    for expected in [
        expect("server", "running", "error", "Asterisk does not answer", "systemctl start"),
        expect("server", "modules", "unknown", "Asterisk does not answer", ""),
        expect("clients", "as Asterisk sees them", "unknown", "Asterisk does not answer", ""),
        expect("agi", "env file", "error", "cannot be read by Asterisk's programs, which run as nobody", "chgrp"),
        expect("database", "realtime login", "ok", "reads 2 endpoints", ""),
    ] {
        expected.among(&found);
    }
    system.program = "/proc/nonexistent/asterisk".into();
    let no_program = [expect("server", "running", "error", "cannot run", "--asterisk")];
    system.finds(&[], || {}, &no_program, || {});
    system.postgres.stop();
    assert_eq!(system.check(&[]).1, Some(75));
    assert_eq!(run(&mut system.command(), &["--user", "no-such-user"]).status.code(), Some(3));
}
