//! The spool: whether a record can be kept there, what waits in it, whether `call replay` delivers it; and whether
//! `call reap` frees the places of lost calls.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use crate::check::Area;
use crate::check::schedule::{REAP, REPLAY, schedule};
use crate::delivery::spool::{Part, Spool};
use crate::system::user::{Access, Identity};

/// A record that has waited for longer is not being delivered.
const LONG: TimeDelta = TimeDelta::minutes(15);
const GIGABYTE: u64 = 1 << 30;

/// What there is to look at.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where the AGI programs put records.
    pub dir: &'a Path,
    /// Where `call replay` looks for them.
    pub replayed: &'a Path,
    /// Who Asterisk runs as.
    pub user: Option<&'a Identity>,
    /// Files besides those of cron and systemd that say when `call replay` and `call reap` run.
    pub schedules: &'a [PathBuf],
    /// The program that is to be run.
    pub program: &'a Path,
}

/// Looks at the spool.
#[must_use]
pub fn check(place: &Place<'_>, now: DateTime<Utc>) -> Area {
    let mut area = Area::new("spool");
    folder(&mut area, place);
    space(&mut area, place.dir);
    records(&mut area, place.dir, now);
    if place.dir != place.replayed {
        area.warning(
            "replay",
            format!(
                "records are put into {}, but call replay looks in {}",
                place.dir.display(),
                place.replayed.display()
            ),
            "Set CAPCONDUIT_SPOOL_DIR in the env file, for both.",
        );
    }
    for job in [REPLAY, REAP] {
        schedule(&mut area, place.schedules, place.user, place.program, &job, Path::new("/"));
    }
    area
}

/// The folder itself, or the nearest one above it that is there: it is made when it is needed.
fn nearest(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

fn folder(area: &mut Area, place: &Place<'_>) {
    let dir = nearest(place.dir);
    let Some(user) = place.user else {
        return area.unknown("folder", "Asterisk's user is not known", "Name it with --user.");
    };
    let may = [Access::Write, Access::Execute].map(|access| user.may(access, dir));
    match may {
        [Ok(true), Ok(true)] if dir.is_dir() => area.ok("folder", format!("{} may write {}", user.name, dir.display())),
        [Err(e), _] | [_, Err(e)] => area.unknown("folder", format!("{}: {e}", dir.display()), "Run this as root."),
        _ => area.error(
            "folder",
            format!("{} cannot write {}: records are lost while the database is away", user.name, dir.display()),
            format!("install -d -o {} -g {} -m 750 {}", user.name, user.group, place.dir.display()),
        ),
    }
}

fn space(area: &mut Area, dir: &Path) {
    match rustix::fs::statvfs(nearest(dir)) {
        Ok(disk) => {
            let (free, all) =
                (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
            let message = format!("{} MB free where the spool is", free >> 20);
            if is_low(free, all) {
                area.warning("disk", format!("{message}: a full disk loses records"), "Make room.");
            } else {
                area.ok("disk", message);
            }
        }
        Err(e) => area.unknown("disk", format!("{}: {e}", dir.display()), "Run this as root."),
    }
}

/// Below a gigabyte; below a twentieth, unless that is still plenty.
fn is_low(free: u64, all: u64) -> bool {
    free < GIGABYTE || (free < all / 20 && free < 10 * GIGABYTE)
}

fn records(area: &mut Area, dir: &Path, now: DateTime<Utc>) {
    let spool = Spool::new(dir.to_owned());
    match spool.list(Part::Waiting) {
        Ok(entries) if entries.is_empty() => area.ok("waiting", "no record waits"),
        Ok(entries) => {
            let times = entries.iter().filter_map(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
            let oldest = times.map(DateTime::<Utc>::from).min().unwrap_or(now);
            let wait = if entries.len() == 1 { "record waits" } else { "records wait" };
            let oldest_at = oldest.format("%Y-%m-%dT%H:%M:%SZ");
            let message = format!("{} {wait}, the oldest since {oldest_at}", entries.len());
            if now - oldest > LONG {
                area.warning("waiting", format!("{message}: nobody delivers them"), "capconduit call replay says why.");
            } else {
                area.info("waiting", message);
            }
        }
        Err(e) => area.unknown("waiting", e.message, "Run this as root."),
    }
    match spool.list(Part::Failed) {
        Ok(failed) if failed.is_empty() => area.ok("refused", "no record was refused for good"),
        Ok(failed) => area.warning(
            "refused",
            format!("{} records were refused for good", failed.len()),
            format!("See \"reason\" in each file of {}/failed, then remove it.", dir.display()),
        ),
        Err(e) => area.unknown("refused", e.message, "Run this as root."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_when_a_day_could_fill_it() {
        assert!(is_low(GIGABYTE - 1, 2 * GIGABYTE));
        assert!(is_low(4 * GIGABYTE, 100 * GIGABYTE));
        assert!(!is_low(6 * GIGABYTE, 100 * GIGABYTE));
        assert!(!is_low(20 * GIGABYTE, 1000 * GIGABYTE));
    }
}
