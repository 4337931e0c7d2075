//! Where the figures come from: without it they say nothing.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::harness::{asterisk, program};

/// The machine, how busy it is with other things, and the versions of what was measured.
pub(crate) fn describe(postgres: &str) -> Map<String, Value> {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok().filter(|o| o.status.success());
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("unknown").to_owned()
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|l| l.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let capconduit = program("capconduit");
    let fields = json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": load(),
        "asterisk": asterisk::version().trim_start_matches("Asterisk "),
        "postgresql": postgres,
        "pgbouncer": said("/usr/sbin/pgbouncer", "--version").trim_start_matches("PgBouncer "),
        "python": said("/usr/bin/python3", "--version").trim_start_matches("Python "),
        "rustc": said("rustc", "--version").trim_start_matches("rustc "),
        "capconduit": said(&capconduit.to_string_lossy(), "--version").trim_start_matches("capconduit "),
        "build": if cfg!(debug_assertions) { "debug: the figures say nothing" } else { "release" },
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The load of the last minute: above a few tenths before the start, others disturb the figures.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}
