//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Became, Order, StepError, Surroundings, operate, reap, result};
use crate::attempt::{AttemptError, Outcome};
use crate::concourse::{Params, PutRequest, Response};
use crate::lock::PoolName;
use crate::message;
use crate::operation::Operation;
use pace::duration::in_two_units;

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
    for note in &request.notes {
        terminal::say(log, format_args!("{note}"));
    }
    let step = match (&request.request, around.build.identity()) {
        (None, _) => None,
        (Some(name), Some(build)) => Some(format!("{build} {name}")),
        (Some(_), None) => {
            return Err(StepError::NoBuild {
                what: "`params.request`",
            });
        }
    };
    let operation = match &request.with_others {
        Some(operation) => Some(operation.clone()),
        None => request.params.operation(source_dir, &source.pool)?,
    };
    let Some(operation) = operation else {
        return reap_and_answer(request, around, stop, answer, log).await;
    };
    if let Some(version) = request.params.without_claim(source_dir) {
        terminal::say(
            log,
            format_args!(
                "note: this folder holds no claim, as its get saw the lock free, at the version {version}; the lock is given back whoever holds it, unless `release_only_own: true` is set in the source"
            ),
        );
    }
    let needs_build = match &operation {
        Operation::ReleaseOwn => Some("`params.release_mine`"),
        operation if operation.gives_back() && source.release_only_own => {
            Some("`source.release_only_own`")
        }
        _ => None,
    };
    if let Some(what) = needs_build.filter(|_| around.build.id().is_none()) {
        return Err(StepError::NoBuild { what });
    }
    let goes_on = operation.gives_back();
    let order = Order {
        operation,
        origin: around.build.origin(),
        patience: request.patience,
        priority: request.priority,
        step,
        lease: request.lease,
        reason: None,
        ends_with_command: false,
        goes_on,
        within: Vec::new(),
        in_order: None,
        on_deadlock: request.on_deadlock,
        // A step of the same build may add it.
        awaits_missing: true,
        // Concourse makes a container for each step, and says so by its build.
        container: around
            .build
            .identity()
            .map(|_| source_dir.display().to_string()),
        rerun: Some(format!("{:?}", around.build.identity())),
    };
    let respond = async |outcome: &Outcome| {
        let response = answer_of(outcome, &source.pool);
        answer.write_all(&response.to_json()?).await?;
        answer.flush().await
    };
    let (asked, pool) = (order.operation.clone(), &source.pool);
    let outcome = operate(source, order, around, stop, respond, log).await?;
    terminal::say(
        log,
        format_args!("{}", result::line(&asked, &outcome, pool)),
    );
    Ok(())
}

/// What Concourse shows of a put. Whoever knows the resource in use today expects the two names alone; more is told of one
/// that had to wait.
fn answer_of(outcome: &Outcome, pool: &PoolName) -> Response {
    let mut response = Response::new(outcome.commit, &outcome.locks, pool);
    let Some(waited) = outcome.waited else {
        return response;
    };
    let more = [
        ("waited", Some(in_two_units(waited))),
        (
            "place_at_arrival",
            outcome.place_at_arrival.map(|place| place.to_string()),
        ),
        ("held_before_by", outcome.held_before_by.clone()),
    ];
    let more = more.into_iter();
    let more = more.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    response.metadata.extend(more);
    response
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
    if let Some(unheard) = reaping.unheard {
        return Err(StepError::Unheard(unheard));
    }
    let would_be = reaping.with(|became| matches!(became, Became::WouldBeFreed));
    let kept = reaping.decided.len() - freed.len() - would_be.len();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut metadata = vec![pair("pool_name", source.pool.as_str().to_owned())];
    metadata.push(pair("freed", message::listed(&freed)));
    metadata.push(pair("kept", kept.to_string()));
    metadata.push(pair("would_be_freed", message::listed(&would_be)));
    let tickets = match reaping.tickets.gone {
        0 => String::new(),
        gone => gone.to_string(),
    };
    metadata.push(pair("dead_tickets_removed", tickets));
    // Concourse shows a name without a value as a mistake.
    metadata.retain(|(_, value)| !value.is_empty());
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
