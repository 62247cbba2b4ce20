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
        git_settings: git_settings(),
        links: git::Links::default(),
    }
}

/// The files with Git's settings that hold for all repositories, as far as they may be there. `None` where something in the
/// environment changes what Git's programs do, so that they are to be asked.
///
/// Source: `git-config(1)`, "FILES" and "ENVIRONMENT".
fn git_settings() -> Option<Vec<PathBuf>> {
    const CHANGES: [&str; 5] = [
        "GIT_NAMESPACE",
        "GIT_EXEC_PATH",
        "GIT_TRACE",
        "GIT_TEST",
        "GIT_REF",
    ];
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names = names.filter(|name| name.starts_with("GIT_"));
    if names.any(|name| CHANGES.iter().any(|start| name.starts_with(start))) {
        return None;
    }
    let path = |name: &str| env::var_os(name).map(PathBuf::from);
    let given = |name: &str| path(name).filter(|path| !path.as_os_str().is_empty());
    let mut files = Vec::new();
    let is_left_out = env::var("GIT_CONFIG_NOSYSTEM").is_ok_and(|value| {
        let value = value.to_lowercase();
        matches!(&*value, "1" | "true" | "yes" | "on")
    });
    if !is_left_out {
        match path("GIT_CONFIG_SYSTEM") {
            Some(file) => files.push(file),
            None => files.extend(of_the_system()?),
        }
    }
    match path("GIT_CONFIG_GLOBAL") {
        Some(file) => files.push(file),
        None => {
            let home = given("HOME");
            let xdg = given("XDG_CONFIG_HOME");
            let xdg = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
            files.extend(xdg.map(|folder| folder.join("git/config")));
            files.extend(home.map(|home| home.join(".gitconfig")));
        }
    }
    Some(files)
}

/// The system's file with Git's settings: in `etc` beside the folder that the program is in, and in `/etc` for one of the system.
/// `None` where there is no such program.
fn of_the_system() -> Option<Vec<PathBuf>> {
    let folders = env::var_os("PATH")?;
    let program = env::split_paths(&folders)
        .map(|folder| folder.join("git"))
        .find(|program| program.is_file())?;
    let mut files = vec![PathBuf::from("/etc/gitconfig")];
    // It may be a link to where it really is.
    for program in [program.canonicalize().ok()?, program] {
        let beside = program.parent().and_then(std::path::Path::parent);
        files.extend(beside.map(|folder| folder.join("etc/gitconfig")));
    }
    Some(files)
}

/// The folder that Concourse gives as the only argument.
pub fn folder(program: &str) -> Result<PathBuf> {
    env::args_os()
        .nth(1)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .with_context(|| format!("usage: {program} DIRECTORY, with the request as JSON on stdin"))
}
