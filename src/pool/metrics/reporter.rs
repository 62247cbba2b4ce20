//! Tells the Pushgateway what goes on, beside the work and never in its way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::push::{Gateway, LIMIT, PushError};
use super::{Line, Operation, Place, PoolState, Push, Waiting};

/// A waiter pushes at most this often, however much changes: more than Prometheus usually looks would go unseen.
pub const PERIOD: Duration = Duration::from_secs(15);

/// A waiter pushes at least this often, though nothing changes, to show that there is still somebody.
pub const HEARTBEAT: Duration = Duration::from_secs(60);

/// A line that nobody has told of for so long is nobody's. The dashboard and the alerts have the same number.
pub const STALE_AFTER: Duration = Duration::from_secs(180);

/// How much of [`LIMIT`] a push that is under way at the end may still have. It must be over before the last one begins,
/// or it could arrive after it.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Pushes what one step has to tell.
///
/// Nothing waits for it until [`Reporter::finish`]. Without a gateway it does nothing at all.
pub struct Reporter(Option<Told>);

struct Told {
    gateway: Arc<Gateway>,
    place: Place,
    /// For each ticket that we have had; only the last one goes on.
    heartbeats: Vec<Heartbeat>,
    /// Others' groups that are to go at the end.
    forgotten: Vec<Push>,
}

/// The task that pushes while we wait.
struct Heartbeat {
    news: watch::Sender<Waiting>,
    /// Stops the task when it goes, once what is under way is over.
    stop: Option<DropGuard>,
    task: JoinHandle<Option<PushError>>,
    waiter: String,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// What was done; `None` when it was told to stop.
    pub operation: Option<Operation>,
    /// The pool after it, as far as it is known.
    pub pool: Option<PoolState>,
    /// The line after it, without the one who ends, as far as it is known.
    pub line: Option<Line>,
}

impl Reporter {
    /// A reporter for one step on a pool.
    pub fn new(gateway: Option<Gateway>, place: Place) -> Reporter {
        Reporter(gateway.map(|gateway| Told {
            gateway: Arc::new(gateway),
            place,
            heartbeats: Vec::new(),
            forgotten: Vec::new(),
        }))
    }

    /// Whether anybody hears what is told: otherwise it need not be found out.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells what a waiter sees; to be called as often as it looks.
    ///
    /// The first is pushed at once, then changes at most every [`PERIOD`], and the same at least every [`HEARTBEAT`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn waiting(&mut self, seen: &Waiting) {
        let Some(told) = &mut self.0 else { return };
        let current = told.heartbeats.last_mut();
        if let Some(heartbeat) = &current
            && heartbeat.waiter == seen.waiter.id
        {
            heartbeat.news.send_if_modified(|known| {
                let is_new = known != seen;
                known.clone_from(seen);
                is_new
            });
            return;
        }
        // A ticket that was lost and taken anew has another id.
        if let Some(before) = current {
            before.stop = None;
        }
        let (news, heard) = watch::channel(seen.clone());
        let stop = CancellationToken::new();
        let task = beat(
            told.gateway.clone(),
            told.place.clone(),
            heard,
            stop.clone(),
        );
        told.heartbeats.push(Heartbeat {
            news,
            stop: Some(stop.drop_guard()),
            task: tokio::spawn(task),
            waiter: seen.waiter.id.clone(),
        });
    }

    /// Has the group of another waiter deleted, at the end: it has vanished without doing so.
    pub fn forget(&mut self, waiter: &str) {
        if let Some(told) = &mut self.0 {
            told.forgotten.push(told.place.no_waiter(waiter));
        }
    }

    /// Tells how it ended, and takes away what was only true while we waited. Takes at most [`LIMIT`].
    ///
    /// Gives what went wrong, the first of it, to be said in one line as a warning. What was told here may be told otherwise
    /// by another call.
    pub async fn finish(&mut self, ending: Ending) -> Option<PushError> {
        let Told {
            gateway,
            place,
            heartbeats,
            forgotten,
        } = self.0.as_mut()?;
        let end = Instant::now() + LIMIT;
        let mut pushes = std::mem::take(forgotten);
        let mut heartbeats = std::mem::take(heartbeats);
        for heartbeat in &mut heartbeats {
            heartbeat.stop = None;
            pushes.push(place.no_waiter(&heartbeat.waiter));
        }
        let beats = heartbeats.iter_mut().map(|heartbeat| &mut heartbeat.task);
        let failed = match timeout(LAST_WORD, join_all(beats)).await {
            Ok(said) => said.into_iter().filter_map(Result::ok).flatten().next(),
            Err(_) => {
                heartbeats.iter().for_each(|beat| beat.task.abort());
                None
            }
        };
        pushes.extend(place.state(ending.pool.as_ref(), ending.line.as_ref()));
        pushes.extend(
            ending
                .operation
                .map(|operation| place.operation(&operation)),
        );
        let last = push_all(gateway, &pushes, end).await.err();
        failed.or(last)
    }
}

/// Pushes what is new, and now and then what is not, until it is told to stop; gives what first went wrong.
async fn beat(
    gateway: Arc<Gateway>,
    place: Place,
    mut heard: watch::Receiver<Waiting>,
    stop: CancellationToken,
) -> Option<PushError> {
    let mut failed = None;
    loop {
        let Waiting { pool, line, waiter } = heard.borrow_and_update().clone();
        let mut pushes = vec![place.waiter(&waiter)];
        pushes.extend(place.state(Some(&pool), line.as_ref()));
        // Not cut short: a push that was begun and then dropped might arrive after our last one.
        let pushed = push_all(&gateway, &pushes, Instant::now() + LIMIT).await;
        failed = failed.or(pushed.err());
        let pause = async {
            sleep(PERIOD).await;
            // It fails only when nobody can tell us anything any more, and then we are about to be stopped.
            if let Ok(Err(_)) = timeout(HEARTBEAT - PERIOD, heard.changed()).await {
                stop.cancelled().await;
            }
        };
        if stop.run_until_cancelled(pause).await.is_none() {
            return failed;
        }
    }
}

/// Pushes all at once, for they are to different groups; gives the first failure.
async fn push_all(gateway: &Gateway, pushes: &[Push], end: Instant) -> Result<(), PushError> {
    let limit = end.saturating_duration_since(Instant::now());
    let all = pushes.iter().map(|push| gateway.push(push, limit));
    join_all(all).await.into_iter().collect()
}
