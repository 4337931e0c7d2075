//! The HTTP sink against a server on loopback that answers in every way a back end may.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, free_port};

const TOKEN: &str = "s3cret-t0ken";
const RECORDED: &str = r#"{"status":"success","message":"CDR logged","cdrId":1}"#;

/// How the back end answers.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16, &'static str),
    /// Accepts, reads, and says nothing.
    Silence,
    /// A head, and a body that never ends.
    SlowBody,
    /// No HTTP at all.
    Garbage,
    RedirectTo(u16),
}

/// A back end: what it was asked, and how it answers next.
struct BackEnd {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
}

impl BackEnd {
    fn start(answer: Answer) -> BackEnd {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let (seen, says) = (requests.clone(), answer.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, says) = (seen.clone(), *says.lock().unwrap_or_else(PoisonError::into_inner));
                thread::spawn(move || serve(stream, says, &seen));
            }
        });
        BackEnd { port, requests, answer }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

fn serve(mut stream: TcpStream, answer: Answer, seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    // the head, then as much body as it announces
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => request.extend_from_slice(&chunk[..n]),
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            break;
        }
    }
    let reply = match answer {
        Answer::Status(status, body) => {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Answer::RedirectTo(port) => {
            format!("HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{port}/log_call\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::SlowBody => "HTTP/1.1 201 X\r\nContent-Length: 1000\r\n\r\n{".to_owned(),
        Answer::Garbage => "\x00\x01 no http \r\n\r\n\r\n".to_owned(),
        Answer::Silence => String::new(),
    };
    // whoever asked may have given up
    let _ = stream.write_all(reply.as_bytes());
    if matches!(answer, Answer::Silence | Answer::SlowBody) {
        thread::sleep(Duration::from_secs(30));
    }
}

/// Runs cdr_logger.agi for a call that has been claimed.
fn log(database: &Database, site: &Site, call: &str, port: u16, spool: &Path) -> Output {
    let status = format!("SELECT status FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)", site.did);
    assert_eq!(database.value(&status), "proceed");
    agi::run(&mut logger(database, port, spool), &agi::answered(call, &site.did, site.settings[0]))
}

/// cdr_logger.agi with a back end.
fn logger(database: &Database, port: u16, spool: &Path) -> Command {
    let mut command = agi::command("cdr_logger", &database.url, spool);
    command.env("INTERNAL_API_URL", format!("http://127.0.0.1:{port}/log_call")).env("INTERNAL_API_TOKEN", TOKEN);
    command.env("RUST_LOG", "trace").env("http_proxy", "http://127.0.0.1:1").stderr(std::process::Stdio::piped());
    command
}

fn replay(database: &Database, port: u16, spool: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = database.command();
    command.env("INTERNAL_API_URL", format!("http://127.0.0.1:{port}/log_call")).env("INTERNAL_API_TOKEN", TOKEN);
    command.env("CAPCONDUIT_SPOOL_DIR", spool.join("capconduit")).env("RUST_LOG", "trace");
    let output = command.args(["call", "replay", "--json"]).args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"), errors)
}

/// How many files wait, and how many were refused.
fn files(spool: &Path) -> (usize, usize) {
    let count =
        |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_file()).count();
    let dir = spool.join("capconduit");
    let lock = usize::from(dir.join(".lock").exists());
    (count(&dir) - lock, count(&dir.join("failed")))
}

fn everything(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        text += &if path.is_dir() { everything(&path) } else { std::fs::read_to_string(&path).unwrap_or_default() };
    }
    text
}

#[test]
fn each_answer_ends_as_documented() {
    let database = Postgres::shared().database();
    let link = Link { max_concurrency: 1, ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let elsewhere = BackEnd::start(Answer::Status(201, RECORDED));
    let spooled = (1, 0);
    let refused = (0, 1);
    let done = (0, 0);
    for (n, (answer, expected)) in [
        (Answer::Status(201, RECORDED), done),
        (Answer::Status(409, r#"{"status":"error","message":"already logged"}"#), done),
        (Answer::Status(400, r#"{"status":"error","message":"invalid"}"#), refused),
        (Answer::Status(401, "{}"), refused),
        (Answer::Status(404, "{}"), refused),
        (Answer::Status(500, "<html>oops</html>"), spooled),
        (Answer::Status(503, ""), spooled),
        (Answer::Status(429, ""), spooled),
        (Answer::Status(200, "<html>a login page</html>"), spooled),
        (Answer::Status(201, "garbage"), spooled),
        (Answer::RedirectTo(elsewhere.port), spooled),
        (Answer::Garbage, spooled),
        (Answer::Silence, spooled),
        (Answer::SlowBody, spooled),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let back_end = BackEnd::start(answer);
        let call = format!("http-1.{n}");
        let output = log(&database, &site, &call, back_end.port, folder.path());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{n}: {said}");
        assert_eq!(files(folder.path()), expected, "{n}: {said}");
        assert_eq!(site.open_attempts(), 0, "{n}: the claim is released whatever the API says");
        assert_eq!(back_end.requests().len(), 1, "{n}");

        // later the back end has it, or takes it
        back_end.answers(Answer::Status(201, RECORDED));
        let (code, summary, errors) = replay(&database, back_end.port, folder.path(), &[]);
        assert_eq!((code, files(folder.path())), (Some(0), (0, expected.1)), "{n}: {summary} {errors}");
        assert_eq!(back_end.requests().len(), 1 + expected.0, "{n}");
        if expected == refused {
            let (code, summary, errors) = replay(&database, back_end.port, folder.path(), &["--failed"]);
            assert_eq!((code, files(folder.path())), (Some(0), done), "{n}: {summary} {errors}");
        }
        let all = said + &errors + &everything(folder.path());
        assert!(!all.contains(TOKEN), "{n}: {all}");
    }
    assert_eq!(elsewhere.requests().len(), 0, "a redirect would take the token elsewhere");
    // the record itself is the back end's business
    assert_eq!(site.records("1").len(), 0);
    assert_eq!(database.value("SELECT count(*) FROM call_attempts WHERE count_pending"), "0");
}

#[test]
fn the_body_is_the_contracts() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let back_end = BackEnd::start(Answer::Status(201, RECORDED));
    let folder = tempfile::tempdir().expect("a folder");
    assert!(log(&database, &site, "http-2.1", back_end.port, folder.path()).status.success());
    let requests = back_end.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").expect("a request");
    assert!(head.starts_with("POST /log_call HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("x-internal-api-token: {TOKEN}")), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let expected = serde_json::json!({
        "incomingDidNumber": site.did, "timestampStart": "2026-01-02T03:04:05Z", "callStatus": "ANSWERED",
        "asteriskUniqueid": "http-2.1", "userId": null, "campaignId": null, "didId": null, "clientId": null,
        "campaignClientSettingId": site.settings[0], "callerIdNum": "555", "callerIdName": "Zoë",
        "timestampAnswered": "2026-01-02T03:04:07Z", "timestampEnd": "2026-01-02T03:04:10Z", "durationSeconds": 5,
        "billsecSeconds": 3, "hangupCauseCode": 16, "hangupCauseText": "Normal Clearing", "asteriskLinkedid": "http-2.1",
    });
    assert_eq!(body, expected);

    // what the contract does not know stays here
    let said = format!("http-2.2&{}&&&&reject&REJECTED_CC&&34&&&&&&http-2.2&&acme%20concurrency_cap%205%2F5", site.did);
    let mut command = logger(&database, back_end.port, folder.path());
    assert!(agi::run(&mut command, &agi::said("http-2.2", &said)).status.success());
    let requests = back_end.requests();
    let body: Value = serde_json::from_str(requests[1].split_once("\r\n\r\n").expect("a request").1).expect("JSON");
    assert_eq!(body["callStatus"], "REJECTED_CC");
    let names = |body: &Value| body.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&body), names(&expected));
}

#[test]
fn a_call_the_back_end_has_not_counted_holds_its_place_in_the_total() {
    let database = Postgres::shared().database();
    let link = Link { total_calls_allowed: Some(1), ..Link::to("sip:127.0.0.1:9") };
    let site = Site::new(&database, "priority", 20, &[link]);
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = free_port("127.0.0.1");
    assert!(log(&database, &site, "http-3.1", nobody, folder.path()).status.success());
    assert_eq!((files(folder.path()), site.open_attempts()), ((1, 0), 0));
    let next = |call: &str| {
        database.value(&format!(
            "SELECT coalesce(call_status, status) FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)",
            site.did
        ))
    };
    assert_eq!(next("http-3.2"), "REJECTED_TOTAL");
    // the back end is there again: it records and counts, as v3.0 does
    let back_end = BackEnd::start(Answer::Status(201, RECORDED));
    database.execute("UPDATE campaign_client_settings SET current_total_calls = current_total_calls + 1");
    let (code, summary, errors) = replay(&database, back_end.port, folder.path(), &[]);
    assert_eq!((code, &summary["delivered"]), (Some(0), &1.into()), "{errors}");
    assert_eq!(next("http-3.3"), "REJECTED_TOTAL");
    assert_eq!(database.value("SELECT count(*) FROM call_attempts WHERE count_pending"), "0");
    // and the call that ended can claim nothing more
    assert_eq!(next("http-3.1"), "ABANDONED");
}

#[test]
fn with_the_database_away_a_posted_record_is_not_posted_again() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let back_end = BackEnd::start(Answer::Status(201, RECORDED));
    let folder = tempfile::tempdir().expect("a folder");
    let status = format!("SELECT status FROM cc_route('{}', 'http-4.1', '', 't', '', '', NULL, NULL)", site.did);
    assert_eq!(database.value(&status), "proceed");
    let url = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
    let mut command = agi::command("cdr_logger", &url, folder.path());
    command
        .env("INTERNAL_API_URL", format!("http://127.0.0.1:{}/log_call", back_end.port))
        .env("INTERNAL_API_TOKEN", TOKEN);
    let output = agi::run(&mut command, &agi::answered("http-4.1", &site.did, site.settings[0]));
    assert!(output.status.success());
    assert_eq!((files(folder.path()), site.open_attempts(), back_end.requests().len()), ((1, 0), 1, 1));
    let (code, _, errors) = replay(&database, back_end.port, folder.path(), &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!((files(folder.path()), site.open_attempts(), back_end.requests().len()), ((0, 0), 0, 1));
}
