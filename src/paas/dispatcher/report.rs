//! A failure, reported: the coordinator knows of it, and the job's author reads why.

use gitlab::GitlabError;
use gitlab::runner::{Report, Traced};

use super::shared::{Closing, Shared, Side, now};
use crate::config::DEFAULT_TIMEOUT;
use crate::life::{Event, Job, Key, Verdict};

/// Reports a failure, again and again until it is known; or until the job is so old that nobody asks for it any more.
pub(super) async fn report(
    shared: &Shared,
    side: &Side,
    key: &Key,
    job: &Job,
) -> Result<(), Closing> {
    let Verdict::Failed(reason) = &job.verdict else {
        return Ok(());
    };
    let log = shared.settings.log;
    let mut pauses = shared.pauses();
    let mut is_told = false;
    let grace = shared.settings.config.grace.as_secs();
    let oldest = job
        .granted
        .saturating_add(job.timeout.unwrap_or(DEFAULT_TIMEOUT))
        .saturating_add(grace);
    loop {
        let pause = pauses.next().unwrap_or_default();
        match once(shared, side, key, job, reason, &mut is_told).await {
            Ok(Report::Taken | Report::Moot) => {
                log.info(&format!("reported the failure of {}", side.named(key)));
                return shared.note(key, Event::Reported).await;
            }
            Ok(Report::Later) => shared.pause(pause).await?,
            Err(err) => {
                shared.metrics.error("coordinator");
                let text = terminal::chain(&err);
                log.error(&format!(
                    "the failure of {} could not be reported: {text}",
                    side.named(key)
                ));
                if now() > oldest {
                    log.error(&format!("{} is too old to be reported", side.named(key)));
                    return shared.note(key, Event::Reported).await;
                }
                shared
                    .pause(pause.max(err.retry_after().unwrap_or_default()))
                    .await?;
            }
        }
    }
}

async fn once(
    shared: &Shared,
    side: &Side,
    key: &Key,
    job: &Job,
    reason: &str,
    is_told: &mut bool,
) -> Result<Report, GitlabError> {
    if !*is_told {
        tell(side, key, job, reason).await?;
        *is_told = true;
    }
    side.coordinator
        .report_failure(key.job, &job.token, &shared.machine)
        .await
}

/// Adds to the job's trace why it failed, where the trace ends.
async fn tell(side: &Side, key: &Key, job: &Job, reason: &str) -> Result<(), GitlabError> {
    /// How often the end is looked for: it moves if somebody else writes.
    const TRIES: usize = 4;
    let reason = terminal::one_line(reason);
    let text = format!("\u{1b}[31;1mERROR: Job failed (system failure): {reason}\u{1b}[0;m\n");
    let mut offset = 0;
    for _ in 0..TRIES {
        let traced = side
            .coordinator
            .add_to_trace(key.job, &job.token, offset, &text)
            .await?;
        match traced {
            Traced::Taken | Traced::Closed => break,
            // It has arrived, and the answer has not.
            Traced::EndsAt(end) if end == offset + text.len() as u64 => break,
            Traced::EndsAt(end) => offset = end,
        }
    }
    Ok(())
}
