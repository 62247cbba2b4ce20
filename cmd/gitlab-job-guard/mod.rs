//! `gitlab-job-guard`: a job of a GitLab pipeline waits until its turn has come.
//!
//! Exit codes: 0 it is our turn, 2 wrong settings, 3 refused, 4 no usable answer in time, 7 somebody is in the way and we
//! were not to wait, 11 timed out; with a command that of the command.

mod command;
mod exclusive;
mod exit;
mod flags;
mod news;
mod terms;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use guard::wait::{End, wait};

use crate::pool::say_error;
use crate::resource;

use exit::Exit;
use flags::Flags;
use news::Log;
use terms::TermsError;

/// Runs it.
pub fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let args = match flags::complete(std::env::args_os(), &env) {
        Ok(args) => args,
        Err(err) => return usage(&err.to_string()),
    };
    let flags = Flags::parse_from(args);
    match resource::block_on(run(&flags, &env)) {
        Ok(exit) => exit.into(),
        Err(err) if err.is::<TermsError>() => usage(&err.to_string()),
        Err(err) => {
            say_error(err.as_ref());
            Exit::Usage.into()
        }
    }
}

fn usage(text: &str) -> ExitCode {
    resource::tell!("usage: gitlab-job-guard [OPTIONS] [-- COMMAND...]");
    resource::tell!("gitlab-job-guard: error: {text}");
    resource::tell!("See `gitlab-job-guard --help`.");
    Exit::Usage.into()
}

async fn run(flags: &Flags, env: &impl Fn(&str) -> Option<String>) -> Result<Exit> {
    let log = Log::new(flags);
    if flags.lock_uri.is_some() {
        return exclusive::run(flags, env, &log).await;
    }
    let around = resource::surroundings();
    let mut notes = Vec::new();
    let plan = terms::read(flags, env, &around.proxies, &mut |text| {
        notes.push(text.to_owned())
    })?;
    for note in notes {
        log.note(&note);
    }
    let (mut eyes, terms) = (plan.eyes, plan.terms);
    let end = wait(&mut eyes, &terms, &mut |news| log.tell(&news)).await;
    // Its connections are not kept while a command runs.
    drop(eyes);
    Ok(match end {
        End::Free if flags.command.is_empty() => Exit::Done,
        End::Free => Exit::Command(command::run(&flags.command).await?),
        End::Taken(conflicts) => {
            log.taken(&conflicts);
            Exit::Taken
        }
        End::TimedOut {
            after,
            saw_conflicts,
        } => {
            let after = after.as_secs();
            log.error(&format!(
                "Timeout reached after {after} seconds, giving up ..."
            ));
            match saw_conflicts {
                true => Exit::TimedOut,
                false => Exit::Unanswered,
            }
        }
        End::Refused(err) => {
            log.error(&terminal::chain(&err));
            Exit::Refused
        }
    })
}
