//! What the programs have in common: their surroundings, and how they end.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use net::Proxies;
use pool::concourse::Build;
use pool::step::{StepError, Surroundings};
use terminal::Paint;
use terminal::chain;
use tokio_util::sync::CancellationToken;

/// Tells people something. Unlike `eprintln!` it does not end us, who may hold a lock, when nobody listens any more.
macro_rules! tell {
    ($($text:tt)*) => {
        terminal::say(&mut std::io::stderr(), format_args!($($text)*))
    };
}
pub(crate) use tell;

/// Runs a step to its end and makes an exit code of it; people read the error, one line for each cause of its own.
pub fn run(step: impl Future<Output = Result<()>>) -> ExitCode {
    match block_on(step) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            match err.downcast_ref::<StepError>() {
                Some(abort) if abort.is_abort() => tell!("{abort}"),
                _ => say_error(&chain(err.as_ref())),
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs something to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    net::keep_to_built_in_services();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(work);
    // A thread that is stuck in a system call (an answer that nobody takes, a name that is looked up) cannot be stopped,
    // and must not keep us from ending.
    runtime.shutdown_background();
    result
}

/// Tells people of an error.
pub fn say_error(text: &str) {
    for line in text.lines() {
        tell!("error: {line}");
    }
}

/// Gives what is cancelled by the first signal that asks for an end.
pub fn stop_on_signals() -> Result<CancellationToken> {
    child::stop_on_signals().context("cannot listen for signals")
}

/// Reads what a step has to know from the environment.
pub fn surroundings() -> Surroundings {
    let get = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    // A server of the web's old kind can be told `HTTP_PROXY` by its clients, so that programs came to read it in lower
    // case; both are in use.
    let proxy = |name: &str| {
        get(&name.to_lowercase())
            .or_else(|| get(name))
            .unwrap_or_default()
    };
    Surroundings {
        // An empty TMPDIR counts as none.
        temporary: env::var_os("TMPDIR")
            .filter(|dir| !dir.is_empty())
            .map_or(PathBuf::from("/tmp"), PathBuf::from),
        build: Build::from_env(|name| env::var(name).ok()),
        home: env::var_os("HOME")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from),
        met_hosts: None,
        ssh_agent: env::var_os("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        // Concourse shows them; whoever does not want them says so. See no-color.org.
        paint: match get("NO_COLOR") {
            Some(_) => Paint::Plain,
            None => Paint::Colours,
        },
        proxies: Proxies {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            all: proxy("ALL_PROXY"),
            no: proxy("NO_PROXY"),
        },
        links: git::Links::default(),
    }
}

/// The folder that Concourse gives as the only argument.
pub fn folder(program: &str) -> Result<PathBuf> {
    env::args_os()
        .nth(1)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .with_context(|| format!("usage: {program} DIRECTORY, with the request as JSON on stdin"))
}
