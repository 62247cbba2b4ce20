//! What the dispatcher tells people: one line for each thing, with the time and Python's names of levels.

use std::io::Write;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for something.
    Debug,
    /// As it should be.
    Info,
    /// To be looked at.
    Warning,
    /// Something failed.
    Error,
    /// The end.
    Critical,
}

impl Level {
    const ALL: [Level; 5] = [
        Level::Debug,
        Level::Info,
        Level::Warning,
        Level::Error,
        Level::Critical,
    ];

    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Level> {
        let name = name.trim().to_ascii_uppercase();
        let name = match &name[..] {
            "WARN" => "WARNING",
            "FATAL" => "CRITICAL",
            "NOTSET" => "DEBUG",
            name => name,
        };
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// Where lines go: to stderr.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least important that are written.
    pub least: Level,
}

impl Log {
    /// Writes a line.
    pub fn say(self, level: Level, text: &str) {
        if level >= self.least {
            let time = terminal::time::now();
            let line = format!("{time} {} {}\n", level.name(), terminal::one_line(text));
            // Nobody who reads is no reason to end.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// Writes a line for those who look for something.
    pub fn debug(self, text: &str) {
        self.say(Level::Debug, text);
    }

    /// Writes a line about what is as it should be.
    pub fn info(self, text: &str) {
        self.say(Level::Info, text);
    }

    /// Writes a line about what is to be looked at.
    pub fn warning(self, text: &str) {
        self.say(Level::Warning, text);
    }

    /// Writes a line about what failed.
    pub fn error(self, text: &str) {
        self.say(Level::Error, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_names_that_python_gives_them_in_any_case() {
        for (name, level) in [
            ("info", Some(Level::Info)),
            ("WARN", Some(Level::Warning)),
            ("Warning", Some(Level::Warning)),
            ("critical", Some(Level::Critical)),
            ("loud", None),
        ] {
            assert_eq!(Level::parse(name), level);
        }
        assert!(Level::Error > Level::Warning);
    }
}
