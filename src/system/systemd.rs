//! What systemd and a service say to each other: the socket it hands over (sd_listen_fds(3)) and how
//! the service is (sd_notify(3)). Without systemd nothing is handed over and nobody listens.

use std::env;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use listenfd::ListenFd;

use crate::{Error, Result};

/// The TCP socket that this service was started with; None where it has to open one itself.
///
/// # Errors
/// What was handed over is no TCP socket, or there are several.
pub fn listener() -> Result<Option<TcpListener>> {
    let mut handed_over = ListenFd::from_env();
    match handed_over.len() {
        0 => Ok(None),
        1 => handed_over.take_tcp_listener(0).map_err(|e| {
            Error::invalid(format!("the socket that systemd handed over cannot be used: {e}"))
                .hint("The socket unit must have one ListenStream=ADDRESS:PORT.")
        }),
        n => Err(Error::invalid(format!("systemd handed over {n} sockets: one is served"))
            .hint("Leave one ListenStream= in the socket unit.")),
    }
}

/// Tells systemd a state: `READY=1`, `STOPPING=1`, `WATCHDOG=1`.
pub fn notify(state: &str) {
    let Ok(name) = env::var("NOTIFY_SOCKET") else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        // a systemd that does not listen ends the service, which is its affair
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}
