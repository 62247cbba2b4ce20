//! What a job claims of one pool: it is waited for in the line, and given back for as long as that takes.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use git::FaultError;
use pipelines::definition::{Wanted, Wish};
use pool::attempt::{AttemptError, Outcome};
use pool::lock::{ClaimId, LockName};
use pool::message::listed;
use pool::metadata;
use pool::operation::{Condition, Operation, Right, Want};
use pool::step::{Order, StepError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::pool::commands::Context;
use crate::pool::commands::run::lost;

/// How long a Git server is left alone that has been away for longer than an operation bears.
const PAUSE: Duration = Duration::from_secs(10);

/// What a job claims of one pool.
pub struct OfPool {
    pub context: Context,
    pub lease: Duration,
    timeout: Option<Duration>,
    operation: Operation,
    /// By this a later server finds what this one has begun.
    run: String,
    folder: PathBuf,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub id: ClaimId,
    /// What is still held by it, as far as is known.
    pub locks: Vec<LockName>,
}

/// Why there is no claim.
pub enum NoClaim {
    /// It was told to stop, and nothing is left.
    Stopped,
    /// Something may be claimed all the same; why it went wrong, if it did.
    Unclear(Option<String>),
}

/// What is to be done to have what is wished for.
///
/// # Errors
/// A name that is none.
pub fn operation(wish: &Wish) -> Result<Operation> {
    let want = match &wish.locks {
        Wanted::Named(names) => {
            let locks = names.iter().map(|name| {
                LockName::new(name).with_context(|| format!("{name:?} is not the name of a lock"))
            });
            let locks: Vec<LockName> = locks.collect::<Result<_>>()?;
            if let [lock] = locks.as_slice() {
                return Ok(Operation::Claim(lock.clone()));
            }
            Want::exactly(locks)
        }
        Wanted::Any { count, conditions } => Want {
            count: NonZeroUsize::min(*count, MOST),
            conditions: conditions
                .iter()
                .filter_map(|(path, value)| {
                    let (path, value) = (path.clone(), metadata::wanted(value)?);
                    Some(Condition { path, value })
                })
                .collect(),
            ..Want::default()
        },
    };
    Ok(Operation::Acquire(want))
}

/// As many locks are the most that can be claimed together.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

impl OfPool {
    pub fn new(holder: &str, wish: &Wish, context: Context) -> Result<OfPool> {
        Ok(OfPool {
            folder: context.around.temporary.clone(),
            context,
            lease: wish.lease,
            timeout: wish.timeout,
            operation: operation(wish)?,
            run: format!("prunner {holder}"),
        })
    }

    /// The name of the pool.
    pub fn pool(&self) -> &str {
        self.context.source.pool.as_str()
    }

    /// Waits in the line until there is a claim, until it is told to stop, or until its longest time is over. A Git server that
    /// is away is waited for too.
    pub async fn claim(
        &self,
        stop: &CancellationToken,
        log: &mut dyn Write,
    ) -> Result<Claim, NoClaim> {
        let began = Instant::now();
        let left = || {
            self.timeout
                .map(|limit| limit.saturating_sub(began.elapsed()))
        };
        let mut patience = self.timeout;
        loop {
            let order = self.order(patience);
            let answer = async |_: &Outcome| Ok(());
            let claiming = self.context.operate(order, stop.clone(), answer, log);
            match claiming.await {
                Ok(outcome) => {
                    return Ok(Claim {
                        id: ClaimId(outcome.commit),
                        locks: outcome.locks,
                    });
                }
                Err(StepError::Attempt(err)) if matches!(*err, AttemptError::Stopped) => {
                    return Err(NoClaim::Stopped);
                }
                Err(_) if stop.is_cancelled() => return Err(NoClaim::Unclear(None)),
                Err(err) if may_pass(&err) && left() != Some(Duration::ZERO) => {
                    terminal::say(log, format_args!("{}; trying again", words(&err)));
                    let pause = left().map_or(PAUSE, |left| left.min(PAUSE));
                    if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                        return Err(NoClaim::Unclear(None));
                    }
                    patience = left();
                }
                Err(err) => return Err(NoClaim::Unclear(Some(words(&err)))),
            }
        }
    }

    fn order(&self, patience: Option<Duration>) -> Order {
        Order {
            patience,
            lease: Some(self.lease),
            rerun: Some(self.run.clone()),
            ..self.context.order(self.operation.clone())
        }
    }

    /// Gives a claim back; says which of its locks somebody else had taken away before.
    ///
    /// # Errors
    /// Why it cannot be given back, also not until its lease is over.
    pub async fn release(&self, claim: &Claim) -> Result<Vec<LockName>, String> {
        if claim.locks.is_empty() {
            return Ok(Vec::new());
        }
        let release = Operation::Release {
            locks: claim.locks.clone(),
            right: Right::Claim(claim.id),
            reason: None,
        };
        let given_back = match self.until_done(&release).await {
            Ok(outcome) if outcome.done_now => outcome.locks,
            // It was free already, and not by us.
            Ok(_) => Vec::new(),
            Err(StepError::Attempt(err)) if lost(&err).is_some() => Vec::new(),
            Err(err) => return Err(self.kept(&format!("`{}`", listed(&claim.locks)), &err)),
        };
        let mut taken = claim.locks.clone();
        taken.retain(|lock| !given_back.contains(lock));
        Ok(taken)
    }

    /// Gives back whatever is claimed for the job, by whichever server.
    ///
    /// # Errors
    /// As [`OfPool::release`].
    pub async fn release_all(&self) -> Result<(), String> {
        // A push that was under way when its server was killed may still land: it is brought to its end first.
        if self.has_begun_push() {
            let order = self.order(Some(Duration::ZERO));
            let answer = async |_: &Outcome| Ok(());
            let stop = CancellationToken::new();
            let log = &mut io::sink();
            let settled = self.context.operate(order, stop, answer, log).await;
            if let Err(err) = settled
                && !may_pass(&err)
                && self.has_begun_push()
            {
                return Err(self.kept("its locks", &err));
            }
        }
        match self.until_done(&Operation::ReleaseOwn).await {
            Ok(_) => Ok(()),
            Err(err) => Err(self.kept("its locks", &err)),
        }
    }

    /// Whether a claim was begun here of which nobody was told.
    fn has_begun_push(&self) -> bool {
        let markers = fs::read_dir(self.folder.join("pool-resource/markers"));
        markers.is_ok_and(|mut markers| markers.next().is_some())
    }

    /// Carries out what ends claims. A Git server that is away is waited for until the lease is over: it is not renewed.
    async fn until_done(&self, operation: &Operation) -> Result<Outcome, StepError> {
        let end = Instant::now() + self.lease;
        loop {
            let order = self.context.order(operation.clone());
            let answer = async |_: &Outcome| Ok(());
            let stop = CancellationToken::new();
            let log = &mut io::sink();
            match self.context.operate(order, stop, answer, log).await {
                Err(err) if may_pass(&err) && Instant::now() < end => sleep(PAUSE).await,
                done => return done,
            }
        }
    }

    fn kept(&self, locks: &str, err: &StepError) -> String {
        format!(
            "{locks} of the pool `{}` could not be given back: {}; `pool reap` frees what is still claimed, once the lease of {} is over",
            self.pool(),
            words(err),
            humantime::format_duration(self.lease)
        )
    }
}

/// Whether a fault may pass: the server was away for longer than an operation bears.
pub fn may_pass(err: &StepError) -> bool {
    match err {
        StepError::Fault(FaultError::GaveUp { .. }) => true,
        StepError::Attempt(err) => matches!(
            **err,
            AttemptError::Fault(FaultError::GaveUp { .. }) | AttemptError::Unknown { .. }
        ),
        _ => false,
    }
}

/// An error in the words of this program.
pub fn words(err: &(dyn std::error::Error + 'static)) -> String {
    terminal::chain(err)
        .replace("`source.", "`")
        .replace('\n', "; ")
}
