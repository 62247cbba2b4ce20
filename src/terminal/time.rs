//! Moments, for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in seconds since 1970, for people; `None` when no calendar has it.
pub fn time(seconds: i64) -> Option<String> {
    // Later than that the formatter has no digits for the year.
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= LAST)?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

/// A moment, for people; `None` when no calendar has it.
pub fn moment(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().and_then(self::time)
}

/// The moment that is given in seconds since 1970; 1970 itself when no clock gets there.
pub fn at(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(since)
    } else {
        UNIX_EPOCH.checked_add(since)
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// Now, for people.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_written_is_none() {
        assert_eq!(time(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let last = 253_402_300_799;
        assert_eq!(time(last).as_deref(), Some("9999-12-31T23:59:59Z"));
        for seconds in [-1, last + 1, i64::MIN, i64::MAX] {
            assert_eq!(time(seconds), None, "{seconds}");
        }
    }
}
