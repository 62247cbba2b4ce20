//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Order, StepError, Surroundings, operate};
use crate::attempt::Outcome;
use crate::concourse::{PutRequest, Response};
use crate::pace::whole_seconds;

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
    mut answer: impl AsyncWrite + Unpin,
    log: &mut dyn Write,
) -> Result<(), StepError> {
    let source = &request.source;
    let step = match (&request.request, around.build.id()) {
        (None, _) => None,
        (Some(name), Some(build)) => Some(format!("{build} {name}")),
        (Some(_), None) => return Err(StepError::NoBuild),
    };
    let order = Order {
        operation: request.params.operation(source_dir)?,
        origin: around.build.origin(),
        patience: request.patience,
        priority: request.priority,
        step,
        lease: request.lease,
        rerun: Some(format!("{:?}", around.build.id())),
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
