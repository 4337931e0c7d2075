//! A private PgBouncer in front of a test database.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres::{Database, Postgres};
use super::process::{self, Server};
use super::{free_port, wait_for};

/// A running pooler.
pub struct PgBouncer {
    server: Server,
    /// The database, through the pooler.
    pub database: Database,
    /// The same, through its unix socket.
    pub by_socket: Database,
}

impl PgBouncer {
    /// Starts a pooler with two server connections, so that sessions share them.
    pub fn start(postgres: &Postgres, database: &Database) -> PgBouncer {
        PgBouncer::start_with(postgres, database, 2)
    }

    /// Starts a pooler with this many server connections.
    pub fn start_with(postgres: &Postgres, database: &Database, pool_size: u16) -> PgBouncer {
        let port = free_port("127.0.0.1");
        let dir = folder();
        std::fs::write(dir.join("users.txt"), "\"postgres\" \"\"\n").expect("own folder");
        let ini = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {2}\nauth_type = trust\nauth_file = {2}/users.txt\npool_mode = transaction\n\
             default_pool_size = {pool_size}\nmax_client_conn = 900\nserver_login_retry = 1\n",
            postgres.socket_dir().display(),
            postgres.port(),
            dir.display()
        );
        let server = start(&dir, &ini);
        let database = Database {
            url: format!("postgresql://postgres@127.0.0.1:{port}/{}", database.name),
            name: database.name.clone(),
        };
        let by_socket = Database {
            url: format!("postgresql:///{}?host={}&port={port}&user=postgres", database.name, dir.display()),
            name: database.name.clone(),
        };
        wait_for("PgBouncer to start", || ::postgres::Client::connect(&database.url, ::postgres::NoTls).is_ok());
        PgBouncer { server, database, by_socket }
    }

    /// Starts a pooler on this configuration, with a socket for this port in `dir`, which is removed with it.
    /// `login` is what a client of it says before the @.
    pub fn start_on(dir: &Path, ini: &str, port: u16, login: &str, name: &str) -> PgBouncer {
        let server = start(dir, ini);
        let folder = dir.to_str().expect("UTF-8").replace('/', "%2F");
        let database = Database { url: format!("postgresql://{login}@{folder}:{port}/{name}"), name: name.to_owned() };
        // not a login: there may be none yet that it takes
        wait_for("PgBouncer to listen", || dir.join(format!(".s.PGSQL.{port}")).exists());
        PgBouncer { server, by_socket: database.clone(), database }
    }

    /// Lets it read its files again.
    pub fn reload(&self) {
        self.server.signal("HUP");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        self.server.signal(signal);
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.server.output()
    }
}

/// A folder that the pooler may use: it refuses to run as root.
pub fn folder() -> PathBuf {
    let dir = process::temporary_folder();
    if process::is_root() {
        process::run(Command::new("chown").arg("postgres").arg(&dir));
    }
    dir
}

fn start(dir: &Path, ini: &str) -> Server {
    let path = dir.join("pgbouncer.ini");
    std::fs::write(&path, ini).expect("own folder");
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|p| Path::new(p).is_file());
    let program = program.expect("pgbouncer is missing: run tests/setup, or apt-get install pgbouncer");
    let mut command = process::as_user("postgres", Path::new(program));
    Server::start(command.arg(&path), dir, "INT")
}
