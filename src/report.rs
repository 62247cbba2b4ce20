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
