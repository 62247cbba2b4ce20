//! Reaping a pool: the claims are given back that nobody will give back any more.
//!
//! Look at the claims, ask the CI systems of the settings about the builds that made them, let the rules judge
//! ([`crate::reap`]), and end each claim that is stale by a commit of its own, which says on what evidence. Whatever
//! happens in between is left alone: a claim is ended only while it stands and its holder has not been heard of since
//! the look ([`Right::Stale`]). A lock that cannot be judged is kept, and one that cannot be freed keeps no other from it.

use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::operate::attempt;
use super::{Ready, StepError, Surroundings, ask};
use crate::attempt::{
    Attempt, AttemptError, DeadTickets, Meter, Outcome, clear_dead_tickets, read_pool,
};
use crate::concourse::atc::{Atc, DEFAULT_LIMIT};
use crate::concourse::{Reap, Source};
use crate::evidence::{self, Gitlab, Witness};
use crate::ledger::{self, Held};
use crate::lock::LockName;
use crate::maker::{Heard, Maker};
use crate::message::{self, Origin};
use crate::metrics::{Place, Reporter};
use crate::operation::{Operation, Right};
use crate::reap::{self, Rules, Verdict};
use crate::rules::{Refusal, State};
use git::object::Oid;
use git::{FaultError, Files, HistoryError, Store, StoreError};
use pace::duration::{as_set, in_two_units};
use terminal::table::counted;

/// How long asking about all builds may take. Whoever has not been asked about by then is left to the next reaping.
const LIMIT_OF_ASKING: Duration = Duration::from_secs(300);

/// Clocks may differ by so much before it is worth a word.
const CLOCK: Duration = Duration::from_secs(60);

/// How much is shown of a reason, in characters. Whoever made a claim can give its build names of any length.
const REASON_SHOWN: usize = 1000;

/// What became of the claims of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaping {
    /// Each claim that stood, by the name of its lock.
    pub decided: Vec<Decided>,
    /// Why nothing could be learnt of any build, where some should have been asked about.
    pub unheard: Option<Unheard>,
    /// What became of the tickets of those who vanished while they waited.
    pub tickets: DeadTickets,
    /// A version of the pool whose get does not fail: the last commit that freed a lock, else the last version at which
    /// none was claimed.
    pub version: Oid,
}

/// A CI system that did not tell of any of the builds that it ought to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// What was learnt in the first attempt instead.
    pub why: String,
    /// How many claims could not be judged for that.
    pub claims: usize,
    /// Since when the oldest of them stands, by its holder's clock.
    pub since: SystemTime,
}

/// What was decided about one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The lock.
    pub lock: LockName,
    /// Who holds it, fit for a log.
    pub holder: String,
    /// Since when, by his clock.
    pub since: SystemTime,
    /// What to do with the lock, and why.
    pub verdict: Verdict,
    /// What was done.
    pub became: Became,
}

/// What was done about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// Nothing: the lock is kept.
    Kept,
    /// Nothing, because nothing was to be changed; else the lock would have been freed.
    WouldBeFreed,
    /// The claim was ended by this commit.
    Freed(Oid),
    /// Nothing: the claim has ended or was renewed meanwhile, as this says.
    Lost(String),
    /// Nothing, though it should have been ended, for this reason.
    Failed(String),
}

impl Reaping {
    /// The locks that were freed.
    pub fn freed(&self) -> Vec<LockName> {
        self.with(|became| matches!(became, Became::Freed(_)))
    }

    /// The locks that could not be freed.
    pub fn failed(&self) -> Vec<LockName> {
        self.with(|became| matches!(became, Became::Failed(_)))
    }

    /// The locks of which this became.
    pub fn with(&self, of_interest: impl Fn(&Became) -> bool) -> Vec<LockName> {
        let decided = self.decided.iter();
        let decided = decided.filter(|decided| of_interest(&decided.became));
        decided.map(|decided| decided.lock.clone()).collect()
    }
}

impl fmt::Display for Decided {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decided {
            lock,
            holder,
            since,
            verdict,
            became,
        } = self;
        let why: String = verdict.why().chars().take(REASON_SHOWN).collect();
        match became {
            Became::Kept => write!(f, "kept `{lock}`")?,
            Became::WouldBeFreed => write!(f, "would free `{lock}`")?,
            Became::Freed(by) => write!(f, "freed `{lock}` with the commit {by}")?,
            Became::Lost(_) => write!(f, "left `{lock}` alone")?,
            Became::Failed(_) => write!(f, "warning: could not free `{lock}`")?,
        }
        write!(f, ", claimed ")?;
        if let Some(since) = terminal::time::moment(*since) {
            write!(f, "{since} ")?;
        }
        write!(f, "by {holder}: ")?;
        match became {
            Became::Lost(how) => write!(f, "{how}"),
            Became::Failed(how) => write!(f, "{how}; it was to be freed: {why}"),
            _ => write!(f, "{why}"),
        }
    }
}

/// Ends those claims of the source's pool that nobody will end any more, or says which they would be; tells on `log`
/// about each claim why it is ended or kept, a line each.
///
/// # Errors
/// [`StepError`], also when it was told to stop. What could not be done about single locks is no error here, see
/// [`Reaping::failed`].
pub async fn reap(
    source: &Source,
    settings: &Reap,
    origin: Origin,
    around: &Surroundings,
    stop: CancellationToken,
    log: &mut dyn Write,
) -> Result<Reaping, StepError> {
    let mut ready = Ready::new(source, around, log)?;
    let pool = &source.pool;
    let mut witnesses: Vec<Box<dyn Witness>> = Vec::new();
    if let Some(server) = &settings.concourse {
        let client = ready.http_client(source, around, &server.url)?;
        witnesses.push(Box::new(Atc::new(client, server, DEFAULT_LIMIT)));
    }
    if let Some(server) = &settings.gitlab {
        let client = ready.http_client(source, around, server.api.url())?;
        witnesses.push(Box::new(Gitlab::new(client, server, DEFAULT_LIMIT)));
    }
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let looking = ask(
        &mut remote,
        None,
        None,
        &ready.pace,
        log,
        |history, snapshot| {
            if !ledger::is_pool(history, snapshot.commit, pool)? {
                return Ok(None);
            }
            let claims = ledger::claims(history, std::slice::from_ref(pool))?;
            let version = ledger::settled_version(history, pool)?;
            let claims = claims.into_values().flatten();
            Ok(Some((*snapshot, claims.collect::<Vec<_>>(), version)))
        },
    );
    let stopped = || StepError::from(AttemptError::Stopped);
    let looked = tokio::select! {
        looked = looking => looked?,
        () = stop.cancelled() => return Err(stopped()),
    };
    let Some((snapshot, claims, version)) = looked else {
        return Err(StepError::NoPool {
            pool: pool.clone(),
            branch: source.branch.clone(),
            remote: ready.location.to_string(),
        });
    };
    let state = read_pool(&remote, &snapshot, pool).map_err(|err| match err {
        HistoryError::Store(err) => err,
        HistoryError::Truncated => StoreError::Hole(snapshot.commit),
    })?;

    // A clock that is ahead of the server's would end leases too early.
    let ours = SystemTime::now();
    let now = remote.server_time().map_or(ours, |server| ours.min(server));
    let ahead = ours.duration_since(now).unwrap_or_default();
    if ahead > CLOCK {
        terminal::say(
            log,
            format_args!(
                "warning: the clock of this machine is {} ahead of that of the server: leases and ages go by the server's; set the clock",
                in_two_units(ahead)
            ),
        );
    }
    let judging = async {
        let mut hearing = Hearing::default();
        let until = Instant::now() + LIMIT_OF_ASKING;
        let mut judged = Vec::new();
        for (lock, held) in claims {
            let verdict = match state.as_ref().and_then(|pool| pool.state(&lock)) {
                Some(State::Damaged(damage)) => Verdict::Keep(format!("it is damaged: {damage}")),
                _ => judge(&held, (settings, now), &mut witnesses, until, &mut hearing).await,
            };
            judged.push((lock, held, verdict));
        }
        (judged, hearing)
    };
    let (judged, hearing) = tokio::select! {
        judged = judging => judged,
        () = stop.cancelled() => return Err(stopped()),
    };

    let mut reaping = Reaping {
        decided: Vec::new(),
        unheard: hearing.unheard.filter(|_| !hearing.has_heard),
        tickets: DeadTickets::default(),
        version: version.unwrap_or(snapshot.commit),
    };
    let is_stale = |verdict: &Verdict| matches!(verdict, Verdict::Free(_));
    let mut to_free = judged
        .iter()
        .filter(|(.., verdict)| is_stale(verdict))
        .count();
    let mut reporter = Some(Reporter::new(
        ready.gateway.take(),
        Place {
            pool: pool.clone(),
            branch: source.branch.clone(),
        },
    ));
    let mut attempt = attempt(source, &ready, remote, origin, around, stop, log);
    let mut in_vain: Option<String> = None;
    for (lock, held, verdict) in judged {
        let became = match (&verdict, &in_vain) {
            (Verdict::Keep(_), _) => Became::Kept,
            (Verdict::Free(_), _) if settings.dry_run => Became::WouldBeFreed,
            (Verdict::Free(_), Some(why)) => Became::Failed(format!("not tried after {why}")),
            (Verdict::Free(why), None) => {
                to_free = to_free.saturating_sub(1);
                // What the pool is like afterwards is told once.
                if let Some(reporter) = reporter.take_if(|_| to_free == 0) {
                    attempt.meter = Meter::new(reporter);
                }
                let release = release(&lock, &held, why);
                let freed = Box::pin(attempt.run(&release, async |_: &Outcome| Ok(()))).await;
                match freed {
                    Ok(outcome) => {
                        reaping.version = outcome.commit;
                        Became::Freed(outcome.commit)
                    }
                    Err(AttemptError::Stopped) => return Err(stopped()),
                    Err(AttemptError::Refused(
                        refusal @ (Refusal::ClaimEnded { .. }
                        | Refusal::Renewed { .. }
                        | Refusal::NotAClaim { .. }),
                    )) => Became::Lost(refusal.to_string()),
                    Err(err) => {
                        let why = terminal::chain(&err);
                        // The next one would fare no better, after as long a time.
                        if !matches!(
                            err,
                            AttemptError::Refused(_) | AttemptError::Rejected { .. }
                        ) {
                            in_vain = Some(why.clone());
                        }
                        Became::Failed(why)
                    }
                }
            }
        };
        let decided = Decided {
            holder: message::who(&held.message),
            since: held.made,
            lock,
            verdict,
            became,
        };
        terminal::say(attempt.log, format_args!("{decided}"));
        reaping.decided.push(decided);
    }
    reaping.tickets = clear_line(&mut attempt, settings.dry_run).await?;
    Ok(reaping)
}

/// Takes away the tickets of those who vanished while they waited, and says so. What fails is a warning: such a ticket is
/// passed over by all who wait.
async fn clear_line(attempt: &mut Attempt<'_>, dry: bool) -> Result<DeadTickets, StepError> {
    let Attempt {
        remote,
        pool,
        pace,
        stop,
        log,
        ..
    } = attempt;
    let cleared = clear_dead_tickets(remote, pool, dry, pace.fault_limit, stop, *log).await;
    let tickets = match cleared {
        Ok(tickets) => tickets,
        Err(FaultError::Stopped) => return Err(AttemptError::Stopped.into()),
        Err(err) => {
            let why = terminal::chain(&err);
            let line = format_args!(
                "warning: could not look for tickets of waiters that are gone in the pool `{pool}`: {why}"
            );
            terminal::say(*log, line);
            return Ok(DeadTickets::default());
        }
    };
    let none_alive = "no waiter stands behind";
    match tickets.found {
        0 => {}
        found if dry => terminal::say(
            *log,
            format_args!(
                "would take away {}: {none_alive} them",
                counted(found, "ticket")
            ),
        ),
        _ if tickets.gone > 0 => terminal::say(
            *log,
            format_args!(
                "took away {}: {none_alive} them",
                counted(tickets.gone, "ticket")
            ),
        ),
        _ => {}
    }
    if let Some(words) = tickets
        .refused
        .as_ref()
        .filter(|_| !dry && tickets.gone < tickets.found)
    {
        let stay = counted(tickets.found - tickets.gone, "ticket");
        let line = format_args!(
            "warning: could not take away {stay} of waiters that are gone, for the server says: {words}"
        );
        terminal::say(*log, line);
    }
    Ok(tickets)
}

/// What was learnt of the builds that made claims.
#[derive(Default)]
struct Hearing {
    has_heard: bool,
    unheard: Option<Unheard>,
}

impl Hearing {
    fn note(&mut self, heard: &Heard, made: SystemTime) {
        match heard {
            Heard::Found { .. } | Heard::Missing { .. } => self.has_heard = true,
            Heard::Unheard(why) => {
                let unheard = self.unheard.get_or_insert_with(|| Unheard {
                    why: terminal::one_line(why),
                    claims: 0,
                    since: made,
                });
                unheard.claims += 1;
                unheard.since = unheard.since.min(made);
            }
            Heard::Unknown(_) => {}
        }
    }
}

/// What to do with a claim, as far as can be learnt until then.
async fn judge(
    held: &Held,
    (settings, now): (&Reap, SystemTime),
    witnesses: &mut [Box<dyn Witness>],
    until: Instant,
    hearing: &mut Hearing,
) -> Verdict {
    let maker = Maker::read(&held.message);
    let heard = match timeout_at(until, evidence::ask(witnesses, &maker, held.made)).await {
        Ok(heard) => heard,
        Err(_) => Heard::Unheard(format!(
            "asking about all builds takes longer than {}",
            as_set(LIMIT_OF_ASKING)
        )),
    };
    hearing.note(&heard, held.made);
    let claim = reap::Claim {
        made: held.made,
        lease_end: held.lease_end,
        maker: &maker,
        heard: &heard,
    };
    let rules = Rules {
        now,
        stale_after: settings.stale_after,
    };
    reap::judge(&claim, &rules)
}

fn release(lock: &LockName, held: &Held, why: &str) -> Operation {
    Operation::Release {
        locks: vec![lock.clone()],
        right: Right::Stale {
            claim: held.claim,
            last_sign: held.last_sign,
        },
        reason: Some(why.chars().take(REASON_SHOWN).collect()),
    }
}
