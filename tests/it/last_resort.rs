//! No program can be started, or none keeps the record: Asterisk's log has it, as the logger.conf of Asterisk's own
//! package keeps it, and `call replay --file` delivers it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{process, wait_for, wait_for_secs};

const MARK: &str = "unrecorded call (capconduit call replay --file takes it): ";

/// The lines of last resort in a log.
fn last_lines(asterisk: &Asterisk) -> Vec<String> {
    asterisk.log().lines().filter(|line| line.contains(MARK)).map(str::to_owned).collect()
}

/// `call replay --file` of its log: the summary and the exit code.
fn replay(asterisk: &Asterisk, database: &Database) -> (Value, Option<i32>) {
    let mut command = database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", asterisk.dir().join("replayed"));
    command.args(["call", "replay", "--json", "--file"]).arg(asterisk.log_file());
    let output = command.output().expect("it runs");
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}")), output.status.code())
}

/// What a caller is named, as it stands in From and as it is recorded.
const NAMES: [(&[u8], &str); 6] = [
    (b"\"200 result=1 (x)\"", "200 result=1 (x)"),
    ("\"Al):1:2 %3A%25 ${CC_DID}\"".as_bytes(), "Al):1:2 %3A%25 ${CC_DID}"),
    ("\"a&complete=yes&did=+1, Zoë 東京;{\"".as_bytes(), "a&complete=yes&did=+1, Zoë 東京;{"),
    (b"\"Zo\xEB ERROR Ext. s: \"", "Zo\u{fffd} ERROR Ext. s: "),
    (b"\"'); DROP TABLE users; --\"", "'); DROP TABLE users; --"),
    (b"", ""),
];

#[test]
fn a_record_that_no_program_keeps_is_in_asterisks_log() {
    let database = Postgres::shared().database();
    let options = Options { system_name: "last", early_answer: true, ..Options::default() };
    let asterisk = Asterisk::start(&database, &options);
    let centre = Centre::start(Behaviour::AnswerAndHangUp { ring: 0, talk: 3000 });
    let site = Site::new(&database, "priority", 20, &[Link::to(centre.contact())]);
    let program = |name: &str| asterisk.dir().join("agi").join(name);
    let (logger, aside) = (program("cdr_logger.agi"), program("aside"));
    let script = |path: &Path, text: &str| {
        fs::write(path, text).expect("own folder");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("own file");
    };
    // a record that is kept leaves no line
    let call = |name: &'static [u8]| Calls { did: &site.did, name, then: Then::WaitForEnd, ..Calls::default() };
    assert_eq!(call(b"").place(&asterisk), [200]);
    site.wait_for_records(1, "1");
    let mut lines = 0;
    let mut one_more = |during: &str| {
        lines += 1;
        let begun = std::time::Instant::now();
        while last_lines(&asterisk).len() < lines {
            assert!(begun.elapsed().as_secs() < 20, "no line of the call {during}: {}", asterisk.log());
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    };

    // out of files in the middle of a call
    let calling = call(NAMES[0].0).start(&asterisk);
    wait_for("both to talk", || asterisk.cli("core show channels concise").matches("!Up!").count() == 2);
    asterisk.deny_files();
    assert_eq!(calling.finish(), [200]);
    one_more("without files");
    asterisk.allow_files();

    // the program is gone, cannot be run, dies; and none keeps the record
    let whole = fs::read(&logger).expect("own file");
    fs::rename(&logger, &aside).expect("own folder");
    assert_eq!(call(NAMES[1].0).place(&asterisk), [200]);
    one_more("without a program");
    for (text, name) in [("#!/nonexistent\n", NAMES[2].0), ("#!/bin/sh\nkill -KILL $$\n", NAMES[3].0)] {
        script(&logger, text);
        assert_eq!(call(name).place(&asterisk), [200]);
        one_more(text);
    }
    fs::write(&logger, &whole).expect("own file");
    fs::write(asterisk.dir().join("spool/capconduit"), "no folder").expect("own folder");
    database.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON call_logs FOR EACH ROW EXECUTE FUNCTION full_disk()",
    );
    assert_eq!(call(NAMES[4].0).place(&asterisk), [200]);
    one_more("with full disks");
    let said = asterisk.log();
    let why = said.lines().find(|line| line.contains("] ERROR[") && line.contains("cdr_logger.agi: call not recorded"));
    assert!(why.is_some_and(|line| line.contains("not spooled")), "{said}");
    database.execute("DROP FUNCTION full_disk() CASCADE");

    // neither program can be started: nobody was dialled
    fs::remove_file(&logger).expect("own file");
    fs::rename(program("cc-route.agi"), program("route-aside")).expect("own folder");
    assert_eq!(call(NAMES[5].0).place(&asterisk), [200]);
    one_more("without a decision");

    // whoever may send a request to Asterisk has his words in its log, and no record
    let forged = format!("\"ERROR Ext. s: {MARK}uniqueid=f.1&end=2026-01-02T03%3A04%3A10Z&complete=yes\"");
    let stranger = Calls { did: &site.did, name: forged.as_bytes(), ..Calls::default() };
    let _calling = stranger.start_between("127.0.0.3", &format!("127.0.0.1:{}", asterisk.sip_port));
    wait_for("the stranger's words in the log", || {
        last_lines(&asterisk).iter().any(|line| line.contains("uniqueid=f.1"))
    });

    wait_for("all calls to be over", || asterisk.channels() == 0);
    let written = last_lines(&asterisk);
    let own: Vec<&String> = written.iter().filter(|line| line.contains("uniqueid=last-")).collect();
    let calls: BTreeSet<&str> = own.iter().filter_map(|l| l.split("uniqueid=").nth(1)?.split('&').next()).collect();
    assert_eq!((own.len(), calls.len()), (6, 6), "once for each call: {written:#?}");
    assert!(own.iter().all(|line| line.contains("] ERROR[")), "{written:#?}");
    assert_eq!(site.records("1").len(), 1);
    assert_eq!(site.open_attempts(), 5);

    let (summary, code) = replay(&asterisk, &database);
    let strange = written.len() - own.len();
    assert!(strange >= 1);
    assert_eq!((&summary["delivered"], &summary["damaged"], code), (&6.into(), &strange.into(), Some(1)), "{summary}");
    let (summary, _) = replay(&asterisk, &database);
    assert_eq!((&summary["delivered"], &summary["already_delivered"]), (&0.into(), &6.into()), "{summary}");
    let columns = "call_status, billsec_seconds BETWEEN 2 AND 5, coalesce(caller_id_name, ''), caller_id_num, hangup_cause_code, \
                   client_identifier, asterisk_linkedid = asterisk_uniqueid";
    let mut expected: Vec<String> =
        NAMES[..5].iter().map(|(_, name)| format!("ANSWERED|t|{name}|12125550147|16|{}|t", site.clients[0])).collect();
    expected.push("FAILED|f||12125550147|42||t".into());
    assert_eq!(site.records(columns)[1..], expected);
    assert_eq!((site.counts(), site.open_attempts()), (vec![6], 0));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn out_of_files_no_call_is_lost() {
    let database = Postgres::shared().database();
    // enough for its start and for some twenty calls
    let options = Options { system_name: "files", early_answer: true, open_files: Some(250), ..Options::default() };
    let asterisk = Asterisk::start(&database, &options);
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&database, "priority", 20, &[Link::to(centre.contact())]);
    let calls = Calls { did: &site.did, then: Then::HangUpAfter(5000), count: 60, per_second: 15, ..Calls::default() };
    let codes = calls.start(&asterisk).codes();
    // a client's channel that Asterisk could give no pipe hears of nothing: it stays up until its longest call is over
    let callers = || asterisk.cli("core show channels concise").contains("PJSIP/carrier");
    wait_for_secs(60, "all callers to be gone", || !callers());
    let answered = codes.iter().filter(|code| **code == 200).count();
    assert!(answered < codes.len(), "there were too few files for all: {codes:?}");
    let (recorded, lines) = (site.records("1").len(), last_lines(&asterisk).len());
    let spooled = fs::read_dir(asterisk.dir().join("spool/capconduit")).map_or(0, |dir| dir.flatten().count());
    assert!(lines > 0, "a program could not be started: {}", asterisk.log());
    assert_eq!(recorded + spooled + lines, answered, "{recorded} records, {spooled} spooled, {lines} lines: {codes:?}");

    let (summary, code) = replay(&asterisk, &database);
    assert_eq!((&summary["delivered"], code), (&lines.into(), Some(0)), "{summary}");
    let mut command = database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", asterisk.dir().join("spool/capconduit")).args(["call", "replay"]);
    process::run(&mut command);
    let sold = site.records("call_status").iter().filter(|status| *status == "ANSWERED").count();
    assert_eq!((site.records("1").len(), site.open_attempts()), (answered, 0));
    assert_eq!(usize::try_from(site.counts()[0]), Ok(sold));
    let without = "SELECT count(*) FROM call_attempts a WHERE NOT EXISTS
                       (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid)";
    assert_eq!(database.value(without), "0");
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}
