//! `heptapod-paas-runner`: a machine for each job of a GitLab runner.
//!
//! Exit codes: 0 it was asked to end, or all rounds are over; 1 it could not begin, or could not leave its state; 2 wrong
//! options. Lines of the log go to stderr.

mod flags;

pub(crate) use flags::level;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use child::Listener;
use clap::Parser;
use paas::config::Config;
use paas::dispatcher::{self, Settings};
use paas::log::{Level, Log};

use crate::resource;
use flags::Flags;

/// The default of the original, in seconds, and that of how jobs are asked for.
const POLL_INTERVAL: Duration = Duration::from_secs(3);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// Runs it.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    let log = Log {
        least: flags.logging_level,
    };
    match resource::block_on(run(flags, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log.say(Level::Critical, &terminal::chain(err.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags, log: Log) -> Result<()> {
    // Whatever is sent from now on is heard.
    let signals = Listener::of_server().context("cannot listen for signals")?;
    let path = flags.runner_config.display();
    let text = fs::read_to_string(&flags.runner_config)
        .with_context(|| format!("cannot read the configuration `{path}`"))?;
    let docker_host = std::env::var("DOCKER_HOST").ok();
    let config = Config::read(&text, docker_host.as_deref())
        .with_context(|| format!("the configuration `{path}` cannot be used"))?;
    drop(text);
    child::raise_open_files();
    let interval = |option: Option<Duration>, key: Option<Duration>, default| {
        option.or(key).unwrap_or(default)
    };
    let settings = Settings {
        poll_interval: interval(flags.poll_interval, config.check_interval, POLL_INTERVAL),
        progress_interval: interval(
            flags.job_progress_poll_interval,
            config.progress_interval,
            PROGRESS_INTERVAL,
        ),
        config,
        poll_cycles: flags.poll_cycles,
        first_pause: flags.first_pause,
        shutdown_limit: flags.shutdown_timeout,
        sweep_interval: flags.sweep_interval,
        tells_on_signal: flags.debug_signal,
        metrics: flags.metrics_address,
        proxies: resource::surroundings().proxies,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log,
    };
    dispatcher::run(settings, signals).await?;
    Ok(())
}
