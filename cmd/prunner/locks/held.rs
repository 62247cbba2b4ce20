//! The locks of one job: claimed pool by pool, kept while the job runs, and given back however that ends.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use pipelines::job::{Hold, Lock};
use pipelines::locks::{Change, Teller};
use pool::lock::LockName;
use pool::message::listed;
use pool::step::Watch;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, NoClaim, OfPool};
use super::words;
use super::{Of, Server};
use crate::pool::commands::run::hold::{self, Lost, Watched, kept, make_sure};

/// The folder of the metadata of the locks, below that of the holder.
const METADATA: &str = "metadata";
/// The file with the claims, a line each, beside it.
const CLAIMS: &str = "claims";

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
    holder: &Of,
    wanted: Vec<Rc<OfPool>>,
    teller: &Teller,
    stop: &CancellationToken,
) -> Result<(), String> {
    let mut holding = Holding::new(server, holder);
    let result = match holding.claim_all(wanted, teller, stop).await {
        Ok(true) => match holding.environment() {
            Ok(env) => {
                teller.holds(holding.locks(), env);
                holding.listen(teller, stop).await;
                Ok(())
            }
            Err(err) => Err(format!("{err:#}")),
        },
        Ok(false) => Ok(()),
        Err(why) => Err(why),
    };
    let released = release(&holding.end()).await;
    // What follows from a failure is of less interest.
    result.and(released)
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

/// What is held so far. Each claim is kept from when it is there: the next pool may be waited for longer than its lease is.
struct Holding<'a> {
    server: &'a Server,
    holder: &'a Of,
    /// Where the metadata of the locks are.
    folder: PathBuf,
    held: Vec<Held>,
    keeping: JoinSet<()>,
    tell: UnboundedSender<(usize, Lost)>,
    told: UnboundedReceiver<(usize, Lost)>,
}

impl<'a> Holding<'a> {
    fn new(server: &'a Server, holder: &'a Of) -> Holding<'a> {
        let (tell, told) = unbounded_channel();
        Holding {
            server,
            holder,
            folder: server.folder_of(holder).join(METADATA),
            held: Vec::new(),
            keeping: JoinSet::new(),
            tell,
            told,
        }
    }

    /// Claims pool by pool; says whether all is held, or it was told to stop.
    ///
    /// # Errors
    /// Why they are not to be had. What is held then is to be given back.
    async fn claim_all(
        &mut self,
        wanted: Vec<Rc<OfPool>>,
        teller: &Teller,
        stop: &CancellationToken,
    ) -> Result<bool, String> {
        let mut log = words::shown(teller.clone());
        for of in wanted {
            let give_up = stop.child_token();
            let mut lost = None;
            let claimed = {
                let mut claiming = pin!(of.claim(&give_up, &mut log));
                loop {
                    tokio::select! {
                        biased;
                        claimed = &mut claiming => break claimed,
                        Some(news) = self.told.recv() => {
                            // Without that one the others are of no use: the line is left.
                            lost.get_or_insert(take_note(&mut self.held, news));
                            give_up.cancel();
                        }
                    }
                }
            };
            match claimed {
                Ok(claim) => self.held.push(Held { of, claim }),
                Err(NoClaim::Stopped) => return lost.map_or(Ok(false), Err),
                Err(NoClaim::Unclear(why)) => {
                    let unclear = of.release_all().await;
                    return match lost.or(why) {
                        Some(why) => Err(why),
                        None => unclear.map(|()| false),
                    };
                }
            }
            if let Some(why) = lost {
                return Err(why);
            }
            if !self.keep(stop).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps the newest claim from now on; says whether it was not told to stop.
    async fn keep(&mut self, stop: &CancellationToken) -> Result<bool, String> {
        let at = self.held.len().saturating_sub(1);
        let Some(one) = self.held.last_mut() else {
            return Ok(true);
        };
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            started = start(one, &self.folder) => started,
        };
        let (watch, end) = started.map_err(|err| format!("{err:#}"))?;
        let (of, claim, lease) = (one.of.clone(), one.claim.clone(), kept(one.of.lease));
        let (tell, log, id) = (
            self.tell.clone(),
            self.server.log,
            self.holder.job.id.to_string(),
        );
        self.keeping.spawn_local(async move {
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
        Ok(true)
    }

    /// Tells what is lost, until it is told to stop.
    async fn listen(&mut self, teller: &Teller, stop: &CancellationToken) {
        loop {
            let news = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(news) = self.told.recv() => news,
            };
            teller.lost(take_note(&mut self.held, news));
        }
    }

    fn locks(&self) -> Vec<Lock> {
        let locks = self.held.iter().flat_map(|one| {
            let of = |lock: &LockName| Lock {
                pool: one.of.pool().to_owned(),
                name: lock.to_string(),
            };
            one.claim.locks.iter().map(of)
        });
        locks.collect()
    }

    /// What tasks find, as the command of `pool run` does. No credentials of the locks are among it.
    ///
    /// A task with locks of its own finds those of its job as well, before its own: as if the job held all of them.
    fn environment(&self) -> Result<Change> {
        let own = self.held.iter().map(|one| one.claim.id.to_string());
        let mut claims: Vec<String> = own.collect();
        let mut locks = self.locks();
        if self.holder.task.is_none() {
            let file = self.server.folder_of(self.holder).join(CLAIMS);
            fs::write(&file, claims.join("\n"))
                .with_context(|| format!("writing `{}`", file.display()))?;
        } else if let Hold::Holds(of_job) = &self.holder.job.hold {
            let job = Of {
                task: None,
                ..self.holder.clone()
            };
            let folder = self.server.folder_of(&job);
            for lock in of_job {
                let to = self.folder.join(&lock.pool);
                fs::create_dir_all(&to)
                    .and_then(|()| {
                        let from = folder.join(METADATA).join(&lock.pool).join(&lock.name);
                        fs::copy(from, to.join(&lock.name))
                    })
                    .with_context(|| format!("copying the metadata of `{}`", lock.name))?;
            }
            let file = folder.join(CLAIMS);
            let of_job_claims = fs::read_to_string(&file)
                .with_context(|| format!("reading `{}`", file.display()))?;
            claims.splice(..0, of_job_claims.lines().map(str::to_owned));
            locks.splice(..0, of_job.iter().cloned());
        }
        Ok(environment(self.server, &locks, &claims, &self.folder))
    }

    /// Keeps nothing any more: a renewal is not to come between what gives it back.
    fn end(self) -> Vec<Held> {
        self.held
    }
}

/// What is lost is no longer in the claims; gives it in words.
fn take_note(held: &mut [Held], (at, lost): (usize, Lost)) -> String {
    let Held { of, claim } = &mut held[at];
    match lost {
        Lost::Taken(lock, by) => {
            claim.locks.retain(|held| *held != lock);
            format!(
                "the claim of `{lock}` of the pool `{}` was taken away {by}",
                of.pool()
            )
        }
        Lost::LeaseOver(_) => format!(
            "the lease of `{}` of the pool `{}` could not be renewed, and ends: somebody else may be given it",
            listed(&claim.locks),
            of.pool()
        ),
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

fn environment(server: &Server, locks: &[Lock], claims: &[String], folder: &Path) -> Change {
    let names: Vec<&str> = locks.iter().map(|lock| lock.name.as_str()).collect();
    // The files of one pool are where `pool run` has them; those of several, in a folder of each.
    let files = match claims {
        [_] => locks.first().map(|lock| folder.join(&lock.pool)),
        _ => None,
    };
    let files = files.unwrap_or_else(|| folder.to_owned());
    let first = locks.first();
    let first = first.map_or(files.clone(), |lock| {
        folder.join(&lock.pool).join(&lock.name)
    });
    let (removed, changed) = server.variables().withheld();
    let mut set: Vec<(OsString, OsString)> = vec![
        ("POOL_LOCK_NAME".into(), names.join("\n").into()),
        ("POOL_METADATA_FILE".into(), first.into()),
        ("POOL_METADATA_DIR".into(), files.into()),
        ("POOL_CLAIM".into(), claims.join("\n").into()),
    ];
    let changed = changed.into_iter();
    set.extend(changed.map(|(name, value)| (name.into(), value)));
    Change {
        set,
        removed: removed.into_iter().map(OsString::from).collect(),
    }
}
