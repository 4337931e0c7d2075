//! `capconduit call replay`: delivers what the logger had to spool.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::agi::last_line;
use crate::cli::env::Env;
use crate::cli::output::{Output, file};
use crate::config::Config;
use crate::delivery::spool::{Entry, Part, Spool};
use crate::delivery::{Delivered, Sink, Undelivered, Work};
use crate::system::clock::Reading;
use crate::words::plural;
use crate::{Error, Kind, Result, pg, shape};

/// After this many records in a row that could not be delivered, the rest would wait in vain as well.
const GIVE_UP_AFTER: u32 = 3;
/// A progress line after this many records.
const PROGRESS_EVERY: u32 = 500;

/// `call replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Run by root, it continues as the owner of the spool, which is Asterisk's user. It may run from cron, and twice at once: a record is written and counted once.
Exit code 0 when nothing is left to do, 75 when records remain, 1 when some were refused for good or are damaged: those are
in `failed` and `damaged` of the spool folder.")]
pub(crate) struct Replay {
    /// Deliver the records in this file instead, `-` for standard input: lines of Asterisk's log or syslog
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Try those again that were refused for good
    #[arg(long, conflicts_with = "file")]
    failed: bool,
}

shape! {
    /// What came of it; the JSON of the command.
    #[derive(Debug, Default)]
    pub(crate) struct Summary {
        /// Delivered now.
        delivered: u32,
        /// Had been delivered before.
        already_delivered: u32,
        /// Refused for good, and kept in failed/.
        failed: u32,
        /// Not readable as a record, and kept in damaged/.
        damaged: u32,
        /// Left in the spool.
        remaining: u32,
        /// Another replay was at work: nothing was done.
        busy: bool,
        /// The spool folder.
        spool_dir: PathBuf,
    }
}

impl Replay {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let spool = Spool::new(env.config.spool_dir());
        if self.file.is_none() {
            as_the_owner_of(&env.config.spool_dir())?;
        }
        let mut run = Run::new(env.config, &spool)?;
        if let Some(file) = &self.file {
            let text = read(file, env)?;
            let lines = last_line::parse(&text, &env.config.number_rules()?, Reading::now());
            for entry in lines.entries {
                run.take_line(entry)?;
            }
            run.summary.damaged = u32::try_from(lines.damaged.len()).unwrap_or(u32::MAX);
            run.unread = lines.damaged;
            return run.finish();
        }
        let mut paths = spool.list(Part::Waiting)?;
        if self.failed {
            paths.extend(spool.list(Part::Failed)?);
        }
        if paths.is_empty() {
            return run.finish();
        }
        let Some(_lock) = spool.lock()? else {
            run.summary.busy = true;
            return run.finish();
        };
        for path in paths {
            run.take_spooled(&path)?;
            let done = run.summary.delivered + run.summary.already_delivered + run.summary.failed;
            if done > 0 && done % PROGRESS_EVERY == 0 {
                env.progress(&format!("{done} records done"));
            }
        }
        run.finish()
    }
}

/// Run by root, it continues as the owner of the spool: Asterisk's user could not use a lock or a record kept aside
/// that root leaves there, and root must not open what that user plants there.
fn as_the_owner_of(dir: &Path) -> Result<()> {
    let Ok(folder) = fs::metadata(dir) else { return Ok(()) };
    if folder.uid() == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|e| Error::failed(format!("cannot find this program: {e}")))?;
    let mut again = std::process::Command::new(program);
    let error = again.args(std::env::args_os().skip(1)).uid(folder.uid()).gid(folder.gid()).exec();
    Err(Error::failed(format!("cannot go on as the owner of {}, user {}: {error}", dir.display(), folder.uid()))
        .hint("Run capconduit call replay as that user."))
}

fn read(file: &Path, env: &mut Env<'_>) -> Result<String> {
    let mut bytes = Vec::new();
    file::open(env, file)?.read_to_end(&mut bytes).map_err(|e| Error::io("read", file, &e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One replay under way.
struct Run<'a> {
    config: &'a Config,
    spool: &'a Spool,
    sink: Sink,
    client: Option<pg::Connection>,
    summary: Summary,
    /// Failures since the last success, and the last of them.
    in_a_row: u32,
    trouble: Option<Error>,
    /// Lines of a file that hold no record where they should, and why.
    unread: Vec<(usize, String)>,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config, spool: &'a Spool) -> Result<Run<'a>> {
        let summary = Summary { spool_dir: spool.dir().to_owned(), ..Summary::default() };
        Ok(Run {
            config,
            spool,
            sink: Sink::of(config)?,
            client: None,
            summary,
            in_a_row: 0,
            trouble: None,
            unread: Vec::new(),
        })
    }

    fn take_spooled(&mut self, path: &Path) -> Result<()> {
        if self.in_a_row >= GIVE_UP_AFTER {
            self.summary.remaining += 1;
            return Ok(());
        }
        // gone since it was listed: delivered by hand
        let Some(spooled) = self.spool.read(path)? else { return Ok(()) };
        let Some(entry) = &spooled.entry else {
            self.spool.set_aside(&spooled)?;
            self.summary.damaged += 1;
            return Ok(());
        };
        match self.deliver(entry) {
            Ok(_) => self.spool.remove(&spooled),
            Err(undelivered) if undelivered.permanent => {
                self.spool.fail(&spooled, &undelivered.error.message).map(drop)
            }
            Err(undelivered) => {
                // a step that succeeded is not repeated
                if undelivered.posted && !entry.posted {
                    self.spool.put(Part::Waiting, &Entry { posted: true, ..entry.clone() })?;
                }
                Ok(())
            }
        }
    }

    fn take_line(&mut self, entry: Entry) -> Result<()> {
        let Err(Undelivered { error, permanent, posted }) = self.deliver(&entry) else { return Ok(()) };
        let part = if permanent { Part::Failed } else { Part::Waiting };
        self.spool.put(part, &Entry { reason: error.message, posted, ..entry }).map(drop)
    }

    fn deliver(&mut self, entry: &Entry) -> Result<Delivered, Undelivered> {
        let (config, client) = (self.config, &mut self.client);
        let mut database = |work: Work| {
            let mut connection = match client.take().filter(|c| !c.is_broken()) {
                Some(connection) => connection,
                // a fault of the configuration is not the record's fault
                None => pg::open(config, "capconduit").map_err(|e| Error { kind: Kind::Unreachable, ..e })?,
            };
            let result = work.run(&mut connection);
            *client = Some(connection);
            result
        };
        let result = self.sink.deliver(&entry.record, entry.posted, &mut database);
        match &result {
            Ok(Delivered::Now) => self.summary.delivered += 1,
            Ok(Delivered::Before) => self.summary.already_delivered += 1,
            Err(undelivered) if undelivered.permanent => {
                self.summary.failed += 1;
                self.trouble = Some(undelivered.error.clone());
            }
            Err(undelivered) => {
                self.summary.remaining += 1;
                self.in_a_row += 1;
                self.trouble = Some(undelivered.error.clone());
                return result;
            }
        }
        self.in_a_row = 0;
        result
    }

    fn finish(self) -> Result<Output> {
        let Summary { delivered, already_delivered, failed, damaged, remaining, busy, .. } = self.summary;
        let message = if busy {
            "Another replay is at work.".to_owned()
        } else {
            format!(
                "{delivered} delivered, {already_delivered} there before, {failed} refused, {damaged} damaged, {remaining} remaining."
            )
        };
        let dir = self.spool.dir().display();
        let why = self.trouble.map(|e| format!(": {}", e.message)).unwrap_or_default();
        let output = Output::done(message, &self.summary)?;
        let left = plural(remaining, "call record");
        let error = if remaining > 0 {
            Error::new(Kind::Unreachable, format!("{left} in {dir} could not be delivered{why}"))
                .hint("They are safe there. Run capconduit call replay again.")
        } else if let ([(number, why), ..], 0) = (self.unread.as_slice(), failed) {
            let lines = plural(damaged, "line");
            Error::failed(format!("{lines} of the file could not be taken; line {number}: {why}"))
                .hint("The other records were taken. What is genuine is taken from a file that has its record alone.")
        } else if failed + damaged > 0 {
            Error::failed(format!("{} call records were set aside in {dir}{why}", failed + damaged))
                .hint("Each file in failed/ says why. After mending the cause: capconduit call replay --failed.")
        } else {
            return Ok(output);
        };
        Ok(Output::Findings { output: Box::new(output), error })
    }
}
