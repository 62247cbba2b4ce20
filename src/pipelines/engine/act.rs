//! What is done once it is on disk.

use tokio_util::sync::CancellationToken;

use super::{Engine, Message};
use crate::job::JobId;
use crate::rules::{Effect, Event};
use crate::{webhook, work};

impl Engine {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Run { job, task, attempt } => self.start(job, task, attempt),
            Effect::Interrupt { .. } => {}
            Effect::Over { job, is_canceled } => {
                for processes in self.left.remove(&job).unwrap_or_default() {
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

    fn start(&mut self, id: JobId, task: usize, attempt: u32) {
        let Some(job) = self.state.job(id).cloned() else {
            return;
        };
        let stop = CancellationToken::new();
        self.working.insert((id, task), stop.clone());
        let (site, tell) = (self.tools.site.clone(), self.tell.clone());
        self.closing.spawn(async move {
            let (how, left) = work::run(&site, &job, task, &stop).await;
            if let Some(left) = left {
                let _ = tell.send(Message::Left(id, left)).await;
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
