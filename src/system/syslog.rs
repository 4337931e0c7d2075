//! The last resort for what must not be lost: the system's log, by its socket.

use std::os::unix::net::UnixDatagram;

/// Facility daemon, severity error (RFC 5424, section 6.2.1).
const DAEMON_ERROR: u8 = 3 * 8 + 3;

/// Writes one line. Where there is no syslog, or it takes nothing, there is nobody left to tell.
pub fn error(program: &str, line: &str) {
    let message = format!("<{DAEMON_ERROR}>{program}[{}]: {line}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        // a full log must not hold up the call
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(message.as_bytes(), "/dev/log");
    }
}
