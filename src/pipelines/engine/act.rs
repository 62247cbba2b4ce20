//! What is done once it is on disk.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Engine, Holding, Message};
use crate::job::{Holder, JobId};
use crate::locks::{self, Teller};
use crate::rules::{Effect, Event, LockNews};
use crate::{webhook, work};

impl Engine {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Run { job, task, attempt } => self.start(job, task, attempt),
            Effect::Interrupt { .. } => {}
            Effect::Hold(holder) => self.hold(holder),
            Effect::LetGo(holder) => self.let_go(holder),
            Effect::Over { job, is_canceled } => {
                for (_, processes) in self.left.remove(&job).unwrap_or_default() {
                    if is_canceled {
                        self.closing.spawn(processes.stop());
                    } else {
                        self.closing.spawn(processes.leave());
                    }
                }
            }
            Effect::Remove {
                job,
                pipeline,
                reason,
            } => {
                let (site, log) = (self.tools.site.clone(), self.tools.log);
                let id = job.to_string();
                log.info(
                    "Removing job",
                    &[("jobID", &id), ("pipeline", &pipeline), ("reason", &reason)],
                );
                self.closing.spawn_blocking(move || {
                    if let Err(err) = site.logs.remove(job) {
                        log.warn(
                            "Logs of a job cannot be removed",
                            &[("jobID", &id), ("error", &err.to_string())],
                        );
                    }
                });
            }
            Effect::Tell { job, news } => {
                let webhook = self
                    .state
                    .definitions()
                    .get(&job.pipeline)
                    .and_then(|one| one.webhook.clone());
                if let Some(webhook) = webhook {
                    let (proxies, log) = (self.tools.proxies.clone(), self.tools.log);
                    // Nobody waits for it: neither does the end of the server.
                    tokio::spawn(async move {
                        webhook::tell(webhook.url, &job, news, &proxies, log).await
                    });
                }
            }
        }
    }

    /// Ends supervisors that have nothing to do.
    pub(super) fn tidy(&mut self, all: bool) {
        let site = self.tools.site.clone();
        self.closing
            .spawn(async move { site.supervisors.tidy(all).await });
    }

    fn hold(&mut self, holder: Holder) {
        let Some(job) = self.state.job(holder.job).cloned() else {
            return;
        };
        let holding = Holding {
            stop: CancellationToken::new(),
            env: Arc::default(),
        };
        let teller = Teller::new(holder, self.lock_news.0.clone());
        let stop = holding.stop.clone();
        self.tools.locks.hold(job, holder.task, teller, stop);
        self.holding.insert(holder, holding);
    }

    /// Gives locks back, once nothing works any more with what they stand for: also not what a task has left behind.
    fn let_go(&mut self, holder: Holder) {
        let Some(job) = self.state.job(holder.job).cloned() else {
            return;
        };
        let Some(holding) = self.holding.get(&holder) else {
            let teller = Teller::new(holder, self.lock_news.0.clone());
            return self.tools.locks.give_back(job, holder.task, teller);
        };
        let stop = holding.stop.clone();
        let mut left = self.left.remove(&holder.job).unwrap_or_default();
        if let Some(task) = holder.task {
            let others = left.extract_if(.., |(of, _)| *of != task).collect();
            self.left.insert(holder.job, others);
        }
        self.closing.spawn(async move {
            for (_, processes) in left {
                processes.stop().await;
            }
            stop.cancel();
        });
    }

    /// Takes in what is heard of locks.
    pub(super) fn hear(&mut self, heard: locks::News) -> Message {
        let locks::News { of, news, env } = heard;
        match (&news, env, self.holding.get_mut(&of)) {
            (LockNews::Holds(_), Some(env), Some(holding)) => holding.env = Arc::new(env),
            (LockNews::Over(_), _, _) => drop(self.holding.remove(&of)),
            _ => {}
        }
        Message::Event(Event::Locks(of, news))
    }

    fn start(&mut self, id: JobId, task: usize, attempt: u32) {
        let Some(job) = self.state.job(id).cloned() else {
            return;
        };
        let stop = CancellationToken::new();
        self.working.insert((id, task), stop.clone());
        let (site, tell) = (self.tools.site.clone(), self.tell.clone());
        // A task with locks of its own is told of those of its job as well.
        let of = |task| self.holding.get(&Holder { job: id, task });
        let locks = of(Some(task)).or_else(|| of(None));
        let locks = locks.map(|holding| holding.env.clone());
        self.closing.spawn(async move {
            let (how, left) = work::run(&site, &job, task, locks.as_deref(), &stop).await;
            if let Some(left) = left {
                let _ = tell.send(Message::Left(id, task, left)).await;
            }
            let _ = tell
                .send(Message::Event(Event::Ended {
                    job: id,
                    task,
                    attempt,
                    how,
                }))
                .await;
        });
    }
}
