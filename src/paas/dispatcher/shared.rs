//! What all tasks share.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gitlab::runner::{Coordinator, Machine};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use super::{Settings, act};
use crate::config::Runner;
use crate::ledger::{Ledger, Tenant};
use crate::life::{Event, Job, Key, Work};
use crate::metrics::{Levels, Metrics};
use crate::provider::Provider;
use crate::slots::{Slot, Slots};

/// The longest pause after failures.
const LONGEST_PAUSE: u32 = 20;

/// A runner, and those whom it asks.
pub(super) struct Side {
    pub runner: Runner,
    pub coordinator: Rc<Coordinator>,
    pub provider: Box<dyn Provider>,
    /// How many machines may be on their way.
    pub provisioning: Semaphore,
    /// How many jobs it may have.
    pub limit: Slots,
}

pub(super) struct Shared {
    pub settings: Settings,
    /// There until the end.
    pub ledger: RefCell<Option<Ledger>>,
    pub metrics: Metrics,
    /// Cancelled when nothing more is to be begun.
    pub closing: CancellationToken,
    pub machine: Machine,
    pub sides: Vec<Rc<Side>>,
    pub slots: Slots,
    /// How many runners acquire jobs still.
    pub acquiring: Cell<usize>,
    /// Held by every task that an orderly end waits for.
    pub alive: RefCell<Option<mpsc::Sender<()>>>,
}

/// The places that a job takes.
pub(super) type Places = (Slot, Slot);

/// It is to end, and nothing more is to be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing;

/// Seconds after 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl Shared {
    pub fn with_ledger<T: Default>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        match &mut *self.ledger.borrow_mut() {
            Some(ledger) => with(ledger),
            None => T::default(),
        }
    }

    pub fn job(&self, key: &Key) -> Option<Job> {
        self.with_ledger(|ledger| ledger.get(key).cloned())
    }

    pub fn side_of(&self, key: &Key) -> Option<Rc<Side>> {
        let mut sides = self.sides.iter();
        sides.find(|side| side.runner.id == key.runner).cloned()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// What a task holds that an orderly end waits for; `None` at the end.
    pub fn alive(&self) -> Option<mpsc::Sender<()>> {
        self.alive.borrow().clone()
    }

    /// Begins the task of a job.
    pub fn go_on_with(
        self: &Rc<Shared>,
        side: &Rc<Side>,
        key: Key,
        places: Option<Places>,
        is_resumed: bool,
    ) {
        let Some(alive) = self.alive() else {
            return;
        };
        let (shared, side) = (self.clone(), side.clone());
        spawn_local(async move {
            let _alive = alive;
            act::live(&shared, &side, &key, places, is_resumed).await;
        });
    }

    /// Notes what happens to a job, and tries so again until it is on the disk: before that, nothing is done.
    ///
    /// # Errors
    /// [`Closing`] where that cannot be; the task of the job is over then.
    pub async fn note(&self, key: &Key, event: Event) -> Result<(), Closing> {
        let log = self.settings.log;
        let mut is_told = false;
        loop {
            let noted = match &mut *self.ledger.borrow_mut() {
                Some(ledger) => ledger.note(key, event.clone()),
                None => return Err(Closing),
            };
            match noted {
                Ok(()) => break,
                Err(err) if err.kind() == ErrorKind::InvalidInput => {
                    let err = terminal::chain(&err);
                    log.error(&format!("job {}: {err}: it is left as it is", key.job));
                    return Err(Closing);
                }
                Err(err) => {
                    if !is_told {
                        log.error(&format!(
                            "job {} waits: the journal cannot be written: {err}",
                            key.job
                        ));
                        is_told = true;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        log.debug(&format!("job {}: {}", key.job, event.name()));
        Ok(())
    }

    /// Notes whose machine is about to be made. Where that fails it is no reason not to make it.
    pub fn note_tenant(&self, runner: &str, namespace: &str) {
        let tenant = Tenant {
            runner: runner.to_owned(),
            namespace: namespace.to_owned(),
        };
        let noted = self.with_ledger(|ledger| ledger.note_tenant(tenant).err());
        if let Some(err) = noted {
            let log = self.settings.log;
            log.warning(&format!("the journal cannot be written: {err}"));
        }
    }

    /// Pauses that grow.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let first = self.settings.first_pause;
        pace::pauses(first, first * LONGEST_PAUSE)
    }

    /// Sleeps, unless it is to end.
    pub async fn pause(&self, time: Duration) -> Result<(), Closing> {
        let slept = pace::pause_unless_stopped(time, &self.closing).await;
        slept.map_err(|_| Closing)
    }

    /// Forgets a runner that acquires no more; with the last one it is to end.
    pub fn has_acquired_enough(&self) {
        self.acquiring.set(self.acquiring.get().saturating_sub(1));
        if self.acquiring.get() == 0 {
            self.closing.cancel();
        }
    }

    fn levels(&self) -> Levels {
        self.with_ledger(|ledger| {
            let mut levels = Levels::default();
            for job in ledger.jobs().values() {
                levels.machines += usize::from(job.place().is_some());
                match job.next().work {
                    Work::Watch => levels.running += 1,
                    Work::Leave => levels.leaving += 1,
                    Work::Create | Work::Find | Work::Launch | Work::Relaunch => levels.queue += 1,
                    Work::Nothing => {}
                }
            }
            levels
        })
    }

    /// The page with the metrics.
    pub fn page(&self) -> String {
        self.metrics.text(self.levels())
    }

    /// Tells people how it is, without any token.
    pub fn tell_state(&self) {
        let log = self.settings.log;
        if !self.settings.tells_on_signal {
            log.info("SIGUSR1 has no effect without --debug-signal");
            return;
        }
        let levels = self.levels();
        log.info(&format!(
            "state: {} queued, {} running, {} machines are to go",
            levels.queue, levels.running, levels.leaving
        ));
        self.with_ledger(|ledger| {
            for (key, job) in ledger.jobs() {
                let runner = self.side_of(key);
                let runner = runner.map_or("?".to_owned(), |side| side.runner.short.clone());
                log.info(&format!(
                    "state: job {} of the runner '{runner}': next is {:?}, machine {}",
                    key.job,
                    job.next().work,
                    job.resource().map_or("none", |resource| resource.id())
                ));
            }
        });
    }
}

impl Side {
    /// What messages call a job.
    pub fn named(&self, key: &Key) -> String {
        let runner = terminal::one_line(&self.runner.short);
        format!("job {} for runner '{runner}'", key.job)
    }
}
