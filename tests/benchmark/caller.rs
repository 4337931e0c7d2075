//! A carrier that places calls at a steady rate and notes when it is answered, to the microsecond:
//! SIPp's clock ticks in steps of 4 ms, which is as long as a call through a bare Asterisk takes.
//!
//! One UDP socket, one thread. As much of SIP as this takes, its repetitions included.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::figures::milliseconds;
use crate::harness::asterisk::{Asterisk, CARRIER};

/// RFC 3261's T1: a request without an answer is sent again after this time, then after twice the time.
const T1: Duration = Duration::from_millis(500);
/// How long after the last call was placed an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(32);

/// Calls to place.
pub(crate) struct Load<'a> {
    pub(crate) number: &'a str,
    pub(crate) per_second: f64,
    pub(crate) count: usize,
    /// Stop when more than so many calls were not answered within so long: what is left undone is
    /// then for Asterisk's restart to end.
    pub(crate) late: Option<(usize, Duration)>,
}

/// What became of them.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Milliseconds from the first INVITE to 180 or 183.
    pub(crate) ringing: Vec<f64>,
    /// Milliseconds from the first INVITE to 200.
    pub(crate) answered: Vec<f64>,
    /// The SIP status of the others that got one.
    pub(crate) refused: Vec<u16>,
    /// Too many were late.
    pub(crate) stopped: bool,
}

#[derive(PartialEq)]
enum State {
    Inviting,
    Leaving,
    Over,
}

struct Call {
    state: State,
    placed: Instant,
    rung: bool,
    to: String,
    /// When something is to be done about it, and the next repetition's distance.
    due: Option<Instant>,
    interval: Duration,
}

impl Load<'_> {
    /// Places the calls; returns when all are over, or nobody has answered for long.
    pub(crate) fn place(&self, asterisk: &Asterisk) -> Outcome {
        let server = SocketAddr::from(([127, 0, 0, 1], asterisk.sip_port));
        let socket = UdpSocket::bind((CARRIER, 0)).expect("a free port");
        socket.connect(server).expect("loopback");
        let own = socket.local_addr().expect("bound");
        let mut carrier = Carrier {
            load: self,
            socket,
            own,
            server,
            calls: Vec::new(),
            due: BinaryHeap::new(),
            judged: 0,
            late: 0,
            outcome: Outcome::default(),
        };
        carrier.run();
        carrier.outcome
    }
}

struct Carrier<'a> {
    load: &'a Load<'a>,
    socket: UdpSocket,
    own: SocketAddr,
    server: SocketAddr,
    calls: Vec<Call>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Calls whose time to be answered is up, and how many of them were not.
    judged: usize,
    late: usize,
    outcome: Outcome,
}

impl Carrier<'_> {
    fn run(&mut self) {
        let begun = Instant::now();
        let at = |n: usize| begun + Duration::from_secs_f64(n as f64 / self.load.per_second);
        let end = at(self.load.count) + PATIENCE;
        let mut buffer = [0; 8192];
        loop {
            let now = Instant::now();
            let all_placed = self.calls.len() == self.load.count;
            if now > end || all_placed && self.calls.iter().all(|call| call.state == State::Over) {
                return;
            }
            if self.too_late(now) {
                self.outcome.stopped = true;
                return;
            }
            if !all_placed && at(self.calls.len()) <= now {
                self.invite();
                continue;
            }
            if let Some(&Reverse((due, index))) = self.due.peek().filter(|Reverse((due, _))| *due <= now) {
                self.due.pop();
                if self.calls[index].due == Some(due) {
                    self.act(index);
                }
                continue;
            }
            let next = self.due.peek().map_or(end, |Reverse((due, _))| *due);
            let next = if all_placed { next } else { next.min(at(self.calls.len())) };
            let wait =
                next.saturating_duration_since(now).clamp(Duration::from_micros(100), Duration::from_millis(100));
            self.socket.set_read_timeout(Some(wait)).expect("a socket");
            // a refused datagram is repeated like a lost one
            if let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.receive(&text);
            }
        }
    }

    /// Whether more calls than allowed had no answer in time.
    fn too_late(&mut self, now: Instant) -> bool {
        let Some((allowed, time)) = self.load.late else { return false };
        while let Some(call) = self.calls.get(self.judged).filter(|call| call.placed + time <= now) {
            self.late += usize::from(call.state == State::Inviting);
            self.judged += 1;
        }
        self.late + self.outcome.refused.len() > allowed
    }

    /// Says when a call is to be looked at again.
    fn again(&mut self, index: usize, after: Option<Duration>) {
        let due = after.map(|after| Instant::now() + after);
        self.calls[index].due = due;
        self.due.extend(due.map(|due| Reverse((due, index))));
    }

    fn invite(&mut self) {
        let index = self.calls.len();
        let to = format!("<sip:{}@{}>", self.load.number, self.server);
        let call = Call { state: State::Inviting, placed: Instant::now(), rung: false, to, due: None, interval: T1 };
        self.calls.push(call);
        self.send("INVITE", index);
        self.again(index, Some(T1));
    }

    /// Its time has come: repeat what was not answered, or hang up.
    fn act(&mut self, index: usize) {
        let call = &mut self.calls[index];
        let method = match call.state {
            State::Inviting => "INVITE",
            State::Leaving => "BYE",
            State::Over => return,
        };
        let interval = call.interval;
        call.interval *= 2;
        self.send(method, index);
        self.again(index, Some(interval));
    }

    fn receive(&mut self, text: &str) {
        let header = |name: &str| {
            let line = text.lines().find(|l| l.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)));
            line.and_then(|l| l.split_once(':')).map_or("", |(_, value)| value.trim())
        };
        let index = header("Call-ID:").split('@').next().and_then(|n| n.parse::<usize>().ok());
        let Some(index) = index.filter(|&i| i < self.calls.len()) else { return };
        let Some(status) = text.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)).and_then(|t| t.parse::<u16>().ok())
        else {
            return self.oblige(text, index);
        };
        let to = header("To:").to_owned();
        let elapsed = milliseconds(self.calls[index].placed.elapsed());
        let call = &mut self.calls[index];
        match (header("CSeq:").split_whitespace().nth(1), status) {
            (Some("INVITE"), 100..200) if call.state == State::Inviting => {
                if status > 100 && !call.rung {
                    call.rung = true;
                    self.outcome.ringing.push(elapsed);
                }
                self.again(index, None);
            }
            (Some("INVITE"), 200..300) => {
                call.to = to;
                let first = call.state == State::Inviting;
                self.send("ACK", index);
                if first {
                    self.outcome.answered.push(elapsed);
                    // a call of no length: its record is written at once
                    let call = &mut self.calls[index];
                    (call.state, call.interval) = (State::Leaving, T1);
                    self.act(index);
                }
            }
            (Some("INVITE"), 300..) => {
                call.to = to;
                if call.state == State::Inviting {
                    call.state = State::Over;
                    self.outcome.refused.push(status);
                }
                // the ACK of a refusal belongs to the INVITE's transaction
                self.request("ACK", index, "INVITE");
            }
            (Some("BYE"), 200..) => call.state = State::Over,
            _ => {}
        }
    }

    /// A request of the other side: there is nothing to be said against it.
    fn oblige(&mut self, text: &str, index: usize) {
        let repeated = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let mut response = "SIP/2.0 200 OK\r\n".to_owned();
        for line in text.lines().filter(|l| repeated.iter().any(|name| l.starts_with(name))) {
            let _ = write!(response, "{line}\r\n");
        }
        response.push_str("Content-Length: 0\r\n\r\n");
        let _ = self.socket.send(response.as_bytes());
        if text.starts_with("BYE") {
            self.calls[index].state = State::Over;
        }
    }

    fn send(&self, method: &str, index: usize) {
        self.request(method, index, method);
    }

    fn request(&self, method: &str, index: usize, transaction: &str) {
        let Carrier { own, server, .. } = self;
        let (to, port) = (&self.calls[index].to, own.port());
        let target = format!("sip:{}@{server}", self.load.number);
        let number = if method == "BYE" { 2 } else { 1 };
        let body = if method == "INVITE" {
            "v=0\r\no=bench 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
        } else {
            ""
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{port}-{index}-{transaction}\r\n\
             From: <sip:12125550147@{own}>;tag={port}-{index}\r\nTo: {to}\r\nCall-ID: {index}@{own}\r\n\
             CSeq: {number} {method}\r\nContact: <sip:bench@{own}>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // what the network does not take is repeated
        let _ = self.socket.send(text.as_bytes());
    }
}
