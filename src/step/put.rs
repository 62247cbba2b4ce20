//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings};
use crate::attempt::{Attempt, Markers, Outcome};
use crate::concourse::{PutRequest, Response};
use crate::git::Store;

/// Carries out the operation of a put, and writes the answer to `answer`; `source_dir` has the folders that its params
/// name.
///
/// When `stop` is cancelled, or the answer cannot be written, what was claimed is given back.
///
/// # Errors
/// [`StepError`].
pub async fn put(
    request: &PutRequest,
    source_dir: &Path,
    around: &Surroundings,
    stop: CancellationToken,
    answer: impl Write,
    log: &mut dyn Write,
) -> Result<(), StepError> {
    let source = &request.source;
    let ready = Ready::new(source, around, log)?;
    let operation = request.params.operation(source_dir)?;
    let step = match (&request.request, around.build.id()) {
        (None, _) => None,
        (Some(name), Some(build)) => Some(format!("{build} {name}")),
        (Some(_), None) => return Err(StepError::NoBuild),
    };
    let mut attempt = Attempt {
        remote: ready.remote(&source.branch, Store::temporary(&around.temporary)?)?,
        pool: source.pool.clone(),
        origin: around.build.origin(),
        identity: ready.identity.clone(),
        pace: ready.pace,
        patience: request.patience,
        step: step.clone(),
        markers: operation.claims().then(|| Markers {
            folder: around.temporary.join("pool-resource/markers"),
            request: format!(
                "{:?} {} {} {} {operation:?} {step:?}",
                around.build.id(),
                ready.location,
                source.branch,
                source.pool
            ),
        }),
        marker: None,
        stop,
        log,
    };
    let respond = |outcome: &Outcome| {
        Response::new(outcome.commit, &outcome.lock, &source.pool).write(answer)
    };
    attempt.run(&operation, respond).await?;
    Ok(())
}
