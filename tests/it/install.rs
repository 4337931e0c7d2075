//! `capconduit asterisk install`: what it writes, and what it leaves alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::postgres::Database;

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Folder {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("agi")).expect("own folder");
        let conf = format!("[directories]\nastagidir => {}/agi\n[options]\nsystemname = test\n", dir.path().display());
        fs::write(dir.path().join("asterisk.conf"), conf).expect("own folder");
        Folder { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    fn install(&self, url: &str, arguments: &[&str]) -> Output {
        let database = Database { url: url.into(), name: String::new() };
        let mut command = database.command();
        command.args(["asterisk", "install", "--etc-dir"]).arg(self.dir.path()).args(arguments);
        command.output().expect("it runs")
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = [self.dir.path(), &self.path("agi")]
            .into_iter()
            .flat_map(|dir: &Path| fs::read_dir(dir).expect("own folder").flatten())
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(&path).expect("readable")))
            .collect();
        all.sort();
        all
    }
}

const URL: &str = "postgresql://ast:pa%24s@db1:5433/calls";

#[test]
fn it_writes_what_asterisk_needs_and_is_idempotent() {
    let folder = Folder::new();
    let arguments = ["--bind", "192.0.2.1:5070", "--carrier", "203.0.113.0/24", "--carrier", "sip.example.net"];
    let output = folder.install(URL, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("11 files created") && said.contains("\nNext: systemctl restart asterisk\n"), "{said}");
    // a machine whose Asterisk has its time limits needs no other
    let has_limits = Path::new("/etc/systemd/system/asterisk.service.d/capconduit.conf").exists();
    assert_eq!(said.contains("\nNext: give Asterisk PGCONNECT_TIMEOUT and PGOPTIONS"), !has_limits, "{said}");
    assert!(folder.read("res_pgsql.conf").contains("dbhost=db1\ndbport=5433\ndbname=calls\ndbuser=ast\ndbpass=pa$s\n"));
    let pjsip = folder.read("pjsip.conf");
    assert_eq!(pjsip.matches("bind=192.0.2.1:5070").count(), 2);
    assert!(
        pjsip.contains("type=identify\nendpoint=carrier\nmatch=203.0.113.0/24\nmatch=sip.example.net\n"),
        "{pjsip}"
    );
    assert!(folder.read("extensions.conf").contains("CC_EARLY_ANSWER=yes"));
    for (path, content) in folder.files() {
        let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o7777;
        let expected = match path.extension().and_then(|e| e.to_str()) {
            Some("agi") => 0o755,
            _ if path.ends_with("asterisk.conf") => continue,
            _ => 0o640,
        };
        assert_eq!(mode, expected, "{}", path.display());
        assert!(!content.is_empty() && !String::from_utf8_lossy(&content).contains("@BIND@"));
    }
    let before = folder.files();
    // again, with the same options and with none
    for arguments in [&arguments[..], &[]] {
        let output = folder.install(URL, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("0 files created, 0 replaced, 11 unchanged") && !said.contains("Next:"), "{said}");
        assert_eq!(folder.files(), before);
    }
    // another release: its programs need no --force
    fs::write(folder.path("agi/cc-route.agi"), "an older program").expect("own folder");
    let output = folder.install(URL, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.files(), before);
}

#[test]
fn a_file_that_differs_is_replaced_only_by_force_and_kept() {
    let folder = Folder::new();
    fs::write(folder.path("extensions.conf"), "; mine\n").expect("own folder");
    let before = folder.files();
    let output = folder.install(URL, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("extensions.conf") && said.contains("Nothing was changed"), "{said}");
    assert_eq!(folder.files(), before, "not even the other files");

    let output = folder.install(URL, &["--force", "--early-answer", "no", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let replaced: Vec<_> =
        said["files"].as_array().expect("files").iter().filter(|f| f["change"] == "replaced").collect();
    assert_eq!(replaced.len(), 1);
    let backup = replaced[0]["backup"].as_str().expect("a copy");
    assert_eq!(fs::read_to_string(backup).expect("the copy"), "; mine\n");
    assert!(folder.read("extensions.conf").contains("CC_EARLY_ANSWER=no"));
}

/// A server whose files are all there already is not told to reload what only a start reads.
#[test]
fn the_next_step_is_what_makes_asterisk_read_the_files() {
    let folder = Folder::new();
    assert!(folder.install(URL, &[]).status.success());
    for (name, step) in [
        ("extensions.conf", "asterisk -rx 'core reload'"),
        ("modules.conf", "systemctl restart asterisk"),
        ("sorcery.conf", "systemctl restart asterisk"),
        ("extconfig.conf", "systemctl restart asterisk"),
    ] {
        fs::write(folder.path(name), "; as packaged\n").expect("own folder");
        let output = folder.install(URL, &["--force"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.ends_with(&format!("Next: {step}\n")), "{name}: {said}");
    }
}

#[test]
fn a_planted_link_is_not_followed_and_a_loose_mode_is_corrected() {
    let folder = Folder::new();
    fs::write(folder.path("victim"), "precious").expect("own folder");
    for planted in ["res_pgsql.conf.new", "res_pgsql.conf"] {
        std::os::unix::fs::symlink(folder.path("victim"), folder.path(planted)).expect("own folder");
    }
    let output = folder.install(URL, &["--force"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.read("victim"), "precious");
    let path = folder.path("res_pgsql.conf");
    assert!(fs::symlink_metadata(&path).expect("there").is_file());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
    assert!(folder.install(URL, &[]).status.success());
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o640);
}

#[test]
fn bad_values_change_nothing() {
    let folder = Folder::new();
    let before = folder.files();
    for (url, arguments, code) in [
        (URL, vec!["--carrier", "1.2.3.4\nendpoint=x"], 5),
        (URL, vec!["--carrier", "300.1.1.1/99"], 5),
        (URL, vec!["--fallback", "PJSIP/a&PJSIP/b"], 5),
        (URL, vec!["--fallback", "Local/x@y\n[evil]"], 5),
        (URL, vec!["--agi-server", "localhost:4573"], 5),
        (URL, vec!["--agi-server", "127.0.0.1:4573/x;y"], 5),
        (URL, vec!["--bind", "5060"], 2),
        (URL, vec!["--agi-dir", "/proc/nonexistent"], 1),
        ("postgresql://u:a%20b@h/x", vec![], 5),
        ("nonsense://", vec![], 5),
    ] {
        let output = folder.install(url, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(folder.files(), before);
    }
}

#[test]
fn the_agi_server_is_kept_until_another_choice() {
    let folder = Folder::new();
    let chosen = || {
        let text = folder.read("extensions.conf");
        text.lines().find_map(|line| line.strip_prefix("CC_AGI_SERVER=")).map(str::to_owned).expect("one")
    };
    for (arguments, expected) in [
        (&[][..], ""),
        (&["--agi-server", "127.0.0.1:4573"], "127.0.0.1:4573"),
        (&[], "127.0.0.1:4573"),
        (&["--agi-server", "[::1]:4573"], "[::1]:4573"),
        (&["--early-answer", "no"], "[::1]:4573"),
        (&["--agi-server", ""], ""),
    ] {
        let output = folder.install(URL, &[arguments, &["--force"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(chosen(), expected, "{arguments:?}");
        // the next copy may bear the same second
        for (path, _) in folder.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "bak")) {
            fs::remove_file(path).expect("own folder");
        }
    }
}
