//! What it takes to verify a claim.

use std::ffi::OsString;

use clap::Args as Group;

use super::OnLost;

/// What a verification needs.
#[derive(Group, Debug)]
pub struct VerifyArgs {
    /// The locks that the claim must hold; without one, all that it took
    #[arg(value_name = "LOCK")]
    pub locks: Vec<String>,
    /// The claim [env: POOL_CLAIM]
    #[arg(long, value_name = "ID")]
    pub claim: Option<String>,
    /// What to do when the claim ends while the command runs
    #[arg(long, value_name = "WHAT", default_value = "tell")]
    pub on_lost: OnLost,
    /// Let the command inherit the credentials in the environment, such as POOL_PASSWORD; else it does not
    #[arg(long)]
    pub pass_credentials: bool,
    /// The exit code when the claim does not stand
    #[arg(short = 'E', long, value_name = "N", default_value_t = 3)]
    pub ended_exit_code: u8,
    /// The command
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
