//! The spool: call records that could not be delivered, one file each, until `call replay` does it.
//!
//! A file appears whole or not at all (written beside, synced, renamed, folder synced), and is named
//! for its call, so that a call that is spooled twice is there once. What can never be delivered is
//! kept in `failed/` with the reason, what cannot be read in `damaged/`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::model::call::CallRecord;
use crate::system::file::prepare;
use crate::{Error, Result};

/// What waits for delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The record as it was at hangup.
    pub record: CallRecord,
    /// The record is with the HTTP back end already: only the claim is still to be released.
    #[serde(default)]
    pub posted: bool,
    /// When it was spooled.
    pub spooled_at: DateTime<Utc>,
    /// Why it was not delivered.
    pub reason: String,
}

/// A spool folder.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
}

/// An entry and its file.
#[derive(Debug)]
pub struct Spooled {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it; None where it cannot be read as an entry.
    pub entry: Option<Entry>,
}

/// What a spool has.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// What waits for delivery.
    Waiting,
    /// What was refused for good.
    Failed,
    /// What cannot be read.
    Damaged,
}

/// A half-written file older than this was abandoned by its writer.
const ABANDONED: Duration = Duration::from_secs(60);

impl Spool {
    /// The spool in this folder, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Spool {
        Spool { dir }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn folder(&self, part: Part) -> PathBuf {
        match part {
            Part::Waiting => self.dir.clone(),
            Part::Failed => self.dir.join("failed"),
            Part::Damaged => self.dir.join("damaged"),
        }
    }

    /// Keeps an entry. It replaces one of the same call, but not one of another call with the same unique id. On
    /// return it survives a power cut.
    ///
    /// # Errors
    /// The folder cannot be made or written, or the disk is full. Nothing half-written is left.
    pub fn put(&self, part: Part, entry: &Entry) -> Result<PathBuf> {
        let dir = self.folder(part);
        let name = file_name(&entry.record.asterisk_uniqueid);
        let mut path = dir.join(format!("{name}.json"));
        if let Some(Spooled { entry: Some(other), .. }) = self.read(&path).ok().flatten()
            && is_another_call(&entry.record, &other.record)
        {
            path = dir.join(format!("{name}~{}.json", entry.record.timestamp_start.timestamp_micros()));
        }
        let act = || -> io::Result<()> {
            make_folder(&dir)?;
            let mut text = serde_json::to_vec(entry)?;
            text.push(b'\n');
            // callers' numbers are nobody else's business
            prepare(&path, &text, 0o600, None, None)?.persist(&path)?;
            sync_folder(&dir)
        };
        act().map_err(|e| Error::io("spool the call record at", &path, &e))?;
        Ok(path)
    }

    /// Moves an entry to `failed/`, with why it can never be delivered.
    ///
    /// # Errors
    /// The file system's; the entry stays where it is then.
    pub fn fail(&self, spooled: &Spooled, reason: &str) -> Result<PathBuf> {
        let Some(entry) = &spooled.entry else { return self.set_aside(spooled) };
        let entry = Entry { reason: reason.to_owned(), ..entry.clone() };
        let kept = self.put(Part::Failed, &entry)?;
        self.remove(spooled)?;
        Ok(kept)
    }

    /// Moves a file that is no entry to `damaged/`, as it is.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_aside(&self, spooled: &Spooled) -> Result<PathBuf> {
        let dir = self.folder(Part::Damaged);
        let act = || -> io::Result<PathBuf> {
            make_folder(&dir)?;
            let name = spooled.path.file_name().unwrap_or_default();
            let kept = dir.join(name);
            fs::rename(&spooled.path, &kept)?;
            sync_folder(&dir)?;
            sync_folder(&self.dir)?;
            Ok(kept)
        };
        act().map_err(|e| Error::io("set aside", &spooled.path, &e))
    }

    /// Removes an entry that was delivered. It is no error if it is gone already.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, spooled: &Spooled) -> Result<()> {
        match fs::remove_file(&spooled.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &spooled.path, &e)),
            Ok(()) | Err(_) => spooled
                .path
                .parent()
                .map_or(Ok(()), sync_folder)
                .map_err(|e| Error::io("sync the folder of", &spooled.path, &e)),
        }
    }

    /// The files of a part, oldest name first. A spool that does not exist is empty.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self, part: Part) -> Result<Vec<PathBuf>> {
        let dir = &self.folder(part);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", dir, &e)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io("read", dir, &e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let half_written = name.ends_with(".new") && !is_abandoned(&path);
            if path.is_file() && !name.starts_with('.') && !half_written {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Reads a file of the spool; None where it has gone since it was listed.
    ///
    /// # Errors
    /// It cannot be read, for another reason than that it is no entry.
    pub fn read(&self, path: &Path) -> Result<Option<Spooled>> {
        match fs::read(path) {
            Ok(text) => Ok(Some(Spooled { path: path.to_owned(), entry: serde_json::from_slice(&text).ok() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path, &e)),
        }
    }

    /// The lock that lets one replay work at a time; None where another one holds it. It is held
    /// while the value lives.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn lock(&self) -> Result<Option<File>> {
        let path = self.dir.join(".lock");
        let file = make_folder(&self.dir)
            .and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path))
            .map_err(|e| Error::io("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => Err(Error::io("lock", &path, &e)),
        }
    }
}

/// Whether two records with one unique id are of two calls, by the rule of `cc_call_id`.
fn is_another_call(a: &CallRecord, b: &CallRecord) -> bool {
    match (a.call_start, b.call_start) {
        (Some(a), Some(b)) => a != b,
        _ => a.incoming_did_number != b.incoming_did_number,
    }
}

/// A file name that belongs to this call alone; all but letters, digits, `-`, `_` and `.` is written as %XX.
fn file_name(uniqueid: &str) -> String {
    const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    let name = utf8_percent_encode(uniqueid, SPECIAL).to_string();
    // a hidden file would be no entry
    name.strip_prefix('.').map(|rest| format!("%2E{rest}")).unwrap_or(name)
}

fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|m| m.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED))
}

fn make_folder(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(uniqueid: &str) -> Entry {
        let at = DateTime::from_timestamp_micros(1_767_323_045_123_456).expect("valid");
        Entry {
            record: CallRecord {
                incoming_did_number: "+18005550101".into(),
                caller_id_num: Some("555".into()),
                caller_id_name: Some("Zoë \"{x}\"\n".into()),
                timestamp_start: at,
                timestamp_answered: Some(at),
                timestamp_end: at,
                duration_seconds: 5,
                billsec_seconds: 3,
                call_status: "ANSWERED".into(),
                hangup_cause_code: Some(16),
                hangup_cause_text: None,
                asterisk_uniqueid: uniqueid.into(),
                asterisk_linkedid: None,
                dial_status: Some("ANSWER".into()),
                user_id: None,
                campaign_id: None,
                did_id: None,
                client_id: None,
                campaign_client_setting_id: Some(7),
                passed_over: Some("acme concurrency_cap 5/5, b total_cap 9/9 (2 in flight)".into()),
                call_start: None,
            },
            posted: false,
            spooled_at: at,
            reason: "away".into(),
        }
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let spool = Spool::new(dir.path().join("a/spool"));
        (dir, spool)
    }

    #[test]
    fn an_entry_is_there_whole_and_once() {
        let (_dir, spool) = spool();
        assert!(spool.list(Part::Waiting).expect("an empty spool").is_empty());
        spool.put(Part::Waiting, &entry("node-1.2")).expect("written");
        spool.put(Part::Waiting, &entry("node-1.2")).expect("written again");
        let paths = spool.list(Part::Waiting).expect("readable");
        assert_eq!(paths, [spool.dir().join("node-1.2.json")]);
        let spooled = spool.read(&paths[0]).expect("readable").expect("there");
        assert_eq!(spooled.entry.as_ref(), Some(&entry("node-1.2")));
        spool.fail(&spooled, "no such setting").expect("moved");
        assert!(spool.list(Part::Waiting).expect("readable").is_empty());
        let failed = spool.list(Part::Failed).expect("readable");
        let kept = spool.read(&failed[0]).expect("readable").expect("there").entry.expect("an entry");
        assert_eq!(kept.reason, "no such setting");
    }

    #[test]
    fn two_calls_of_one_unique_id_are_two_entries() {
        let (_dir, spool) = spool();
        let at = |seconds: i64, did: &str| {
            let mut entry = entry("1.2");
            entry.record.timestamp_start += chrono::TimeDelta::seconds(seconds);
            entry.record.call_start = Some(entry.record.timestamp_start);
            entry.record.incoming_did_number = did.into();
            entry
        };
        let all = [at(0, "+18005550101"), at(1, "+18005550101"), at(2, "+18005550102")];
        for entry in all.iter().chain(&all) {
            spool.put(Part::Waiting, entry).expect("written");
        }
        let kept: Vec<Entry> = spool
            .list(Part::Waiting)
            .expect("readable")
            .iter()
            .filter_map(|path| spool.read(path).expect("readable").expect("there").entry)
            .collect();
        assert_eq!(kept.len(), 3);
        assert!(all.iter().all(|entry| kept.contains(entry)));
    }

    #[test]
    fn half_written_files_are_left_until_nobody_can_be_writing_them() {
        let (_dir, spool) = spool();
        spool.put(Part::Waiting, &entry("1.2")).expect("written");
        let half = spool.dir().join("3.4.99.new");
        fs::write(&half, "{\"rec").expect("own folder");
        assert_eq!(spool.list(Part::Waiting).expect("readable").len(), 1);
        let old = SystemTime::now() - Duration::from_secs(120);
        File::options().write(true).open(&half).and_then(|f| f.set_modified(old)).expect("own file");
        let paths = spool.list(Part::Waiting).expect("readable");
        assert_eq!(paths.len(), 2);
        let spooled = spool.read(&paths[1]).expect("readable").expect("there");
        assert!(spooled.entry.is_none());
        let kept = spool.set_aside(&spooled).expect("moved");
        assert!(kept.ends_with("damaged/3.4.99.new"));
    }

    #[test]
    fn one_replay_at_a_time() {
        let (_dir, spool) = spool();
        let lock = spool.lock().expect("lockable");
        assert!(lock.is_some());
        assert!(spool.lock().expect("lockable").is_none());
        drop(lock);
        assert!(spool.lock().expect("lockable").is_some());
    }

    #[test]
    fn what_an_older_program_spooled_is_an_entry() {
        let (_dir, spool) = spool();
        let path = spool.put(Part::Waiting, &entry("1.2")).expect("written");
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        for field in ["passed_over", "user_id", "campaign_id", "did_id", "client_id"] {
            json["record"].as_object_mut().expect("an object").remove(field).expect("it was there");
        }
        fs::write(&path, json.to_string()).expect("own folder");
        let mut expected = entry("1.2");
        expected.record.passed_over = None;
        assert_eq!(spool.read(&path).expect("readable").expect("there").entry, Some(expected));
    }

    proptest! {
        #[test]
        fn a_file_name_is_safe_and_belongs_to_one_call(a in "\\PC{0,50}", b in "\\PC{0,50}") {
            for id in [&a, &b] {
                let name = file_name(id);
                prop_assert!(!name.contains('/') && !name.starts_with('.'));
            }
            prop_assert_eq!(file_name(&a) == file_name(&b), a == b);
        }
    }
}
