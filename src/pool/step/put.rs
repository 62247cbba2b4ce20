//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Became, Order, StepError, Surroundings, operate, reap};
use crate::attempt::{AttemptError, GOES_ON, Outcome};
use crate::concourse::{Params, PutRequest, Response};
use crate::message;
use pace::duration::whole_seconds;
use pace::stopped_for;

/// Carries out the operation of a put, and writes the answer to `answer`; `source_dir` has the folders that its params
/// name.
///
/// When `stop` is cancelled, or the answer cannot be written, what was claimed is given back; and what gives a lock back is
/// brought to its end if that does not take long. An aborted build has no other step that would do it.
///
/// # Errors
/// [`StepError`].
pub async fn put(
    request: &PutRequest,
    source_dir: &Path,
    around: &Surroundings,
    stop: CancellationToken,
    mut answer: impl AsyncWrite + Unpin,
    log: &mut dyn Write,
) -> Result<(), StepError> {
    let source = &request.source;
    let step = match (&request.request, around.build.identity()) {
        (None, _) => None,
        (Some(name), Some(build)) => Some(format!("{build} {name}")),
        (Some(_), None) => return Err(StepError::NoBuild),
    };
    let Some(operation) = request.params.operation(source_dir)? else {
        return reap_and_answer(request, around, stop, answer, log).await;
    };
    let stop = match operation.gives_back() {
        true => later(stop, GOES_ON),
        false => stop,
    };
    let order = Order {
        operation,
        origin: around.build.origin(),
        patience: request.patience,
        priority: request.priority,
        step,
        lease: request.lease,
        rerun: Some(format!("{:?}", around.build.identity())),
    };
    let respond = async |outcome: &Outcome| {
        let mut response = Response::new(outcome.commit, &outcome.locks, &source.pool);
        let mut add = |name: &str, value: Option<String>| {
            let value = value.map(|value| (name.to_owned(), value));
            response.metadata.extend(value);
        };
        let shown = |time: Duration| humantime::format_duration(whole_seconds(time)).to_string();
        add("waited", outcome.waited.map(shown));
        let place = outcome.place_at_arrival.map(|place| place.to_string());
        add("place_at_arrival", place);
        add("held_before_by", outcome.held_before_by.clone());
        // Concourse shows an address as a link.
        add("build_url", around.build.origin().url);
        answer.write_all(&response.to_json()?).await?;
        answer.flush().await
    };
    operate(source, order, around, stop, respond, log).await?;
    Ok(())
}

/// Gives what is cancelled some time after `stop`.
fn later(stop: CancellationToken, time: Duration) -> CancellationToken {
    let later = CancellationToken::new();
    let cancels = later.clone();
    tokio::spawn(async move {
        stopped_for(time, &stop).await;
        cancels.cancel();
    });
    later
}

/// Carries out a put with `reap`.
async fn reap_and_answer(
    request: &PutRequest,
    around: &Surroundings,
    stop: CancellationToken,
    mut answer: impl AsyncWrite + Unpin,
    log: &mut dyn Write,
) -> Result<(), StepError> {
    let Params::Reap(settings) = &request.params else {
        return Ok(());
    };
    let source = &request.source;
    let reaping = reap(source, settings, around.build.origin(), around, stop, log).await?;
    let (freed, failed) = (reaping.freed(), reaping.failed());
    if !failed.is_empty() {
        return Err(StepError::NotFreed { failed, freed });
    }
    let would_be = reaping.with(|became| matches!(became, Became::WouldBeFreed));
    let kept = reaping.decided.len() - freed.len() - would_be.len();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut metadata = vec![
        pair("pool_name", source.pool.to_string()),
        pair("freed", message::listed(&freed)),
        pair("kept", kept.to_string()),
    ];
    if settings.dry_run {
        metadata.push(pair("would_be_freed", message::listed(&would_be)));
    }
    let response = Response {
        version: reaping.version,
        metadata,
    };
    let told = async {
        answer.write_all(&response.to_json()?).await?;
        answer.flush().await
    };
    Ok(told.await.map_err(AttemptError::Unanswered)?)
}
