//! Clocks that are set while calls are up: the database's, which leases go by, and Asterisk's, which calls are billed by.

use std::path::PathBuf;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::Postgres;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{process, wait_for};
use crate::stage::stage;

/// Shows a process another time than the system's, as a file says.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file())
        .expect("libfaketime is missing: run tests/setup, or apt-get install libfaketime")
}

#[test]
fn seconds_billed_are_those_that_passed_however_the_clock_is_set() {
    let (_, _turn) = stage();
    let database = Postgres::shared().database();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("time");
    let set = |offset: i64| std::fs::write(&file, format!("{offset:+}\n")).expect("own folder");
    set(0);
    let library = library();
    let environment = [
        ("LD_PRELOAD", library.to_str().expect("UTF-8")),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let options = Options { system_name: "steps", environment: &environment, ..Options::default() };
    let asterisk = Asterisk::start(&database, &options);
    let centre = Centre::start(Behaviour::Answer { ring: 1500 });
    let (logger, aside) = ["cdr_logger.agi", "aside"].map(|name| asterisk.dir().join("agi").join(name)).into();
    for (early, has_program) in [("yes", true), ("no", true), ("no", false)] {
        asterisk.cli(&format!("dialplan set global CC_EARLY_ANSWER {early}"));
        if !has_program {
            std::fs::rename(&logger, &aside).expect("own folder");
        }
        // Set while it rings, and while they talk. (An hour forward while it rings ends its ringing: Dial's
        // limit goes by that clock.)
        for (while_ringing, while_talking) in [(0, 3600), (0, -100), (5, 0), (-100, 0)] {
            // what the log alone has, shows only a clock that was set by more than it took until it was read
            if !has_program && while_ringing != 0 {
                continue;
            }
            set(0);
            let site = Site::new(&database, "priority", 20, &[Link::to(centre.contact())]);
            let calling =
                Calls { did: &site.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(&asterisk);
            wait_for("the client to ring", || asterisk.cli("core show channels concise").contains("!Ringing!"));
            set(while_ringing);
            let talk = || asterisk.cli("core show channels concise").matches("!Up!").count() == 2;
            wait_for("the client to answer", talk);
            let begun = std::time::Instant::now();
            std::thread::sleep(std::time::Duration::from_millis(1200));
            set(while_ringing + while_talking);
            std::thread::sleep(std::time::Duration::from_millis(800));
            let talked = begun.elapsed().as_secs_f64();
            asterisk.cli("channel request hangup all");
            calling.abandon();
            let columns = "call_status, billsec_seconds, duration_seconds, timestamp_start <= timestamp_answered
                           AND timestamp_answered <= timestamp_end";
            if !has_program {
                wait_for("its line of last resort", || {
                    let mut replay = database.command();
                    replay.envs(environment).args(["call", "replay", "--file"]).arg(asterisk.log_file());
                    assert!(replay.output().expect("it runs").status.success());
                    site.records("1").len() == 1
                });
            }
            let record = site.wait_for_records(1, columns);
            let fields: Vec<&str> = record[0].split('|').collect();
            let number = |index: usize| fields[index].parse::<f64>().expect("a number");
            let case =
                format!("early answer {early}, {while_ringing} then {while_talking}: {record:?}, talked {talked}");
            assert_eq!((fields[0], fields[3]), ("ANSWERED", "t"), "{case}");
            // to the second, and what it takes to hang up
            assert!((talked - 1.0..talked + 2.0).contains(&number(1)), "{case}");
            assert!((number(1) + 0.0..number(1) + 10.0).contains(&number(2)), "{case}");
        }
    }
}

#[test]
fn a_call_that_is_up_is_never_closed_by_the_databases_clock() {
    let (stage, _turn) = stage();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let link = Link { max_concurrency: 1, ..Link::to(centre.contact()) };
    let site = stage.site("priority", 20, &[link]);
    let asterisk = &stage.ringing;
    let database = &stage.database;
    let reap = |here: bool| {
        let mut command = database.command();
        if here {
            asterisk.on_its_server(&mut command);
        }
        process::run(command.args(["call", "reap", "--json"]));
    };
    let calling = Calls { did: &site.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(asterisk);
    wait_for("the call", || centre.peak_and_now().1 == 1 && site.open_attempts() == 1);
    // to the ledger it is the same whether its times go back or the clock goes forward
    let jump = || {
        database.execute(&format!(
            "UPDATE call_attempts SET claimed_at = claimed_at - interval '5 h', lease_expires_at = lease_expires_at - interval '5 h'
             WHERE campaign_id = {}",
            site.campaign_id
        ));
    };
    let state =
        || site.attempts("released_at IS NULL, lease_expires_at > now() + interval '10 min', count_pending").join(",");
    let refused =
        || assert_eq!(Calls { did: &site.did, ..Calls::default() }.place(asterisk), [503], "its place is taken");
    jump();
    reap(true);
    assert_eq!(state(), "t|t|f", "its own server renews its lease");
    refused();
    // another server may close what is long over; its own knows better
    jump();
    reap(false);
    assert_eq!(state(), "f|f|t");
    reap(true);
    assert_eq!(state(), "t|t|f");
    refused();
    // what its own server has no longer is closed, and not opened again
    asterisk.cli("channel request hangup all");
    calling.abandon();
    site.wait_for_records(3, "call_status");
    reap(true);
    assert_eq!(site.attempts("release_reason, count_pending"), ["hangup|f"]);
    assert_eq!(site.counts(), [1]);
}
