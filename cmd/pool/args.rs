//! What can be said on the command line.

mod past;
mod verify;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
pub use past::{Form, GoesFirst, LogArgs, Rows, SimulateArgs, StatsArgs};
pub use verify::VerifyArgs;

use super::examples;
use super::moments::{MomentGiven, moment};

/// Locks in a Git repository: claim one, hold it, give it back, and see who holds what.
///
/// Exit codes: 0 done, 1 not now (held, none free, given up after a time), 2 error, 3 gave way in a circle of those who wait
/// for each other, 4 superseded by a later build of the same job. `run` and `verify` have that of their command; `verify` has
/// 3 for a claim that does not stand.
#[derive(Parser, Debug)]
#[command(name = "pool", version, after_help = examples::POOL)]
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
    /// The Git repository; if nothing at all is set, a repository of your own on this machine [env: POOL_URI]
    #[arg(long, global = true, value_name = "URI")]
    pub uri: Option<String>,
    /// The branch in it; else `main` [env: POOL_BRANCH]
    #[arg(long, global = true, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// The pool, a folder on that branch [env: POOL_NAME]
    #[arg(long, global = true, value_name = "POOL")]
    pub pool: Option<String>,
    /// Settings as TOML; else `pool.toml` in this folder or above, then in the user's configuration [env: POOL_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who you are, as others see it; else a CI's build, or user and machine [env: POOL_HOLDER]
    #[arg(long, global = true, value_name = "TEXT")]
    pub holder: Option<String>,
    /// A file with the private SSH key that signs your commits [env: POOL_SIGNING_KEY_FILE, POOL_SIGNING_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a command while holding locks: wait for them, run it, give them back whatever happens
    #[command(after_help = examples::RUN)]
    Run(RunArgs),
    /// Claim any free locks that will do, waiting until there are enough
    #[command(after_help = examples::ACQUIRE)]
    Acquire(AcquireArgs),
    /// Claim locks by their names, all of them or none, waiting until they are free
    #[command(after_help = examples::CLAIM)]
    Claim(ClaimArgs),
    /// Show each lock: free or held, by whom, since when; and who waits for what
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Print the metadata of a lock, as it is
    #[command(after_help = examples::SHOW)]
    Show(ShowArgs),
    /// Show who held what, from when to when, and how it ended; the newest first
    #[command(after_help = examples::LOG)]
    Log(LogArgs),
    /// Show how much locks are used, and how long they are waited for and held
    #[command(after_help = examples::STATS)]
    Stats(StatsArgs),
    /// Tell how long the waits of the past would have been with more or fewer locks, or in another order
    #[command(after_help = examples::SIMULATE)]
    Simulate(SimulateArgs),
    /// Check that everything is in order: settings, server, rights, pools, clock
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Give locks back: your own, by the name of their holder or by the id of their claim
    #[command(after_help = examples::RELEASE)]
    Release(ReleaseArgs),
    /// Begin the lease of a claim of yours anew
    #[command(after_help = examples::RENEW)]
    Renew(RenewArgs),
    /// Find out whether a claim stands, and run a command only while it does
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Make the branch, the pool and locks in it, as far as they are not there yet
    #[command(after_help = examples::INIT)]
    Init(InitArgs),
    /// Put a new lock into the pool
    #[command(after_help = examples::ADD)]
    Add(AddArgs),
    /// Take a lock that you hold out of the pool
    #[command(after_help = examples::REMOVE)]
    Remove(RemoveArgs),
    /// Give a free lock new metadata, waiting while it is held; or one that you hold
    #[command(after_help = examples::UPDATE)]
    Update(UpdateArgs),
    /// Take a free lock to another pool
    #[command(after_help = examples::MOVE)]
    Move(MoveArgs),
    /// Free a lock that somebody else holds, saying why
    #[command(after_help = examples::UNLOCK)]
    Unlock(UnlockArgs),
    /// Free the locks that nobody will give back any more
    #[command(after_help = examples::REAP)]
    Reap(ReapArgs),
    /// Show the pools as web pages, and as metrics for Prometheus, to whoever asks
    #[command(after_help = examples::SERVE)]
    Serve(ServeArgs),
    /// Print a script that completes this command line in a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
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
    /// Only what you hold, and the lines that you wait in
    #[arg(long)]
    pub mine: bool,
    /// As it was at a time, so long ago, or after a commit, such as 2026-11-27T10:00:00Z, 2h or 3f2a9c1
    #[arg(long, value_name = "TIME|COMMIT", value_parser = moment, conflicts_with = "watch")]
    pub at: Option<MomentGiven>,
    /// Go on looking, every two seconds: on a terminal drawn anew, else printed when something has changed
    #[arg(long)]
    pub watch: bool,
}

/// What an acquire needs.
#[derive(Group, Debug)]
pub struct AcquireArgs {
    /// What is wanted.
    #[command(flatten)]
    pub want: WantArgs,
    /// How long the claim may go unrenewed before `pool reap` frees it, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub lease: Option<Duration>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Which locks are wanted, where it is not by name.
#[derive(Group, Debug)]
pub struct WantArgs {
    /// Only locks whose metadata says so: KEY=VALUE, with dots in KEY for what is nested; or an expression in braces, such as
    /// '{region: [eu, us], any_of: [env-1, {gpu: true}]}'
    #[arg(long = "match", value_name = "KEY=VALUE|{...}")]
    pub conditions: Vec<String>,
    /// How many, all of them or none; `all` for every lock of the pool that will do [default: 1]
    #[arg(long, value_name = "N|all")]
    pub count: Option<Count>,
}

/// How many locks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Some(NonZeroUsize),
    /// Every one.
    All,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        let number = || text.parse().map(Count::Some);
        let expected = |_| "it must be a whole number from 1 on, or `all`".to_owned();
        match text {
            "all" => Ok(Count::All),
            _ => number().map_err(expected),
        }
    }
}

/// What a claim needs.
#[derive(Group, Debug)]
pub struct ClaimArgs {
    /// The locks, all of them in one claim; POOL/LOCK is one of another pool
    #[arg(value_name = "LOCK", required = true)]
    pub locks: Vec<String>,
    /// Why you hold it, for instance because it is out of service; others see it in `status` and while they wait
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long the claim may go unrenewed before `pool reap` frees it, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub lease: Option<Duration>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How to wait.
#[derive(Group, Debug, Clone, Default)]
pub struct WaitArgs {
    /// Give up after this time, such as 30m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Give up at once
    #[arg(long = "try", conflicts_with = "timeout")]
    pub try_once: bool,
    /// Higher goes first; from -1000 to 1000
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub priority: i32,
    /// What to do when you wait in a circle, with others who wait for what you hold
    #[arg(long, value_name = "WHAT", default_value = "tell")]
    pub on_deadlock: OnDeadlock,
    /// In which order those who wait are served [env: POOL_ORDER] [default: arrival]
    #[arg(long, value_name = "ORDER")]
    pub order: Option<Order>,
}

/// In which order those who wait are served.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// That of their arrival
    Arrival,
    /// The same; but of the builds of one job the latest alone waits, and the others leave with the exit code 4
    Newest,
    /// None: whoever looks first is served first
    Any,
}

impl From<Order> for pool::line::Order {
    fn from(order: Order) -> pool::line::Order {
        match order {
            Order::Arrival => pool::line::Order::Arrival,
            Order::Newest => pool::line::Order::Newest,
            Order::Any => pool::line::Order::Any,
        }
    }
}

/// What to do in a circle of those who wait for each other.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDeadlock {
    /// Say so, and wait on
    #[default]
    Tell,
    /// Give way as the youngest: nothing is claimed, and the exit code is 3
    Fail,
}

impl From<OnDeadlock> for pool::line::OnDeadlock {
    fn from(what: OnDeadlock) -> pool::line::OnDeadlock {
        match what {
            OnDeadlock::Tell => pool::line::OnDeadlock::Tell,
            OnDeadlock::Fail => pool::line::OnDeadlock::Fail,
        }
    }
}

/// What a run needs.
#[derive(Group, Debug)]
pub struct RunArgs {
    /// The locks, all of them in one claim; POOL/LOCK is one of another pool. Without one any that will do
    #[arg(value_name = "LOCK", conflicts_with_all = ["conditions", "count"])]
    pub locks: Vec<String>,
    /// What is wanted.
    #[command(flatten)]
    pub want: WantArgs,
    /// How long the claim may go unrenewed before `pool reap` frees it; it is renewed while the command runs
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub lease: Duration,
    /// What to do when the claim is taken away while the command runs
    #[arg(long, value_name = "WHAT", default_value = "tell")]
    pub on_lost: OnLost,
    /// Give the locks back when the command ends, though processes that it has started go on
    #[arg(short = 'o', long)]
    pub close: bool,
    /// Let the command inherit the credentials in the environment, such as POOL_PASSWORD; else it does not
    #[arg(long)]
    pub pass_credentials: bool,
    /// The exit code when the locks are not to be had in time [default: 1]
    #[arg(short = 'E', long, value_name = "N")]
    pub conflict_exit_code: Option<u8>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What to do when a claim is taken away.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    /// Say so
    Tell,
    /// End the command as well
    Kill,
}

/// What a release needs.
#[derive(Group, Debug)]
pub struct ReleaseArgs {
    /// The locks
    #[arg(value_name = "LOCK", required_unless_present_any = ["claim", "all"])]
    pub locks: Vec<String>,
    /// The claim by which they are yours; without a lock, all that it holds
    #[arg(long, value_name = "ID")]
    pub claim: Option<String>,
    /// All that you hold in the pool, in one commit; nothing is fine
    #[arg(long, conflicts_with_all = ["locks", "claim"])]
    pub all: bool,
}

/// Which lock is shown.
#[derive(Group, Debug)]
pub struct ShowArgs {
    /// The lock
    pub lock: String,
}

/// What a renewal needs.
#[derive(Group, Debug)]
pub struct RenewArgs {
    /// The locks
    #[arg(value_name = "LOCK", required_unless_present = "claim")]
    pub locks: Vec<String>,
    /// The claim by which they are yours; without a lock, all that it holds
    #[arg(long, value_name = "ID")]
    pub claim: Option<String>,
    /// How long the claim may go unrenewed from now on before `pool reap` frees it
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub lease: Duration,
}

/// What is to be there.
#[derive(Group, Debug)]
pub struct InitArgs {
    /// A lock in the pool; may be given several times
    #[arg(long = "lock", value_name = "NAME")]
    pub locks: Vec<String>,
    /// So many locks that stand for nothing else, `slot-1` and so on: at most so many hold one at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub slots: Option<u16>,
    /// A list of pools with their locks, as YAML
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// A new lock.
#[derive(Group, Debug)]
pub struct AddArgs {
    /// Its name
    pub lock: String,
    /// A file with its metadata; `-` reads it from the standard input
    #[arg(long, value_name = "FILE")]
    pub metadata: Option<PathBuf>,
    /// Hold it at once
    #[arg(long)]
    pub claimed: bool,
    /// How long that claim may go unrenewed before `pool reap` frees it, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time, requires = "claimed")]
    pub lease: Option<Duration>,
}

/// What a removal needs.
#[derive(Group, Debug)]
pub struct RemoveArgs {
    /// The lock
    pub lock: String,
    /// The claim by which it is yours
    #[arg(long, value_name = "ID")]
    pub claim: Option<String>,
}

/// What an update needs.
#[derive(Group, Debug)]
pub struct UpdateArgs {
    /// The lock; it is added if there is none
    pub lock: String,
    /// A file with its metadata; `-` reads it from the standard input
    #[arg(long, value_name = "FILE")]
    pub metadata: PathBuf,
    /// The claim by which the lock is yours: it is changed while you hold it
    #[arg(long, value_name = "ID")]
    pub claim: Option<String>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What a move needs.
#[derive(Group, Debug)]
pub struct MoveArgs {
    /// The lock
    pub lock: String,
    /// The pool to take it to
    #[arg(long, value_name = "POOL")]
    pub to: String,
}

/// What an unlock needs.
#[derive(Group, Debug)]
pub struct UnlockArgs {
    /// The lock
    pub lock: String,
    /// Why; it goes into the history
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// What a reaping needs.
#[derive(Group, Debug)]
pub struct ReapArgs {
    /// The age from which on a claim is stale of which nothing else is known, such as 12h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub stale_after: Option<Duration>,
    /// The Concourse that knows what has become of the builds that made claims; with POOL_CONCOURSE_TOKEN, or the user's
    /// POOL_CONCOURSE_PASSWORD, in the environment
    #[arg(long, value_name = "URL")]
    pub concourse_url: Option<String>,
    /// Who you are there
    #[arg(long, value_name = "USER", requires = "concourse_url")]
    pub concourse_username: Option<String>,
    /// The GitLab that knows what has become of the jobs that made claims; with POOL_GITLAB_TOKEN or POOL_GITLAB_JOB_TOKEN
    /// in the environment
    #[arg(long, value_name = "URL")]
    pub gitlab_url: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What a server needs.
#[derive(Group, Debug)]
pub struct ServeArgs {
    /// The address and the port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9010")]
    pub listen: String,
    /// Every pool on the branch, as without a configured pool
    #[arg(long)]
    pub all: bool,
    /// Show the metadata of locks as well
    #[arg(long)]
    pub show_metadata: bool,
    /// What those may do who sign in with the token in POOL_SERVE_TOKEN; they are asked why
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub allow: Vec<Allowed>,
}

/// What may be allowed on the pages.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// To free a lock that somebody else holds
    Unlock,
    /// To claim a free lock
    Claim,
    /// To give back a lock that was claimed on the pages
    Release,
}

/// What completions need.
#[derive(Group, Debug)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// A time as it is written in every setting.
fn duration(text: &str) -> Result<Duration, String> {
    pace::duration::parse(text).map_err(|err| err.to_string())
}

/// A time that is not zero.
fn time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}
