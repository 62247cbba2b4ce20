//! What is told while something is done.

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for an error.
    Debug,
    /// As it should be.
    Info,
    /// Something may be wrong.
    Warning,
    /// Something has failed.
    Error,
    /// Nothing goes on.
    Critical,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }

    /// The level of this name.
    pub fn of(name: &str) -> Option<Level> {
        let all = [
            Level::Debug,
            Level::Info,
            Level::Warning,
            Level::Error,
            Level::Critical,
        ];
        all.into_iter().find(|level| level.name() == name)
    }
}

/// Where lines go.
pub trait Log {
    /// Takes a line. It may have anything in it, which is made harmless before it is shown.
    fn tell(&mut self, level: Level, text: &str);
}
