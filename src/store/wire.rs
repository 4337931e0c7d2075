//! PostgreSQL's protocol as a call needs it: one connection, one statement at a time, each answer by a
//! deadline. It blocks on the socket itself: a program that lives for milliseconds has no use for the
//! runtime and the threads of a general client, which cost it more than the claim.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>, extended query, unnamed statements.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{FromSql, ToSql, Type};
use postgres_protocol::IsNull;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::Said;
use crate::{Error, Result};

/// The largest answer that is taken: one row of a call's functions is a few hundred bytes.
const MAX_ANSWER: usize = 16 << 20;

/// A session with one server.
pub struct Connection {
    stream: Stream,
    received: BytesMut,
    /// Until when the answer to the present question must be here.
    deadline: Option<Instant>,
    /// It has ended, or what comes next on it is unknown.
    broken: bool,
}

/// A row of an answer.
pub struct Row {
    columns: Vec<(String, Type)>,
    values: Vec<Option<Range<usize>>>,
    buffer: Bytes,
}

/// Why a question has no answer.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    /// The server says so.
    Said {
        code: SqlState,
        error: Error,
    },
    /// Not what this program can do.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Io(e)
    }
}

impl Failure {
    fn of(fields: &mut ErrorFields<'_>) -> Failure {
        let (mut code, mut message, mut detail, mut hint, mut table) = (None, String::new(), None, None, false);
        while let Ok(Some(field)) = fields.next() {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => code = Some(SqlState::from_code(&text())),
                b'M' => message = text(),
                b'D' => detail = Some(text()),
                b'H' => hint = Some(text()),
                b't' => table = true,
                _ => {}
            }
        }
        let code = code.unwrap_or(SqlState::INTERNAL_ERROR);
        let said = Said { code: &code, message: &message, detail: detail.as_deref(), hint: hint.as_deref(), table };
        let error = Error::from(said);
        Failure::Said { code, error }
    }

    /// As everybody is told.
    fn told(self, doing: &str) -> Error {
        match self {
            Failure::Io(e) => super::unreachable(&format!("{doing}{e}")),
            Failure::Said { error, .. } => error,
            Failure::Other(message) => Error::failed(format!("database: {message}")),
        }
    }
}

impl Connection {
    /// Connects to the first host of these settings, its address if it has several in turn, and logs in.
    ///
    /// # Errors
    /// [`crate::Kind::Unreachable`] where there is no answer until then; [`crate::Kind::Permission`] where the server
    /// refuses the login.
    pub(super) fn open(settings: &postgres::Config, deadline: Instant) -> Result<Connection> {
        let opened = Stream::open(settings, deadline).map_err(Failure::Io).and_then(|stream| {
            let mut connection =
                Connection { stream, received: BytesMut::new(), deadline: Some(deadline), broken: true };
            connection.log_in(settings)?;
            connection.broken = false;
            connection.check_role(settings.get_target_session_attrs())?;
            connection.deadline = None;
            Ok(connection)
        });
        opened.map_err(|failure| failure.told("error connecting to server: "))
    }

    /// Whether nothing more can be asked on it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// From now on, how long all statements together may take; None: as long as they want.
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

    /// The row of a function with these arguments. A database that has not been migrated since the last of
    /// them were added is asked with the first `older`: programs and database are upgraded in any order.
    ///
    /// # Errors
    /// As [`Connection::row`].
    pub(super) fn function_row(
        &mut self,
        function: &str,
        args: &[(&(dyn ToSql + Sync), Type)],
        older: usize,
    ) -> Result<Option<Row>> {
        let sql = |count: usize| {
            let arguments: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
            format!("SELECT * FROM {function}({})", arguments.join(", "))
        };
        match self.ask(&sql(args.len()), args) {
            Err(Failure::Said { code, .. }) if code == SqlState::UNDEFINED_FUNCTION => {
                log::warn!("the database has an older {function}: run capconduit db migrate");
                self.row(&sql(older), &args[..older])
            }
            answer => answer.map_err(|failure| failure.told("")),
        }
    }

    fn ask(&mut self, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>, Failure> {
        let mut question = BytesMut::with_capacity(512);
        frontend::parse("", sql, args.iter().map(|(_, sql_type)| sql_type.oid()), &mut question)?;
        let bound = frontend::bind(
            "",
            "",
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
        frontend::describe(b'P', "", &mut question)?;
        frontend::execute("", 0, &mut question)?;
        frontend::sync(&mut question);

        self.broken = true;
        self.send(&question)?;
        let (mut columns, mut row, mut failure) = (Vec::new(), None, None);
        loop {
            let message = match self.receive() {
                Ok(message) => message,
                // a server that ends a session says why first
                Err(closed) => return Err(failure.unwrap_or(closed)),
            };
            match message {
                Message::RowDescription(body) => {
                    let mut fields = body.fields();
                    while let Some(field) = fields.next()? {
                        // no other types are asked for than PostgreSQL's own
                        let sql_type = Type::from_oid(field.type_oid()).unwrap_or(Type::UNKNOWN);
                        columns.push((field.name().to_owned(), sql_type));
                    }
                }
                Message::DataRow(body) => {
                    if row.is_some() {
                        failure = Some(Failure::Other("more than one row".to_owned()));
                    }
                    let values = body.ranges().collect()?;
                    row = Some(Row {
                        columns: std::mem::take(&mut columns),
                        values,
                        buffer: body.buffer_bytes().clone(),
                    });
                }
                Message::ErrorResponse(body) => failure = Some(Failure::of(&mut body.fields())),
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        self.broken = false;
        failure.map_or(Ok(row), Err)
    }

    fn log_in(&mut self, settings: &postgres::Config) -> Result<(), Failure> {
        if matches!(settings.get_ssl_mode(), SslMode::Require) {
            return Err(Failure::Other("error performing TLS handshake: no TLS implementation configured".to_owned()));
        }
        let user = match settings.get_user() {
            Some(user) => user.to_owned(),
            None => whoami::username().map_err(|e| Failure::Io(io::Error::other(e)))?,
        };
        let mut parameters = vec![("client_encoding", "UTF8"), ("user", &user)];
        let named = [
            ("database", settings.get_dbname()),
            ("options", settings.get_options()),
            ("application_name", settings.get_application_name()),
        ];
        parameters.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let mut greeting = BytesMut::new();
        frontend::startup_message(parameters, &mut greeting)?;
        self.send(&greeting)?;

        let password = || {
            settings.get_password().ok_or_else(|| Failure::Other("invalid configuration: password missing".to_owned()))
        };
        let mut scram = None;
        loop {
            let mut answer = BytesMut::new();
            match self.receive()? {
                Message::AuthenticationOk if settings.get_channel_binding() == ChannelBinding::Require => {
                    return Err(Failure::Other("channel binding is required, and needs TLS".to_owned()));
                }
                Message::AuthenticationCleartextPassword => frontend::password_message(password()?, &mut answer)?,
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password()?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut answer)?;
                }
                Message::AuthenticationSasl(body) => {
                    if !body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256))? {
                        return Err(Failure::Other("unsupported authentication method".to_owned()));
                    }
                    let begun = ScramSha256::new(password()?, sasl::ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut answer)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(|| Failure::Other("unexpected message".to_owned()))?;
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut answer)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let scram = scram.as_mut().ok_or_else(|| Failure::Other("unexpected message".to_owned()))?;
                    scram.finish(body.data())?;
                }
                Message::AuthenticationKerberosV5
                | Message::AuthenticationScmCredential
                | Message::AuthenticationGss
                | Message::AuthenticationSspi => {
                    return Err(Failure::Other("unsupported authentication method".to_owned()));
                }
                Message::ErrorResponse(body) => return Err(Failure::of(&mut body.fields())),
                Message::ReadyForQuery(_) => return Ok(()),
                _ => {}
            }
            if !answer.is_empty() {
                self.send(&answer)?;
            }
        }
    }

    /// Refuses a standby where a primary is wanted, and the other way round.
    fn check_role(&mut self, wanted: TargetSessionAttrs) -> Result<(), Failure> {
        if wanted == TargetSessionAttrs::Any {
            return Ok(());
        }
        let row = self.ask("SELECT current_setting('transaction_read_only') = 'on'", &[])?;
        let read_only: bool =
            row.as_ref().and_then(|row| row.decode(0).ok()).ok_or_else(|| Failure::Other("no answer".to_owned()))?;
        match wanted {
            TargetSessionAttrs::ReadWrite if read_only => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "database does not allow writes").into())
            }
            TargetSessionAttrs::ReadOnly if !read_only => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "database is not read only").into())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.bound(self.deadline)?;
        Ok(self.stream.write_all(bytes)?)
    }

    fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            if self.received.len() > MAX_ANSWER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer larger than any").into());
            }
            self.stream.bound(self.deadline)?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed").into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                // time that is up is noticed above
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e.into()),
            }
        }
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

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// There is no such column, or it has another type.
    pub fn try_get<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T> {
        let index = self.columns.iter().position(|(name, _)| name == column);
        let decoded = match index {
            Some(index) => self.decode(index),
            None => Err("there is none".into()),
        };
        decoded.map_err(|e| {
            Error::failed(format!("database: error deserializing column {column}: {e}"))
                .hint("The schema is not this program's: run capconduit db migrate.")
        })
    }

    fn decode<'a, T: FromSql<'a>>(&'a self, index: usize) -> Result<T, Box<dyn std::error::Error + Sync + Send>> {
        let (Some((_, sql_type)), Some(value)) = (self.columns.get(index), self.values.get(index)) else {
            return Err("there is none".into());
        };
        if !T::accepts(sql_type) {
            return Err(format!("it is a {sql_type}").into());
        }
        T::from_sql_nullable(sql_type, value.clone().map(|range| &self.buffer[range]))
    }
}

/// A socket of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn open(settings: &postgres::Config, deadline: Instant) -> io::Result<Stream> {
        let port = settings.get_ports().first().copied().unwrap_or(5432);
        if let Some(address) = settings.get_hostaddrs().first() {
            return Stream::tcp([SocketAddr::new(*address, port)], settings, deadline);
        }
        match settings.get_hosts().first() {
            Some(Host::Unix(folder)) => Stream::unix(&folder.join(format!(".s.PGSQL.{port}")), deadline),
            Some(Host::Tcp(name)) => match name.parse::<IpAddr>() {
                Ok(address) => Stream::tcp([SocketAddr::new(address, port)], settings, deadline),
                Err(_) => Stream::tcp((name.as_str(), port).to_socket_addrs()?, settings, deadline),
            },
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "no host")),
        }
    }

    /// Where too many wait to be let in, connecting itself takes time: it counts.
    fn unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left(Some(deadline))?.unwrap_or_default()))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Stream::Unix(UnixStream::from(socket)))
    }

    fn tcp(
        addresses: impl IntoIterator<Item = SocketAddr>,
        settings: &postgres::Config,
        deadline: Instant,
    ) -> io::Result<Stream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            let left = left(Some(deadline))?.unwrap_or_default();
            let patience = settings.get_connect_timeout().map_or(left, |limit| left.min(*limit));
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    if let Some(limit) = settings.get_tcp_user_timeout() {
                        sockopt::set_tcp_user_timeout(&stream, u32::try_from(limit.as_millis()).unwrap_or(u32::MAX))?;
                    }
                    if settings.get_keepalives() {
                        sockopt::set_socket_keepalive(&stream, true)?;
                        sockopt::set_tcp_keepidle(&stream, settings.get_keepalives_idle())?;
                        if let Some(interval) = settings.get_keepalives_interval() {
                            sockopt::set_tcp_keepintvl(&stream, interval)?;
                        }
                        if let Some(count) = settings.get_keepalives_retries() {
                            sockopt::set_tcp_keepcnt(&stream, count)?;
                        }
                    }
                    return Ok(Stream::Tcp(stream));
                }
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Lets the next read or write end at the deadline.
    fn bound(&self, deadline: Option<Instant>) -> io::Result<()> {
        let left = left(deadline)?;
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
            Stream::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tcp(stream) => stream.set_nonblocking(true),
        }
    }
}

/// How much time there is until a deadline: more than nothing, or an error.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(buffer),
            Stream::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
