//! A private Asterisk on the files that `capconduit asterisk install` writes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::postgres::Database;
use super::process::{self, Folder, Server};
use super::{free_port, wait_for};

/// The address that the carrier calls from. Clients are on 127.0.0.1.
pub const CARRIER: &str = "127.0.0.2";

/// A server, which may be killed and started again.
pub struct Asterisk {
    // stopped before its folder goes
    server: Mutex<Option<Server>>,
    folder: Folder,
    database: Database,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    started: OnceLock<String>,
    /// Where it takes SIP calls.
    pub sip_port: u16,
    /// Where it answers ARI.
    pub ari_port: u16,
}

/// What the logger.conf of Debian's package keeps: no verbose messages.
pub const LOGGER_CONF: &str =
    "[general]\n[logfiles]\nconsole => notice,warning,error\nmessages.log => notice,warning,error\n";

/// The user and the password of its ARI.
pub const ARI_LOGIN: (&str, &str) = ("capconduit", "ari-passw0rd");

/// How to start one.
#[derive(Default)]
pub struct Options<'a> {
    /// `systemname` of asterisk.conf.
    pub system_name: &'a str,
    /// Whether it answers the caller before it asks for a client.
    pub early_answer: bool,
    /// The port of a centre on 127.0.0.1 that takes calls while the database is away.
    pub fallback: Option<u16>,
    /// The port of `capconduit agi serve` on 127.0.0.1.
    pub agi_server: Option<u16>,
    /// More of its environment, over the usual one.
    pub environment: &'a [(&'a str, &'a str)],
    /// How many files it may have open.
    pub open_files: Option<u32>,
    /// More modules.
    pub modules: &'a [&'a str],
    /// More files of its etc folder, over the usual ones: name and text.
    pub files: &'a [(&'a str, &'a str)],
}

/// The asterisk program with its modules and data: the system's where `CAPCONDUIT_ASTERISK` names
/// one, else that of the private root that tests/setup makes.
pub struct Installation {
    /// Runs asterisk; what follows are its arguments.
    pub command: Vec<String>,
    /// `astmoddir`
    pub modules: PathBuf,
    /// `astdatadir`
    pub data: PathBuf,
}

impl Installation {
    /// Finds it.
    pub fn find() -> Installation {
        let is_dir = |path: &PathBuf| path.is_dir();
        if let Some(program) = std::env::var_os("CAPCONDUIT_ASTERISK") {
            let multiarch = std::fs::read_dir("/usr/lib")
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path().join("asterisk/modules"));
            let modules = std::env::var_os("CAPCONDUIT_ASTERISK_MODULES").map(PathBuf::from);
            let plain = [PathBuf::from("/usr/lib/asterisk/modules"), PathBuf::from("/usr/lib64/asterisk/modules")];
            let data = [PathBuf::from("/usr/share/asterisk"), PathBuf::from("/var/lib/asterisk")];
            return Installation {
                command: vec![program.to_string_lossy().into_owned()],
                modules: modules
                    .into_iter()
                    .chain(multiarch)
                    .chain(plain)
                    .find(is_dir)
                    .expect("Asterisk's modules: name their folder in CAPCONDUIT_ASTERISK_MODULES"),
                data: data.into_iter().find(is_dir).expect("/usr/share/asterisk or /var/lib/asterisk"),
            };
        }
        let cache = std::env::var_os("CAPCONDUIT_CACHE_DIR").map_or_else(
            || {
                let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
                base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
                    .expect("HOME is set")
                    .join("capconduit")
            },
            PathBuf::from,
        );
        let root = cache.join("asterisk-root");
        let usr_lib = root.join("usr/lib");
        let lib = std::fs::read_dir(&usr_lib)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .find(|p| p.join("asterisk/modules").is_dir())
            .unwrap_or_else(|| panic!("no Asterisk in {}: run tests/setup", root.display()));
        // The root's own loader runs it on this system's files, so that its AGI children are
        // ordinary programs of this system.
        let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
            .iter()
            .map(|l| root.join(l))
            .find(|l| l.exists());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Installation {
            command: vec![
                text(&loader.expect("the root has a dynamic loader")),
                "--library-path".into(),
                text(&lib),
                text(&root.join("usr/sbin/asterisk")),
            ],
            modules: lib.join("asterisk/modules"),
            data: root.join("usr/share/asterisk"),
        }
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg("-C").arg(dir.join("etc/asterisk.conf"));
        command
    }
}

/// What `asterisk -V` says.
pub fn version() -> String {
    let command = Installation::find().command;
    process::run(Command::new(&command[0]).args(&command[1..]).arg("-V")).trim().to_owned()
}

impl Asterisk {
    /// Installs into a folder of its own and starts.
    pub fn start(database: &Database, options: &Options<'_>) -> Asterisk {
        let installation = Installation::find();
        let folder = Folder::new();
        let dir = folder.path.clone();
        for name in ["etc", "agi", "var", "db", "spool", "run", "log"] {
            std::fs::create_dir(dir.join(name)).expect("own folder");
        }
        let d = dir.display();
        let write = |name: &str, text: String| std::fs::write(dir.join("etc").join(name), text).expect("own folder");
        write(
            "asterisk.conf",
            format!(
                "[directories]\nastetcdir => {d}/etc\nastmoddir => {}\nastvarlibdir => {d}/var\nastdbdir => {d}/db\n\
                 astkeydir => {d}/var\nastdatadir => {}\nastagidir => {d}/agi\nastspooldir => {d}/spool\n\
                 astrundir => {d}/run\nastlogdir => {d}/log\n[options]\nsystemname = {}\n",
                installation.modules.display(),
                installation.data.display(),
                options.system_name
            ),
        );
        write("logger.conf", LOGGER_CONF.into());
        // Each instance has media ports of its own: the range is above those that others are given.
        static RTP: AtomicU16 = AtomicU16::new(0);
        let first = 20_000 + RTP.fetch_add(1, Ordering::Relaxed) % 10 * 1000;
        write("rtp.conf", format!("[general]\nrtpstart={first}\nrtpend={}\n", first + 999));
        write(
            "indications.conf",
            "[general]\ncountry=us\n[us]\ndescription=United States\nringcadence=2000,4000\ndial=350+440\n\
             busy=480+620/500,0/500\nring=440+480/2000,0/4000\ncongestion=480+620/250,0/250\n"
                .into(),
        );

        let ari_port = free_port("127.0.0.1");
        write("http.conf", format!("[general]\nenabled=yes\nbindaddr=127.0.0.1\nbindport={ari_port}\n"));
        let (user, password) = ARI_LOGIN;
        write("ari.conf", format!("[general]\nenabled=yes\n[{user}]\ntype=user\nread_only=yes\npassword={password}\n"));
        let ari = [
            "res_http_websocket",
            "res_websocket_client",
            "res_stasis_answer",
            "res_stasis_playback",
            "res_stasis_recording",
            "res_stasis_snoop",
            "res_ari",
            "res_ari_model",
            "res_ari_asterisk",
            "res_ari_channels",
            "res_ari_endpoints",
        ];
        let modules = ari.iter().chain(options.modules);
        write("modules_local.conf", modules.map(|module| format!("load={module}.so\n")).collect());
        for (name, text) in options.files {
            write(name, (*text).to_owned());
        }
        let sip_port = free_port("127.0.0.1");
        let bind = format!("127.0.0.1:{sip_port}");
        let etc = dir.join("etc");
        let mut install = database.command();
        install.args(["asterisk", "install", "--bind", &bind, "--carrier", CARRIER, "--etc-dir"]).arg(&etc);
        install.args(["--early-answer", if options.early_answer { "yes" } else { "no" }]);
        if let Some(port) = options.agi_server {
            install.args(["--agi-server", &format!("127.0.0.1:{port}")]);
        }
        if let Some(port) = options.fallback {
            install.args(["--fallback", "PJSIP/overflow"]);
            write(
                "pjsip_local.conf",
                format!(
                    "[overflow]\ntype=endpoint\naors=overflow\nallow=ulaw\n[overflow]\ntype=aor\ncontact=sip:127.0.0.1:{port}\n"
                ),
            );
        }
        process::run(&mut install);

        let environment = options.environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let database = database.clone();
        let asterisk = Asterisk {
            server: Mutex::new(None),
            folder,
            database,
            environment,
            open_files: options.open_files,
            started: OnceLock::new(),
            sip_port,
            ari_port,
        };
        asterisk.resume();
        asterisk
    }

    /// Starts it again.
    pub fn resume(&self) {
        let mut command = Installation::find().command(&self.folder.path);
        if let Some(files) = self.open_files {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--nofile={files}:")).arg(command.get_program()).args(command.get_args());
            command = limited;
        }
        command
            .args(["-f", "-T"])
            .env("DATABASE_URL", &self.database.url)
            .env("CAPCONDUIT_ENV_FILE", "/dev/null")
            .env("PGCONNECT_TIMEOUT", "2")
            .env("PGOPTIONS", "-c statement_timeout=2000")
            .envs(self.environment.iter().map(|(n, v)| (n, v)));
        *self.server() = Some(Server::start(&command, &process::temporary_folder(), "TERM"));
        wait_for("Asterisk to start", || {
            self.try_cli("core waitfullybooted").is_some_and(|t| t.contains("fully booted"))
        });
        self.started.get_or_init(|| self.log());
    }

    /// Kills it: neither `h` nor handlers run, and nobody is told.
    pub fn kill(&self) {
        if let Some(server) = self.server().take() {
            server.signal("KILL");
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        self.server().as_ref().expect("it runs").signal(signal);
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `asterisk -rx COMMAND` prints.
    pub fn cli(&self, command: &str) -> String {
        self.try_cli(command).unwrap_or_else(|| panic!("asterisk -rx \"{command}\" failed\n{}", self.log()))
    }

    fn try_cli(&self, command: &str) -> Option<String> {
        let output =
            Installation::find().command(&self.folder.path).args(["-rx", command]).output().expect("asterisk runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A program that does what a packaged `asterisk` does.
    pub fn program(&self) -> PathBuf {
        let words: Vec<String> = Installation::find().command.iter().map(|word| format!("'{word}'")).collect();
        let path = self.folder.path.join("asterisk");
        std::fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("own folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("own file");
        path
    }

    /// Lets a command ask it through its console, as on a server where it is the only one.
    pub fn on_its_server(&self, command: &mut Command) {
        self.program();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.path.display()));
        command.env("AST_CONFIG_DIR", self.folder.path.join("etc"));
    }

    /// Lets a command ask it through ARI.
    pub fn through_ari(&self, command: &mut Command) {
        let (user, password) = ARI_LOGIN;
        command.env("ASTERISK_ARI_URL", format!("http://127.0.0.1:{}/ari", self.ari_port));
        command.env("ASTERISK_ARI_USER", user).env("ASTERISK_ARI_PASSWORD", password);
    }

    /// What is mapped into its memory.
    pub fn maps(&self) -> String {
        let pid = self.server().as_ref().expect("it runs").pid();
        std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs")
    }

    /// How much memory it has, in MB.
    pub fn resident_mb(&self) -> u64 {
        let pid = self.server().as_ref().expect("it runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kilobytes") / 1024
    }

    /// How many channels are up.
    pub fn channels(&self) -> usize {
        self.cli("core show channels concise").lines().filter(|l| l.contains('!')).count()
    }

    /// Its log: notices, warnings, errors.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Where its log is.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path.join("log/messages.log")
    }

    /// What was in its log when it had started for the first time.
    pub fn log_of_start(&self) -> &str {
        self.started.get().map_or("", String::as_str)
    }

    /// Lets it open no file, socket or pipe more; those it has stay open. Its console answers no longer.
    pub fn deny_files(&self) {
        // its first are those of its start: none of them is given back when a call ends
        self.limit("nofile", "16");
    }

    /// Lets it open files again.
    pub fn allow_files(&self) {
        self.limit("nofile", "1024");
    }

    /// Limits what it may have, as ulimit does.
    pub fn limit(&self, resource: &str, limit: &str) {
        let pid = self.server().as_ref().expect("it runs").pid();
        process::run(Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--{resource}={limit}:")]));
    }

    /// Its folder: etc, agi, log, ...
    pub fn dir(&self) -> &Path {
        &self.folder.path
    }
}
