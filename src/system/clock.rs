//! The two clocks of a machine, read together: wall time, which may be set, and uptime, which only runs. What wall
//! time gained more than uptime between two readings is how far it was set.

use std::{fmt, fs};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};

/// A step no larger than this comes from reading the clocks one after the other.
const TOLERANCE_MS: i64 = 50;

/// Differs from start to start of a machine, and from machine to machine (proc_sys_kernel(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A reading of both, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970, as the clock is set.
    wall_ms: i64,
    /// Since the machine was started; goes on in its sleep.
    uptime_ms: i64,
    /// A part of the boot id, which tells machines and their starts apart; 0: not known.
    boot: u32,
}

impl Reading {
    /// Reads them.
    #[must_use]
    pub fn now() -> Reading {
        let boot = fs::read_to_string(BOOT_ID).ok();
        let boot = boot.and_then(|id| u32::from_str_radix(id.get(..8)?, 16).ok()).unwrap_or_default();
        let read = || {
            let before = uptime_ms();
            (Reading { wall_ms: Utc::now().timestamp_millis(), uptime_ms: before, boot }, uptime_ms() - before)
        };
        // reads again where the program was held up between the two clocks
        let (mut reading, mut took) = read();
        for _ in 0..3 {
            if took <= 2 {
                break;
            }
            (reading, took) = read();
        }
        reading
    }

    /// What [`fmt::Display`] wrote; None for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Reading> {
        let (wall, rest) = text.split_once('/')?;
        let (uptime, boot) = rest.split_once('/')?;
        let boot = u32::from_str_radix(boot, 16).ok()?;
        let reading = Reading { wall_ms: wall.parse().ok()?, uptime_ms: uptime.parse().ok()?, boot };
        DateTime::from_timestamp_millis(reading.wall_ms).map(|_| reading)
    }

    /// The time.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.wall_ms).unwrap_or_default()
    }

    /// How far the clock was set forward since an earlier reading; negative: back. Zero for readings of two machines
    /// or starts.
    #[must_use]
    pub fn step_since(&self, earlier: &Reading) -> TimeDelta {
        let Some(passed) = self.passed_since(earlier) else { return TimeDelta::zero() };
        let step = (self.time() - earlier.time()) - passed;
        if step.abs() <= TimeDelta::milliseconds(TOLERANCE_MS) { TimeDelta::zero() } else { step }
    }

    /// How much time has passed since an earlier reading; None for readings of two machines or starts.
    #[must_use]
    pub fn passed_since(&self, earlier: &Reading) -> Option<TimeDelta> {
        let passed = self.uptime_ms.saturating_sub(earlier.uptime_ms);
        (self.boot == earlier.boot && self.boot != 0).then(|| TimeDelta::try_milliseconds(passed).unwrap_or_default())
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{:08x}", self.wall_ms, self.uptime_ms, self.boot)
    }
}

fn uptime_ms() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_comes_back_and_shows_a_step() {
        let now = Reading::now();
        assert_eq!(Reading::parse(&now.to_string()), Some(now));
        assert_eq!(Reading::now().step_since(&now), TimeDelta::zero());
        let later =
            |wall: i64, uptime: i64| Reading { wall_ms: now.wall_ms + wall, uptime_ms: now.uptime_ms + uptime, ..now };
        assert_eq!(later(5_000, 5_020).step_since(&now), TimeDelta::zero());
        assert_eq!(later(3_605_000, 5_000).step_since(&now), TimeDelta::hours(1));
        assert_eq!(later(-95_000, 5_000).step_since(&now), TimeDelta::seconds(-100));
        let elsewhere = Reading { boot: now.boot ^ 1, ..later(3_605_000, 5_000) };
        assert_eq!(elsewhere.step_since(&now), TimeDelta::zero());
        for bad in ["", "1", "1/", "/1", "1/2", "1/2/", "1/2/x", "x/1/2", "1/2/3/4", "9223372036854775807/1/2"] {
            assert_eq!(Reading::parse(bad), None, "{bad}");
        }
    }
}
