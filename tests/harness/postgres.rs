//! A private PostgreSQL server with a migrated template, and a database of its own for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use postgres::{Client, NoTls};

use super::certificate::certificate;
use super::process::{self, Folder, Server};
use super::{free_port, program, wait_for};

/// A server, which may be stopped and started again.
pub struct Postgres {
    // stopped before its data goes
    server: Mutex<Option<Server>>,
    data: Folder,
    port: u16,
    settings: &'static [&'static str],
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
        Postgres::start_with(&[])
    }

    /// A server of its own with these settings, as `name=value`, on top of the usual ones.
    pub fn start_with(settings: &'static [&'static str]) -> Postgres {
        let data = Folder::new();
        if process::is_root() {
            process::run(Command::new("chown").arg("postgres").arg(&data.path));
        }
        let mut initdb = process::as_user("postgres", &binary("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]);
        process::run(initdb.arg(data.path.join("data")).current_dir("/"));
        let port = free_port("127.0.0.1");
        let postgres = Postgres { server: Mutex::new(None), data, port, settings, template: OnceLock::new() };
        postgres.resume();
        postgres
    }

    /// Starts the server again on its data.
    pub fn resume(&self) {
        let data = self.data.path.join("data");
        // left behind by a server that was killed
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let mut command = process::as_user("postgres", &binary("postgres"));
        command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
        for setting in [
            &format!("unix_socket_directories={}", data.display()),
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "timezone=Asia/Kathmandu", // nothing may depend on it
            "log_line_prefix=%m pid=%p db=%d app=%a ",
            // what a killed server has written is still the kernel's to write
            "fsync=off",
        ]
        .into_iter()
        .chain(self.settings.iter().copied())
        {
            command.args(["-c", setting]);
        }
        *self.server() = Some(Server::start(&command, &process::temporary_folder(), "INT"));
        wait_for("PostgreSQL to start", || Client::connect(&self.url("postgres"), NoTls).is_ok());
    }

    /// Stops the server as an administrator does: sessions are ended, data is written.
    pub fn stop(&self) {
        drop(self.server().take());
    }

    /// Kills the server and all its sessions at once.
    pub fn kill(&self) {
        if let Some(server) = self.server().take() {
            // the sessions notice that their parent is gone, and go too
            server.signal("KILL");
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.data.path.join("data")
    }

    /// The same database, through the unix socket.
    pub fn by_socket(&self, database: &Database) -> Database {
        Database {
            url: format!(
                "postgresql:///{}?host={}&port={}&user=postgres",
                database.name,
                self.socket_dir().display(),
                self.port
            ),
            name: database.name.clone(),
        }
    }

    /// Lets the server encrypt, with a certificate for this host; it and its authority's (`ca.pem`) are made in `folder`.
    pub fn encrypt(&self, folder: &Path, host: &str) {
        certificate(folder, "ca", "the authority", None, &[]);
        certificate(folder, "server", "whatever", Some("ca"), &["-addext", &format!("subjectAltName=DNS:{host}")]);
        let mut client = Client::connect(&self.url("postgres"), NoTls).expect("the server answers");
        for file in ["server.pem", "server.key", "ca.pem"] {
            std::fs::copy(folder.join(file), self.socket_dir().join(file)).expect("own folder");
            if process::is_root() {
                process::run(Command::new("chown").arg("postgres").arg(self.socket_dir().join(file)));
            }
        }
        for setting in ["cert_file = 'server.pem'", "key_file = 'server.key'", "ca_file = 'ca.pem'"] {
            client.batch_execute(&format!("ALTER SYSTEM SET ssl_{setting}")).expect("a setting");
        }
        client.batch_execute("ALTER SYSTEM SET ssl = on").expect("a setting");
        client.batch_execute("SELECT pg_reload_conf()").expect("it reads them");
        wait_for("the server to encrypt", || {
            client.query_one("SHOW ssl", &[]).is_ok_and(|row| row.get::<_, &str>(0) == "on")
        });
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.server().as_ref().map(Server::output).unwrap_or_default()
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
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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
        // an Asterisk of this machine is no concern
        command.env("AST_CONFIG_DIR", "/nonexistent");
        command
    }
}

/// A server program: newest of Debian's folders, else from the PATH.
pub fn binary(name: &str) -> PathBuf {
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
