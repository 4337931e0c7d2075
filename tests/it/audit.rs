//! The audit: what the database records of changes, by whomever, and what `audit list` makes of it.

use serde_json::{Value, json};

use crate::harness::postgres::{Database, Postgres};

/// A database with the sample data, whose loading is forgotten.
fn sample() -> Database {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    database.execute("TRUNCATE audit_log");
    database
}

/// What was recorded since the last look, oldest first.
fn recorded(database: &Database) -> Vec<String> {
    let rows = database.query(
        "SELECT concat_ws(' ', action, table_name, row_id, row_name), before - '{id,created_at}'::text[] AS before,
                after - '{id,created_at}'::text[] AS after FROM audit_log ORDER BY id",
    );
    database.execute("TRUNCATE audit_log");
    rows
}

fn audit(database: &Database, arguments: &[&str]) -> Value {
    let text = database.capconduit(&[&["audit"], arguments, &["--json"]].concat());
    serde_json::from_str(&text).expect("one JSON document")
}

#[test]
fn each_change_of_each_table_is_recorded() {
    let database = sample();
    for (table, key, insert, update, recorded_update) in [
        (
            "users",
            "5 zoe",
            "INSERT INTO users (id, username, email, password_hash) VALUES (5, 'zoe', 'z@x', '$2b$12$x')",
            "UPDATE users SET full_name = 'Zoe', updated_at = now() WHERE id = 5",
            r#"{"full_name": null}|{"full_name": "Zoe"}"#,
        ),
        (
            "clients",
            "9 zeta",
            "INSERT INTO clients (id, client_identifier, name) VALUES (9, 'zeta', 'Zeta')",
            "UPDATE clients SET status = 'inactive' WHERE id = 9",
            r#"{"status": "active"}|{"status": "inactive"}"#,
        ),
        (
            "pjsip_endpoints",
            "dormant2 dormant2",
            "DELETE FROM pjsip_endpoints WHERE id = 'dormant'; TRUNCATE audit_log;
             INSERT INTO pjsip_endpoints (id, client_id, context) VALUES ('dormant2', 4, 'x')",
            "UPDATE pjsip_endpoints SET context = 'y', config_updated_at = now() WHERE id = 'dormant2'",
            r#"{"context": "x"}|{"context": "y"}"#,
        ),
        (
            "pjsip_aors",
            "dormant2 dormant2",
            "DELETE FROM pjsip_aors WHERE id = 'dormant'; TRUNCATE audit_log;
             INSERT INTO pjsip_aors (id, client_id, contact) VALUES ('dormant2', 4, 'sip:a')",
            "UPDATE pjsip_aors SET contact = 'sip:b' WHERE id = 'dormant2'",
            r#"{"contact": "sip:a"}|{"contact": "sip:b"}"#,
        ),
        (
            "pjsip_auths",
            "dormant2 dormant2",
            "INSERT INTO pjsip_auths (id, client_id, username, password) VALUES ('dormant2', 4, 'u', 'hush-1')",
            "UPDATE pjsip_auths SET realm = 'r' WHERE id = 'dormant2'",
            r#"{"realm": null}|{"realm": "r"}"#,
        ),
        (
            "dids",
            "9 +19",
            "INSERT INTO dids (id, number, user_id) VALUES (9, '+19', 3)",
            "UPDATE dids SET user_id = 4 WHERE id = 9",
            r#"{"user_id": 3}|{"user_id": 4}"#,
        ),
        (
            "campaigns",
            "9 Nine",
            "INSERT INTO campaigns (id, user_id, name) VALUES (9, 3, 'Nine')",
            "UPDATE campaigns SET status = 'paused', dial_timeout_seconds = 9 WHERE id = 9",
            r#"{"status": "active", "dial_timeout_seconds": 30}|{"status": "paused", "dial_timeout_seconds": 9}"#,
        ),
        ("campaign_dids", "2/1 Alice Round Robin / +18005550101", "INSERT INTO campaign_dids VALUES (2, 1)", "", ""),
        (
            "campaign_client_settings",
            "9 Alice Round Robin / dormant",
            "INSERT INTO campaign_client_settings (id, campaign_id, client_id) VALUES (9, 2, 4)",
            "UPDATE campaign_client_settings SET weight = 7 WHERE id = 9",
            r#"{"weight": 100}|{"weight": 7}"#,
        ),
    ] {
        database.execute(insert);
        let inserted = recorded(&database);
        assert_eq!(inserted.len(), 1, "{inserted:?}");
        assert!(inserted[0].starts_with(&format!("insert {table} {key}||{{")), "{inserted:?}");
        assert!(!inserted[0].contains("$2b$") && !inserted[0].contains("hush"), "{inserted:?}");
        if !update.is_empty() {
            database.execute(update);
            assert_eq!(recorded(&database), [format!("update {table} {key}|{recorded_update}")]);
            // what changes nothing, and bookkeeping alone, is no change
            let stamp = if table.starts_with("pjsip") { "config_updated_at" } else { "updated_at" };
            database.execute(&format!("UPDATE {table} SET id = id, {stamp} = now()"));
            assert_eq!(recorded(&database), [""; 0]);
        }
        let (id, _) = key.split_once(' ').expect("id and name");
        let condition = match id.split_once('/') {
            Some((campaign, did)) => format!("campaign_id = {campaign} AND did_id = {did}"),
            None => format!("id = '{id}'"),
        };
        database.execute(&format!("DELETE FROM {table} WHERE {condition}"));
        let deleted = recorded(&database);
        assert_eq!(deleted.len(), 1, "{deleted:?}");
        assert!(
            deleted[0].starts_with(&format!("delete {table} {key}|{{")) && deleted[0].ends_with('|'),
            "{deleted:?}"
        );
    }
    database.execute("TRUNCATE campaign_dids");
    assert_eq!(recorded(&database), [r#"truncate campaign_dids|{"rows": 4}|"#]);
}

#[test]
fn what_goes_along_is_recorded_by_name() {
    let database = sample();
    database.execute("DELETE FROM users WHERE username = 'bob'");
    let deleted = database.query("SELECT table_name, row_name FROM audit_log WHERE action = 'delete' ORDER BY 1, 2");
    assert_eq!(
        deleted,
        [
            "campaign_client_settings|Bob Weighted / acme",
            "campaign_client_settings|Bob Weighted / borealis",
            "campaign_dids|Bob Weighted / +18005550103",
            "campaign_dids|Bob Weighted / +18005550104",
            "campaigns|Bob Weighted",
            "dids|+18005550103",
            "dids|+18005550104",
            "users|bob",
        ]
    );
}

#[test]
fn of_a_secret_only_that_it_changed_is_recorded() {
    let database = sample();
    database.execute(
        "UPDATE users SET password_hash = '$2b$12$other' WHERE id = 3;
         UPDATE pjsip_auths SET password = 'another' WHERE id = 'borealis';
         UPDATE pjsip_auths SET password = NULL WHERE id = 'borealis'",
    );
    assert_eq!(
        recorded(&database),
        [
            r#"update users 3 alice|{"password_hash": "********"}|{"password_hash": "********"}"#,
            r#"update pjsip_auths borealis borealis|{"password": "********"}|{"password": "********"}"#,
            r#"update pjsip_auths borealis borealis|{"password": "********"}|{"password": null}"#,
        ]
    );
    // and of any that comes later
    database
        .execute("ALTER TABLE clients ADD COLUMN api_secret text; UPDATE clients SET api_secret = 'hush' WHERE id = 1");
    assert_eq!(recorded(&database), [r#"update clients 1 acme|{"api_secret": null}|{"api_secret": "********"}"#]);
}

#[test]
fn counting_a_call_is_no_change_and_costs_no_call_of_the_trigger() {
    let database = sample();
    database.execute("UPDATE campaign_client_settings SET current_total_calls = 0; TRUNCATE audit_log");
    let calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'cc_audit'";
    database.execute(&format!("ALTER DATABASE {} SET track_functions = 'all'", database.name));
    let mut session = database.connect();
    for call in 0..20 {
        let sql = format!(
            "SELECT cc_route('+18005550101', 'a{call}', '', 'n', '', '', NULL, NULL);
             SELECT cc_log_call('+18005550101', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'a{call}', '',
                                'ANSWER', NULL)"
        );
        session.batch_execute(&sql).expect("routed and logged");
    }
    assert_eq!(database.value("SELECT sum(current_total_calls) FROM campaign_client_settings"), "20");
    // as v3.0's back end counts, with its own time stamp
    let one_more = "UPDATE campaign_client_settings SET current_total_calls = 21, updated_at = now()
                    WHERE current_total_calls = 20";
    assert_eq!(session.execute(one_more, &[]).expect("counted"), 1);
    session.batch_execute("SELECT pg_stat_force_next_flush()").expect("flushed");
    assert_eq!((recorded(&database), database.value(calls).as_str()), (Vec::<String>::new(), "0"));

    let setting = database.value("SELECT id FROM campaign_client_settings WHERE current_total_calls = 21");
    // a repair of the counter, by whatever it was wrong
    database.capconduit(&["db", "verify", "--repair"]);
    let command = "SELECT DISTINCT command FROM audit_log WHERE after ? 'current_total_calls'";
    assert_eq!(database.value(command), "capconduit db verify --repair");
    recorded(&database);
    // a correction, also one that happens to be one more, and a reset
    for (option, value, before, after) in
        [("--current-total-calls", "50", 20, 50), ("--current-total-calls", "51", 50, 51), ("", "", 51, 0)]
    {
        let option = if option.is_empty() { "--reset-total-calls".to_owned() } else { format!("{option}={value}") };
        database.capconduit(&["setting", "set", &setting, &option]);
        let change = format!(r#"{{"current_total_calls": {before}}}|{{"current_total_calls": {after}}}"#);
        let rows = recorded(&database);
        assert!(rows.len() == 1 && rows[0].ends_with(&change), "{rows:?}");
    }
    assert_ne!(database.value(calls), "0", "calls are counted");
    // a column that the trigger has never heard of
    database.execute("ALTER TABLE campaign_client_settings ADD COLUMN note text");
    database.execute(&format!("UPDATE campaign_client_settings SET note = 'new' WHERE id = {setting}"));
    let rows = recorded(&database);
    assert!(rows.len() == 1 && rows[0].ends_with(r#"|{"note": null}|{"note": "new"}"#), "{rows:?}");
}

#[test]
fn removed_call_records_are_counted() {
    let database = sample();
    database.execute("DELETE FROM call_logs WHERE id <= 2; DELETE FROM call_logs WHERE false; TRUNCATE call_logs");
    let rows = database.query("SELECT action, table_name, row_id, before ->> 'rows' FROM audit_log ORDER BY id");
    assert_eq!(rows, ["delete|call_logs||2", "truncate|call_logs||4"]);
}

#[test]
fn who_did_what_with_which_command() {
    let database = sample();
    let status = database
        .command()
        .args(["setting", "set", "Alice Priority", "acme", "--max-concurrency", "7"])
        .env("SUDO_USER", "carla")
        .status();
    assert!(status.expect("it runs").success());
    database.execute("UPDATE dids SET description = 'by hand' WHERE number = '+18005550101'");

    let all = audit(&database, &["list"]);
    let [by_hand, by_command] = all.as_array().expect("a list").as_slice() else { panic!("{all:#}") };
    assert_eq!((&by_hand["operator"], &by_hand["command"]), (&Value::Null, &Value::Null));
    assert_eq!((&by_hand["login"], &by_hand["row_name"]), (&json!("postgres"), &json!("+18005550101")));
    assert_eq!(by_command["operator"], "carla");
    assert_eq!(by_command["program"], "capconduit");
    assert_eq!(by_command["command"], "capconduit setting set 'Alice Priority' acme --max-concurrency 7");
    assert_eq!(by_command["columns"], json!(["max_concurrency"]));

    let setting = &by_command["id"];
    for (arguments, found) in [
        (&["--noun", "setting"][..], true),
        (&["--table", "campaign_client_settings"], true),
        (&["--noun", "did"], false),
        (&["--name", "Alice Priority / acme"], true),
        (&["--name", "Alice Priority"], true),
        (&["--name", "acme"], true),
        (&["--name", "acm"], false),
        (&["--operator", "carla"], true),
        (&["--operator", "dora"], false),
        (&["--login", "postgres", "--action", "update"], true),
        (&["--login", "webapp"], false),
        (&["--action", "delete"], false),
        (&["--command", "MAX-concurrency"], true),
        (&["--command", "%"], false),
        (&["--from", "2020-01-01"], true),
        (&["--to", "2020-01-01"], false),
    ] {
        let rows = audit(&database, &[&["list"], arguments].concat());
        let there = rows.as_array().expect("a list").iter().any(|row| row["id"] == *setting);
        assert_eq!(there, found, "{arguments:?}");
    }
    assert_eq!(audit(&database, &["list", "--limit", "1"])[0]["row_name"], "+18005550101");
    assert_eq!(audit(&database, &["list", "--offset", "1"])[0]["id"], *setting);

    let shown = audit(&database, &["show", &setting.to_string()]);
    assert_eq!(shown["changes"], json!([{"field": "max_concurrency", "before": 5, "after": 7}]), "{shown:#}");
    let table = database.capconduit(&["audit", "show", &setting.to_string()]);
    assert!(table.contains("FIELD") && table.contains("max_concurrency"), "{table}");
    let missing = database.command().args(["audit", "show", "999"]).output().expect("it runs");
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn a_change_that_is_undone_is_not_recorded() {
    let database = sample();
    database.execute("BEGIN; UPDATE clients SET name = 'x'; ROLLBACK");
    assert_eq!(recorded(&database), [""; 0]);
}

#[test]
fn names_are_found_as_people_write_them() {
    let database = sample();
    database.capconduit(&["campaign", "pause", "Alice Priority"]);
    database.capconduit(&["did", "disable", "+18005550102"]);
    for (name, found) in [
        ("alice priority", "Alice Priority"),
        ("18005550102", "+18005550102"),
        ("001 800 555-0102", "+18005550102"),
        ("+18005550102", "+18005550102"),
    ] {
        let rows = audit(&database, &["list", "--name", name]);
        assert_eq!((rows.as_array().map(Vec::len), &rows[0]["row_name"]), (Some(1), &json!(found)), "{name}");
    }
    let listed = |name: &str| {
        let output = database.command().args(["audit", "list", "--name", name]).output().expect("it runs");
        assert_eq!(output.stdout, b"No changes.\n");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert_eq!(
        listed("Alice Prioritty"),
        "note: nothing that has been changed is called \"Alice Prioritty\": did you mean \"Alice Priority\"?\n"
    );
    assert_eq!(listed("zebra"), "note: nothing that has been changed is called \"zebra\"\n");
}

#[test]
fn a_list_shows_what_changed() {
    let database = sample();
    database.capconduit(&["campaign", "pause", "Alice Priority"]);
    let long = "x".repeat(90);
    database.capconduit(&["client", "set", "acme", "--name", &long]);
    database.execute("UPDATE users SET password_hash = '$2b$12$other', full_name = 'A' WHERE username = 'alice'");
    let table = database.capconduit(&["audit", "list"]);
    assert!(table.contains("status active -> paused"), "{table}");
    assert!(table.contains(&format!("name Acme Support -> {}...", "x".repeat(60 - 21))), "{table}");
    assert!(table.contains("-> A, password_hash changed"), "{table}");
    assert!(!table.contains("$2b$"), "{table}");
}

#[test]
fn the_operator_is_known_without_a_login_shell() {
    let database = sample();
    let mut command = database.command();
    command.env_remove("SUDO_USER").env_remove("USER").env_remove("LOGNAME");
    assert!(command.args(["campaign", "pause", "1"]).status().expect("it runs").success());
    let whoami = std::process::Command::new("id").arg("-un").output().expect("id runs").stdout;
    let whoami = String::from_utf8(whoami).expect("UTF-8");
    assert_eq!(audit(&database, &["list"])[0]["operator"], whoami.trim());
}

#[test]
fn what_moves_a_total_or_a_record_or_a_login_is_recorded() {
    let database = sample();
    let setting =
        database.value("SELECT campaign_client_setting_id FROM call_logs WHERE call_status = 'ANSWERED' LIMIT 1");
    database.execute(&format!(
        "UPDATE campaign_client_settings SET total_calls_base = total_calls_base + 5 WHERE id = {setting}"
    ));
    let rows = recorded(&database);
    assert!(rows.len() == 1 && rows[0].contains("total_calls_base"), "{rows:?}");
    database.execute("UPDATE call_logs SET billsec_seconds = 0");
    let rows = recorded(&database);
    assert!(rows.len() == 1 && rows[0].starts_with("update call_logs|{") && rows[0].contains("rows"), "{rows:?}");
    database.execute("UPDATE call_logs SET billsec_seconds = 0 WHERE id = -1");
    assert_eq!(recorded(&database), [""; 0]);
    database.execute("INSERT INTO database_roles (role_name, purpose) VALUES ('somebody', 'report')");
    let rows = recorded(&database);
    assert!(rows.len() == 1 && rows[0].starts_with("insert database_roles somebody|"), "{rows:?}");
    // what follows from a removal is not recorded beside it
    database.execute("DELETE FROM call_logs");
    assert_eq!(recorded(&database).len(), 1);
    database.capconduit(&["db", "seed"]);
    // a counted call is none either, and a link of another campaign counts nothing
    let foreign = database.value("SELECT min(id) FROM campaign_client_settings WHERE campaign_id = 3");
    let counter = format!("SELECT current_total_calls FROM campaign_client_settings WHERE id = {foreign}");
    let before = database.value(&counter);
    database.execute(&format!(
        "SELECT cc_log_call('+18005550101', '', '', now(), now(), now(), 1, 1, 'ANSWERED', 16, '', 'x-1', '', '', {foreign})"
    ));
    assert_eq!((database.value(&counter), recorded(&database)), (before, vec![]));
}

#[test]
fn a_link_is_added_in_one_change_that_says_its_caps() {
    let database = Postgres::shared().database();
    database.capconduit(&["db", "seed"]);
    let listed = |campaign: &str| {
        let name = format!("{campaign} / dormant");
        database.capconduit(&["audit", "list", "--name", &name, "--columns", "action,change", "--csv"])
    };
    database.capconduit(&["setting", "add", "Bob Weighted", "dormant", "--max-concurrency", "5"]);
    database.capconduit(&["campaign", "add", "New", "--user", "bob", "--client", "dormant:5"]);
    for campaign in ["Bob Weighted", "New"] {
        let changes = listed(campaign);
        assert!(changes.contains("max_concurrency 5") && changes.lines().count() == 2, "{changes}");
    }
}

/// The values that an option of `audit list` may have.
fn values(help: &str, option: &str) -> Vec<String> {
    let text = help.split(option).nth(1).and_then(|rest| rest.split("[possible values: ").nth(1)).expect(option);
    let list = text.split(']').next().expect("an end");
    let mut values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
    values.sort();
    values
}

#[test]
fn the_nouns_and_tables_are_those_that_the_database_audits() {
    let database = Postgres::shared().database();
    let help = database.capconduit(&["audit", "list", "--help"]);
    let audited = |column: &str| {
        database.query(&format!("SELECT DISTINCT {column} COLLATE \"C\" FROM cc_tables() WHERE is_audited ORDER BY 1"))
    };
    assert_eq!(values(&help, "--noun "), audited("noun"));
    assert_eq!(values(&help, "--table "), audited("name"));
    let triggers =
        "SELECT DISTINCT tgrelid::regclass::text COLLATE \"C\" FROM pg_trigger WHERE tgname ~ '^Audit' ORDER BY 1";
    assert_eq!(database.query(triggers), audited("name"));
    let tables = "SELECT relname COLLATE \"C\" FROM pg_class
                  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY 1";
    assert_eq!(database.query(tables), database.query("SELECT name COLLATE \"C\" FROM cc_tables() ORDER BY 1"));
}
