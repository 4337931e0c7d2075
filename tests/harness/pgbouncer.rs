//! A private PgBouncer in transaction mode in front of a test database.

use std::path::Path;

use super::postgres::{Database, Postgres};
use super::process::{self, Server};
use super::{free_port, wait_for};

/// A running pooler.
pub struct PgBouncer {
    _server: Server,
    /// The database, through the pooler.
    pub database: Database,
}

impl PgBouncer {
    /// Starts a pooler with two server connections, so that sessions share them.
    pub fn start(postgres: &Postgres, database: &Database) -> PgBouncer {
        let dir = process::temporary_folder();
        let port = free_port("127.0.0.1");
        let ini = dir.join("pgbouncer.ini");
        std::fs::write(dir.join("users.txt"), "\"postgres\" \"\"\n").expect("own folder");
        std::fs::write(
            &ini,
            format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}/users.txt\npool_mode = transaction\n\
                 default_pool_size = 2\nmax_client_conn = 200\n",
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
        wait_for("PgBouncer to start", || ::postgres::Client::connect(&database.url, ::postgres::NoTls).is_ok());
        PgBouncer { _server: server, database }
    }
}
