//! How it ends when it does not end well.

use std::fmt;

use state::session::SessionError;

/// An error, and the exit code for it.
#[derive(Debug)]
pub struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    /// An error like most.
    pub fn new(words: impl Into<String>) -> Failure {
        Failure {
            words: words.into(),
            code: 1,
        }
    }

    /// The exit code: 1, or 3 when a condition does not hold.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(err: anyhow::Error) -> Failure {
        Failure::new(terminal::chain(err.as_ref()))
    }
}

impl From<SessionError> for Failure {
    fn from(err: SessionError) -> Failure {
        Failure {
            // As the setting is called here.
            words: terminal::chain(&err).replace("`source.", "`datasources.git."),
            code: if err.is_unmet() { 3 } else { 1 },
        }
    }
}
