//! Requests inside a call: each gets its answer, and the call goes on and is billed right. What steers a
//! call elsewhere is refused.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::asterisk::{Asterisk, CARRIER};
use crate::harness::peer::{Dialog, Media, Peer};
use crate::harness::site::Site;
use crate::harness::wait_for;
use crate::stage::stage;

/// A request inside a call, and what it is answered with.
struct Request {
    method: &'static str,
    headers: &'static str,
    body: &'static str,
    answer: u16,
}

const fn request(method: &'static str, headers: &'static str, body: &'static str, answer: u16) -> Request {
    Request { method, headers, body, answer }
}

const SDP: &str = "Content-Type: application/sdp\n";

/// What session border controllers, phones and call centres' platforms send.
const ANSWERED: &[Request] = &[
    // audits of a call that is up: a session border controller ends it after one time-out
    request("OPTIONS", "", "", 200),
    request("INFO", "", "", 200),
    request("UPDATE", "", "", 200),
    // digits, and a picture that is asked for again
    request("INFO", "Content-Type: application/dtmf-relay\n", "Signal=5\nDuration=160\n", 200),
    request("INFO", "Content-Type: application/dtmf\n", "5\n", 200),
    request("INFO", "Content-Type: application/dtmf-relay\n", "Signal=nonsense\n", 500),
    request("INFO", "Content-Type: application/media_control+xml\n", "<media_control/>\n", 200),
    request("MESSAGE", "Content-Type: text/plain\n", "hello\n", 202),
    request("MESSAGE", "Content-Type: image/png\n", "hello\n", 415),
    // who has the call does not steer it elsewhere: blind, attended, malformed
    request("REFER", "Refer-To: <sip:+18005550199@192.0.2.1>\n", "", 603),
    request("REFER", "Refer-To: <sip:900@192.0.2.1?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>\n", "", 603),
    request("REFER", "", "", 603),
    request("REGISTER", "", "", 501),
];

/// For these Asterisk 22 has no module that would answer them inside a call, and its Allow names none of
/// them but those of the event framework. They must do no harm.
const UNANSWERED: &[Request] = &[
    request("INFO", "Content-Type: application/x-unknown\n", "hello\n", 0),
    request("NOTIFY", "Event: talk\nSubscription-State: active\n", "", 0),
    request("SUBSCRIBE", "Event: presence\nExpires: 60\n", "", 0),
    request("PUBLISH", "Event: presence\nExpires: 60\n", "", 0),
    request("NONSENSE", "", "", 0),
];

fn server(asterisk: &Asterisk) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], asterisk.sip_port))
}

/// The carrier and a client, each with a place for media.
struct Ends {
    carrier: (Peer, Media),
    client: (Peer, Media),
}

impl Ends {
    fn new() -> Ends {
        let end = |ip| (Peer::new(ip), Media::new(ip));
        Ends { carrier: end(CARRIER), client: end("127.0.0.1") }
    }

    /// A call that is up, from the carrier's side and from the client's.
    fn call(&self, asterisk: &Asterisk, site: &Site) -> (Dialog<'_>, Dialog<'_>) {
        let offer = self.carrier.1.sdp("0 101", "");
        let mut caller = Dialog::call(&self.carrier.0, server(asterisk), &site.did, "", &offer);
        let client = Dialog::offered(&self.client.0);
        client.reply("200 OK", "", &self.client.1.sdp("0 101", ""));
        self.client.0.request("ACK");
        caller.answered();
        (caller, client)
    }
}

/// Ends a call and looks at its record: one, with the time that it took.
fn ends_well(site: &Site, caller: &Dialog<'_>, client: &Dialog<'_>) {
    caller.hang_up();
    client.ended();
    let records = site.wait_for_records(
        1,
        // nobody is billed for requests, and a call of less than a millisecond has no time of its answer
        "call_status, client_identifier, billsec_seconds
             - coalesce(floor(extract(epoch FROM timestamp_end - timestamp_answered)), 0) IN (0, 1)",
    );
    assert_eq!(records, [format!("ANSWERED|{}|t", site.clients[0])]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![1], 0));
    assert_eq!(site.attempts("dial_status"), ["ANSWER"]);
}

#[test]
fn every_request_inside_a_call_is_answered_and_the_call_goes_on() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    for asterisk in [&stage.ringing, &stage.early] {
        let site = stage.in_order(&[ends.client.0.contact()]);
        let (caller, client) = ends.call(asterisk, &site);
        for (side, dialog, media) in [("carrier", &caller, &ends.carrier.1), ("client", &client, &ends.client.1)] {
            for request in ANSWERED {
                let answer = dialog.ask(request.method, request.headers, request.body);
                assert_eq!(answer, request.answer, "{side}: {} {}", request.method, request.headers);
            }
            // PRACK has nothing to acknowledge
            assert!([200, 400, 481].contains(&dialog.ask("PRACK", "RAck: 1 1 INVITE\n", "")), "{side}");
            // held, and taken up again
            for direction in ["a=sendonly\n", "a=sendrecv\n"] {
                assert_eq!(dialog.ask("INVITE", SDP, &media.sdp("0 101", direction)), 200, "{side}");
            }
            // a number of its sequence that was used before
            dialog.send("INFO", 1, "", "");
            let late = dialog.final_answer(1, "INFO").and_then(|answer| answer.status());
            assert_eq!(late, Some(500), "{side}");
        }
        ends_well(&site, &caller, &client);
    }
}

#[test]
fn requests_that_asterisk_does_not_know_do_not_end_a_call() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    let site = stage.in_order(&[ends.client.0.contact()]);
    let (caller, client) = ends.call(&stage.ringing, &site);
    for dialog in [&caller, &client] {
        for (n, request) in UNANSWERED.iter().enumerate() {
            dialog.send(request.method, 100 + u32::try_from(n).expect("few"), request.headers, request.body);
        }
        // Asterisk reads them in their order
        dialog.go_on_from(200);
        assert_eq!(dialog.ask("OPTIONS", "", ""), 200);
    }
    ends_well(&site, &caller, &client);
}

#[test]
fn a_call_that_rings_answers_requests_too() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    let site = stage.in_order(&[ends.client.0.contact()]);
    let offer = ends.carrier.1.sdp("0 101", "");
    let mut caller = Dialog::call(&ends.carrier.0, server(&stage.ringing), &site.did, "", &offer);
    let client = Dialog::offered(&ends.client.0);
    client.reply("180 Ringing", "", "");
    let ringing = caller.provisional(180, Duration::from_secs(10)).expect("ringing");
    caller.enter(&ringing);
    for (side, dialog) in [("carrier", &caller), ("client", &client)] {
        for (method, headers, answer) in
            [("OPTIONS", "", 200), ("INFO", "", 200), ("REFER", "Refer-To: <sip:900@192.0.2.1>\n", 603)]
        {
            assert_eq!(dialog.ask(method, headers, ""), answer, "{side}: {method}");
        }
    }
    client.reply("200 OK", "", &ends.client.1.sdp("0 101", ""));
    ends.client.0.request("ACK");
    caller.answered();
    ends_well(&site, &caller, &client);
}

#[test]
fn nobody_steers_a_sold_call_elsewhere() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    let site = stage.in_order(&[ends.client.0.contact()]);
    // also where a row says that it may: the column was once offered
    site.database
        .execute(&format!("UPDATE pjsip_endpoints SET allow_transfer = 'yes' WHERE id = '{}'", site.clients[0]));
    let (caller, client) = ends.call(&stage.ringing, &site);
    for dialog in [&client, &caller] {
        let own = format!("Refer-To: <sip:{}@127.0.0.1>\n", site.did);
        let attended = format!(
            "Refer-To: <sip:x@127.0.0.1?Replaces={}>\n",
            caller.replaces().replace(';', "%3B").replace('=', "%3D")
        );
        for refer in [own, attended, "Refer-To: <sip:900@127.0.0.1>\nRefer-Sub: false\n".to_owned()] {
            assert_eq!(dialog.ask("REFER", &refer, ""), 603, "{refer}");
        }
    }
    // another call does not take the place of a side of this one, by whomever and however it is written
    let offer = ends.carrier.1.sdp("0 101", "");
    let long = |length| format!("{};x={}", caller.replaces(), "x".repeat(length));
    let early = format!("{};early-only", caller.replaces());
    for place in [caller.replaces(), client.replaces(), early, long(3000), "x".to_owned()] {
        for name in ["Replaces", "replaces", "REPLACES ", "Replaces\t"] {
            for peer in [&ends.carrier.0, &ends.client.0] {
                let other =
                    Dialog::call(peer, server(&stage.ringing), &site.did, &format!("{name}: {place}\n"), &offer);
                let answer = other.final_answer(1, "INVITE").and_then(|answer| answer.status());
                assert!(matches!(answer, Some(400..=499)), "{name}: {place}: {answer:?}");
            }
        }
    }
    assert_eq!((site.attempts("1").len(), site.open_attempts()), (1, 1), "it is up, and there is no other");
    assert_eq!(caller.ask("OPTIONS", "", ""), 200);
    assert_eq!(client.ask("OPTIONS", "", ""), 200);
    ends_well(&site, &caller, &client);
}

/// A header that is longer than Asterisk looks at when it asks whose a request is.
#[test]
fn a_call_that_is_taken_over_ends_with_its_record() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    let offer = ends.carrier.1.sdp("0 101", "");
    for asterisk in [&stage.ringing, &stage.early] {
        let site = stage.in_order(&[ends.client.0.contact()]);
        let (caller, client) = ends.call(asterisk, &site);
        // before it is bridged, the other call goes on in its place, with its limits
        wait_for("the two to hear each other", || {
            ends.carrier.1.send(caller.media(), 0, &[0x55; 160]);
            ends.client.1.wait(Duration::from_millis(100), |_| true).is_some()
        });
        let place = format!("Replaces: {};x={}\n", caller.replaces(), "x".repeat(5000));
        let mut other = Dialog::call(&ends.carrier.0, server(asterisk), &site.did, &place, &offer);
        other.answered();
        // nobody talks on: neither past the limits of the call nor on a place that is free again
        caller.ended();
        client.ended();
        other.ended();
        assert_eq!(
            site.wait_for_records(1, "call_status, client_identifier"),
            [format!("ANSWERED|{}", site.clients[0])]
        );
        assert_eq!((site.counts(), site.open_attempts(), site.attempts("1").len()), (vec![1], 0, 1));
    }
}

#[test]
fn a_message_outside_of_a_call_does_not_dial() {
    let (stage, _turn) = stage();
    let ends = Ends::new();
    let site = stage.in_order(&[ends.client.0.contact()]);
    for (peer, expected) in [(&ends.carrier.0, 404), (&ends.client.0, 401)] {
        let outside = Dialog::outside(peer, server(&stage.ringing), &site.did);
        assert_eq!(outside.ask("MESSAGE", "Content-Type: text/plain\n", "hello\n"), expected);
    }
    let outside = Dialog::outside(&ends.carrier.0, server(&stage.ringing), &site.did);
    assert_eq!(outside.ask("REFER", "Refer-To: <sip:900@192.0.2.1>\n", ""), 501);
    // a call that follows is the only one
    let (caller, client) = ends.call(&stage.ringing, &site);
    ends_well(&site, &caller, &client);
}
