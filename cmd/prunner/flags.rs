//! The command line, and the variables that stand for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use pipelines::token::Secret;

/// Runs the tasks of pipelines.yml files, on request over HTTP.
#[derive(Debug, Parser)]
#[command(
    name = "prunner",
    version,
    disable_version_flag = true,
    allow_external_subcommands = true
)]
pub struct Flags {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Args)]
pub struct Settings {
    /// Tell more
    #[arg(long, short, global = true, env = "PRUNNER_VERBOSE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = flag)]
    pub verbose: bool,
    /// Means nothing; for those who are used to it
    #[arg(long, global = true, env = "PRUNNER_ENABLE_PROFILING", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = flag)]
    pub enable_profiling: bool,
    /// Means nothing; for those who are used to it
    #[arg(long, global = true, env = "PRUNNER_DISABLE_ANSI", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = flag)]
    pub disable_ansi: bool,
    /// File with the secret of tokens; it is made if there is none
    #[arg(
        long,
        global = true,
        env = "PRUNNER_CONFIG",
        value_name = "FILE",
        default_value = ".prunner.yml"
    )]
    pub config: PathBuf,
    /// Secret of tokens, at least 16 characters, instead of that file
    #[arg(long, global = true, env = "PRUNNER_JWT_SECRET", value_name = "SECRET", hide_env_values = true, value_parser = secret)]
    pub jwt_secret: Option<Hidden>,
    /// Folder for jobs and logs
    #[arg(
        long,
        global = true,
        env = "PRUNNER_DATA",
        value_name = "FOLDER",
        default_value = ".prunner"
    )]
    pub data: PathBuf,
    /// Which files below the path define pipelines
    #[arg(
        long,
        global = true,
        env = "PRUNNER_PATTERN",
        value_name = "GLOB",
        default_value = "**/pipelines.{yml,yaml}"
    )]
    pub pattern: String,
    /// Folder with definitions
    #[arg(
        long,
        global = true,
        env = "PRUNNER_PATH",
        value_name = "FOLDER",
        default_value = "."
    )]
    pub path: PathBuf,
    /// Where to listen
    #[arg(
        long,
        global = true,
        env = "PRUNNER_ADDRESS",
        value_name = "HOST:PORT",
        default_value = "localhost:9009"
    )]
    pub address: String,
    /// Files with environment variables; the first one empty for none
    #[arg(long, global = true, env = "PRUNNER_ENV_FILES", value_name = "FILES", value_delimiter = ',', default_values = [".env", ".env.local"])]
    pub env_files: Vec<String>,
    /// Look for new definitions again and again
    #[arg(long, global = true, env = "PRUNNER_WATCH", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = flag)]
    pub watch: bool,
    /// How often
    #[arg(long, global = true, env = "PRUNNER_POLL_INTERVAL", value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub poll_interval: Duration,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a header line with a token, and a link that signs in to the page
    Debug,
    /// Print the version
    Version,
    /// Forget the jobs of pipelines that are not defined, and their logs
    Prune,
    /// A word that is none starts the server, as it always did
    #[command(external_subcommand)]
    #[allow(dead_code, reason = "what it says counts for nothing")]
    Other(Vec<OsString>),
}

/// A secret that is in no message.
#[derive(Clone)]
pub struct Hidden(pub Secret);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

// What is too short is told by the program, not with the usage: a message of the parser would show it.
fn secret(text: &str) -> Result<Hidden, String> {
    Ok(Hidden(Secret::new(text)))
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "" | "0" | "f" | "false" => Ok(false),
        _ => Err("it is `true` or `false`".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match pace::duration::parse(text) {
        Ok(time) if time.is_zero() => Err("it has to be more than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(err) => Err(err.to_string()),
    }
}

/// Arguments with two dashes where the original takes one: `-address` is `--address`.
pub fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    args.enumerate()
        .map(|(at, arg)| match arg.to_str() {
            Some("-version") => "version".into(),
            Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
                format!("-{text}").into()
            }
            // Elsewhere it may be the value of an option.
            Some("h") if at == 1 => "help".into(),
            _ => arg,
        })
        .collect()
}
