//! `prunner`: pipelines of tasks, started over HTTP.
//!
//! Exit codes: 0 it was ended and nothing runs any more; 1 anything else. Lines of the log go to stderr.

mod flags;
mod locks;
mod reload;
mod secret;
mod server;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use pipelines::log::{Level, Log};
use pipelines::token::{LINK, USE};
use pipelines::value::{Number, Value};

use crate::resource;
use flags::{Command, Flags, Settings};

/// For how long a link that signs in is good: it may stay in the history of a browser.
const LINK_SECONDS: i64 = 600;

/// The word by which the server starts itself for a task.
const SUPERVISE: &str = "supervise";

/// Runs it.
pub fn main() -> ExitCode {
    if let Some(shell) = shell_to_supervise() {
        return match child::supervise(&shell) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let args = flags::with_two_dashes(std::env::args_os());
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(err) => return usage(&err),
    };
    let log = Log {
        least: if flags.settings.verbose {
            Level::Debug
        } else {
            Level::Info
        },
    };
    let done = match flags.command {
        Some(Command::Version) => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Some(Command::Debug) => debug(&flags.settings, log),
        Some(Command::Prune) => server::prune(&flags.settings, log),
        None | Some(Command::Other(_)) => resource::block_on(server::run(flags.settings, log)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log.say(
                Level::Fatal,
                &format!("Error: {}", terminal::chain(err.as_ref())),
                &[],
            );
            ExitCode::FAILURE
        }
    }
}

/// The shell, where the server has started itself for a task. That happens for each one: it is not worth a reader of options.
fn shell_to_supervise() -> Option<Vec<OsString>> {
    let mut args = std::env::args_os().skip(1);
    let is_so = args.next().is_some_and(|word| word == SUPERVISE);
    is_so.then(|| args.collect())
}

/// As the original: on stdout, and 1 for what is wrong.
fn usage(err: &clap::Error) -> ExitCode {
    let is_help = !err.use_stderr();
    let _ = print(&err.render().to_string());
    match is_help {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to stdout")
}

fn debug(settings: &Settings, log: Log) -> Result<()> {
    let secret = secret::find(settings, log)?;
    let now = pipelines::job::Time::now().0.div_euclid(1000);
    let time = |seconds: i64| Value::Number(Number::whole(i128::from(seconds)));
    let token = secret.sign(&[("iat".to_owned(), time(now))].into());
    let is_minimal = std::env::var("MINIMAL_OUTPUT").is_ok_and(|value| value == "1");
    match is_minimal {
        true => print(&format!("Bearer {token}")),
        false => {
            log.info(
                &format!("Send this header: Authorization: Bearer {token}"),
                &[],
            );
            let claims = [
                ("iat".to_owned(), time(now)),
                ("exp".to_owned(), time(now + LINK_SECONDS)),
                (USE.to_owned(), Value::Text(LINK.to_owned())),
            ];
            let place = server::shown_address(&settings.address);
            let token = secret.sign(&claims.into());
            log.info(
                &format!(
                    "Or sign in here, within 10 minutes: http://{place}/ui/sign-in?token={token}"
                ),
                &[],
            );
            Ok(())
        }
    }
}

/// How supervisors of tasks are started: by the program itself, whatever has become of its file.
fn supervisors() -> child::Supervisors {
    let args = [SUPERVISE, pipelines::work::SHELL].map(OsString::from);
    child::Supervisors::new("/proc/self/exe".into(), "prunner", args.to_vec())
}
