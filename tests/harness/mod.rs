//! Private servers for the tests and the demo: PostgreSQL, PgBouncer, Asterisk, and SIPp as carrier
//! and call centres. All on free loopback ports, in temporary folders, gone with this process.

#![allow(dead_code, unreachable_pub, reason = "one harness for two programs, each of which uses a part of it")]

pub mod agi;
pub mod asterisk;
pub mod certificate;
pub mod peer;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod sip;
pub mod site;
pub mod ua;

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program of this build: `capconduit`, `cc-route`, `cdr_logger`. Tests lie in
/// `target/PROFILE/deps`, the demo in `target/PROFILE/examples`.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let path = own.ancestors().nth(2).expect("target/PROFILE").join(name);
    assert!(path.is_file(), "{} is missing: cargo build --bins", path.display());
    path
}

/// A port that is free for both TCP and UDP on an address of this machine.
pub fn free_port(address: &str) -> u16 {
    for _ in 0..100 {
        let Ok(tcp) = TcpListener::bind((address, 0)) else { continue };
        let port = tcp.local_addr().expect("bound").port();
        // SIPp and Asterisk take a port or two above for themselves
        if port < 60_000 && UdpSocket::bind((address, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on {address}");
}

/// Waits until `condition` holds; `what` says what was waited for when it never does.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_for_secs(20, what, condition);
}

/// Does something when it is dropped, also by a panic: what other threads wait for comes where the test fails, too.
pub struct OnDrop<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// [`wait_for`] with another patience.
pub fn wait_for_secs(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}
