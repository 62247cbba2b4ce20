//! What is done for a job: the step that is next, again and again, until nothing is.

use std::time::Duration;

use gitlab::runner::Progress;
use tokio::time::{Instant, timeout};

use super::report::report;
use super::shared::{Closing, Places, Shared, Side, now};
use super::watch::watch;
use crate::context::Context;
use crate::life::{Event, Job, Key, Machine, Verdict, Work};
use crate::payload::Payload;
use crate::provider::{Doing, Kind, Launch, Order, ProviderError};
use crate::resource::Resource;

/// The longest that one call of a provider may take, whatever it is made of.
const LIMIT: Duration = Duration::from_secs(115);

/// How often what may pass is tried.
const TRIES: usize = 3;

/// The group that a job is of, as the coordinator says it.
const NAMESPACE: &str = "CI_PROJECT_ROOT_NAMESPACE";

/// How large a machine its author wants.
const FLAVOR: &str = "CI_CLEVER_CLOUD_FLAVOR";

/// A job, and what of it is not written down.
pub(super) struct Run<'a> {
    pub shared: &'a Shared,
    pub side: &'a Side,
    pub key: &'a Key,
    /// The places that it takes.
    places: Option<Places>,
    /// Whether somebody else may have ended it while we were not there.
    is_resumed: bool,
    /// When it was given to us, or we to it.
    began: Instant,
    /// The end of what was started, if it can be waited for.
    pub attended: Option<Doing<'static, ()>>,
}

/// Does what is next for a job until nothing is, or it is to end.
pub(super) async fn live(
    shared: &Shared,
    side: &Side,
    key: &Key,
    places: Option<Places>,
    is_resumed: bool,
) {
    let mut run = Run {
        shared,
        side,
        key,
        places,
        is_resumed,
        began: Instant::now(),
        attended: None,
    };
    while let Some(job) = shared.job(key) {
        if run.step(&job).await == Err(Closing) {
            return;
        }
    }
}

impl Run<'_> {
    async fn step(&mut self, job: &Job) -> Result<(), Closing> {
        let next = job.next();
        if next.report {
            let (shared, side, key) = (self.shared, self.side, self.key);
            let leave = async {
                match next.work {
                    Work::Leave => self.leave(job).await,
                    _ => Ok(()),
                }
            };
            // Neither waits for the other.
            let (reported, left) = tokio::join!(report(shared, side, key, job), leave);
            return reported.and(left);
        }
        match next.work {
            Work::Create => self.create(job).await,
            Work::Find => self.find(job).await,
            Work::Launch => self.launch(job, false).await,
            Work::Relaunch => self.launch(job, true).await,
            Work::Watch => watch(self, job).await,
            Work::Leave => self.leave(job).await,
            Work::Nothing => Err(Closing),
        }
    }

    /// Notes that the job has failed, and tells people.
    pub async fn fail(&self, step: &'static str, reason: String) -> Result<(), Closing> {
        self.shared.metrics.failed(step);
        self.shared.note(self.key, Event::Failed { reason }).await
    }

    async fn fail_to_provision(&self, err: &ProviderError) -> Result<(), Closing> {
        let log = self.shared.settings.log;
        let named = self.side.named(self.key);
        log.error(&format!("Provisioning failed for {named}{err}"));
        let reason = format!("no machine could be made for this job: {}", told(err));
        self.fail("provision", reason).await
    }

    /// Whether the job is over for the coordinator: so it may be where it was given to us long ago.
    async fn is_over(&self, job: &Job) -> bool {
        if !self.is_resumed {
            return false;
        }
        let progress = self.side.coordinator.progress(&job.token).await;
        matches!(progress, Ok(Progress::Over))
    }

    async fn create(&mut self, job: &Job) -> Result<(), Closing> {
        let shared = self.shared;
        let permit = self.side.provisioning.acquire();
        let permit = shared.closing.run_until_cancelled(permit).await;
        // Never closed; and where it is to end, the next start goes on.
        let Some(Ok(_permit)) = permit else {
            return Err(Closing);
        };
        if self.is_over(job).await {
            return shared.note(self.key, Event::Over).await;
        }
        let order = match Payload::read(&job.payload) {
            Ok(payload) => Order {
                name: self.side.provider.name_of(self.key.job),
                job: self.key.job,
                namespace: payload.first(NAMESPACE).map(str::to_owned),
                flavor: payload.first(FLAVOR).map(str::to_owned),
            },
            Err(err) => return self.fail("acquire", err.to_string()).await,
        };
        let provider = &self.side.provider;
        let prepared = self.tries(ProviderError::may_pass, async || {
            limited("prepare", provider.prepare(&order)).await
        });
        let prepared = match prepared.await {
            Ok(prepared) => prepared,
            Err(err) => return self.fail_to_provision(&err).await,
        };
        if let Some(namespace) = &order.namespace
            && self.side.runner.executor.has_tenants()
        {
            shared.note_tenant(&self.key.runner, namespace);
        }
        let creating = Event::Creating {
            name: order.name.clone(),
            namespace: order.namespace.clone(),
        };
        shared.note(self.key, creating).await?;
        // What is certain not to have been made may be asked for again; nothing else.
        let asked = self.tries(
            |err| err.kind == Kind::Passing,
            async || limited("create", provider.create(&order, &prepared)).await,
        );
        match asked.await {
            Ok(resource) => self.created(resource).await,
            Err(err) if err.kind == Kind::Unknown => {
                let named = self.side.named(self.key);
                let log = shared.settings.log;
                log.warning(&format!(
                    "nobody knows what became of the machine of {named}{err}"
                ));
                Ok(())
            }
            Err(err) => self.fail_to_provision(&err).await,
        }
    }

    async fn created(&self, resource: Resource) -> Result<(), Closing> {
        let log = self.shared.settings.log;
        let (id, named) = (terminal::one_line(resource.id()), self.side.named(self.key));
        let created = Event::Created { resource };
        self.shared.note(self.key, created).await?;
        log.info(&format!("machine {id} was made for {named}"));
        Ok(())
    }

    /// Looks for a machine that may have been made.
    async fn find(&self, job: &Job) -> Result<(), Closing> {
        let Machine::Creating(place) = &job.machine else {
            return Err(Closing);
        };
        if self.is_over(job).await {
            return self.shared.note(self.key, Event::Over).await;
        }
        let mut last = None;
        let mut pauses = self.shared.pauses();
        // A server may be at it still.
        for n in 0..=TRIES {
            if n > 0 {
                self.shared.pause(pauses.next().unwrap_or_default()).await?;
            }
            let namespace = place.namespace.as_deref();
            let look = self.side.provider.find(&place.name, namespace);
            match limited("find", look).await {
                Ok(Some(resource)) => return self.created(resource).await,
                Ok(None) => {}
                Err(err) => {
                    self.shared.metrics.error("provider");
                    last = Some(err);
                }
            }
        }
        let err = last.unwrap_or_else(|| {
            ProviderError::new(
                "create-app",
                Kind::Unknown,
                "nobody knows whether a machine was made, and none was found",
            )
        });
        self.fail_to_provision(&err).await
    }

    async fn launch(&mut self, job: &Job, again: bool) -> Result<(), Closing> {
        let (shared, side) = (self.shared, self.side);
        // What was made is launched also when it is to end; but not what waits in line.
        let permit = side.provisioning.acquire();
        let permit = shared.closing.run_until_cancelled(permit).await;
        let Some(Ok(_permit)) = permit.or_else(|| side.provisioning.try_acquire().ok().map(Ok))
        else {
            return Err(Closing);
        };
        if self.is_over(job).await {
            return shared.note(self.key, Event::Over).await;
        }
        let Some(resource) = job.resource() else {
            return Err(Closing);
        };
        let context = match context(job, &side.runner.image, &side.runner.forwarded) {
            Ok(context) => context,
            Err(reason) => return self.fail("launch", reason).await,
        };
        if !again {
            shared.note(self.key, Event::Launching).await?;
        }
        let mut may_have_started = again;
        let launched = self.tries(ProviderError::may_pass, async || {
            let launch = side.provider.launch(resource, &context, may_have_started);
            let launched = limited("launch", launch).await;
            may_have_started = true;
            launched
        });
        match launched.await {
            Ok(launch) => {
                shared.note(self.key, Event::Launched { at: now() }).await?;
                if !again {
                    shared.metrics.launched(self.began.elapsed());
                }
                if let Launch::Attended(end) = launch {
                    self.attended = Some(end);
                }
                let log = shared.settings.log;
                log.info(&format!("launched {}", side.named(self.key)));
                Ok(())
            }
            Err(err) => {
                let named = side.named(self.key);
                let id = terminal::one_line(resource.id());
                let log = shared.settings.log;
                log.error(&format!(
                    "Launching failed for {named}, error on resource {id}{err}"
                ));
                let reason = format!("this job could not be launched: {}", told(&err));
                self.fail("launch", reason).await
            }
        }
    }

    /// Takes the machine away, however long that takes.
    async fn leave(&mut self, job: &Job) -> Result<(), Closing> {
        let (shared, side, key) = (self.shared, self.side, self.key);
        let log = shared.settings.log;
        if !matches!(job.machine, Machine::Leaving(..)) {
            shared.note(key, Event::Leaving).await?;
        }
        if shared.settings.config.keeps_resources && job.verdict == Verdict::Over {
            log.info(&format!("the machine of {} is kept", side.named(key)));
            return shared.note(key, Event::Gone).await;
        }
        let mut pauses = shared.pauses();
        loop {
            if shared.is_closing() {
                return Err(Closing);
            }
            match self.remove().await {
                Ok(true) => {
                    shared.metrics.gone();
                    log.info(&format!(
                        "decommissioned the machine of {}",
                        side.named(key)
                    ));
                    return shared.note(key, Event::Gone).await;
                }
                Ok(false) => return shared.note(key, Event::Gone).await,
                Err(err) => {
                    shared.metrics.error("provider");
                    log.error(&format!(
                        "Decommissioning failed for {}{err}",
                        side.named(key)
                    ));
                    // Nobody else waits for a provider that is away.
                    self.places = None;
                    let pause = pauses.next().unwrap_or_default();
                    shared
                        .pause(pause.max(err.wait.unwrap_or_default()))
                        .await?;
                }
            }
        }
    }

    /// Takes the machine away, if there is one.
    async fn remove(&self) -> Result<bool, ProviderError> {
        let Some(job) = self.shared.job(self.key) else {
            return Ok(false);
        };
        let Machine::Leaving(place, resource) = &job.machine else {
            return Ok(false);
        };
        let resource = match resource {
            Some(resource) => resource.clone(),
            None => {
                let namespace = place.namespace.as_deref();
                let look = self.side.provider.find(&place.name, namespace);
                match limited("find", look).await? {
                    Some(resource) => resource,
                    None => return Ok(false),
                }
            }
        };
        limited("delete", self.side.provider.delete(&resource)).await?;
        Ok(true)
    }

    /// Tries something again that may pass, if `again` says so of its error.
    async fn tries<T>(
        &self,
        again: impl Fn(&ProviderError) -> bool,
        mut work: impl AsyncFnMut() -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let mut pauses = self.shared.pauses();
        for _ in 1..TRIES {
            match work().await {
                Err(err) if again(&err) => {
                    self.shared.metrics.error("provider");
                    let pause = pauses.next().unwrap_or_default();
                    tokio::time::sleep(pause.max(err.wait.unwrap_or_default()).min(LIMIT)).await;
                }
                done => return done,
            }
        }
        work().await
    }
}

/// A call of a provider, which ends.
pub(super) async fn limited<T>(
    action: &'static str,
    work: Doing<'_, T>,
) -> Result<T, ProviderError> {
    match timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => {
            let limit = humantime::format_duration(LIMIT);
            let details = format!("it is not done after {limit}");
            Err(ProviderError::new(action, Kind::Unknown, details))
        }
    }
}

/// What a machine is to run.
fn context(job: &Job, image: &str, forwarded: &str) -> Result<Context, String> {
    let payload = Payload::read(&job.payload).map_err(|err| err.to_string())?;
    let changed = payload.through_proxy().map_err(|err| err.to_string())?;
    // As it came, where nothing of it changes.
    let text = changed.map_or_else(|| job.payload.clone(), |changed| changed.text());
    Ok(Context::new(image, forwarded, text))
}

/// What is told to a job's author: not where our servers are, but what they said.
fn told(err: &ProviderError) -> String {
    let details = match err.details.is_empty() {
        true => "no details",
        false => &err.details,
    };
    format!("{details} (step {}, code {})", err.action, err.code)
}
