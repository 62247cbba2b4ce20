//! One who looks at the repository for all who look at the pages.
//!
//! It has a thread of its own: what it fetches cannot be handed to another one, and to read a long history takes seconds of
//! processor time. What it has found is published, and everybody reads that.
//!
//! It looks every two seconds while somebody watches, as `pool status --watch` does; at once, but not before these two seconds are
//! over, when somebody asks; and every fifteen seconds when nobody does, so that waits are seen and the history is gone on with
//! in small steps. After a look that failed it looks again after two seconds, four, and so on, up to half a minute.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::concourse::Source;
use crate::step::{LOOK_EVERY, Surroundings, Which};
use crate::view::{Board, Sight};
use work::Work;

/// What is older is not current, though no look has failed: it may hang.
const STALE: Duration = Duration::from_secs(45);

/// Who hears of what people should read, line by line.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What is read, and how.
#[derive(Clone)]
pub struct Task {
    /// Where the locks are.
    pub source: Source,
    /// Which pools are meant.
    pub which: Which,
    /// What is around.
    pub around: Surroundings,
    /// Whether to read what locks say.
    pub shows_metadata: bool,
    /// Who hears of trouble.
    pub tell: Tell,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What there is to see.
    pub sight: Sight,
    /// The same, put together.
    pub board: Option<Arc<Board>>,
    /// Changes with everything that a page shows, but for the time.
    pub number: u64,
    /// How many looks have ended, well or not.
    pub looks: u64,
    /// When the last one began.
    began: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// What everybody has who reads what was found.
#[derive(Clone)]
pub struct Reader {
    found: watch::Receiver<Arc<Found>>,
    number: watch::Receiver<u64>,
    demand: Arc<Demand>,
}

/// Who wants something.
#[derive(Default)]
struct Demand {
    watching: AtomicUsize,
    asked: Notify,
}

/// Somebody who watches, for as long as the value lives.
pub struct Watching(Arc<Demand>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Found {
    /// Whether what was found is how things are, as far as anybody can know.
    pub fn is_current(&self, now: SystemTime) -> bool {
        let age = self.sight.looked.as_ref();
        let age = age.map(|(_, looked)| now.duration_since(*looked).unwrap_or_default());
        self.sight.trouble.is_none() && age.is_some_and(|age| age < STALE)
    }

    /// Whether it goes on looking. A look has a limit of its own, which is far below this.
    pub fn is_alive(&self) -> bool {
        self.ended
            .is_none_or(|ended| ended.elapsed() < Duration::from_secs(900))
    }
}

impl Reader {
    /// Begins to read, on a thread of its own, until `stop`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(task: Task, stop: CancellationToken) -> std::io::Result<Reader> {
        let (publish, found) = watch::channel(Arc::new(Found::default()));
        let (count, number) = watch::channel(0);
        let demand = Arc::new(Demand::default());
        let asked = demand.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || {
                let work = Work::new(task, asked, publish, count);
                runtime.block_on(stop.run_until_cancelled(work.go_on(stop.clone())));
                runtime.shutdown_background();
            })?;
        Ok(Reader {
            found,
            number,
            demand,
        })
    }

    /// What was found last.
    pub fn found(&self) -> Arc<Found> {
        self.found.borrow().clone()
    }

    /// Tells when something has changed that a page shows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.number.clone()
    }

    /// Somebody watches from now on.
    pub fn watching(&self) -> Watching {
        self.demand.watching.fetch_add(1, Ordering::Relaxed);
        self.demand.asked.notify_one();
        Watching(self.demand.clone())
    }

    /// Somebody has looked, and may look again.
    pub fn asked(&self) {
        let began = self.found().began;
        if began.is_none_or(|began| began.elapsed() >= LOOK_EVERY) {
            self.demand.asked.notify_one();
        }
    }

    /// Waits for what a look finds that begins at this moment or after it, but not for longer than this.
    pub async fn since(&self, moment: Instant, limit: Duration) -> Arc<Found> {
        let mut found = self.found.clone();
        self.demand.asked.notify_one();
        let is_new = |found: &Arc<Found>| found.began.is_some_and(|began| began >= moment);
        // What is there when it takes too long is told with its age.
        let _ = timeout(limit, async {
            while !is_new(&found.borrow_and_update()) && found.changed().await.is_ok() {
                self.demand.asked.notify_one();
            }
        })
        .await;
        self.found()
    }

    /// What a look has found that is not older than looks are apart.
    pub async fn current(&self, limit: Duration) -> Arc<Found> {
        let found = self.found();
        // It looks again when it is time for that, whoever asks.
        if found.sight.trouble.is_some() {
            return found;
        }
        let now = Instant::now();
        self.since(now.checked_sub(LOOK_EVERY).unwrap_or(now), limit)
            .await
    }
}
