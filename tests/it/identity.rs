//! Two calls are two, whatever unique ids their servers give them: too long for the columns, or given before.

use crate::harness::agi::{self, AgiServer};
use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::Postgres;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, process, wait_for};
use crate::stage::stage;

/// When a call came in.
const FIRST: &str = "2026-01-02T03:04:05.000001Z";
/// A moment later: ids of a restored server come again within the same second.
const SECOND: &str = "2026-01-02T03:04:05.000002Z";

#[test]
fn calls_of_a_server_with_a_long_name_are_told_apart() {
    let (_, _turn) = stage();
    let database = Postgres::shared().database();
    let name = "a-system-name-of-forty-characters-or-so1";
    let start = || Asterisk::start(&database, &Options { system_name: name, early_answer: true, ..Options::default() });
    let asterisk = start();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&database, "priority", 20, &[Link { max_concurrency: 3, ..Link::to(centre.contact()) }]);
    let calls = Calls { did: &site.did, then: Then::HangUpAfter(100_000), count: 3, ..Calls::default() };
    let calling = calls.start(&asterisk);
    wait_for("three calls", || centre.peak_and_now().1 == 3 && site.open_attempts() == 3);
    // they are found among its channels: nothing is closed
    let reap = || {
        let mut command = database.command();
        asterisk.on_its_server(&mut command);
        process::run(command.args(["call", "reap", "--json"]))
    };
    database.execute("UPDATE call_attempts SET lease_expires_at = now() - interval '1 h'");
    assert_eq!(reap(), "[]\n");
    assert_eq!(site.attempts("lease_expires_at > now()"), ["t"; 3]);
    asterisk.cli("channel request hangup all");
    calling.abandon();
    assert_eq!(site.wait_for_records(3, "call_status, length(asterisk_uniqueid) <= 50"), ["ANSWERED|t"; 3]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![3], 0));
    let legs = "SELECT count(DISTINCT asterisk_uniqueid), count(DISTINCT asterisk_linkedid) FROM call_logs";
    assert_eq!(database.value(legs), "3|3");
}

/// What the channel of a call says to cc-route.agi.
fn dialled(call: &str, start: &str, did: &str) -> String {
    agi::said(call, &format!("{call}&node&{}&&&&{start}", &did[1..]))
}

/// What the channel of an answered call says to cdr_logger.agi, which is known by another id if `kept` says so.
fn ended(call: &str, start: &str, did: &str, kept: &str) -> String {
    let times = format!("{start}&2026-01-02T03:04:07.000000Z&2026-01-02T03:04:10.000000Z");
    agi::said(call, &format!("{call}&{}&{times}&proceed&&ANSWER&16&&&&&&{call}&&&{kept}", &did[1..]))
}

/// The id that cc-route.agi gave a call, and whether it said so.
fn kept(sent: &str) -> String {
    let id = sent.lines().find_map(|line| line.strip_prefix("SET VARIABLE \"CC_CALL_ID\" \""));
    assert_eq!(
        id.is_some(),
        sent.contains("EXEC Log \"WARNING,cc-route.agi: another call had the unique id"),
        "{sent}"
    );
    id.map(|id| id.trim_end_matches('"').to_owned()).unwrap_or_default()
}

#[test]
fn a_unique_id_that_comes_again_is_another_call_where_it_came_in_at_another_time() {
    let database = Postgres::shared().database();
    let site =
        Site::new(&database, "priority", 20, &[Link { total_calls_allowed: Some(3), ..Link::to("sip:127.0.0.1:9") }]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = |name: &str, said: &str| {
        let output = agi::run(&mut agi::command(name, &database.url, folder.path()), said);
        assert!(output.status.success(), "{name}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let server = AgiServer::start(database.command(), free_port("127.0.0.1"), &[]);
    // programs, and the server in their place
    for call in ["program-1.2", "server-1.2"] {
        database.execute("DELETE FROM call_logs; UPDATE campaign_client_settings SET current_total_calls = 0");
        let ask = |script: &str, said: &str| match call {
            "program-1.2" => program(if script == "route" { "cc-route" } else { "cdr_logger" }, said),
            _ => server.ask(script, said),
        };
        let first = ask("route", &dialled(call, FIRST, &site.did));
        assert!(first.contains("\"proceed,") && kept(&first).is_empty(), "{first}");
        // while the first is up, and after it
        let second = ask("route", &dialled(call, SECOND, &site.did));
        let own = kept(&second);
        assert!(second.contains("\"proceed,") && own.starts_with(&format!("{call}~")), "{second}");
        assert_eq!(kept(&ask("route", &dialled(call, SECOND, &site.did))), own, "the same question");
        assert_eq!(site.open_attempts(), 2);
        ask("log", &ended(call, FIRST, &site.did, ""));
        ask("log", &ended(call, SECOND, &site.did, &own));
        // a record that comes again, also of a channel that was not told of its id
        ask("log", &ended(call, SECOND, &site.did, ""));
        ask("log", &ended(call, FIRST, &site.did, ""));
        assert_eq!(
            site.records("asterisk_uniqueid, call_status"),
            [format!("{call}|ANSWERED"), format!("{own}|ANSWERED")]
        );
        assert_eq!((site.counts(), site.open_attempts()), (vec![2], 0));
        // a question that comes late is none of another call
        assert!(ask("route", &dialled(call, FIRST, &site.did)).contains("call_ended"));
        assert!(ask("route", &dialled(call, SECOND, &site.did)).contains("call_ended"));
        // where nobody knows when it came in, the id alone counts
        assert!(ask("route", &dialled(call, "", &site.did)).contains("call_ended"));
    }
}

#[test]
fn two_calls_of_one_id_that_wait_in_the_spool_are_two_records() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = tempfile::tempdir().expect("a folder");
    let away = "postgresql://127.0.0.1:1/away";
    for start in [FIRST, SECOND, SECOND] {
        let output =
            agi::run(&mut agi::command("cdr_logger", away, folder.path()), &ended("spool-1.2", start, &site.did, ""));
        assert!(output.status.success());
    }
    let replay = || {
        let mut command = database.command();
        process::run(command.env("CAPCONDUIT_SPOOL_DIR", folder.path().join("capconduit")).args(["call", "replay"]))
    };
    assert!(replay().starts_with("2 delivered, 0 there before"));
    assert!(replay().starts_with("0 delivered, 0 there before"));
    let ids = site.records("asterisk_uniqueid");
    assert!(ids.contains(&"spool-1.2".to_owned()) && ids.iter().any(|id| id.starts_with("spool-1.2~")), "{ids:?}");
}
