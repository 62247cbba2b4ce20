//! Whether a new job is accepted, and where it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Due, Now, State};
use crate::definition::{self, Pipeline, Queue};
use crate::job::{Hold, Job, JobId, Plan, Status, Task};
use crate::value::{Value, Variables};

/// The variable that has the id of the job.
const JOB_ID: &str = "__jobID";

/// Somebody asks for a job.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The id that it is to have.
    pub id: JobId,
    /// The pipeline.
    pub pipeline: String,
    /// The variables.
    pub variables: Variables,
    /// Who asks.
    pub user: String,
    /// Its partition of the wait list.
    pub partition: String,
    /// What the client calls it.
    pub key: Option<String>,
    /// The tasks that are not run again.
    pub skipped: BTreeSet<String>,
}

/// Somebody asks for a job like another one.
#[derive(Debug, Clone)]
pub struct Rerun {
    /// The other one.
    pub of: JobId,
    /// Whether what was done is not done again.
    pub from_failed: bool,
    /// Variables that are new or different.
    pub variables: Variables,
}

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The job: a new one, or the one that there is already.
    pub job: JobId,
    /// Whether it is new.
    pub is_new: bool,
    /// The job that lost its place, and the place.
    replaced: Option<(Arc<Job>, usize)>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The server ends.
    #[error("Server is shutting down")]
    Stopping,
    /// There is no such pipeline.
    #[error("pipeline \"{0}\" is not defined")]
    Unknown(String),
    /// There is no room and nobody may wait.
    #[error("concurrency exceeded and queueing disabled for pipeline")]
    NoQueue,
    /// There is no room to wait.
    #[error("concurrency exceeded and queue limit reached for pipeline")]
    Full,
    /// The variables are not those that the pipeline wants.
    #[error("{0}")]
    Variables(String),
    /// The key was used for something else.
    #[error("the idempotency key was used for job {0}, which has other variables")]
    KeyTaken(JobId),
    /// Another job is not finished.
    #[error("the pipeline is a singleton, and job {0}, which has other variables, has not ended")]
    Singleton(JobId),
    /// The job that is to be repeated is not there.
    #[error("Job not found")]
    NoSuchJob,
    /// It cannot be repeated.
    #[error("{0}")]
    NotAgain(String),
}

/// Where a new job goes.
enum Place {
    Start,
    End,
    InsteadOf(usize),
    /// At the end, and this one loses its place.
    EndInsteadOf(usize),
}

impl State {
    /// Decides on a request. The job waits then, at least until [`State::settle`].
    ///
    /// # Errors
    /// [`Refused`]: nothing has changed.
    pub fn admit(&mut self, mut request: Request, now: Now) -> Result<Admitted, Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        let pipeline = self.definitions.get(&request.pipeline).cloned();
        let pipeline = pipeline.ok_or_else(|| Refused::Unknown(request.pipeline.clone()))?;
        check_variables(&pipeline, &mut request.variables)?;
        if let Some(known) = self.known(&pipeline, &request)? {
            return Ok(Admitted {
                job: known,
                is_new: false,
                replaced: None,
            });
        }
        let place = self.place(&pipeline, &request.partition)?;
        let job = self.make(&pipeline, request, now);
        let id = job.id;
        self.insert(job);
        let queue = self.queues.entry(pipeline.name.clone()).or_default();
        let replaced = match place {
            Place::Start | Place::End => {
                queue.push(id);
                None
            }
            Place::InsteadOf(at) => Some((std::mem::replace(&mut queue[at], id), at)),
            Place::EndInsteadOf(at) => {
                let old = queue.remove(at);
                queue.push(id);
                Some((old, at))
            }
        };
        let replaced = replaced.map(|(old, at)| (self.jobs[&old].clone(), at));
        if let Some((old, _)) = &replaced {
            self.cancel_waiting(old.id, None);
        }
        if !pipeline.start_delay.is_zero() {
            self.set_deadline(now.run + pipeline.start_delay, id, Due::Delay);
        }
        if let Some(late) = pipeline
            .webhook
            .as_ref()
            .and_then(|webhook| webhook.late_after)
        {
            self.set_deadline(now.run + late, id, Due::Late);
        }
        self.open.insert(pipeline.name.clone());
        Ok(Admitted {
            job: id,
            is_new: true,
            replaced,
        })
    }

    /// Takes an admission back that could not be written down, before anything else has happened.
    pub fn withdraw(&mut self, admitted: Admitted, now: Now) {
        if !admitted.is_new {
            return;
        }
        self.leave_queue(admitted.job);
        self.remove(admitted.job);
        self.removed.retain(|id| *id != admitted.job);
        if let Some((old, at)) = admitted.replaced {
            let queue = self.queues.entry(old.pipeline.clone()).or_default();
            queue.insert(at.min(queue.len()), old.id);
            self.touched.remove(&old.id);
            if old.is_delayed {
                self.set_deadline(now.run + old.plan.delay, old.id, Due::Delay);
            }
            self.jobs.insert(old.id, old);
        }
    }

    /// Whether a request would be accepted.
    pub fn is_schedulable(&self, pipeline: &str) -> bool {
        let Some(pipeline) = self.definitions.get(pipeline) else {
            return false;
        };
        !self.stopping && self.place(pipeline, "").is_ok()
    }

    /// The request for a job like another one.
    ///
    /// # Errors
    /// [`Refused`] when that one is not there, or cannot be repeated so.
    pub fn rerun(&self, rerun: Rerun, id: JobId, user: String) -> Result<Request, Refused> {
        let old = self.jobs.get(&rerun.of).ok_or(Refused::NoSuchJob)?;
        if !old.is_finished() {
            return Err(Refused::NotAgain(format!("job {} has not ended", old.id)));
        }
        let secret = old
            .secrets
            .iter()
            .find(|name| !rerun.variables.contains_key(*name));
        if let Some(name) = secret {
            let words = format!(
                "parameter \"{name}\" is secret and was not kept: it has to be given again"
            );
            return Err(Refused::NotAgain(words));
        }
        let mut variables = Variables::clone(&old.variables);
        variables.extend(rerun.variables);
        let done = old
            .tasks
            .iter()
            .filter(|task| rerun.from_failed && task.is_satisfied());
        Ok(Request {
            id,
            pipeline: old.pipeline.clone(),
            variables,
            user,
            partition: old.partition.clone(),
            key: None,
            skipped: done.map(|task| task.definition.name.clone()).collect(),
        })
    }

    /// The job that there is already for such a request.
    fn known(&self, pipeline: &Pipeline, request: &Request) -> Result<Option<JobId>, Refused> {
        let secrets = secrets(pipeline);
        let is_same = |job: &Job| {
            let open = |variables: &Variables| {
                let mut variables = variables.clone();
                variables.retain(|name, _| !secrets.contains(name));
                variables
            };
            open(&job.variables) == open(&request.variables) && job.partition == request.partition
        };
        if let Some(key) = &request.key
            && let Some(id) = self.keys.get(&(request.pipeline.clone(), key.clone()))
            && let Some(job) = self.jobs.get(id)
        {
            return match is_same(job) {
                true => Ok(Some(*id)),
                false => Err(Refused::KeyTaken(*id)),
            };
        }
        if pipeline.singleton {
            let waiting = self.queue(&pipeline.name).iter();
            let running = self.running.get(&pipeline.name).into_iter().flatten();
            if let Some(id) = waiting.chain(running).next() {
                return match is_same(&self.jobs[id]) {
                    true => Ok(Some(*id)),
                    false => Err(Refused::Singleton(*id)),
                };
            }
        }
        Ok(None)
    }

    fn place(&self, pipeline: &Pipeline, partition: &str) -> Result<Place, Refused> {
        let queue = self.queue(&pipeline.name);
        let has_room = self.n_running(&pipeline.name) < pipeline.concurrency;
        let can_start = |id: &&JobId| !self.jobs[*id].is_delayed;
        if has_room && pipeline.start_delay.is_zero() && !queue.iter().any(|id| can_start(&id)) {
            return Ok(Place::Start);
        }
        let last_of = |ids: &[usize]| ids.last().copied();
        match pipeline.queue {
            Queue::Append(Some(0)) | Queue::Replace(Some(0)) => Err(Refused::NoQueue),
            Queue::Append(Some(limit)) if queue.len() >= limit => Err(Refused::Full),
            Queue::Append(_) => Ok(Place::End),
            // Without a limit one waits, as in version 1.2.
            Queue::Replace(limit) if queue.len() >= limit.unwrap_or(1) => {
                Ok(Place::InsteadOf(queue.len() - 1))
            }
            Queue::Replace(_) => Ok(Place::End),
            Queue::Partitioned(limit) => {
                let of_partition = |at: &usize| self.jobs[&queue[*at]].partition == partition;
                let places: Vec<usize> = (0..queue.len()).filter(of_partition).collect();
                match last_of(&places) {
                    Some(last) if places.len() >= limit => Ok(Place::EndInsteadOf(last)),
                    _ => Ok(Place::End),
                }
            }
        }
    }

    fn make(&self, pipeline: &Pipeline, request: Request, now: Now) -> Job {
        let tasks = pipeline.tasks.iter().map(|definition| {
            let mut task = Task::new(definition.clone());
            if request.skipped.contains(&definition.name) {
                task.status = Status::Skipped;
            }
            task
        });
        let secrets = secrets(pipeline)
            .into_iter()
            .filter(|name| request.variables.contains_key(name));
        Job {
            id: request.id,
            number: self.next_number,
            pipeline: pipeline.name.clone(),
            user: request.user,
            partition: request.partition,
            secrets: secrets.collect(),
            key: request.key,
            created: now.wall,
            start: None,
            end: None,
            completed: false,
            canceled: false,
            last_error: None,
            failed: None,
            plan: Arc::new(Plan {
                env: pipeline.env.clone(),
                delay: pipeline.start_delay,
                timeout: pipeline.timeout,
                env_from_variables: pipeline.env_from_variables,
                restart: pipeline.restart,
                locks: pipeline.locks.clone(),
            }),
            tasks: tasks.collect(),
            variables: Arc::new(request.variables),
            stopping: None,
            is_delayed: !pipeline.start_delay.is_zero(),
            hold: Hold::Nothing,
        }
    }
}

fn secrets(pipeline: &Pipeline) -> BTreeSet<String> {
    let parameters = pipeline.parameters.iter().flatten();
    parameters
        .filter(|(_, parameter)| parameter.is_secret)
        .map(|(name, _)| name.clone())
        .collect()
}

fn check_variables(pipeline: &Pipeline, variables: &mut Variables) -> Result<(), Refused> {
    if variables.contains_key(JOB_ID) {
        return Err(Refused::Variables(format!(
            "variable name {JOB_ID} is reserved for internal use"
        )));
    }
    let declared = pipeline.parameters.clone().unwrap_or_default();
    if pipeline.parameters.is_some() {
        definition::complete(&declared, variables).map_err(Refused::Variables)?;
    }
    if pipeline.env_from_variables {
        check_environment(&declared, variables).map_err(Refused::Variables)?;
    }
    Ok(())
}

/// Names that change what programs do: who may schedule must not choose their values, unless the pipeline says so.
fn check_environment(
    declared: &BTreeMap<String, definition::Parameter>,
    variables: &Variables,
) -> Result<(), String> {
    for (name, value) in variables {
        let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
            && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_name {
            return Err(format!(
                "variable name {name:?} cannot be one of the environment"
            ));
        }
        if let Value::Text(text) = value
            && text.contains('\0')
        {
            return Err(format!(
                "variable \"{name}\" has a NUL in it, which no environment can have"
            ));
        }
        let is_special = [
            "LD_", "DYLD_", "BASH", "GIT_", "PYTHON", "PERL5", "NODE_", "RUBY", "JAVA_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
            || [
                "PATH",
                "IFS",
                "ENV",
                "HOME",
                "SHELL",
                "SHELLOPTS",
                "PS4",
                "TMPDIR",
                "CDPATH",
                "GLOBIGNORE",
                "TASK_NAME",
            ]
            .contains(&name.as_str());
        if is_special && !declared.contains_key(name) {
            return Err(format!(
                "variable name \"{name}\" would change how programs work: the pipeline has to declare it under `parameters`"
            ));
        }
    }
    Ok(())
}
