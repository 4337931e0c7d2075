//! Connections to a server that takes encrypted ones only: every program, libpq's modes, and what is refused.

use std::process::Command;

use crate::harness::agi::{self, AgiServer};
use crate::harness::certificate::certificate;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, process, wait_for};

/// A server that lets `postgres` in unencrypted, and everybody else only encrypted: `with_password` by SCRAM,
/// `with_certificate` by its certificate.
struct Encrypted {
    server: Postgres,
    database: Database,
    folder: tempfile::TempDir,
}

impl Encrypted {
    fn start() -> Encrypted {
        let server = Postgres::start();
        let database = server.database();
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        server.encrypt(at, "db.example");
        certificate(at, "other", "another authority", None, &[]);
        certificate(at, "with_certificate", "with_certificate", Some("ca"), &[]);
        certificate(at, "stranger", "with_certificate", Some("other"), &[]);
        let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all with_certificate 127.0.0.1/32 cert\n\
                     hostssl all with_password 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(database.value("SHOW hba_file"), rules).expect("the harness's own file");
        database.execute("ALTER SYSTEM SET log_connections = on");
        database.execute(
            "CREATE ROLE with_password SUPERUSER LOGIN PASSWORD 'right'; CREATE ROLE with_certificate SUPERUSER LOGIN;
             SELECT pg_reload_conf()",
        );
        wait_for("the server to log logins", || database.value("SHOW log_connections") == "on");
        Encrypted { server, database, folder }
    }

    /// The database by another way: `@` in the parameters stands for the folder of certificates.
    fn by(&self, login: &str, host: &str, parameters: &str) -> Database {
        let at = self.folder.path().display().to_string();
        let (port, name) = (self.server.port(), &self.database.name);
        Database {
            url: format!("postgresql://{login}@{host}:{port}/{name}?{}", parameters.replace('@', &at)),
            name: name.clone(),
        }
    }
}

/// What the CLI and `cc-route` say of a way to the database; where it is good, that `cc-route` claims.
fn tried(way: &Database, site: &Site, call: &str) -> Result<(), String> {
    let cli = way.command().args(["client", "list"]).output().expect("it runs");
    let folder = tempfile::tempdir().expect("a folder");
    let route = agi::run(&mut agi::command("cc-route", &way.url, folder.path()), &agi::dialled(call, &site.did));
    let said = String::from_utf8_lossy(&route.stdout).into_owned();
    let why = String::from_utf8_lossy(&cli.stderr).into_owned();
    assert_eq!(cli.status.success(), said.contains("\"proceed,,,"), "{}: {why}\n{said}", way.url);
    if cli.status.success() {
        return Ok(());
    }
    // both say the same, the one to Asterisk's log, which has neither quotes nor commas
    let short =
        why.trim_start_matches("error: ").split(['"', '\'', ',', '(', '\n']).next().unwrap_or_default().trim_end();
    assert!(short.len() > 20 && said.contains(short), "{}: {why}\n{said}", way.url);
    Err(why)
}

#[test]
fn every_program_reaches_a_server_that_takes_encrypted_connections_only() {
    let encrypted = Encrypted::start();
    let site = Site::new(&encrypted.database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let password = "with_password:right";
    let certificate = "sslcert=@/with_certificate.pem&sslkey=@/with_certificate.key";
    let verified = "sslmode=verify-full&sslrootcert=@/ca.pem&hostaddr=127.0.0.1";
    for (number, (login, host, parameters)) in [
        (password, "127.0.0.1", String::new()),
        (password, "127.0.0.1", "sslmode=allow".to_owned()),
        (password, "127.0.0.1", "sslmode=require".to_owned()),
        (password, "127.0.0.1", "sslmode=require&channel_binding=require".to_owned()),
        // which plain connections cannot have
        (password, "127.0.0.1", "channel_binding=require".to_owned()),
        (password, "127.0.0.1", "sslmode=require&channel_binding=disable".to_owned()),
        (password, "127.0.0.1", "sslmode=require&ssl_max_protocol_version=TLSv1.2&channel_binding=require".to_owned()),
        (password, "127.0.0.1", "sslmode=verify-ca&sslrootcert=@/ca.pem".to_owned()),
        // the server's own certificate vouches for itself
        (password, "db.example", "sslmode=verify-full&sslrootcert=@/server.pem&hostaddr=127.0.0.1".to_owned()),
        (password, "db.example", verified.to_owned()),
        ("with_certificate", "db.example", format!("{verified}&{certificate}")),
        ("with_certificate", "127.0.0.1", format!("ssl_max_protocol_version=TLSv1.2&{certificate}")),
    ]
    .into_iter()
    .enumerate()
    {
        let way = encrypted.by(login, host, &parameters);
        tried(&way, &site, &format!("good.{number}")).unwrap_or_else(|why| panic!("{parameters}: {why}"));
    }
    // as the server sees it: each was encrypted
    let log = encrypted.server.log();
    let logins: Vec<&str> = log.lines().filter(|line| line.contains("connection authorized: user=with_")).collect();
    assert!(
        logins.len() >= 22 && logins.iter().all(|line| line.contains("SSL enabled (protocol=TLSv1.")),
        "{logins:#?}"
    );
    assert!(logins.iter().any(|line| line.contains("protocol=TLSv1.2")), "{logins:#?}");

    // records, and the server in the programs' place
    let way = encrypted.by(password, "db.example", verified);
    let folder = tempfile::tempdir().expect("a folder");
    let answered = agi::answered("good.0", &site.did, site.settings[0]);
    let logged = agi::run(&mut agi::command("cdr_logger", &way.url, folder.path()), &answered);
    assert!(logged.status.success(), "{logged:?}");
    let server = AgiServer::start(way.command(), free_port("127.0.0.1"), &["--workers", "2"]);
    for call in ["served.1", "served.2", "served.3"] {
        let said = server.ask("route", &agi::dialled(call, &site.did));
        assert!(said.contains("\"proceed,,,"), "{said}\n{}", server.output());
        server.ask("log", &agi::answered(call, &site.did, site.settings[0]));
    }
    assert_eq!(site.wait_for_records(4, "call_status"), ["ANSWERED"; 4]);

    // logins that are made there are told as much
    let folder = tempfile::tempdir().expect("a folder");
    let owner = encrypted.by(password, "127.0.0.1", "sslmode=verify-ca&sslrootcert=@/ca.pem");
    owner.capconduit(&["db", "roles", "--prefix", "tls", "--env-dir", folder.path().to_str().expect("UTF-8")]);
    let file = std::fs::read_to_string(folder.path().join("capconduit.env")).expect("it is there");
    assert!(file.contains("?sslmode=verify-ca&sslrootcert="), "{file}");
}

#[test]
fn what_is_not_as_it_was_asked_for_is_refused_with_what_to_do() {
    let encrypted = Encrypted::start();
    let site = Site::new(&encrypted.database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    std::fs::copy(encrypted.folder.path().join("server.key"), encrypted.folder.path().join("open.key")).expect("own");
    process::run(Command::new("chmod").arg("644").arg(encrypted.folder.path().join("open.key")));
    let (password, named) = ("with_password:right", "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=@");
    for (number, (login, host, parameters, says, hint)) in [
        (password, "127.0.0.1", "sslmode=disable".to_owned(), "no encryption", "sslmode=require in DATABASE_URL"),
        (password, "db.example", format!("{named}/other.pem"), "nobody in sslrootcert has signed", "sslrootcert=FILE"),
        (password, "db.other", format!("{named}/ca.pem"), "not for the host", "subjectAltName"),
        (password, "127.0.0.1", format!("{named}/ca.pem"), "not for the host", "subjectAltName"),
        (password, "db.example", format!("{named}/none.pem"), "none.pem", ""),
        (password, "db.example", format!("{named}/ca.key"), "holds no certificate", ""),
        ("with_certificate", "127.0.0.1", "sslmode=require".to_owned(), "valid client certificate", "sslcert=FILE"),
        (
            "with_certificate",
            "127.0.0.1",
            "sslmode=require&sslcert=@/stranger.pem&sslkey=@/stranger.key".to_owned(),
            "does not accept this client's certificate",
            "ssl_ca_file",
        ),
        (
            "with_certificate",
            "127.0.0.1",
            "sslmode=require&sslcert=@/server.pem&sslkey=@/open.key".to_owned(),
            "may be read by others",
            "chmod 600",
        ),
        ("with_password:wrong", "127.0.0.1", "sslmode=require".to_owned(), "password authentication failed", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let way = encrypted.by(login, host, &parameters);
        let why = tried(&way, &site, &format!("bad.{number}")).expect_err(&parameters);
        assert!(why.contains(says) && why.contains(hint) && !why.contains("use sudo"), "{parameters}: {why}");
    }
    assert_eq!(site.open_attempts(), 0);

    // a server that does not encrypt
    let plain = Postgres::shared().database();
    let site = Site::new(&plain, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    for mode in ["disable", "allow", "prefer"] {
        let way = Database { url: format!("{}?sslmode={mode}", plain.url), ..plain.clone() };
        tried(&way, &site, mode).unwrap_or_else(|why| panic!("{mode}: {why}"));
    }
    let way = Database { url: format!("{}?sslmode=require", plain.url), ..plain.clone() };
    let why = tried(&way, &site, "require").expect_err("refused");
    assert!(why.contains("does not encrypt connections") && why.contains("ssl = on"), "{why}");
}
