//! A carrier that sends exactly what it is told to, where SIPp's scenarios know one request at a time.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::asterisk::{Asterisk, CARRIER};

/// What names a request to a SIP server, and the way it takes.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Call-ID
    pub call_id: String,
    /// The tag of From.
    pub tag: &'static str,
    /// CSeq
    pub cseq: u32,
    /// The branch of Via, without its cookie.
    pub branch: String,
}

impl Invite {
    /// A request of a call.
    pub fn new(call_id: &str, branch: &str) -> Invite {
        Invite { call_id: call_id.to_owned(), tag: "t1", cseq: 1, branch: branch.to_owned() }
    }
}

/// The final answer to a request, and the tag that it gave the call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The SIP status.
    pub status: u16,
    to_tag: String,
    /// Where it takes media, as its SDP says; 0 without one.
    media_port: u16,
}

/// A carrier that sends exactly what it is told to.
pub struct Carrier<'a> {
    socket: UdpSocket,
    media: UdpSocket,
    own: String,
    server: String,
    did: &'a str,
}

impl Carrier<'_> {
    /// One that dials a number of this server.
    pub fn of<'a>(asterisk: &Asterisk, did: &'a str) -> Carrier<'a> {
        let socket = UdpSocket::bind((CARRIER, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        let media = UdpSocket::bind((CARRIER, 0)).expect("a port");
        let own = socket.local_addr().expect("an address").to_string();
        Carrier { socket, media, own, server: format!("127.0.0.1:{}", asterisk.sip_port), did }
    }

    fn send(&self, method: &str, invite: &Invite, branch: &str, to_tag: &str) {
        let Carrier { own, server, did, .. } = self;
        let port = self.media.local_addr().expect("an address").port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {CARRIER}\r\ns=-\r\nc=IN IP4 {CARRIER}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        let body = if method == "INVITE" { sdp.as_str() } else { "" };
        let cseq = if method == "BYE" { invite.cseq + 2 } else { invite.cseq };
        let message = format!(
            "{method} sip:{did}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{branch}\r\n\
             From: <sip:12125550147@{own}>;tag={}\r\nTo: <sip:{did}@{server}>{to_tag}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:c@{own}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            invite.tag,
            invite.call_id,
            body.len()
        );
        self.socket.send_to(message.as_bytes(), server).expect("sent");
    }

    /// Sends these at once and waits for the final answer to each, in their order.
    pub fn call(&self, invites: &[Invite]) -> Vec<Answer> {
        for invite in invites {
            self.send("INVITE", invite, &invite.branch, "");
        }
        let (mut answers, mut buffer) = (BTreeMap::new(), [0; 4000]);
        let late = Instant::now() + Duration::from_secs(60);
        while answers.len() < invites.len() {
            assert!(Instant::now() < late, "{answers:?} is not an answer to each of {invites:?}");
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            let status: u16 = text.get(8..11).and_then(|code| code.parse().ok()).unwrap_or(0);
            let way = line("Via:").split(';').find_map(|part| part.trim().strip_prefix("branch=z9hG4bK"));
            let Some(invite) = invites.iter().find(|invite| Some(invite.branch.as_str()) == way) else { continue };
            if status < 200 || !line("CSeq:").ends_with("INVITE") {
                continue;
            }
            let to_tag = line("To:").split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap_or_default();
            let branch = if status < 300 { format!("{}ack", invite.branch) } else { invite.branch.clone() };
            self.send("ACK", invite, &branch, &to_tag);
            let media_port = line("m=audio ").split(' ').nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
            answers.insert(invite.branch.clone(), Answer { status, to_tag, media_port });
        }
        invites.iter().map(|invite| answers[&invite.branch].clone()).collect()
    }

    /// Hangs up a call that was answered.
    pub fn hang_up(&self, invite: &Invite, answer: &Answer) {
        self.send("BYE", invite, &format!("{}bye", invite.branch), &answer.to_tag);
    }

    /// Places these at once, hangs up those that are answered, and returns the statuses in ascending order.
    pub fn place(&self, invites: &[Invite]) -> Vec<u16> {
        let answers = self.call(invites);
        for (invite, answer) in invites.iter().zip(&answers).filter(|(_, answer)| answer.status == 200) {
            self.hang_up(invite, answer);
        }
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        statuses
    }

    /// Talks: sends media until `enough`.
    pub fn talk(&self, answer: &Answer, mut enough: impl FnMut() -> bool) {
        for sequence in 0_u16.. {
            if enough() {
                return;
            }
            let stamp = (u32::from(sequence) * 160).to_be_bytes();
            let head = [&[0x80, 0][..], &sequence.to_be_bytes(), &stamp, b"talk"].concat();
            let packet = [&head[..], &[0x55; 160]].concat();
            self.media.send_to(&packet, ("127.0.0.1", answer.media_port)).expect("sent");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks for a transfer of the call to another number: the SIP status of the answer.
    pub fn refer(&self, invite: &Invite, answer: &Answer, to: &str) -> u16 {
        let Carrier { own, server, did, .. } = self;
        let message = format!(
            "REFER sip:{did}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{}refer\r\n\
             From: <sip:12125550147@{own}>;tag={}\r\nTo: <sip:{did}@{server}>{}\r\nCall-ID: {}\r\nCSeq: {} REFER\r\n\
             Contact: <sip:c@{own}>\r\nMax-Forwards: 70\r\nRefer-To: <sip:{to}@{server}>\r\nContent-Length: 0\r\n\r\n",
            invite.branch,
            invite.tag,
            answer.to_tag,
            invite.call_id,
            invite.cseq + 1
        );
        self.socket.send_to(message.as_bytes(), server).expect("sent");
        let (mut buffer, late) = ([0; 4000], Instant::now() + Duration::from_secs(20));
        loop {
            assert!(Instant::now() < late, "no answer to REFER");
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("SIP/2.0 ")
                && text.lines().any(|line| line.starts_with("CSeq:") && line.ends_with("REFER"))
            {
                return text.get(8..11).and_then(|code| code.parse().ok()).unwrap_or(0);
            }
        }
    }
}
