//! The commands, each in a module of its own, and what they have in common.

mod acquire;
mod doctor;
mod log;
mod status;

use std::process::ExitCode;

use anyhow::{Error, Result};
use pool_resource::attempt::AttemptError;
use pool_resource::concourse::Source;
use pool_resource::message::Origin;
use pool_resource::step::{StepError, Surroundings, Which};

use crate::args::{Args, Command, PlaceArgs, WaitArgs};
use crate::{holder, resource, settings};

/// What every command works with.
pub struct Context {
    /// Where the locks are.
    pub source: Source,
    /// Who we are.
    pub origin: Origin,
    /// What is around.
    pub around: Surroundings,
    /// Whether to answer in JSON.
    pub json: bool,
}

/// Carries out a command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let context = |place: &PlaceArgs| context(place);
    match args.command {
        Command::Acquire(given) => acquire::acquire(&context(&args.place)?, &given).await,
        Command::Claim(given) => acquire::claim(&context(&args.place)?, &given).await,
        Command::Status(given) => {
            let (context, which) = of_one_or_all(&args.place, given.all)?;
            status::status(&context, which, &given).await
        }
        Command::Log(given) => {
            let (context, which) = of_one_or_all(&args.place, given.all)?;
            log::log(&context, which, &given).await
        }
        Command::Doctor(given) => doctor::doctor(&args.place, &given).await,
    }
}

/// Whether an error only says that it cannot be had now.
pub fn is_not_now(err: &Error) -> bool {
    matches!(err.downcast_ref(), Some(StepError::Attempt(err)) if matches!(**err, AttemptError::TimedOut { .. }))
}

fn context(place: &PlaceArgs) -> Result<Context> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(Context {
        source: settings::source(place, &env)?,
        origin: holder::origin(place.holder.as_deref(), &env),
        around: resource::surroundings(),
        json: place.json,
    })
}

/// The context of a command that can be about all pools: about all if that is asked for, or no pool is set.
fn of_one_or_all(place: &PlaceArgs, all: bool) -> Result<(Context, Which)> {
    let any = PlaceArgs {
        pool: Some("any".to_owned()),
        ..place.clone()
    };
    if all {
        return Ok((context(&any)?, Which::All));
    }
    match (context(place), &place.pool) {
        (Ok(context), _) => Ok((context, Which::One)),
        (Err(err), Some(_)) => Err(err),
        // If it is only the pool that is missing.
        (Err(err), None) => match context(&any) {
            Ok(context) => Ok((context, Which::All)),
            Err(_) => Err(err),
        },
    }
}

impl WaitArgs {
    /// How long to wait: zero for not at all, `None` for as long as it takes.
    pub fn patience(&self) -> Option<std::time::Duration> {
        if self.try_once {
            Some(std::time::Duration::ZERO)
        } else {
            self.timeout
        }
    }
}
