//! Jobs, acquired: one task for each runner, so that none waits for another's coordinator.

use std::rc::Rc;
use std::time::Duration;

use gitlab::GitlabError;
use gitlab::runner::{Answer, Granted};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::shared::{Closing, Places, Shared, Side, now};
use crate::life::{Event, Key};
use crate::payload::{Payload, PayloadError};

/// How long a runner is not asked for that its coordinator does not know: that is mended by people.
const FORBIDDEN: Duration = Duration::from_secs(600);

/// Begins to acquire jobs for a runner.
pub(super) fn begin(shared: &Rc<Shared>, side: &Rc<Side>) {
    let Some(alive) = shared.alive() else {
        return;
    };
    let (shared, side) = (shared.clone(), side.clone());
    spawn_local(async move {
        let _alive = alive;
        // That it is to end is how it ends.
        let _: Result<(), Closing> = acquire(&shared, &side).await;
        shared.has_acquired_enough();
    });
}

async fn acquire(shared: &Rc<Shared>, side: &Rc<Side>) -> Result<(), Closing> {
    let log = shared.settings.log;
    let mut last_update = None;
    let mut pauses = shared.pauses();
    let mut cycles = 0;
    loop {
        if shared
            .settings
            .poll_cycles
            .is_some_and(|most| cycles >= most)
        {
            return Ok(());
        }
        let Some(places) = places(shared, side).await? else {
            cycles += 1;
            continue;
        };
        // It is not cut short when we are to end: a job may be in the answer.
        let answer = side
            .coordinator
            .request_job(
                side.runner.token.expose(),
                &shared.machine,
                last_update.as_deref(),
            )
            .await;
        match answer {
            Ok(Answer::Job(granted)) => {
                pauses = shared.pauses();
                last_update = None;
                take(shared, side, &granted, places).await?;
            }
            Ok(Answer::Nothing {
                last_update: newest,
            }) => {
                drop(places);
                pauses = shared.pauses();
                last_update = newest;
                cycles += 1;
                shared.pause(shared.settings.poll_interval).await?;
            }
            Ok(Answer::Taken) => {
                drop(places);
                shared.pause(pauses.next().unwrap_or_default()).await?;
            }
            Ok(Answer::Forbidden) => {
                drop(places);
                cycles += 1;
                shared.metrics.error("coordinator");
                log.error(&format!(
                    "runner '{}' is paused: `{}` does not accept its token; it is tried again in {}",
                    terminal::one_line(&side.runner.short),
                    side.coordinator.api().url(),
                    humantime::format_duration(FORBIDDEN)
                ));
                shared.pause(FORBIDDEN).await?;
            }
            Err(err) => {
                drop(places);
                cycles += 1;
                shared.metrics.error("coordinator");
                let pause = pauses.next().unwrap_or_default();
                let pause = pause.max(err.retry_after().unwrap_or_default());
                tell(shared, side, &err, pause);
                shared.pause(pause).await?;
            }
        }
    }
}

/// Waits for places for one more job; `None` if there are none for so long as a round takes, and rounds are counted.
async fn places(shared: &Shared, side: &Side) -> Result<Option<Places>, Closing> {
    let take = async {
        let own = side.limit.take().await;
        (shared.slots.take().await, own)
    };
    let taken = async {
        match shared.settings.poll_cycles {
            None => Some(take.await),
            Some(_) => timeout(shared.settings.poll_interval, take).await.ok(),
        }
    };
    let taken = shared.closing.run_until_cancelled(taken).await;
    taken.ok_or(Closing)
}

fn tell(shared: &Shared, side: &Side, err: &GitlabError, pause: Duration) {
    let log = shared.settings.log;
    log.warning(&format!(
        "no job for runner '{}': {}; it is tried again in {}",
        terminal::one_line(&side.runner.short),
        said(err),
        humantime::format_duration(pace::duration::whole_seconds(pause))
    ));
}

/// What went wrong, with the names of this program's settings.
fn said(err: &GitlabError) -> String {
    terminal::chain(err).replace("`source.ca_cert`", "`tls-ca-file`")
}

/// Writes down that a job is ours, and begins with it.
async fn take(
    shared: &Rc<Shared>,
    side: &Rc<Side>,
    granted: &Granted,
    places: Places,
) -> Result<(), Closing> {
    let log = shared.settings.log;
    shared.metrics.granted();
    let text = granted.payload.expose();
    let read = Payload::read(text).and_then(|payload| {
        let (job, token) = (payload.id()?, payload.token()?.to_owned());
        Ok::<_, PayloadError>((job, token, payload.timeout()))
    });
    let (job, token, timeout) = match read {
        Ok(read) => read,
        Err(err) => {
            // Without its number and token nobody can be told.
            shared.metrics.failed("acquire");
            log.error(&format!(
                "runner '{}': {err}; it is lost",
                terminal::one_line(&side.runner.short)
            ));
            return shared.pause(shared.settings.poll_interval).await;
        }
    };
    let key = Key {
        runner: side.runner.id.clone(),
        job,
    };
    if shared.job(&key).is_some() {
        log.warning(&format!("{} was given to us twice", side.named(&key)));
        return shared.pause(shared.settings.poll_interval).await;
    }
    let event = Event::Granted {
        token,
        payload: text.to_owned(),
        at: now(),
        timeout,
    };
    shared.note(&key, event).await?;
    log.info(&format!("acquired {}", side.named(&key)));
    if shared.is_closing() {
        // The next start begins with it.
        return Err(Closing);
    }
    shared.go_on_with(side, key, Some(places), false);
    Ok(())
}
