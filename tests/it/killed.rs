//! The per-call programs killed at any point of their run, then run again.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::agi;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};

const RUNS: u32 = 50;

fn command(name: &str, database: &Database, spool: &Path) -> Command {
    agi::command(name, &database.url, spool)
}

/// Starts a program on this channel and kills it after `delay`. Whether it was still running.
fn kill(command: &mut Command, said: &str, delay: Duration) -> bool {
    let mut child = command.spawn().expect("the program runs");
    // one that has been killed reads nothing
    let _ = child.stdin.take().expect("piped").write_all(said.as_bytes());
    std::thread::sleep(delay);
    let running = child.try_wait().expect("ours").is_none();
    child.kill().expect("ours");
    child.wait().expect("ours");
    running
}

/// Half as long again as a whole run takes, the shortest of five: a machine that is busy for a moment
/// must not let all later runs end before they are killed.
fn whole_run(mut run: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let begun = std::time::Instant::now();
            run();
            begun.elapsed()
        })
        .min()
        .unwrap_or_default()
        * 3
        / 2
}

/// When the runs are killed: at points spread over a whole run, from the first instruction to beyond
/// the last. A busy machine wakes us late: then there are more runs, killed earlier.
struct Points {
    duration: Duration,
    runs: u32,
    killed: u32,
}

impl Points {
    fn new(duration: Duration) -> Points {
        Points { duration, runs: 0, killed: 0 }
    }

    fn next(&mut self) -> Option<(u32, Duration)> {
        let n = self.runs;
        if n >= RUNS && self.killed > RUNS / 4 {
            return None;
        }
        assert!(n < 10 * RUNS, "only {} of {n} runs were killed", self.killed);
        self.runs += 1;
        Some((n, self.duration * (n % RUNS) / RUNS / (1 + n / RUNS)))
    }
}

#[test]
fn cdr_logger_killed_anywhere_writes_one_record_and_counts_once() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = tempfile::tempdir().expect("a folder");
    let claim = |call: &str| {
        let sql = format!("SELECT status FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)", site.did);
        assert_eq!(database.value(&sql), "proceed");
    };
    let run = |call: &str| {
        let said = agi::answered(call, &site.did, site.settings[0]);
        assert!(agi::run(&mut command("cdr_logger", &database, folder.path()), &said).status.success());
    };
    let mut calls = 0;
    let duration = whole_run(|| {
        calls += 1;
        claim(&format!("k-0.{calls}"));
        run(&format!("k-0.{calls}"));
    });
    let mut points = Points::new(duration);
    while let Some((n, delay)) = points.next() {
        let call = format!("k-1.{n}");
        claim(&call);
        let said = agi::answered(&call, &site.did, site.settings[0]);
        points.killed += u32::from(kill(&mut command("cdr_logger", &database, folder.path()), &said, delay));
        // the hangup handler runs it again
        run(&call);
    }
    let all = usize::try_from(points.runs).expect("small") + calls;
    assert_eq!(site.records("1").len(), all);
    assert_eq!((site.counts(), site.open_attempts()), (vec![i32::try_from(all).expect("small")], 0));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn cc_route_killed_anywhere_leaks_no_claim() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link { max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") }]);
    let folder = tempfile::tempdir().expect("a folder");
    let log = |call: &str| {
        let said = agi::answered(call, &site.did, site.settings[0]);
        assert!(agi::run(&mut command("cdr_logger", &database, folder.path()), &said).status.success());
    };
    let mut calls = 0;
    let duration = whole_run(|| {
        calls += 1;
        let call = format!("k-0.{calls}");
        let said = agi::dialled(&call, &site.did);
        assert!(agi::run(&mut command("cc-route", &database, folder.path()), &said).status.success());
        log(&call);
    }) / 2;
    let mut points = Points::new(duration);
    while let Some((n, delay)) = points.next() {
        let call = format!("k-1.{n}");
        points.killed +=
            u32::from(kill(&mut command("cc-route", &database, folder.path()), &agi::dialled(&call, &site.did), delay));
        // the dialplan ends the call; what the server may still be doing for the dead program is waited
        // for, or refused afterwards
        log(&call);
    }
    let all = usize::try_from(points.runs).expect("small") + calls;
    // a statement that was still on its way is over by now
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((site.records("1").len(), site.open_attempts()), (all, 0), "{:?}", site.attempts("*"));
    let once = database.value("SELECT count(*) = count(DISTINCT asterisk_uniqueid) FROM call_logs");
    assert_eq!(once, "t");
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
    // the only place is free
    let sent = agi::run(&mut command("cc-route", &database, folder.path()), &agi::dialled("k-2.1", &site.did));
    assert!(String::from_utf8_lossy(&sent.stdout).contains("\"proceed,,,"));
}

#[test]
fn cc_route_killed_anywhere_and_asked_again_gives_one_claim() {
    let database = Postgres::shared().database();
    let links = [1, 2].map(|forwarding_priority| Link { forwarding_priority, ..Link::to("sip:127.0.0.1:9") });
    let site = Site::new(&database, "priority", 20, &links);
    let folder = tempfile::tempdir().expect("a folder");
    let run = |call: &str, variables: &str| {
        let output = agi::run(&mut command("cc-route", &database, folder.path()), &agi::said(call, variables));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let dialled = |call: &str, rest: &str| format!("{call}&node&{}&{rest}", &site.did[1..]);
    let duration = whole_run(|| {
        assert!(run("a-0.0", &dialled("a-0.0", "&0&")).contains("\"proceed,,,"));
    });
    assert_eq!(site.attempts("attempt_number"), ["1"], "asked three times");
    let mut points = Points::new(duration);
    while let Some((n, delay)) = points.next() {
        let call = format!("a-1.{n}");
        let first = dialled(&call, "&0&");
        let kill = |said: &str| u32::from(kill(&mut command("cc-route", &database, folder.path()), said, delay));
        points.killed += kill(&agi::said(&call, &first));
        assert!(run(&call, &first).contains(&format!("\"proceed,,,{},", site.settings[0])));
        // the first client is busy: the next one is claimed, once
        let next = dialled(&call, "BUSY&17&1");
        points.killed += kill(&agi::said(&call, &next));
        assert!(run(&call, &next).contains(&format!("\"proceed,,,{},", site.settings[1])));
        // what is left of a killed program's question comes late and changes nothing
        assert!(run(&call, &first).contains(&format!("\"proceed,,,{},", site.settings[1])));
    }
    let mut attempts = vec!["1|".to_owned()];
    attempts.extend((0..points.runs).flat_map(|_| ["1|failover".to_owned(), "2|".to_owned()]));
    let in_order = "attempt_number, release_reason FROM call_attempts ORDER BY asterisk_uniqueid = 'a-0.0' DESC, asterisk_uniqueid, attempt_number";
    assert_eq!(database.query(&format!("SELECT {in_order}")), attempts);
}
