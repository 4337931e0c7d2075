//! Every SIP option that is offered does what it says: what is seen on the client's side of SIP and RTP
//! with it, beside what is seen without it. That its values reach Asterisk's objects is in `realtime.rs`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use capconduit::model::pjsip_options::{OPTIONS, Object, Rule};

use crate::harness::asterisk::{Asterisk, CARRIER, Options};
use crate::harness::peer::{Dialog, Media, Message, Peer};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::process::{self, Server};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, wait_for};

/// Where the client is, and another carrier whose media may bypass Asterisk.
const CLIENT: &str = "127.0.0.3";
const DIRECT: &str = "127.0.0.4";

/// An option and what it does.
struct Row {
    flag: &'static str,
    value: &'static str,
    /// What it is compared with; empty: it is left out.
    instead: &'static str,
    /// What it needs besides.
    also: &'static [(&'static str, &'static str)],
    see: fn(&Scene) -> String,
    without: &'static str,
    with: &'static str,
}

const fn row(
    flag: &'static str,
    value: &'static str,
    see: fn(&Scene) -> String,
    without: &'static str,
    with: &'static str,
) -> Row {
    Row { flag, value, instead: "", also: &[], see, without, with }
}

impl Row {
    const fn instead_of(self, instead: &'static str) -> Row {
        Row { instead, ..self }
    }

    const fn and(self, also: &'static [(&'static str, &'static str)]) -> Row {
        Row { also, ..self }
    }
}

/// Flags of `pjsip set` that are no options of SIP; username is another name of auth-username.
const OTHER_FLAGS: &[&str] =
    &["json", "yes", "help", "ask-auth-password", "auth-password-stdin", "auth-type", "username"];

/// SEER is the address of another peer, ID the client.
fn rows() -> Vec<Row> {
    vec![
        // NAT
        row("rtp-symmetric", "yes", media_goes, "where SDP says", "where media comes from"),
        row("force-rport", "no", answer_goes, "where the request came from", "where Via says"),
        row("rewrite-contact", "yes", ack_goes, "where Contact says", "where the answer came from"),
        row("ice-support", "yes", ice, "no candidates", "candidates"),
        // media
        row("dtmf-mode", "rfc4733", digits, "not offered, INFO, INFO", "offered, event, event").instead_of("info"),
        row("dtmf-mode", "inband", digits, "offered, event, event", "not offered, tone, tone"),
        row("dtmf-mode", "info", digits, "offered, event, event", "not offered, INFO, INFO"),
        row("dtmf-mode", "auto", digits, "offered, event, event", "offered, event, tone"),
        row("dtmf-mode", "auto_info", digits, "offered, event, event", "offered, event, INFO"),
        row("media-encryption", "sdes", keys, "RTP/AVP, no key", "RTP/SAVP, key").instead_of("no"),
        row("media-encryption-optimistic", "yes", keys, "RTP/SAVP, key", "RTP/AVP, key")
            .and(&[("media-encryption", "sdes")]),
        row("media-address", "127.0.0.9", address, "127.0.0.1", "127.0.0.9"),
        row("bind-rtp-to-media-address", "yes", media_comes_from, "127.0.0.1", "127.0.0.9")
            .and(&[("media-address", "127.0.0.9")]),
        row("asymmetric-rtp-codec", "yes", codec_sent, "alaw", "ulaw"),
        row("use-ptime", "yes", packet_length, "20 ms", "40 ms"),
        row("rtp-keepalive", "1", keepalive, "silence", "packets").instead_of("0"),
        row("rtp-timeout", "1", without_media, "goes on", "ends").instead_of("0"),
        row("rtp-timeout-hold", "1", on_hold, "goes on", "ends").instead_of("0").and(&[("rtp-timeout", "0")]),
        row("direct-media", "yes", direct, "through Asterisk", "past Asterisk"),
        row("allow", "alaw,g722", codecs, "0 8 3", "8 9"),
        row("disallow", "all", codecs, "8", "8").and(&[("allow", "alaw")]),
        // call set-up
        row("100rel", "no", reliable, "supported", "-"),
        row("100rel", "required", reliable, "supported", "supported, required"),
        row("100rel", "peer_supported", own_reliable, "-", "required").instead_of("yes"),
        row("inband-progress", "yes", own_ringing, "180", "183"),
        row("ignore-183-without-sdp", "yes", progress, "183", "180"),
        row("timers", "no", timers, "supported, 1800, 90", "-").instead_of("yes"),
        row("timers", "required", timers, "supported, 1800, 90", "supported, required, 1800, 90").instead_of("yes"),
        row("timers", "always", own_timers, "-", "1800;refresher=uas").instead_of("yes"),
        row("timers-min-se", "120", timers, "supported, 1800, 90", "supported, 1800, 120").instead_of("90"),
        row("timers-sess-expires", "600", timers, "supported, 1800, 90", "supported, 600, 90").instead_of("1800"),
        row("outbound-proxy", "sip:SEER;lr", invite_arrives, "at the client", "at another, by Route"),
        row("outbound-proxy", "sip:SEER;lr", options_arrive, "at the client", "at another"),
        row("allow-transfer", "no", refer, "603", "603"),
        row("suppress-q850-reason-headers", "yes", reason, "Q.850", "-"),
        row("transport", "transport-tcp", protocol, "UDP", "TCP"),
        row("contact", "sip:SEER", invite_arrives, "at the client", "at another"),
        row("aors", "other", invite_arrives, "at the client", "at another"),
        row("max-contacts", "2", register, "200 403", "200 200"),
        // identities
        row("from-user", "us", from, "sip:12125550147@127.0.0.1", "sip:us@127.0.0.1"),
        row("from-domain", "example.com", from, "sip:12125550147@127.0.0.1", "sip:12125550147@example.com"),
        row("send-pai", "yes", pai, "-", "sip:12125550147@127.0.0.1"),
        row("send-rpid", "yes", rpid, "-", "sip:12125550147@127.0.0.1"),
        row("trust-id-inbound", "yes", own_number, "111", "777"),
        row("trust-id-outbound", "yes", private_pai, "-", "sip:12125550147@127.0.0.1, id").and(&[("send-pai", "yes")]),
        row("callerid", "Zed <555>", own_number, "111", "555"),
        row(
            "callerid-privacy",
            "allowed_not_screened",
            own_privacy,
            "privacy full, screen no",
            "privacy off, screen no",
        )
        .instead_of("prohib"),
        row(
            "callerid-privacy",
            "allowed_passed_screen",
            own_privacy,
            "privacy off, screen no",
            "privacy off, screen yes",
        ),
        row(
            "callerid-privacy",
            "allowed_failed_screen",
            own_privacy,
            "privacy off, screen yes",
            "privacy off, screen no",
        )
        .instead_of("allowed_passed_screen"),
        row("callerid-privacy", "allowed", own_privacy, "privacy full, screen no", "privacy off, screen no")
            .instead_of("prohib"),
        row(
            "callerid-privacy",
            "prohib_not_screened",
            own_privacy,
            "privacy off, screen no",
            "privacy full, screen no",
        ),
        row(
            "callerid-privacy",
            "prohib_passed_screen",
            own_privacy,
            "privacy off, screen no",
            "privacy full, screen yes",
        ),
        row(
            "callerid-privacy",
            "prohib_failed_screen",
            own_privacy,
            "privacy full, screen yes",
            "privacy full, screen no",
        )
        .instead_of("prohib_passed_screen"),
        row("callerid-privacy", "prohib", own_privacy, "privacy off, screen no", "privacy full, screen no"),
        row("callerid-privacy", "unavailable", own_privacy, "privacy off, screen no", "privacy full, screen no"),
        row("send-diversion", "no", diversion, "sip:+15550001@127.0.0.1", "-"),
        row("user-eq-phone", "yes", user_is_phone, "-", "user=phone"),
        row("contact-user", "us", contact, "sip:asterisk@", "sip:us@"),
        // who may call, and as whom
        row("context", "own", own_call, "403", "rings"),
        row("auth", "ID", own_call, "rings", "401").and(&[("context", "own")]),
        row("outbound-auth", "ID", challenged, "refused", "as us"),
        row("auth-username", "we", challenged, "as us", "as we").and(&[("outbound-auth", "ID")]),
        row("realm", "elsewhere", challenged, "as us", "refused").and(&[("outbound-auth", "ID")]),
        // how the contact is qualified
        row("qualify-frequency", "1", qualified_often, "never", "again and again").instead_of("0"),
        row("qualify-timeout", "0.3", late_options, "Avail", "Unavail").instead_of("20"),
        row("qualify-2xx-only", "yes", refused_options, "Avail", "Unavail"),
        row("authenticate-qualify", "yes", challenged_options, "as us", "as us")
            .instead_of("no")
            .and(&[("outbound-auth", "ID")]),
    ]
}

/// One client of one Asterisk.
struct Scene {
    asterisk: Asterisk,
    database: Database,
    site: Site,
    server: SocketAddr,
    /// Another address, which a static endpoint and an AOR of that name lead to.
    seer: Peer,
}

impl Scene {
    fn new() -> Scene {
        let database = Postgres::shared().database();
        let site = Site::new(&database, "priority", 10, &[Link::to("sip:127.0.0.3:9")]);
        let (id, seer) = (&site.clients[0], Peer::new("127.0.0.5"));
        // what a site that lets a client call adds
        let pjsip = format!(
            "[own]\ntype=identify\nendpoint={id}\nmatch={CLIENT}\n\
             [seer]\ntype=endpoint\naors=seer\nallow=ulaw\nsend_pai=yes\nsend_rpid=yes\ntrust_id_outbound=yes\n\
             [seer]\ntype=aor\ncontact={}\n\
             [direct]\ntype=endpoint\ncontext=from-pstn\nallow=ulaw\ndirect_media=yes\n\
             [direct]\ntype=identify\nendpoint=direct\nmatch={DIRECT}\n",
            seer.contact()
        );
        let dialplan = "[own]\nexten => 1,1,Ringing()\n same => n,Wait(1)\n same => n,Hangup()\n\
                        exten => 2,1,Dial(PJSIP/seer,10)\nexten => 3,1,Answer()\n same => n,Wait(10)\n";
        let files = [("pjsip_local.conf", pjsip.as_str()), ("extensions_local.conf", dialplan)];
        // where clients may register
        let modules = ["res_pjsip_registrar"];
        let options = Options { system_name: "options", files: &files, modules: &modules, ..Options::default() };
        let asterisk = Asterisk::start(&database, &options);
        database.execute(&format!(
            "INSERT INTO pjsip_auths (id, client_id, auth_type, username, password)
             SELECT id, client_id, 'userpass', 'us', 'secret' FROM pjsip_endpoints WHERE id = '{id}';
             WITH other AS (INSERT INTO clients (client_identifier, name) VALUES ('other', 'Other') RETURNING id)
             INSERT INTO pjsip_aors (id, client_id, contact, qualify_frequency)
             SELECT 'other', id, '{}', 0 FROM other",
            seer.contact()
        ));
        let server = SocketAddr::from(([127, 0, 0, 1], asterisk.sip_port));
        Scene { asterisk, database, site, server, seer }
    }

    fn id(&self) -> &str {
        &self.site.clients[0]
    }

    /// Leaves out every option.
    fn reset(&self) {
        let none = |object| {
            let of = OPTIONS.iter().filter(move |option| option.object == object);
            of.map(|option| format!("\"{}\" = NULL, ", option.name)).collect::<String>()
        };
        let id = self.id();
        self.database.execute(&format!(
            "UPDATE pjsip_endpoints SET {}transport = NULL, aors = '{id}', auth = NULL, context = 'from-client',
                 disallow = 'all', allow = 'ulaw,alaw,gsm', direct_media = 'no', outbound_auth = NULL,
                 from_user = NULL, from_domain = NULL, callerid = NULL WHERE id = '{id}';
             UPDATE pjsip_aors SET {}outbound_proxy = NULL, max_contacts = 1, qualify_frequency = 0,
                 contact = 'sip:127.0.0.3:9' WHERE id = '{id}';
             UPDATE pjsip_auths SET username = 'us', realm = NULL WHERE id = '{id}'",
            none(Object::Endpoint),
            none(Object::Aor),
        ));
    }

    fn set(&self, flag: &str, value: &str) {
        let value = value.replace("SEER", &self.seer.address.to_string()).replace("ID", self.id());
        self.database.capconduit(&["pjsip", "set", self.id(), &format!("--{flag}={value}")]);
    }

    /// The client, which its AOR leads to unless a row says otherwise.
    fn client(&self) -> Peer {
        let client = Peer::new(CLIENT);
        let unset = "SELECT contact LIKE 'sip:127.0.0.3:%' FROM pjsip_aors";
        if self.database.value(&format!("{unset} WHERE id = '{}'", self.id())) == "t" {
            self.database.execute(&format!(
                "UPDATE pjsip_aors SET contact = '{}' WHERE id = '{}'",
                client.contact(),
                self.id()
            ));
        }
        client
    }

    /// The INVITE that the client gets for a call with these headers. It is busy.
    fn offer(&self, headers: &str) -> Message {
        let (carrier, client, media) = (Peer::new(CARRIER), self.client(), Media::new(CARRIER));
        let caller = Dialog::call(&carrier, self.server, &self.site.did, headers, &media.sdp("0 101", ""));
        let callee = Dialog::offered(&client);
        callee.reply("486 Busy Here", "", "");
        caller.final_answer(1, "INVITE").expect("an answer");
        callee.offer().clone()
    }

    /// A call that is up.
    fn call<R>(&self, as_told: &Answer, look: impl FnOnce(&Call<'_>) -> R) -> R {
        let (carrier, client) = (Peer::new(as_told.carrier), self.client());
        let (carrier_media, client_media) = (Media::new(as_told.carrier), Media::new(CLIENT));
        let mut caller = Dialog::call(&carrier, self.server, &self.site.did, "", &carrier_media.sdp("0 101", ""));
        let callee = Dialog::offered(&client);
        let headers = as_told.contact.map(|at| format!("Contact: <sip:peer@{at}>\n")).unwrap_or_default();
        callee.reply("200 OK", &headers, &client_media.sdp(as_told.kinds, as_told.lines));
        caller.answered();
        let seen = look(&Call {
            caller: &caller,
            callee: &callee,
            carrier_media: &carrier_media,
            client_media: &client_media,
        });
        caller.ask("BYE", "", "");
        if let Some(bye) = client.wait(Duration::from_millis(200), |m| m.method() == Some("BYE")) {
            callee.answer(&bye, "200 OK", "", "");
        }
        seen
    }

    fn state(&self) -> String {
        let contacts = self.asterisk.cli("pjsip show contacts");
        let line = contacts.lines().find(|line| line.contains(&format!("{}/", self.id()))).unwrap_or_default();
        line.split_whitespace().find(|word| word.contains("vail") || word.contains("Qual")).unwrap_or("-").to_owned()
    }

    /// Lets Asterisk qualify the contact.
    fn qualify(&self) {
        self.asterisk.cli(&format!("pjsip reload qualify aor {}", self.id()));
    }

    /// Looks for a while at what is asked after in turn.
    fn first<T>(&self, seconds: u64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            if let Some(seen) = look() {
                return Some(seen);
            }
        }
        None
    }
}

/// How the client answers.
struct Answer {
    carrier: &'static str,
    kinds: &'static str,
    lines: &'static str,
    contact: Option<SocketAddr>,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { carrier: CARRIER, kinds: "0 101", lines: "", contact: None }
    }
}

struct Call<'a> {
    caller: &'a Dialog<'a>,
    callee: &'a Dialog<'a>,
    carrier_media: &'a Media,
    client_media: &'a Media,
}

const SOON: Duration = Duration::from_millis(20);
const LONG: u64 = 30;

/// A payload of ulaw or alaw that is not silence.
const SOUND: [u8; 160] = [0x35; 160];

fn media_goes(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| {
        let elsewhere = Media::new(CLIENT);
        let mut last = "nowhere";
        // until Asterisk has learnt where media come from
        for _ in 0..40 {
            elsewhere.send(call.callee.media(), 0, &SOUND);
            call.carrier_media.send(call.caller.media(), 0, &SOUND);
            if elsewhere.wait(SOON, |_| true).is_some() {
                last = "where media comes from";
            } else if call.client_media.wait(Duration::from_millis(1), |_| true).is_some() {
                last = "where SDP says";
            }
        }
        last.to_owned()
    })
}

fn answer_goes(scene: &Scene) -> String {
    let other = Peer::new(CLIENT);
    scene.call(&Answer::default(), |call| {
        call.callee.send_via(&other.address.to_string(), "OPTIONS", 50);
        let is_answer = |m: &Message| m.status().is_some() && m.header("CSeq") == "50 OPTIONS";
        let seen = scene.first(LONG, || match call.callee.peer.wait(SOON, is_answer) {
            Some(_) => Some("where the request came from"),
            None => other.wait(SOON, is_answer).map(|_| "where Via says"),
        });
        seen.unwrap_or("nowhere").to_owned()
    })
}

fn ack_goes(scene: &Scene) -> String {
    let other = Peer::new(CLIENT);
    scene.call(&Answer { contact: Some(other.address), ..Answer::default() }, |call| {
        let is_ack = |m: &Message| m.method() == Some("ACK");
        let seen = scene.first(LONG, || match call.callee.peer.wait(SOON, is_ack) {
            Some(_) => Some("where the answer came from"),
            None => other.wait(SOON, is_ack).map(|_| "where Contact says"),
        });
        seen.unwrap_or("nowhere").to_owned()
    })
}

fn ice(scene: &Scene) -> String {
    let offer = scene.offer("");
    let with = !offer.sdp("a=candidate:").is_empty() && !offer.sdp("a=ice-ufrag:").is_empty();
    if with { "candidates" } else { "no candidates" }.to_owned()
}

fn digits(scene: &Scene) -> String {
    let offer = scene.offer("");
    let offered = if offer.body().contains("telephone-event") { "offered" } else { "not offered" };
    let arrives = |kinds| {
        scene.call(&Answer { kinds, ..Answer::default() }, |call| {
            let digit = "Signal=5\nDuration=200\n";
            assert_eq!(call.caller.ask("INFO", "Content-Type: application/dtmf-relay\n", digit), 200);
            let seen = scene.first(2, || {
                if let Some(info) = call.callee.peer.wait(SOON, |m| m.method() == Some("INFO")) {
                    call.callee.answer(&info, "200 OK", "", "");
                    return Some("INFO");
                }
                let packet = call.client_media.wait(SOON, |_| true)?;
                let is_varied = packet.payload.iter().any(|&byte| byte != packet.payload[0]);
                match packet.kind {
                    101 => Some("event"),
                    0 if is_varied => Some("tone"),
                    _ => None,
                }
            });
            seen.unwrap_or("none")
        })
    };
    format!("{offered}, {}, {}", arrives("0 101"), arrives("0"))
}

fn keys(scene: &Scene) -> String {
    let offer = scene.offer("");
    let profile = offer.sdp("m=audio")[0].split(' ').nth(2).unwrap_or_default();
    let key = if offer.sdp("a=crypto:").is_empty() { "no key" } else { "key" };
    format!("{profile}, {key}")
}

fn address(scene: &Scene) -> String {
    scene.offer("").sdp("c=IN IP4 ")[0].replace("c=IN IP4 ", "")
}

fn media_comes_from(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| {
        let seen = scene.first(LONG, || {
            call.carrier_media.send(call.caller.media(), 0, &SOUND);
            call.client_media.wait(SOON, |_| true).map(|packet| packet.from.ip().to_string())
        });
        seen.unwrap_or_default()
    })
}

fn codec_sent(scene: &Scene) -> String {
    scene.call(&Answer { kinds: "0 8", ..Answer::default() }, |call| {
        let mut last = "none";
        for _ in 0..40 {
            call.client_media.send(call.callee.media(), 8, &SOUND);
            call.carrier_media.send(call.caller.media(), 0, &SOUND);
            if let Some(packet) = call.client_media.wait(SOON, |_| true) {
                last = if packet.kind == 8 { "alaw" } else { "ulaw" };
            }
        }
        last.to_owned()
    })
}

fn packet_length(scene: &Scene) -> String {
    scene.call(&Answer { lines: "a=ptime:40\n", ..Answer::default() }, |call| {
        let mut last = 0;
        for _ in 0..20 {
            call.carrier_media.send(call.caller.media(), 0, &SOUND);
            if let Some(packet) = call.client_media.wait(SOON, |_| true) {
                last = packet.payload.len() / 8;
            }
        }
        format!("{last} ms")
    })
}

fn keepalive(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| {
        let packet = call.client_media.wait(Duration::from_secs(3), |_| true);
        if packet.is_some() { "packets" } else { "silence" }.to_owned()
    })
}

fn is_over(call: &Call<'_>) -> String {
    let bye = call.callee.peer.wait(Duration::from_secs(3), |m| m.method() == Some("BYE"));
    if let Some(bye) = &bye {
        call.callee.answer(bye, "200 OK", "", "");
    }
    if bye.is_some() { "ends" } else { "goes on" }.to_owned()
}

fn without_media(scene: &Scene) -> String {
    scene.call(&Answer::default(), is_over)
}

fn on_hold(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| {
        let hold = call.client_media.sdp("0 101", "a=sendonly\n");
        assert_eq!(call.callee.ask("INVITE", "Content-Type: application/sdp\n", &hold), 200);
        is_over(call)
    })
}

fn direct(scene: &Scene) -> String {
    scene.call(&Answer { carrier: DIRECT, ..Answer::default() }, |call| {
        let is_again = |m: &Message| m.method() == Some("INVITE") && m.header("To").contains("tag=");
        let mut seen = "through Asterisk";
        scene.first::<()>(3, || {
            if let Some(again) = call.callee.peer.wait(SOON, is_again) {
                if again.media_port() == call.carrier_media.port() {
                    seen = "past Asterisk";
                }
                call.callee.answer(&again, "200 OK", "", &call.client_media.sdp("0 101", ""));
            }
            if let Some(again) = call.caller.peer.wait(SOON, is_again) {
                call.caller.answer(&again, "200 OK", "", &call.carrier_media.sdp("0 101", ""));
            }
            (seen == "past Asterisk").then_some(())
        });
        seen.to_owned()
    })
}

fn codecs(scene: &Scene) -> String {
    let offer = scene.offer("");
    let kinds = offer.sdp("m=audio")[0].split(' ').skip(3).filter(|kind| *kind != "101");
    kinds.collect::<Vec<_>>().join(" ")
}

/// What a list of headers says of a token.
fn says(message: &Message, token: &str) -> Vec<String> {
    let has = |header: &str| message.headers(header).iter().any(|v| v.split(',').any(|word| word.trim() == token));
    [("Supported", "supported"), ("Require", "required")]
        .into_iter()
        .filter(|(header, _)| has(header))
        .map(|(_, word)| word.to_owned())
        .collect()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn reliable(scene: &Scene) -> String {
    or_none(says(&scene.offer(""), "100rel").join(", "))
}

fn timers(scene: &Scene) -> String {
    let offer = scene.offer("");
    let mut said = says(&offer, "timer");
    said.extend(["Session-Expires", "Min-SE"].iter().flat_map(|name| offer.headers(name)).map(str::to_owned));
    or_none(said.join(", "))
}

/// The SIP URI in a header.
fn uri(header: &str) -> String {
    or_none(header.split_once('<').and_then(|(_, rest)| rest.split('>').next()).unwrap_or_default().to_owned())
}

fn from(scene: &Scene) -> String {
    uri(scene.offer("").header("From"))
}

fn pai(scene: &Scene) -> String {
    uri(scene.offer("").header("P-Asserted-Identity"))
}

fn rpid(scene: &Scene) -> String {
    uri(scene.offer("").header("Remote-Party-ID"))
}

fn private_pai(scene: &Scene) -> String {
    let offer = scene.offer(
        "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>\nPrivacy: id\n\
         P-Asserted-Identity: \"Ann\" <sip:12125550147@127.0.0.2>\n",
    );
    let (pai, privacy) = (uri(offer.header("P-Asserted-Identity")), offer.header("Privacy"));
    if privacy.is_empty() { pai } else { format!("{pai}, {privacy}") }
}

fn diversion(scene: &Scene) -> String {
    uri(scene.offer("Diversion: <sip:+15550001@127.0.0.2>;reason=unconditional\n").header("Diversion"))
}

fn user_is_phone(scene: &Scene) -> String {
    or_none(if scene.offer("").header("From").contains("user=phone") { "user=phone".to_owned() } else { String::new() })
}

fn contact(scene: &Scene) -> String {
    let uri = uri(scene.offer("").header("Contact"));
    uri.split_inclusive('@').next().unwrap_or_default().to_owned()
}

fn progress(scene: &Scene) -> String {
    let (carrier, client, media) = (Peer::new(CARRIER), scene.client(), Media::new(CARRIER));
    let caller = Dialog::call(&carrier, scene.server, &scene.site.did, "", &media.sdp("0 101", ""));
    let callee = Dialog::offered(&client);
    callee.reply("183 Session Progress", "", "");
    callee.reply("180 Ringing", "", "");
    let first = caller.first_answer().status().unwrap_or(0);
    callee.reply("486 Busy Here", "", "");
    caller.final_answer(1, "INVITE").expect("an answer");
    first.to_string()
}

fn reason(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| {
        call.caller.ask("BYE", "", "");
        let bye = call.callee.ended();
        or_none(bye.header("Reason").split(';').next().unwrap_or_default().to_owned())
    })
}

fn refer(scene: &Scene) -> String {
    scene.call(&Answer::default(), |call| call.callee.ask("REFER", "Refer-To: <sip:900@192.0.2.1>\n", "").to_string())
}

fn invite_arrives(scene: &Scene) -> String {
    let (carrier, client, media) = (Peer::new(CARRIER), scene.client(), Media::new(CARRIER));
    let caller = Dialog::call(&carrier, scene.server, &scene.site.did, "", &media.sdp("0 101", ""));
    let is_invite = |m: &Message| m.method() == Some("INVITE");
    let seen = scene.first(LONG, || {
        let (peer, place) = [(&client, "at the client"), (&scene.seer, "at another")]
            .into_iter()
            .find_map(|(peer, place)| Some((peer.wait(SOON, is_invite).map(|m| (peer, m))?, place)))?;
        Some((peer, place))
    });
    let ((peer, invite), place) = seen.expect("an INVITE");
    let by_route = if invite.header("Route").is_empty() { "" } else { ", by Route" };
    Dialog::of(peer, invite).reply("486 Busy Here", "", "");
    caller.final_answer(1, "INVITE").expect("an answer");
    format!("{place}{by_route}")
}

fn protocol(scene: &Scene) -> String {
    let (carrier, client, media) = (Peer::new(CARRIER), scene.client(), Media::new(CARRIER));
    let tcp = TcpListener::bind(client.address).expect("the same port");
    tcp.set_nonblocking(true).expect("non-blocking");
    let caller = Dialog::call(&carrier, scene.server, &scene.site.did, "", &media.sdp("0 101", ""));
    let seen = scene.first(LONG, || {
        if tcp.accept().is_ok() {
            return Some("TCP");
        }
        let invite = client.wait(SOON, |m| m.method() == Some("INVITE"))?;
        Dialog::of(&client, invite).reply("486 Busy Here", "", "");
        Some("UDP")
    });
    caller.final_answer(1, "INVITE").expect("an answer");
    seen.unwrap_or("none").to_owned()
}

fn challenge(peer: &Peer, request: &Message) {
    peer.respond(request, "401 Unauthorized", "challenge", "WWW-Authenticate: Digest realm=\"here\",nonce=\"n\"\n", "");
}

fn user_of(request: &Message) -> String {
    let authorization = request.header("Authorization");
    let user = authorization.split_once("username=\"").and_then(|(_, rest)| rest.split('"').next());
    user.map_or("-".to_owned(), |user| format!("as {user}"))
}

fn challenged(scene: &Scene) -> String {
    let (carrier, client, media) = (Peer::new(CARRIER), scene.client(), Media::new(CARRIER));
    let caller = Dialog::call(&carrier, scene.server, &scene.site.did, "", &media.sdp("0 101", ""));
    challenge(&client, &client.request("INVITE"));
    let seen = scene.first(LONG, || {
        if let Some(again) = client.wait(SOON, |m| m.method() == Some("INVITE")) {
            client.respond(&again, "486 Busy Here", "busy", "", "");
            return Some(user_of(&again));
        }
        caller.refusal(SOON).map(|_| "refused".to_owned())
    });
    seen.unwrap_or_default()
}

/// What comes of the client's own call to this extension, whose headers say who calls: another's INVITE, or
/// the status of a refusal.
fn own(scene: &Scene, extension: &str, headers: &str) -> Result<Message, u16> {
    let (client, media) = (Peer::new(CLIENT), Media::new(CLIENT));
    let headers = format!("From: \"Own\" <sip:111@127.0.0.3>\n{headers}");
    let call = Dialog::call(&client, scene.server, extension, &headers, &media.sdp("0", ""));
    let seen = scene.first(LONG, || {
        if let Some(invite) = scene.seer.wait(SOON, |m| m.method() == Some("INVITE")) {
            Dialog::of(&scene.seer, invite.clone()).reply("486 Busy Here", "", "");
            return Some(Ok(invite));
        }
        call.refusal(SOON).map(Err)
    });
    seen.expect("an end")
}

fn own_call(scene: &Scene) -> String {
    own(scene, "2", "").map_or_else(|status| status.to_string(), |_| "rings".to_owned())
}

fn own_number(scene: &Scene) -> String {
    scene.set("context", "own");
    let invite = own(scene, "2", "P-Asserted-Identity: \"Bob\" <sip:777@127.0.0.3>\n").expect("it rings");
    let from = uri(invite.header("From"));
    from.trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned()
}

fn own_privacy(scene: &Scene) -> String {
    scene.set("context", "own");
    let invite = own(scene, "2", "").expect("it rings");
    let rpid = invite.header("Remote-Party-ID");
    let parameter = |name: &str| rpid.split(';').find_map(|p| p.strip_prefix(name)).unwrap_or("-").to_owned();
    format!("privacy {}, screen {}", parameter("privacy="), parameter("screen="))
}

fn own_ringing(scene: &Scene) -> String {
    scene.set("context", "own");
    let (client, media) = (Peer::new(CLIENT), Media::new(CLIENT));
    let call = Dialog::call(&client, scene.server, "1", "", &media.sdp("0", ""));
    let first = call.first_answer().status().unwrap_or(0);
    call.final_answer(1, "INVITE").expect("an answer");
    first.to_string()
}

fn own_reliable(scene: &Scene) -> String {
    scene.set("context", "own");
    let (client, media) = (Peer::new(CLIENT), Media::new(CLIENT));
    let call = Dialog::call(&client, scene.server, "1", "Supported: 100rel\n", &media.sdp("0", ""));
    let said = says(&call.first_answer(), "100rel");
    call.final_answer(1, "INVITE").expect("an answer");
    or_none(said.into_iter().filter(|word| word == "required").collect())
}

/// Session timers in the answer to a client that does not know them.
fn own_timers(scene: &Scene) -> String {
    scene.set("context", "own");
    let (client, media) = (Peer::new(CLIENT), Media::new(CLIENT));
    let mut call = Dialog::call(&client, scene.server, "3", "", &media.sdp("0", ""));
    let answer = call.answered();
    call.hang_up();
    or_none(answer.header("Session-Expires").to_owned())
}

fn register(scene: &Scene) -> String {
    let id = scene.id();
    let statuses = ["127.0.0.3:6001", "127.0.0.3:6002"].map(|at| {
        let client = Peer::new(CLIENT);
        let registration = Dialog::outside(&client, scene.server, id);
        registration.ask("REGISTER", &format!("Contact: <sip:{at}>\nExpires: 60\n"), "").to_string()
    });
    // Asterisk keeps them in its own database
    scene.asterisk.cli("database deltree registrar");
    statuses.join(" ")
}

fn options_arrive(scene: &Scene) -> String {
    let client = scene.client();
    scene.set("qualify-frequency", "1");
    scene.qualify();
    let is_options = |m: &Message| m.method() == Some("OPTIONS");
    let seen = scene.first(LONG, || {
        [(&client, "at the client"), (&scene.seer, "at another")].into_iter().find_map(|(peer, place)| {
            let options = peer.wait(SOON, is_options)?;
            peer.respond(&options, "200 OK", "options", "", "");
            Some(place)
        })
    });
    seen.unwrap_or("nowhere").to_owned()
}

fn qualified_often(scene: &Scene) -> String {
    let client = scene.client();
    scene.qualify();
    let mut asked = 0;
    while asked < 2 {
        let Some(options) = client.wait(Duration::from_secs(3), |m| m.method() == Some("OPTIONS")) else { break };
        client.respond(&options, "200 OK", "options", "", "");
        asked += 1;
    }
    ["never", "once", "again and again"][asked].to_owned()
}

/// The state of the contact that comes of an answer to OPTIONS, which is given when the state is known or
/// a second is over.
fn late_options(scene: &Scene) -> String {
    let client = scene.client();
    scene.set("qualify-frequency", "1");
    scene.qualify();
    let options = client.request("OPTIONS");
    let known = || Some(scene.state()).filter(|state| ["Avail", "Unavail"].contains(&state.as_str()));
    if let Some(state) = scene.first(1, known) {
        return state;
    }
    client.respond(&options, "200 OK", "options", "", "");
    scene.first(LONG, known).unwrap_or_default()
}

fn refused_options(scene: &Scene) -> String {
    let client = scene.client();
    scene.set("qualify-frequency", "1");
    scene.qualify();
    client.respond(&client.request("OPTIONS"), "404 Not Found", "options", "", "");
    let known = || Some(scene.state()).filter(|state| ["Avail", "Unavail"].contains(&state.as_str()));
    scene.first(LONG, known).unwrap_or_default()
}

fn challenged_options(scene: &Scene) -> String {
    let client = scene.client();
    scene.set("qualify-frequency", "1");
    scene.qualify();
    challenge(&client, &client.request("OPTIONS"));
    let again = client.wait(Duration::from_secs(2), |m| m.method() == Some("OPTIONS"));
    again.map_or("-".to_owned(), |again| {
        client.respond(&again, "200 OK", "options", "", "");
        user_of(&again)
    })
}

/// Flags that make no difference, which their help says.
const NO_DIFFERENCE: &[&str] = &[
    // nothing but no is taken
    "allow-transfer",
    // nothing but all is taken: Asterisk adds the codecs of allow after it
    "disallow",
    // Asterisk 22 answers a challenge while qualifying wherever it has credentials
    "authenticate-qualify",
];

#[test]
fn every_sip_option_does_what_it_says() {
    let scene = Scene::new();
    let mut wrong = Vec::new();
    for row in rows() {
        for (value, expected) in [(row.instead, row.without), (row.value, row.with)] {
            scene.reset();
            row.also.iter().for_each(|(flag, value)| scene.set(flag, value));
            if !value.is_empty() {
                scene.set(row.flag, value);
            }
            let seen = (row.see)(&scene);
            if seen != expected {
                wrong.push(format!("--{} {value:?}: {seen}, not {expected}", row.flag));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_sip_option_has_a_row() {
    let (rows, database) = (rows(), Postgres::shared().database());
    let help = database.capconduit(&["pjsip", "set", "--help"]);
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags = flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()));
    let missing: Vec<&str> =
        flags.filter(|flag| !OTHER_FLAGS.contains(flag) && !rows.iter().any(|row| row.flag == *flag)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    for option in OPTIONS {
        let flag = option.flag();
        let of: Vec<&Row> = rows.iter().filter(|row| row.flag == flag).collect();
        assert!(!of.is_empty(), "no row for --{flag}");
        if let Rule::OneOf(values) = option.rule {
            let is_seen = |value: &&str| of.iter().any(|row| [row.value, row.instead].contains(value));
            let unseen: Vec<_> = values.iter().filter(|value| !is_seen(value)).collect();
            assert!(unseen.is_empty(), "no row for --{flag} {unseen:?}");
        }
    }
    for row in rows.iter().filter(|row| !NO_DIFFERENCE.contains(&row.flag)) {
        assert_ne!(row.with, row.without, "--{} {}", row.flag, row.value);
    }
}

#[test]
fn what_would_do_nothing_is_refused() {
    let database = Postgres::shared().database();
    database.capconduit(&["client", "add", "c", "--name", "C", "--contact", "sip:127.0.0.1:9"]);
    for (flag, value, said) in [
        ("--allow-transfer", "yes", "allow_transfer \"yes\": it must be no: a call that is transferred would leave"),
        ("--disallow", "gsm", "disallow \"gsm\": it takes nothing away"),
    ] {
        let output = database.command().args(["pjsip", "set", "c", flag, value]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(5) && text.contains(said), "{text}");
    }
    for (flag, value) in [("--allow-transfer", "no"), ("--allow-transfer", ""), ("--disallow", "all")] {
        database.capconduit(&["pjsip", "set", "c", &format!("{flag}={value}")]);
    }
}

/// SIPS asks for a Contact of its kind (RFC 3261 8.1.1.8); a client refuses the call otherwise.
#[test]
fn a_sips_contact_is_called_by_sips() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (path("key"), path("certificate"));
    let mut made = Command::new("openssl");
    made.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.3", "-days", "2"]);
    process::run(made.args(["-keyout", &key, "-out", &certificate]));
    let (port, tls) = (free_port(CLIENT), free_port("127.0.0.1"));
    let at = format!("{CLIENT}:{port}");
    // s_server ends a connection when its input ends: a pipe that it holds open itself never does
    let script = "mkfifo \"$1\" && exec openssl s_server -quiet -accept \"$2\" -key \"$3\" -cert \"$4\" <>\"$1\"";
    let mut client = Command::new("sh");
    client.args(["-c", script, "client", &path("input"), &at, &key, &certificate]);
    let client = Server::start(&client, &process::temporary_folder(), "KILL");
    wait_for("the client to listen", || TcpStream::connect(&at).is_ok());

    let pjsip = format!(
        "[transport-tls]\ntype=transport\nprotocol=tls\nmethod=tlsv1_2\nbind=127.0.0.1:{tls}\n\
         cert_file={certificate}\npriv_key_file={key}\nverify_server=no\n"
    );
    let files = [("pjsip_local.conf", pjsip.as_str())];
    let database = Postgres::shared().database();
    let asterisk = Asterisk::start(&database, &Options { system_name: "sips", files: &files, ..Options::default() });
    let site = Site::new(&database, "priority", 10, &[Link::to(format!("sips:{at}"))]);
    let (carrier, media) = (Peer::new(CARRIER), Media::new(CARRIER));
    let server = SocketAddr::from(([127, 0, 0, 1], asterisk.sip_port));
    let _call = Dialog::call(&carrier, server, &site.did, "", &media.sdp("0 101", ""));
    wait_for("an INVITE", || client.output().contains("Content-Length"));
    let invite = client.output();
    assert!(invite.contains("INVITE sips:") && invite.contains("\nContact: <sips:"), "{invite}\n{}", asterisk.log());
}
