//! The reader at work, on its own thread.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Demand, Found, Task, Tell};
use crate::past::chronicle::Chronicle;
use crate::past::waits::Seen;
use crate::step::{Known, LOOK_EVERY, Overview, StepError, Viewer, whole_past};
use crate::view::{Board, Sight, Trouble};
use pace::FaultError;
use terminal::chain;

/// How often it looks when nobody does.
const IDLE: Duration = Duration::from_secs(15);

/// The longest pause after looks that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After so many looks that failed one after the other it begins with an empty copy.
const FAILED: u32 = 3;

/// How long after the history could not be read it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// How often what depends on the time alone is worked out anew.
const MINUTE: Duration = Duration::from_secs(60);

/// Writes lines for whoever hears of them.
struct Lines {
    tell: Tell,
    rest: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            (self.tell)(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The reader at work.
pub(super) struct Work {
    task: Task,
    log: Lines,
    viewer: Option<Viewer>,
    demand: Arc<Demand>,
    publish: watch::Sender<Arc<Found>>,
    count: watch::Sender<u64>,
    sight: Sight,
    known: Known,
    board: Option<Arc<Board>>,
    number: u64,
    looks: u64,
    /// When what depends on the time was worked out.
    made: Option<Instant>,
    /// The past as somebody reads it.
    past: mpsc::Receiver<Result<Chronicle, StepError>>,
    reading: mpsc::Sender<Result<Chronicle, StepError>>,
    is_reading: bool,
    /// Not before this is it read again.
    read_after: Option<Instant>,
    /// How many looks have failed since one succeeded.
    failed: u32,
}

impl Work {
    pub fn new(
        task: Task,
        demand: Arc<Demand>,
        publish: watch::Sender<Arc<Found>>,
        count: watch::Sender<u64>,
    ) -> Work {
        let (reading, past) = mpsc::channel(1);
        let tell = task.tell.clone();
        Work {
            log: Lines {
                tell,
                rest: Vec::new(),
            },
            task,
            viewer: None,
            demand,
            publish,
            count,
            sight: Sight::default(),
            known: Known::new(),
            board: None,
            number: 0,
            looks: 0,
            made: None,
            past,
            reading,
            is_reading: false,
            read_after: None,
            failed: 0,
        }
    }

    /// Looks for ever.
    pub async fn go_on(mut self, stop: CancellationToken) {
        loop {
            let began = Instant::now();
            let before = self
                .sight
                .looked
                .as_ref()
                .map(|(overview, _)| overview.clone());
            let was_bad = self.sight.trouble.is_some();
            let done = self.look(&stop).await;
            let mut is_new = match done {
                Ok(is_new) => {
                    self.failed = 0;
                    if was_bad {
                        (self.task.tell)("the repository can be read again");
                    }
                    is_new || was_bad
                }
                Err(err) => {
                    self.failed = self.failed.saturating_add(1);
                    // What was kept may be what is wrong: somebody clears old temporary files, for instance.
                    if self.failed.is_multiple_of(FAILED) {
                        self.viewer = None;
                    }
                    self.note(&err)
                }
            };
            let after = self
                .sight
                .looked
                .as_ref()
                .map(|(overview, _)| overview.clone());
            is_new |= !same(before.as_deref(), after.as_deref());
            is_new |= self.made.is_none_or(|made| made.elapsed() >= MINUTE);
            self.publish(began, is_new);
            self.pause(began).await;
        }
    }

    /// Looks, and goes on with the past; says whether that has brought something besides what the look has found.
    async fn look(&mut self, stop: &CancellationToken) -> Result<bool, StepError> {
        let viewer = match &mut self.viewer {
            Some(viewer) => viewer,
            None => {
                let task = &self.task;
                let mut viewer = Viewer::new(
                    &task.source,
                    task.which.clone(),
                    &task.around,
                    &mut self.log,
                )?;
                viewer.tell_faults_at_once();
                if task.shows_metadata {
                    viewer.want_metadata();
                }
                self.viewer.insert(viewer)
            }
        };
        let overview = viewer.look(&mut self.log).await?;
        let mut is_new = false;
        let before = self.sight.looked.as_ref().map(|(before, _)| before.head);
        let has_moved = before != Some(overview.head);
        if self.task.shows_metadata && has_moved {
            let names: Vec<_> = overview
                .pools
                .iter()
                .map(|pool| pool.name.clone())
                .collect();
            let metadata = viewer.metadata(&names, &mut self.known)?;
            is_new |= *self.sight.metadata != metadata;
            self.sight.metadata = Arc::new(metadata);
        }
        let overview = Arc::new(overview);
        self.sight.looked = Some((overview.clone(), SystemTime::now()));
        self.sight.trouble = None;
        is_new |= self.follow(stop).await?;
        if let Some(chronicle) = &self.sight.chronicle {
            let pools = overview.pools.iter();
            let line = pools.flat_map(|pool| {
                pool.line.iter().filter_map(|waiter| {
                    Some(Seen {
                        id: waiter.id.clone(),
                        pool: pool.name.clone(),
                        who: waiter.who.clone(),
                        since: i64::try_from(waiter.since?).ok()?,
                    })
                })
            });
            self.sight.waits.observe(line, chronicle);
        }
        Ok(is_new)
    }

    /// Goes on with the past, or begins to read it; says whether there is more of it now.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<bool, StepError> {
        let mut is_new = false;
        if let Ok(read) = self.past.try_recv() {
            self.is_reading = false;
            is_new = true;
            match read {
                Ok(chronicle) => {
                    self.sight.chronicle = Some(Arc::new(chronicle));
                    self.sight.unread = None;
                }
                Err(err) => {
                    let words = chain(&err);
                    (self.task.tell)(&format!("the history could not be read: {words}"));
                    self.sight.unread = Some(words);
                    self.read_after = Some(Instant::now() + AGAIN);
                }
            }
        }
        let Some(known) = self.sight.chronicle.take() else {
            let is_time = self.read_after.is_none_or(|after| after <= Instant::now());
            if !self.is_reading && is_time {
                self.read_past(stop);
            }
            return Ok(is_new);
        };
        let Some(viewer) = &mut self.viewer else {
            return Ok(is_new);
        };
        let before = known.head;
        let mut chronicle = Arc::unwrap_or_clone(known);
        let followed = viewer.follow(&mut chronicle, &mut self.log).await;
        match followed {
            Ok(true) => {
                let has_moved = chronicle.head != before;
                self.sight.chronicle = Some(Arc::new(chronicle));
                Ok(is_new || has_moved)
            }
            Ok(false) => {
                (self.task.tell)("the branch was rewritten: its history is read anew");
                self.read_past(stop);
                Ok(true)
            }
            Err(err) => {
                // As far as it goes it is right; the next look goes on with it.
                self.sight.chronicle = Some(Arc::new(chronicle));
                Err(err)
            }
        }
    }

    /// Has the past read beside the looks.
    fn read_past(&mut self, stop: &CancellationToken) {
        let (task, reading, stop) = (self.task.clone(), self.reading.clone(), stop.clone());
        self.is_reading = true;
        let begun = std::thread::Builder::new()
            .name("past".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let Ok(runtime) = runtime else { return };
                let mut log = Lines {
                    tell: task.tell.clone(),
                    rest: Vec::new(),
                };
                let read = whole_past(&task.source, task.which.clone(), &task.around, &mut log);
                if let Some(read) = runtime.block_on(stop.run_until_cancelled(read)) {
                    // Nobody waits for it who has ended.
                    let _ = reading.try_send(read);
                }
                runtime.shutdown_background();
            });
        if begun.is_err() {
            self.is_reading = false;
            self.read_after = Some(Instant::now() + AGAIN);
        }
    }

    /// Notes what went wrong; says whether that is news.
    fn note(&mut self, err: &StepError) -> bool {
        // How often it was tried is our own business.
        let words = match err {
            StepError::Fault(FaultError::GaveUp { source, .. }) => chain(source),
            err => chain(err),
        };
        let since = match &self.sight.trouble {
            Some(trouble) => trouble.since,
            None => SystemTime::now(),
        };
        let trouble = Some(Trouble { since, words });
        let is_new = self.sight.trouble != trouble;
        if is_new && let Some(trouble) = &trouble {
            (self.task.tell)(&format!("the repository cannot be read: {}", trouble.words));
        }
        self.sight.trouble = trouble;
        is_new
    }

    fn publish(&mut self, began: Instant, is_new: bool) {
        self.looks += 1;
        if is_new {
            self.number += 1;
            self.made = Some(Instant::now());
            self.board = self.sight.board(SystemTime::now()).map(Arc::new);
        }
        self.publish.send_replace(Arc::new(Found {
            board: self.board.clone(),
            sight: self.sight.clone(),
            number: self.number,
            looks: self.looks,
            began: Some(began),
            ended: Some(Instant::now()),
        }));
        if is_new {
            self.count.send_replace(self.number);
        }
    }

    /// Waits until it is time for another look.
    async fn pause(&self, began: Instant) {
        if let Some(n) = self.failed.checked_sub(1) {
            let pause = LOOK_EVERY.saturating_mul(1 << n.min(10));
            sleep_until(Instant::now() + pause.min(LONGEST_PAUSE)).await;
            return;
        }
        // It is asked for while the past is being read as well: then there is something new to be seen soon.
        let is_watched = || self.is_reading || self.demand.watching.load(Ordering::Relaxed) > 0;
        if !is_watched() {
            tokio::select! {
                () = self.demand.asked.notified() => {}
                () = sleep_until(began + IDLE) => {}
            }
        }
        sleep_until(began + LOOK_EVERY).await;
    }
}

/// Whether two looks found the same, however long ago everything was.
fn same(a: Option<&Overview>, b: Option<&Overview>) -> bool {
    let told = |overview: &Overview| {
        let mut pools = overview.pools.clone();
        let waiters = pools.iter_mut().flat_map(|pool| &mut pool.line);
        for waiter in waiters {
            waiter.silent = waiter.silent.map(|_| Duration::ZERO);
        }
        (overview.head, pools)
    };
    a.map(told) == b.map(told)
}
