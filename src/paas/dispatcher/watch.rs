//! A job that an inner runner has: it is asked how it is, until it is over.

use std::future::pending;

use gitlab::runner::Progress;

use super::act::Run;
use super::shared::{Closing, now};
use crate::config::DEFAULT_TIMEOUT;
use crate::life::{Event, Job};
use crate::provider::ProviderError;

/// After how many answers that there is no such job it counts as over. One alone may be a replica that is behind.
const MOST_UNKNOWN: u32 = 10;

/// Watches a job until it is over, or too old.
pub(super) async fn watch(run: &mut Run<'_>, job: &Job) -> Result<(), Closing> {
    let (shared, side, key) = (run.shared, run.side, run.key);
    let log = shared.settings.log;
    let grace = shared.settings.config.grace.as_secs();
    let mut unknown = 0;
    let mut ended = None;
    loop {
        let mut pause = shared.settings.progress_interval;
        if ended.is_none() {
            match side.coordinator.progress(&job.token).await {
                Ok(Progress::Over) => return over(run).await,
                Ok(Progress::Running) => unknown = 0,
                Ok(Progress::Unknown) => {
                    unknown += 1;
                    if unknown >= MOST_UNKNOWN {
                        log.warning(&format!(
                            "the coordinator does not know {} any more: it counts as finished",
                            side.named(key)
                        ));
                        return over(run).await;
                    }
                }
                Err(err) => {
                    shared.metrics.error("coordinator");
                    let text = terminal::chain(&err);
                    log.warning(&format!("no progress of {}: {text}", side.named(key)));
                    pause = pause.max(err.retry_after().unwrap_or_default());
                }
            }
        }
        if let Some(err) = ended.take() {
            return failed(run, job, &err).await;
        }
        let deadline = job.deadline(DEFAULT_TIMEOUT, grace);
        if deadline.is_some_and(|deadline| now() > deadline) {
            log.error(&format!("{} is too old, and is given up", side.named(key)));
            let reason = "the job ran longer than it may, and its machine is taken away";
            return run.fail("age", reason.to_owned()).await;
        }
        let end = async {
            match &mut run.attended {
                Some(end) => end.await,
                None => pending().await,
            }
        };
        tokio::select! {
            slept = shared.pause(pause) => slept?,
            end = end => {
                run.attended = None;
                ended = end.err();
            }
        }
    }
}

async fn over(run: &Run<'_>) -> Result<(), Closing> {
    let log = run.shared.settings.log;
    log.info(&format!("finished: {}", run.side.named(run.key)));
    run.shared.metrics.over();
    run.shared.note(run.key, Event::Over).await
}

/// What was started has ended, and not well: that is a failure of the launch, unless the job is over already.
async fn failed(run: &Run<'_>, job: &Job, err: &ProviderError) -> Result<(), Closing> {
    let (shared, side, key) = (run.shared, run.side, run.key);
    if let Ok(Progress::Over) = side.coordinator.progress(&job.token).await {
        return over(run).await;
    }
    let log = shared.settings.log;
    log.error(&format!("Launching failed for {}{err}", side.named(key)));
    let reason = format!("what ran this job has ended: {err}");
    run.fail("launch", reason).await
}
