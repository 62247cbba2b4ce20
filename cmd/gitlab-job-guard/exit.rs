//! How it ends.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug)]
pub enum Exit {
    /// It is our turn.
    Done,
    /// The settings are wrong.
    Usage,
    /// We are refused.
    Refused,
    /// There was no usable answer in time.
    Unanswered,
    /// Somebody is in the way, and we were not to wait.
    Taken,
    /// The time is over.
    TimedOut,
    /// A signal ended the wait.
    Signal(i32),
    /// As the command ended.
    Command(u8),
    /// As `pool` ended.
    Program(ExitCode),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unanswered => 4,
            Exit::Taken => 7,
            Exit::TimedOut => 11,
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Exit::Command(code) => code,
            Exit::Program(code) => return code,
        })
    }
}
