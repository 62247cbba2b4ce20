//! One function for each thing that a user can ask for: Concourse's check, get (`in` is a keyword) and put, and what the
//! command line has besides.
//!
//! A step gets its request, its folder and its surroundings as values, and gives its answer as one; reading, writing
//! and exit codes are the programs' business.

mod back;
mod cache;
mod check;
mod doctor;
mod far;
mod follow;
mod get;
mod init;
mod lock;
mod log;
mod operate;
mod put;
mod ready;
mod reap;
mod record;
mod result;
mod standing;
mod status;
mod unlock;
mod verify;

pub use back::{Earlier, Moment, status_at};
pub use check::check;
pub use doctor::{Finding, Health, Settings, doctor};
pub use follow::{Known, MOST_SHOWN, whole_past};
pub use get::get;
pub use init::{Initiated, Plan, init, init_local};
pub use lock::{Lock, lock, locks};
pub use log::{LogQuery, log};
pub use operate::{Order, operate};
pub use put::put;
pub use ready::{Reach, reach};
pub use reap::{Became, Decided, Reaping, Unheard, reap};
pub use record::{Record, record};
pub use standing::{Seen, Watch, standing};
pub use status::{LOOK_EVERY, LockView, Overview, PoolView, Standing, Viewer, Waiter, Which};
pub use unlock::{UnlockError, Unlocked, unlock};
pub use verify::{Verified, verify};

use ready::Ready;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::attempt::{self, AttemptError};
use crate::concourse::{Build, RequestError};
use crate::lock::{LockName, PoolName, or_meant};
use crate::metrics::push::PushError;
use git::FaultError;
use git::object::Oid;
use git::{
    Depth, History, HistoryError, Links, LocationError, Remote, RemoteError, Snapshot, StoreError,
};
use net::{NetError, Proxies};
use pace::Pace;
use terminal::Paint;

/// What a step finds around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where temporary files go, and what is kept between checks: `$TMPDIR`.
    pub temporary: PathBuf,
    /// The build that the step is part of.
    pub build: Build,
    /// The user's own folder, where SSH's known hosts may be: `$HOME`.
    pub home: Option<PathBuf>,
    /// Where the keys of SSH servers are kept that were met for the first time, if they are.
    pub met_hosts: Option<PathBuf>,
    /// The socket of an SSH agent: `$SSH_AUTH_SOCK`.
    pub ssh_agent: Option<PathBuf>,
    /// Whether the log shows colours: unless there is a `$NO_COLOR`.
    pub paint: Paint,
    /// Which HTTP proxies to use: `$HTTP_PROXY` and its like.
    pub proxies: Proxies,
    /// The files with Git's settings that hold for all repositories of this machine and its user, if they are known: see
    /// [`git::Access::settings`].
    pub git_settings: Option<Vec<PathBuf>>,
    /// The way to the repository that was gone last: several steps of one program share it.
    pub links: Links,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The request asks for something that is none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The uri is none.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The operation was not carried out.
    #[error(transparent)]
    Attempt(Box<AttemptError>),
    /// The remote repository could not be read.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The transport could not be set up.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A client for another server could not be set up.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The Pushgateway cannot be used.
    #[error(transparent)]
    Gateway(#[from] PushError),
    /// Our copy of the objects cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that Git's settings name for signatures.
    #[error("`user.signingkey` in `git_config` cannot be used: {why}")]
    SigningSetting {
        /// Why, and what to do.
        why: String,
    },
    /// A claim is to be known again by its build, and there is none.
    #[error(
        "{what} needs the environment variable BUILD_ID, which Concourse sets: a claim is known again by its build"
    )]
    NoBuild {
        /// The key that needs it.
        what: &'static str,
    },
    /// The pool is not there.
    #[error(
        "there is no pool `{pool}` on the branch `{branch}` of `{remote}`; check `source.pool`, or let `pool init` make it"
    )]
    NoPool {
        /// The pool.
        pool: PoolName,
        /// Where it was looked for.
        branch: String,
        /// In which repository.
        remote: String,
    },
    /// A lock that somebody has to mend.
    #[error(
        "the lock `{lock}` of the pool `{pool}` is damaged: it is in both folders, or it is not a file; `pool status` tells"
    )]
    Damaged {
        /// The lock.
        lock: LockName,
        /// Its pool.
        pool: PoolName,
    },
    /// A version that the branch does not have.
    #[error("the version {0} is not in the history of the branch; it may have been forced away")]
    NoSuchVersion(String),
    /// A version at which no lock was moved.
    #[error("no commit up to the version {version} moved a lock of the pool `{pool}`")]
    NoLock {
        /// The version.
        version: Oid,
        /// The pool.
        pool: PoolName,
    },
    /// A lock that there is not, and that nobody held in the time that was asked about.
    #[error("there is no lock `{lock}`, and nobody has held one of that name in that time{}", or_meant(.like))]
    NeverHeld {
        /// The lock.
        lock: LockName,
        /// Those that may have been meant.
        like: Vec<LockName>,
    },
    /// There was nothing yet at the moment that was asked about.
    #[error("the branch has no commit from that time or before, or no such commit at all")]
    NothingThen,
    /// The pool was not there at the moment that was asked about.
    #[error("there was no pool `{0}` on the branch at that time")]
    NoPoolThen(PoolName),
    /// Some of the claims that should have been ended could not be.
    #[error("could not free {}, as told above{}", quoted(.failed), if .freed.is_empty() { String::new() } else { format!("; freed {}", quoted(.freed)) })]
    NotFreed {
        /// The locks of those.
        failed: Vec<LockName>,
        /// The locks that were freed.
        freed: Vec<LockName>,
    },
    /// Nothing could be learnt of any build.
    #[error("nothing could be learnt of any build that holds a lock, so that {} kept, the oldest since {}: {}", kept(.0.claims), terminal::time::moment(.0.since).unwrap_or_default(), .0.why)]
    Unheard(Unheard),
    /// The words are those that pipelines know.
    #[error("lock instance is no longer acquired")]
    NoLongerAcquired,
    /// The answer's files could not be written.
    #[error("cannot write `{file}`")]
    Write {
        /// Which file.
        file: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
}

impl StepError {
    /// Whether it only says that we were told to stop, with nothing left behind. That is no mistake of anybody's.
    pub fn is_abort(&self) -> bool {
        matches!(self, StepError::Attempt(err) if matches!(**err, AttemptError::Stopped))
    }
}

fn kept(claims: usize) -> String {
    match claims {
        1 => "one claim was".to_owned(),
        n => format!("{n} claims were"),
    }
}

fn quoted(locks: &[LockName]) -> String {
    let names: Vec<String> = locks.iter().map(|lock| format!("`{lock}`")).collect();
    names.join(", ")
}

impl From<AttemptError> for StepError {
    fn from(err: AttemptError) -> StepError {
        StepError::Attempt(Box::new(err))
    }
}

/// Asks a question of the history, fetching more of it for as long as the question goes deeper than what is here. Where it is
/// about one pool (`of`), the past of that may be worked out instead.
///
/// `shown` is a commit that somebody shows who can have it from the branch only: a view that lacks it is behind.
async fn ask<T>(
    remote: &mut Remote,
    shown: Option<Oid>,
    of: Option<&PoolName>,
    pace: &Pace,
    log: &mut dyn std::io::Write,
    question: impl Fn(&History<'_>, &Snapshot) -> Result<T, HistoryError>,
) -> Result<T, StepError> {
    // A step that only reads is simply dropped when it is told to stop.
    let never = CancellationToken::new();
    // What one pool did last is usually what the branch did last. What was kept from before is gone on from.
    let mut depth = match of {
        Some(_) if remote.store().head().is_none() => Depth::FEW,
        _ => Depth::RECENT,
    };
    let mut is_first = true;
    loop {
        let limit = pace.fault_limit;
        let snapshot = match std::mem::take(&mut is_first) {
            true => attempt::snapshot_if_moved(remote, depth, limit, &never, log).await?,
            false => attempt::snapshot(remote, depth, limit, &never, log).await?,
        };
        if let Some(shown) = shown {
            match remote.history(&snapshot).since(shown) {
                Ok(None) if remote.doubts(snapshot.commit, shown) => continue,
                Ok(_) => {}
                Err(err) => {
                    let deeper = attempt::deeper(snapshot.depth, err)?;
                    if !attempt::reach(remote, &snapshot, of, Some(shown), limit, &never, log)
                        .await?
                    {
                        depth = deeper;
                    }
                    continue;
                }
            }
        }
        match question(&remote.history(&snapshot), &snapshot) {
            Ok(answer) => return Ok(answer),
            Err(err) => {
                let deeper = attempt::deeper(snapshot.depth, err)?;
                if !attempt::reach(remote, &snapshot, of, None, limit, &never, log).await? {
                    depth = deeper;
                }
            }
        }
    }
}
