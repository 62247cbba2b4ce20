//! What people read: lines of a log, errors, times, colours, tables.
//!
//! - [`say`], [`chain`]: one line of a log; an error with its causes.
//! - [`harmless`]: what strangers wrote, so that it can stand in a message.
//! - [`table`]: texts of a given width. [`paint`]: colours. [`time`]: moments.
//!
//! # Invariants
//!
//! - Nothing here reads the environment or asks the terminal: widths and colours are given.
//! - A text from outside is shown only through [`harmless`] or [`table`]: it cannot break a line, act on the terminal or
//!   push a column out of its place.
//! - Durations are the business of `pace`.

pub mod harmless;
pub mod paint;
pub mod table;
pub mod time;

pub use harmless::one_line;
pub use paint::Paint;

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;
use std::time::Duration;

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

/// Tells people on `log` that an error is retried after a pause.
pub fn trying_again<E: Error>(log: &mut dyn Write) -> impl FnMut(&E, Duration) {
    move |fault, pause| {
        let pause = humantime::format_duration(Duration::from_millis(pause.as_millis() as u64));
        let fault = chain(fault);
        say(
            log,
            format_args!("warning: {fault}; trying again in {pause}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_retry_is_told_with_its_cause_and_its_pause() {
        let mut log = Vec::new();
        let fault = Layer("no answer", None);

        trying_again(&mut log)(&fault, Duration::from_micros(1_500_900));

        let told = String::from_utf8_lossy(&log);
        assert_eq!(told, "warning: no answer; trying again in 1s 500ms\n");
    }
}
