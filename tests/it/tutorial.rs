//! The README's tutorial, word for word: its commands are run on what looks like a fresh server, and a
//! call is placed.
//!
//! The server is this machine in namespaces of its own: /etc and /var are overlaid and gone afterwards,
//! the network has the addresses that the tutorial names and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::asterisk::{Installation, LOGGER_CONF};
use crate::harness::postgres;
use crate::harness::process::{self, Server};
use crate::harness::sip::{Behaviour, Calls, Centre, Then};
use crate::harness::{program, wait_for};

const INSIDE: &str = "CAPCONDUIT_TUTORIAL_INSIDE";
/// The addresses that the README names: the server's, two clients', one of the carrier's.
const SERVER: &str = "192.0.2.1";
const CLIENTS: [&str; 2] = ["203.0.113.7", "203.0.113.8"];
const CARRIER: &str = "198.51.100.20";

/// Makes the namespaces look like a server of its own, then runs the test there.
const SERVER_OF_ITS_OWN: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/etc /mnt/var /mnt/work1 /mnt/work2
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work1 /etc
mount -t overlay overlay -o lowerdir=/var,upperdir=/mnt/var,workdir=/mnt/work2 /var
if [ -n "$ASTERISK_ROOT" ]; then
    mkdir -p /mnt/cache/asterisk-root
    mount --bind "$ASTERISK_ROOT" /mnt/cache/asterisk-root
fi
mount -t tmpfs tmpfs /run
chmod 755 /run
mkdir -p /run/programs /run/lock /run/cache/asterisk-root
[ -z "$ASTERISK_ROOT" ] || mount --move /mnt/cache/asterisk-root /run/cache/asterisk-root
ip link set lo up
for address in $ADDRESSES; do ip addr add "$address/32" dev lo; done
exec "$1" --exact tutorial::the_readme_leads_to_a_routed_call --nocapture
"#;

/// The commands of the README's section of this name: its indented lines.
fn commands(section: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let section = readme.split(&format!("\n## {section}\n")).nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a beginning");
    section.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[test]
fn the_readme_leads_to_a_routed_call() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let own = std::env::current_exe().expect("this program has a path");
    let data = Installation::find().data;
    // the private root, where Asterisk's own user may read it; nothing where the system has an Asterisk
    let root = data.ancestors().find(|dir| dir.ends_with("asterisk-root"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !process::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["/bin/bash", "-c", SERVER_OF_ITS_OWN, "tutorial"]).arg(own).env(INSIDE, "yes");
    command.env("ADDRESSES", [&[SERVER, CARRIER][..], &CLIENTS].concat().join(" "));
    if let Some(root) = root {
        command.env("ASTERISK_ROOT", root).env("CAPCONDUIT_CACHE_DIR", "/run/cache");
    }
    let output = command.output().expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// Runs a line as root's shell would.
fn shell(line: &str) -> (bool, String) {
    let output = Command::new("/bin/bash")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir("/")
        .env_clear()
        .env("PATH", "/run/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/run")
        .env("USER", "root")
        .output()
        .expect("bash runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn must(line: &str) -> String {
    let (done, text) = shell(line);
    assert!(done, "$ {line}\n{text}");
    text
}

fn script(name: &str, text: &str) {
    let path = Path::new("/run/programs").join(name);
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// PostgreSQL as Debian sets it up: the system's users on the socket, passwords on TCP.
fn start_postgres() -> Server {
    let data = "/var/lib/tutorial-postgres";
    must(&format!("mkdir -p {data} /run/postgresql && chown postgres {data} /run/postgresql"));
    let mut initdb = process::as_user("postgres", &postgres::binary("initdb"));
    initdb.args(["--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]);
    process::run(initdb.arg(format!("{data}/data")).current_dir("/"));
    let mut command = process::as_user("postgres", &postgres::binary("postgres"));
    command.args(["-D", &format!("{data}/data"), "-c", "unix_socket_directories=/run/postgresql", "-c", "fsync=off"]);
    let server = Server::start(&command, &process::temporary_folder(), "INT");
    wait_for("PostgreSQL to start", || shell("runuser -u postgres -- psql -qAtc 'SELECT 1'").0);
    server
}

/// Asterisk as a package sets it up, with systemd's way to restart it.
fn install_asterisk() {
    let at = Installation::find();
    must(
        "getent passwd asterisk >/dev/null || useradd --system --no-create-home asterisk
         mkdir -p /etc/asterisk /etc/cron.d /var/lib/asterisk/agi-bin /var/lib/asterisk/db /var/log/asterisk /var/spool/asterisk /run/asterisk
         chown -R asterisk: /var/lib/asterisk /var/log/asterisk /var/spool/asterisk /run/asterisk",
    );
    let conf = format!(
        "[directories]\nastetcdir => /etc/asterisk\nastmoddir => {}\nastvarlibdir => /var/lib/asterisk\n\
         astdbdir => /var/lib/asterisk/db\nastkeydir => /var/lib/asterisk\nastdatadir => {}\n\
         astagidir => /var/lib/asterisk/agi-bin\nastspooldir => /var/spool/asterisk\nastrundir => /run/asterisk\n\
         astlogdir => /var/log/asterisk\n[options]\nsystemname = node1\n",
        at.modules.display(),
        at.data.display()
    );
    std::fs::write("/etc/asterisk/asterisk.conf", conf).expect("written");
    std::fs::write("/etc/asterisk/logger.conf", LOGGER_CONF).expect("written");
    // what a package has there already
    std::fs::write("/etc/asterisk/extensions.conf", "[default]\n").expect("written");
    let asterisk = at.command.join(" ");
    script("asterisk", &format!("#!/bin/sh\nexec {asterisk} -C /etc/asterisk/asterisk.conf \"$@\"\n"));
    script(
        "systemctl",
        "#!/bin/sh\n[ \"$*\" = 'restart asterisk' ] || { echo \"systemctl $*: not here\" >&2; exit 1; }\n\
         asterisk -rx 'core stop now' >/dev/null 2>&1 && sleep 1\n\
         asterisk -U asterisk -G asterisk\n\
         for i in $(seq 100); do asterisk -rx 'core waitfullybooted' >/dev/null 2>&1 && exit; sleep 0.1; done\n\
         cat /var/log/asterisk/messages.log; exit 1\n",
    );
}

fn inside() {
    for name in ["capconduit", "cc-route", "cdr_logger"] {
        let to = Path::new("/run/programs").join(name);
        std::fs::copy(program(name), to).expect("copied");
    }
    let _postgres = start_postgres();
    install_asterisk();
    must("systemctl restart asterisk");
    must(
        "runuser -u postgres -- createuser --createrole root && runuser -u postgres -- createdb --owner root capconduit",
    );
    let centres = CLIENTS.map(|client| Centre::start_at(client, 5080, Behaviour::Answer { ring: 100 }));

    let commands = commands("From an empty database to the first call");
    assert!((1..=10).contains(&commands.len()), "{} commands", commands.len());
    for command in &commands {
        must(command);
    }

    let calls =
        Calls { did: "18005550101", count: 2, per_second: 2, then: Then::HangUpAfter(1000), ..Calls::default() };
    let statuses = calls.start_between(CARRIER, &format!("{SERVER}:5060")).finish();
    let log = || std::fs::read_to_string("/var/log/asterisk/messages.log").unwrap_or_default();
    assert_eq!(statuses, [200, 200], "{}", log());
    assert_eq!(centres.iter().map(Centre::calls).sum::<usize>(), 2);
    wait_for("both records", || must("capconduit call list --json").matches("\"ANSWERED\"").count() == 2);
    must("capconduit db verify");
    // what only the owner may do finds him by itself, though the administrator's login has taken over
    assert!(must("capconduit db migrate").ends_with("The schema is up to date.\n"));
    must("capconduit db roles");
    must("capconduit db status");
    must("capconduit db roles --seller alice");
    assert!(!must("cat /etc/capconduit/capconduit.env").contains("user=root"));
    assert!(must("cat /etc/capconduit/owner.env").contains("user=root"));
    let as_alice = "export DATABASE_URL=$(sed -n s/^DATABASE_URL=//p /etc/capconduit/seller-alice.env)";
    assert!(must(&format!("{as_alice}; capconduit campaign list")).contains("Alice TV"));
    must("capconduit db roles --remove-seller alice --yes");
}
