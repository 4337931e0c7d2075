//! `db migrate`, `db status`, `db seed`: an empty database and a v3.0 platform's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::agi;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};
use crate::harness::{OnDrop, wait_for};

const V3: &str = include_str!("v3.sql");

/// The steps of the release of commit 77d78d7, in their order: migrations, which never change, and routines as they were.
const RELEASE: [(&str, &str); 11] = [
    ("0001_v3_tables", include_str!("../../sql/migrations/0001_v3_tables.sql")),
    ("0002_ledger", include_str!("../../sql/migrations/0002_ledger.sql")),
    ("0003_counters", include_str!("../../sql/migrations/0003_counters.sql")),
    ("0004_audit", include_str!("../../sql/migrations/0004_audit.sql")),
    ("0005_access", include_str!("../../sql/migrations/0005_access.sql")),
    ("0006_pjsip_options", include_str!("../../sql/migrations/0006_pjsip_options.sql")),
    ("0008_decisions", include_str!("../../sql/migrations/0008_decisions.sql")),
    ("access", include_str!("release/access.sql")),
    ("routing", include_str!("release/routing.sql")),
    ("call_log", include_str!("release/call_log.sql")),
    ("realtime", include_str!("release/realtime.sql")),
];

const TABLES: [&str; 10] = [
    "users",
    "clients",
    "pjsip_endpoints",
    "pjsip_aors",
    "pjsip_auths",
    "dids",
    "campaigns",
    "campaign_dids",
    "campaign_client_settings",
    "call_logs",
];

fn v3() -> Database {
    let database = Postgres::shared().empty_database();
    database.execute(V3);
    database
}

/// Every row of every v3.0 table, in v3.0's columns, times as seconds since the epoch.
fn rows(database: &Database, columns_of: &Database) -> Vec<String> {
    let mut all = Vec::new();
    for table in TABLES {
        let columns = columns_of.value(&format!(
            "SELECT string_agg(CASE WHEN data_type LIKE 'timestamp%' THEN format('extract(epoch from %I)', column_name)
                               ELSE quote_ident(column_name) END, ', ' ORDER BY ordinal_position)
             FROM information_schema.columns WHERE table_name = '{table}'"
        ));
        let rows = database.query(&format!("SELECT ROW({columns})::text AS r FROM {table} ORDER BY r"));
        all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    all
}

/// The whole schema: columns, constraints, indexes, views, triggers and functions with their names and definitions.
fn schema(database: &Database) -> Vec<String> {
    database.query(
        "SELECT * FROM (
             SELECT format('%s.%s %s %s %s', table_name, column_name, udt_name || coalesce(character_maximum_length::text, ''),
                           is_nullable, column_default)
             FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL
             SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace
             UNION ALL
             SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
             WHERE c.relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT format('%s %s', viewname, definition) FROM pg_views WHERE schemaname = 'public'
             UNION ALL
             SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
             UNION ALL
             SELECT format('%s %s', oid::regprocedure, md5(pg_get_functiondef(oid))) FROM pg_proc
             WHERE pronamespace = 'public'::regnamespace
             UNION ALL
             SELECT format('%s %s %s %s', c.oid::regclass, a.attnum, a.attname, a.atttypid::regtype)
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relkind = 'c' AND c.relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT format('%s', p) FROM pg_policies p WHERE schemaname = 'public'
         ) s (line) ORDER BY line",
    )
}

#[test]
fn a_v3_database_keeps_every_row_and_ends_with_the_same_schema() {
    let (database, untouched) = (v3(), v3());
    let before = rows(&database, &untouched);
    assert_eq!(before.len(), 40 + 30 + 19 + 19 + 6 + 100 + 40 + 100 + 200 + 3000);
    let said = database.capconduit(&["db", "migrate"]);
    assert!(said.contains(" steps applied. The schema is up to date."), "{said}");
    let fresh = Postgres::shared().database();
    assert!(rows(&database, &untouched) == before, "rows differ");

    assert_eq!(schema(&database), schema(&fresh));

    // v3.0's back end inserts without the new columns
    database.execute(
        "INSERT INTO campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, created_at, updated_at)
         VALUES (1, 'new', 'active', 'priority', 30, now(), now())",
    );
    assert_eq!(database.value("SELECT max_call_seconds FROM campaigns WHERE name = 'new'"), "14400");
    // a client that v3.0 allows and that cannot be dialled is not routed to
    database.execute(
        "UPDATE users SET status = 'active'; UPDATE dids SET status = 'active';
         UPDATE campaigns SET status = 'active'; UPDATE clients SET status = 'active'",
    );
    let number = database.value(
        "SELECT d.number FROM dids d JOIN campaign_dids cd ON cd.did_id = d.id
         JOIN campaign_client_settings s USING (campaign_id) WHERE s.client_id = 7 ORDER BY d.id LIMIT 1",
    );
    let text = database.capconduit(&["route", "explain", &number, "--json"]);
    assert!(text.contains("\"client_identifier_invalid\""), "{text}");
}

#[test]
fn rows_that_break_a_rule_are_all_named_and_nothing_changes() {
    let database = v3();
    database.execute(
        "UPDATE dids SET status = 'parked' WHERE id IN (3, 5);
         UPDATE campaign_client_settings SET weight = 0 WHERE id = 9;
         UPDATE users SET role = 'root' WHERE id <= 25;
         ALTER TABLE call_logs DROP CONSTRAINT call_logs_did_id_fkey;
         UPDATE call_logs SET did_id = 4711 WHERE id = 12;
         ALTER TABLE users ALTER COLUMN email DROP NOT NULL;
         UPDATE users SET email = NULL WHERE id = 8;
         DROP INDEX ix_dids_number;
         UPDATE dids SET number = '+18005551001' WHERE id IN (1, 2)",
    );
    let (rows_before, schema_before) = (rows(&database, &database), schema(&database));
    let output = database.command().args(["db", "migrate"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    for line in [
        "dids: not status IN ('active', 'inactive'): id 3, 5\n",
        "campaign_client_settings: not weight > 0: id 9\n",
        "id 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 5 more\n",
        "call_logs: did_id is not in dids: id 12\n",
        "users: email is null: id 8\n",
        "dids: number is not unique: id 1, 2\n",
        "Nothing was changed",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    assert_eq!((rows(&database, &database), schema(&database)), (rows_before, schema_before));
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let database = Postgres::shared().empty_database();
    database.execute("CREATE TABLE users (id serial PRIMARY KEY, username text, login varchar(10))");
    let before = schema(&database);
    let output = database.command().args(["db", "migrate", "--json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("users.email: the column is missing")
            && said.contains("the type is text, not character varying(80)"),
        "{said}"
    );
    assert_eq!(schema(&database), before);
}

#[test]
fn what_would_not_work_is_refused() {
    for (change, said) in [
        ("ALTER TABLE dids ALTER COLUMN id DROP DEFAULT", "dids.id: it has no sequence"),
        ("ALTER TABLE call_logs ALTER COLUMN id TYPE integer", "call_logs.id: the type is integer, not bigint"),
        ("ALTER TABLE campaign_dids DROP CONSTRAINT campaign_dids_pkey", "campaign_dids: it has no primary key"),
        (
            "CREATE SCHEMA postgres",
            "the platform's tables are in schema public, but this login creates tables in postgres",
        ),
    ] {
        let database = v3();
        database.execute(change);
        let before = rows(&database, &database);
        let output = database.command().args(["db", "migrate"]).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{error}");
        assert_eq!(rows(&database, &database), before);
    }
}

#[test]
fn grants_on_the_views_survive_an_upgrade() {
    let database = Postgres::shared().database();
    database.execute(
        "DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT ON ps_endpoints TO reader;
         UPDATE capconduit_migrations SET checksum = 'old' WHERE name = 'realtime'",
    );
    database.capconduit(&["db", "migrate"]);
    assert_eq!(database.value("SELECT has_table_privilege('reader', 'ps_endpoints', 'select')"), "t");
}

#[test]
fn migrating_again_changes_nothing_and_two_at_once_do_it_once() {
    let database = Postgres::shared().empty_database();
    let status = |expected: i32| {
        let output = database.command().args(["db", "status", "--json"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(expected), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    status(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| database.capconduit(&["db", "migrate"]));
        }
    });
    let up_to_date = status(0);
    assert!(up_to_date.contains("\"state\": \"applied\"") && !up_to_date.contains("pending"), "{up_to_date}");
    let before = (schema(&database), database.query("SELECT * FROM capconduit_migrations"));
    assert_eq!(database.capconduit(&["db", "migrate"]), "The schema is up to date.\n");
    assert_eq!((schema(&database), database.query("SELECT * FROM capconduit_migrations")), before);

    // a routine of an older release is replaced
    database.execute(
        "UPDATE capconduit_migrations SET checksum = 'old' WHERE name = 'routing'; DROP FUNCTION cc_explain(text)",
    );
    status(1);
    assert_eq!(database.capconduit(&["db", "migrate"]), "1 step applied. The schema is up to date.\n");
    assert_eq!(schema(&database), before.0);

    // a migration that was applied with another text, and one of a newer release, are refused
    for change in [
        "UPDATE capconduit_migrations SET checksum = 'other' WHERE name = '0002_ledger'",
        "INSERT INTO capconduit_migrations (name, checksum) VALUES ('0999_future', 'x')",
    ] {
        database.execute(change);
        let output = database.command().args(["db", "migrate"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_call_that_is_routed_meanwhile_is_not_refused_for_new_columns() {
    let database = Postgres::shared().database();
    database.execute(
        "ALTER TABLE call_attempts DROP routing_strategy, DROP forwarding_priority, DROP passed_over;
         ALTER TABLE call_logs DROP passed_over; DELETE FROM capconduit_migrations WHERE name = '0008_decisions'",
    );
    // it has looked at one of the tables, and will look at the other
    let mut call = database.connect();
    call.batch_execute("BEGIN; SELECT FROM call_logs").expect("nobody is in its way");
    let mut command = database.command();
    let migration = thread::spawn(move || command.args(["db", "migrate"]).output().expect("it runs"));
    wait_for("the migration to wait for the call", || {
        let waits = "SELECT FROM pg_locks WHERE relation = 'call_logs'::regclass AND NOT granted";
        !call.query(waits, &[]).expect("it is asked").is_empty()
    });
    call.batch_execute("SELECT FROM call_attempts; COMMIT").expect("the call goes on");
    let output = migration.join().expect("it ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("applying 0008_decisions\nwaiting for a moment without calls\n"), "{said}");
    assert_eq!(database.value("SELECT count(passed_over) FROM call_logs"), "0");
}

#[test]
fn sample_data_is_for_an_empty_database() {
    let database = Postgres::shared().database();
    assert_eq!(database.capconduit(&["db", "seed"]), "Sample data loaded.\n");
    assert_eq!(database.capconduit(&["db", "seed"]), "The sample data is there already.\n");
    let counts = database.value(
        "SELECT concat_ws(' ', (SELECT count(*) FROM users), (SELECT count(*) FROM clients),
             (SELECT count(*) FROM clients WHERE status = 'inactive'),
             (SELECT count(*) FROM pjsip_endpoints WHERE outbound_auth IS NOT NULL), (SELECT count(*) FROM dids),
             (SELECT count(*) FROM dids WHERE status = 'inactive'), (SELECT count(DISTINCT routing_strategy) FROM campaigns),
             (SELECT count(*) FROM campaign_client_settings), (SELECT count(*) FROM call_logs))",
    );
    assert_eq!(counts, "4 4 1 1 4 1 3 7 6");
    let live = v3();
    live.capconduit(&["db", "migrate"]);
    let output = live.command().args(["db", "seed"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn without_a_database_the_exit_code_says_try_again() {
    let database = Database { url: "postgresql://u:secret@127.0.0.1:1/x".into(), name: "x".into() };
    let output = database.command().args(["db", "status", "--json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("\"kind\":\"unreachable\"") && said.contains("127.0.0.1:1, database x"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn calls_are_routed_while_only_the_programs_are_new() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9"), Link::to("sip:127.0.0.1:9")]);
    // the function of the release before, which did not know what the channel knows
    database.execute(
        "CREATE SCHEMA newer;
         ALTER FUNCTION cc_route SET SCHEMA newer;
         CREATE FUNCTION cc_route(text, text, text, text, text, text, text, integer,
             OUT status text, OUT reason text, OUT call_status text, OUT hangup_cause integer,
             OUT setting_id integer, OUT client_identifier text, OUT campaign_id integer, OUT user_id integer,
             OUT did_id integer, OUT client_id integer, OUT dial_timeout integer, OUT max_call_seconds integer,
             OUT attempt_number integer)
         LANGUAGE sql AS 'SELECT status, reason, call_status, hangup_cause, setting_id, client_identifier, campaign_id,
                              user_id, did_id, client_id, dial_timeout, max_call_seconds, attempt_number
                          FROM newer.cc_route($1, $2, $3, $4, $5, $6, $7, $8, NULL)';
         ALTER FUNCTION cc_log_call SET SCHEMA newer;
         CREATE FUNCTION cc_log_call(text, text, text, timestamptz, timestamptz, timestamptz, integer, integer, text,
             integer, text, text, text, text, integer, OUT call_log_id bigint, OUT already_logged boolean)
         LANGUAGE sql AS 'SELECT * FROM newer.cc_log_call($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)'",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let program = |name: &str, said: &str| {
        let output = agi::run(&mut agi::command(name, &database.url, folder.path()), said);
        assert!(output.status.success(), "{name}");
        String::from_utf8(output.stdout).expect("text")
    };
    let route = |call: &str| {
        let sent = program("cc-route", &agi::dialled(call, &site.did));
        assert!(sent.contains("\"proceed,,,"), "{sent}");
        let busy = agi::said(call, &format!("{call}&node&{}&BUSY&17&1", &site.did[1..]));
        let sent = program("cc-route", &busy);
        assert!(sent.contains("\"proceed,,,") && sent.contains(",2\"\n"), "{sent}");
        program("cdr_logger", &agi::answered(call, &site.did, site.settings[1]));
    };
    route("old-1.1");
    let rejected = agi::dialled("old-1.3", "+19995550000");
    assert!(program("cc-route", &rejected).contains("\"reject,did_not_found"), "a rejection, too");
    let server = agi::AgiServer::start(database.command(), crate::harness::free_port("127.0.0.1"), &[]);
    assert!(server.ask("route", &agi::dialled("old-1.2", &site.did)).contains("\"proceed,,,"));
    assert!(server.ask("log", &agi::answered("old-1.2", &site.did, site.settings[0])).contains("CC_LOGGED"));
    assert!(!server.output().contains("left to the program"), "{}", server.output());

    database
        .execute("DROP SCHEMA newer CASCADE; UPDATE capconduit_migrations SET checksum = '' WHERE name IN ('routing', 'call_log')");
    database.capconduit(&["db", "migrate"]);
    assert_eq!(database.value("SELECT pronargs FROM pg_proc WHERE proname = 'cc_route'"), "10");
    route("new-1.1");
    // and programs of that release on the new database
    let asked = format!("SELECT status FROM cc_route('{}', 'new-1.2', '', 't', '', '', NULL, NULL)", site.did);
    assert_eq!(database.value(&asked), "proceed");
    assert_eq!(site.records("call_status"), ["ANSWERED"; 3]);
}

/// A database of that release, with the sample data, a setting with a total, calls that are over and calls that are not.
fn release() -> Database {
    let database = Postgres::shared().empty_database();
    let mut client = database.connect();
    client
        .batch_execute(
            "SET client_min_messages = warning;
             CREATE TABLE capconduit_migrations (name text PRIMARY KEY, checksum text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT current_user)",
        )
        .expect("a table");
    for (name, sql) in RELEASE {
        let mut tx = client.transaction().expect("a transaction");
        tx.batch_execute(sql).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let record = "INSERT INTO capconduit_migrations VALUES ($1, encode(sha256(convert_to($2, 'UTF8')), 'hex'))";
        tx.execute(record, &[&name, &sql]).expect("it is recorded");
        tx.commit().expect("commit");
    }
    database.execute(include_str!("../../sql/seed.sql"));
    database.execute(
        "UPDATE campaign_client_settings SET total_calls_allowed = 1000, current_total_calls = 7 WHERE id = 1;
         SELECT cc_route('+18005550101', 'over', NULL, 'node', '1', 'x', NULL, NULL);
         SELECT cc_log_call('+18005550101', '1', 'x', now(), now(), now(), 3, 3, 'ANSWERED', 16, 'x', 'over', NULL, 'ANSWER', 1);
         SELECT cc_route('+18005550102', 'spooled', NULL, 'node', '1', 'x', NULL, NULL);
         SELECT cc_release_call('spooled', 'ANSWER', 16, true);
         SELECT cc_route('+18005550101', 'up-1', NULL, 'node', '1', 'x', NULL, NULL);
         SELECT cc_route('+18005550103', 'up-2', NULL, 'node', '1', 'x', NULL, NULL)",
    );
    database
}

/// Calls come as from programs of that release: on a session that is kept, with a statement that is kept too, on a
/// session for each, through a pooler; and from a program of today. Each way has a campaign of its own.
#[test]
fn a_database_of_the_last_release_becomes_a_fresh_one_while_calls_are_routed() {
    const ASK: &str = "SELECT status FROM cc_route($1, $2, NULL, 'node', '1', 'x', NULL, NULL, 0)";
    const LOG: &str =
        "SELECT already_logged FROM cc_log_call($1, '1', 'x', now(), NULL, now(), 3, 0, 'FAILED', 16, 'x', $2,
                           NULL, 'CANCEL', NULL, NULL)";
    let (database, untouched) = (release(), release());
    let tables = ["call_attempts", "call_endings", "routing_turns", "audit_log"];
    let columns = tables.map(|table| {
        let list = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0";
        (table, untouched.value(&format!("{list} AND attrelid = '{table}'::regclass")))
    });
    let data = || {
        let mut all = rows(&database, &untouched);
        for (table, columns) in &columns {
            let rows = database.query(&format!("SELECT ROW({columns})::text FROM {table}"));
            all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
        }
        all
    };
    let before = data();
    for (table, count) in [("call_attempts", 4), ("call_logs", 7), ("call_endings", 1), ("routing_turns", 1)] {
        assert!(before.iter().filter(|row| row.starts_with(&format!("{table}: "))).count() >= count, "{before:#?}");
    }
    let links = [(); 2].map(|()| Link { max_concurrency: 100_000, ..Link::to("sip:127.0.0.1:9") });
    let sites: Vec<Site> = (0..5).map(|_| Site::new(&database, "weighted", 20, &links)).collect();
    let pooler = PgBouncer::start(Postgres::shared(), &database);
    let folder = tempfile::tempdir().expect("a folder");
    let (is_done, asked, refused) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let until_done = |way: usize, ask: &mut dyn FnMut(&str, &str) -> Result<String, String>| {
        while !is_done.load(Ordering::Relaxed) {
            let call = format!("way{way}-{}", asked.fetch_add(1, Ordering::Relaxed));
            match ask(&sites[way].did, &call) {
                Ok(status) if status == "proceed" => {}
                said => refused.lock().expect("a list").push(format!("{call}: {said:?}")),
            }
            // also on a loaded machine there are moments without a call, as a migration needs them
            thread::sleep(Duration::from_millis(20));
        }
    };
    let said = |e: postgres::Error| format!("{e:?}");
    let claim = |client: &mut postgres::Client, did: &str, call: &str| {
        let row = client.query_one(ASK, &[&did, &call]).map_err(said)?;
        client.query_one(LOG, &[&did, &call]).map_err(said)?;
        Ok(row.get(0))
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = database.connect();
            until_done(0, &mut |did, call| claim(&mut client, did, call));
        });
        scope.spawn(|| {
            let mut client = database.connect();
            let [ask, log] = [ASK, LOG].map(|sql| client.prepare(sql).expect("it is prepared"));
            until_done(1, &mut |did, call| {
                let row = client.query_one(&ask, &[&did, &call]).map_err(said)?;
                client.query_one(&log, &[&did, &call]).map_err(said)?;
                Ok(row.get(0))
            });
        });
        scope.spawn(|| until_done(2, &mut |did, call| claim(&mut database.connect(), did, call)));
        scope.spawn(|| {
            until_done(3, &mut |did, call| {
                // named statements do not go through it
                let sql = ASK.replace("$1", &format!("'{did}'")).replace("$2", &format!("'{call}'"));
                let messages = pooler.database.connect().simple_query(&sql).map_err(said)?;
                Ok(messages
                    .iter()
                    .filter_map(|m| if let postgres::SimpleQueryMessage::Row(r) = m { r.get(0) } else { None })
                    .collect())
            });
        });
        scope.spawn(|| {
            until_done(4, &mut |did, call| {
                let output =
                    agi::run(&mut agi::command("cc-route", &database.url, folder.path()), &agi::dialled(call, did));
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                Ok(if said.contains("\"proceed,,,") { "proceed".to_owned() } else { said })
            });
        });
        let _done = OnDrop(|| is_done.store(true, Ordering::Relaxed));
        // a step that would hold up calls gives way to them
        database.capconduit(&["db", "migrate"]);
        // and what this release has is replaced by itself
        for _ in 0..3 {
            let routines = "'base', 'access', 'audit', 'routing', 'call_log', 'realtime', 'verify', 'unsold'";
            database.execute(&format!("UPDATE capconduit_migrations SET checksum = 'old' WHERE name IN ({routines})"));
            database.capconduit(&["db", "migrate"]);
        }
    });
    let refused = refused.into_inner().expect("a list");
    assert!(refused.is_empty(), "{} of {asked:?} calls: {refused:#?}", refused.len());

    assert_eq!(schema(&database), schema(&Postgres::shared().database()));
    let after = data();
    let lost: Vec<&String> = before.iter().filter(|row| !after.contains(row)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    assert_eq!(database.capconduit(&["db", "verify"]), "No difference.\n");
    let twice =
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace GROUP BY 1 HAVING count(*) > 1";
    assert_eq!(database.query(twice), [""; 0]);
}

#[test]
fn a_claim_in_its_middle_ends_as_it_began_when_its_functions_are_replaced() {
    let database = release();
    let mut holder = database.connect();
    let mut migration = database.connect();
    migration.batch_execute("SET client_min_messages = warning; BEGIN").expect("it begins");
    for file in [
        "base",
        "tables",
        "route/resolve",
        "route/links",
        "route/turns",
        "route/reasons",
        "route/rejection",
        "route/route",
    ] {
        let path = format!("{}/sql/routines/{file}.sql", env!("CARGO_MANIFEST_DIR"));
        migration
            .batch_execute(&std::fs::read_to_string(&path).expect(&path))
            .unwrap_or_else(|e| panic!("{file}: {e:?}"));
    }
    holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(cc_call_lock('middle'))").expect("the call is held up");
    let session = database.connect();
    let claim = thread::spawn(move || {
        let mut session = session;
        session
            .query_one("SELECT status FROM cc_route('+18005550101', 'middle', NULL, 'n', '1', 'x', NULL, NULL, 0)", &[])
    });
    wait_for("the claim to wait for the call", || {
        let waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        !holder.query(waits, &[]).expect("it is asked").is_empty()
    });
    migration.batch_execute("COMMIT").expect("all of it is replaced");
    holder.batch_execute("COMMIT").expect("the call goes on");
    let row = claim.join().expect("it ended").expect("nothing is missed");
    assert_eq!(row.get::<_, String>(0), "proceed");
    assert_eq!(database.value("SELECT count(*) FROM pg_proc WHERE proname ~ '^was_cc_'"), "2");
    database.execute("SELECT cc_drop_aside()");
    assert_eq!(database.value("SELECT count(*) FROM pg_proc WHERE proname ~ '^was_cc_'"), "0");
}
