//! `pool completions`.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::pool::args::{Args, CompletionsArgs};

/// Prints a script for a shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "pool", &mut script);
    super::say(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
