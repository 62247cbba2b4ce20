//! What becomes of jobs in whose midst the server ended.

use std::sync::Arc;

use super::{Due, Effect, Now, State};
use crate::definition::{Definitions, Restart};
use crate::job::{Hold, Holder, Job, JobId, Outcome, Status, Stopping, Task};

/// A job that had not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It ran, and is canceled.
    Interrupted(JobId),
    /// It waited, and is canceled.
    Dropped(JobId),
    /// It waits again.
    Requeued(JobId),
    /// It was over, but for its locks, which it had not given back.
    GivesBack(JobId),
}

impl State {
    /// Begins with jobs that were known before. Those that had not ended are canceled, or wait again.
    pub fn restore(
        definitions: Arc<Definitions>,
        jobs: Vec<Arc<Job>>,
        now: Now,
    ) -> (State, Vec<Recovered>) {
        let mut state = State {
            definitions,
            ..State::default()
        };
        let mut jobs = jobs;
        jobs.sort_by_key(|job| job.number);
        let mut open = Vec::new();
        for job in jobs {
            if !job.is_finished() {
                open.push(job.id);
            }
            state.insert(Job::clone(&job));
        }
        // They are on disk as they are.
        state.touched.clear();
        let recovered = open.into_iter().map(|id| state.recover(id, now)).collect();
        state.sweep_all(now);
        (state, recovered)
    }

    fn recover(&mut self, id: JobId, now: Now) -> Recovered {
        let job = self.jobs[&id].clone();
        let is_lost = job.secrets.iter().next().cloned();
        let holds = job.holders().next().is_some();
        if matches!(job.hold, Hold::GivesBack(_))
            && job.tasks.iter().all(|task| task.status.is_over())
        {
            self.give_back_first(id, job.stopping, now);
            return Recovered::GivesBack(id);
        }
        let is_wanted = job.stopping != Some(Stopping::Canceled);
        if job.plan.restart == Restart::Requeue && is_lost.is_none() && is_wanted {
            match holds {
                true => self.give_back_first(id, Some(Stopping::Requeued), now),
                false => self.requeue(id, now),
            }
            return Recovered::Requeued(id);
        }
        let why = is_lost
            .filter(|_| job.plan.restart == Restart::Requeue && is_wanted)
            .map(|name| {
                format!("the server ended, and the secret variable \"{name}\" is not kept on disk")
            });
        if job.start.is_none() && !holds {
            self.cancel_waiting(id, why);
            return Recovered::Dropped(id);
        }
        let job = self.change(id);
        job.canceled = !holds;
        job.last_error = why.or(job.last_error.take());
        match holds {
            true => self.give_back_first(id, Some(Stopping::Canceled), now),
            false => self.cut_off(id, now),
        }
        Recovered::Interrupted(id)
    }

    /// The tasks of a job are not gone on with; those that have locks end when these are given back.
    fn cut_off(&mut self, id: JobId, now: Now) {
        for at in 0..self.jobs[&id].tasks.len() {
            if self.jobs[&id].tasks[at].is_at_work {
                self.change_task(id, at).is_at_work = false;
            }
            let task = &self.jobs[&id].tasks[at];
            if task.status.is_over() || task.hold != Hold::Nothing {
                continue;
            }
            let was_running = task.status == Status::Running;
            let task = self.change_task(id, at);
            task.status = Status::Canceled;
            task.end = was_running.then_some(now.wall);
        }
    }

    /// What the job and its tasks held, or were about to, is given back before anything else becomes of it.
    fn give_back_first(&mut self, id: JobId, why: Option<Stopping>, now: Now) {
        self.cut_off(id, now);
        let holders: Vec<Holder> = self.jobs[&id].holders().collect();
        let job = self.change(id);
        job.stopping = why;
        let pipeline = job.pipeline.clone();
        self.running.entry(pipeline).or_default().insert(id);
        for holder in holders {
            match holder.task {
                Some(at) => self.let_go_of(id, at, Outcome::canceled()),
                None => {
                    let job = self.change(id);
                    job.hold = Hold::GivesBack(job.hold.locks().to_vec());
                    self.effects.push(Effect::LetGo(holder));
                }
            }
        }
    }

    /// A job begins anew: it waits, before all that came after it.
    pub(super) fn requeue(&mut self, id: JobId, now: Now) {
        self.no_more_deadlines(id);
        self.touched.entry(id).or_default().is_new = true;
        let job = self.change(id);
        job.start = None;
        job.end = None;
        job.stopping = None;
        job.last_error = None;
        job.failed = None;
        job.hold = Hold::Nothing;
        job.tasks.retain(|task| !task.is_handler());
        for task in &mut job.tasks {
            if task.status != Status::Skipped {
                *task = Task::new(task.definition.clone());
            }
        }
        let (pipeline, number, delay) = (job.pipeline.clone(), job.number, job.plan.delay);
        let is_delayed = job.is_delayed;
        if is_delayed {
            self.set_deadline(now.run + delay, id, Due::Delay);
        }
        if let Some(running) = self.running.get_mut(&pipeline) {
            running.remove(&id);
        }
        let numbers: Vec<u64> = self
            .queue(&pipeline)
            .iter()
            .map(|id| self.jobs[id].number)
            .collect();
        let place = numbers.partition_point(|other| *other < number);
        self.queues
            .entry(pipeline.clone())
            .or_default()
            .insert(place, id);
        self.open.insert(pipeline);
    }
}
