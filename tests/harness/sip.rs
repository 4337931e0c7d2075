//! SIPp as the call centres that receive calls and as the carrier that sends them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::asterisk::{Asterisk, CARRIER};
use super::process::{self, Server};
use super::{free_port, wait_for};

/// How a call centre treats a call.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Rings, answers, and talks until the caller hangs up.
    Answer {
        /// Milliseconds of ringing.
        ring: u32,
    },
    /// Rings, answers, talks and hangs up.
    AnswerAndHangUp {
        /// Milliseconds of ringing.
        ring: u32,
        /// Milliseconds of talk.
        talk: u32,
    },
    /// Answers at once with this SDP, or without any where it is empty, and talks until the caller hangs up.
    AnswerWith(&'static str),
    /// Brings its audio with 183, and answers without any of it, as it need not be said again.
    AnswerAfterProgress,
    /// Refuses with this SIP status at once.
    Refuse(u16, &'static str),
    /// Redirects the call to this port of 127.0.0.1.
    Redirect(u16),
    /// Rings for ever.
    Ring,
}

/// A call centre: one SIPp process.
pub struct Centre {
    server: Server,
    /// Where it takes calls.
    pub port: u16,
}

/// What a SIP response repeats of its request.
const REPEATED: &str = "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]t[call_number]\n[last_Call-ID:]\n";
const SDP: &str = "v=0\no=sipp 1 1 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
                   m=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n";
const LENGTH_0: &str = "Content-Length: 0\n\n";

fn send(text: &str) -> String {
    format!("<send><![CDATA[\n{text}\n]]></send>\n")
}

/// A message that is repeated until it is answered.
fn send_until_answered(text: &str) -> String {
    format!("<send retrans=\"500\"><![CDATA[\n{text}\n]]></send>\n")
}

fn log(message: &str) -> String {
    format!("<action><log message=\"{message}\"/></action>")
}

fn respond(status: &str, extra: &str) -> String {
    format!("SIP/2.0 {status}\n{REPEATED}{extra}")
}

impl Behaviour {
    /// `patience`: for how many milliseconds it waits for its peer, which may be gone; None: for ever.
    fn scenario(self, patience: Option<u32>) -> String {
        let wait = patience.map_or(String::new(), |ms| format!(" timeout=\"{ms}\" ontimeout=\"3\""));
        let header = |name: &str, variable: u8| {
            format!("<ereg regexp=\".*\" search_in=\"hdr\" header=\"{name}:\" assign_to=\"{variable}\"/>")
        };
        // `+` and `-` in the log, in the order in which this process saw calls begin and end
        let invite = format!(
            "<recv request=\"INVITE\"><action><log message=\"+\"/>{}{}<ereg regexp=\"sip:[^>]*\" search_in=\"hdr\" \
             header=\"Contact:\" assign_to=\"3\"/></action></recv>\n<Reference variables=\"1,2,3\"/>\n",
            header("From", 1),
            header("To", 2)
        );
        let cseq = "[last_CSeq:]\n";
        let contact = "Contact: <sip:[local_ip]:[local_port]>\n";
        let ringing = send(&respond("180 Ringing", &format!("{cseq}{contact}{LENGTH_0}")));
        let with = |sdp: &str| match sdp {
            "" => LENGTH_0.to_owned(),
            _ => format!("Content-Type: application/sdp\nContent-Length: [len]\n\n{sdp}"),
        };
        let sdp = match self {
            Behaviour::AnswerWith(sdp) => sdp,
            Behaviour::AnswerAfterProgress => "",
            _ => SDP,
        };
        let progress = send(&respond("183 Session Progress", &format!("{cseq}{contact}{}", with(SDP))));
        let answer = send(&respond("200 OK", &format!("CSeq: [cseq] INVITE\n{contact}{}", with(sdp))));
        let ended = format!("<recv request=\"BYE\"{wait}>{}</recv>\n", log("-"));
        let goodbye = send(&respond("200 OK", &format!("{cseq}{LENGTH_0}")));
        let cancelled = format!(
            "{}{}<recv request=\"ACK\" next=\"2\"/>\n",
            send(&respond("200 OK", &format!("{cseq}{LENGTH_0}"))),
            send(&respond("487 Request Terminated", &format!("CSeq: [cseq] INVITE\n{LENGTH_0}"))),
        );
        // Ringing is waiting for a CANCEL that need not come. Without ringing there is no such
        // wait.
        let ring = |milliseconds: Option<u32>| {
            let timeout = match milliseconds {
                Some(0) => return ringing.clone(),
                Some(ms) => format!(" timeout=\"{ms}\" ontimeout=\"1\""),
                None => wait.clone(),
            };
            format!("{ringing}<recv request=\"CANCEL\"{timeout}>{}</recv>\n{cancelled}", log("-"))
        };
        // A loaded Asterisk may repeat its INVITE before it gets to read our answer, and a CANCEL may cross that.
        let answered = format!(
            "<label id=\"1\"/>\n{}<label id=\"7\"/>\n{}<label id=\"4\"/>\n\
             <recv request=\"INVITE\" optional=\"true\" next=\"4\"{wait}/>\n\
             <recv request=\"CANCEL\" optional=\"true\" next=\"7\"{wait}/>\n<recv request=\"ACK\"{wait}/>\n",
            answer.replacen("<send>", "<send next=\"4\">", 1),
            send(&respond("200 OK", &format!("{cseq}{LENGTH_0}")))
        );
        // its peer is gone
        let end = format!("<nop next=\"2\"/>\n<label id=\"3\"/>\n<nop>{}</nop>\n<label id=\"2\"/>\n", log("-"));
        let refused = |status: &str, contact: &str| {
            let response = send(&respond(status, &format!("{cseq}{contact}{LENGTH_0}")));
            format!("{invite}<nop>{}</nop>\n{response}<recv request=\"ACK\"/>\n", log("-"))
        };
        let body = match self {
            Behaviour::Answer { ring: ms } => {
                format!("{invite}{}{answered}{ended}{goodbye}{end}", ring(Some(ms)))
            }
            Behaviour::AnswerWith(_) => format!("{invite}{answered}{ended}{goodbye}{end}"),
            Behaviour::AnswerAfterProgress => format!("{invite}{progress}{answered}{ended}{goodbye}{end}"),
            Behaviour::AnswerAndHangUp { ring: ms, talk } => {
                let bye = send_until_answered(&format!(
                    "BYE [$3] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
                     From:[$2];tag=[pid]t[call_number]\nTo:[$1]\nCall-ID: [call_id]\nCSeq: 1 BYE\nMax-Forwards: 70\n{LENGTH_0}"
                ));
                // the caller may hang up before
                format!(
                    "{invite}{}{answered}<recv request=\"BYE\" timeout=\"{talk}\" ontimeout=\"5\">{1}</recv>\n{goodbye}\
                     <nop next=\"2\"/>\n<label id=\"5\"/>\n<nop>{1}</nop>\n{bye}<recv response=\"200\" next=\"2\"/>\n{end}",
                    ring(Some(ms)),
                    log("-")
                )
            }
            Behaviour::Ring => format!("{invite}{}{end}", ring(None)),
            Behaviour::Refuse(status, text) => refused(&format!("{status} {text}"), ""),
            Behaviour::Redirect(port) => {
                refused("302 Moved Temporarily", &format!("Contact: <sip:elsewhere@127.0.0.1:{port}>\n"))
            }
        };
        format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<scenario name=\"centre\">\n{body}</scenario>\n")
    }
}

impl Centre {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Centre {
        Centre::start_at("127.0.0.1", free_port("127.0.0.1"), behaviour)
    }

    /// Starts one on a free port of 127.0.0.1 that ends a call by itself where its peer says nothing for so long.
    pub fn start_with_patience(behaviour: Behaviour, milliseconds: u32) -> Centre {
        Centre::start_on("127.0.0.1", free_port("127.0.0.1"), behaviour, Some(milliseconds))
    }

    /// Starts one on this address and port.
    pub fn start_at(address: &str, port: u16, behaviour: Behaviour) -> Centre {
        Centre::start_on(address, port, behaviour, None)
    }

    fn start_on(address: &str, port: u16, behaviour: Behaviour, patience: Option<u32>) -> Centre {
        let dir = process::temporary_folder();
        let scenario = dir.join("scenario.xml");
        std::fs::write(&scenario, behaviour.scenario(patience)).expect("own folder");
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(&scenario).args(["-i", address, "-p", &port.to_string()]);
        command.args(["-nostdin", "-aa", "-trace_logs", "-log_file"]).arg(dir.join("log"));
        // A request that comes before its turn is repeated; to abort the call would lose its end.
        command.args(["-default_behaviors", "all,-abortunexp"]);
        command.args(["-trace_err", "-error_file"]).arg(dir.join("errors"));
        let server = Server::start(&command, &dir, "KILL");
        // looked up, not tried: a try would take the port from it
        let host = address.parse::<std::net::Ipv4Addr>().expect("an IPv4 address");
        let listening = format!("{:08X}:{port:04X}", u32::from_le_bytes(host.octets()));
        wait_for("SIPp to listen", || std::fs::read_to_string("/proc/net/udp").is_ok_and(|t| t.contains(&listening)));
        Centre { server, port }
    }

    /// The contact of its AOR.
    pub fn contact(&self) -> String {
        format!("sip:127.0.0.1:{}", self.port)
    }

    fn events(&self) -> String {
        std::fs::read_to_string(self.server.dir.join("log")).unwrap_or_default()
    }

    /// How many calls it has been offered.
    pub fn calls(&self) -> usize {
        self.events().lines().filter(|line| line.trim() == "+").count()
    }

    /// How many calls it saw at once at most, and how many there are now.
    pub fn peak_and_now(&self) -> (i32, i32) {
        self.events().lines().fold((0, 0), |(peak, now), line| {
            let now = now
                + match line.trim() {
                    "+" => 1,
                    "-" => -1,
                    _ => 0,
                };
            (peak.max(now), now)
        })
    }

    /// What SIPp complained about.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.server.dir.join("errors")).unwrap_or_default()
    }
}

/// What a caller does once the call is made.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Talks for these milliseconds and hangs up.
    HangUpAfter(u32),
    /// Waits for the other side to hang up.
    WaitForEnd,
    /// Gives up these milliseconds after dialling, if nobody has answered.
    GiveUpAfter(u32),
}

/// Calls to place through an Asterisk.
pub struct Calls<'a> {
    /// The number, as the carrier sends it; or the whole URI that it calls.
    pub did: &'a str,
    /// The user part of From.
    pub number: &'a str,
    /// The display name of From as it stands in the header: quoted where it must be.
    pub name: &'a [u8],
    /// What the callers do.
    pub then: Then,
    /// How many calls.
    pub count: u32,
    /// How many of them a second; they overlap.
    pub per_second: u32,
}

impl Default for Calls<'_> {
    fn default() -> Self {
        Calls { did: "", number: "12125550147", name: b"", then: Then::HangUpAfter(100), count: 1, per_second: 1000 }
    }
}

/// Calls under way.
pub struct Calling {
    child: std::process::Child,
    dir: PathBuf,
}

impl Calls<'_> {
    /// Places the calls and waits for their end. Returns the final SIP status of each, in the order
    /// in which they came.
    pub fn place(&self, asterisk: &Asterisk) -> Vec<u16> {
        self.start(asterisk).finish()
    }

    /// Starts placing the calls.
    pub fn start(&self, asterisk: &Asterisk) -> Calling {
        self.start_between(CARRIER, &format!("127.0.0.1:{}", asterisk.sip_port))
    }

    /// Starts placing them from an address of this machine to a server's address and port.
    pub fn start_between(&self, carrier: &str, server: &str) -> Calling {
        let dir = process::temporary_folder();
        let scenario = dir.join("scenario.xml");
        std::fs::write(&scenario, self.scenario()).expect("own folder");
        let errors = std::fs::File::create(dir.join("out")).expect("own folder");
        let child = Command::new("sipp")
            .arg("-sf")
            .arg(&scenario)
            .args(["-i", carrier, "-p", &free_port(carrier).to_string(), "-s", self.did])
            .args(["-m", &self.count.to_string(), "-l", &self.count.to_string(), "-r", &self.per_second.to_string()])
            .args(["-nostdin", "-timeout", "120", "-timeout_error"])
            .args(["-trace_logs", "-log_file"])
            .arg(dir.join("log"))
            .args(["-trace_err", "-error_file"])
            .arg(dir.join("errors"))
            .arg(server)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("sipp is missing: run tests/setup, or apt-get install sip-tester");
        Calling { child, dir }
    }

    /// The scenario as bytes: a caller's name is of any encoding.
    fn scenario(&self) -> Vec<u8> {
        let new_via = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]";
        let same_via = "[last_Via:]";
        let whole = self.did.starts_with("sip:") || self.did.starts_with("tel:");
        let uri = if whole { self.did } else { "sip:[service]@[remote_ip]:[remote_port]" };
        let request = |method: &str, via: &str, to_tag: &str, rest: &str| {
            let before = format!("{method} {uri} SIP/2.0\n{via}\nFrom: ");
            let after = format!(
                " <sip:{}@[local_ip]:[local_port]>;tag=[pid]c[call_number]\n\
                 To: <{uri}>{to_tag}\nCall-ID: [call_id]\n\
                 Contact: <sip:c@[local_ip]:[local_port]>\nMax-Forwards: 70\n{rest}",
                self.number
            );
            [before.as_bytes(), self.name, after.as_bytes()].concat()
        };
        let sent = |attributes: &str, message: Vec<u8>| {
            [format!("<send{attributes}><![CDATA[\n").as_bytes(), &message, b"\n]]></send>\n"].concat()
        };
        let received = |what: &str, attributes: &str, noted: &str| {
            let action = if noted.is_empty() { String::new() } else { log(noted) };
            format!("<recv {what} {attributes}>{action}</recv>\n").into_bytes()
        };
        let label = |id: u8| format!("<label id=\"{id}\"/>\n").into_bytes();
        let ack = |via: &str| request("ACK", via, "[peer_tag_param]", &format!("CSeq: 1 ACK\n{LENGTH_0}"));
        let until_answered = " retrans=\"500\"";

        let sdp = format!("CSeq: 1 INVITE\nContent-Type: application/sdp\nContent-Length: [len]\n\n{SDP}");
        let mut steps = vec![sent(until_answered, request("INVITE", new_via, "", &sdp))];
        // SIPp counts the time from the first of these that it waits for
        let patience = match self.then {
            Then::GiveUpAfter(ms) => format!("timeout=\"{ms}\" ontimeout=\"2\""),
            Then::HangUpAfter(_) | Then::WaitForEnd => String::new(),
        };
        for code in [100, 180, 181, 183] {
            steps.push(received(&format!("response=\"{code}\""), &format!("optional=\"true\" {patience}"), ""));
        }
        for code in [400, 403, 404, 416, 480, 482, 484, 486, 488, 500, 503, 603] {
            let attributes = format!("optional=\"true\" next=\"1\" {patience}");
            steps.push(received(&format!("response=\"{code}\""), &attributes, &code.to_string()));
        }
        steps.push(received("response=\"200\"", &patience, "200"));
        steps.push(sent("", ack(new_via)));
        let bye = request("BYE", new_via, "[peer_tag_param]", &format!("CSeq: 2 BYE\n{LENGTH_0}"));
        if let Then::WaitForEnd = self.then {
            steps.push(received("request=\"BYE\"", "", ""));
            let ok = format!(
                "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n{LENGTH_0}"
            );
            steps.push(sent(" next=\"3\"", ok.into_bytes()));
        } else {
            if let Then::HangUpAfter(ms) = self.then {
                steps.push(format!("<pause milliseconds=\"{ms}\"/>\n").into_bytes());
            }
            steps.push(sent(until_answered, bye.clone()));
            steps.push(received("response=\"200\"", "next=\"3\"", ""));
        }
        if let Then::GiveUpAfter(_) = self.then {
            let crossing =
                "<action><ereg regexp=\"INVITE\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"1\"/></action>";
            steps.push(label(2));
            steps.push(sent(until_answered, request("CANCEL", same_via, "", &format!("CSeq: 1 CANCEL\n{LENGTH_0}"))));
            // the answer to the CANCEL, or one to the INVITE that crossed it
            steps.push(format!("<recv response=\"200\" next=\"4\" test=\"1\">{crossing}</recv>\n").into_bytes());
            steps.push(received("response=\"200\"", "optional=\"true\" next=\"4\"", ""));
            steps.push(received("response=\"487\"", "", "487"));
            steps.push(sent(" next=\"3\"", ack(same_via)));
            steps.push(label(4));
            steps.push(format!("<nop>{}</nop>\n", log("200")).into_bytes());
            steps.push(sent("", ack(new_via)));
            steps.push(sent(until_answered, bye));
            steps.push(received("response=\"200\"", "next=\"3\"", ""));
        }
        steps.extend([label(1), sent("", ack(same_via)), label(3)]);
        let head = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<scenario name=\"carrier\">\n".to_vec();
        [head, steps.concat(), b"</scenario>\n".to_vec()].concat()
    }
}

impl Calling {
    /// Stops the callers where they are: SIP statuses that differ between servers are of no interest.
    pub fn abandon(self) {}

    /// Waits for the end of all calls, also of those that got no answer. Returns the final SIP statuses that came.
    pub fn codes(mut self) -> Vec<u16> {
        self.child.wait().expect("sipp ends");
        let log = std::fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Waits for the end of all calls. Returns the final SIP status of each, in the order in which
    /// they came.
    pub fn finish(mut self) -> Vec<u16> {
        let status = self.child.wait().expect("sipp ends");
        let read =
            |name: &str| String::from_utf8_lossy(&std::fs::read(self.dir.join(name)).unwrap_or_default()).into_owned();
        let codes: Vec<u16> = read("log").lines().filter_map(|line| line.trim().parse().ok()).collect();
        let story = format!("{}\n{}\n{}", read("out"), read("errors"), read("scenario.xml"));
        assert!(status.success(), "sipp: {status}: {codes:?}\n{story}");
        codes
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        // it has mostly ended by itself; what was in its folder has been read
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
