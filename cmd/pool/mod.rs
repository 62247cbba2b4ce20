//! `pool`: the locks from a terminal, and from any CI.
//!
//! Exit codes: 0 done, 1 not now (held, none free, given up after a time), 2 error, 3 gave way in a circle, 4 superseded by a later build.

pub mod args;
pub(crate) mod commands;
pub mod completion;
mod examples;
pub(crate) mod holder;
pub mod moments;
pub(crate) mod output;
pub(crate) mod settings;
mod words;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::resource;

use args::Args;

/// Runs it.
pub fn main() -> ExitCode {
    completion::answer();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => return not_understood(&err),
    };
    let json = args.place.json;
    match resource::block_on(commands::run(args)) {
        Ok(code) => code,
        Err(err) => {
            let (kind, code) = match () {
                () if commands::is_not_now(&err) => ("not_now", 1),
                () if commands::gave_way(&err) => ("gave_way", 3),
                () if commands::is_superseded(&err) => ("superseded", 4),
                () => ("error", 2),
            };
            if json {
                // Not on the standard output: what reads an answer there must find none.
                resource::tell!("{}", output::error(&text(err.as_ref()), kind, code));
            } else {
                say_error(err.as_ref());
            }
            ExitCode::from(code)
        }
    }
}

/// Tells of arguments that are none; or what was asked for by `--help`, which comes this way too.
fn not_understood(err: &clap::Error) -> ExitCode {
    let ours = std::env::args_os().take_while(|arg| arg != "--");
    if err.use_stderr() && ours.into_iter().any(|arg| arg == "--json") {
        let text = err.to_string();
        let text = text.trim().trim_start_matches("error: ");
        resource::tell!("{}", output::error(text, "usage", 2));
        return ExitCode::from(2);
    }
    err.exit()
}

/// Tells people of an error.
pub(crate) fn say_error(err: &dyn Error) {
    resource::say_error(&text(err));
}

/// An error for people.
fn text(err: &dyn Error) -> String {
    words::ours(&terminal::chain(err))
}
