//! `capconduit agi serve`: calls that it routes and logs, and calls when it is away, full, stuck or killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::harness::agi::{self, AgiServer};
use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::site::{Link, Site};
use crate::harness::{OnDrop, free_port, program, wait_for};
use crate::stage::{stage, stage_alone};

/// How the server and the program name themselves to the database.
const SERVER: &str = "capconduit agi serve";
const PROGRAM: &str = "cc-route.agi";
const LOGGER: &str = "cdr_logger.agi";

/// An Asterisk that asks a server on this port, and its database, which logs all statements.
struct Scene {
    database: Database,
    asterisk: Asterisk,
    port: u16,
}

/// The tests with calls use it one after the other.
fn scene() -> (&'static Scene, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    static SCENE: OnceLock<Scene> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = SCENE.get_or_init(|| {
        let database = Postgres::shared().database();
        database.execute(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
        let port = free_port("127.0.0.1");
        let options = Options { system_name: "served", agi_server: Some(port), ..Options::default() };
        Scene { asterisk: Asterisk::start(&database, &options), database, port }
    });
    (scene, turn)
}

impl Scene {
    fn serve(&self, options: &[&str]) -> AgiServer {
        let mut command = self.database.command();
        command.env("AST_SPOOL_DIR", self.asterisk.dir().join("spool"));
        AgiServer::start(command, self.port, options)
    }

    /// How many routing attempts were asked for under this name.
    fn routed(&self, by: &str) -> usize {
        let tag = format!("db={} app={by} ", self.database.name);
        Postgres::shared().log().lines().filter(|l| l.contains(&tag) && l.contains("FROM cc_route(")).count()
    }

    /// How many records were written under this name.
    fn logged(&self, by: &str) -> usize {
        let tag = format!("db={} app={by} ", self.database.name);
        Postgres::shared().log().lines().filter(|l| l.contains(&tag) && l.contains("FROM cc_log_call(")).count()
    }
}

/// A server of its own on a database, with its spool.
fn serve(database: &Database, options: &[&str]) -> (AgiServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = database.command();
    command.env("AST_SPOOL_DIR", folder.path());
    (AgiServer::start(command, free_port("127.0.0.1"), options), folder)
}

/// A campaign of one client, which is never called.
fn site(database: &Database) -> Site {
    Site::new(database, "priority", 20, &[Link::to("sip:127.0.0.1:9")])
}

/// Holds up claims of a campaign until the transaction ends.
fn hold_up(client: &mut postgres::Client, site: &Site) {
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock(1128481603, {})", site.campaign_id);
    client.batch_execute(&lock).expect("the campaign's lock");
}

/// How many sessions of the server wait for a lock.
fn held_up(database: &Database) -> String {
    database.value(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{SERVER}' AND datname = current_database()
         AND wait_event_type = 'Lock'"
    ))
}

/// A routing session whose channel has yet to answer the server's question.
struct Pending {
    stream: TcpStream,
    answer: String,
}

impl Pending {
    fn begin(port: u16, call: &str, site: &Site) -> Pending {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let said = agi::dialled(call, &site.did);
        let (environment, answer) = said.split_once("\n\n").expect("an empty line");
        write!(stream, "agi_network_script: route\n{environment}\n\n").expect("sent");
        // the question: a worker attends to it
        assert_eq!(stream.read(&mut [0; 1]).expect("a question"), 1);
        Pending { stream, answer: answer.to_owned() }
    }

    /// Answers; the rest of what the server sends.
    fn finish(mut self) -> String {
        self.stream.write_all(self.answer.as_bytes()).expect("sent");
        rest(self.stream)
    }
}

fn rest(mut stream: TcpStream) -> String {
    let mut sent = String::new();
    stream.read_to_string(&mut sent).expect("the session ends");
    sent
}

#[test]
fn calls_are_routed_and_logged_without_a_process() {
    let (_, _turn) = stage();
    let (scene, _scene) = scene();
    let before = (scene.routed(SERVER), scene.logged(SERVER));
    let server = scene.serve(&[]);
    // nothing can stand in
    let (agi, away) = (scene.asterisk.dir().join("agi"), scene.asterisk.dir().join("agi-away"));
    std::fs::rename(&agi, &away).expect("own folder");
    let place = |site: &Site, then, expected: &[u16]| {
        let calls = Calls { did: &site.did, then, name: b"\"Al):1:2 'O\"", ..Calls::default() };
        assert_eq!(calls.place(&scene.asterisk), expected, "{}", scene.asterisk.log());
    };
    let answering = Centre::start(Behaviour::Answer { ring: 500 });
    let busy = Centre::start(Behaviour::Refuse(486, "Busy Here"));
    let in_order = |contacts: &[String]| {
        let link = |(contact, forwarding_priority)| Link { forwarding_priority, ..Link::to(contact) };
        Site::new(&scene.database, "priority", 20, &contacts.iter().zip(0..).map(link).collect::<Vec<_>>())
    };

    let site = in_order(&[answering.contact()]);
    place(&site, Then::HangUpAfter(2000), &[200]);
    let record = "call_status, billsec_seconds, client_identifier, hangup_cause_code, caller_id_num, caller_id_name";
    let expected = format!("ANSWERED|2|{}|16|12125550147|Al):1:2 'O", site.clients[0]);
    assert_eq!(site.wait_for_records(1, record), [expected]);
    assert_eq!(site.attempts("attempt_number, release_reason, dial_status"), ["1|hangup|ANSWER"]);
    assert_eq!(site.counts(), [1]);

    let site = in_order(&[busy.contact(), answering.contact()]);
    place(&site, Then::HangUpAfter(100), &[200]);
    assert_eq!(site.wait_for_records(1, "call_status, client_identifier"), [format!("ANSWERED|{}", site.clients[1])]);
    assert_eq!(site.attempts("attempt_number, release_reason, dial_status"), ["1|failover|BUSY", "2|hangup|ANSWER"]);

    let site = in_order(&[busy.contact()]);
    place(&site, Then::HangUpAfter(100), &[486]);
    assert_eq!(site.wait_for_records(1, "call_status, hangup_cause_code"), ["BUSY|17"]);

    let site = in_order(&[answering.contact()]);
    scene.database.execute(&format!(
        "UPDATE campaign_client_settings SET total_calls_allowed = 0 WHERE id = {}",
        site.settings[0]
    ));
    place(&site, Then::HangUpAfter(100), &[503]);
    let expected = format!("REJECTED_TOTAL|{} total_cap 0/0", site.clients[0]);
    assert_eq!(site.wait_for_records(1, "call_status, passed_over"), [expected]);

    let ringing = Centre::start(Behaviour::Ring);
    let site = in_order(&[ringing.contact()]);
    place(&site, Then::GiveUpAfter(700), &[487]);
    assert_eq!(site.wait_for_records(1, "call_status, hangup_cause_code IS NOT NULL"), ["ABANDONED|t"]);
    assert_eq!(site.attempts("release_reason, dial_status"), ["hangup|CANCEL"]);

    // gives up while the claim waits
    let site = in_order(&[answering.contact()]);
    let mut client = scene.database.connect();
    hold_up(&mut client, &site);
    place(&site, Then::GiveUpAfter(500), &[487]);
    client.batch_execute("COMMIT").expect("commit");
    assert_eq!(site.wait_for_records(1, "call_status, billsec_seconds"), ["ABANDONED|0"]);
    wait_for("the claim to be over", || held_up(&scene.database) == "0");
    assert_eq!(site.open_attempts(), 0);

    std::fs::rename(&away, &agi).expect("own folder");
    let asked = (scene.routed(SERVER) - before.0, scene.logged(SERVER) - before.1);
    assert_eq!(asked, (8, 6), "one statement each\n{}", server.output());
    assert_eq!(scene.database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn a_server_that_is_killed_away_full_or_stuck_costs_no_call() {
    let (_, _turn) = stage_alone();
    let (scene, _scene) = scene();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&scene.database, "priority", 20, &[Link::to(centre.contact())]);
    let place = |count| {
        Calls { did: &site.did, then: Then::HangUpAfter(1000), count, per_second: 12, ..Calls::default() }
            .start(&scene.asterisk)
    };
    let before = (scene.routed(SERVER), scene.routed(PROGRAM));
    let mut server = scene.serve(&[]);
    let calls = place(100);
    for _ in 0..3 {
        // "a random moment": the clock's low digits
        let random =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_micros());
        std::thread::sleep(Duration::from_millis(1200 + u64::from(random % 300)));
        server.signal("KILL");
        std::thread::sleep(Duration::from_millis(600));
        drop(server);
        server = scene.serve(&[]);
    }
    // a link that was burnt would leave a call without a client: there is only the one
    assert_eq!(calls.finish(), [200; 100]);
    assert_eq!(site.wait_for_records(100, "call_status"), ["ANSWERED"; 100]);
    assert_eq!(site.attempts("attempt_number, release_reason, dial_status"), ["1|hangup|ANSWER"; 100]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![100], 0));
    let by_both = (scene.routed(SERVER) - before.0, scene.routed(PROGRAM) - before.1);
    assert!(by_both.0 > 30 && by_both.1 > 5, "server and programs took {by_both:?}");

    // away
    drop(server);
    let programs = scene.routed(PROGRAM);
    assert_eq!(place(2).finish(), [200; 2]);
    site.wait_for_records(102, "1");
    assert_eq!(scene.routed(PROGRAM) - programs, 2);

    // full: both workers attend to somebody who says nothing
    let server = scene.serve(&["--workers", "2", "--queue", "0"]);
    let busy = ["full.1", "full.2"].map(|call| Pending::begin(scene.port, call, &site));
    assert_eq!(place(2).finish(), [200; 2]);
    site.wait_for_records(104, "1");
    assert_eq!(scene.routed(PROGRAM) - programs, 4);
    assert!(server.output().contains("all workers are busy"), "{}", server.output());
    drop((server, busy));

    // stuck, its guard too: it accepts and says nothing
    let server = scene.serve(&[]);
    server.signal("STOP");
    server.signal_below_guard("STOP");
    assert_eq!(place(2).finish(), [200; 2]);
    assert_eq!(site.wait_for_records(106, "call_status"), ["ANSWERED"; 106]);
    assert_eq!(scene.routed(PROGRAM) - programs, 6);
    assert_eq!(scene.asterisk.log().matches("no decision from the AGI server within 10 s").count(), 2);
    server.signal_below_guard("CONT");
    server.signal("CONT");
    // what was stuck asks for calls that are over
    assert_eq!(place(1).finish(), [200]);
    site.wait_for_records(107, "1");
    assert_eq!(site.attempts("attempt_number, release_reason"), ["1|hangup"; 107]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![107], 0));
    assert_eq!(scene.routed(PROGRAM) - programs, 6);
    assert_eq!(scene.database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn a_server_that_stands_still_holds_no_hangup() {
    let (_, _turn) = stage_alone();
    let (scene, _scene) = scene();
    let centre = Centre::start(Behaviour::Answer { ring: 0 });
    let site = Site::new(&scene.database, "priority", 20, &[Link { max_concurrency: 8, ..Link::to(centre.contact()) }]);
    let server = scene.serve(&[]);
    let place = |count, seconds: u32| {
        let then = Then::HangUpAfter(1000 * seconds);
        Calls { did: &site.did, then, count, per_second: 20, ..Calls::default() }.start(&scene.asterisk)
    };
    let logged = (scene.logged(SERVER), scene.logged(LOGGER));
    // these hang up while their records wait for the link
    let mut client = scene.database.connect();
    let early = place(2, 2);
    let late = place(6, 3);
    wait_for("eight calls", || centre.peak_and_now() == (8, 8));
    client.batch_execute("BEGIN; LOCK TABLE call_logs IN EXCLUSIVE MODE").expect("the lock");
    wait_for("two records to wait", || held_up(&scene.database) == "2");
    // two sessions have begun, six will wait to be accepted
    server.signal_below_guard("STOP");
    client.batch_execute("COMMIT").expect("commit");
    assert_eq!((early.finish(), late.finish()), (vec![200; 2], vec![200; 6]));
    assert_eq!(site.wait_for_records(8, "call_status"), ["ANSWERED"; 8]);
    wait_for("the channels to be gone", || scene.asterisk.channels() == 0);
    assert_eq!((site.counts(), site.open_attempts()), (vec![8], 0));
    assert!(server.output().contains("the server stood still for 5 s"), "{}", server.output());
    assert_eq!(server.output().matches("listening on ").count(), 2);
    let by = (scene.logged(SERVER) - logged.0, scene.logged(LOGGER) - logged.1);
    assert_eq!(by, (8, 2), "two were logged again by the program, six by the next server");
    // one that dies is replaced, too
    server.signal_below_guard("KILL");
    wait_for("the next server", || server.output().matches("listening on ").count() == 3);
    assert_eq!(place(1, 1).finish(), [200]);
    site.wait_for_records(9, "1");
    assert_eq!(scene.logged(SERVER) - logged.0, 9);
    assert_eq!(scene.database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn each_question_is_one_statement_of_a_kept_connection() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    database.execute(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "1"]);
    for n in 0..3 {
        let call = format!("q-1.{n}");
        let sent = server.ask("route", &agi::dialled(&call, &site.did));
        assert_eq!(sent.lines().count(), 2, "{sent}");
        assert!(sent.contains(&format!("\"proceed,,,{},{},", site.settings[0], site.clients[0])), "{sent}");
        let sent = server.ask("log", &agi::answered(&call, &site.did, site.settings[0]));
        assert_eq!(sent.lines().skip(1).collect::<Vec<_>>(), ["SET VARIABLE \"ARRAY(CC_LOGGED)\" \"1\""]);
    }
    assert_eq!((site.counts(), site.open_attempts()), (vec![3], 0));
    let log = postgres.log();
    let tag = format!("db={} app={SERVER} ", database.name);
    let statements: Vec<_> =
        log.lines().filter(|l| l.contains(&tag) && (l.contains("execute") || l.contains("statement:"))).collect();
    // what is asked for the second time is prepared, once it is known that the session is the server's own
    assert_eq!(statements.len(), 7, "{statements:#?}");
    assert_eq!(statements.iter().filter(|l| l.contains("pg_backend_pid()")).count(), 1, "{statements:#?}");
    assert_eq!(statements.iter().filter(|l| l.contains("execute cc")).count(), 4, "{statements:#?}");
    let mut sessions: Vec<_> =
        statements.iter().map(|l| l.split("pid=").nth(1).and_then(|l| l.split(' ').next())).collect();
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}

#[test]
fn sessions_wait_for_a_worker_and_another_script_is_refused() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "1"]);
    // two are the fewest: one for callers alone
    assert!(server.output().contains(", 2 workers"), "{}", server.output());
    let [first, second] = ["w-1.1", "w-1.2"].map(|call| Pending::begin(server.port, call, &site));
    let third = server.open("route", &agi::dialled("w-1.3", &site.did));
    for sent in [first.finish(), rest(third), second.finish()] {
        assert!(sent.contains("\"proceed,,,"), "{sent}");
    }
    // the caller hangs up meanwhile
    let hung_up = agi::dialled("w-1.4", &site.did).replacen("200 result", "HANGUP\n200 result", 1);
    assert!(server.ask("route", &hung_up).contains("\"proceed,,,"));
    for script in ["", "route2", "../route", "Log", "route?x=1"] {
        let sent = server.ask(script, &agi::dialled("w-1.5", &site.did));
        assert_eq!(sent, "EXEC Log \"ERROR,capconduit agi serve: the URL must end in /route or /log\"\n", "{script}");
    }
    assert_eq!(site.attempts("asterisk_uniqueid"), ["w-1.1", "w-1.3", "w-1.2", "w-1.4"]);
}

/// Whether all of these calls get a client.
fn routes(server: &AgiServer, site: &Site, calls: std::ops::Range<usize>) {
    let sessions: Vec<_> =
        calls.map(|n| (n, server.open("route", &agi::dialled(&format!("{}-{n}", site.user), &site.did)))).collect();
    for (n, session) in sessions {
        let sent = rest(session);
        assert!(sent.contains("\"proceed,,,"), "{n}: {sent:?}\n{}", server.output());
    }
}

#[test]
fn no_caller_waits_for_a_record_that_waits() {
    let database = Postgres::shared().database();
    for (workers, queue) in [("1", "1"), ("3", "64"), ("8", "64")] {
        // a seller's transaction on his own row; another seller
        let (locked, other) = (site(&database), site(&database));
        let (server, _folder) = serve(&database, &["--workers", workers, "--queue", queue]);
        let mut seller = database.connect();
        let lock = "BEGIN; SELECT FROM campaign_client_settings WHERE id = {} FOR UPDATE";
        seller.batch_execute(&lock.replace("{}", &locked.settings[0].to_string())).expect("the row");
        let answered = |n| agi::answered(&format!("{}-r{n}", locked.user), &locked.did, locked.settings[0]);
        let records: Vec<_> = (0..20).map(|n| server.open("log", &answered(n))).collect();
        wait_for("records to wait", || held_up(&database) != "0");
        for round in 0..4 {
            routes(&server, &other, 2 * round..2 * round + 2);
            routes(&server, &locked, 2 * round..2 * round + 2);
        }
        assert_eq!(locked.records("1"), [""; 0], "all that while no record was written");
        seller.batch_execute("COMMIT").expect("commit");
        // each is written, or left to the program
        for record in records {
            let mut sent = String::new();
            let _ = BufReader::new(record).read_to_string(&mut sent);
            let logged = sent.contains("\"ARRAY(CC_LOGGED)\" \"1\"");
            assert!(logged || sent.is_empty() || is_left_to_the_program(&sent), "{sent}");
        }
        let sent = server.ask("log", &answered(20));
        assert!(sent.contains("\"ARRAY(CC_LOGGED)\" \"1\""), "{sent}\n{}", server.output());
    }
}

#[test]
fn no_caller_waits_for_a_back_end_that_is_slow_and_no_hangup_for_its_turn() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let folder = tempfile::tempdir().expect("a folder");
    // it accepts, and says nothing
    let back_end = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = database.command();
    command
        .env("AST_SPOOL_DIR", folder.path())
        .env("INTERNAL_API_URL", format!("http://{}/log_call", back_end.local_addr().expect("bound")))
        .env("INTERNAL_API_TOKEN", "x");
    let server = AgiServer::start(command, free_port("127.0.0.1"), &["--workers", "4"]);
    let record = |n| server.open("log", &agi::answered(&format!("e-{n}"), &site.did, site.settings[0]));
    let posted: Vec<_> = (0..2).map(record).collect();
    let held: Vec<_> = posted.iter().map(|_| back_end.accept().expect("a record")).collect();
    let waiting: Vec<_> = (2..10).map(record).collect();
    routes(&server, &site, 0..12);
    for waiting in waiting {
        // closed: the program's now, while the others still wait for the back end
        assert_eq!(BufReader::new(waiting).lines().map_while(Result::ok).collect::<Vec<_>>(), [""; 0]);
    }
    for posted in &posted {
        posted.set_nonblocking(true).expect("a socket");
        let mut question = BufReader::new(posted);
        question.read_line(&mut String::new()).expect("a question");
        let error = question.read(&mut [0]).expect_err("no end yet");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    // said after the sessions are closed
    wait_for("the server to say so", || server.output().contains("records wait too long"));
    assert!(!server.output().contains("all workers are busy"), "{}", server.output());
    drop(held);
}

#[test]
fn no_caller_waits_for_a_connection_that_has_not_said_what_it_is_for() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "2", "--queue", "0"]);
    let silent: Vec<_> = (0..300)
        .map(|n| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
            // the oldest of so many are closed
            let _ = stream.write_all(&b"agi_network: yes\nagi_network_script: route\nagi_x: y\n"[..n % 50]);
            stream
        })
        .collect();
    for n in 0..10 {
        routes(&server, &site, n..n + 1);
    }
    // one whose environment comes in pieces
    let mut slow = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    slow.set_nodelay(true).expect("a socket");
    let text = format!("agi_network: yes\nagi_network_script: route\n{}", agi::dialled("pieces", &site.did));
    for piece in text.as_bytes().chunks(7) {
        slow.write_all(piece).expect("sent");
    }
    assert!(rest(slow).contains("\"proceed,,,"), "{}", server.output());
    drop(silent);
}

#[test]
fn records_are_written_while_callers_keep_all_workers_busy() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "2", "--queue", "4096"]);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let (over, server, site) = (&over, &server, &site);
            scope.spawn(move || {
                for n in 0.. {
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    server.ask("route", &agi::dialled(&format!("w{caller}-{n}"), &site.did));
                }
            });
        }
        let _over = OnDrop(|| over.store(true, std::sync::atomic::Ordering::Relaxed));
        let sent: Vec<_> = (0..20)
            .map(|n| server.ask("log", &agi::answered(&format!("b-{n}"), &site.did, site.settings[0])))
            .collect();
        assert!(sent.iter().all(|sent| sent.contains("CC_LOGGED")), "{sent:?}\n{}", server.output());
    });
}

#[test]
fn a_connection_that_breaks_is_replaced_and_the_claim_made_once() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "1"]);
    let cut = |when: &str| {
        database.value(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = '{SERVER}' AND datname = current_database() {when}"
        ))
    };
    let proceeds = |sent: &str| assert!(sent.contains("\"proceed,,,") && sent.contains(",1\"\n"), "{sent}");
    proceeds(&server.ask("route", &agi::dialled("b-1.1", &site.did)));
    // between two questions
    assert_eq!(cut(""), "1");
    proceeds(&server.ask("route", &agi::dialled("b-1.2", &site.did)));
    // in the middle of one
    let mut client = database.connect();
    hold_up(&mut client, &site);
    let session = server.open("route", &agi::dialled("b-1.3", &site.did));
    wait_for("the claim to wait", || held_up(&database) == "1");
    assert_eq!(cut("AND wait_event_type = 'Lock'"), "1");
    wait_for("the claim to wait again", || held_up(&database) == "1");
    client.batch_execute("COMMIT").expect("commit");
    proceeds(&rest(session));
    // after it was made, before the answer got out: the same as asking twice
    for _ in 0..2 {
        proceeds(&server.ask("route", &agi::dialled("b-1.4", &site.did)));
    }
    assert_eq!(site.attempts("asterisk_uniqueid, attempt_number"), ["b-1.1|1", "b-1.2|1", "b-1.3|1", "b-1.4|1"]);
}

#[test]
fn what_a_killed_server_was_claiming_is_what_the_program_gets() {
    let database = Postgres::shared().database();
    let links = [1, 2].map(|forwarding_priority| Link { forwarding_priority, ..Link::to("sip:127.0.0.1:9") });
    let site = Site::new(&database, "priority", 20, &links);
    let digits = &site.did[1..];
    // the first client, and after it was busy, the second
    for (setting, said) in
        site.settings.iter().zip([format!("k-1&node&{digits}&&0&"), format!("k-1&node&{digits}&BUSY&17&1")])
    {
        let said = agi::said("k-1", &said);
        let (server, folder) = serve(&database, &[]);
        let mut client = database.connect();
        hold_up(&mut client, &site);
        let _session = server.open("route", &said);
        wait_for("the claim to wait", || held_up(&database) == "1");
        server.signal("KILL");
        // its statement goes on in the database, and is over before or after the program's
        let mut program = agi::command("cc-route", &database.url, folder.path()).spawn().expect("it runs");
        program.stdin.take().expect("piped").write_all(said.as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(100));
        client.batch_execute("COMMIT").expect("commit");
        let sent = program.wait_with_output().expect("it ends").stdout;
        let sent = String::from_utf8_lossy(&sent);
        assert!(sent.contains(&format!("\"proceed,,,{setting},")), "{sent}");
        wait_for("the killed server's claim to be over", || held_up(&database) == "0");
    }
    assert_eq!(site.attempts("attempt_number, release_reason, dial_status"), ["1|failover|BUSY", "2||"]);
}

/// Whether the server sent its question and no decision: the program is asked then.
fn is_left_to_the_program(sent: &str) -> bool {
    sent.starts_with("GET FULL VARIABLE ") && sent.lines().count() == 1
}

#[test]
fn what_the_database_does_not_answer_is_left_to_the_program() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let site = site(&database);
    let (server, folder) = serve(&database, &["--workers", "1"]);
    let ask = |call: &str| server.ask("route", &agi::dialled(call, &site.did));
    let log = |call: &str| server.ask("log", &agi::answered(call, &site.did, site.settings[0]));
    assert!(ask("d-1.1").contains("\"proceed,,,"));
    postgres.stop();
    for sent in [ask("d-1.2"), log("d-1.1")] {
        assert!(is_left_to_the_program(&sent), "{sent}");
    }
    assert!(!folder.path().join("capconduit").exists(), "to spool is the program's");
    assert!(server.output().contains("left to the program: the database"), "{}", server.output());

    postgres.resume();
    assert!(ask("d-1.3").contains("\"proceed,,,"));
    // what it is connected to has become a standby; who connects again gets to the new primary
    database.execute("ALTER SYSTEM SET default_transaction_read_only = on");
    database.execute("SELECT pg_reload_conf()");
    wait_for("a standby", || database.value("SHOW transaction_read_only") == "on");
    let mut primary = database.connect();
    for sql in ["SET default_transaction_read_only = off", "ALTER DATABASE {} SET default_transaction_read_only = off"]
    {
        primary.batch_execute(&sql.replace("{}", &database.name)).expect("it may");
    }
    assert!(ask("d-1.4").contains("\"proceed,,,"), "{}", server.output());
    for call in ["d-1.1", "d-1.3", "d-1.4"] {
        assert!(log(call).contains("\"ARRAY(CC_LOGGED)\" \"1\""), "{}", server.output());
    }
    assert_eq!((site.counts(), site.open_attempts()), (vec![3], 0));
}

#[test]
fn a_kept_connection_that_hangs_is_replaced() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "1"]);
    for (script, call) in [("route", "h-1.2"), ("log", "h-1.1")] {
        assert!(server.ask("route", &agi::dialled("h-1.1", &site.did)).contains("\"proceed,,,"));
        let backend = database.value(&format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = '{SERVER}' AND datname = current_database()"
        ));
        let signal =
            |name| assert!(Command::new("kill").args(["-s", name, &backend]).status().expect("kill").success());
        signal("STOP");
        let said = match script {
            "route" => agi::dialled(call, &site.did),
            _ => agi::answered(call, &site.did, site.settings[0]),
        };
        let sent = server.ask(script, &said);
        signal("CONT");
        assert!(sent.contains("\"proceed,,,") || sent.contains("\"ARRAY(CC_LOGGED)\" \"1\""), "{script}: {sent}");
        // the one that hung does what it was asked, or was told to leave it, and goes
        wait_for("one session", || {
            database.value(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{SERVER}' AND datname = current_database()"
            )) == "1"
        });
    }
    assert_eq!(site.attempts("asterisk_uniqueid, attempt_number, release_reason"), ["h-1.1|1|hangup", "h-1.2|1|"]);
    assert_eq!(site.counts(), [1]);
}

#[test]
fn a_login_that_has_changed_is_looked_for() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let role = |n| format!("{}_login_{n}", database.name);
    let url = |n| database.url.replace("//postgres@", &format!("//{}@", role(n)));
    for n in [1, 2] {
        database.execute(&format!("CREATE ROLE {} LOGIN SUPERUSER", role(n)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capconduit.env");
    let write = |n| {
        std::fs::write(&file, format!("DATABASE_URL={}\n", url(n))).expect("own folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&file, mode).expect("own file");
    };
    write(1);
    let mut command = Command::new(program("capconduit"));
    command.env("CAPCONDUIT_ENV_FILE", &file).env_remove("DATABASE_URL");
    let server = AgiServer::start(command, free_port("127.0.0.1"), &["--workers", "1"]);
    let ask = |call: &str| server.ask("route", &agi::dialled(call, &site.did));
    assert!(ask("l-1.1").contains("\"proceed,,,"));
    database.execute(&format!(
        "ALTER ROLE {} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
        role(1),
        role(1)
    ));
    // nowhere to look yet
    for call in ["l-1.2", "l-1.3"] {
        let sent = ask(call);
        assert!(is_left_to_the_program(&sent), "{sent}");
    }
    write(2);
    assert!(is_left_to_the_program(&ask("l-1.4")));
    assert!(ask("l-1.5").contains("\"proceed,,,"), "{}", server.output());
    assert_eq!(server.output().matches("another DATABASE_URL").count(), 1, "{}", server.output());
}

#[test]
fn told_to_stop_it_finishes_what_it_began() {
    let database = Postgres::shared().database();
    let site = site(&database);
    for signal in ["TERM", "INT"] {
        let port = free_port("127.0.0.1");
        let mut command = database.command();
        command.args(["agi", "serve", "--listen", &format!("127.0.0.1:{port}")]);
        let mut server = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut said = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("listening on ")));
        let sessions = [1, 2].map(|n| Pending::begin(port, &format!("s-{signal}.{n}"), &site));
        let kill = Command::new("kill").args(["-s", signal, &server.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        assert!(said.any(|line| line == "stopping"));
        let late = TcpStream::connect(("127.0.0.1", port)).map(|mut s| s.read(&mut [0]).unwrap_or(0));
        assert_eq!(late.unwrap_or(0), 0, "no new sessions");
        for session in sessions {
            assert!(session.finish().contains("\"proceed,,,"));
        }
        let output = server.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"Stopped.\n".as_slice()));
    }
}

#[test]
fn a_signal_that_the_server_hears_before_its_guard_is_a_stop() {
    let database = Postgres::shared().database();
    let server = AgiServer::start(database.command(), free_port("127.0.0.1"), &[]);
    server.signal_below_guard("TERM");
    wait_for("it to stop", || server.output().contains("Stopped.") || server.output().contains("another one"));
    assert!(!server.output().contains("another one"), "{}", server.output());
}

#[test]
fn told_to_reload_it_reads_its_configuration_again() {
    let databases = [(); 2].map(|()| Postgres::shared().database());
    let sites = [site(&databases[0]), site(&databases[1])];
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capconduit.env");
    let write = |text: &str| {
        std::fs::write(&file, text).expect("own folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&file, mode).expect("own file");
    };
    write(&format!("DATABASE_URL={}\n", databases[0].url));
    let mut command = Command::new(program("capconduit"));
    command.env("CAPCONDUIT_ENV_FILE", &file).env_remove("DATABASE_URL");
    let server = AgiServer::start(command, free_port("127.0.0.1"), &["--workers", "1"]);
    let ask = |call: &str, site: &Site| server.ask("route", &agi::dialled(call, &site.did));
    assert!(ask("r-1.1", &sites[0]).contains("\"proceed,,,"));
    assert!(ask("r-1.2", &sites[1]).contains("\"reject,did_not_found,"));
    write(&format!("DATABASE_URL={}\n", databases[1].url));
    server.signal("HUP");
    wait_for("the configuration", || server.output().contains("configuration read again"));
    assert!(ask("r-1.3", &sites[1]).contains("\"proceed,,,"));
    for bad in ["DATABASE_URL=postgresql://u:secret@h:port/x\n", "CAPCONDUIT_NUMBER_RULES=nonsense\n"] {
        let errors = || server.output().matches("the configuration stays as it was").count();
        let before = errors();
        write(bad);
        server.signal("HUP");
        wait_for("the complaint", || errors() > before);
        assert!(ask(&format!("r-2.{before}"), &sites[1]).contains("\"proceed,,,"));
    }
    assert!(!server.output().contains("secret"));
}

#[test]
fn systemd_hands_over_the_socket_and_is_told() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let folder = tempfile::tempdir().expect("a folder");
    let notified = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).expect("own folder");
    let start = |address: &str| {
        let listener = TcpListener::bind(address).expect("a port");
        let at = listener.local_addr().expect("bound");
        // as systemd does it: the socket is descriptor 3, and the process is named
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec setpriv --pdeathsig KILL \"$@\"",
                "sh",
            ])
            .arg(program("capconduit"))
            .args(["agi", "serve", "--listen", "127.0.0.1:1"])
            .env("DATABASE_URL", &database.url)
            .env("CAPCONDUIT_ENV_FILE", "/dev/null")
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", "200000")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        (command.spawn().expect("it runs"), at)
    };
    let heard = || {
        let mut state = [0; 64];
        let length = notified.recv(&mut state).expect("told");
        String::from_utf8_lossy(&state[..length]).into_owned()
    };
    let (server, at) = start("127.0.0.1:0");
    assert_eq!(heard(), "READY=1");
    assert_eq!([heard(), heard()], ["WATCHDOG=1", "WATCHDOG=1"]);
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream
        .write_all(format!("agi_network_script: route\n{}", agi::dialled("f-1.1", &site.did)).as_bytes())
        .expect("sent");
    assert!(rest(stream).contains("\"proceed,,,"));
    let kill = Command::new("kill").arg(server.id().to_string()).status();
    assert!(kill.expect("kill runs").success());
    while heard() != "STOPPING=1" {}
    assert!(server.wait_with_output().expect("it ends").status.success());

    // one that others reach is refused here, too
    let (server, _) = start("0.0.0.0:0");
    let output = server.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_listens_where_only_this_machine_reaches_it() {
    let database = Database { url: "postgresql://u@127.0.0.1:1/x".into(), name: "x".into() };
    let run = |arguments: &[&str]| {
        let output = database.command().args(["agi", "serve"]).args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for address in ["0.0.0.0:4573", "192.0.2.1:4573", "[::]:4573"] {
        let (code, said) = run(&["--listen", address]);
        assert!(code == Some(2) && said.contains("FastAGI knows no passwords"), "{address}: {code:?} {said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, said) = run(&["--listen", &address]);
    assert!(code == Some(4) && said.contains("cannot listen"), "{code:?} {said}");
    let mut command = database.command();
    command.env("DATABASE_URL", "nonsense://");
    assert_eq!(command.args(["agi", "serve"]).output().expect("it runs").status.code(), Some(5));
    let mut command = database.command();
    command.env("DATABASE_URL", "postgresql://u@127.0.0.1:1/x");
    let server = AgiServer::start(command, free_port("127.0.0.1"), &["--allow-remote"]);
    assert!(server.output().contains("listening on "));
}

#[test]
fn whatever_a_client_sends_the_server_hangs_up_and_goes_on() {
    let database = Postgres::shared().database();
    let site = site(&database);
    let (server, _folder) = serve(&database, &["--workers", "2"]);
    let lines = proptest::collection::vec(
        "(200 result=[01]( \\(.*\\))?|520-x|520 x|510 x|511 x|HANGUP|agi_[a-z]+: .*|agi_uniqueid: g-1|agi_network_script: (route|log)|)",
        0..14,
    );
    let bytes = proptest::collection::vec(any::<u8>(), 0..3000);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&("(route|log|x)", lines, bytes, 0..3_u8), |(script, lines, bytes, kind)| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        let input = match kind {
            0 => bytes,
            1 => lines.join("\n").into_bytes(),
            _ => [
                format!("agi_network_script: {script}\nagi_uniqueid: g-2\n\n{}\n", lines.join("\n")).into_bytes(),
                bytes,
            ]
            .concat(),
        };
        // it may have hung up already
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut sent = Vec::new();
        let _ = stream.read_to_end(&mut sent);
        Ok(())
    });
    outcome.expect("every session ends");
    // without an end, and with lines without an end
    for garbage in [vec![b'x'; 1_000_000], b"a: b\n".repeat(100_000)] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        let _ = stream.write_all(&garbage);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // one that drips is hung up on
    let mut dripping = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    let hung_up = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        dripping.write_all(b"x").is_err()
    });
    assert!(hung_up, "it listens to one line for 20 s");
    // one that says nothing is hung up on
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    assert!(server.ask("route", &agi::dialled("g-3", &site.did)).contains("\"proceed,,,"));
    assert!(!server.output().contains("panicked"), "{}", server.output());
}
