//! A socket of either kind, each step on which ends by a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use postgres::config::Host;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// A socket of either kind.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn open(settings: &postgres::Config, deadline: Instant) -> io::Result<Stream> {
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
    pub(super) fn bound(&self, deadline: Option<Instant>) -> io::Result<()> {
        let left = left(deadline)?;
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
            Stream::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
        }
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
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
