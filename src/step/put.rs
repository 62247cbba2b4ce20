//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;

use super::{Ready, StepError, Surroundings};
use crate::attempt::Attempt;
use crate::concourse::{PutRequest, Response};
use crate::git::Store;

/// Carries out the operation of a put; `source_dir` has the folders that its params name.
///
/// # Errors
/// [`StepError`].
pub async fn put(
    request: &PutRequest,
    source_dir: &Path,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Response, StepError> {
    let source = &request.source;
    let ready = Ready::new(source, around, log)?;
    let operation = request.params.operation(source_dir)?;
    let mut attempt = Attempt {
        remote: ready.remote(&source.branch, Store::temporary(&around.temporary)?)?,
        pool: source.pool.clone(),
        origin: around.build.origin(),
        identity: ready.identity.clone(),
        pace: ready.pace,
        log,
    };
    let outcome = attempt.run(&operation).await?;
    Ok(Response::new(outcome.commit, &outcome.lock, &source.pool))
}
