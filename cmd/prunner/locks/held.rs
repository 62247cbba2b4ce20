//! The locks of one job: claimed pool by pool, kept while the job runs, and given back however that ends.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use pipelines::job::{Job, Lock};
use pipelines::locks::{Change, Teller};
use pool::lock::LockName;
use pool::message::listed;
use pool::step::Watch;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::claim::{Claim, NoClaim, OfPool};
use super::words;
use crate::pool::commands::run::hold::{self, Lost, Watched, kept, make_sure};

/// What is held of one pool.
struct Held {
    of: Rc<OfPool>,
    claim: Claim,
}

/// Waits for all locks, holds them until it is told to stop, and gives them back.
///
/// # Errors
/// Why they are not to be had, or not held to the end, or not given back.
pub async fn hold(
    server: &Server,
    job: &Job,
    wanted: Vec<Rc<OfPool>>,
    teller: &Teller,
    stop: &CancellationToken,
) -> Result<(), String> {
    let mut held: Vec<Held> = Vec::new();
    let mut log = words::shown(teller.clone());
    for of in wanted {
        match of.claim(stop, &mut log).await {
            Ok(claim) => held.push(Held { of, claim }),
            Err(NoClaim::Stopped) => return release(&held).await,
            Err(NoClaim::Unclear(why)) => {
                let unclear = of.release_all().await;
                let released = release(&held).await;
                return match why {
                    // What follows from it is of less interest.
                    Some(why) => Err(why),
                    None => unclear.and(released),
                };
            }
        }
    }
    let kept = keep(server, job, &mut held, teller, stop).await;
    let released = release(&held).await;
    kept.and(released)
}

/// Gives back what a server before this one has claimed for the job.
///
/// # Errors
/// Why that is not possible.
pub async fn give_back(wanted: &[Rc<OfPool>]) -> Result<(), String> {
    let mut result = Ok(());
    for of in wanted {
        result = result.and(of.release_all().await);
    }
    result
}

async fn release(held: &[Held]) -> Result<(), String> {
    let mut result = Ok(());
    // In the other order: who gets the first one may wait for the next.
    for Held { of, claim } in held.iter().rev() {
        let released = of.release(claim).await.and_then(|taken| match taken[..] {
            [] => Ok(()),
            _ => Err(format!(
                "the job did not hold `{}` of the pool `{}` all the time: the claim was taken away",
                listed(&taken),
                of.pool()
            )),
        });
        result = result.and(released);
    }
    result
}

/// Keeps what is held until it is told to stop. What is lost meanwhile is told, and is no longer in the claims.
async fn keep(
    server: &Server,
    job: &Job,
    held: &mut [Held],
    teller: &Teller,
    stop: &CancellationToken,
) -> Result<(), String> {
    let (tell, told) = unbounded_channel();
    let mut keeping = JoinSet::new();
    let folder = server.folder_of(job).join("metadata");
    for (at, one) in held.iter_mut().enumerate() {
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            started = start(one, &folder) => started,
        };
        let (watch, end) = started.map_err(|err| format!("{err:#}"))?;
        let (of, claim, lease) = (one.of.clone(), one.claim.clone(), kept(one.of.lease));
        let (tell, log, id) = (tell.clone(), server.log, job.id.to_string());
        keeping.spawn_local(async move {
            let (lost, mut heard) = unbounded_channel();
            let log =
                move || -> Box<dyn std::io::Write> { Box::new(words::logged(log, id.clone())) };
            let watched = Watched {
                watch,
                claim: claim.id,
                locks: claim.locks,
            };
            let holding = hold::hold(&of.context, watched, lease, end, lost, &log);
            let pass_on = async {
                while let Some(lost) = heard.recv().await {
                    let _ = tell.send((at, lost));
                }
            };
            tokio::join!(holding, pass_on);
        });
    }
    let locks = held.iter().flat_map(|one| {
        let of = |lock: &LockName| Lock {
            pool: one.of.pool().to_owned(),
            name: lock.to_string(),
        };
        one.claim.locks.iter().map(of)
    });
    teller.holds(locks.collect(), environment(server, held, &folder));
    listen(held, told, teller, stop).await;
    Ok(())
}

async fn listen(
    held: &mut [Held],
    mut told: UnboundedReceiver<(usize, Lost)>,
    teller: &Teller,
    stop: &CancellationToken,
) {
    loop {
        let (at, lost) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(lost) = told.recv() => lost,
        };
        let Held { of, claim } = &mut held[at];
        match lost {
            Lost::Taken(lock, by) => {
                claim.locks.retain(|held| *held != lock);
                teller.lost(format!(
                    "the claim of `{lock}` of the pool `{}` was taken away {by}",
                    of.pool()
                ));
            }
            Lost::LeaseOver(_) => teller.lost(format!(
                "the lease of `{}` of the pool `{}` could not be renewed, and ends: somebody else may be given it",
                listed(&claim.locks),
                of.pool()
            )),
        }
    }
}

/// Makes sure that a claim stands, and writes the metadata of its locks; gives when its lease ends.
async fn start(held: &mut Held, folder: &Path) -> Result<(Watch, Instant)> {
    let Held { of, claim } = held;
    let mut watch = Watch::new(&of.context.source, &of.context.around, claim.id)?;
    let lease = kept(of.lease);
    let log = || -> Box<dyn std::io::Write> { Box::new(std::io::sink()) };
    let sure = make_sure(
        &of.context,
        &mut watch,
        claim.id,
        &mut claim.locks,
        lease,
        &log,
    );
    let end = sure.await?;
    let folder = folder.join(of.pool());
    fs::create_dir_all(&folder)
        .with_context(|| format!("making the folder `{}`", folder.display()))?;
    for lock in &claim.locks {
        let file = folder.join(lock.as_str());
        fs::write(&file, watch.metadata(lock)?)
            .with_context(|| format!("writing `{}`", file.display()))?;
    }
    Ok((watch, end))
}

/// What tasks find, as the command of `pool run` does. No credentials of the locks are among it.
fn environment(server: &Server, held: &[Held], folder: &Path) -> Change {
    let locks = || {
        held.iter().flat_map(|one| {
            let pool = one.of.pool();
            one.claim.locks.iter().map(move |lock| (pool, lock))
        })
    };
    let names: Vec<&str> = locks().map(|(_, lock)| lock.as_str()).collect();
    let ids: Vec<String> = held.iter().map(|one| one.claim.id.to_string()).collect();
    // The files of one pool are where `pool run` has them; those of several, in a folder of each.
    let files = match held {
        [one] => folder.join(one.of.pool()),
        _ => folder.to_owned(),
    };
    let first = locks().next();
    let first = first.map_or(files.clone(), |(pool, lock)| {
        folder.join(pool).join(lock.as_str())
    });
    let (removed, changed) = server.variables().withheld();
    let mut set: Vec<(OsString, OsString)> = vec![
        ("POOL_LOCK_NAME".into(), names.join("\n").into()),
        ("POOL_METADATA_FILE".into(), first.into()),
        ("POOL_METADATA_DIR".into(), files.into()),
        ("POOL_CLAIM".into(), ids.join("\n").into()),
    ];
    let changed = changed.into_iter();
    set.extend(changed.map(|(name, value)| (name.into(), value)));
    Change {
        set,
        removed: removed.into_iter().map(OsString::from).collect(),
    }
}
