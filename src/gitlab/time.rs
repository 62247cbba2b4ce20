//! Times as GitLab writes them.

use std::time::{Duration, SystemTime};

/// Reads a time such as `2026-11-27T10:55:08.123Z` or `2026-11-27T12:55:08.123+02:00`: a server may be set to another time
/// zone. `None` when it is none.
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
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,30}|[0-9T:.Z+-]{0,30}") {
            let _ = parse(&text);
        }
    }
}
