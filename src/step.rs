//! One function for each step of Concourse: check, get (`in` is a keyword) and put.
//!
//! A step gets its request, its folder and its surroundings as values, and gives its answer as one; reading, writing
//! and exit codes are the programs' business.

mod cache;
mod check;
mod get;
mod put;

pub use check::check;
pub use get::get;
pub use put::put;

use std::path::PathBuf;

use crate::attempt::AttemptError;
use crate::concourse::{Build, RequestError, Source};
use crate::git::{
    Credentials, Depth, History, HistoryError, Identity, Limits, Location, LocationError, Remote,
};
use crate::git::{RemoteError, Snapshot, Store, StoreError};
use crate::lock::PoolName;
use crate::object::Oid;
use crate::pace::{FaultError, Pace, ride_out};

/// What a step finds around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where temporary files go, and what is kept between checks: `$TMPDIR`.
    pub temporary: PathBuf,
    /// The build that the step is part of.
    pub build: Build,
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
    /// Our copy of the objects cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pool is not there.
    #[error(
        "there is no pool `{pool}` on the branch `{branch}` of `{remote}`; check `source.pool`"
    )]
    NoPool {
        /// The pool.
        pool: PoolName,
        /// Where it was looked for.
        branch: String,
        /// In which repository.
        remote: String,
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

impl From<AttemptError> for StepError {
    fn from(err: AttemptError) -> StepError {
        StepError::Attempt(Box::new(err))
    }
}

/// A source made ready for use.
struct Ready {
    location: Location,
    credentials: Option<Credentials>,
    limits: Limits,
    pace: Pace,
}

impl Ready {
    fn new(source: &Source) -> Result<Ready, StepError> {
        let (location, in_uri) = Location::parse(source.uri.expose())?;
        let mut credentials = in_uri;
        if source.username.is_some() || source.password.is_some() {
            let in_uri = credentials.unwrap_or_default();
            credentials = Some(Credentials {
                username: source.username.clone().unwrap_or(in_uri.username),
                password: source
                    .password
                    .as_ref()
                    .map(|password| password.expose().to_owned())
                    .or(in_uri.password),
            });
        }
        Ok(Ready {
            location,
            credentials,
            limits: Limits {
                connect: source.connect_timeout,
                silence: source.silence_timeout,
                attempt: source.attempt_timeout,
            },
            pace: Pace {
                retry_delay: source.retry_delay,
                fault_limit: source.fault_timeout,
            },
        })
    }

    fn remote(&self, source: &Source, store: Store) -> Result<Remote, StepError> {
        Ok(Remote::new(
            &self.location,
            self.credentials.clone(),
            &source.branch,
            self.limits,
            store,
        )?)
    }
}

/// Who commits: `user.name` and `user.email` of the source's `git_config`, or what the tool in use today has.
fn identity(source: &Source) -> Identity {
    let value = |key: &str, default: &str| {
        let set = source
            .git_config
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case(key));
        set.map_or(default.to_owned(), |(_, value)| value.expose().to_owned())
    };
    Identity {
        name: value("user.name", "CI Pool Resource"),
        email: value("user.email", "ci-pool@localhost"),
    }
}

/// Asks a question of the history, fetching more of it for as long as the question goes deeper than what is here.
async fn ask<T>(
    remote: &mut Remote,
    pace: &Pace,
    log: &mut dyn std::io::Write,
    question: impl Fn(&History<'_>, &Snapshot) -> Result<T, HistoryError>,
) -> Result<T, StepError> {
    let mut depth = Depth::RECENT;
    loop {
        let snapshot =
            ride_out(pace.fault_limit, log, async || remote.snapshot(depth).await).await?;
        match question(&remote.history(&snapshot), &snapshot) {
            Ok(answer) => return Ok(answer),
            Err(err) => depth = crate::attempt::deeper(snapshot.depth, err)?,
        }
    }
}
