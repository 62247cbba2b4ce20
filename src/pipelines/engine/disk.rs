//! What is written, and what waits for that.

use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Engine, PAUSE, ScheduleError};
use crate::job::Job;
use crate::log::Level;
use crate::rules::{Admitted, Change, Effect, Refused, Request};
use crate::view::PipelineState;

impl Engine {
    /// Decides on requests, and answers when they are on disk.
    pub(super) async fn admit(&mut self, requests: Vec<(Result<Request, Refused>, Answer)>) {
        let now = self.now();
        let mut admitted: Vec<(Admitted, Answer)> = Vec::new();
        for (request, answer) in requests {
            if self.again.is_some() {
                let _ = answer.send(Err(ScheduleError::Journal(
                    "it is tried again all the time".to_owned(),
                )));
                continue;
            }
            match request.and_then(|request| self.state.admit(request, now)) {
                Ok(done) => admitted.push((done, answer)),
                Err(refused) => {
                    let _ = answer.send(Err(refused.into()));
                }
            }
        }
        if admitted.is_empty() {
            return;
        }
        let changes = self.state.take_changes();
        let n_before = self.unwritten.changes.len();
        self.unwritten.changes.extend(changes);
        if let Err(error) = self.flush(true).await {
            self.unwritten.changes.truncate(n_before);
            for (done, answer) in admitted.into_iter().rev() {
                self.state.withdraw(done, now);
                let _ = answer.send(Err(ScheduleError::Journal(error.clone())));
            }
            self.state.take_changes();
            return;
        }
        for (done, answer) in admitted {
            let _ = answer.send(Ok(done.job));
        }
    }

    /// Writes what there is.
    pub(super) async fn write(&mut self) {
        let ends = |change: &Change| match change {
            Change::New(job) | Change::Update(job, _) => job.is_finished(),
            Change::Removed(_) => false,
        };
        let asks = |effect: &Effect| matches!(effect, Effect::Hold(_));
        let sync = !self.unwritten.canceled.is_empty()
            || self.unwritten.changes.iter().any(ends)
            // What is claimed for a job has to be known after a crash.
            || self.unwritten.effects.iter().any(asks);
        let _ = self.flush(sync).await;
    }

    /// Writes what there is, shows it, and does what is to be done then.
    async fn flush(&mut self, sync: bool) -> Result<(), String> {
        let Some(mut journal) = self.journal.take() else {
            return Err("it is lost".to_owned());
        };
        if !self.unwritten.changes.is_empty() || self.again.is_some() {
            let changes = std::mem::take(&mut self.unwritten.changes);
            let all: Vec<Arc<Job>> = match journal.is_long() {
                true => self.state.jobs().cloned().collect(),
                false => Vec::new(),
            };
            let written = tokio::task::spawn_blocking(move || {
                let result = journal.add(&changes, sync);
                if result.is_ok() && journal.is_long() {
                    // If it fails, the long one is as good.
                    let _ = journal.rewrite(all.iter());
                }
                (journal, changes, result)
            });
            let Ok((journal, changes, result)) = written.await else {
                return Err("its writer has failed".to_owned());
            };
            self.journal = Some(journal);
            if let Err(err) = result {
                self.unwritten.changes = changes;
                return Err(self.failed(&err.to_string()));
            }
            if self.again.take().is_some() {
                self.tools.log.info("The journal can be written again", &[]);
            }
            self.show(changes);
        } else {
            self.journal = Some(journal);
        }
        for answer in std::mem::take(&mut self.unwritten.canceled) {
            let _ = answer.send(());
        }
        for effect in std::mem::take(&mut self.unwritten.effects) {
            self.perform(effect);
        }
        Ok(())
    }

    fn failed(&mut self, error: &str) -> String {
        if self.again.is_none() {
            let words = "The journal cannot be written; new jobs are refused until it can";
            self.tools.log.say(Level::Error, words, &[("error", error)]);
        }
        self.tools.metrics.journal_failed();
        self.again = Some(Instant::now() + PAUSE);
        error.to_owned()
    }

    fn show(&mut self, changes: Vec<Change>) {
        let metrics = self.tools.metrics.clone();
        self.tools.view.change(|seen| {
            for change in changes {
                match change {
                    Change::New(job) | Change::Update(job, _) => {
                        let before = seen.put(job.clone());
                        metrics.changed(before.as_ref(), &job);
                    }
                    Change::Removed(id) => seen.remove(id),
                }
            }
        });
        self.show_pipelines();
    }

    pub(super) fn show_pipelines(&mut self) {
        let definitions = self.state.definitions().clone();
        let is_all = std::mem::take(&mut self.unwritten.pipelines);
        let state = &self.state;
        self.tools.view.change(|seen| {
            if is_all {
                seen.definitions = definitions.clone();
                seen.pipelines.clear();
            }
            for name in definitions.keys() {
                let pipeline = PipelineState {
                    name: name.clone(),
                    is_schedulable: state.is_schedulable(name),
                    is_running: state.n_running(name) > 0,
                };
                seen.pipelines.insert(name.clone(), pipeline);
            }
        });
    }
}
