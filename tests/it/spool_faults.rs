//! The spool cannot be written either: the record is still recoverable, and the message says how.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::postgres::Postgres;
use crate::harness::process::{Folder, is_root, run};
use crate::harness::site::{Link, Site};
use crate::harness::{agi, free_port, program};

/// Runs cdr_logger.agi in a mount namespace of its own, after `prepare` has made `$1` a bad spool. What it told
/// Asterisk, and what it told syslog.
fn logger(prepare: &str, spool: &Path, said: &str) -> (String, String) {
    let url = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
    let mut command = Command::new("unshare");
    command.args(if is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"][..] });
    // where another user can run it
    let copy = spool.with_extension("cdr_logger");
    fs::copy(program("cdr_logger"), &copy).expect("own folder");
    let syslog = spool.with_extension("syslog");
    let socket = UnixDatagram::bind(&syslog).expect("own folder");
    fs::set_permissions(&syslog, fs::Permissions::from_mode(0o666)).expect("own file");
    socket.set_nonblocking(true).expect("a socket");
    let devices = "mount -t tmpfs none /dev && touch /dev/null /dev/log && mount --bind \"$3\" /dev/log";
    let drop = if prepare.contains("chown") { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
    let script = format!("{prepare}; {devices}; exec {drop} \"$2\"");
    command.args(["sh", "-ec"]).arg(script).arg("sh").arg(spool).arg(copy).arg(syslog);
    command.env("DATABASE_URL", url).env("CAPCONDUIT_ENV_FILE", "/dev/null").env("CAPCONDUIT_SPOOL_DIR", spool);
    let output = agi::run(command.stdin(Stdio::piped()).stdout(Stdio::piped()), said);
    assert_eq!(
        output.status.code(),
        Some(1),
        "only logs have it: {prepare}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let (mut lines, mut datagram) = (String::new(), [0; 8192]);
    while let Ok(length) = socket.recv(&mut datagram) {
        // as rsyslog writes it: without the priority
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        lines += &format!("Nov 22 08:00:00 node1 {}\n", text.split_once('>').expect("a priority").1);
    }
    (String::from_utf8(output.stdout).expect("text"), lines)
}

#[test]
fn a_record_that_no_spool_takes_can_be_recovered_by_hand() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = Folder::new();
    let folder = &folder.path;
    let full = "mount -t tmpfs -o size=4k none \"$1\" && head -c 4096 /dev/zero >\"$1\"/filler";
    let read_only = "mount -t tmpfs -o ro none \"$1\"";
    // an ordinary user cannot give a folder away: one of the kernel's will do
    let not_ours = if is_root() { "chown 12345 \"$1\"" } else { "mount --bind /proc \"$1\"" };
    let denied = if is_root() { "Permission denied" } else { "" };
    let mut log = String::new();
    for (n, (prepare, why)) in
        [(full, "No space left on device"), (read_only, "Read-only file system"), (not_ours, denied)]
            .into_iter()
            .enumerate()
    {
        let spool = folder.join(format!("spool{n}"));
        fs::create_dir(&spool).expect("own folder");
        let call = format!("lost-1.{n}");
        let status = format!("SELECT status FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)", site.did);
        assert_eq!(database.value(&status), "proceed");
        let (sent, syslog) = logger(prepare, &spool, &agi::answered(&call, &site.did, site.settings[0]));
        assert!(sent.contains("EXEC Log \"ERROR,cdr_logger.agi: call not recorded") && sent.contains(why), "{sent}");
        assert!(syslog.contains("capconduit call replay --file"), "{syslog}");
        log += &syslog;
    }
    let file = folder.join("syslog");
    fs::write(&file, format!("Nov 22 08:00:00 node1 kernel: ready\n{log}")).expect("own folder");
    let replay = || {
        let mut command = database.command();
        command.env("CAPCONDUIT_SPOOL_DIR", folder.join("spool")).args(["call", "replay", "--json", "--file"]);
        serde_json::from_str::<serde_json::Value>(&run(command.arg(&file))).expect("JSON")
    };
    assert_eq!(replay()["delivered"], 3);
    assert_eq!(replay()["already_delivered"], 3);
    assert_eq!(site.records("call_status, billsec_seconds, caller_id_name"), ["ANSWERED|3|Zoë"; 3]);
    assert_eq!((site.counts(), site.open_attempts()), (vec![3], 0));
    assert_eq!(database.capconduit(&["db", "verify", "--json"]), "[]\n");
}

#[test]
fn damaged_files_are_set_aside_and_the_rest_is_delivered() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
    for n in 0..3 {
        let said = agi::answered(&format!("d-1.{n}"), &site.did, site.settings[0]);
        assert!(agi::run(&mut agi::command("cdr_logger", &nowhere, folder.path()), &said).status.success());
    }
    let spool = folder.path().join("capconduit");
    for entry in fs::read_dir(&spool).expect("the spool").flatten() {
        assert_eq!(
            entry.metadata().expect("there").permissions().mode() & 0o777,
            0o600,
            "callers' numbers are private"
        );
    }
    fs::write(spool.join("d-1.1.json"), "{\"record\":{\"incoming").expect("own file");
    let mut command = database.command();
    let output =
        command.env("CAPCONDUIT_SPOOL_DIR", &spool).args(["call", "replay", "--json"]).output().expect("it runs");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{summary}");
    assert_eq!((&summary["delivered"], &summary["damaged"]), (&2.into(), &1.into()), "{summary}");
    assert!(spool.join("damaged/d-1.1.json").is_file());
    assert_eq!(site.counts(), [2]);
}

#[test]
fn two_replays_at_once_deliver_each_record_once() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
    for n in 0..30 {
        let said = agi::answered(&format!("r-1.{n}"), &site.did, site.settings[0]);
        assert!(agi::run(&mut agi::command("cdr_logger", &nowhere, folder.path()), &said).status.success());
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut command = database.command();
                run(command.env("CAPCONDUIT_SPOOL_DIR", folder.path().join("capconduit")).args(["call", "replay"]));
            });
        }
    });
    assert_eq!((site.records("1").len(), site.counts()), (30, vec![30]));
}

#[test]
fn an_env_file_with_a_secret_that_everybody_can_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capconduit.env");
    fs::write(&file, "DATABASE_URL=postgresql://u:secret@127.0.0.1:1/x\n").expect("own folder");
    for (mode, code) in [(0o644, 6), (0o640, 75)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("own file");
        let mut command = Command::new(program("capconduit"));
        command.env_remove("DATABASE_URL").env("CAPCONDUIT_ENV_FILE", &file).args(["db", "status"]);
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert_eq!(said.contains("chmod 640"), code == 6, "{said}");
    }
}

#[test]
fn root_replays_as_who_owns_the_spool() {
    let database = Postgres::shared().database();
    let site = Site::new(&database, "priority", 20, &[Link::to("sip:127.0.0.1:9")]);
    let folder = Folder::new();
    let spool = folder.path.join("spool");
    fs::create_dir(&spool).expect("own folder");
    // nobody's, as Asterisk's is asterisk's; an ordinary user has no other user
    let owner = if is_root() { 65534 } else { fs::metadata(&spool).expect("there").uid() };
    std::os::unix::fs::chown(&spool, Some(owner), Some(owner).filter(|_| is_root())).expect("ours to give");
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o755)).expect("own folder");
    // where another user can run it
    let copy = folder.path.join("capconduit");
    fs::copy(program("capconduit"), &copy).expect("own folder");
    let replay = |as_owner: bool| {
        let mut command = if as_owner && is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
            command
        } else {
            Command::new(&copy)
        };
        command.env("DATABASE_URL", &database.url).env("CAPCONDUIT_ENV_FILE", "/dev/null");
        command.env("CAPCONDUIT_SPOOL_DIR", &spool).args(["call", "replay", "--json"]);
        serde_json::from_str::<serde_json::Value>(&run(&mut command)).expect("JSON")
    };
    for (n, as_owner) in [false, true, false, true].into_iter().enumerate() {
        let call = format!("owner-1.{n}");
        assert_eq!(
            database
                .value(&format!("SELECT status FROM cc_route('{}', '{call}', '', 't', '', '', NULL, NULL)", site.did)),
            "proceed"
        );
        let url = format!("postgresql://u@127.0.0.1:{}/x", free_port("127.0.0.1"));
        let mut logger = agi::command("cdr_logger", &url, &folder.path);
        logger.env("CAPCONDUIT_SPOOL_DIR", &spool);
        agi::run(&mut logger, &agi::answered(&call, &site.did, site.settings[0]));
        for entry in fs::read_dir(&spool).expect("there").flatten() {
            std::os::unix::fs::chown(entry.path(), Some(owner), None).expect("ours to give");
        }
        assert_eq!(replay(as_owner)["delivered"], 1, "{call}");
        assert_eq!(fs::metadata(spool.join(".lock")).expect("there").uid(), owner);
    }
    assert_eq!(site.records("call_status"), ["ANSWERED"; 4]);
}
