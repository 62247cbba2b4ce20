//! Time that is over, and jobs that are to end.

use super::{Due, News, Now, State};
use crate::definition::Restart;
use crate::job::{JobId, Stopping};

impl State {
    pub(super) fn tick(&mut self, now: Now) {
        while let Some((at, id, due)) = self.deadlines.first().copied() {
            if at > now.run {
                break;
            }
            self.clear_deadline(id, due);
            match due {
                Due::Delay => {
                    self.change(id).is_delayed = false;
                    let pipeline = self.jobs[&id].pipeline.clone();
                    self.open.insert(pipeline);
                }
                Due::Timeout => self.timed_out(id, now),
                Due::TaskTimeout(task) => self.task_timed_out(id, task),
                Due::Retry(task) => self.run(id, task, now),
                Due::Late => self.tell(id, News::Late),
            }
        }
        self.sweep_all(now);
    }

    pub(super) fn cancel(&mut self, id: JobId, now: Now) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        if job.is_finished() {
            return;
        }
        if !job.is_under_way() {
            self.leave_queue(id);
            self.cancel_waiting(id, None);
        } else {
            self.stop_job(id, Stopping::Canceled, now);
        }
    }

    pub(super) fn stop(&mut self, forced: bool, now: Now) {
        self.stopping = true;
        let open: Vec<(JobId, bool, bool)> = self
            .jobs
            .values()
            .filter(|job| !job.is_finished())
            .map(|job| {
                (
                    job.id,
                    job.is_under_way(),
                    job.plan.restart == Restart::Requeue,
                )
            })
            .collect();
        for (id, is_running, is_requeued) in open {
            match (is_running, is_requeued) {
                // It waits on when the server is back.
                (false, true) => {}
                (false, false) => self.cancel(id, now),
                (true, true) if forced => self.stop_job(id, Stopping::Requeued, now),
                (true, false) if forced => self.stop_job(id, Stopping::Canceled, now),
                // It has not begun: it waits on, or never will.
                (true, _) if self.jobs[&id].start.is_none() => {
                    let why = match is_requeued {
                        true => Stopping::Requeued,
                        false => Stopping::Canceled,
                    };
                    self.stop_job(id, why, now);
                }
                (true, _) => {}
            }
        }
    }
}
