//! What a shell offers while somebody types: commands, options, and the names of locks and pools as they are now.
//!
//! The script that a shell loads asks this program itself, by a variable. What is set in the environment or in a `pool.toml`
//! counts, and not the flags on the line that is being typed. Where names cannot be had, or not soon, none are offered.

use std::env;
use std::fs::File;
use std::io;
use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use pool::step::{Overview, Standing, Viewer};
use tokio::time::timeout;

use super::args::{Args, PlaceArgs};
use super::commands;
use super::settings::Scope;
use crate::resource;

/// By this variable a shell asks. It is not one of ours that people set.
const VARIABLE: &str = "_POOL_COMPLETE";

/// Whoever types does not wait for longer.
const LIMIT: Duration = Duration::from_secs(2);

/// Answers a shell that asks, and ends the program then.
pub fn answer() {
    if env::var_os(VARIABLE).is_none() {
        return;
    }
    // What is said would stand in the midst of what is being typed.
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(nothing);
    }
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .bin("pool")
        .complete();
}

/// The script that a shell loads.
///
/// # Errors
/// A shell that is not known.
pub fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or(io::ErrorKind::Unsupported)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "pool", "pool", "pool", &mut script)?;
    Ok(script)
}

/// The command line, with names for what is one.
fn command() -> Command {
    with_names(Args::command()).mut_subcommands(with_names)
}

fn with_names(command: Command) -> Command {
    let names_new_locks = matches!(command.get_name(), "add" | "init");
    command.mut_args(|arg| match arg.get_id().as_str() {
        "lock" | "locks" if !names_new_locks => arg.add(ArgValueCandidates::new(locks)),
        "pool" | "to" => arg.add(ArgValueCandidates::new(pools)),
        _ => arg,
    })
}

fn locks() -> Vec<CompletionCandidate> {
    let pools = overview(&Scope::OneOrAll).map(|overview| overview.pools);
    let locks = pools.into_iter().flatten().flat_map(|pool| pool.locks);
    locks
        .map(|lock| {
            let help = match lock.standing {
                Standing::Free => "free",
                _ => "held",
            };
            CompletionCandidate::new(lock.name.as_str()).help(Some(help.into()))
        })
        .collect()
}

fn pools() -> Vec<CompletionCandidate> {
    let pools = overview(&Scope::All).map(|overview| overview.pools);
    let pools = pools.into_iter().flatten();
    pools
        .map(|pool| CompletionCandidate::new(pool.name.as_str()))
        .collect()
}

/// The pools as they are, if that is to be had soon.
fn overview(scope: &Scope) -> Option<Overview> {
    let context = commands::context(&PlaceArgs::default(), scope, true).ok()?;
    let look = async {
        let (which, log) = (context.which.clone(), &mut io::sink());
        let mut viewer = Viewer::new(&context.source, which, &context.around, log)?;
        anyhow::Ok(viewer.look(&mut io::sink()).await?)
    };
    resource::block_on(async { timeout(LIMIT, look).await? }).ok()
}
