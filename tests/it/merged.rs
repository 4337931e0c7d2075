//! One call that arrives more than once: copies of its INVITE that took different ways, as a forking proxy or a
//! carrier with two routes makes them (RFC 3261, 8.2.2.2).

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::harness::asterisk::{Asterisk, CARRIER};
use crate::harness::sip::{Behaviour, Centre};
use crate::harness::site::{Link, Site};
use crate::harness::wait_for;
use crate::stage::stage;

/// What names a request to a SIP server, and the way it takes.
#[derive(Clone, Debug)]
struct Invite {
    call_id: String,
    tag: &'static str,
    cseq: u32,
    branch: String,
}

impl Invite {
    fn new(call_id: &str, branch: &str) -> Invite {
        Invite { call_id: call_id.to_owned(), tag: "t1", cseq: 1, branch: branch.to_owned() }
    }
}

/// The final answer to a request, and the tag that it gave the call.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    to_tag: String,
}

/// A carrier that sends exactly what it is told to.
struct Carrier<'a> {
    socket: UdpSocket,
    own: String,
    server: String,
    did: &'a str,
}

impl Carrier<'_> {
    fn of<'a>(asterisk: &Asterisk, site: &'a Site) -> Carrier<'a> {
        let socket = UdpSocket::bind((CARRIER, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        let own = socket.local_addr().expect("an address").to_string();
        Carrier { socket, own, server: format!("127.0.0.1:{}", asterisk.sip_port), did: &site.did }
    }

    fn send(&self, method: &str, invite: &Invite, branch: &str, to_tag: &str) {
        let Carrier { own, server, did, .. } = self;
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {CARRIER}\r\ns=-\r\nc=IN IP4 {CARRIER}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
        );
        let body = if method == "INVITE" { sdp.as_str() } else { "" };
        let cseq = if method == "BYE" { invite.cseq + 1 } else { invite.cseq };
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
    fn call(&self, invites: &[Invite]) -> Vec<Answer> {
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
            answers.insert(invite.branch.clone(), Answer { status, to_tag });
        }
        invites.iter().map(|invite| answers[&invite.branch].clone()).collect()
    }

    /// Hangs up a call that was answered.
    fn hang_up(&self, invite: &Invite, answer: &Answer) {
        self.send("BYE", invite, &format!("{}bye", invite.branch), &answer.to_tag);
    }

    /// Places these at once, hangs up those that are answered, and returns the statuses in ascending order.
    fn place(&self, invites: &[Invite]) -> Vec<u16> {
        let answers = self.call(invites);
        for (invite, answer) in invites.iter().zip(&answers).filter(|(_, answer)| answer.status == 200) {
            self.hang_up(invite, answer);
        }
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        statuses
    }
}

#[test]
fn of_copies_that_come_at_once_one_is_the_call() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for (asterisk, server) in [(&stage.ringing, "r"), (&stage.early, "e")] {
        let site = stage.in_order(&[centre.contact()]);
        let carrier = Carrier::of(asterisk, &site);
        for n in 1..=8 {
            let copies =
                ["a", "b", "c"].map(|way| Invite::new(&format!("once-{server}{n}"), &format!("{server}{n}{way}")));
            assert_eq!(carrier.place(&copies), [200, 482, 482]);
            assert_eq!(site.wait_for_records(n, "1").len(), n);
        }
        let log = asterisk.log();
        let said = format!("a call to {} that is up came once more", site.did);
        assert_eq!(log.lines().filter(|line| line.contains(&said)).count(), 16, "{log}");
        wait_for("all calls to be over", || site.open_attempts() == 0);
        assert_eq!(site.records("1").len(), 8);
        // a caller who was answered before he rang may have gone before a client was chosen
        assert!((1..=8).contains(&site.attempts("1").len()));
    }
    assert!((8..=16).contains(&centre.calls()), "{}", centre.calls());
}

#[test]
fn a_copy_that_comes_while_the_call_is_up_is_refused_and_the_call_goes_on() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for asterisk in [&stage.ringing, &stage.early] {
        let site = stage.site("priority", 20, &[Link { total_calls_allowed: Some(1), ..Link::to(centre.contact()) }]);
        let carrier = Carrier::of(asterisk, &site);
        // a name that means something to whoever takes it for more than bytes
        let first = Invite::new("${SHELL(id)},\"'|@)}{(;x=1&y", &format!("{}1", site.user));
        let answer = carrier.call(std::slice::from_ref(&first)).remove(0);
        assert_eq!(answer.status, 200);
        wait_for("the client to answer", || centre.peak_and_now().1 == 1);
        for way in 2..4 {
            let copy = Invite { branch: format!("{}{way}", site.user), ..first.clone() };
            assert_eq!(carrier.place(&[copy]), [482]);
        }
        assert_eq!((centre.peak_and_now().1, site.open_attempts()), (1, 1));
        carrier.hang_up(&first, &answer);
        assert_eq!(site.wait_for_records(1, "call_status"), ["ANSWERED"]);
        wait_for("the client to be told", || centre.peak_and_now().1 == 0);
        assert_eq!((site.records("1").len(), site.counts()), (1, vec![1]));
    }
}

#[test]
fn what_differs_in_more_than_its_way_is_another_call() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let carrier = Carrier::of(&stage.ringing, &site);
    let one = Invite::new("other", "o1");
    let others = [
        one.clone(),
        Invite { tag: "t2", branch: "o2".into(), ..one.clone() },
        Invite { cseq: 2, branch: "o3".into(), ..one.clone() },
        Invite { call_id: "OTHER".into(), branch: "o4".into(), ..one },
    ];
    assert_eq!(carrier.place(&others), [200; 4]);
    assert_eq!(site.wait_for_records(4, "call_status"), ["ANSWERED"; 4]);
    assert_eq!(centre.calls(), 4);
}

/// A proxy that tries its routes one after the other, on each the same request.
#[test]
fn a_call_that_is_tried_again_after_it_failed_is_a_new_call() {
    let (stage, _turn) = stage();
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    let site = stage.in_order(&[busy.contact()]);
    let carrier = Carrier::of(&stage.ringing, &site);
    for way in 1..=20 {
        assert_eq!(carrier.place(&[Invite::new("again", &format!("again{way}"))]), [486]);
    }
    assert_eq!(site.wait_for_records(20, "call_status"), ["BUSY"; 20]);
    assert_eq!(busy.calls(), 20);
}
