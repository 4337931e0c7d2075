//! A client that answers is not yet one that the caller can talk to.

use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::wait_for;
use crate::stage::stage;

/// An SDP with these lines after its head.
macro_rules! sdp {
    ($lines:literal) => {
        concat!("v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n", $lines)
    };
}

/// Answers that bring the caller nothing to hear, and the codecs that the client is set to have.
const UNUSABLE: [(&str, &str); 11] = [
    ("", "ulaw"),
    ("", "ulaw,g729"),
    // nothing translates it: one is found out before the client is called, the other by its answer
    (sdp!("m=audio [media_port] RTP/AVP 18\na=rtpmap:18 G729/8000\n"), "g729"),
    (sdp!("m=audio [media_port] RTP/AVP 18\na=rtpmap:18 G729/8000\n"), "ulaw,g729"),
    // it was not offered
    (sdp!("m=audio [media_port] RTP/AVP 99\na=rtpmap:99 opus/48000/2\n"), "ulaw"),
    // digits, but no voice
    (sdp!("m=audio [media_port] RTP/AVP 101\na=rtpmap:101 telephone-event/8000\n"), "ulaw"),
    // encrypted, without keys
    (sdp!("m=audio [media_port] RTP/SAVP 0\n"), "ulaw"),
    (sdp!("m=audio 0 RTP/AVP 0\n"), "ulaw"),
    (sdp!("m=video [media_port] RTP/AVP 34\n"), "ulaw"),
    (sdp!(""), "ulaw"),
    ("no SDP at all\n", "ulaw"),
];

#[test]
fn a_client_that_answers_without_usable_audio_is_failed_over_and_not_counted() {
    let (stage, _turn) = stage();
    let good = Centre::start(Behaviour::AnswerAndHangUp { ring: 0, talk: 300 });
    let mut good_calls = 0;
    for (sdp, codecs) in UNUSABLE {
        let bad = Centre::start(Behaviour::AnswerWith(sdp));
        for asterisk in [&stage.ringing, &stage.early] {
            let site = stage.in_order(&[bad.contact(), good.contact()]);
            let allow = format!("UPDATE pjsip_endpoints SET allow = '{codecs}' WHERE id = '{}'", site.clients[0]);
            site.database.execute(&allow);
            let codes = Calls { did: &site.did, then: Then::WaitForEnd, ..Calls::default() }.place(asterisk);
            assert_eq!(codes, [200], "{sdp}");
            let records = site.wait_for_records(1, "call_status, client_identifier");
            assert_eq!(records, [format!("ANSWERED|{}", site.clients[1])], "{sdp}");
            assert_eq!(
                site.attempts("release_reason, dial_status, hangup_cause_code"),
                ["failover|CHANUNAVAIL|58", "hangup|ANSWER|16"],
                "{codecs} {sdp}"
            );
            assert_eq!(site.counts(), [0, 1], "{sdp}");
            good_calls += 1;
        }
        wait_for("the client that had answered to be hung up on", || bad.peak_and_now().1 == 0);
    }
    assert_eq!(good.calls(), good_calls);
}

#[test]
fn where_no_client_has_audio_the_carrier_may_try_another_route() {
    let (stage, _turn) = stage();
    let bad = Centre::start(Behaviour::AnswerWith(""));
    let site = stage.in_order(&[bad.contact(), bad.contact()]);
    assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(&stage.ringing), [503]);
    assert_eq!(
        site.wait_for_records(1, "call_status, billsec_seconds, timestamp_answered, client_identifier"),
        [format!("FAILED|0||{}", site.clients[1])]
    );
    // answered before, the caller is hung up on, and no client is paid for it
    assert_eq!(Calls { did: &site.did, then: Then::WaitForEnd, ..Calls::default() }.place(&stage.early), [200]);
    assert_eq!(site.wait_for_records(2, "call_status, billsec_seconds, timestamp_answered")[1], "FAILED|0|");
    assert_eq!((site.counts(), site.open_attempts()), (vec![0, 0], 0));
}

#[test]
fn audio_that_comes_before_the_answer_or_is_held_back_is_audio() {
    let (stage, _turn) = stage();
    for behaviour in [
        Behaviour::AnswerAfterProgress,
        // on hold: the client may take it up at any time
        Behaviour::AnswerWith(sdp!("m=audio [media_port] RTP/AVP 0\na=inactive\n")),
        Behaviour::AnswerWith(sdp!("m=audio [media_port] RTP/AVP 0\na=sendonly\n")),
        Behaviour::AnswerWith(sdp!("m=audio [media_port] RTP/AVP 0\na=recvonly\n")),
        // translated
        Behaviour::AnswerWith(sdp!("m=audio [media_port] RTP/AVP 3\n")),
    ] {
        let centre = Centre::start(behaviour);
        for asterisk in [&stage.ringing, &stage.early] {
            let site = stage.in_order(&[centre.contact()]);
            let call = Calls { did: &site.did, then: Then::HangUpAfter(1500), ..Calls::default() };
            assert_eq!(call.place(asterisk), [200], "{behaviour:?}");
            let records = site.wait_for_records(1, "call_status, billsec_seconds BETWEEN 1 AND 2");
            assert_eq!(records, ["ANSWERED|t"], "{behaviour:?}");
            assert_eq!(site.counts(), [1], "{behaviour:?}");
        }
    }
}
