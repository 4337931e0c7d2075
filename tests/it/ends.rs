//! Where a call ends: the record and the place are those of the conversation, whatever becomes of a channel.

use std::time::{Duration, Instant};

use crate::harness::sip::{Behaviour, Centre};
use crate::harness::ua::{Carrier, Invite};
use crate::harness::wait_for;
use crate::stage::stage;

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
        let answer = carrier.call(&[invite.clone()]).remove(0);
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
