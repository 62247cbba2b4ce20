//! What people read on stderr while a step runs.

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;

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
}
