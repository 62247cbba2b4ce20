//! `heptapod-paas-runner-register`: a runner is made known to GitLab, and added to the configuration.
//!
//! Exit codes: 0 done, 1 it failed, 2 wrong options.

mod ask;
mod flags;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use gitlab::ApiUrl;
use gitlab::runner::{Coordinator, RegisterError};
use net::Route;
use paas::identity::Identity;
use paas::log::{Level, Log};
use paas::register::{self, EXECUTORS, NewRunner};
use terminal::chain;

use crate::resource;
use ask::Asker;
use flags::Flags;

/// What the tokens of runners begin with that were made on GitLab's pages.
const MADE_BEFORE: &str = "glrt-";

/// Runs it.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    let log = Log {
        least: flags.logging_level,
    };
    match resource::block_on(run(&flags, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log.say(Level::Error, &chain(err.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &Flags, log: Log) -> Result<()> {
    let path = &flags.config;
    let mut asker = Asker::new(log);
    // A link goes on to lead to the file.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let there = match fs::read_to_string(&target) {
        Ok(text) => Some(text),
        Err(err) if err.kind() == ErrorKind::NotFound => None,
        Err(err) => return Err(err).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let text = match there {
        Some(text) => text,
        None => {
            asker.tell("This is a brand new configuration file!\n\n")?;
            let given = flags.state_file_path.as_deref();
            let state_file = asker.text(given, STATE_FILE, "State file path: ")?;
            let concurrent = asker.count(flags.max_concurrency)?;
            let text = register::new_file(&state_file, concurrent);
            write(&target, &text)?;
            text
        }
    };
    let url = asker.text(flags.coordinator_url.as_deref(), URL, "URL: ")?;
    let name = asker.text(flags.name.as_deref(), NAME, "Please enter runner name: ")?;
    let token = asker.secret(flags.registration_token.as_deref())?;
    let executor = asker.executor(flags.executor.as_deref())?;
    let api = ApiUrl::of_home(&url).context("the URL of the coordinator")?;
    let mut route = Route::default();
    let proxies = resource::surroundings().proxies;
    route.proxy = proxies
        .proxy_for(api.url())
        .context("the proxy of the environment")?;
    if let Some(file) = &flags.tls_ca_file {
        let pem = fs::read_to_string(file);
        let pem = pem.with_context(|| format!("cannot read `{}`", file.display()))?;
        route.trust.certificates = Some(pem);
    }
    let coordinator = Coordinator::new(&api, &route)?;
    let token = match token.starts_with(MADE_BEFORE) {
        true => {
            let system_id = system_id(&text)?;
            coordinator
                .verify(&token, system_id.as_deref())
                .await
                .map(|()| token)
        }
        false => {
            let registered = coordinator.register(&token, &name, flags.active).await;
            registered.map(|token| token.expose().to_owned())
        }
    };
    let token = token.map_err(|err| match err {
        err @ RegisterError::Refused { .. } => anyhow::Error::new(err),
        err => anyhow::Error::new(err).context("Failed to register runner"),
    })?;
    let runner = NewRunner {
        name: &name,
        url: &url,
        token: &token,
        executor: &executor,
    };
    let text = register::add(&text, &runner)
        .with_context(|| format!("cannot add the runner to `{}`", path.display()))?;
    write(&target, &text)
}

const STATE_FILE: &str = "The state of the dispatcher is kept in this file while it does not run.";
const URL: &str = "The URL of the GitLab or Heptapod instance.";
const NAME: &str = "A name for the runner, for people.";

/// Writes the configuration, which has tokens in it.
fn write(path: &Path, text: &str) -> Result<()> {
    journal::replace(path, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// What tells the dispatcher of this configuration from others, if it is known where that is kept.
fn system_id(text: &str) -> Result<Option<String>> {
    let Some(state_file) = register::state_file_of(text).map(PathBuf::from) else {
        return Ok(None);
    };
    if state_file.is_relative() {
        // Relative to wherever the dispatcher will be started.
        return Ok(None);
    }
    let identity = Identity::beside(&state_file).with_context(|| {
        format!(
            "cannot keep the system id beside the state file `{}`",
            state_file.display()
        )
    })?;
    Ok(Some(identity.system_id()))
}

/// The executors, for people.
fn executors() -> String {
    EXECUTORS
        .map(|(name, label)| format!("- {name}: {label}\n"))
        .concat()
}
