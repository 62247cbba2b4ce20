//! What is said while locks are waited for and held, for those who look at the job and for the log.

use std::io::{self, Write};

use pipelines::locks::Teller;
use pipelines::log::Log;

/// The longest text that a job shows, in characters.
const LONGEST: usize = 1000;

/// Lines, each of which is dealt with when it is whole.
pub struct Lines<F: FnMut(&str)> {
    begun: Vec<u8>,
    each: F,
}

impl<F: FnMut(&str)> Lines<F> {
    fn new(each: F) -> Lines<F> {
        Lines {
            begun: Vec::new(),
            each,
        }
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            (self.each)(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is said while locks are waited for: the job shows it.
pub fn shown(teller: Teller) -> impl Write {
    let mut text = String::new();
    Lines::new(move |line| {
        add(&mut text, line);
        teller.waits(text.clone());
    })
}

/// Adds a line to what is shown. One that is indented goes on with the one before; any other begins anew.
fn add(text: &mut String, line: &str) {
    let is_time =
        |word: &str| word.ends_with('Z') && word.starts_with(|c: char| c.is_ascii_digit());
    let (line, goes_on) = match line.split_once(' ') {
        Some((time, rest)) if is_time(time) => (rest.trim(), rest.starts_with("  ")),
        _ => (line.trim(), false),
    };
    if goes_on && !text.is_empty() {
        text.push_str("; ");
    } else {
        text.clear();
    }
    let left = LONGEST.saturating_sub(text.chars().count());
    text.extend(line.chars().take(left));
}

/// What is said while locks are held: it goes to the log.
pub fn logged(log: Log, job: String) -> impl Write {
    Lines::new(move |line| {
        let line = line.strip_prefix("warning: ").unwrap_or(line);
        log.warn(line, &[("jobID", &job)]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_shows_the_last_message_whole_and_without_its_times() {
        let mut text = String::new();
        for (line, expected) in [
            (
                "2026-11-27T10:00:00Z waiting in pool `aws`: env-1 is held",
                "waiting in pool `aws`: env-1 is held",
            ),
            (
                "2026-11-27T10:00:00Z   env-1 is held by anna",
                "waiting in pool `aws`: env-1 is held; env-1 is held by anna",
            ),
            (
                "no answer; trying again in 1s",
                "no answer; trying again in 1s",
            ),
            (
                "2026-11-27T10:00:00Z   goes on",
                "no answer; trying again in 1s; goes on",
            ),
            ("2026-11-27T10:01:00Z waiting: x", "waiting: x"),
        ] {
            add(&mut text, line);
            assert_eq!(text, expected);
        }
        add(&mut text, &"é".repeat(2000));
        assert_eq!(text.chars().count(), LONGEST);
        add(&mut text, "2026-11-27T10:01:00Z   more");
        assert!(text.chars().count() <= LONGEST + 2);
    }

    #[test]
    fn a_line_is_dealt_with_when_it_is_whole() {
        let mut all = Vec::new();
        let mut lines = Lines::new(|line: &str| all.push(line.to_owned()));
        for piece in ["a", "b\nc", "\n\nd"] {
            assert!(lines.write_all(piece.as_bytes()).is_ok());
        }
        assert_eq!(all, ["ab", "c", ""]);
    }
}
