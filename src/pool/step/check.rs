//! The check step: which versions a pool has had since a known one.

use std::io::Write;

use super::cache::Cache;
use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{CheckRequest, Source};
use crate::ledger::{self, Latest};
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
        let cache = Some(&cache);
        match versions(&ready, source, known, cache, around, log).await {
            Err(err) if is_damage(&err) => cache.into_iter().for_each(Cache::clear),
            answer => return answer,
        }
        match versions(&ready, source, known, cache, around, log).await {
            Err(err) if is_damage(&err) => {}
            answer => return answer,
        }
    }
    versions(&ready, source, known, None, around, log).await
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
    cache: Option<&Cache>,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Vec<Oid>, StepError> {
    let pool = &source.pool;
    let store = match cache {
        Some(cache) => cache.store()?,
        None => Store::temporary(&around.temporary)?,
    };
    let earlier = cache.and_then(|cache| cache.latest(pool));
    // Where the branch was then, it had that version too; and it is much nearer.
    let shown = match earlier {
        Some(earlier) if known == Some(earlier.version) => Some(earlier.head),
        _ => known,
    };
    let mut remote = ready.remote(&source.branch, store)?;
    remote.want_files(Files::None);
    let asked = ask(
        &mut remote,
        shown,
        Some(pool),
        &ready.pace,
        log,
        |history, snapshot| {
            if !ledger::is_pool(history, snapshot.commit, pool)? {
                return Ok(None);
            }
            let versions = ledger::versions(history, pool, known, earlier)?;
            // A version that was shown is listed as well where it is none of this pool.
            let last = versions.last().copied().filter(|version| {
                let is_known = earlier.is_some_and(|earlier| earlier.version == *version);
                is_known || matches!(history.touches(*version, pool.as_str()), Ok(true))
            });
            let head = snapshot.commit;
            Ok(Some((
                versions,
                last.map(|version| Latest { head, version }),
            )))
        },
    );
    let found = asked.await?;
    if let (Some(cache), Some((_, Some(latest)))) = (cache, &found) {
        cache.note_latest(pool, *latest);
    }
    let versions = found.map(|(versions, _)| versions);
    versions.ok_or_else(|| StepError::NoPool {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })
}
