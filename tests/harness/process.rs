//! Child processes that cannot outlive this one, however it ends.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Holds a pipe open to a small shell that runs the server. When the pipe closes, because this value
/// is dropped or because this process is gone, the shell stops the server and removes its folder.
const WATCHER: &str = r#"
trap '' INT TERM HUP
dir=$1 signal=$2
shift 2
(trap - INT TERM HUP; exec "$@") </dev/null &
server=$!
echo "$server" >"$dir/pid"
cat >/dev/null
kill -s "$signal" "$server" 2>/dev/null
( i=0; while [ $i -lt 100 ] && kill -0 "$server" 2>/dev/null; do sleep 0.1; i=$((i+1)); done; kill -s KILL "$server" 2>/dev/null ) &
killer=$!
wait "$server" 2>/dev/null
kill -s KILL "$killer" 2>/dev/null
wait "$killer" 2>/dev/null
rm -rf "$dir"
"#;

/// A server and its folder.
pub struct Server {
    watcher: Child,
    leash: Option<ChildStdin>,
    /// Everything the server writes is in here.
    pub dir: PathBuf,
}

impl Server {
    /// Starts `command`, whose folder `dir` is removed with it. Its output goes to `dir/out`.
    pub fn start(command: &Command, dir: &Path, stop_signal: &str) -> Server {
        let out = std::fs::File::create(dir.join("out")).expect("the folder is writable");
        let mut watched = Command::new("sh");
        watched.args(["-c", WATCHER, "watcher"]).arg(dir).arg(stop_signal);
        watched.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => watched.env(name, value),
                None => watched.env_remove(name),
            };
        }
        let mut watcher = watched
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("sh runs");
        let leash = watcher.stdin.take();
        Server { watcher, leash, dir: dir.to_owned() }
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        let path = self.dir.join("pid");
        super::wait_for("a pid file", || std::fs::read_to_string(&path).is_ok_and(|t| t.ends_with('\n')));
        std::fs::read_to_string(path).expect("a pid file").trim().parse().expect("a pid")
    }

    /// Sends the server a signal: `KILL`, `STOP`, ...
    pub fn signal(&self, signal: &str) {
        run(Command::new("kill").args(["-s", signal, &self.pid().to_string()]));
    }

    /// What it wrote to its output.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("out")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.leash.take());
        // the watcher ends by itself; a failure to wait leaves nothing to do
        let _ = self.watcher.wait();
    }
}

/// A folder that is removed with this value, or with this process, however it ends.
pub struct Folder {
    watcher: Child,
    leash: Option<ChildStdin>,
    /// Where it is.
    pub path: PathBuf,
}

impl Folder {
    /// Makes one.
    pub fn new() -> Folder {
        let path = temporary_folder();
        let mut watcher = Command::new("sh")
            .args(["-c", "trap '' INT TERM HUP; cat >/dev/null; rm -rf \"$1\"", "watcher"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let leash = watcher.stdin.take();
        Folder { watcher, leash, path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.leash.take());
        // the watcher ends by itself; a failure to wait leaves nothing to do
        let _ = self.watcher.wait();
    }
}

/// A temporary folder with a short path: Asterisk's control socket must fit into 108 bytes.
pub fn temporary_folder() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("cc-").tempdir().expect("a temporary folder").keep();
    // servers that run as another user go through it
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&dir, mode).expect("own folder");
    dir
}

/// Runs a command to its end.
///
/// # Panics
/// It fails; what it wrote is in the message.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether this process is root: servers that refuse to run as root need another user then.
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0")))
}

/// A command that runs as `user` where this process is root, else as it is. It stays the same
/// process, so that its pid is the server's.
pub fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
    command
}
