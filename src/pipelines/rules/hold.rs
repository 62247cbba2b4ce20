//! The locks of a job: it asks for them when it has all else that it needs, and gives them back before it ends.

use super::{Effect, LockNews, Now, State};
use crate::definition::Wish;
use crate::job::{Hold, Holder, JobId, Status, Stopping};

impl State {
    pub(super) fn ask_for_locks(&mut self, id: JobId) {
        let job = self.change(id);
        job.hold = Hold::Waits(waiting_for(&job.plan.locks));
        self.effects.push(Effect::Hold(of_job(id)));
    }

    /// Something is heard of somebody's locks.
    pub(super) fn locks(&mut self, of: Holder, news: LockNews, now: Now) {
        let id = of.job;
        if let Some(at) = of.task {
            return self.locks_of_task(id, at, news, now);
        }
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_under_way()) else {
            return;
        };
        match (&job.hold, news) {
            (Hold::Waits(known), LockNews::Waits(words)) => {
                if *known != words {
                    self.change(id).hold = Hold::Waits(words);
                }
            }
            (Hold::Waits(_), LockNews::Holds(locks)) => {
                self.change(id).hold = Hold::Holds(locks);
                self.begin_job(id, now);
            }
            // It was told to give up meanwhile, and does.
            (Hold::GivesBack(_), LockNews::Holds(locks)) => {
                self.change(id).hold = Hold::GivesBack(locks);
            }
            (Hold::Holds(_), LockNews::Lost(words)) => self.lost(id, words, now),
            (Hold::Waits(_), LockNews::Over(result)) => {
                let words = result.err().unwrap_or_else(|| "nothing was claimed".into());
                self.not_begun(id, Stopping::Lost);
                self.nothing_held(id, Some(words), now);
            }
            (Hold::Holds(_), LockNews::Over(result)) => {
                let words = result.err().unwrap_or_else(|| "its locks are free".into());
                self.change(id).hold = Hold::Nothing;
                self.lost(id, words, now);
            }
            (Hold::GivesBack(_), LockNews::Over(result)) => {
                self.nothing_held(id, result.err(), now);
            }
            (Hold::Nothing, _) | (_, LockNews::Waits(_) | LockNews::Lost(_)) => {}
            (Hold::Holds(_), LockNews::Holds(_)) => {}
        }
    }

    /// Whoever works without the lock may work with somebody else: all tasks are stopped, also what runs after a failure.
    fn lost(&mut self, id: JobId, words: String, now: Now) {
        self.change(id).last_error.get_or_insert(words);
        self.stop_job(id, Stopping::Lost, now);
    }

    /// A job that waits for its locks is to end, or to wait again later.
    pub(super) fn give_up_waiting(&mut self, id: JobId, why: Stopping) {
        self.not_begun(id, why);
        self.change(id).hold = Hold::GivesBack(Vec::new());
        self.effects.push(Effect::LetGo(of_job(id)));
    }

    fn not_begun(&mut self, id: JobId, why: Stopping) {
        self.change(id).stopping = Some(why);
        for at in 0..self.jobs[&id].tasks.len() {
            if self.jobs[&id].tasks[at].status == Status::Waiting {
                self.change_task(id, at).status = Status::Canceled;
            }
        }
    }

    /// Whether the job has locks to give back before it ends; they are, then.
    pub(super) fn gives_back(&mut self, id: JobId) -> bool {
        let job = &self.jobs[&id];
        let Hold::Holds(locks) = &job.hold else {
            return false;
        };
        let locks = locks.clone();
        self.change(id).hold = Hold::GivesBack(locks);
        self.effects.push(Effect::LetGo(of_job(id)));
        true
    }

    /// Nothing is held any more, or nothing more can be done for that.
    fn nothing_held(&mut self, id: JobId, fault: Option<String>, now: Now) {
        let job = self.change(id);
        job.hold = Hold::Nothing;
        if let Some(fault) = fault {
            job.last_error.get_or_insert(fault);
        }
        // After a crash tasks of it may have something to give back as well.
        if job.holders().next().is_none() {
            self.conclude(id, now);
        }
    }
}

fn of_job(job: JobId) -> Holder {
    Holder { job, task: None }
}

/// What is said before more is known.
pub(super) fn waiting_for(wishes: &[Wish]) -> String {
    let wishes: Vec<String> = wishes.iter().map(ToString::to_string).collect();
    format!("waiting for {}", wishes.join(", "))
}
