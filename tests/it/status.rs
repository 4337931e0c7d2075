//! `capconduit status`: what is up now, and what can be seen when parts of the platform are away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::asterisk::ARI_LOGIN;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::process;
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, free_port, program, wait_for};
use crate::stage::stage;

fn status(database: &Database, spool: &Path) -> Command {
    let mut command = database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", spool).env("LC_ALL", "C.UTF-8").arg("status");
    command
}

#[track_caller]
fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

#[track_caller]
fn run(command: &mut Command, code: i32) -> String {
    ends(&command.output().expect("it runs"), code).0
}

fn document(command: &mut Command) -> Value {
    let text = run(command.arg("--json"), 0);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A call that a client has, as Asterisk asks for it.
fn call(site: &Site, uniqueid: &str) {
    let mut command = agi::command("cc-route", &site.database.url, Path::new("/nonexistent"));
    let sent = agi::run(&mut command, &agi::dialled(uniqueid, &site.did));
    assert!(String::from_utf8_lossy(&sent.stdout).contains("\"proceed,"), "{sent:?}");
}

/// A folder in which there is no spool, so an empty one.
fn nothing() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn live_calls_stand_against_their_caps() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let link = Link { max_concurrency: 3, total_calls_allowed: Some(40), ..Link::to("sip:127.0.0.1:9") };
    let site =
        Site::new(&database, "priority", 20, &[link, Link { forwarding_priority: 1, ..Link::to("sip:127.0.0.1:9") }]);
    let client = &site.clients[0];
    call(&site, "node-1.1");
    call(&site, "node-1.2");
    let seen = document(&mut status(&database, spool.path()));
    let parts = ["at", "database", "asterisk", "spool", "attempts", "links", "calls", "hours", "findings", "notices"];
    assert_eq!(seen.as_object().expect("an object").keys().collect::<Vec<_>>(), parts);
    assert_eq!(seen["attempts"], json!({"live": 2, "expired": 0}));
    assert_eq!(
        seen["links"][0],
        json!({
            "id": site.settings[0], "campaign_name": site.campaign, "campaign_status": "active", "username": site.user,
            "client_identifier": client, "status": "active", "client_status": "active",
            "user_status": "active", "live_calls": 2, "max_concurrency": 3,
            "current_total_calls": 0, "total_calls_allowed": 40, "contact_state": "not_asked",
        })
    );
    assert_eq!(seen["links"].as_array().expect("links").len(), 2);
    assert_eq!(seen["findings"], json!([]));
    let screen = run(&mut status(&database, spool.path()), 0);
    assert!(screen.contains("▕██─▏ 2/3") && screen.contains("▕──────────▏ 0/40"), "{screen}");
    for (variable, locale) in [("LC_ALL", "C"), ("LC_ALL", "de_DE.ISO-8859-1")] {
        let screen = run(status(&database, spool.path()).env(variable, locale), 0);
        assert!(screen.contains("[##-] 2/3") && screen.is_ascii(), "{screen}");
    }

    call(&site, "node-1.3");
    let screen = run(&mut status(&database, spool.path()), 0);
    assert!(screen.contains("▕███▏ 3/3") && screen.contains("full"), "{screen}");
    // what is full is busy, and nothing to look after
    assert_eq!(run(status(&database, spool.path()).arg("--check"), 0), "All is well.\n");

    // of others there is nothing to see
    let other = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    for filter in [["--user", &other.user], ["--campaign", &other.campaign]] {
        let seen = document(status(&database, spool.path()).args(filter));
        assert_eq!((&seen["attempts"]["live"], &seen["links"][0]["username"]), (&json!(0), &json!(other.user)));
    }
    ends(&status(&database, spool.path()).args(["--user", "nobody"]).output().expect("it runs"), 3);
}

#[test]
fn a_check_finds_what_needs_attention() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let link = Link { total_calls_allowed: Some(2), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let check = |code| run(status(&database, spool.path()).arg("--check"), code);
    assert_eq!(check(0), "All is well.\n");

    call(&site, "node-1.1");
    database.execute("UPDATE call_attempts SET lease_expires_at = now() - interval '1 h'");
    let found = check(1);
    assert!(found.contains("attempts  1 open past the lease: capconduit call reap"), "{found}");
    assert_eq!(document(&mut status(&database, spool.path()))["attempts"], json!({"live": 0, "expired": 1}));
    database.capconduit(&["call", "reap"]);
    let found = check(1);
    assert!(found.contains("attempts  1 lost call hold places in totals"), "{found}");
    database.capconduit(&["call", "settle", "node-1.1", "--unanswered"]);
    assert_eq!(check(0), "All is well.\n");
    database.execute("DELETE FROM call_logs");

    database.execute("UPDATE campaign_client_settings SET current_total_calls = 2");
    let found = check(1);
    assert!(
        found.contains(&format!(
            "link   {} in {} gets no more calls: 2 counted, 2 allowed",
            site.clients[0], site.campaign
        )),
        "{found}"
    );
    assert!(run(&mut status(&database, spool.path()), 0).contains("exhausted"));
    database.execute("UPDATE campaigns SET status = 'paused'");
    // more than half were lost, or more than a fifth failed; who calls unknown numbers is nobody's loss
    for (failed, rejected, answered, is_found) in
        [(0, 3, 2, true), (0, 4, 4, false), (2, 0, 7, true), (1, 1, 3, false), (4, 0, 0, false)]
    {
        for (status, n) in
            [("FAILED", failed), ("REJECTED_CC", rejected), ("ANSWERED", answered), ("REJECTED_DID_NOT_FOUND", 20)]
        {
            database.execute(&format!(
                "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status)
                 SELECT '+1', now(), '{status}' FROM generate_series(1, {n})"
            ));
        }
        let found = check(i32::from(is_found));
        let calls = failed + rejected + answered;
        let finding = format!(
            "of the {calls} calls to known numbers of the last 15 minutes {failed} failed, {rejected} were rejected"
        );
        assert_eq!(found.contains(&finding), is_found, "{found}");
        database.execute("DELETE FROM call_logs");
    }
    assert_eq!(check(0), "All is well.\n");

    std::fs::create_dir(spool.path().join("failed")).expect("own folder");
    let write = |name: &str| std::fs::write(spool.path().join(name), "{}").expect("own folder");
    write("failed/node-1.9.json");
    let found = check(1);
    assert!(found.contains("1 record kept aside in ") && found.contains("/failed"), "{found}");
    std::fs::remove_file(spool.path().join("failed/node-1.9.json")).expect("own file");
    write("node-1.8.json");
    assert_eq!(check(0), "All is well.\n", "it has only just been written");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600);
    let file = std::fs::File::options().write(true).open(spool.path().join("node-1.8.json")).expect("own file");
    file.set_modified(old).expect("own file");
    let found = check(1);
    let waits = "1 record waits, the oldest for 3 h, although the database answers: capconduit call replay";
    assert!(found.contains(waits), "{found}");
    // which says nothing of a back end that records are posted to
    let mut posting = status(&database, spool.path());
    posting.env("INTERNAL_API_URL", "http://127.0.0.1:9/").arg("--check");
    assert!(run(&mut posting, 1).contains("the oldest for 3 h: capconduit call replay"));
    run(posting.args(["--max-spool-age", "86400"]), 0);

    database.execute("DELETE FROM capconduit_migrations WHERE name = 'realtime'");
    let output = status(&database, spool.path()).args(["--check", "--json"]).output().expect("it runs");
    let (stdout, stderr) = ends(&output, 1);
    let checks: Vec<Value> = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(checks.iter().map(|found| &found["check"]).collect::<Vec<_>>(), ["schema", "spool"]);
    let error: Value = serde_json::from_str(&stderr).expect("JSON");
    assert_eq!(error["error"]["message"], "2 things need attention");
}

#[test]
fn numbers_that_are_not_sold_are_named_by_campaign() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let link = Link { total_calls_allowed: Some(2), max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link.clone(), link]);
    let Site { user, did, campaign, campaign_id, .. } = &site;
    let (first, second) = (&site.settings[0], &site.settings[1]);
    let seen = || {
        let seen = document(&mut status(&database, spool.path()));
        let of = |list: &str| -> Vec<String> {
            let list = seen[list].as_array().expect("a list");
            let dids = list.iter().filter(|found| found["check"] == "did");
            dids.map(|found| found["message"].as_str().expect("text").to_owned()).collect()
        };
        (of("findings"), of("notices"))
    };
    let nothing: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let check = || status(&database, spool.path()).arg("--check").output().expect("it runs").status.code();
    assert_eq!(seen(), nothing);
    // both full, and one place is left of each total: that passes
    call(&site, "node-1.1");
    call(&site, "node-1.2");
    database.execute("UPDATE campaign_client_settings SET current_total_calls = 1");
    assert_eq!(seen(), nothing);
    database.execute("DELETE FROM call_attempts");

    // nobody has wanted these: a campaign that is active, and gives its calls to nobody
    let by_accident = (
        vec![format!(
            "active DID {did} of \"{campaign}\" is not sold, no client of it can get a call: capconduit route explain {did}"
        )],
        Vec::new(),
    );
    for (one, other) in [
        (
            "UPDATE campaign_client_settings SET status = 'inactive'",
            "UPDATE campaign_client_settings SET status = 'active'",
        ),
        ("UPDATE clients SET status = 'inactive'", "UPDATE clients SET status = 'active'"),
        (
            "UPDATE campaign_client_settings SET current_total_calls = 2",
            "UPDATE campaign_client_settings SET current_total_calls = 0",
        ),
        ("UPDATE pjsip_endpoints SET aors = 'no' || aors", "UPDATE pjsip_endpoints SET aors = id"),
        ("UPDATE pjsip_aors SET contact = ''", "UPDATE pjsip_aors SET contact = 'sip:127.0.0.1:9'"),
        ("UPDATE pjsip_endpoints SET id = 'x' || id", "UPDATE pjsip_endpoints SET id = substr(id, 2)"),
    ] {
        database.execute(&format!("{one} WHERE true"));
        assert_eq!(seen(), by_accident, "{one}");
        let explained: Value =
            serde_json::from_str(&database.capconduit(&["route", "explain", did, "--json"])).expect("JSON");
        assert_eq!(explained["status"], "reject", "{one}");
        assert_eq!(check(), Some(1), "{one}");
        database.execute(other);
        assert_eq!((seen(), check()), (nothing.clone(), Some(0)), "{other}");
    }
    // one of two that can is enough; each has a reason of its own not to
    database.execute(&format!("UPDATE campaign_client_settings SET status = 'inactive' WHERE id = {first}"));
    assert_eq!(seen(), nothing);
    database.execute(&format!("UPDATE campaign_client_settings SET current_total_calls = 2 WHERE id = {second}"));
    assert_eq!(seen(), by_accident);
    database.execute("UPDATE campaign_client_settings SET status = 'active', current_total_calls = 0");

    // somebody has wanted these
    let deliberate = |message: String| (Vec::new(), vec![message]);
    database.execute(&format!("INSERT INTO dids (number, user_id) SELECT '+18005559' || n, user_id FROM dids, generate_series(1, 2) n WHERE number = '{did}'"));
    let spare = format!("2 active DIDs of {user} feed no campaign: capconduit campaign set CAMPAIGN --add-did NUMBER");
    assert_eq!(seen(), deliberate(spare));
    database.execute(&format!(
        "INSERT INTO campaign_dids SELECT {campaign_id}, id FROM dids WHERE number LIKE '+18005559_'"
    ));
    database.execute("UPDATE campaigns SET status = 'paused'");
    let paused = format!(
        "3 active DIDs of \"{campaign}\", which is paused, are not sold: capconduit campaign enable {campaign_id}"
    );
    assert_eq!(seen(), deliberate(paused.clone()));
    let screen = run(&mut status(&database, spool.path()), 0);
    assert!(screen.contains(&format!("note      {paused}\n")), "{screen}");
    assert_eq!(run(status(&database, spool.path()).arg("--check"), 0), "All is well.\n");
    // a campaign that is active goes before one that is not, whatever their ids
    database.execute(&format!("INSERT INTO campaigns (user_id, name) SELECT user_id, 'other' FROM campaigns;
         INSERT INTO campaign_dids SELECT g.id, d.id FROM campaigns g, dids d WHERE g.name = 'other' AND d.number <> '{did}'"));
    let (findings, notices) = seen();
    assert!(findings.len() == 1 && findings[0].starts_with("2 active DIDs of \"other\" are not sold"), "{findings:?}");
    assert!(
        notices.len() == 1 && notices[0].starts_with(&format!("active DID {did} of \"{campaign}\"")),
        "{notices:?}"
    );
    database.execute("UPDATE users SET status = 'suspended'");
    assert_eq!(
        seen(),
        deliberate(format!("3 active DIDs of {user}, who is suspended, are not sold: capconduit user enable {user}"))
    );
    database.execute("UPDATE dids SET status = 'inactive'");
    assert_eq!(seen(), nothing);
}

/// The last column of the screen, with the first of its reasons.
#[test]
fn the_state_of_a_link_is_why_it_gets_no_call() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let link = Link { total_calls_allowed: Some(2), max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let state = || {
        let screen = run(&mut status(&database, spool.path()), 0);
        let line = screen.lines().find(|line| line.starts_with(&site.campaign)).expect("the link");
        line.rsplit_once("/2").expect("its total").1.trim().to_owned()
    };
    assert_eq!(state(), "");
    call(&site, "node-1.1");
    // from here on, each has all before it as well
    for (change, expected) in [
        ("UPDATE campaign_client_settings SET updated_at = now()", "full"),
        ("UPDATE campaign_client_settings SET current_total_calls = 2", "exhausted"),
        ("UPDATE campaign_client_settings SET status = 'inactive'", "inactive"),
        ("UPDATE clients SET status = 'inactive'", "client inactive"),
        ("UPDATE campaigns SET status = 'paused'", "paused"),
        ("UPDATE campaigns SET status = 'inactive'", "inactive"),
        ("UPDATE users SET status = 'pending_approval'", "seller not active"),
    ] {
        database.execute(change);
        assert_eq!(state(), expected, "{change}");
    }
}

#[test]
fn the_day_is_counted_in_its_time_zone() {
    let database = Postgres::shared().database();
    let (site, spool) = (Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]), nothing());
    let log = |at: &str, status: &str, billsec: i32| {
        database.execute(&format!(
            "INSERT INTO call_logs (user_id, campaign_id, incoming_did_number, timestamp_start, call_status, billsec_seconds)
             SELECT user_id, id, '{}', {at}, '{status}', {billsec} FROM campaigns",
            site.did
        ));
    };
    // the last second of a day in Berlin and the first of the next
    log("'2025-06-30T21:59:59Z'", "ANSWERED", 7);
    log("'2025-06-30T22:00:00Z'", "ANSWERED", 60);
    log("'2025-07-01T10:00:00Z'", "REJECTED_TOTAL", 0);
    log("'2025-07-01T11:00:00Z'", "REJECTED_CC", 0);
    log("now() - interval '25 hours'", "BUSY", 0);
    log("now() - interval '22 hours'", "ABANDONED", 0);
    log("now()", "ANSWERED", 30);
    log("now() + interval '1 day'", "ANSWERED", 30);
    let seen =
        |zone: &str, since: &str| document(status(&database, spool.path()).args(["--tz", zone, "--since", since]));
    let berlin = seen("Europe/Berlin", "2025-07-01");
    assert_eq!(
        berlin["calls"]["by_status"],
        json!({"ABANDONED": 1, "ANSWERED": 2, "BUSY": 1, "REJECTED_CC": 1, "REJECTED_TOTAL": 1})
    );
    let calls = &berlin["calls"];
    assert_eq!((&calls["since"], &calls["tz"]), (&json!("2025-06-30T22:00:00Z"), &json!("Europe/Berlin")));
    assert_eq!((&calls["calls"], &calls["rejected"], &calls["answer_rate"]), (&json!(6), &json!(2), &json!(33.3)));
    assert_eq!((&calls["billed_seconds"], &calls["mean_billsec"]), (&json!(90), &json!(45.0)));
    assert_eq!(seen("UTC", "2025-07-01")["calls"]["calls"], 5);
    assert_eq!(seen("UTC", "2025-06-30T21:59:59Z")["calls"]["calls"], 7);

    // 24 hours of the clock: also where it does not strike with UTC's
    for (zone, minute) in [("UTC", ":00:00Z"), ("Asia/Kathmandu", ":15:00Z")] {
        let seen = seen(zone, "2025-07-01");
        let hours = seen["hours"].as_array().expect("hours");
        assert_eq!(hours.len(), 24);
        assert!(hours.iter().all(|hour| hour["hour"].as_str().is_some_and(|at| at.ends_with(minute))), "{hours:?}");
        assert_eq!(hours.iter().filter_map(|hour| hour["calls"].as_i64()).sum::<i64>(), 2, "{hours:?}");
    }
    let screen = run(status(&database, spool.path()).args(["--since", "2025-06-30"]), 0);
    assert!(screen.contains("rejected: CC 1, TOTAL 1") && screen.contains("minutes billed"), "{screen}");
    assert!(screen.contains("  at most 1 an hour"), "{screen}");
    let today = document(&mut status(&database, spool.path()))["calls"]["since"].clone();
    assert_eq!(today, database.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T00:00:00Z\"')"));
}

#[test]
fn with_the_database_away_the_rest_is_seen() {
    let spool = nothing();
    std::fs::write(spool.path().join("node-1.1.json"), "{}").expect("own folder");
    let url = format!("postgresql://u:secret@127.0.0.1:{}/x", free_port("127.0.0.1"));
    let away = Database { url, name: "x".into() };
    let (screen, stderr) = ends(&status(&away, spool.path()).output().expect("it runs"), 75);
    assert!(screen.contains("database  away: the database is unreachable"), "{screen}");
    assert_eq!(screen.matches("unreachable").count(), 1, "{screen}");
    assert!(screen.contains("spool     1 record waits") && screen.contains("ASTERISK_ARI_URL"), "{screen}");
    assert!(stderr.starts_with("error: the database is unreachable"), "{stderr}");
    let (stdout, json_error) = ends(&status(&away, spool.path()).arg("--json").output().expect("it runs"), 75);
    let seen: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&seen["database"]["reachable"], &seen["spool"]["waiting"]), (&json!(false), &json!(1)));
    assert_eq!((&seen["links"], &seen["calls"], &seen["hours"]), (&json!(null), &json!(null), &json!(null)));
    let (metrics, _) = ends(&status(&away, spool.path()).arg("--prometheus").output().expect("it runs"), 75);
    assert_eq!(parse(&metrics)[&("capconduit_up".to_owned(), vec![])], 0.0);
    ends(&status(&away, spool.path()).arg("--check").output().expect("it runs"), 75);
    assert!(![screen, stderr, stdout, json_error, metrics].concat().contains("secret"));
}

#[test]
fn asterisk_is_asked_where_it_can_be() {
    let (stage, _turn) = stage();
    let (database, spool) = (Postgres::shared().database(), nothing());
    let asking = |port: u16| {
        let mut command = status(&database, spool.path());
        stage.ringing.through_ari(&mut command);
        command.env("ASTERISK_ARI_URL", format!("http://127.0.0.1:{port}/ari"));
        command
    };
    let seen = document(&mut asking(stage.ringing.ari_port));
    let asterisk = &seen["asterisk"];
    assert_eq!((&asterisk["up"], &asterisk["error"]), (&json!(true), &json!(null)));
    assert_eq!(asterisk["system_name"], "ringing");
    assert!(asterisk["channels"].is_u64(), "{seen}");
    let version = stage.ringing.cli("core show version");
    assert!(version.contains(asterisk["version"].as_str().expect("a version")), "{version}: {seen}");
    let found = run(asking(free_port("127.0.0.1")).arg("--check"), 1);
    assert!(found.contains("asterisk  ARI at ") && !found.contains(ARI_LOGIN.1), "{found}");
    // its console answers, with or without an ARI that does
    let mut by_console = status(&database, spool.path());
    let mut instead_of_ari = asking(free_port("127.0.0.1"));
    for command in [&mut by_console, &mut instead_of_ari] {
        stage.ringing.on_its_server(command);
        let by_console = document(command)["asterisk"].clone();
        for field in ["up", "system_name", "version", "error"] {
            assert_eq!(by_console[field], asterisk[field], "{field}");
        }
        let started_at = |of: &Value| of["started_at"].as_str().expect("a time").parse::<DateTime<Utc>>().expect("one");
        let apart = started_at(&by_console) - started_at(asterisk);
        assert!(apart.num_seconds().abs() <= 2, "{by_console} {asterisk}");
    }
}

#[test]
fn calls_that_died_with_their_asterisk_are_found() {
    let (stage, _turn) = stage();
    let (database, spool) = (&stage.database, nothing());
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[centre.contact()]);
    let ask = |arguments: &[&str], code: i32| {
        let mut command = status(database, spool.path());
        stage.ringing.through_ari(&mut command);
        run(command.args(["--campaign", &site.campaign]).args(arguments), code)
    };
    let age = |of: &str| {
        database.execute(&format!(
            "UPDATE call_attempts SET claimed_at = now() - interval '1 day' WHERE campaign_id = {} AND {of}",
            site.campaign_id
        ));
    };
    let claim = |system_name: &str, n: u32| {
        let claim = format!(
            "SELECT status FROM cc_route('{}', '{system_name}-dead-{n}', '', '{system_name}', '', '', NULL, NULL)",
            site.did
        );
        assert_eq!(database.value(&claim), "proceed");
    };
    // a call that is up, whatever its time says; one of a server that is not asked; and one that is new
    let calling = Calls { did: &site.did, then: Then::HangUpAfter(100_000), ..Calls::default() }.start(&stage.ringing);
    wait_for("the call", || centre.peak_and_now() == (1, 1));
    claim("another", 1);
    age("true");
    claim("ringing", 1);
    assert_eq!(ask(&["--check"], 0), "All is well.\n");
    claim("ringing", 2);
    claim("ringing", 3);
    age("asterisk_uniqueid IN ('ringing-dead-2', 'ringing-dead-3')");
    let found = ask(&["--check"], 1);
    let finding = "attempts  2 of before Asterisk's start still hold their places: capconduit call reap\n";
    assert!(found.contains(finding), "{found}");
    assert!(ask(&[], 0).contains("attention 2 of before Asterisk's start"));
    // where it is not asked nobody knows
    assert_eq!(
        run(status(database, spool.path()).args(["--check", "--campaign", &site.campaign]), 0),
        "All is well.\n"
    );

    // what it is told to do closes them
    let mut reap = database.command();
    stage.ringing.through_ari(&mut reap);
    let closed = process::run(reap.args(["call", "reap", "--dry-run", "--json"]));
    assert!(["ringing-dead-2", "ringing-dead-3"].iter().all(|call| closed.contains(call)), "{closed}");
    database.execute("DELETE FROM call_attempts WHERE asterisk_uniqueid LIKE '%-dead-_'");
    let channels = stage.ringing.cli("core show channels concise");
    let its_own = channels.lines().find(|line| line.contains(&site.clients[0])).expect("its channel");
    stage.ringing.cli(&format!("channel request hangup {}", its_own.split('!').next().unwrap_or_default()));
    wait_for("the call to end", || site.open_attempts() == 0);
    drop(calling);
}

/// A login that may read routing and calls, and nothing else.
#[test]
fn a_seller_sees_what_may_be_read() {
    let database = Postgres::shared().database();
    let (site, spool) = (Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]), nothing());
    call(&site, "node-1.1");
    let role = format!("reader_{}", database.name);
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN;
         GRANT SELECT ON call_attempts, call_logs, campaign_client_settings, campaigns TO {role};
         GRANT SELECT (id, client_identifier, name, department, status) ON clients TO {role}"
    ));
    let reader = Database { url: database.url.replace("postgres@", &format!("{role}@")), ..database.clone() };
    let seen = document(&mut status(&reader, spool.path()));
    assert_eq!((&seen["database"]["schema_up_to_date"], &seen["database"]["error"]), (&json!(null), &json!(null)));
    assert_eq!((&seen["links"][0]["live_calls"], &seen["links"][0]["username"]), (&json!(1), &json!(null)));
    assert_eq!(seen["calls"]["calls"], 0);
    let screen = run(&mut status(&reader, spool.path()), 0);
    assert!(screen.contains("schema not this login's to see"), "{screen}");
    for by in ["day", "campaign", "client", "status"] {
        reader.capconduit(&["report", "--by", by]);
    }
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// The text exposition format 0.0.4, read as strictly as it is described: each metric once, its HELP and
/// TYPE before it, no sample twice.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line must end");
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut samples, mut seen, mut current, mut helped) = (Samples::new(), Vec::new(), String::new(), String::new());
    for line in text.strip_suffix('\n').expect("an end").split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a text");
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            assert!(!seen.contains(&name.to_owned()), "twice: {line}");
            helped = name.to_owned();
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{helped} gauge"));
            current.clone_from(&helped);
            seen.push(current.clone());
            continue;
        }
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(line[..end], current, "a sample of another metric: {line}");
        let mut labels = Vec::new();
        let mut rest = &line[end..];
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                let (name, value) = inner.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(name), "{line}");
                let (mut text, mut chars) = (String::new(), value.char_indices());
                let end = loop {
                    match chars.next().unwrap_or_else(|| panic!("no end: {line}")) {
                        (at, '"') => break at,
                        (_, '\\') => text.push(match chars.next() {
                            Some((_, 'n')) => '\n',
                            Some((_, c @ ('\\' | '"'))) => c,
                            other => panic!("{other:?}: {line}"),
                        }),
                        (_, c) => text.push(c),
                    }
                };
                labels.push((name.to_owned(), text));
                let after = &value[end + 1..];
                if let Some(after) = after.strip_prefix('}') {
                    rest = after;
                    break;
                }
                inner = after.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
            }
        }
        let value = rest.strip_prefix(' ').and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        assert!(samples.insert((current.clone(), labels), value).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn prometheus_reads_the_metrics() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let link = Link { max_concurrency: 3, total_calls_allowed: Some(40), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let name = "a\"b\\c\nd\\n{e=\"f\"} 1\u{2028}ü";
    database.connect().execute("UPDATE campaigns SET name = $1", &[&name]).expect("a name");
    call(&site, "node-1.1");
    database.execute(&format!(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, billsec_seconds)
         VALUES ('{0}', now(), 'ANSWERED', 30), ('{0}', now(), 'ANSWERED', 3), ('{0}', now(), 'v3\"s', 0)",
        site.did
    ));
    let file = spool.path().join("capconduit.prom");
    let written = run(
        Command::new("sh")
            .args(["-c", "umask 077 && exec \"$0\" status --since 2025-01-01 --prometheus \"$1\""])
            .args([program("capconduit").as_path(), file.as_path()])
            .envs(status(&database, spool.path()).get_envs().filter_map(|(k, v)| Some((k, v?)))),
        0,
    );
    assert_eq!(written, "");
    let mode = std::fs::metadata(&file).expect("written").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o644);
    let samples = parse(&std::fs::read_to_string(&file).expect("UTF-8"));
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        *samples.get(&(name.to_owned(), labels)).unwrap_or_else(|| panic!("{name}: {samples:?}"))
    };
    let link = [("campaign", name), ("seller", &*site.user), ("client", &*site.clients[0])];
    for (metric, expected) in [
        ("capconduit_live_calls", 1.0),
        ("capconduit_link_max_concurrency", 3.0),
        ("capconduit_link_current_total_calls", 0.0),
        ("capconduit_link_total_calls_allowed", 40.0),
    ] {
        assert_eq!(value(metric, &link), expected, "{metric}");
    }
    for (status, calls) in [("ANSWERED", 2.0), ("BUSY", 0.0), ("v3\"s", 1.0)] {
        assert_eq!(value("capconduit_calls_today", &[("status", status)]), calls, "{status}");
    }
    assert_eq!(value("capconduit_billed_seconds_today", &[]), 33.0);
    assert_eq!(value("capconduit_up", &[]), 1.0);
    assert_eq!(value("capconduit_schema_up_to_date", &[]), 1.0);
    assert_eq!(value("capconduit_expired_leases", &[]), 0.0);
    assert_eq!(value("capconduit_spool_files", &[("state", "damaged")]), 0.0);
    let last = value("capconduit_last_success_timestamp_seconds", &[]);

    // the file tells that, and since when, the database is away
    let away = Database { url: format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1")), name: "x".into() };
    run(status(&away, spool.path()).arg("--prometheus").arg(&file), 75);
    let samples = parse(&std::fs::read_to_string(&file).expect("UTF-8"));
    assert_eq!(samples[&("capconduit_up".to_owned(), vec![])], 0.0);
    assert_eq!(samples[&("capconduit_last_success_timestamp_seconds".to_owned(), vec![])], last);
    let left: Vec<_> = std::fs::read_dir(spool.path()).expect("own folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["capconduit.prom"]);
    run(status(&database, spool.path()).args(["--prometheus", "/dev/null/x.prom"]), 1);
}

/// A `--watch` that runs, and its lines.
fn watch(command: &mut Command) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    (child, lines)
}

fn interrupt(mut child: Child) {
    process::run(Command::new("kill").args(["-INT", &child.id().to_string()]));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn watching_ends_in_order() {
    let database = Postgres::shared().database();
    let spool = nothing();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let (child, mut lines) = watch(status(&database, spool.path()).args(["--watch", "0.1", "--json"]));
    let mut live = || -> Value {
        let line = lines.next().expect("a line").expect("UTF-8");
        serde_json::from_str::<Value>(&line).expect("one document a line")["attempts"]["live"].clone()
    };
    assert_eq!(live(), 0);
    call(&site, "node-1.1");
    wait_for("the call to be seen", || live() == 1);
    interrupt(child);

    // without JSON, a block after the other
    let (child, lines) = watch(status(&database, spool.path()).args(["--watch", "0.1"]));
    let heads = lines.map_while(Result::ok).filter(|line| line.starts_with("capconduit status at "));
    assert_eq!(heads.take(2).count(), 2);
    // whose reader goes away ends, too
    let mut child = child;
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    for refused in ["0", "-1", "nan", "often"] {
        let output = status(&database, spool.path()).arg(format!("--watch={refused}")).output().expect("it runs");
        ends(&output, 2);
    }
}

#[test]
fn watching_outlives_the_database() {
    let postgres = Postgres::start();
    let (database, spool) = (postgres.database(), nothing());
    let (child, mut lines) = watch(status(&database, spool.path()).args(["--watch", "0.1", "--json"]));
    let mut wait_until = |reachable: bool| {
        wait_for("the database to go or to come", || {
            let line = lines.next().expect("it goes on").expect("UTF-8");
            serde_json::from_str::<Value>(&line).expect("JSON")["database"]["reachable"] == reachable
        });
    };
    wait_until(true);
    postgres.stop();
    wait_until(false);
    postgres.resume();
    wait_until(true);
    interrupt(child);
}

#[test]
fn a_database_that_does_not_answer_holds_up_no_ctrl_c() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgresql://u@127.0.0.1:{}/x", silent.local_addr().expect("bound").port());
    let spool = nothing();
    let mut command = status(&Database { url, name: "x".into() }, spool.path());
    let (child, lines) = watch(command.env("CAPCONDUIT_CONNECT_TIMEOUT", "60").arg("--watch"));
    let _connection = silent.accept().expect("it asks");
    interrupt(child);
    assert_eq!(lines.count(), 0, "it ended before it could say that nobody answers");
}

#[test]
fn a_terminal_is_drawn_over_and_left_as_it_was() {
    let database = Postgres::shared().database();
    let (_, spool) = (Site::new(&database, "priority", 20, &vec![Link::to("sip:127.0.0.1:9"); 30]), nothing());
    let line = format!("stty rows 20 cols 100; exec {} status --watch 0.1", program("capconduit").display());
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .envs(status(&database, spool.path()).get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) runs");
    let mut keyboard = child.stdin.take().expect("piped");
    let (mut screen, mut seen) = (child.stdout.take().expect("piped"), Vec::new());
    let frames = |seen: &[u8]| String::from_utf8_lossy(seen).matches("\x1b[H").count();
    while frames(&seen) < 3 {
        let mut some = [0; 4096];
        let n = screen.read(&mut some).expect("readable");
        assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..n]);
    }
    keyboard.write_all(b"\x03").expect("Ctrl-C");
    screen.read_to_end(&mut seen).expect("readable");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let text = String::from_utf8(seen).expect("UTF-8");
    // the cursor goes once, and comes back at the end
    assert_eq!((text.matches("\x1b[?25l").count(), text.matches("\x1b[2J").count()), (1, 1), "{text:?}");
    assert!(text.trim_end().ends_with("\x1b[?7h\x1b[?25h"), "{text:?}");
    let frame = text.split("\x1b[H").nth(1).expect("a frame");
    assert_eq!(frame.lines().count(), 20, "{frame}");
    assert!(frame.contains("more\x1b[K\x1b[J"), "what does not fit is counted: {frame}");
}

#[test]
fn an_active_did_that_no_call_reaches_needs_attention() {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let spool = nothing();
    let look = |rules: &str, arguments: &[&str], code: i32| -> Vec<String> {
        let mut command = status(&database, spool.path());
        command.env("CAPCONDUIT_NUMBER_RULES", rules).args(["--check", "--json"]).args(arguments);
        let found: Value = serde_json::from_str(&run(&mut command, code)).expect("JSON");
        let found = found.as_array().expect("a list").iter();
        found
            .map(|found| format!("{}: {}", found["check"].as_str().unwrap(), found["message"].as_str().unwrap()))
            .collect()
    };
    const DEFAULT: &str = "+=+,00=+,=+";
    assert_eq!(look(DEFAULT, &[], 0), [""; 0]);
    let add = |number: &str, user: &str| {
        database.value(&format!(
            "WITH d AS (INSERT INTO dids (number, user_id) SELECT '{number}', id FROM users WHERE username = '{user}' RETURNING id, user_id)
             INSERT INTO campaign_dids SELECT (SELECT min(g.id) FROM campaigns g WHERE g.user_id = d.user_id), d.id FROM d RETURNING did_id"
        ))
    };
    let remove = || database.execute("DELETE FROM dids WHERE number NOT LIKE '+1800555010_'");
    // as a v3.0 back end or psql may write it
    for (number, says) in [
        ("18005550171", "a call to it arrives as +18005550171: capconduit did set # --number +18005550171"),
        ("0018005550171", "a call to it arrives as +18005550171: capconduit did set # --number +18005550171"),
        ("+1 (800) 555-0171", "a call to it arrives as +18005550171: capconduit did set # --number +18005550171"),
        ("+18005550171 ", "a call to it arrives as +18005550171: capconduit did set # --number +18005550171"),
        ("tel:+18005550171", "a call to it arrives as +18005550171: capconduit did set # --number +18005550171"),
        ("18005550101", "a call to it arrives as +18005550101, which is a DID, too: capconduit did disable #"),
        ("+18005550101 ", "a call to it arrives as +18005550101, which is a DID, too: capconduit did disable #"),
        ("acme", "it is not a phone number, no number has 'a' there: capconduit did set # --number NUMBER"),
        ("+1234567890123456", "it is not a phone number, CAPCONDUIT_NUMBER_RULES make no number"),
        ("+44 (0)20 7183 8750", "it is not a phone number, a 0 in parentheses"),
        ("+18005550113.0", "it is not a phone number, it is a decimal number"),
    ] {
        let id = add(number, "alice");
        let found = look(DEFAULT, &[], 1);
        let says = format!("did: active DID {number} of alice gets no calls: {}", says.replace('#', &id));
        assert!(found.len() == 1 && found[0].starts_with(&says), "{found:?}\n{says}");
        assert_eq!(look(DEFAULT, &["--user", "alice"], 1), found, "{number}");
        assert_eq!(look(DEFAULT, &["--user", "bob"], 0), [""; 0], "{number}");
        let (_, note) = ends(&database.command().args(["did", "show", &id]).output().expect("it runs"), 0);
        assert!(note.starts_with("note: no call reaches it: "), "{note}");
        // what it says ends it
        let remedy = found[0].split("capconduit ").nth(1).expect("a remedy").replace("NUMBER, or", "+18005550179");
        database.capconduit(&remedy.split_whitespace().collect::<Vec<_>>());
        assert_eq!(look(DEFAULT, &[], 0), [""; 0], "{number}: {remedy}");
        remove();
    }
    // many are said once, by seller
    for number in ["18005550171", "18005550172", "18005550173"] {
        add(number, "alice");
    }
    add("18005550174", "bob");
    let found = look(DEFAULT, &[], 1);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("did: 3 active DIDs of alice get no calls, as 18005550171: "), "{found:?}");
    // what nobody sells is no matter
    database.execute("UPDATE dids SET status = 'inactive' WHERE number LIKE '1800%'");
    assert_eq!(look(DEFAULT, &[], 0), [""; 0]);
    remove();
    // the rules decide, not the form alone
    add("+442071838750", "bob");
    assert_eq!(look("+=+,1=+1,=+1", &[], 0), [""; 0]);
    let found = look("1=+1,=+1", &[], 1);
    assert!(found.len() == 1 && found[0].contains("DID +442071838750 of bob gets no calls: "), "{found:?}");
    assert!(found[0].contains("make this number of nothing that a carrier sends"), "{found:?}");
}

#[test]
fn a_client_that_cannot_be_dialled_needs_attention() {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let spool = nothing();
    for name in ["a b", "a/b", &"x".repeat(41)] {
        // as a v3.0 back end may write it: an endpoint's id holds no more than 40 characters
        database.execute(&format!(
            "UPDATE clients SET client_identifier = '{name}' WHERE id = (SELECT min(client_id) FROM campaign_client_settings)"
        ));
        let found = run(status(&database, spool.path()).arg("--check"), 1);
        assert!(found.contains(&format!("{name} cannot be dialled, and gets no calls of ")), "{found}");
    }
}
