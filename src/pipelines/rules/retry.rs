//! Whether a task is tried again.

use super::{Due, Now, State};
use crate::job::JobId;

impl State {
    /// Tries a task again that has failed, if it may be.
    pub(super) fn retries(&mut self, id: JobId, at: usize, now: Now) -> bool {
        let task = self.change_task(id, at);
        let retry = task.definition.retry;
        if task.attempt >= retry.max {
            return false;
        }
        task.attempt += 1;
        if retry.delay.is_zero() {
            self.run(id, at, now);
        } else {
            self.set_deadline(now.run + retry.delay, id, Due::Retry(at));
        }
        true
    }
}
