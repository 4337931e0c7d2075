//! A SIP user agent that does what a test tells it, message by message, and shows every message as it
//! came: for what is to be seen on the wire. (SIPp, in `sip.rs`, is for calls in numbers.)

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long a message that must come is waited for: SIP's own limit for a transaction (64 times T1).
const TRANSACTION: Duration = Duration::from_secs(32);

/// A SIP message.
#[derive(Clone, Debug)]
pub struct Message {
    /// As it came.
    pub text: String,
    /// Where from.
    pub from: SocketAddr,
}

impl Message {
    /// The request line or the status line.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        self.first_line().split_once(' ').map(|(method, _)| method).filter(|method| *method != "SIP/2.0")
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.first_line().strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The URI of a request.
    pub fn uri(&self) -> &str {
        self.first_line().split(' ').nth(1).unwrap_or_default()
    }

    /// All headers of this name, by their full name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
            .collect()
    }

    /// The first header of this name; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_default()
    }

    /// What follows the headers.
    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Lines of its SDP that begin so.
    pub fn sdp(&self, start: &str) -> Vec<&str> {
        self.body().lines().filter(|line| line.starts_with(start)).collect()
    }

    /// The port of the media that its SDP offers or takes.
    pub fn media_port(&self) -> u16 {
        let line = self.sdp("m=audio ").first().copied().unwrap_or_else(|| panic!("no audio: {}", self.text));
        line.split(' ').nth(1).and_then(|port| port.parse().ok()).expect("a port")
    }

    /// The URI in a header such as Contact, without its brackets.
    fn uri_of(&self, header: &str) -> String {
        let value = self.header(header);
        let inner = value.split_once('<').map_or(value, |(_, rest)| rest.split('>').next().unwrap_or_default());
        inner.to_owned()
    }

    fn is_answer_to(&self, call_id: &str, cseq: &str) -> bool {
        self.status().is_some() && self.header("Call-ID") == call_id && self.header("CSeq") == cseq
    }
}

/// One address and port that speaks SIP over UDP.
pub struct Peer {
    socket: UdpSocket,
    /// Where it is.
    pub address: SocketAddr,
    // in the order in which they came; what a test has asked for is taken out
    waiting: RefCell<Vec<Message>>,
    // a repetition is no second message
    known: RefCell<Vec<String>>,
    next: Cell<u32>,
}

impl Peer {
    /// One on a free port of this address.
    pub fn new(ip: &str) -> Peer {
        let socket = UdpSocket::bind((ip, 0)).expect("an address of this machine");
        let address = socket.local_addr().expect("bound");
        Peer { socket, address, waiting: RefCell::default(), known: RefCell::default(), next: Cell::new(1) }
    }

    /// Its contact, for an AOR.
    pub fn contact(&self) -> String {
        format!("sip:{}", self.address)
    }

    /// A word that it has not used yet.
    fn word(&self) -> String {
        let n = self.next.get();
        self.next.set(n + 1);
        format!("{}x{}x{n}", std::process::id(), self.address.port())
    }

    /// Sends lines as a message; they may end in LF alone. Content-Length is added.
    pub fn send(&self, to: SocketAddr, head: &str, body: &str) {
        let head = head.trim_end().replace("\r\n", "\n").replace('\n', "\r\n");
        let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
        let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.socket.send_to(text.as_bytes(), to).expect("sent");
    }

    /// Waits as long for a message that fits.
    pub fn wait(&self, patience: Duration, fits: impl Fn(&Message) -> bool) -> Option<Message> {
        let end = Instant::now() + patience;
        loop {
            let at = self.waiting.borrow().iter().position(&fits);
            if let Some(at) = at {
                return Some(self.waiting.borrow_mut().remove(at));
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a time-out");
            let mut buffer = vec![0; 65_536];
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !self.known.borrow().contains(&text) && !text.trim().is_empty() {
                self.known.borrow_mut().push(text.clone());
                self.waiting.borrow_mut().push(Message { text, from });
            }
        }
    }

    /// The next request of this method, which must come.
    pub fn request(&self, method: &str) -> Message {
        self.wait(TRANSACTION, |message| message.method() == Some(method))
            .unwrap_or_else(|| panic!("no {method} came to {}; but: {:#?}", self.address, self.waiting.borrow()))
    }

    /// Answers a request.
    pub fn respond(&self, request: &Message, status: &str, tag: &str, headers: &str, body: &str) {
        let vias: String = request.headers("Via").iter().map(|via| format!("Via: {via}\n")).collect();
        let to = request.header("To");
        let to = if to.contains("tag=") { to.to_owned() } else { format!("{to};tag={tag}") };
        let head = format!(
            "SIP/2.0 {status}\n{vias}From: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\n{headers}",
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq")
        );
        self.send(request.from, &head, body);
    }
}

/// A call of a peer.
pub struct Dialog<'a> {
    /// Who has it.
    pub peer: &'a Peer,
    server: SocketAddr,
    call_id: String,
    local: String,
    remote: String,
    target: String,
    cseq: Cell<u32>,
    /// The INVITE that began it, where the peer got it.
    pub invite: Option<Message>,
    /// What it was answered with, where the peer began it.
    pub taken: Option<Message>,
    /// Of the last INVITE that it sent.
    branch: RefCell<String>,
}

impl<'a> Dialog<'a> {
    /// Calls a number at a server. More headers end in LF.
    pub fn call(peer: &'a Peer, server: SocketAddr, number: &str, headers: &str, sdp: &str) -> Dialog<'a> {
        let tag = peer.word();
        let default_from = format!("\"Ann\" <sip:12125550147@{}>", peer.address.ip());
        let from = headers.lines().find_map(|line| line.strip_prefix("From: ")).unwrap_or(&default_from);
        let headers: String =
            headers.lines().filter(|line| !line.starts_with("From: ")).map(|line| format!("{line}\n")).collect();
        let dialog = Dialog {
            peer,
            server,
            call_id: peer.word(),
            local: format!("{from};tag={tag}"),
            remote: format!("<sip:{number}@{server}>"),
            target: format!("sip:{number}@{server}"),
            cseq: Cell::new(1),
            invite: None,
            taken: None,
            branch: RefCell::default(),
        };
        dialog.send("INVITE", 1, &format!("{headers}Content-Type: application/sdp\n"), sdp);
        dialog
    }

    /// A request outside of a call.
    pub fn outside(peer: &'a Peer, server: SocketAddr, number: &str) -> Dialog<'a> {
        Dialog {
            peer,
            server,
            call_id: peer.word(),
            local: format!("<sip:12125550147@{}>;tag={}", peer.address.ip(), peer.word()),
            remote: format!("<sip:{number}@{server}>"),
            target: format!("sip:{number}@{server}"),
            cseq: Cell::new(1),
            invite: None,
            taken: None,
            branch: RefCell::default(),
        }
    }

    /// The next call that comes to a peer.
    pub fn offered(peer: &'a Peer) -> Dialog<'a> {
        Dialog::of(peer, peer.request("INVITE"))
    }

    /// The call of this INVITE.
    pub fn of(peer: &'a Peer, invite: Message) -> Dialog<'a> {
        Dialog {
            peer,
            server: invite.from,
            call_id: invite.header("Call-ID").to_owned(),
            local: format!("{};tag={}", invite.header("To"), peer.word()),
            remote: invite.header("From").to_owned(),
            target: invite.uri_of("Contact"),
            cseq: Cell::new(1),
            invite: Some(invite),
            taken: None,
            branch: RefCell::default(),
        }
    }

    /// The INVITE that came.
    pub fn offer(&self) -> &Message {
        self.invite.as_ref().expect("a call that came")
    }

    /// Answers the INVITE that came.
    pub fn reply(&self, status: &str, headers: &str, body: &str) {
        self.answer(self.offer(), status, headers, body);
    }

    /// Answers a request in the call.
    pub fn answer(&self, request: &Message, status: &str, headers: &str, body: &str) {
        let tag = self.local.rsplit_once("tag=").map_or("", |(_, tag)| tag);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        let contact = if headers.contains("Contact:") { String::new() } else { self.contact() };
        self.peer.respond(request, status, tag, &format!("{contact}{headers}{kind}"), body);
    }

    fn contact(&self) -> String {
        format!("Contact: <sip:peer@{}>\n", self.peer.address)
    }

    /// What another INVITE would name to take the place of this side of the call.
    pub fn replaces(&self) -> String {
        let tag = |side: &str| side.rsplit_once("tag=").map_or("", |(_, tag)| tag).to_owned();
        format!("{};to-tag={};from-tag={}", self.call_id, tag(&self.remote), tag(&self.local))
    }

    /// Sends a request in the call, with this number of its sequence.
    pub fn send(&self, method: &str, cseq: u32, headers: &str, body: &str) {
        let branch = self.peer.word();
        if method == "INVITE" {
            *self.branch.borrow_mut() = branch.clone();
        }
        self.send_on(&branch, method, cseq, headers, body);
    }

    /// Sends a request in the call whose answer is to go to another place than it comes from.
    pub fn send_via(&self, via: &str, method: &str, cseq: u32) {
        self.send_from(via, &self.peer.word(), method, cseq, "", "");
    }

    /// The status of a refusal of the INVITE that was sent, where one comes in time.
    pub fn refusal(&self, patience: Duration) -> Option<u16> {
        let is_refusal = |m: &Message| m.is_answer_to(&self.call_id, "1 INVITE") && m.status() >= Some(300);
        let answer = self.peer.wait(patience, is_refusal)?;
        self.acknowledge(1, &answer);
        answer.status()
    }

    /// Acknowledges a final answer to INVITE: a refusal within its transaction, an answer outside of it.
    fn acknowledge(&self, cseq: u32, answer: &Message) {
        let branch = match answer.status() {
            Some(200..=299) => self.peer.word(),
            _ => self.branch.borrow().clone(),
        };
        self.send_on(&branch, "ACK", cseq, "", "");
    }

    fn send_on(&self, branch: &str, method: &str, cseq: u32, headers: &str, body: &str) {
        self.send_from(&self.peer.address.to_string(), branch, method, cseq, headers, body);
    }

    fn send_from(&self, via: &str, branch: &str, method: &str, cseq: u32, headers: &str, body: &str) {
        let contact = if headers.contains("Contact:") { String::new() } else { self.contact() };
        let head = format!(
            "{method} {} SIP/2.0\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{branch}\nMax-Forwards: 70\nFrom: {}\nTo: {}\n\
             Call-ID: {}\nCSeq: {cseq} {method}\n{contact}{headers}",
            self.target, self.local, self.remote, self.call_id,
        );
        self.peer.send(self.server, &head, body);
    }

    /// Sends a request in the call and waits for its final answer; none within SIP's limit is 0.
    pub fn ask(&self, method: &str, headers: &str, body: &str) -> u16 {
        self.cseq.set(self.cseq.get() + 1);
        self.send(method, self.cseq.get(), headers, body);
        self.final_answer(self.cseq.get(), method).and_then(|answer| answer.status()).unwrap_or(0)
    }

    /// The final answer to this request. An INVITE's is acknowledged.
    pub fn final_answer(&self, cseq: u32, method: &str) -> Option<Message> {
        let cseq_header = format!("{cseq} {method}");
        let is_final =
            |m: &Message| m.is_answer_to(&self.call_id, &cseq_header) && m.status().is_some_and(|status| status >= 200);
        let answer = self.peer.wait(TRANSACTION, is_final)?;
        if method == "INVITE" {
            self.acknowledge(cseq, &answer);
        }
        Some(answer)
    }

    /// The first answer to the INVITE that was sent, but for 100; a final one is acknowledged.
    pub fn first_answer(&self) -> Message {
        let is_answer = |m: &Message| m.is_answer_to(&self.call_id, "1 INVITE") && m.status().is_some_and(|s| s > 100);
        let answer = self.peer.wait(TRANSACTION, is_answer).expect("an answer to INVITE");
        if answer.status().is_some_and(|status| status >= 200) {
            self.acknowledge(1, &answer);
        }
        answer
    }

    /// The provisional answer of this status to the INVITE that was sent, where it comes within this time.
    pub fn provisional(&self, status: u16, patience: Duration) -> Option<Message> {
        self.peer.wait(patience, |m| m.is_answer_to(&self.call_id, "1 INVITE") && m.status() == Some(status))
    }

    /// Waits for the call to be answered, acknowledges it and is in it.
    ///
    /// # Panics
    /// It is refused.
    pub fn answered(&mut self) -> Message {
        let cseq = "1 INVITE";
        let is_final =
            |m: &Message| m.is_answer_to(&self.call_id, cseq) && m.status().is_some_and(|status| status >= 200);
        let answer = self.peer.wait(TRANSACTION, is_final).expect("an answer to INVITE");
        self.remote = answer.header("To").to_owned();
        if answer.status() == Some(200) {
            self.target = answer.uri_of("Contact");
        }
        self.acknowledge(1, &answer);
        assert_eq!(answer.status(), Some(200), "{}", answer.text);
        self.taken = Some(answer.clone());
        answer
    }

    /// Enters the early dialog of a provisional answer.
    pub fn enter(&mut self, answer: &Message) {
        self.remote = answer.header("To").to_owned();
        self.target = answer.uri_of("Contact");
    }

    /// The next request has the number after this one.
    pub fn go_on_from(&self, cseq: u32) {
        self.cseq.set(cseq);
    }

    /// Where the server takes this side's media.
    pub fn media(&self) -> SocketAddr {
        let message = self.taken.as_ref().or(self.invite.as_ref()).expect("an offer or an answer of the server");
        SocketAddr::new(self.server.ip(), message.media_port())
    }

    /// Hangs up.
    pub fn hang_up(&self) {
        assert_eq!(self.ask("BYE", "", ""), 200);
    }

    /// Waits for the other side to hang up.
    pub fn ended(&self) -> Message {
        let bye = self
            .peer
            .wait(TRANSACTION, |m| m.method() == Some("BYE") && m.header("Call-ID") == self.call_id)
            .unwrap_or_else(|| panic!("no BYE came for {} to {}", self.call_id, self.peer.address));
        self.answer(&bye, "200 OK", "", "");
        bye
    }
}

/// Where a peer receives media.
pub struct Media {
    socket: UdpSocket,
    sequence: Cell<u16>,
}

/// A packet of RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Payload type.
    pub kind: u8,
    /// What it carries.
    pub payload: Vec<u8>,
    /// Where from.
    pub from: SocketAddr,
}

impl Media {
    /// A free even port of this address.
    pub fn new(ip: &str) -> Media {
        let mut odd = Vec::new();
        loop {
            let socket = UdpSocket::bind((ip, 0)).expect("an address of this machine");
            if socket.local_addr().expect("bound").port().is_multiple_of(2) {
                return Media { socket, sequence: Cell::new(1) };
            }
            odd.push(socket);
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("bound").port()
    }

    /// SDP for these payload types, with more lines of the stream, each ended by LF.
    pub fn sdp(&self, kinds: &str, lines: &str) -> String {
        let at = self.socket.local_addr().expect("bound");
        format!(
            "v=0\no=peer 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {} RTP/AVP {kinds}\n\
             a=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n{lines}",
            at.port(),
            ip = at.ip(),
        )
    }

    /// Sends a packet of 20 ms.
    pub fn send(&self, to: SocketAddr, kind: u8, payload: &[u8]) {
        let n = self.sequence.get();
        self.sequence.set(n.wrapping_add(1));
        let mut packet = vec![0x80, kind];
        packet.extend(n.to_be_bytes());
        packet.extend((u32::from(n) * 160).to_be_bytes());
        packet.extend(u32::from(self.port()).to_be_bytes());
        packet.extend(payload);
        self.socket.send_to(&packet, to).expect("sent");
    }

    /// The next packet that fits, where one comes in time.
    pub fn wait(&self, patience: Duration, fits: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let end = Instant::now() + patience;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a time-out");
            let mut buffer = vec![0; 2048];
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            if length < 12 || buffer[0] & 0xc0 != 0x80 {
                continue;
            }
            let packet = Packet { kind: buffer[1] & 0x7f, payload: buffer[12..length].to_vec(), from };
            if fits(&packet) {
                return Some(packet);
            }
        }
    }
}
