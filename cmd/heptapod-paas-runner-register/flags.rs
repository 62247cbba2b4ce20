//! The command line.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use paas::log::Level;
use paas::register::EXECUTORS;

use crate::heptapod_paas_runner::level;

/// Registers a runner with GitLab or Heptapod, and adds it to a configuration file; asks for what is not said.
///
/// With a token that begins with `glrt-`, of a runner that was made on GitLab's pages, it is checked that the token is good;
/// with any other a new runner is registered, paused unless `--active` is said. Exit codes: 0 done, 1 it failed, 2 wrong options.
#[derive(Debug, Parser)]
#[command(name = "heptapod-paas-runner-register", version)]
pub struct Flags {
    /// The configuration: a TOML file, which is made if there is none
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// The name of the runner
    #[arg(long)]
    pub name: Option<String>,
    /// The URL of the GitLab or Heptapod instance
    #[arg(short = 'c', long, value_name = "URL")]
    pub coordinator_url: Option<String>,
    /// The token: on the command line everybody on this machine can see it
    #[arg(short = 't', long, value_name = "TOKEN", hide_possible_values = true)]
    pub registration_token: Option<String>,
    /// What makes machines
    #[arg(short = 'e', long, value_parser = PossibleValuesParser::new(EXECUTORS.map(|(name, _)| name)))]
    pub executor: Option<String>,
    /// How many jobs there may be at once; only for a new file
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_concurrency: Option<i64>,
    /// Where the state is kept; only for a new file
    #[arg(long, value_name = "FILE")]
    pub state_file_path: Option<String>,
    /// The least important lines that are written: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "INFO", value_parser = level)]
    pub logging_level: Level,

    /// Let the new runner take jobs at once, and not only when somebody has enabled it
    #[arg(long, help_heading = NEWER)]
    pub active: bool,
    /// A file with certificates, as PEM, that the coordinator may have besides the system's
    #[arg(long, value_name = "FILE", help_heading = NEWER)]
    pub tls_ca_file: Option<PathBuf>,
}

const NEWER: &str = "Options that 0.5.0 does not have";
