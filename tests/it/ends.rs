//! Where a call ends: the record and the place are those of the conversation, whatever becomes of a channel.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::sip::{Behaviour, Centre};
use crate::harness::ua::{Carrier, Invite};
use crate::harness::wait_for;
use crate::stage::{Stage, stage};

/// A site's own dialplan calls a number of ours. Asterisk takes the Local channels out as soon as media flow,
/// and with them the place of the call, unless it is told not to.
#[test]
fn a_call_that_a_sites_dialplan_makes_has_its_place_until_it_ends() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for asterisk in [&stage.ringing, &stage.early] {
        let site = stage.in_order(&[centre.contact()]);
        site.database.execute(&format!("UPDATE campaigns SET max_call_seconds = 3 WHERE id = {}", site.campaign_id));
        let number = format!("77{}", &site.did[1..]);
        asterisk.cli(&format!("dialplan add extension {number},1,Dial,Local/{}@from-pstn into from-pstn", site.did));
        let carrier = Carrier::of(asterisk, &number);
        let invite = Invite::new(&format!("local-{}", site.user), &site.user);
        let answer = carrier.call(std::slice::from_ref(&invite)).remove(0);
        assert_eq!(answer.status, 200);
        wait_for("the client to answer", || centre.peak_and_now().1 == 1);
        let begun = Instant::now();
        carrier.talk(&answer, || begun.elapsed() > Duration::from_millis(1500));
        assert_eq!((site.records("1").len(), site.open_attempts()), (0, 1), "{}", asterisk.cli("core show channels"));
        // its longest time is still its limit
        carrier.talk(&answer, || !site.records("1").is_empty() || begun.elapsed() > Duration::from_secs(20));
        assert_eq!(site.records("call_status, billsec_seconds BETWEEN 3 AND 4"), ["ANSWERED|t"]);
        wait_for("the client to be told", || centre.peak_and_now().1 == 0);
    }
}

/// A client that answers with its audio on hold.
const ON_HOLD: &str = "v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n\
                       m=audio [media_port] RTP/AVP 0\na=inactive\n";

/// A server that soon ends the call of a silent carrier, and that could transfer calls.
fn quiet(stage: &Stage) -> &'static Asterisk {
    static QUIET: OnceLock<Asterisk> = OnceLock::new();
    QUIET.get_or_init(|| {
        let files = [("pjsip_local.conf", "[carrier](+)\nrtp_timeout=2\n")];
        let modules = ["res_pjsip_refer"];
        let options = Options {
            system_name: "quiet",
            early_answer: true,
            files: &files,
            modules: &modules,
            ..Options::default()
        };
        Asterisk::start(&stage.database, &options)
    })
}

/// Two parties that have both gone without a word send no BYE: what ends the call is that they are silent.
#[test]
fn a_call_without_media_ends_by_itself() {
    let (stage, _turn) = stage();
    let quiet = quiet(stage);
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    // the client's limit, the caller's, and the cause that the record has
    for (asterisk, limit, cause) in [(&stage.ringing, Some(2), 16), (&stage.early, Some(2), 16), (quiet, None, 44)] {
        let site = stage.in_order(&[centre.contact()]);
        if let Some(limit) = limit {
            site.database.capconduit(&["pjsip", "set", &site.clients[0], "--rtp-timeout", &format!("{limit}")]);
        }
        let carrier = Carrier::of(asterisk, &site.did);
        let answer = carrier.call(&[Invite::new(&format!("silent-{}", site.user), &site.user)]).remove(0);
        assert_eq!(answer.status, 200);
        let records = site.wait_for_records(1, "call_status, billsec_seconds BETWEEN 1 AND 4, hangup_cause_code");
        assert_eq!(records, [format!("ANSWERED|t|{cause}")]);
        assert_eq!((site.open_attempts(), site.counts()), (0, vec![1]));
        wait_for("the client to be told", || centre.peak_and_now().1 == 0);
        let log = asterisk.log();
        assert!(log.contains("for lack of audio RTP activity"), "{log}");
    }

    // who talks stays, and so does who is on hold
    let held = Centre::start(Behaviour::AnswerWith(ON_HOLD));
    for (asterisk, centre) in [(quiet, &centre), (&stage.ringing, &held)] {
        let site = stage.in_order(&[centre.contact()]);
        site.database.capconduit(&["pjsip", "set", &site.clients[0], "--rtp-timeout", "2"]);
        if std::ptr::eq(asterisk, quiet) {
            site.database.capconduit(&["pjsip", "set", &site.clients[0], "--rtp-timeout", "0"]);
        }
        let carrier = Carrier::of(asterisk, &site.did);
        let invite = Invite::new(&format!("talk-{}", site.user), &site.user);
        let answer = carrier.call(std::slice::from_ref(&invite)).remove(0);
        let begun = Instant::now();
        carrier.talk(&answer, || begun.elapsed() > Duration::from_secs(5));
        assert_eq!((site.records("1").len(), site.open_attempts()), (0, 1));
        carrier.hang_up(&invite, &answer);
        assert_eq!(site.wait_for_records(1, "call_status, hangup_cause_code"), ["ANSWERED|16"]);
    }
}

#[test]
fn silence_has_limits_unless_a_site_says_otherwise() {
    let (stage, _turn) = stage();
    let site = stage.in_order(&["sip:127.0.0.1:9".to_owned()]);
    let client = site.clients[0].as_str();
    let limits = |endpoint: &str| {
        let text = stage.ringing.cli(&format!("pjsip show endpoint {endpoint}"));
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split(':').next().is_some_and(|l| l.trim() == name));
            line.and_then(|line| line.split(':').nth(1)).unwrap_or_default().trim().to_owned()
        };
        ["rtp_timeout", "rtp_timeout_hold", "timers", "timers_sess_expires"].map(value).join(" ")
    };
    let set = |options: &[&str]| {
        site.database.capconduit(&[&["pjsip", "set", client], options].concat());
        limits(client)
    };
    assert_eq!(limits("carrier"), "120 1800 yes 1800");
    assert_eq!(limits(client), "120 1800 yes 1800");
    assert_eq!(set(&["--rtp-timeout", "0", "--rtp-timeout-hold", "60", "--timers", "no"]), "0 60 no 1800");
    assert_eq!(set(&["--rtp-timeout", "", "--rtp-timeout-hold", "", "--timers", ""]), "120 1800 yes 1800");
    // where media do not come by, there is nothing to see of them
    assert_eq!(set(&["--direct-media", "yes"]), "0 0 yes 1800");
    assert_eq!(set(&["--direct-media", "yes", "--rtp-timeout", "90"]), "90 0 yes 1800");
}

/// A transfer by the carrier would send the client on as the caller of another call, and end his own call's record.
#[test]
fn a_carrier_cannot_transfer_a_client_away() {
    let (stage, _turn) = stage();
    let asterisk = quiet(stage);
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let (site, other) = (stage.in_order(&[centre.contact()]), stage.in_order(&[centre.contact()]));
    site.database.capconduit(&["pjsip", "set", &site.clients[0], "--rtp-timeout", "0"]);
    let carrier = Carrier::of(asterisk, &site.did);
    let invite = Invite::new("transfer", "transfer");
    let answer = carrier.call(std::slice::from_ref(&invite)).remove(0);
    let begun = Instant::now();
    wait_for("the client to answer", || centre.peak_and_now().1 == 1);
    assert_eq!(carrier.refer(&invite, &answer, &other.did), 603);
    carrier.talk(&answer, || begun.elapsed() > Duration::from_secs(3));
    assert_eq!((site.records("1").len(), site.open_attempts()), (0, 1));
    carrier.hang_up(&invite, &answer);
    assert_eq!(site.wait_for_records(1, "call_status, billsec_seconds BETWEEN 2 AND 4"), ["ANSWERED|t"]);
    assert_eq!((other.attempts("1").len(), centre.calls()), (0, 1));
}
