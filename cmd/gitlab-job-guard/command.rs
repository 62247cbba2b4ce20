//! A command that runs when it is our turn.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result};
use child::{Environment, Listener};

use crate::resource::tell;

/// Runs a command, to which signals go on, and gives its exit code; 127 if there is none, 126 if it cannot be started.
pub async fn run(words: &[OsString]) -> Result<u8> {
    let mut signals = Listener::new().context("cannot listen for signals")?;
    let (program, rest) = words.split_first().context("there is no command")?;
    let as_ours = Environment {
        set: &[],
        removed: &[],
    };
    let (mut command, recipient) = match child::start(program, rest, &as_ours) {
        Ok(started) => started,
        Err(err) => {
            tell!("error: cannot start `{}`: {err}", program.to_string_lossy());
            return Ok(if err.kind() == ErrorKind::NotFound {
                127
            } else {
                126
            });
        }
    };
    let status = loop {
        tokio::select! {
            biased;
            status = command.wait() => break status.context("cannot wait for the command")?,
            signal = signals.next() => recipient.pass_on(&command, &signal),
        }
    };
    let by_signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(by_signal).unwrap_or(2);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
