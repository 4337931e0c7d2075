//! One call that arrives more than once: copies of its INVITE that took different ways, as a forking proxy or a
//! carrier with two routes makes them (RFC 3261, 8.2.2.2).

use crate::harness::sip::{Behaviour, Centre};
use crate::harness::site::Link;
use crate::harness::ua::{Carrier, Invite};
use crate::harness::wait_for;
use crate::stage::stage;

#[test]
fn of_copies_that_come_at_once_one_is_the_call() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    for (asterisk, server) in [(&stage.ringing, "r"), (&stage.early, "e")] {
        let site = stage.in_order(&[centre.contact()]);
        let carrier = Carrier::of(asterisk, &site.did);
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
        let carrier = Carrier::of(asterisk, &site.did);
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
    let carrier = Carrier::of(&stage.ringing, &site.did);
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
    let carrier = Carrier::of(&stage.ringing, &site.did);
    for way in 1..=20 {
        assert_eq!(carrier.place(&[Invite::new("again", &format!("again{way}"))]), [486]);
    }
    assert_eq!(site.wait_for_records(20, "call_status"), ["BUSY"; 20]);
    assert_eq!(busy.calls(), 20);
}
