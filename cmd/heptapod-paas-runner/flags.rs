//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use paas::log::Level;

/// Acquires jobs from GitLab or Heptapod, makes a machine for each, watches it, and takes it away.
///
/// Exit codes: 0 it was asked to end (SIGTERM, SIGINT), or all cycles are over; 1 it could not begin, or could not leave its
/// state; 2 wrong options.
#[derive(Debug, Parser)]
#[command(name = "heptapod-paas-runner", version)]
pub struct Flags {
    /// The configuration: a TOML file
    #[arg(value_name = "RUNNER_CONFIG")]
    pub runner_config: PathBuf,
    /// Seconds between two requests for a job, where there was none; else `check_interval` of the configuration, or 3
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub poll_interval: Option<Duration>,
    /// Seconds between two looks at a job that runs; else `job_progress_poll_interval` of the configuration, or 30
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub job_progress_poll_interval: Option<Duration>,
    /// End after so many rounds of requests of each runner
    #[arg(long, value_name = "N")]
    pub poll_cycles: Option<u64>,
    /// Tell the state on SIGUSR1
    #[arg(long)]
    pub debug_signal: bool,
    /// The least important lines that are written: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "INFO", value_parser = level)]
    pub logging_level: Level,

    /// Where metrics can be had, such as 127.0.0.1:9252
    #[arg(long, value_name = "HOST:PORT", help_heading = NEWER)]
    pub metrics_address: Option<String>,
    /// Seconds that an orderly end may take
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds, help_heading = NEWER)]
    pub shutdown_timeout: Duration,
    /// Seconds of the first pause after a failure; pauses grow to twenty times that
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds, help_heading = NEWER)]
    pub first_pause: Duration,
    /// Seconds between two looks for machines that no job claims
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds, help_heading = NEWER)]
    pub sweep_interval: Duration,
}

const NEWER: &str = "Options that 0.5.0 does not have";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<f64>().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "it is a number of seconds, more than 0".to_owned())
}

pub fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| "it is DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned())
}
