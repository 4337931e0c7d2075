//! Clients that Asterisk cannot reach: said before a call is lost, where an Asterisk can be asked.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::asterisk::Asterisk;
use crate::harness::sip::{Behaviour, Calls, Centre};
use crate::harness::site::Site;
use crate::harness::{process, wait_for, wait_for_secs};
use crate::stage::stage;

/// Nothing listens there.
const NOWHERE: &str = "sip:127.0.0.1:9";

/// How an Asterisk can be asked.
type Way<'a> = &'a dyn Fn(&mut Command);

fn run(site: &Site, way: Way<'_>, arguments: &[&str]) -> String {
    let mut command = site.database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", "/nonexistent/spool").args(arguments);
    way(&mut command);
    process::run(&mut command)
}

fn document(site: &Site, way: Way<'_>, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(site, way, &[arguments, &["--json"]].concat())).expect("JSON")
}

/// What `status --check` finds of the site's campaign, and its exit code.
fn check(site: &Site, way: Way<'_>) -> (String, Option<i32>) {
    let mut command = site.database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", "/nonexistent/spool");
    command.args(["status", "--check", "--campaign", &site.campaign]);
    way(&mut command);
    let output = command.output().expect("it runs");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn states(decision: &Value) -> Vec<&Value> {
    decision["candidates"].as_array().expect("candidates").iter().map(|c| &c["contact_state"]).collect()
}

/// Lets Asterisk ask the contact of a client every second, and waits for what it makes of it.
fn qualify(site: &Site, asterisk: &Asterisk, client: &str, state: &str) {
    site.database.execute(&format!("UPDATE pjsip_aors SET qualify_frequency = 1 WHERE id = '{client}'"));
    asterisk.cli(&format!("pjsip reload qualify aor {client}"));
    wait_for(state, || {
        let contacts = asterisk.cli("pjsip show contacts");
        contacts.lines().any(|line| line.contains(&format!("{client}/")) && line.contains(state))
    });
}

#[test]
fn an_unreachable_client_is_named_before_a_call_is_lost() {
    let (stage, _turn) = stage();
    let asterisk = &stage.ringing;
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[NOWHERE.to_owned(), centre.contact(), NOWHERE.to_owned()]);
    let [dead, alive, never_asked] = site.clients.as_slice() else { panic!("three") };
    qualify(&site, asterisk, dead, "Unavail");
    qualify(&site, asterisk, alive, "Avail");
    let console: Way<'_> = &|command| asterisk.on_its_server(command);

    let explain = ["route", "explain", &site.did];
    let decision = document(&site, console, &explain);
    assert_eq!(decision["status"], "proceed");
    assert_eq!(states(&decision), ["unreachable", "reachable", "not_qualified"]);
    let fails_over = format!("{dead} is unreachable: the call would fail over to {alive}");
    assert_eq!(decision["reachability"], fails_over);
    let remedy = format!(
        "Ask the call centre; where it takes calls but ignores OPTIONS: capconduit pjsip set {dead} --qualify-frequency 0, \
         then asterisk -rx 'pjsip reload qualify aor {dead}'"
    );
    assert_eq!(decision["advice"], format!("Asterisk holds the contact of {dead} unreachable. {remedy}"));
    let text = run(&site, console, &explain);
    assert!(text.contains(&fails_over) && text.contains("CONTACT_STATE"), "{text}");
    // which is what a call does
    Calls { did: &site.did, ..Calls::default() }.place(asterisk);
    site.wait_for_records(1, "1");
    let attempts = site.attempts("dial_status, (SELECT client_identifier FROM clients c WHERE c.id = client_id)");
    assert_eq!(attempts, [format!("CHANUNAVAIL|{dead}"), format!("ANSWER|{alive}")]);

    let shown = document(&site, console, &["pjsip", "show", dead]);
    assert_eq!((&shown["contact_state"], &shown["contact_rtt_ms"]), (&json!("unreachable"), &json!(null)));
    let problem = "its contact does not answer OPTIONS: Asterisk places no call with it";
    assert_eq!(shown["problems"], json!([format!("{problem}. {remedy}")]));
    let shown = document(&site, console, &["pjsip", "show", alive]);
    assert_eq!((&shown["contact_state"], &shown["problems"]), (&json!("reachable"), &json!([])));
    assert!(shown["contact_rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{shown}");
    assert_eq!(document(&site, console, &["pjsip", "show", never_asked])["contact_state"], "not_qualified");
    let list = document(&site, console, &["pjsip", "list", "--columns", "client_identifier,problems"]);
    let with_problems =
        |row: &&Value| site.clients.iter().any(|c| row["client_identifier"] == **c) && row["problems"] != json!([]);
    let named: Vec<&Value> = list.as_array().expect("rows").iter().filter(with_problems).collect();
    assert_eq!(named.iter().map(|row| &row["client_identifier"]).collect::<Vec<_>>(), [dead]);

    let (table, unasked) = (run(&site, console, &["pjsip", "list"]), run(&site, &|_| {}, &["pjsip", "list"]));
    assert!(table.contains("CONTACT_STATE") && !unasked.contains("CONTACT_STATE"), "{table}");

    let status = ["status", "--campaign", &site.campaign];
    let seen = document(&site, console, &status);
    let links: Vec<&Value> = seen["links"].as_array().expect("links").iter().map(|l| &l["contact_state"]).collect();
    assert_eq!(links, ["unreachable", "reachable", "not_qualified"]);
    let screen = run(&site, console, &status);
    assert!(screen.lines().any(|line| line.contains(dead) && line.ends_with("  unreachable")), "{screen}");
    let (found, code) = check(&site, console);
    let finding = format!("{dead} is unreachable, and gets no calls of {}. {remedy}", site.campaign);
    assert!(code == Some(1) && found.contains(&finding) && found.lines().count() == 2, "{found}");
    // nobody waits for a client that is not used
    site.database
        .execute(&format!("UPDATE campaign_client_settings SET status = 'inactive' WHERE id = {}", site.settings[0]));
    assert_eq!(check(&site, console), ("All is well.\n".to_owned(), Some(0)));
    assert!(document(&site, console, &explain)["reachability"].as_str().is_some_and(|text| text.starts_with(alive)));
    site.database
        .execute(&format!("UPDATE campaign_client_settings SET status = 'inactive' WHERE id = {}", site.settings[1]));
    let decision = document(&site, console, &explain);
    assert_eq!(
        decision["reachability"],
        format!("{never_asked} is called without being asked first whether it answers")
    );
    let only_dead = "UPDATE campaign_client_settings SET status = CASE WHEN id = FIRST THEN 'active' ELSE 'inactive' END \
                     WHERE campaign_id = (SELECT campaign_id FROM campaign_client_settings WHERE id = FIRST)";
    site.database.execute(&only_dead.replace("FIRST", &site.settings[0].to_string()));
    let decision = document(&site, console, &explain);
    assert_eq!(
        decision["reachability"],
        format!("{dead} is unreachable, and no other can take the call: it would fail")
    );
    // as that is told afterwards
    Calls { did: &site.did, ..Calls::default() }.place(asterisk);
    site.wait_for_records(2, "1");
    let failed = site.records("asterisk_uniqueid").remove(1);
    let story = document(&site, console, &["call", "explain", &failed]);
    let outcome = story["attempts"][0]["outcome"].as_str().expect("text");
    assert!(outcome.starts_with("Asterisk sent it no call: it held its contact unreachable"), "{outcome}");
    let ending = story["ending"].as_str().expect("text");
    assert!(ending.starts_with("No client was left that could take it, and the call was ended"), "{ending}");
    assert_eq!(story["advice"], format!("Asterisk holds the contact of {dead} unreachable. {remedy}"));
    let unasked = document(&site, &|_| {}, &["call", "explain", &failed])["advice"].to_string();
    assert!(unasked.contains("capconduit asterisk check tells why") && unasked.contains(&remedy), "{unasked}");
}

#[test]
fn ari_is_asked_where_there_is_no_console() {
    let (stage, _turn) = stage();
    let asterisk = &stage.ringing;
    let alive = format!("sip:127.0.0.1:{}", stage.early.sip_port);
    let site = stage.in_order(&[NOWHERE.to_owned(), alive]);
    qualify(&site, asterisk, &site.clients[0], "Unavail");
    qualify(&site, asterisk, &site.clients[1], "Avail");
    let ari: Way<'_> = &|command| asterisk.through_ari(command);
    let explain = ["route", "explain", &site.did];
    // ARI shows what was added and never qualified as offline, too
    assert_eq!(states(&document(&site, ari, &explain)), ["unknown", "unknown"]);
    assert_eq!(check(&site, ari), ("All is well.\n".to_owned(), Some(0)));
    let long_ago = "UPDATE clients SET updated_at = '2020-01-01' WHERE client_identifier = 'ID';
                    UPDATE pjsip_aors SET config_updated_at = '2020-01-01' WHERE id = 'ID'";
    site.clients.iter().for_each(|id| site.database.execute(&long_ago.replace("ID", id)));
    wait_for_secs(60, "the start of Asterisk to be over", || {
        states(&document(&site, ari, &explain)) == ["unreachable", "reachable"]
    });
    let (found, code) = check(&site, ari);
    assert!(code == Some(1) && found.contains("is unreachable, and gets no calls of"), "{found}");
    // an ARI that says nothing of it, or is away, or half configured, fails no command
    let ways: [Way<'_>; 3] = [
        &|command| {
            command.env("ASTERISK_ARI_URL", format!("http://127.0.0.1:{}/nothing", asterisk.ari_port));
        },
        &|command| {
            command.env("ASTERISK_ARI_URL", "http://127.0.0.1:9/ari");
        },
        &|command| {
            command.env_remove("ASTERISK_ARI_PASSWORD");
        },
    ];
    for way in ways {
        let decision = document(&site, &|command| [ari, way].iter().for_each(|way| way(command)), &explain);
        assert_eq!(decision["reachability"], "Asterisk was not asked");
    }
}

#[test]
fn where_nobody_can_be_asked_that_is_said_once() {
    let (stage, _turn) = stage();
    let site = stage.in_order(&[NOWHERE.to_owned(), NOWHERE.to_owned()]);
    // neither configured, nor running, nor answering
    let stopped = process::Folder::new();
    let etc = stopped.path.join("etc");
    std::fs::create_dir(&etc).expect("own folder");
    std::fs::write(etc.join("asterisk.conf"), format!("[directories]\nastrundir => {}\n", stopped.path.display()))
        .expect("own folder");
    let none: Way<'_> = &|_| {};
    let not_running: Way<'_> = &|command| {
        command.env("AST_CONFIG_DIR", &etc);
    };
    for (way, socket) in [(none, false), (not_running, false), (not_running, true)] {
        if socket {
            std::fs::write(stopped.path.join("asterisk.ctl"), "").expect("own folder");
        }
        let text = run(&site, way, &["route", "explain", &site.did]);
        assert_eq!(text.matches("not asked").count(), 1, "{text}");
        assert!(text.contains("reachability          Asterisk was not asked\n") && !text.contains("CONTACT"), "{text}");
        let decision = document(&site, way, &["route", "explain", &site.did]);
        assert_eq!(states(&decision), ["not_asked", "not_asked"]);
        let shown = run(&site, way, &["pjsip", "show", &site.clients[0]]);
        assert!(shown.contains("contact_state      not_asked\n"), "{shown}");
    }
    // a call that goes nowhere needs no word about it
    site.database.execute(&format!("UPDATE campaigns SET status = 'paused' WHERE id = {}", site.campaign_id));
    assert_eq!(document(&site, none, &["route", "explain", &site.did])["reachability"], json!(null));
}
