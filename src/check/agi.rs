//! cc-route.agi run as Asterisk would run it, for a number that no DID has: it asks the database,
//! claims nothing and writes nothing. And the same asked of `capconduit agi serve`, where Asterisk does.

use std::fs::Metadata;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::check::environment::{env_file, environment};
use crate::check::files::Installation;
use crate::check::{Area, State};
use crate::system::process::Process;
use crate::system::run::{Answer, run};
use crate::system::user::Identity;

/// Longer than the program's own limits.
const TIMEOUT: Duration = Duration::from_secs(30);
/// No number: it has letters.
const NO_DID: &str = "capconduit-asterisk-check";

/// Looks at what the AGI programs need besides themselves, and lets one of them ask the database.
/// `astspooldir` is handed to them as Asterisk does; `served` is where Asterisk asks a server first.
#[must_use]
pub fn check(installation: &Installation, process: Option<&Process>, astspooldir: &Path, served: Option<&str>) -> Area {
    let mut area = Area::new("agi");
    env_file(&mut area, installation, process);
    if let Some(address) = served {
        server(&mut area, address);
    }
    let program = installation.agi_dir.join("cc-route.agi");
    if !program.is_file() {
        area.not_looked_at("database", "cc-route.agi is missing");
        return area;
    }
    match start(&program, &Identity::own(), installation.user.as_ref()) {
        Ok((mut command, mut runs_as)) => {
            if process.is_none_or(|process| process.environment.is_none()) {
                runs_as.push_str(", without Asterisk's environment, which is not known");
            }
            command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("AST_SPOOL_DIR", astspooldir);
            command.envs(environment(process));
            ask(&mut area, &mut command, &runs_as);
        }
        Err(why) => area.unknown("database", format!("cc-route.agi was not run: {why}"), "Run this as root."),
    }
    area
}

/// The program as Asterisk's user, and who that is; the error says why it is not run.
fn start(program: &Path, own: &Identity, user: Option<&Identity>) -> Result<(Command, String), String> {
    let user = match user {
        Some(user) => user,
        None if own.uid == 0 => return Err("Asterisk's user is not known".to_owned()),
        None => own,
    };
    if own.uid == 0 && user.uid != 0 {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--init-groups", "--"]);
        command.arg(program);
        return Ok((command, user.name.clone()));
    }
    // root runs only what nobody else can have put there
    let is_roots = |path: &Path| {
        let closed = |m: &Metadata| m.mode() & 0o002 == 0 && (m.mode() & 0o020 == 0 || m.gid() == 0);
        std::fs::metadata(path).is_ok_and(|m| m.uid() == 0 && closed(&m))
    };
    if own.uid == 0 && !(is_roots(program) && program.parent().is_some_and(is_roots)) {
        return Err("Asterisk runs as root, but others than root may change the program".to_owned());
    }
    let runs_as = if own.uid == user.uid {
        user.name.clone()
    } else {
        format!("{}, not as Asterisk's user {}", own.name, user.name)
    };
    Ok((Command::new(program), runs_as))
}

fn ask(area: &mut Area, command: &mut Command, runs_as: &str) {
    let begun = Instant::now();
    match run(command, said().as_bytes(), TIMEOUT) {
        Ok(answer) => {
            let (state, message) = decision(&answer);
            let message = format!("{message} (cc-route.agi as {runs_as}, {} ms)", begun.elapsed().as_millis());
            match state {
                State::Ok => area.ok("database", message),
                _ => area.error(
                    "database",
                    message,
                    "Check DATABASE_URL in the env file, or in Asterisk's environment; calls fail until it is right.",
                ),
            }
        }
        Err(e) => area.error("database", e.message, "Check that Asterisk's user may run it."),
    }
}

/// What Asterisk would say: the channel's variables, then done, done, done.
fn said() -> String {
    let id = format!("{NO_DID}-{}", std::process::id());
    format!("agi_uniqueid: {id}\nagi_extension: s\n\n200 result=1 ({id}&&{NO_DID}&&0)\n{}", "200 result=1\n".repeat(4))
}

/// A server that is away costs no call: the programs stand in for it, later than they would without it.
fn server(area: &mut Area, address: &str) {
    let answer = ask_server(address)
        .map_err(|e| e.to_string())
        .map(|text| decision(&Answer { text, complaint: "it decides nothing".to_owned(), success: true }));
    match answer {
        Ok((State::Ok, _)) => area.ok("server", format!("capconduit agi serve at {address} asks the database")),
        Ok((_, why)) | Err(why) => area.warning(
            "server",
            format!("CC_AGI_SERVER is {address}, but each call has to start the programs: {why}"),
            "systemctl start capconduit-agi.socket (its log: journalctl -u capconduit-agi), or do without: \
             capconduit asterisk install --agi-server '' --force",
        ),
    }
}

fn ask_server(address: &str) -> std::io::Result<String> {
    // the longest that Asterisk waits
    const TIME: Duration = Duration::from_secs(5);
    let address: SocketAddr = address.parse().map_err(|_| std::io::Error::other("it is not an address and a port"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIME)?;
    stream.set_write_timeout(Some(TIME))?;
    write!(stream, "agi_network: yes\nagi_network_script: route\n{}", said())?;
    let begun = Instant::now();
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    while text.len() < 64 << 10 {
        let left = TIME.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => break,
            read => text.extend_from_slice(&part[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the program has decided, and whether it is what it should be.
fn decision(answer: &Answer) -> (State, String) {
    let set = answer
        .text
        .lines()
        .find_map(|line| line.strip_prefix("SET VARIABLE \"ARRAY(CC_STATUS,")?.split("\" \"").nth(1));
    let mut values = set.unwrap_or_default().split([',', '"']);
    let first_line = |text: &str| text.lines().next().unwrap_or_default().chars().take(300).collect::<String>();
    match (values.next(), values.next()) {
        (Some("reject"), Some("did_not_found")) if answer.success => (State::Ok, "it asks the database".to_owned()),
        (Some("error"), Some(kind)) => {
            let log = answer.text.lines().find_map(|line| line.strip_prefix("EXEC Log \"ERROR,cc-route.agi: "));
            let why = log.map_or_else(|| kind.to_owned(), |line| first_line(line.trim_end_matches('"')));
            (State::Error, format!("cc-route.agi makes no decision: {why}"))
        }
        (Some(status @ ("reject" | "proceed")), reason) => {
            (State::Error, format!("an unknown number is answered with {status}, {}", reason.unwrap_or_default()))
        }
        _ => (State::Error, format!("no decision: {}", first_line(&answer.complaint))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, success: bool) -> Answer {
        Answer { text: text.into(), complaint: "setpriv: failed\nx".into(), success }
    }

    #[test]
    fn the_programs_answer_is_understood() {
        let asked = "GET FULL VARIABLE \"${x}\"\n";
        let rejected = format!(
            "{asked}SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_CALL_STATUS,CC_HANGUP_CAUSE)\" \"reject,did_not_found,REJECTED_DID_NOT_FOUND,1\"\n"
        );
        assert_eq!(decision(&answer(&rejected, true)).0, State::Ok);
        let failed = format!(
            "{asked}SET VARIABLE \"ARRAY(CC_STATUS,CC_REASON,CC_HANGUP_CAUSE)\" \"error,unreachable,42\"\nEXEC Log \"ERROR,cc-route.agi: no decision: away\"\n"
        );
        let expected = "cc-route.agi makes no decision: no decision: away".to_owned();
        assert_eq!(decision(&answer(&failed, false)), (State::Error, expected));
        let expected = "no decision: setpriv: failed".to_owned();
        assert_eq!(decision(&answer("", false)), (State::Error, expected));
    }

    #[test]
    fn root_does_not_run_what_others_may_change() {
        let root = Identity { name: "root".into(), uid: 0, gid: 0, group: "root".into(), groups: vec![0] };
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("cc-route.agi");
        std::fs::write(&program, "").expect("own folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&program, mode).expect("own file");
        assert!(start(&program, &root, Some(&root)).is_err());
        assert!(start(&program, &root, None).is_err());
        let other = Identity { name: "a".into(), uid: 7, gid: 7, group: "a".into(), groups: vec![7] };
        let (command, _) = start(&program, &root, Some(&other)).expect("as that user");
        assert_eq!(command.get_program(), "setpriv");
    }
}
