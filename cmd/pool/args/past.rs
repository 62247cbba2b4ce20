//! What can be asked about the past.

use std::num::NonZeroUsize;

use clap::{Args as Group, ValueEnum};

use crate::pool::moments::{Time, time_or_age};

/// What a log shows.
#[derive(Group, Debug)]
pub struct LogArgs {
    /// Only these locks
    pub locks: Vec<String>,
    /// Only this lock; may be given several times
    #[arg(long = "lock", value_name = "LOCK")]
    pub more_locks: Vec<String>,
    /// Every pool on the branch, as without a configured pool
    #[arg(long)]
    pub all: bool,
    /// Only claims that are not older than this, such as 7d, or not older than a time, such as 2026-11-27T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub since: Option<Time>,
    /// Only claims that were made by then
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub until: Option<Time>,
    /// Only holders with this text in their name
    #[arg(long, value_name = "TEXT")]
    pub by: Option<String>,
    /// At most so many, the newest; with `--since` all, unless it is given
    #[arg(short = 'n', long = "number", value_name = "N")]
    pub number: Option<NonZeroUsize>,
}

/// The form of an answer.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people
    Table,
    /// JSON
    Json,
    /// Comma-separated values
    Csv,
}

/// What belongs into one row.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// A row for each pool
    Pool,
    /// A row for each lock
    Lock,
    /// A row for each pipeline, or holder
    Pipeline,
    /// A row for each day, in UTC
    Day,
}

/// What figures tell.
#[derive(Group, Debug)]
pub struct StatsArgs {
    /// What a row is about
    #[arg(long, value_name = "WHAT", default_value = "pool")]
    pub by: Rows,
    /// Every pool on the branch, as without a configured pool
    #[arg(long)]
    pub all: bool,
    /// From when on: an age, such as 7d, or a time, such as 2026-11-27T10:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time_or_age)]
    pub since: Time,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub until: Option<Time>,
    /// The form of the answer
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: Form,
}

/// Who goes first in a simulation.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesFirst {
    /// Who came first
    Arrival,
    /// Who came last
    Newest,
    /// Anybody
    Any,
}

/// What is played once more.
#[derive(Group, Debug)]
pub struct SimulateArgs {
    /// How many locks: 5, or more or fewer than there are, as +1, -1 or +0; may be given several times
    /// [default: -1 +0 +1 +2 +3]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub locks: Vec<String>,
    /// Who goes first, of those of the same priority
    #[arg(long, value_name = "RULE", default_value = "arrival")]
    pub order: GoesFirst,
    /// Give holders with this text in their name this priority; may be given several times, the first that fits counts
    #[arg(long, value_name = "TEXT=N")]
    pub priority: Vec<String>,
    /// Let no priority count
    #[arg(long, conflicts_with = "priority")]
    pub no_priorities: bool,
    /// From when on: an age, such as 7d, or a time, such as 2026-11-27T10:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time_or_age)]
    pub since: Time,
    /// The form of the answer
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: Form,
}
