//! A private PostgreSQL server with a migrated template, and a database of its own for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use postgres::{Client, NoTls};

use super::process::{self, Server};
use super::{free_port, program, wait_for};

/// A running server.
pub struct Postgres {
    server: Server,
    port: u16,
    template: OnceLock<()>,
}

/// A database of this server.
#[derive(Clone)]
pub struct Database {
    /// For `DATABASE_URL`.
    pub url: String,
    /// Its name.
    pub name: String,
}

impl Postgres {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A server of its own.
    pub fn start() -> Postgres {
        let dir = process::temporary_folder();
        let data = dir.join("data");
        std::fs::create_dir(&data).expect("own folder");
        if process::is_root() {
            process::run(Command::new("chown").arg("postgres").arg(&data));
        }
        let mut initdb = process::as_user("postgres", &binary("initdb"));
        initdb
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        process::run(initdb.current_dir("/"));

        let port = free_port("127.0.0.1");
        let mut server = process::as_user("postgres", &binary("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            &format!("unix_socket_directories={}", data.display()),
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "timezone=Asia/Kathmandu", // nothing may depend on it
            "log_line_prefix=%m pid=%p db=%d app=%a ",
            // the folder goes with the server
            "fsync=off",
        ] {
            server.args(["-c", setting]);
        }
        let server = Server::start(&server, &dir, "INT");
        let postgres = Postgres { server, port, template: OnceLock::new() };
        wait_for("PostgreSQL to start", || Client::connect(&postgres.url("postgres"), NoTls).is_ok());
        postgres
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.server.output()
    }

    /// A new, empty database.
    pub fn empty_database(&self) -> Database {
        self.create("")
    }

    /// A new database with the schema.
    pub fn database(&self) -> Database {
        self.template.get_or_init(|| {
            let template = Database { url: self.url("template_cc"), name: "template_cc".into() };
            self.admin("CREATE DATABASE template_cc");
            template.capconduit(&["db", "migrate"]);
        });
        self.create("TEMPLATE template_cc")
    }

    fn create(&self, options: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // two copies of one template at a time fail: "source database is being accessed"
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.admin(&format!("CREATE DATABASE {name} {options}"));
        Database { url: self.url(&name), name }
    }

    fn admin(&self, sql: &str) {
        let mut client = Client::connect(&self.url("postgres"), NoTls).expect("the server answers");
        client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

impl Database {
    /// A connection.
    pub fn connect(&self) -> Client {
        Client::connect(&self.url, NoTls).expect("the database answers")
    }

    /// Runs statements.
    pub fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// The rows of a query, each column as text: `a|b`, null as nothing.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let messages = self.connect().simple_query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        messages
            .iter()
            .filter_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).unwrap_or("")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect()
    }

    /// The only value of a query.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().expect("one row")
    }

    /// Runs the CLI on this database; it must succeed.
    pub fn capconduit(&self, arguments: &[&str]) -> String {
        process::run(self.command().args(arguments))
    }

    /// The CLI on this database.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program("capconduit"));
        command.env("DATABASE_URL", &self.url).env("CAPCONDUIT_ENV_FILE", "/dev/null");
        command
    }
}

/// A server program: newest of Debian's folders, else from the PATH.
fn binary(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin").join(name))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
        .pop()
        .or_else(|| {
            std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|dir: PathBuf| dir.join(name))
                .find(|p: &PathBuf| Path::is_file(p))
        })
        .unwrap_or_else(|| panic!("{name} is missing: run tests/setup, or apt-get install postgresql"))
}
