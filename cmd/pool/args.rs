//! What can be said on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand};

/// Locks in a Git repository: claim one, hold it, give it back, and see who holds what.
#[derive(Parser, Debug)]
#[command(name = "pool", version)]
pub struct Args {
    /// Where the locks are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the locks are, and how to speak of them.
#[derive(Group, Debug, Clone, Default)]
#[command(next_help_heading = "Where the locks are")]
pub struct PlaceArgs {
    /// The Git repository; without any setting a repository of your own on this machine [env: POOL_URI]
    #[arg(long, global = true, value_name = "URI")]
    pub uri: Option<String>,
    /// The branch in it [env: POOL_BRANCH]
    #[arg(long, global = true, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// The pool, a folder on that branch [env: POOL_NAME]
    #[arg(long, global = true, value_name = "POOL")]
    pub pool: Option<String>,
    /// Settings as TOML; else `pool.toml` in this folder, then in the user's configuration [env: POOL_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who you are, as others see it; else a CI's build, or user and machine [env: POOL_HOLDER]
    #[arg(long, global = true, value_name = "TEXT")]
    pub holder: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Claim any free locks that will do, waiting until there are enough
    Acquire(AcquireArgs),
    /// Claim one lock by its name, waiting until it is free
    Claim(ClaimArgs),
    /// Show each lock: free or held, by whom, since when; and who waits for what
    Status(StatusArgs),
    /// Show who held what, from when to when, and how it ended; the newest first
    Log(LogArgs),
    /// Check that everything is in order: settings, server, rights, pools, clock
    Doctor(DoctorArgs),
}

/// What a log shows.
#[derive(Group, Debug)]
pub struct LogArgs {
    /// Only these locks
    pub locks: Vec<String>,
    /// Every pool on the branch, as without a configured pool
    #[arg(long)]
    pub all: bool,
    /// Only claims that are not older than this, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Only holders with this text in their name
    #[arg(long, value_name = "TEXT")]
    pub by: Option<String>,
    /// At most so many, the newest; with `--since` all, unless it is given
    #[arg(short = 'n', long = "number", value_name = "N")]
    pub number: Option<NonZeroUsize>,
}

/// What a doctor does.
#[derive(Group, Debug)]
pub struct DoctorArgs {
    /// Find out as well whether the branch may be pushed to, by a commit that changes nothing
    #[arg(long)]
    pub push: bool,
}

/// What a status shows.
#[derive(Group, Debug)]
pub struct StatusArgs {
    /// Only these locks
    pub locks: Vec<String>,
    /// Every pool on the branch, as without a configured pool
    #[arg(long)]
    pub all: bool,
    /// Go on looking, every two seconds: on a terminal drawn anew, else printed when something has changed
    #[arg(long)]
    pub watch: bool,
}

/// What an acquire needs.
#[derive(Group, Debug)]
pub struct AcquireArgs {
    /// Only locks whose metadata says so: KEY=VALUE, with dots in KEY for what is nested
    #[arg(long = "match", value_name = "KEY=VALUE")]
    pub conditions: Vec<String>,
    /// How many, all of them or none
    #[arg(long, default_value = "1", value_name = "N")]
    pub count: NonZeroUsize,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What a claim needs.
#[derive(Group, Debug)]
pub struct ClaimArgs {
    /// The lock
    pub lock: String,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How to wait.
#[derive(Group, Debug, Clone, Default)]
pub struct WaitArgs {
    /// Give up after this time, such as 30m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Give up at once
    #[arg(long = "try", conflicts_with = "timeout")]
    pub try_once: bool,
    /// Higher goes first; from -1000 to 1000
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub priority: i32,
}
