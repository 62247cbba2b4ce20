//! The tasks of a job that runs: which start, which never will, and how the job ends.

use std::sync::Arc;

use super::queue::forget_secrets;
use super::{Due, Effect, Ended, News, Now, State};
use crate::job::{Hold, JobId, Outcome, Status, Stopping, Task};

impl State {
    /// Starts what can start, drops what never will, and ends the job when nothing is left.
    pub(super) fn advance(&mut self, id: JobId, now: Now) {
        loop {
            // It may have ended on the way here, or even be forgotten.
            let Some(job) = self.jobs.get(&id).filter(|job| job.is_running()).cloned() else {
                return;
            };
            let stopping = job.stopping.is_some();
            let mut is_changed = false;
            for (at, task) in job.tasks.iter().enumerate() {
                // Who gives up his locks ends when he hears of it.
                let gives_up = matches!(task.hold, Hold::GivesBack(_));
                if task.status != Status::Waiting || task.is_handler() || gives_up {
                    continue;
                }
                let needed = task
                    .definition
                    .depends_on
                    .iter()
                    .filter_map(|name| job.task(name));
                let mut needed = needed.map(|task| (task.is_satisfied(), task.status.is_over()));
                let is_lost = stopping
                    || needed
                        .clone()
                        .any(|(is_satisfied, is_over)| is_over && !is_satisfied);
                let asks = matches!(task.hold, Hold::Waits(_));
                if is_lost && asks {
                    self.let_go_of(id, at, Outcome::canceled());
                } else if asks {
                    // It begins when it has them.
                } else if is_lost {
                    self.change_task(id, at).status = Status::Canceled;
                    is_changed = true;
                } else if needed.all(|(is_satisfied, _)| is_satisfied) {
                    is_changed |= self.begin(id, at, now);
                }
            }
            if !is_changed {
                break;
            }
        }
        if self.jobs[&id]
            .tasks
            .iter()
            .all(|task| task.status.is_over())
        {
            self.graph_is_over(id, now);
        }
    }

    /// Begins a task; says whether it is over already.
    fn begin(&mut self, id: JobId, at: usize, now: Now) -> bool {
        let task = self.change_task(id, at);
        if task.definition.script.is_empty() {
            task.start = Some(now.wall);
            task.status = Status::Done;
            task.end = Some(now.wall);
            return true;
        }
        match task.definition.locks.is_empty() {
            true => self.begin_attempts(id, at, now),
            false => self.ask_for_locks_of(id, at),
        }
        false
    }

    /// A task has all that it needs.
    pub(super) fn begin_attempts(&mut self, id: JobId, at: usize, now: Now) {
        let task = self.change_task(id, at);
        task.start = Some(now.wall);
        task.status = Status::Running;
        task.exit_code = -1;
        self.run(id, at, now);
    }

    /// Starts an attempt of a task.
    pub(super) fn run(&mut self, id: JobId, at: usize, now: Now) {
        let task = self.change_task(id, at);
        task.is_at_work = true;
        task.timed_out = false;
        let (attempt, timeout) = (task.attempt, task.definition.timeout);
        if let Some(timeout) = timeout {
            self.set_deadline(now.run + timeout, id, Due::TaskTimeout(at));
        }
        self.effects.push(Effect::Run {
            job: id,
            task: at,
            attempt,
        });
    }

    /// A task's process has ended.
    pub(super) fn ended(&mut self, id: JobId, at: usize, attempt: u32, how: Ended, now: Now) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let Some(task) = job
            .tasks
            .get(at)
            .filter(|task| task.is_at_work && task.attempt == attempt)
        else {
            return;
        };
        let (task, stopping) = (task.clone(), job.stopping);
        self.clear_deadline(id, Due::TaskTimeout(at));
        self.change_task(id, at).is_at_work = false;
        // What stops the job does not stop what runs after a failure, unless somebody cancels that too.
        let stopped = match stopping {
            Some(Stopping::Failed | Stopping::TimedOut) if task.is_handler() => None,
            stopping => stopping,
        };
        let outcome = match stopped {
            Some(Stopping::Canceled | Stopping::Requeued | Stopping::Failed | Stopping::Lost) => {
                Outcome::canceled()
            }
            Some(Stopping::TimedOut) => self.out_of_time(id),
            None => {
                let (code, error) = match how {
                    _ if task.lost.is_some() => (-1, task.lost.clone()),
                    _ if task.timed_out => (-1, Some(task_timeout(&task))),
                    Ended::Exited(0) => (0, None),
                    Ended::Exited(code) => (code, Some(format!("exit status {code}"))),
                    Ended::Failed(error) => (-1, Some(error)),
                };
                if error.is_some() && task.lost.is_none() && self.retries(id, at, now) {
                    return;
                }
                let is_failure = error.is_some() && !task.definition.allow_failure;
                Outcome {
                    status: match is_failure {
                        true => Status::Error,
                        false => Status::Done,
                    },
                    code,
                    // Where failure is allowed the code alone tells of an exit; what could not run says why.
                    error: error.filter(|_| is_failure || code == -1),
                    fails: is_failure,
                }
            }
        };
        self.end_task(id, at, outcome, now);
        self.advance(id, now);
    }

    /// A task ends, once it has given back what it holds.
    pub(super) fn end_task(&mut self, id: JobId, at: usize, outcome: Outcome, now: Now) {
        if matches!(self.jobs[&id].tasks[at].hold, Hold::Holds(_)) {
            self.clear_deadline(id, Due::Retry(at));
            return self.let_go_of(id, at, outcome);
        }
        let Outcome {
            status,
            code,
            error,
            fails,
        } = outcome;
        self.close(id, at, status, code, error, now);
        if fails {
            self.task_failed(id, at, now);
        }
    }

    /// How a task ends when the time of its job is over.
    fn out_of_time(&self, id: JobId) -> Outcome {
        Outcome {
            status: Status::Error,
            code: -1,
            error: Some(job_timeout(self.jobs[&id].plan.timeout)),
            fails: false,
        }
    }

    fn close(
        &mut self,
        id: JobId,
        at: usize,
        status: Status,
        code: i32,
        error: Option<String>,
        now: Now,
    ) {
        self.clear_deadline(id, Due::Retry(at));
        let task = self.change_task(id, at);
        task.status = status;
        // What was canceled before it began has neither an end nor a code.
        if task.start.is_some() || status != Status::Canceled {
            task.end = Some(now.wall);
            task.exit_code = code;
        }
        task.errored = status == Status::Error;
        task.error = error;
        task.is_at_work = false;
        if task.errored && !task.is_handler() {
            // Not by the times of their ends: clocks are set back.
            self.change(id).failed.get_or_insert(at);
        }
    }

    fn task_failed(&mut self, id: JobId, at: usize, now: Now) {
        let job = self.change(id);
        if job.tasks[at].is_handler() {
            return;
        }
        if job.last_error.is_none() {
            job.last_error = job.tasks[at].error.clone();
        }
        let continues =
            |definition: &Arc<crate::definition::Pipeline>| definition.continues_after_failure;
        let pipeline = job.pipeline.clone();
        if !self.definitions.get(&pipeline).is_some_and(continues) {
            self.stop_job(id, Stopping::Failed, now);
        }
    }

    /// No more tasks start, and those that run are stopped. The first reason stands, unless somebody cancels.
    pub(super) fn stop_job(&mut self, id: JobId, why: Stopping, now: Now) {
        match self.jobs[&id].hold {
            Hold::Waits(_) => return self.give_up_waiting(id, why),
            // It ends already. It was to wait again perhaps, and is not.
            Hold::GivesBack(_) => {
                let job = self.change(id);
                if job.stopping == Some(Stopping::Requeued) && why == Stopping::Canceled {
                    job.stopping = Some(why);
                }
                return;
            }
            Hold::Nothing | Hold::Holds(_) => {}
        }
        let job = self.change(id);
        let is_by_hand = !matches!(why, Stopping::Failed | Stopping::TimedOut);
        // What has failed stays failed, even if what runs after that is canceled.
        let runs_handler = job.tasks.iter().any(Task::is_handler);
        if job.stopping.is_none() || (is_by_hand && !runs_handler) {
            job.stopping = Some(why);
        }
        let tasks: Vec<(usize, bool, bool)> = job
            .tasks
            .iter()
            .enumerate()
            // Who gives locks back already has come to an end of his own.
            .filter(|(_, task)| !matches!(task.hold, Hold::GivesBack(_)))
            .map(|(at, task)| (at, task.status == Status::Running, task.is_at_work))
            .collect();
        for (at, is_running, is_at_work) in tasks {
            if !is_running || (runs_handler && !is_by_hand) {
                continue;
            }
            if runs_handler {
                // Else its end would be taken for its own.
                self.change(id).stopping = Some(match why {
                    Stopping::Lost => why,
                    _ => Stopping::Canceled,
                });
            }
            if is_at_work {
                self.effects.push(Effect::Interrupt { job: id, task: at });
            } else {
                // It waits to be tried again.
                let outcome = match why {
                    Stopping::TimedOut => self.out_of_time(id),
                    _ => Outcome::canceled(),
                };
                self.end_task(id, at, outcome, now);
            }
        }
        self.advance(id, now);
    }

    pub(super) fn timed_out(&mut self, id: JobId, now: Now) {
        let error = job_timeout(self.jobs[&id].plan.timeout);
        let job = self.change(id);
        job.last_error.get_or_insert(error);
        self.stop_job(id, Stopping::TimedOut, now);
    }

    pub(super) fn task_timed_out(&mut self, id: JobId, at: usize) {
        let task = self.change_task(id, at);
        if task.is_at_work {
            task.timed_out = true;
            self.effects.push(Effect::Interrupt { job: id, task: at });
        }
    }

    /// Nothing of the job runs or waits: it has ended, unless something runs after a failure.
    fn graph_is_over(&mut self, id: JobId, now: Now) {
        let job = self.jobs[&id].clone();
        if matches!(job.hold, Hold::GivesBack(_)) {
            return;
        }
        let has_failed = job.errored() || job.last_error.is_some();
        // Canceled, or without its locks.
        let is_cut_off = matches!(
            job.stopping,
            Some(Stopping::Canceled | Stopping::Requeued | Stopping::Lost)
        );
        let handler = self
            .definitions
            .get(&job.pipeline)
            .and_then(|definition| definition.on_error.clone());
        if let Some(handler) = handler
            && has_failed
            && !is_cut_off
            && !job.tasks.iter().any(Task::is_handler)
            && job.first_failed().is_some()
        {
            let at = job.tasks.len();
            self.change(id).tasks.push(Task::new(handler));
            self.touched.entry(id).or_default().is_new = true;
            if !self.begin(id, at, now) {
                return;
            }
        }
        if !self.gives_back(id) {
            self.conclude(id, now);
        }
    }

    /// Nothing of the job is left: it has ended, or waits again.
    pub(super) fn conclude(&mut self, id: JobId, now: Now) {
        let job = &self.jobs[&id];
        if job.stopping == Some(Stopping::Requeued) {
            return self.requeue(id, now);
        }
        let is_canceled =
            job.stopping == Some(Stopping::Canceled) && !job.tasks.iter().any(Task::is_handler);
        self.finish(id, is_canceled, now);
    }

    fn finish(&mut self, id: JobId, is_canceled: bool, now: Now) {
        self.no_more_deadlines(id);
        let job = self.change(id);
        job.completed = true;
        job.canceled = is_canceled;
        job.end = Some(now.wall);
        if is_canceled {
            job.last_error
                .get_or_insert_with(|| "context canceled".to_owned());
        }
        forget_secrets(job);
        let (pipeline, is_failed) = (
            job.pipeline.clone(),
            job.errored() || job.last_error.is_some(),
        );
        if let Some(running) = self.running.get_mut(&pipeline) {
            running.remove(&id);
            if running.is_empty() {
                self.running.remove(&pipeline);
            }
        }
        self.effects.push(Effect::Over {
            job: id,
            is_canceled,
        });
        if is_failed && !is_canceled && self.webhook(id).is_some_and(|webhook| webhook.on_failure) {
            self.tell(id, News::Failure);
        }
        self.sweep(&pipeline, now);
        self.open.insert(pipeline);
    }
}

fn job_timeout(timeout: Option<std::time::Duration>) -> String {
    format!("the job timed out after {}", shown(timeout))
}

fn task_timeout(task: &Task) -> String {
    format!("timed out after {}", shown(task.definition.timeout))
}

fn shown(time: Option<std::time::Duration>) -> String {
    humantime::format_duration(time.unwrap_or_default()).to_string()
}
