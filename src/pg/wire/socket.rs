//! The connection that questions go by, plain or encrypted: each step on it ends by a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::config::Host;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::pg::settings::Settings;
use crate::pg::tls;

/// A connection, plain or encrypted.
pub(super) enum Stream {
    Plain(Socket),
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

/// A socket of either kind, whose next step ends by a deadline.
pub(super) struct Socket {
    kind: Kind,
    deadline: Option<Instant>,
}

enum Kind {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn open(settings: &Settings, deadline: Instant) -> io::Result<Stream> {
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

    /// Connecting itself takes time where the server's queue is full: that counts, too.
    fn unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left(Some(deadline))?.unwrap_or_default()))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Stream::plain(Kind::Unix(UnixStream::from(socket)), deadline))
    }

    fn tcp(
        addresses: impl IntoIterator<Item = SocketAddr>,
        settings: &Settings,
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
                    return Ok(Stream::plain(Kind::Tcp(stream), deadline));
                }
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    fn plain(kind: Kind, deadline: Instant) -> Stream {
        Stream::Plain(Socket { kind, deadline: Some(deadline) })
    }

    /// The same, encrypted from now on.
    pub(super) fn encrypted(self, client: Arc<ClientConfig>, server: ServerName<'static>) -> io::Result<Stream> {
        let Stream::Plain(socket) = self else { return Ok(self) };
        let client = ClientConnection::new(client, server).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Stream::Encrypted(Box::new(stream)))
    }

    /// Whether it leads to another machine, as far as can be seen.
    pub(super) fn is_of_a_network(&self) -> bool {
        matches!(self, Stream::Plain(Socket { kind: Kind::Tcp(_), .. }))
    }

    /// What a password may be bound to.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        match self {
            Stream::Plain(_) => None,
            Stream::Encrypted(stream) => tls::end_point(&stream.conn),
        }
    }

    fn socket(&mut self) -> &mut Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Encrypted(stream) => &mut stream.sock,
        }
    }

    /// Lets each read and write from now on end at the deadline.
    pub(super) fn bound(&mut self, deadline: Option<Instant>) {
        self.socket().deadline = deadline;
    }

    pub(super) fn set_nonblocking(&mut self) -> io::Result<()> {
        match &self.socket().kind {
            Kind::Unix(stream) => stream.set_nonblocking(true),
            Kind::Tcp(stream) => stream.set_nonblocking(true),
        }
    }
}

#[cfg(test)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Plain(Socket { kind: Kind::Unix(stream), deadline: None })
    }
}

/// The time left until a deadline; an error where none is left.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A timeout is no reason to try again: it was all the time that was left.
fn in_time(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { e }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = left(self.deadline)?;
        match &mut self.kind {
            Kind::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(buffer)),
            Kind::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(buffer)),
        }
        .map_err(in_time)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = left(self.deadline)?;
        match &mut self.kind {
            Kind::Unix(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(buffer)),
            Kind::Tcp(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(buffer)),
        }
        .map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(buffer),
            Stream::Encrypted(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Encrypted(stream) => stream.flush(),
        }
    }
}
