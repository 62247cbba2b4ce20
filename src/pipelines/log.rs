//! What the server tells people: one line for each thing, as `key=value`.

use std::fmt::Write as _;
use std::io::Write as _;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--verbose`.
    Debug,
    /// As it should be.
    Info,
    /// To be looked at.
    Warn,
    /// Something failed.
    Error,
    /// The end.
    Fatal,
}

/// Where lines go.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least important that are written.
    pub least: Level,
}

impl Log {
    /// Writes a line.
    pub fn say(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        if level < self.least {
            return;
        }
        let line = line(&terminal::time::now(), level, message, fields);
        // Nobody who reads is no reason to end.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Writes a line about what is as it should be.
    pub fn info(&self, message: &str, fields: &[(&str, &str)]) {
        self.say(Level::Info, message, fields);
    }

    /// Writes a line about what is to be looked at.
    pub fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        self.say(Level::Warn, message, fields);
    }
}

fn line(time: &str, level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
        Level::Fatal => "fatal",
    };
    let mut line = format!(
        "timestamp={time} level={level} message={}",
        quoted(message, true)
    );
    for (name, value) in fields {
        let _ = write!(line, " {name}={}", quoted(value, false));
    }
    line.push('\n');
    line
}

/// A value that can neither break the line nor be taken for another field.
fn quoted(text: &str, always: bool) -> String {
    let is_plain =
        |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !always && !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut shown = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if c.is_control() => shown.extend(c.escape_debug()),
            c => shown.push(c),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_be_taken_for_two_lines_or_for_two_fields() {
        let fields = [
            ("httpPath", "/a b\n level=error"),
            ("plain", "/x"),
            ("empty", ""),
            ("q", "a\"b"),
        ];
        assert_eq!(
            line("T", Level::Info, "it is", &fields),
            "timestamp=T level=info message=\"it is\" httpPath=\"/a b\\n level=error\" plain=/x empty=\"\" q=\"a\\\"b\"\n"
        );
    }
}
