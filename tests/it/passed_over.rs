//! Why a call went where it went: what a decision says of the links it passed over, on its way from
//! `cc_route` to the attempt, the record and `call explain`.

use serde_json::Value;

use crate::harness::agi::{self, AgiServer};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{free_port, wait_for};
use crate::stage::stage;

const NOWHERE: &str = "sip:127.0.0.1:9";

fn site(strategy: &str, links: &[Link]) -> Site {
    Site::new(&Postgres::shared().database(), strategy, 20, links)
}

/// A routing attempt of a call: `status|call_status|passed_over`.
fn route(site: &Site, call: &str, dial_status: &str) -> String {
    site.database.value(&format!(
        "SELECT status, call_status, passed_over FROM cc_route('{}', '{call}', '', 't', '', '', {dial_status}, NULL)",
        site.did
    ))
}

fn explain(database: &Database, call: &str) -> Value {
    serde_json::from_str(&database.capconduit(&["call", "explain", call, "--json"])).expect("JSON")
}

#[test]
fn where_every_link_can_take_it_nothing_is_written() {
    for (strategy, priority) in [("priority", "7"), ("round_robin", ""), ("weighted", "")] {
        let links = [7, 8].map(|forwarding_priority| Link { forwarding_priority, ..Link::to(NOWHERE) });
        let site = site(strategy, &links);
        assert_eq!(route(&site, "a", "NULL"), "proceed||");
        let kept = "routing_strategy, forwarding_priority, passed_over IS NULL";
        assert_eq!(site.attempts(kept), [format!("{strategy}|{priority}|t")]);
        // the strategy is the attempt's, whatever the campaign's is now
        site.database.execute("UPDATE campaigns SET routing_strategy = 'weighted'");
        assert_eq!(site.attempts("routing_strategy"), [strategy]);
    }
}

#[test]
fn each_reason_is_named_with_its_figures_in_the_order_of_the_campaign() {
    let mut links = vec![Link::to(NOWHERE); 9];
    links[0].max_concurrency = 1;
    links[2].total_calls_allowed = Some(1000);
    links[3].total_calls_allowed = Some(9);
    // whose turn it is does not change the order
    for strategy in ["priority", "round_robin", "weighted"] {
        let site = site(strategy, &links);
        let (s, c) = (&site.settings, &site.clients);
        assert_eq!(route(&site, "first", "NULL"), "proceed||");
        site.database.execute(&format!(
            "UPDATE call_attempts SET campaign_client_setting_id = {}, client_id = (
                 SELECT client_id FROM campaign_client_settings WHERE id = {});
             INSERT INTO call_attempts (asterisk_uniqueid, attempt_number, user_id, campaign_id, did_id, client_id,
                 campaign_client_setting_id, incoming_did_number, claimed_at, lease_expires_at, released_at,
                 release_reason, count_pending)
             SELECT 'pending' || n, 1, 0, campaign_id, 0, client_id, id, '', now(), now() + interval '1 h',
                 CASE WHEN n > 2 THEN now() END, CASE WHEN n > 2 THEN 'hangup' END, n > 2
             FROM campaign_client_settings, generate_series(1, 3) n WHERE id = {};
             UPDATE campaign_client_settings SET current_total_calls = 1000 WHERE id = {};
             UPDATE campaign_client_settings SET current_total_calls = 6 WHERE id = {};
             UPDATE clients SET status = 'inactive' WHERE client_identifier = '{}';
             UPDATE campaign_client_settings SET status = 'inactive' WHERE id = {};
             DELETE FROM pjsip_endpoints WHERE id = '{}';
             UPDATE pjsip_aors SET contact = '' WHERE id = '{}'",
            s[0], s[0], s[3], s[2], s[3], c[4], s[5], c[6], c[7]
        ));
        let passed_over = [
            format!("{} concurrency_cap 1/1", c[0]),
            format!("{} total_cap 1000/1000", c[2]),
            format!("{} total_cap 6/9 (2 in flight + 1 to be counted)", c[3]),
            format!("{} client_inactive", c[4]),
            format!("{} setting_inactive", c[5]),
            format!("{} no_endpoint", c[6]),
            format!("{} no_contact", c[7]),
        ];
        let text = passed_over.join(", ");
        assert!(route(&site, "second", "NULL").starts_with("proceed||"), "{strategy}");
        assert_eq!(site.attempts("passed_over").last(), Some(&text), "{strategy}");
        // both that are left are asked
        assert!(route(&site, "second", "'BUSY'").starts_with("proceed||"), "{strategy}");
        let rejected = route(&site, "second", "'NOANSWER'");
        let mut all = passed_over.to_vec();
        all.insert(1, format!("{} already_tried", c[1]));
        all.push(format!("{} already_tried", c[8]));
        assert_eq!(rejected, format!("reject|REJECTED_CC|{}", all.join(", ")), "{strategy}");

        let words = explain(&site.database, "second")["attempts"][0]["passed_over"].clone();
        let expected = [
            format!("{}: it had 1 of 1 calls at once", c[0]),
            format!("{}: it had had 1000 of 1000 calls in all", c[2]),
            format!("{}: it had had 6 of 9 calls in all (2 in flight + 1 to be counted)", c[3]),
            format!("{}: the client was inactive", c[4]),
            format!("{}: its setting was inactive", c[5]),
            format!("{}: it had no endpoint", c[6]),
            format!("{}: its endpoint had no contact", c[7]),
        ];
        assert_eq!(words, Value::from(expected.to_vec()), "{strategy}");
    }
}

#[test]
fn a_claim_that_is_asked_for_again_says_the_same() {
    let mut links = vec![Link::to(NOWHERE); 2];
    links[0].total_calls_allowed = Some(0);
    let site = site("priority", &links);
    let ask = format!(
        "SELECT attempt_number, passed_over FROM cc_route('{}', 'again', '', 't', '', '', NULL, NULL, 0)",
        site.did
    );
    let expected = format!("1|{} total_cap 0/0", site.clients[0]);
    assert_eq!([site.database.value(&ask), site.database.value(&ask)], [expected.clone(), expected]);
}

#[test]
fn a_call_that_reaches_no_link_passes_none_over() {
    let site = site("priority", &[]);
    assert_eq!(route(&site, "empty", "NULL"), "reject|REJECTED_NO_CLIENTS|");
    site.database.execute("UPDATE dids SET status = 'inactive'");
    assert_eq!(route(&site, "inactive", "NULL"), "reject|REJECTED_DID_INACTIVE|");
}

#[test]
fn it_is_short_plain_text_whatever_a_v3_database_names_its_clients() {
    let site = site("round_robin", &vec![Link { total_calls_allowed: Some(0), ..Link::to(NOWHERE) }; 60]);
    let hostile = "E'a\"b\\\\c,d ${X}\\'\\u00e9\\n(e):' || lpad(id::text, 30, '/')";
    site.database.execute(&format!("UPDATE clients SET client_identifier = {hostile}"));
    let text = route(&site, "hostile", "NULL").replace("reject|REJECTED_NO_CLIENTS|", "");
    assert!(text.len() <= 900, "{}", text.len());
    let (links, more) = text.rsplit_once(" and ").expect("more than fit");
    let links: Vec<&str> = links.split(", ").collect();
    assert_eq!(more, format!("{} more", 60 - links.len()));
    assert!(links.len() >= 10, "{text}");
    for link in &links {
        assert!(link.starts_with("a?b?c?d???X?????e????") && link.ends_with(" client_identifier_invalid"), "{link}");
    }
    site.database.execute("DELETE FROM clients WHERE id > (SELECT min(id) + 3 FROM clients)");
    assert_eq!(route(&site, "few", "NULL").matches("client_identifier_invalid").count(), 4);
}

#[test]
fn a_rejected_call_is_recorded_with_all_that_it_could_not_have() {
    let (stage, _turn) = stage();
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    // as long as it may be: nothing of it is lost on its way through two programs and Asterisk
    let full = Link { total_calls_allowed: Some(0), forwarding_priority: 1, ..Link::to(busy.contact()) };
    let mut links = vec![full; 45];
    links[0] = Link::to(busy.contact());
    for asterisk in [&stage.early, &stage.ringing] {
        let site = stage.site("priority", 20, &links);
        site.database.execute(&format!(
            "UPDATE campaign_client_settings SET current_total_calls = 1000000, total_calls_base = 1000000,
                 total_calls_allowed = 1000000 WHERE total_calls_allowed = 0 AND campaign_id = {}",
            site.campaign_id
        ));
        Calls { did: &site.did, then: Then::WaitForEnd, ..Calls::default() }.place(asterisk);
        let record = site.wait_for_records(1, "call_status, asterisk_uniqueid, passed_over").remove(0);
        let (status, rest) = record.split_once('|').expect("three columns");
        let (uniqueid, passed_over) = rest.split_once('|').expect("three columns");
        assert_eq!(status, "REJECTED_TOTAL");
        let first = format!("{} already_tried, {} total_cap 1000000/1000000, ", site.clients[0], site.clients[1]);
        assert!(passed_over.starts_with(&first) && passed_over.ends_with(" more"), "{passed_over}");
        assert!((840..=900).contains(&passed_over.len()), "{}", passed_over.len());
        let attempt = passed_over.replacen(&format!("{} already_tried, ", site.clients[0]), "", 1);
        let begin: String = attempt.chars().take(700).collect();
        assert!(site.attempts("passed_over")[0].starts_with(&begin), "{attempt}");

        let story = explain(&site.database, uniqueid);
        let tried = &story["attempts"][0];
        assert_eq!(tried["client_identifier"], *site.clients[0]);
        assert!(tried["outcome"].as_str().expect("text").starts_with("It was busy, after "), "{tried}");
        assert_eq!(story["passed_over"][0], format!("{}: tried before in this call", site.clients[0]));
        let advice = story["advice"].as_str().expect("text");
        // a call that has tried nothing goes to the first
        let now = format!("A call would go to {} now. For more calls in all: capconduit setting set", site.clients[0]);
        assert!(advice.starts_with(&now), "{advice}");
    }
}

#[test]
fn an_answered_call_is_explained_while_it_is_up_and_afterwards() {
    let (stage, _turn) = stage();
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    let good = Centre::start(Behaviour::Answer { ring: 0 });
    let site = stage.in_order(&[busy.contact(), good.contact()]);
    let then = crate::harness::sip::Then::HangUpAfter(2000);
    let calls = Calls { did: &site.did, then, ..Calls::default() }.start(&stage.ringing);
    wait_for("the answer", || good.calls() == 1);
    let uniqueid = site.attempts("asterisk_uniqueid").remove(0);
    let up = explain(&site.database, &uniqueid);
    assert_eq!((&up["id"], &up["call_status"], &up["timestamp_end"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(up["ending"], "The call is up.");
    assert_eq!(calls.finish(), [200]);
    let record = site.wait_for_records(1, "l.id, passed_over").remove(0);
    assert!(record.ends_with('|'), "it was not rejected: {record}");
    for name in [uniqueid.as_str(), record.trim_end_matches('|')] {
        let over = explain(&site.database, name);
        assert_eq!(over["call_status"], "ANSWERED");
        let outcomes: Vec<&str> = over["attempts"]
            .as_array()
            .expect("two attempts")
            .iter()
            .filter_map(|attempt| attempt["outcome"].as_str())
            .collect();
        assert!(outcomes[0].starts_with("It was busy") && outcomes[1].starts_with("It answered after"), "{over:#}");
        let ending = over["ending"].as_str().expect("text");
        assert!(ending.contains(&format!(" s of them with {} (16 Normal Clearing)", site.clients[1])), "{ending}");
        assert_eq!(over["advice"], Value::Null);
    }
}

#[test]
fn it_is_spooled_and_replayed_also_from_what_an_older_program_spooled() {
    let site = site("priority", &[Link { total_calls_allowed: Some(0), ..Link::to(NOWHERE) }]);
    let folder = tempfile::tempdir().expect("a folder");
    let away = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
    for call in ["new", "old"] {
        let said = format!("{call}&{}&&&&reject&REJECTED_TOTAL&&34&&&&&&{call}&&acme%20total_cap%200%2F0", site.did);
        assert!(
            agi::run(&mut agi::command("cdr_logger", &away, folder.path()), &agi::said(call, &said)).status.success()
        );
    }
    let file = folder.path().join("capconduit/old.json");
    let mut old: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("spooled")).expect("JSON");
    assert_eq!(old["record"]["passed_over"], "acme total_cap 0/0");
    old["record"].as_object_mut().expect("an object").remove("passed_over");
    std::fs::write(&file, old.to_string()).expect("own file");
    let mut command = site.database.command();
    command.env("CAPCONDUIT_SPOOL_DIR", folder.path().join("capconduit")).args(["call", "replay"]);
    assert!(command.status().expect("it runs").success());
    let expected = ["new|REJECTED_TOTAL|acme total_cap 0/0", "old|REJECTED_TOTAL|"];
    assert_eq!(site.records("asterisk_uniqueid, call_status, passed_over"), expected);
}

#[test]
fn an_agi_server_says_it_as_the_program_does() {
    let site = site("priority", &[Link { max_concurrency: 1, ..Link::to(NOWHERE) }]);
    assert_eq!(route(&site, "first", "NULL"), "proceed||");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = site.database.command();
    command.env("AST_SPOOL_DIR", folder.path());
    let server = AgiServer::start(command, free_port("127.0.0.1"), &[]);
    let said = server.ask("route", &agi::dialled("served", &site.did));
    let program =
        agi::run(&mut agi::command("cc-route", &site.database.url, folder.path()), &agi::dialled("spawned", &site.did));
    let expected = format!("SET VARIABLE \"CC_PASSED_OVER\" \"{} concurrency_cap 1/1\"\n", site.clients[0]);
    assert!(said.contains(&expected), "{said}");
    assert_eq!(String::from_utf8(program.stdout).expect("text"), said);
}

#[test]
fn v3_records_and_those_of_removed_things_are_explained_as_far_as_known() {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database.execute(
        "INSERT INTO call_logs (incoming_did_number, caller_id_name, timestamp_start, call_status)
         VALUES ('not a number', E'x\\e[2J', now(), 'REJECTED_V3_REASON'), ('+1999', NULL, now(), 'REJECTED_DID_NOT_FOUND'),
                ('+18005550101', NULL, now(), 'REJECTED_DID_INACTIVE'), ('+18005550101', NULL, now(), 'FAILED')",
    );
    let of = |status: &str| {
        explain(&database, &database.value(&format!("SELECT id FROM call_logs WHERE call_status = '{status}'")))
    };
    let odd = of("REJECTED_V3_REASON");
    assert_eq!(odd["ending"], "It ended as REJECTED_V3_REASON.");
    assert!(odd["advice"].as_str().expect("text").starts_with("What the carrier sent is not a phone number"));
    assert!(!odd["arrival"].as_str().expect("text").contains('\u{1b}'));
    let unknown = of("REJECTED_DID_NOT_FOUND");
    let advice = "No DID has this number: capconduit did add +1999 --user SELLER --campaign CAMPAIGN";
    assert_eq!((&unknown["asterisk_uniqueid"], unknown["advice"].as_str()), (&Value::Null, Some(advice)));
    // it is active again
    let advice = of("REJECTED_DID_INACTIVE")["advice"].as_str().expect("text").to_owned();
    assert!(advice.starts_with("A call would go to acme now.\nWhat was changed since: capconduit audit list --from "));
    database.execute("UPDATE users SET status = 'suspended' WHERE username = 'alice'");
    let advice = of("REJECTED_DID_INACTIVE")["advice"].as_str().expect("text").to_owned();
    let expected =
        "A call would be REJECTED_OWNER_INACTIVE now. Its seller alice is not active: capconduit user enable alice";
    assert!(advice.starts_with(expected), "{advice}");
    assert!(of("FAILED")["ending"].as_str().expect("text").starts_with("No decision could be made"));
}

#[test]
fn a_rejection_is_told_with_what_was_changed_since() {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let reject = |call: &str, reason: &str| {
        database.execute(&format!(
            "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid, passed_over)
             VALUES ('+18005550101', now(), 'REJECTED_{reason}', '{call}', 'acme total_cap 1/1')"
        ));
    };
    let advice = |call: &str| explain(&database, call)["advice"].as_str().expect("text").to_owned();
    database.capconduit(&["campaign", "pause", "Alice Priority"]);
    reject("paused", "NO_ACTIVE_CAMPAIGN_FOR_DID");
    assert!(advice("paused").starts_with("No campaign that it feeds is active: \"Alice Priority\" is paused."));
    let mut enable = database.command();
    enable.env("SUDO_USER", "ann").args(["campaign", "enable", "Alice Priority"]);
    assert!(enable.status().expect("it runs").success());
    let told = advice("paused");
    let then = "A call would go to acme now.\nCampaign \"Alice Priority\" was paused then: ann made it active at ";
    assert!(told.starts_with(then) && told.contains("capconduit audit list --from 2"), "{told}");

    // a cap that was raised since is nothing to do about
    let cap = |calls: &str| {
        database.capconduit(&["setting", "set", "Alice Priority", "acme", "--total-calls-allowed", calls]);
    };
    reject("full", "TOTAL");
    cap("1000");
    assert!(!advice("full").contains("For more"), "{}", advice("full"));
    assert!(advice("full").starts_with("A call would go to acme now."));
}

#[test]
fn a_call_that_died_with_its_asterisk_is_called_lost() {
    let site = site("priority", &[Link::to(NOWHERE)]);
    assert_eq!(route(&site, "gone", "NULL"), "proceed||");
    let lost = || site.database.capconduit(&["call", "lost", "--columns", "asterisk_uniqueid", "--csv"]);
    assert!(!lost().contains("gone"));
    site.database.execute(
        "UPDATE call_attempts SET released_at = now(), release_reason = 'asterisk_restarted' WHERE asterisk_uniqueid = 'gone'",
    );
    assert!(lost().contains("gone\r\n"), "{}", lost());
    let story = explain(&site.database, "gone");
    assert!(story["ending"].as_str().expect("text").starts_with("Lost with its Asterisk"), "{story:#}");
    // its record has come after all
    site.database.execute(&format!(
        "INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
         VALUES ('{}', now(), 'FAILED', 'gone')",
        site.did
    ));
    assert!(!lost().contains("gone"));
}

#[test]
fn of_a_call_that_nobody_took_it_is_said_what_to_do_about_the_client() {
    let advice = |dial_status: &str, cause: &str, call_status: &str| {
        let site = site("priority", &[Link::to(NOWHERE)]);
        assert_eq!(route(&site, "call", "NULL"), "proceed||");
        site.database.execute(&format!(
            "UPDATE call_attempts SET released_at = claimed_at + interval '20 s', release_reason = 'hangup',
                 dial_status = '{dial_status}', hangup_cause_code = {cause} WHERE asterisk_uniqueid = 'call';
             INSERT INTO call_logs (incoming_did_number, timestamp_start, call_status, asterisk_uniqueid,
                                    hangup_cause_code, passed_over)
             VALUES ('{}', now(), '{call_status}', 'call', 0, '{} already_tried')",
            site.did, site.clients[0]
        ));
        let story = explain(&site.database, "call");
        // a cause of 0 is none
        assert_eq!(story["ending"], "No client was left that could take it, and the call was ended.");
        let advice = story["advice"].as_str().expect("text").to_owned();
        advice.replace(&site.clients[0], "CLIENT").replace(&site.campaign, "CAMPAIGN")
    };
    let other =
        "another client takes what this one does not: capconduit setting add 'CAMPAIGN' CLIENT --max-concurrency 1";
    assert_eq!(
        advice("BUSY", "17", "BUSY"),
        format!(
            "CLIENT had no line free: for fewer calls at once, capconduit setting set 'CAMPAIGN' CLIENT \
             --max-concurrency N; {other}"
        )
    );
    assert_eq!(
        advice("NOANSWER", "0", "NOANSWER"),
        format!(
            "CLIENT did not answer within 20 s: to let it ring longer, capconduit campaign set 'CAMPAIGN' \
             --dial-timeout-seconds N; {other}"
        )
    );
    let refused = advice("CONGESTION", "34", "FAILED");
    let begin =
        "CLIENT refused with \"Circuit/channel congestion\", or was away: ask the call centre about the call of 2";
    assert!(refused.starts_with(begin) && refused.ends_with(other), "{refused}");
    assert!(
        advice("CHANUNAVAIL", "1", "FAILED").starts_with("CLIENT refused with \"Unallocated (unassigned) number\"")
    );
}
