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

/// Reads a time such as `2026-11-27T10:55:08.123Z` or `2026-11-27T12:55:08.123+02:00`: whoever
/// wrote it may live in another time zone. `None` when it is none.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, seconds(offset)?)
        }
    };
    let utc = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let by = Duration::from_secs(offset.unsigned_abs());
    if offset < 0 {
        utc.checked_add(by)
    } else {
        utc.checked_sub(by)
    }
}

/// `+02:00` in seconds.
fn seconds(offset: &str) -> Option<i64> {
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let all = number(hours)? * 3600 + number(minutes)? * 60;
    match offset.as_bytes().first()? {
        b'+' => Some(all),
        b'-' => Some(-all),
        _ => None,
    }
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

    #[test]
    fn a_time_of_any_time_zone_is_read() {
        let expected = UNIX_EPOCH + Duration::from_millis(1_732_704_908_123);
        for text in [
            "2024-11-27T10:55:08.123Z",
            "2024-11-27T12:55:08.123+02:00",
            "2024-11-27T05:25:08.123-05:30",
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "Z",
            "soon",
            "2024-11-27",
            "2024-11-27T10:55:08",
            "2024-11-27T10:55:08.123+2",
            "é+02:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_cut_of_a_time_makes_the_reader_panic() {
        let text = "2024-11-27T12:55:08.123+02:00é";
        for start in 0..text.len() {
            for end in start..text.len() {
                let _ = text.get(start..end).map(parse);
            }
        }
    }
}
