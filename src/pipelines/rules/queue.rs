//! Who waits starts, or waits no more.

use super::{Due, Effect, News, Now, State};
use crate::job::{JobId, Status};

impl State {
    /// Starts the jobs of a pipeline for which there is room, the first ones first. Who waits for a time to be over keeps
    /// nobody waiting.
    pub(super) fn start_waiting(&mut self, pipeline: &str, now: Now) {
        if self.stopping {
            return;
        }
        let Some(definition) = self.definitions.get(pipeline).cloned() else {
            return;
        };
        loop {
            if self.n_running(pipeline) >= definition.concurrency {
                return;
            }
            let next = self
                .queue(pipeline)
                .iter()
                .find(|id| !self.jobs[*id].is_delayed);
            let Some(id) = next.copied() else {
                return;
            };
            self.leave_queue(id);
            self.start(id, now);
        }
    }

    fn start(&mut self, id: JobId, now: Now) {
        let job = self.jobs[&id].clone();
        let running = self.running.entry(job.pipeline.clone());
        running.or_default().insert(id);
        match job.plan.locks.is_empty() {
            true => self.begin_job(id, now),
            false => self.ask_for_locks(id),
        }
    }

    /// The job has all that it needs.
    pub(super) fn begin_job(&mut self, id: JobId, now: Now) {
        let job = self.change(id);
        job.start = Some(now.wall);
        let plan = job.plan.clone();
        if let Some(timeout) = plan.timeout {
            self.set_deadline(now.run + timeout, id, Due::Timeout);
        }
        if self.webhook(id).is_some_and(|webhook| webhook.on_start) {
            self.tell(id, News::Start);
        }
        self.advance(id, now);
    }

    pub(super) fn leave_queue(&mut self, id: JobId) {
        let pipeline = &self.jobs[&id].pipeline;
        if let Some(queue) = self.queues.get_mut(pipeline) {
            queue.retain(|waiting| *waiting != id);
            if queue.is_empty() {
                self.queues.remove(pipeline);
            }
        }
    }

    /// A job that has not begun never will. It is on no wait list any more.
    pub(super) fn cancel_waiting(&mut self, id: JobId, why: Option<String>) {
        self.no_more_deadlines(id);
        let n_tasks = self.jobs[&id].tasks.len();
        for task in 0..n_tasks {
            if self.jobs[&id].tasks[task].status == Status::Waiting {
                self.change_task(id, task).status = Status::Canceled;
            }
        }
        let job = self.change(id);
        job.canceled = true;
        job.is_delayed = false;
        job.last_error = why;
        forget_secrets(job);
    }

    pub(super) fn tell(&mut self, id: JobId, news: News) {
        let job = self.jobs[&id].clone();
        self.effects.push(Effect::Tell { job, news });
    }

    pub(super) fn webhook(&self, id: JobId) -> Option<&crate::definition::Webhook> {
        let job = self.jobs.get(&id)?;
        self.definitions.get(&job.pipeline)?.webhook.as_ref()
    }
}

/// A job that has ended needs no secrets.
pub(super) fn forget_secrets(job: &mut crate::job::Job) {
    if !job.secrets.is_empty() {
        job.variables = std::sync::Arc::new(job.public_variables());
    }
}
