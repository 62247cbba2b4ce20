//! The check step: which versions a pool has had since a known one.

use std::io::Write;

use super::cache::Cache;
use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{CheckRequest, Source};
use crate::ledger;
use git::FaultError;
use git::object::Oid;
use git::{Files, RemoteError, Store};

/// Lists the versions since the request's, oldest first; without one, or where it is gone: the latest.
///
/// Objects are kept below the temporary folder between checks. What is kept never decides on success: when it turns
/// out to be damaged it is made anew.
///
/// # Errors
/// [`StepError`].
pub async fn check(
    request: &CheckRequest,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Vec<Oid>, StepError> {
    let source = &request.source;
    let ready = Ready::new(source, around, log)?;
    // A version that is no commit id cannot be on the branch: then the latest is asked for.
    let known = request.version.as_ref().and_then(|version| version.id());
    if let Some(cache) = Cache::take(
        &around.temporary,
        // All of it, and not what is shown.
        &format!("{:?}", ready.location),
        &source.branch,
    ) {
        match versions(&ready, source, known, cache.store(), log).await {
            Err(err) if is_damage(&err) => cache.clear(),
            answer => return answer,
        }
        match versions(&ready, source, known, cache.store(), log).await {
            Err(err) if is_damage(&err) => {}
            answer => return answer,
        }
    }
    versions(
        &ready,
        source,
        known,
        Store::temporary(&around.temporary),
        log,
    )
    .await
}

/// Whether it is our copy that failed, be it read or added to.
fn is_damage(err: &StepError) -> bool {
    matches!(
        err,
        StepError::Store(_)
            | StepError::Remote(RemoteError::Store(_))
            | StepError::Fault(FaultError::Permanent(RemoteError::Store(_)))
    )
}

async fn versions(
    ready: &Ready,
    source: &Source,
    known: Option<Oid>,
    store: Result<Store, git::StoreError>,
    log: &mut dyn Write,
) -> Result<Vec<Oid>, StepError> {
    let mut remote = ready.remote(&source.branch, store?)?;
    remote.want_files(Files::None);
    let versions = ask(&mut remote, known, &ready.pace, log, |history, snapshot| {
        if !ledger::is_pool(history, snapshot.commit, &source.pool)? {
            return Ok(None);
        }
        Ok(Some(ledger::versions(history, &source.pool, known)?))
    })
    .await?;
    versions.ok_or_else(|| StepError::NoPool {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })
}
