//! What bin/demo runs: sample data, call centres, calls, and what the administrator sees of them.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

mod harness;

use std::time::Duration;

use harness::asterisk::{Asterisk, Options};
use harness::postgres::{Database, Postgres};
use harness::sip::{Behaviour, Calls, Centre, Then};
use harness::wait_for;

fn main() {
    step("Starting a private PostgreSQL and loading sample data");
    let postgres = Postgres::start();
    let database = postgres.empty_database();
    show(&database, &["db", "migrate"]);
    show(&database, &["db", "seed"]);

    step("Starting three call centres (SIPp): acme and borealis answer, cygnus is busy");
    let acme = Centre::start(Behaviour::Answer { ring: 300 });
    let borealis = Centre::start(Behaviour::Answer { ring: 300 });
    let cygnus = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    for (name, centre) in [("acme", &acme), ("borealis", &borealis), ("cygnus", &cygnus)] {
        show(&database, &["pjsip", "set", name, "--contact", &centre.contact()]);
    }

    step("Starting a private Asterisk on the files that `capconduit asterisk install` writes");
    let asterisk =
        Asterisk::start(&database, &Options { system_name: "demo", early_answer: false, ..Options::default() });
    println!("{}", asterisk.cli("core show version").lines().next().unwrap_or_default());
    let endpoints = asterisk.cli("pjsip show endpoints");
    let names = endpoints.lines().filter_map(|l| l.strip_prefix(" Endpoint:  ")?.split_whitespace().next());
    println!("It knows these endpoints: {}", names.filter(|n| !n.starts_with('<')).collect::<Vec<_>>().join(", "));
    let mut demo = Demo { database, asterisk, recorded: 0 };

    step("Three calls to +18005550102: acme and cygnus take turns, and cygnus is busy");
    for _ in 0..3 {
        demo.call(&Calls { did: "18005550102", then: Then::HangUpAfter(1200), ..Calls::default() });
    }
    demo.who();

    step("Ten calls to +18005550103: acme and borealis share them 70 to 30");
    demo.call(&Calls { did: "+18005550103", count: 10, per_second: 4, ..Calls::default() });
    demo.who();

    step("Why would a call to +18005550101 go where it goes?");
    show(&demo.database, &["setting", "set", "Alice Priority", "cygnus", "--status", "inactive"]);
    show(&demo.database, &["route", "explain", "+18005550101"]);

    step("Twelve calls at once to +18005550101: acme takes 5 at a time, borealis 3");
    let calls =
        Calls { did: "0018005550101", count: 12, per_second: 20, then: Then::HangUpAfter(4000), ..Calls::default() };
    let calling = calls.start(&demo.asterisk);
    wait_for("twelve decisions", || {
        let open = "SELECT count(*) FROM call_attempts WHERE released_at IS NULL AND lease_expires_at > now()";
        let rejected =
            "SELECT count(*) FROM call_logs WHERE call_status = 'REJECTED_CC' AND asterisk_uniqueid LIKE 'demo-%'";
        demo.number(open) + demo.number(rejected) == 12
    });
    std::thread::sleep(Duration::from_millis(600));
    show(&demo.database, &["setting", "list", "--campaign", "Alice Priority"]);
    show(&demo.database, &["call", "active"]);
    println!("$ asterisk -rx 'group show channels'\n{}", demo.asterisk.cli("group show channels"));
    let mut codes = calling.finish();
    codes.sort_unstable();
    demo.recorded += 12;
    demo.wait();
    let answered = codes.iter().filter(|&&c| c == 200).count();
    println!("The carrier saw {answered} calls answered and {} refused with SIP 503.", codes.len() - answered);
    for (name, centre, cap) in [("acme", &acme, 5), ("borealis", &borealis, 3)] {
        let (peak, _) = centre.peak_and_now();
        println!("On its own side of SIP, {name} saw {peak} calls at once at most; its cap is {cap}.");
        assert_eq!(peak, cap, "{name}");
    }
    assert_eq!(codes, [vec![200; 8], vec![503; 4]].concat());

    step("The call log and the caps");
    show(&demo.database, &["call", "list", "--limit", "30"]);
    show(&demo.database, &["setting", "list"]);
    let id = demo.database.value("SELECT asterisk_uniqueid FROM call_attempts WHERE attempt_number = 2 LIMIT 1");
    step("The call that failed over, with its attempts");
    show(&demo.database, &["call", "show", &id]);

    step("Stopping everything");
}

/// The servers, and how many calls have been placed.
struct Demo {
    database: Database,
    asterisk: Asterisk,
    recorded: i64,
}

impl Demo {
    /// Places calls; the carrier must see them all answered.
    fn call(&mut self, calls: &Calls<'_>) {
        let codes = calls.place(&self.asterisk);
        assert!(codes.iter().all(|&code| code == 200), "{codes:?}");
        self.recorded += i64::from(calls.count);
        self.wait();
    }

    fn wait(&self) {
        let recorded = "SELECT count(*) FROM call_logs WHERE asterisk_uniqueid LIKE 'demo-%'";
        wait_for("the call records", || self.number(recorded) == self.recorded);
    }

    fn number(&self, sql: &str) -> i64 {
        self.database.value(sql).parse().expect("a number")
    }

    /// Who was asked to take the calls since the last time, and what came of it.
    fn who(&self) {
        let calls = self.database.query(
            "SELECT l.incoming_did_number || '  ' || rpad(l.call_status, 8) || '  ' || string_agg(
                 c.client_identifier || ' ' || a.dial_status, ' -> ' ORDER BY a.attempt_number)
             FROM call_logs l JOIN call_attempts a USING (asterisk_uniqueid) JOIN clients c ON c.id = a.client_id
             WHERE l.campaign_id = (SELECT campaign_id FROM call_logs ORDER BY id DESC LIMIT 1)
             GROUP BY l.id ORDER BY l.id",
        );
        for call in calls {
            println!("  {call}");
        }
    }
}

fn step(what: &str) {
    println!("\n== {what}");
}

/// Runs a command of the CLI as an administrator would, and shows both.
fn show(database: &Database, arguments: &[&str]) {
    let quoted: Vec<String> =
        arguments.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { (*a).to_owned() }).collect();
    println!("$ capconduit {}", quoted.join(" "));
    print!("{}", database.capconduit(arguments));
}
