//! Machines of ours that no job claims: they are looked for at the start and every hour, and taken away.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::task::spawn_local;

use super::act::limited;
use super::shared::{Closing, Shared, Side};
use crate::provider::{Found, ProviderError};
use crate::resource::Resource;

/// Begins to sweep for a runner. An orderly end does not wait for it: it takes away what nobody claims, now or later.
pub(super) fn begin(shared: &Rc<Shared>, side: &Rc<Side>) {
    let (shared, side) = (shared.clone(), side.clone());
    spawn_local(async move {
        let _: Result<(), Closing> = sweep(&shared, &side).await;
    });
}

async fn sweep(shared: &Shared, side: &Side) -> Result<(), Closing> {
    let log = shared.settings.log;
    let mut pauses = shared.pauses();
    loop {
        match once(shared, side).await {
            Ok(()) => {
                pauses = shared.pauses();
                shared.pause(shared.settings.sweep_interval).await?;
            }
            Err(err) => {
                shared.metrics.error("provider");
                log.warning(&format!(
                    "machines without a job cannot be looked for, for runner '{}'{err}",
                    terminal::one_line(&side.runner.short)
                ));
                let pause = pauses.next().unwrap_or_default();
                let pause = pause.max(err.wait.unwrap_or_default());
                // What no trying helps is no reason to ask for it all the time.
                let pause = match err.may_pass() {
                    true => pause,
                    false => shared.settings.sweep_interval,
                };
                shared.pause(pause).await?;
            }
        }
    }
}

async fn once(shared: &Shared, side: &Side) -> Result<(), ProviderError> {
    let log = shared.settings.log;
    let tenants = shared.with_ledger(|ledger| ledger.tenants_of(&side.runner.id));
    let all = limited("list", side.provider.list(&tenants)).await?;
    // Claimed is what is claimed after the list was made: what is in it was asked for before.
    let claims = claims(shared, side);
    let mut failed = None;
    for found in all.into_iter().filter(|found| !is_claimed(found, &claims)) {
        let id = terminal::one_line(found.resource.id());
        if let Err(err) = limited("delete", side.provider.delete(&found.resource)).await {
            failed = Some(err);
            continue;
        }
        shared.metrics.orphan();
        log.warning(&format!(
            "deleted the machine {id} with the name {}, which no job claims",
            terminal::one_line(&found.name)
        ));
    }
    failed.map_or(Ok(()), Err)
}

/// What is claimed: names with the id of the machine, where that is known.
type Claims = BTreeSet<(String, Option<String>)>;

fn claims(shared: &Shared, side: &Side) -> Claims {
    shared.with_ledger(|ledger| {
        let own = ledger
            .jobs()
            .iter()
            .filter(|(key, _)| key.runner == side.runner.id);
        own.filter_map(|(_, job)| {
            let id = job.resource().map(|resource| resource.id().to_owned());
            Some((job.place()?.name.clone(), id))
        })
        .collect()
    })
}

fn is_claimed(found: &Found, claims: &Claims) -> bool {
    let id = Resource::id(&found.resource);
    claims.iter().any(|(name, known)| match known {
        Some(known) => known == id,
        None => *name == found.name,
    })
}
