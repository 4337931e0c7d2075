//! Real calls through a real Asterisk: what each ending leaves behind.

use std::sync::OnceLock;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::wait_for;

/// Two Asterisk servers on one database, shared by the tests: one answers early, one does not.
pub(crate) struct Stage {
    pub(crate) database: Database,
    pub(crate) early: Asterisk,
    pub(crate) ringing: Asterisk,
}

pub(crate) fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let database = Postgres::shared().database();
        database.execute(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
        let start = |system_name, early_answer| Asterisk::start(&database, &Options { system_name, early_answer });
        Stage { early: start("early", true), ringing: start("ringing", false), database }
    })
}

/// A site of links with the given priorities in their order.
fn in_order(contacts: &[String]) -> Site {
    let links: Vec<Link> = contacts
        .iter()
        .zip(0..)
        .map(|(contact, priority)| Link { forwarding_priority: priority, ..Link::to(contact) })
        .collect();
    Site::new(&stage().database, "priority", 2, &links)
}

#[test]
fn an_answered_call_is_recorded_with_its_bridged_time() {
    for asterisk in [&stage().early, &stage().ringing] {
        let centre = Centre::start(Behaviour::Answer { ring: 2000 });
        let site = Site::new(&stage().database, "priority", 20, &[Link::to(centre.contact())]);
        // with early answer the caller's three seconds begin two seconds before the client's
        let early = std::ptr::eq(asterisk, &raw const stage().early);
        let hold = if early { 5000 } else { 3000 };
        let codes = Calls { did: &site.did, then: Then::HangUpAfter(hold), ..Calls::default() }.place(asterisk);
        assert_eq!(codes, [200]);
        let records = site.wait_for_records(
            1,
            "call_status, billsec_seconds, duration_seconds, client_identifier, hangup_cause_code, caller_id_num,
             timestamp_answered - timestamp_start BETWEEN '1.8 s' AND '2.9 s'",
        );
        assert_eq!(records, [format!("ANSWERED|3|5|{}|16|12125550147|t", site.clients[0])]);
        assert_eq!(site.counts(), [1]);
        assert_eq!(site.open_attempts(), 0);
    }
}
