//! `pool completions`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::pool::args::CompletionsArgs;
use crate::pool::completion;

/// Prints a script for a shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let script = completion::script(args.shell)
        .with_context(|| format!("cannot make a script for {}", args.shell))?;
    super::say(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
