//! The locks of a task: it asks for them when all that it depends on is done, keeps them over its attempts, and gives them back
//! before it ends.
//!
//! They are kept while a task waits to be tried again: the next attempt is to find what the one before has left, and nobody
//! else is to find it half done. A failure that comes from the locks is followed by no other attempt.

use super::hold::waiting_for;
use super::{Due, Effect, LockNews, Now, State};
use crate::job::{Hold, Holder, JobId, Outcome, Status};

impl State {
    pub(super) fn ask_for_locks_of(&mut self, id: JobId, at: usize) {
        let task = self.change_task(id, at);
        task.hold = Hold::Waits(waiting_for(&task.definition.locks));
        let holder = Holder {
            job: id,
            task: Some(at),
        };
        self.effects.push(Effect::Hold(holder));
    }

    /// A task has something to give back before it ends so.
    pub(super) fn let_go_of(&mut self, id: JobId, at: usize, outcome: Outcome) {
        let task = self.change_task(id, at);
        task.hold = Hold::GivesBack(task.hold.locks().to_vec());
        task.outcome = Some(outcome);
        let holder = Holder {
            job: id,
            task: Some(at),
        };
        self.effects.push(Effect::LetGo(holder));
    }

    /// Something is heard of a task's locks.
    pub(super) fn locks_of_task(&mut self, id: JobId, at: usize, news: LockNews, now: Now) {
        let job = self.jobs.get(&id).filter(|job| job.is_under_way());
        let Some(task) = job.and_then(|job| job.tasks.get(at)) else {
            return;
        };
        match (&task.hold, news) {
            (Hold::Waits(known), LockNews::Waits(words)) => {
                if *known != words {
                    self.change_task(id, at).hold = Hold::Waits(words);
                }
            }
            (Hold::Waits(_), LockNews::Holds(locks)) => {
                self.change_task(id, at).hold = Hold::Holds(locks);
                self.begin_attempts(id, at, now);
            }
            // It was told to give up meanwhile, and does.
            (Hold::GivesBack(_), LockNews::Holds(locks)) => {
                self.change_task(id, at).hold = Hold::GivesBack(locks);
            }
            (Hold::Waits(_), LockNews::Over(result)) => {
                let words = result.err().unwrap_or_else(|| "nothing was claimed".into());
                let outcome = self.failure(id, at, words);
                self.change_task(id, at).hold = Hold::Nothing;
                self.end_task(id, at, outcome, now);
                self.advance(id, now);
            }
            (Hold::Holds(_), LockNews::Lost(words)) => self.lost_of_task(id, at, words, now),
            (Hold::Holds(_), LockNews::Over(result)) => {
                let words = result.err().unwrap_or_else(|| "its locks are free".into());
                self.change_task(id, at).hold = Hold::Nothing;
                self.lost_of_task(id, at, words, now);
            }
            (Hold::GivesBack(_), LockNews::Over(result)) => {
                let task = self.change_task(id, at);
                task.hold = Hold::Nothing;
                let outcome = task.outcome.take().unwrap_or_else(Outcome::canceled);
                let outcome = match result {
                    Err(fault) => self.with_fault(id, at, outcome, fault),
                    Ok(()) => outcome,
                };
                self.end_task(id, at, outcome, now);
                self.advance(id, now);
            }
            (Hold::Nothing, _) | (_, LockNews::Waits(_) | LockNews::Lost(_)) => {}
            (Hold::Holds(_), LockNews::Holds(_)) => {}
        }
    }

    /// Whoever works without the lock may work with somebody else: the task is stopped, and not tried again.
    fn lost_of_task(&mut self, id: JobId, at: usize, words: String, now: Now) {
        let task = self.change_task(id, at);
        let words = task.lost.get_or_insert(words).clone();
        if task.is_at_work {
            let effect = Effect::Interrupt { job: id, task: at };
            return self.effects.push(effect);
        }
        // It waits to be tried again.
        self.clear_deadline(id, Due::Retry(at));
        let outcome = self.failure(id, at, words);
        self.end_task(id, at, outcome, now);
        self.advance(id, now);
    }

    /// A task did not have its locks all the time, or others may not get them.
    fn with_fault(&mut self, id: JobId, at: usize, outcome: Outcome, fault: String) -> Outcome {
        match outcome.error {
            Some(error) => Outcome {
                error: Some(format!("{error}; {fault}")),
                ..outcome
            },
            None if outcome.status == Status::Done && outcome.code == 0 => {
                self.failure(id, at, fault)
            }
            None => {
                self.change(id).last_error.get_or_insert(fault);
                outcome
            }
        }
    }

    /// How a task ends that fails without an exit code.
    fn failure(&self, id: JobId, at: usize, words: String) -> Outcome {
        let is_allowed = self.jobs[&id].tasks[at].definition.allow_failure;
        Outcome {
            status: match is_allowed {
                true => Status::Done,
                false => Status::Error,
            },
            code: -1,
            error: Some(words),
            fails: !is_allowed,
        }
    }
}
