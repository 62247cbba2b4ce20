//! Moments as they are given on the command line: a time, or how long ago.

use std::time::{Duration, SystemTime};

use pool::step::Moment;

/// A moment that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// So long ago.
    Ago(Duration),
    /// In seconds since 1970.
    At(i64),
}

impl Time {
    /// In seconds since 1970.
    pub fn seconds(self, now: SystemTime) -> i64 {
        match self {
            Time::At(seconds) => seconds,
            Time::Ago(ago) => {
                let then = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
                since_1970(then)
            }
        }
    }
}

/// A moment in seconds since 1970, not before.
pub fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Reads how long ago (`7d`), a time (`2026-11-27T10:00:00Z`, with another zone, or without its last parts: then it is UTC), or a
/// day.
pub fn time_or_age(text: &str) -> Result<Time, String> {
    if let Ok(ago) = pace::duration::parse(text) {
        return Ok(Time::Ago(ago));
    }
    let whole = text.trim().replacen(' ', "T", 1);
    // What is left out is zero, and the zone is UTC.
    let zone = whole.rfind(['Z', 'z', '+', '-']).filter(|at| *at > 10);
    let (local, zone) = whole.split_at(zone.unwrap_or(whole.len()));
    let zone = if zone.is_empty() { "Z" } else { zone };
    let full = match local.len() {
        10 => format!("{local}T00:00:00{zone}"),
        16 => format!("{local}:00{zone}"),
        _ => format!("{local}{zone}"),
    };
    let time = terminal::time::parse(&full);
    time.map(|time| Time::At(since_1970(time))).ok_or_else(|| {
        "it is neither how long ago, such as 7d, nor a time, such as 2026-11-27T10:00:00Z"
            .to_owned()
    })
}

/// Reads a time, how long ago, or a commit by at least the first seven digits of its id.
pub fn moment(text: &str) -> Result<MomentGiven, String> {
    let is_commit = (7..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && pace::duration::parse(text).is_err();
    if is_commit {
        return Ok(MomentGiven::Commit(text.to_ascii_lowercase()));
    }
    let time = time_or_age(text).map_err(|why| format!("{why}, nor a commit"))?;
    Ok(MomentGiven::Time(time))
}

/// A moment, or the commit after which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MomentGiven {
    /// A moment.
    Time(Time),
    /// The first digits of a commit's id.
    Commit(String),
}

impl MomentGiven {
    /// As the library takes it.
    pub fn resolved(&self, now: SystemTime) -> Moment {
        match self {
            MomentGiven::Time(time) => Moment::Time(time.seconds(now)),
            MomentGiven::Commit(id) => Moment::Commit(id.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_usual_forms() {
        let expected = Ok(Time::At(1_795_773_600));
        for text in [
            "2026-11-27T10:00:00Z",
            "2026-11-27T10:00:00",
            "2026-11-27 10:00:00",
            "2026-11-27 10:00",
            "2026-11-27T10:00Z",
            "2026-11-27T11:00:00+01:00",
            "2026-11-27T11:00+01:00",
            "2026-11-27 05:00-05:00",
        ] {
            assert_eq!(time_or_age(text), expected, "{text}");
        }
        assert_eq!(time_or_age("2026-11-27"), Ok(Time::At(1_795_737_600)));
        assert_eq!(time_or_age("90m"), Ok(Time::Ago(Duration::from_secs(5400))));
        for text in [
            "",
            "soon",
            "2026-13-01",
            "2026-11-27T25:00",
            "10:00",
            "éééééééééé",
            "7",
        ] {
            assert!(time_or_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_may_be_a_commit() {
        assert_eq!(moment("0123ABC"), Ok(MomentGiven::Commit("0123abc".into())));
        assert_eq!(
            moment("7d"),
            Ok(MomentGiven::Time(Time::Ago(Duration::from_secs(604_800))))
        );
        for text in ["0123ab", "xyz", &"0".repeat(41)] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
