//! The put step: one operation on the pool.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings};
use crate::attempt::{Attempt, InLine, Markers, Meter, Outcome};
use crate::concourse::{PutRequest, Response};
use crate::git::Store;
use crate::metrics::{Place, Reporter};
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
    let mut ready = Ready::new(source, around, log)?;
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
        in_line: source.in_line.then_some(InLine {
            priority: request.priority,
            renewal: source.ticket_renewal,
        }),
        meter: Meter::new(Reporter::new(
            ready.gateway.take(),
            Place {
                pool: source.pool.clone(),
                branch: source.branch.clone(),
            },
        )),
        paint: around.paint,
        step: step.clone(),
        markers: operation.claims().then(|| Markers {
            folder: around.temporary.join("pool-resource/markers"),
            request: format!(
                "{:?} {:?} {} {} {operation:?} {step:?}",
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
    attempt.run(&operation, respond).await?;
    Ok(())
}
