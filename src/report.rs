//! What people read on stderr while a step runs.

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Writes one line, at once.
///
/// A log that cannot be written is no reason to fail: what counts is in the repository.
pub fn say(log: &mut dyn Write, line: Arguments<'_>) {
    let _ = writeln!(log, "{line}");
    let _ = log.flush();
}

/// An error with all its causes on one line.
pub fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // A cause whose words are in the message already says nothing new.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

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

/// A length of time in its two largest units: `45s`, `12m`, `2h 05m`, `3d 04h`.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..=59 => format!("{seconds}s"),
        60..=3599 => format!("{minutes}m"),
        3600..=86_399 => format!("{hours}h {:02}m", minutes % 60),
        86_400..=8_639_999 => format!("{days}d {:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// A text from outside as it may stand in a message: it cannot break the line or act on the terminal.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Now, for people.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Whether what is written shows colours, as Concourse's pages and terminals do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    /// No colours.
    #[default]
    Plain,
    /// With the escape sequences of ECMA-48.
    Colours,
}

impl Paint {
    /// What is to be seen first.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is less important.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// An address.
    pub fn link(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_the_rest_is_left_as_it_is() {
        assert_eq!(
            one_line("it's \"ü\" \u{1b}[2J\r\n"),
            "it's \"ü\" \\u{1b}[2J\\r\\n"
        );
    }

    #[test]
    fn a_time_that_cannot_be_written_is_none() {
        assert_eq!(time(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let last = 253_402_300_799;
        assert_eq!(time(last).as_deref(), Some("9999-12-31T23:59:59Z"));
        for seconds in [-1, last + 1, i64::MIN, i64::MAX] {
            assert_eq!(time(seconds), None, "{seconds}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn causes_follow_the_message_and_are_not_repeated() {
        let err = Layer(
            "cannot talk",
            Some(Box::new(Layer(
                "cannot talk",
                Some(Box::new(Layer("refused", None))),
            ))),
        );

        assert_eq!(chain(&err), "cannot talk: refused");
    }

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h 00m"),
            (7500, "2h 05m"),
            (86_400, "1d 00h"),
            (86_400 * 99 + 3600 * 5, "99d 05h"),
            (86_400 * 1400 + 3600 * 5, "1400d"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), shown);
        }
    }
}
