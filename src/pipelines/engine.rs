//! The loop that applies the rules: what happens goes to [`State`], what changes to the journal and then to the readers, and
//! what is to be done is done.
//!
//! Nothing is told to anybody before it is on disk. What comes together is written together, so that a slow disk slows
//! each request down, but not their number. While the disk takes nothing, new requests are refused, and all else is kept
//! and written later; only what stops a task does not wait for that.

mod act;
mod disk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use child::Supervised;
use net::Proxies;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::definition::Definitions;
use crate::job::{Holder, Job, JobId, Time};
use crate::journal::Journal;
use crate::locks::{self, Locks};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::rules::{Change, Effect, Ended, Event, Now, Recovered, Refused, Request, Rerun, State};
use crate::view::View;
use crate::work::Site;

/// How many requests may wait for the loop.
const WAITING: usize = 1024;
/// How many are looked at together.
const TOGETHER: usize = 512;
/// How long after a failure the journal is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the end of the server waits for a disk that takes nothing.
const LAST: Duration = Duration::from_secs(10);
/// How long the end of the server waits for locks to be given back.
const LAST_LOCKS: Duration = Duration::from_secs(30);
/// How often it is looked for jobs that are too old.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

/// Why a request got no job.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be written down.
    #[error("the journal cannot be written, so that the job would be lost with the server: {0}")]
    Journal(String),
    /// The loop has ended.
    #[error("Server is shutting down")]
    Gone,
}

type Answer = oneshot::Sender<Result<JobId, ScheduleError>>;

enum Message {
    Schedule(Request, Answer),
    Rerun(Rerun, JobId, String, Answer),
    Cancel(JobId, oneshot::Sender<()>),
    Load(Arc<Definitions>, oneshot::Sender<()>),
    Event(Event),
    /// Processes of a task that has ended.
    Left(JobId, usize, Supervised),
}

/// How others speak with the loop.
#[derive(Debug, Clone)]
pub struct Scheduler(mpsc::Sender<Message>);

impl Scheduler {
    /// Asks for a job, and gives its id once it is on disk.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub async fn schedule(&self, request: Request) -> Result<JobId, ScheduleError> {
        self.ask(|answer| Message::Schedule(request, answer)).await
    }

    /// Asks for a job like another one.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub async fn rerun(&self, rerun: Rerun, user: String) -> Result<JobId, ScheduleError> {
        self.ask(|answer| Message::Rerun(rerun, JobId::new_v4(), user, answer))
            .await
    }

    async fn ask(&self, message: impl FnOnce(Answer) -> Message) -> Result<JobId, ScheduleError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .send(message(answer))
            .await
            .map_err(|_| ScheduleError::Gone)?;
        answered.await.unwrap_or(Err(ScheduleError::Gone))
    }

    /// Cancels a job; comes back when that is on disk.
    pub async fn cancel(&self, job: JobId) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Message::Cancel(job, answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Takes new definitions; comes back when they count.
    pub async fn load(&self, definitions: Arc<Definitions>) {
        let (answer, answered) = oneshot::channel();
        if self
            .0
            .send(Message::Load(definitions, answer))
            .await
            .is_ok()
        {
            let _ = answered.await;
        }
    }

    /// Ends the server: once no job runs, the loop does.
    pub async fn stop(&self, forced: bool) {
        let _ = self.0.send(Message::Event(Event::Stop { forced })).await;
    }
}

/// What the loop works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Where tasks run.
    pub site: Arc<Site>,
    /// What readers see.
    pub view: Arc<View>,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
    /// Who gives locks.
    pub locks: Arc<dyn Locks>,
    /// How webhooks are reached.
    pub proxies: Proxies,
    /// What people read.
    pub log: Log,
}

/// Changes that are not on disk, and what waits for that.
#[derive(Default)]
struct Unwritten {
    changes: Vec<Change>,
    effects: Vec<Effect>,
    canceled: Vec<oneshot::Sender<()>>,
    pipelines: bool,
}

/// Somebody who holds locks, or waits for some.
struct Holding {
    /// Ends that.
    stop: CancellationToken,
    /// What is different in the environment of its tasks.
    env: Arc<locks::Change>,
}

/// The loop.
pub struct Engine {
    state: State,
    journal: Option<Journal>,
    tools: Tools,
    began: Instant,
    messages: mpsc::Receiver<Message>,
    tell: mpsc::Sender<Message>,
    unwritten: Unwritten,
    /// When the journal is tried again, after a failure.
    again: Option<Instant>,
    working: HashMap<(JobId, usize), CancellationToken>,
    /// Processes of tasks that have ended, of jobs that have not.
    left: HashMap<JobId, Vec<(usize, Supervised)>>,
    /// Who holds locks, or waits for some.
    holding: HashMap<Holder, Holding>,
    lock_news: (
        mpsc::UnboundedSender<locks::News>,
        mpsc::UnboundedReceiver<locks::News>,
    ),
    /// What ends with the loop.
    closing: JoinSet<()>,
    next_sweep: Instant,
}

impl Engine {
    /// Begins with the jobs that were known before.
    pub fn new(
        journal: Journal,
        jobs: Vec<Arc<Job>>,
        definitions: Arc<Definitions>,
        tools: Tools,
    ) -> (Engine, Scheduler, Vec<Recovered>) {
        let began = Instant::now();
        let now = Now {
            wall: Time::now(),
            run: Duration::ZERO,
        };
        let known = jobs.clone();
        let (state, recovered) = State::restore(definitions.clone(), jobs, now);
        let (tell, messages) = mpsc::channel(WAITING);
        tools.view.change(|seen| {
            seen.definitions = definitions.clone();
            for job in known {
                seen.put(job);
            }
        });
        for pipeline in definitions.keys() {
            tools.metrics.know(pipeline);
        }
        let mut engine = Engine {
            state,
            journal: Some(journal),
            tools,
            began,
            messages,
            tell: tell.clone(),
            unwritten: Unwritten {
                pipelines: true,
                ..Unwritten::default()
            },
            again: None,
            working: HashMap::new(),
            left: HashMap::new(),
            holding: HashMap::new(),
            lock_news: mpsc::unbounded_channel(),
            closing: JoinSet::new(),
            next_sweep: began,
        };
        engine.show_pipelines();
        (engine, Scheduler(tell), recovered)
    }

    /// Runs until the server is to end and no job runs.
    pub async fn run(mut self) {
        self.settle();
        self.write().await;
        let mut idle_since = None;
        loop {
            if self.state.is_stopping() && !self.state.is_any_running() {
                let since = *idle_since.get_or_insert_with(Instant::now);
                if self.unwritten.changes.is_empty() || since.elapsed() > LAST {
                    break;
                }
            } else if self.state.is_stopping() && self.state.is_only_giving_back() {
                // It is on disk that there is something to give back.
                let since = *idle_since.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST_LOCKS {
                    let words = "Locks could not be given back; the next start goes on with it";
                    self.tools.log.warn(words, &[]);
                    break;
                }
            } else {
                idle_since = None;
            }
            let wake = self.wake();
            let mut together = Vec::new();
            tokio::select! {
                biased;
                n = self.messages.recv_many(&mut together, TOGETHER) => if n == 0 { break },
                news = self.lock_news.1.recv() => together.extend(news.map(|news| self.hear(news))),
                () = sleep_until(wake.into()) => {}
            }
            self.handle(together).await;
            while self.closing.try_join_next().is_some() {}
        }
        self.messages.close();
        self.tidy(true);
        while self.closing.join_next().await.is_some() {}
    }

    fn now(&self) -> Now {
        Now {
            wall: Time::now(),
            run: self.began.elapsed(),
        }
    }

    /// When something is to be done, whatever happens.
    fn wake(&self) -> Instant {
        let due = self
            .state
            .next_deadline()
            .and_then(|due| self.began.checked_add(due));
        let all = [due, self.again, Some(self.next_sweep)];
        all.into_iter().flatten().min().unwrap_or(self.next_sweep)
    }

    async fn handle(&mut self, messages: Vec<Message>) {
        let mut requests = Vec::new();
        for message in messages {
            match message {
                Message::Schedule(request, answer) => requests.push((Ok(request), answer)),
                Message::Rerun(rerun, id, user, answer) => {
                    requests.push((self.state.rerun(rerun, id, user), answer))
                }
                Message::Cancel(job, answer) => {
                    self.apply(Event::Cancel(job));
                    self.unwritten.canceled.push(answer);
                }
                Message::Load(definitions, answer) => {
                    for pipeline in definitions.keys() {
                        self.tools.metrics.know(pipeline);
                    }
                    self.apply(Event::Load(definitions));
                    self.show_pipelines();
                    let _ = answer.send(());
                }
                Message::Event(event) => self.apply(event),
                Message::Left(job, task, processes) => {
                    match self.state.job(job).is_some_and(|job| job.is_running()) {
                        true => self.left.entry(job).or_default().push((task, processes)),
                        false => {
                            self.closing.spawn(processes.leave());
                        }
                    }
                }
            }
        }
        let now = self.now();
        let is_due = self.state.next_deadline().is_some_and(|due| due <= now.run);
        if is_due || Instant::now() >= self.next_sweep {
            self.next_sweep = Instant::now() + BETWEEN_SWEEPS;
            self.apply(Event::Tick);
            self.tidy(false);
        }
        // What is unwritten comes first: a request is refused if that cannot be written.
        let is_failing = self.again.is_some();
        if is_failing
            && (!requests.is_empty() || self.again.is_some_and(|again| Instant::now() >= again))
        {
            self.write().await;
        }
        self.admit(requests).await;
        self.settle();
        if self.again.is_none() {
            self.write().await;
        }
        if self.unwritten.pipelines {
            self.show_pipelines();
        }
    }

    fn apply(&mut self, event: Event) {
        if let Event::Ended { job, task, .. } = &event {
            self.working.remove(&(*job, *task));
        }
        self.unwritten.pipelines |= matches!(event, Event::Load(_) | Event::Stop { .. });
        let effects = self.state.apply(event, self.now());
        self.keep(effects);
    }

    fn settle(&mut self) {
        let effects = self.state.settle(self.now());
        self.keep(effects);
    }

    fn keep(&mut self, effects: Vec<Effect>) {
        self.unwritten.changes.extend(self.state.take_changes());
        for effect in effects {
            match effect {
                // What runs, costs: no disk is waited for.
                Effect::Interrupt { job, task } => {
                    if let Some(token) = self.working.get(&(job, task)) {
                        token.cancel();
                    }
                    // It may not have begun.
                    self.unwritten.effects.retain(|later| {
                        !matches!(later, Effect::Run { job: of, task: at, .. } if (*of, *at) == (job, task))
                            || self.working.contains_key(&(job, task))
                    });
                    if !self.working.contains_key(&(job, task)) {
                        self.not_begun(job, task);
                    }
                }
                effect => self.unwritten.effects.push(effect),
            }
        }
    }

    /// A task was to begin, and is stopped before.
    fn not_begun(&mut self, job: JobId, task: usize) {
        let attempt = self
            .state
            .job(job)
            .and_then(|job| job.tasks.get(task))
            .map_or(0, |task| task.attempt);
        let how = Ended::Exited(130);
        let event = Message::Event(Event::Ended {
            job,
            task,
            attempt,
            how,
        });
        let tell = self.tell.clone();
        self.closing.spawn(async move {
            let _ = tell.send(event).await;
        });
    }
}
