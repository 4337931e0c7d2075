//! A private PgBouncer in transaction mode in front of a test database.

use std::path::Path;
use std::process::Command;

use super::postgres::{Database, Postgres};
use super::process::{self, Server};
use super::{free_port, wait_for};

/// A running pooler.
pub struct PgBouncer {
    _server: Server,
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
        let dir = process::temporary_folder();
        if process::is_root() {
            process::run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let port = free_port("127.0.0.1");
        let ini = dir.join("pgbouncer.ini");
        std::fs::write(dir.join("users.txt"), "\"postgres\" \"\"\n").expect("own folder");
        std::fs::write(
            &ini,
            format!(
                "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir = {2}\nauth_type = trust\nauth_file = {2}/users.txt\npool_mode = transaction\n\
                 default_pool_size = {pool_size}\nmax_client_conn = 900\n",
                postgres.socket_dir().display(),
                postgres.port(),
                dir.display()
            ),
        )
        .expect("own folder");
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|p| Path::new(p).is_file());
        let program = program.expect("pgbouncer is missing: run tests/setup, or apt-get install pgbouncer");
        let mut command = process::as_user("postgres", Path::new(program));
        let server = Server::start(command.arg(&ini), &dir, "INT");
        let database = Database {
            url: format!("postgresql://postgres@127.0.0.1:{port}/{}", database.name),
            name: database.name.clone(),
        };
        let by_socket = Database {
            url: format!("postgresql:///{}?host={}&port={port}&user=postgres", database.name, dir.display()),
            name: database.name.clone(),
        };
        wait_for("PgBouncer to start", || ::postgres::Client::connect(&database.url, ::postgres::NoTls).is_ok());
        PgBouncer { _server: server, database, by_socket }
    }
}
