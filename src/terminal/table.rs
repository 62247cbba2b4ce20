//! Texts of a given width, with colours or without.
//!
//! Pure: the time and the width are given, so that tests read what users do. Names come from a repository that anyone may
//! have written to; none of them can break a line, act on the terminal, or push a column out of its place.

use std::time::{Duration, SystemTime};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::harmless::one_line;
use crate::paint::Paint;
use crate::time;

/// How a text is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// How many columns there are.
    pub width: usize,
    /// Whether there are colours, and links that can be followed.
    pub paint: Paint,
}

/// The width where it is not known, such as in a file or a mail.
pub const USUAL_WIDTH: usize = 100;

/// Below that nothing can be read; the lines are longer then.
const LEAST_WIDTH: usize = 40;

impl Style {
    /// The width that is used.
    pub fn columns(self) -> usize {
        self.width.max(LEAST_WIDTH)
    }

    fn coloured(self, code: &str, text: &str) -> String {
        match self.paint {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.coloured("2", text)
    }

    /// To be seen first.
    pub fn strong(self, text: &str) -> String {
        self.coloured("1", text)
    }

    /// As it should be.
    pub fn good(self, text: &str) -> String {
        self.coloured("32", text)
    }

    /// To be looked at.
    pub fn notable(self, text: &str) -> String {
        self.coloured("33", text)
    }

    /// Wrong.
    pub fn bad(self, text: &str) -> String {
        self.coloured("31", text)
    }

    /// An address, which may be cut short and can be followed all the same where terminals do that.
    ///
    /// `url` must not have control characters in it: they could end the escape sequence.
    pub fn link(self, url: &str, shown: &str) -> String {
        match self.paint {
            Paint::Plain => shown.to_owned(),
            Paint::Colours => {
                format!("\u{1b}]8;;{url}\u{1b}\\\u{1b}[36m{shown}\u{1b}[0m\u{1b}]8;;\u{1b}\\")
            }
        }
    }
}

/// A text as it may be shown, at most so many columns wide; what does not fit gives way to `…`.
pub fn fit(text: &str, columns: usize) -> String {
    let text = one_line(text);
    if text.width() <= columns {
        return text;
    }
    let mut shown = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or_default();
        if used + width + 1 > columns {
            break;
        }
        used += width;
        shown.push(c);
    }
    shown.push('…');
    shown
}

/// As [`fit`], filled up with spaces to exactly so many columns.
pub fn cell(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

/// As [`cell`], with the spaces before the text.
pub fn right(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(text.width());
    " ".repeat(missing) + &text
}

/// The columns that a text takes.
pub fn columns_of(text: &str) -> usize {
    one_line(text).width()
}

/// Names one after the other on as many lines as it takes.
pub fn wrapped<'a>(names: impl Iterator<Item = &'a str>, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        let name = fit(name, columns);
        match lines.last_mut() {
            Some(line) if line.width() + 2 + name.width() <= columns => {
                line.push_str("  ");
                line.push_str(&name);
            }
            _ => lines.push(name),
        }
    }
    lines
}

/// A moment to the minute, in UTC: `2026-11-21 09:41`.
pub fn moment(time: SystemTime) -> String {
    let text = seconds_of(time).and_then(time::time);
    // `2026-11-21T09:41:07Z`
    let minute = text.and_then(|text| Some(text.get(..16)?.replace('T', " ")));
    minute.unwrap_or_else(|| "?".to_owned())
}

/// How long ago something was; nothing at all when it is yet to come, by whatever clock.
pub fn ago(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// In seconds since 1970.
pub fn seconds_of(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// `1 lock`, `2 locks`.
pub fn counted(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::at;

    #[test]
    fn what_is_too_long_is_cut_to_the_columns_that_there_are() {
        assert_eq!(fit("env-1", 5), "env-1");
        assert_eq!(fit("env-10", 5), "env-…");
        // Two columns each, so that only two of them and the sign fit.
        assert_eq!(fit("環境環境", 6), "環境…");
        assert_eq!(cell("環境", 6), "環境  ");
        assert_eq!(right("12m", 6), "   12m");
    }

    #[test]
    fn nothing_in_a_name_acts_on_the_terminal() {
        assert_eq!(fit("a\u{1b}[2Jb\nc", 40), "a\\u{1b}[2Jb\\nc");
        assert_eq!(fit("a\u{202e}b", 40), "a\\u{202e}b");
    }

    #[test]
    fn names_are_wrapped_between_them_and_never_within() {
        let lines = wrapped(["one", "two", "three", "a-very-long-one"].into_iter(), 10);

        assert_eq!(lines, ["one  two", "three", "a-very-lo…"]);
    }

    #[test]
    fn a_moment_is_shown_to_the_minute_and_one_that_no_calendar_has_as_unknown() {
        assert_eq!(moment(at(1_763_718_067)), "2025-11-21 09:41");
        assert_eq!(moment(at(-5)), "?");
        assert_eq!(moment(at(i64::MAX)), "?");
    }
}
