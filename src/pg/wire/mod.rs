//! PostgreSQL's protocol as a call needs it: one connection, one statement at a time, each answer by a
//! deadline. It blocks on the socket itself: a program that lives for milliseconds has no use for the
//! runtime and the threads of a general client, which cost it more than the claim.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>, extended query. A statement is unnamed the
//! first time and prepared when it is repeated, which saves the server a fifth of a claim's work. Behind a pooler
//! nothing is prepared: another session may answer each time.

mod failure;
mod login;
mod message;
mod row;
mod socket;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use crate::Result;
use crate::pg::error::Refused;
use crate::pg::settings::Settings;
use crate::pg::tls;
use crate::pg::wire::failure::Failure;
use crate::pg::wire::message::Body;
use crate::pg::wire::row::{Columns, Row};
use crate::pg::wire::socket::Stream;

/// The largest message that is taken: one row of a call's functions is a few hundred bytes.
const MAX_MESSAGE: usize = 16 << 20;
/// How many statements are kept: more than there are.
const MAX_STATEMENTS: usize = 16;

/// A session with one server.
pub struct Connection {
    stream: Stream,
    /// What has been read and not yet looked at.
    received: BytesMut,
    /// When the answer to the present question is due.
    deadline: Option<Instant>,
    /// It has ended, or what comes next on it is unknown.
    broken: bool,
    /// The server process that was named at login; a pooler names one of its own.
    process: u32,
    /// Whether that process answers; None until it was asked.
    direct: Option<bool>,
    /// What has been asked.
    statements: Vec<Statement>,
}

/// A statement that was asked on a connection; prepared as `cc0`, `cc1`... by its place.
struct Statement {
    sql: String,
    /// The columns of its answer, once it is prepared.
    columns: Option<Columns>,
}

/// How a statement is sent.
#[derive(Clone, Copy)]
enum Manner {
    /// Unnamed, for this time.
    Once,
    /// And kept under its place's name.
    Prepare(usize),
    /// By that name.
    Prepared(usize),
}

impl Connection {
    /// Connects to the first host of these settings and logs in. A host name with several addresses: each is tried.
    ///
    /// # Errors
    /// [`crate::Kind::Unreachable`] where there is no answer until then; [`crate::Kind::Permission`] where the server
    /// refuses the login.
    pub(super) fn open(settings: &Settings, deadline: Instant) -> Result<Connection, Refused> {
        let opened = Stream::open(settings, deadline).map_err(Failure::Io);
        opened.and_then(|stream| Connection::on(encrypted(stream, settings)?, settings, deadline)).map_err(|failure| {
            Refused { otherwise: failure.is_about_encryption(), error: failure.told("error connecting to server: ") }
        })
    }

    fn on(stream: Stream, settings: &Settings, deadline: Instant) -> Result<Connection, Failure> {
        let mut connection = Connection {
            stream,
            received: BytesMut::new(),
            deadline: Some(deadline),
            broken: true,
            process: 0,
            direct: None,
            statements: Vec::new(),
        };
        connection.log_in(settings)?;
        connection.broken = false;
        connection.check_role(settings.get_target_session_attrs())?;
        connection.deadline = None;
        Ok(connection)
    }

    /// Whether nothing more can be asked on it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Limits the time of all statements together from now on; None: no limit.
    pub(super) fn allow(&mut self, time: Option<Duration>) {
        self.deadline = time.map(|time| Instant::now() + time);
    }

    /// The only row of a statement, or None: one round trip.
    ///
    /// # Errors
    /// What the database says, by its SQLSTATE; [`crate::Kind::Unreachable`] where it does not answer in time.
    pub fn row(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>> {
        self.ask(sql, args).map_err(|failure| failure.told(""))
    }

    /// The row of a function with these arguments. A database that is not migrated yet may lack the last of them: it
    /// is asked with the first `older`, longest first. Programs and database are upgraded in any order.
    ///
    /// # Errors
    /// As [`Connection::row`].
    pub(crate) fn function_row(
        &mut self,
        function: &str,
        args: &[(&(dyn ToSql + Sync), Type)],
        older: &[usize],
    ) -> Result<Option<Row>> {
        let sql = |count: usize| {
            let arguments: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
            format!("SELECT * FROM {function}({})", arguments.join(", "))
        };
        let mut answer = self.ask(&sql(args.len()), args);
        for &count in older {
            if !matches!(&answer, Err(Failure::Said { code, .. }) if *code == SqlState::UNDEFINED_FUNCTION) {
                break;
            }
            log::warn!("the database has an older {function}: run capconduit db migrate");
            answer = self.ask(&sql(count), &args[..count]);
        }
        answer.map_err(|failure| failure.told(""))
    }

    fn ask(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>, Failure> {
        let manner = match self.statements.iter().position(|statement| statement.sql == sql) {
            Some(place) if self.statements[place].columns.is_some() => Manner::Prepared(place),
            Some(place) if self.is_direct()? => Manner::Prepare(place),
            Some(_) => Manner::Once,
            None => {
                if self.statements.len() < MAX_STATEMENTS {
                    self.statements.push(Statement { sql: sql.to_owned(), columns: None });
                }
                Manner::Once
            }
        };
        match (self.send_statement(manner, sql, args), manner) {
            // A migration changed what the function returns, or somebody discarded the prepared statement. Nothing
            // was done.
            (Err(Failure::Said { code, .. }), Manner::Prepared(place))
                if code == SqlState::FEATURE_NOT_SUPPORTED || code == SqlState::INVALID_SQL_STATEMENT_NAME =>
            {
                // never again by this name
                self.statements[place].sql.clear();
                self.send_statement(Manner::Once, sql, args)
            }
            (answer, _) => answer,
        }
    }

    /// Whether no pooler is in between; asked once, when a statement is first repeated.
    fn is_direct(&mut self) -> Result<bool, Failure> {
        if let Some(direct) = self.direct {
            return Ok(direct);
        }
        let row = self.send_statement(Manner::Once, "SELECT pg_backend_pid()", &[])?;
        let process: Option<i32> = row.and_then(|row| row.decode(0).ok());
        let direct = process.is_some_and(|process| process.cast_unsigned() == self.process);
        self.direct = Some(direct);
        Ok(direct)
    }

    fn send_statement(
        &mut self,
        manner: Manner,
        sql: &str,
        args: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>, Failure> {
        let name = match manner {
            Manner::Once => String::new(),
            Manner::Prepare(place) | Manner::Prepared(place) => format!("cc{place}"),
        };
        let mut question = BytesMut::with_capacity(512);
        if !matches!(manner, Manner::Prepared(_)) {
            frontend::parse(&name, sql, args.iter().map(|(_, sql_type)| sql_type.oid()), &mut question)?;
        }
        let bound = frontend::bind(
            "",
            &name,
            // all values in binary
            [1],
            args,
            |(value, sql_type), out| {
                Ok(match value.to_sql_checked(sql_type, out)? {
                    postgres::types::IsNull::Yes => IsNull::Yes,
                    postgres::types::IsNull::No => IsNull::No,
                })
            },
            [1],
            &mut question,
        );
        bound.map_err(|e| match e {
            frontend::BindError::Conversion(e) => Failure::Other(format!("error serializing parameters: {e}")),
            frontend::BindError::Serialization(e) => Failure::Io(e),
        })?;
        let mut columns: Columns = match manner {
            Manner::Prepared(place) => self.statements[place].columns.clone().unwrap_or_default(),
            _ => {
                frontend::describe(b'P', "", &mut question)?;
                Columns::default()
            }
        };
        frontend::execute("", 0, &mut question)?;
        frontend::sync(&mut question);

        self.broken = true;
        self.send(&question)?;
        let (mut row, mut failure) = (None, None);
        loop {
            let message = match self.receive() {
                Ok(message) => message,
                // a server that ends a session says why first
                Err(closed) => return Err(failure.unwrap_or(closed)),
            };
            match message {
                (b'T', mut body) => columns = body.columns()?.into(),
                (b'D', mut body) => {
                    if row.is_some() {
                        failure = Some(Failure::Other("more than one row".to_owned()));
                    }
                    row = Some(Row { values: body.values(columns.len())?, columns: Arc::clone(&columns) });
                }
                (b'E', body) => failure = Some(Failure::of(body)),
                (b'Z', _) => break,
                _ => {}
            }
        }
        self.broken = false;
        if let Manner::Prepare(place) = manner {
            match failure {
                None => self.statements[place].columns = Some(columns),
                // whether it is prepared is unknown: never again by this name
                Some(_) => self.statements[place].sql.clear(),
            }
        }
        failure.map_or(Ok(row), Err)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.bound(self.deadline);
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// The next message: its kind and its body.
    fn receive(&mut self) -> Result<(u8, Body), Failure> {
        loop {
            if let Some((&[kind, a, b, c, d], _)) = self.received.split_first_chunk() {
                // its length counts itself
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if !(4..=MAX_MESSAGE).contains(&length) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of no sensible length").into());
                }
                if self.received.len() > length {
                    let message = self.received.split_to(1 + length).freeze();
                    return Ok((kind, Body(message.slice(5..))));
                }
            }
            self.stream.bound(self.deadline);
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed").into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Asks the server to encrypt, where that is wanted: the first question on a connection.
fn encrypted(mut stream: Stream, settings: &Settings) -> Result<Stream, Failure> {
    let mode = settings.get_ssl_mode();
    if matches!(mode, SslMode::Disable) || !stream.is_of_a_network() {
        return Ok(stream);
    }
    let mut question = BytesMut::new();
    frontend::ssl_request(&mut question);
    stream.write_all(&question)?;
    // not a byte more: anybody may have sent what is not encrypted
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    match answer {
        [b'S'] => {
            let (client, server) = settings.tls.client(settings.get_hosts().first()).map_err(Failure::Told)?;
            Ok(stream.encrypted(client, server)?)
        }
        _ if matches!(mode, SslMode::Require) => Err(Failure::Told(tls::not_offered())),
        _ => Ok(stream),
    }
}

impl Drop for Connection {
    /// Says goodbye, which spares the server a line in its log.
    fn drop(&mut self) {
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        let _ = self.stream.set_nonblocking().and_then(|()| self.stream.write_all(&goodbye));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    /// What is made of a server's bytes.
    fn told(said: Vec<u8>) -> Result<Option<String>> {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        // all at once, whatever it is asked: so little is buffered
        theirs.write_all(&said).and_then(|()| theirs.shutdown(std::net::Shutdown::Write)).expect("written");
        let mut settings = Settings::default();
        settings.user("u").password("p").dbname("d");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut connection =
            Connection::on(Stream::from(ours), &settings, deadline).map_err(|failure| failure.told(""))?;
        let row = connection.row("SELECT status", &[])?;
        row.map(|row| row.try_get("status")).transpose()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("small");
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    fn welcome() -> Vec<u8> {
        [message(b'R', &[0; 4]), message(b'S', b"TimeZone\0UTC\0"), message(b'Z', b"I")].concat()
    }

    fn answer(value: &[u8]) -> Vec<u8> {
        let column = [&[0, 1][..], b"status\0", &[0; 6], &25_u32.to_be_bytes(), &[0; 8]].concat();
        let length = u32::try_from(value.len()).expect("small");
        let row = [&[0, 1][..], &length.to_be_bytes(), value].concat();
        [message(b'1', b""), message(b'2', b""), message(b'T', &column), message(b'D', &row), message(b'Z', b"I")]
            .concat()
    }

    #[test]
    fn a_row_is_read_by_the_names_of_its_columns() {
        let said = [welcome(), answer(b"proceed")].concat();
        assert_eq!(told(said).expect("an answer").as_deref(), Some("proceed"));
    }

    #[test]
    fn what_the_server_says_before_it_ends_a_session_is_the_reason() {
        let error = message(b'E', b"SFATAL\0C57P01\0Mterminating connection\0\0");
        let error = told([welcome(), error].concat()).expect_err("no answer");
        assert_eq!(error.kind, crate::Kind::Unreachable);
        assert!(error.message.contains("terminating connection"), "{error}");
    }

    #[test]
    fn a_login_that_is_refused_is_not_an_unreachable_server() {
        let error = told(message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")).expect_err("refused");
        assert_eq!(error.kind, crate::Kind::Permission);
    }

    #[test]
    fn a_server_that_proves_nothing_is_none_where_it_must() {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        theirs.write_all(&welcome()).expect("written");
        let mut settings = Settings::default();
        settings.user("u").password("p").channel_binding(postgres::config::ChannelBinding::Require);
        let opened = Connection::on(Stream::from(ours), &settings, Instant::now() + Duration::from_secs(20));
        assert!(opened.err().expect("no login").told("").message.contains("channel binding is required"));
    }

    #[test]
    fn an_answer_that_drips_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut settings = Settings::default();
        settings.host("127.0.0.1").port(listener.local_addr().expect("an address").port()).user("u");
        settings.ssl_mode(SslMode::Disable);
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            while stream.write_all(&message(b'S', b"a\0b\0")).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let opened = Connection::open(&settings, Instant::now() + Duration::from_millis(300));
        assert_eq!(opened.err().expect("no login").error.kind, crate::Kind::Unreachable);
        server.join().expect("it ends");
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_it_is_an_answer_or_an_error(
            cut in 0_usize..200, at in 0_usize..200, byte: u8, noise in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut said = [welcome(), answer(b"proceed")].concat();
            let at = at % said.len();
            said[at] = byte;
            said.truncate(cut.max(1));
            said.extend(noise);
            // no panic, no wait without end, no value that was not sent whole
            let _ = told(said);
        }
    }
}
