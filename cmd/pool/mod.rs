//! `pool`: the locks from a terminal, and from any CI.
//!
//! Exit codes: 0 done, 1 not now (held, none free, given up after a time), 2 error.

pub mod args;
pub(crate) mod commands;
pub(crate) mod holder;
pub(crate) mod output;
pub(crate) mod settings;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::resource;

use args::Args;

/// Runs it.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match resource::block_on(commands::run(args)) {
        Ok(code) => code,
        Err(err) => {
            say_error(err.as_ref());
            if commands::is_not_now(&err) {
                ExitCode::from(1)
            } else {
                ExitCode::from(2)
            }
        }
    }
}

/// Tells people of an error. The library names a setting as a pipeline has it, below `source`.
pub(crate) fn say_error(err: &dyn Error) {
    resource::say_error(&terminal::chain(err).replace("`source.", "`"));
}
