//! What the pools of a repository look like now: who holds what, and who waits for what.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::far::Far;
use super::{Ready, StepError, Surroundings};
use crate::attempt::{self, Usual, component, refs_of_branch};
use crate::circles::{self, Circle, Line};
use crate::concourse::Source;
use crate::ledger::{self, Claims, Held, Older};
use crate::line::branch;
use crate::line::load::FIRST;
use crate::line::sightings::{Life, Said, Sighting, Sightings};
use crate::line::{Need, PlaceName, Ticket, in_order};
use crate::lock::{Holding, LockName, PoolName};
use crate::operation::Want;
use crate::past;
use crate::rules::{Damage, Pool, State};
use git::object::Oid;
use git::{Depth, Files, HistoryError, Interest, Listing, Remote, Snapshot, Store, StoreError};
use pace::{Pace, ride_out};
use terminal::trying_again;

/// How many tickets are read at most; those further back are taken to want any lock.
const MOST_TICKETS: usize = 2000;

/// How many commits are asked at most for how long holds take. It is a figure to go by, not a statistic.
const RECENT_PAST: usize = 1000;

/// How often somebody looks who goes on looking.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Which pools are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The source's.
    One,
    /// Every one on the branch.
    All,
}

/// The pools of a branch at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The repository, without credentials.
    pub remote: String,
    /// The branch.
    pub branch: String,
    /// The commit that it was at.
    pub head: Oid,
    /// The pools, in the order of their names.
    pub pools: Vec<PoolView>,
    /// Those who wait for each other, so that none of them can go on: where a pool is shown in whose line one of them stands.
    pub circles: Vec<Circle>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// Where it is.
    pub name: PoolName,
    /// Its locks, in the order of their names.
    pub locks: Vec<LockView>,
    /// Those who wait, in the order in which they are served.
    pub line: Vec<Waiter>,
    /// For how long locks are held, if enough of the recent history is here to tell.
    pub usual: Option<Usual>,
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockView {
    /// Its name.
    pub name: LockName,
    /// Whether it is free.
    pub standing: Standing,
}

/// Whether a lock is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody holds it.
    Free,
    /// Somebody does; `None` where no commit tells who.
    Held(Option<Held>),
    /// Nobody can tell, and somebody has to mend it.
    Damaged(Damage, Option<Held>),
}

/// One who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// The id of its ticket, which no other waiter has.
    pub id: String,
    /// Who, in a few words.
    pub who: String,
    /// The page of the build.
    pub url: Option<String>,
    /// For what; `None` when its ticket does not tell.
    pub need: Option<Need>,
    /// Since when, in seconds since 1970, by its own clock.
    pub since: Option<u64>,
    /// How urgent it is.
    pub priority: i32,
    /// For how long it has shown no sign of life, when that is long enough for it to be taken for gone.
    pub silent: Option<Duration>,
}

/// One who looks at pools, once or again and again.
pub struct Viewer {
    pub(super) remote: Remote,
    name: String,
    pub(super) which: Which,
    pub(super) pool: PoolName,
    pub(super) pace: Pace,
    seen: Option<(Listing, Overview)>,
    /// What was fetched last of the branch.
    pub(super) snapshot: Option<Snapshot>,
    /// Made when it is first needed, which is seldom.
    far: Option<Far>,
    temporary: PathBuf,
    /// The claims that stood at this commit.
    claims: Option<(Oid, Claims)>,
    /// The tickets of all lines, by the parts of their names after the branch.
    tickets: Sightings,
    /// The circles that the last look has shown.
    suspects: Vec<Circle>,
}

impl Viewer {
    /// Gets ready to look; connects to nothing yet.
    ///
    /// # Errors
    /// [`StepError`] when the source does not hold together.
    pub fn new(
        source: &Source,
        which: Which,
        around: &Surroundings,
        log: &mut dyn Write,
    ) -> Result<Viewer, StepError> {
        let ready = Ready::new(source, around, log)?;
        let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
        remote.want_files(Files::None);
        remote.watch(&refs_of_branch(&source.branch));
        Ok(Viewer {
            remote,
            name: ready.location.to_string(),
            which,
            pool: source.pool.clone(),
            pace: ready.pace,
            seen: None,
            snapshot: None,
            far: None,
            temporary: around.temporary.clone(),
            claims: None,
            tickets: Sightings::default(),
            suspects: Vec::new(),
        })
    }

    /// Looks what there is: one listing, and a fetch when something has moved since the last look. Where it shows a circle
    /// that is new, it looks once more: what is gone by then was none.
    ///
    /// # Errors
    /// [`StepError`].
    pub async fn look(&mut self, log: &mut dyn Write) -> Result<Overview, StepError> {
        let mut overview = self.look_once(log).await?;
        let is_new = |circle: &Circle| !self.suspects.contains(circle);
        if overview.circles.iter().any(is_new) {
            self.suspects = std::mem::take(&mut overview.circles);
            sleep(FIRST).await;
            overview = self.look_once(log).await?;
        }
        let found = std::mem::take(&mut overview.circles);
        let twice = found.iter().filter(|circle| self.suspects.contains(circle));
        overview.circles = twice.cloned().collect();
        self.suspects = found;
        Ok(overview)
    }

    async fn look_once(&mut self, log: &mut dyn Write) -> Result<Overview, StepError> {
        let (listing, snapshot) = self.list(log).await?;
        self.note_tickets(&listing);
        let fresh = match (self.seen.take(), snapshot) {
            (Some((_, seen)), None) if self.knows_claims(&seen) => seen,
            (_, Some(snapshot)) => self.read(snapshot, log).await?,
            // The first look asks for the head, or somebody waits in a line that nobody waited in.
            (_, None) => {
                let limit = self.pace.fault_limit;
                let never = CancellationToken::new();
                let snapshot =
                    attempt::snapshot(&mut self.remote, Depth::RECENT, limit, &never, log).await?;
                self.read(snapshot, log).await?
            }
        };
        let mut overview = self.with_lines(fresh);
        overview.circles = self.circles(&overview)?;
        let missed = self.remote.store().take_missed();
        if !missed.is_empty() {
            let (limit, never) = (self.pace.fault_limit, CancellationToken::new());
            let remote = &mut self.remote;
            ride_out(limit, &never, &mut trying_again(log), async || {
                remote.fetch_files(&missed).await
            })
            .await?;
            overview.circles = self.circles(&overview)?;
        }
        self.seen = Some((listing, overview.clone()));
        Ok(overview)
    }

    async fn list(
        &mut self,
        log: &mut dyn Write,
    ) -> Result<(Listing, Option<Snapshot>), StepError> {
        let never = CancellationToken::new();
        let known_head = self.seen.as_ref().map(|(listing, _)| listing.head);
        let tickets = &self.tickets;
        let interest = |listing: &Listing| {
            let now = Instant::now();
            let unread = listing.watched.iter().filter(|(name, _)| {
                if name.starts_with(branch::FOLDER) {
                    return false;
                }
                let known = tickets.get(name);
                known.is_none_or(|known| known.is_unknown() || known.is_doubtful(now))
            });
            let unread = unread.map(|(_, commit)| *commit).take(MOST_TICKETS);
            let unread: Vec<Oid> = unread.collect();
            if known_head == Some(listing.head) && unread.is_empty() {
                Interest::Nothing
            } else {
                Interest::Head(Depth::RECENT, unread)
            }
        };
        // What is known of claims and tickets is kept beside the objects.
        self.remote.may_begin_anew();
        let remote = &mut self.remote;
        let found = ride_out(
            self.pace.fault_limit,
            &never,
            &mut trying_again(log),
            async || remote.look(false, &interest).await,
        )
        .await;
        for line in self.remote.take_notices() {
            terminal::say(log, format_args!("{line}"));
        }
        let (listing, snapshot) = found?;
        // Only new tickets: what is known of the pools holds.
        let snapshot = snapshot.filter(|snapshot| known_head != Some(snapshot.commit));
        Ok((listing, snapshot))
    }

    /// Reads the pools at a commit, going back in the history until all claims are found.
    async fn read(
        &mut self,
        mut snapshot: Snapshot,
        log: &mut dyn Write,
    ) -> Result<Overview, StepError> {
        let never = CancellationToken::new();
        let limit = self.pace.fault_limit;
        let names = self.names(&snapshot)?;
        if self.which == Which::One && names.is_empty() {
            return Err(StepError::NoPool {
                pool: self.pool.clone(),
                branch: self.remote.branch().to_owned(),
                remote: self.name.clone(),
            });
        }
        let looked_at = self.looked_at(&snapshot, &names)?;
        let mut looked_far = false;
        let claims = loop {
            let history = self.remote.history(&snapshot);
            let known = self.claims.as_ref().map(|(at, claims)| (*at, claims));
            let knows_all = |(_, claims): &(Oid, &Claims)| {
                looked_at.iter().all(|pool| claims.contains_key(pool))
            };
            let known = known.filter(knows_all);
            let (mut claims, older) =
                ledger::claims_here(&history, &looked_at, known).map_err(at_the_head)?;
            let Some(older) = older else { break claims };
            if snapshot.depth >= Depth::LONG && !looked_far {
                looked_far = true;
                let far = far(&mut self.far, &self.remote, &self.temporary)?;
                let found = ride_out(limit, &never, &mut trying_again(log), async || {
                    far.claims(snapshot.commit, &older).await
                })
                .await?;
                if let Some(found) = found {
                    for (pool, found) in found {
                        claims.entry(pool).or_default().extend(found);
                    }
                    break claims;
                }
            }
            let mut deeper = attempt::deeper(snapshot.depth, HistoryError::Truncated)?;
            if deeper < Depth::LONG && are_older(&claims, &older, snapshot.depth, deeper) {
                deeper = Depth::LONG;
            }
            let ask_far =
                deeper == Depth::LONG && are_older(&claims, &older, snapshot.depth, deeper);
            snapshot = if ask_far {
                let far = far(&mut self.far, &self.remote, &self.temporary)?;
                let near = attempt::snapshot(&mut self.remote, deeper, limit, &never, log);
                // What fails here is tried again when it is needed.
                let (near, _) = tokio::join!(near, far.fetch());
                near?
            } else {
                attempt::snapshot(&mut self.remote, deeper, limit, &never, log).await?
            };
        };
        self.claims = Some((snapshot.commit, claims.clone()));
        self.snapshot = Some(snapshot);
        Ok(Overview {
            remote: self.name.clone(),
            branch: self.remote.branch().to_owned(),
            head: snapshot.commit,
            pools: self.pools(&snapshot, names, claims)?,
            circles: Vec::new(),
        })
    }

    /// The pools whose claims are looked for: those that are shown, and all in whose lines others wait, where somebody waits
    /// for one that is shown.
    fn looked_at(
        &self,
        snapshot: &Snapshot,
        shown: &[PoolName],
    ) -> Result<Vec<PoolName>, StepError> {
        if !shown.iter().any(|pool| self.is_waited_for(pool)) {
            return Ok(shown.to_vec());
        }
        let history = self.remote.history(snapshot);
        let mut all = past::pools(&history, snapshot.commit).map_err(at_the_head)?;
        all.retain(|pool| shown.contains(pool) || self.is_waited_for(pool));
        Ok(all.into_iter().collect())
    }

    fn is_waited_for(&self, pool: &PoolName) -> bool {
        circles::is_waited_for(&self.tickets, &start_of(pool), Instant::now())
    }

    /// Whether the claims are known that it takes to tell of circles.
    fn knows_claims(&self, seen: &Overview) -> bool {
        let here = Snapshot {
            commit: seen.head,
            depth: Depth::HEAD,
        };
        let shown: Vec<PoolName> = seen.pools.iter().map(|pool| pool.name.clone()).collect();
        let known = self.claims.as_ref().filter(|(at, _)| *at == seen.head);
        let looked_at = self.looked_at(&here, &shown);
        let knows = |pool: &PoolName| known.is_some_and(|(_, claims)| claims.contains_key(pool));
        looked_at.is_ok_and(|pools| pools.iter().all(knows))
    }

    /// The circles, as far as one of the pools that are shown is in them.
    fn circles(&self, overview: &Overview) -> Result<Vec<Circle>, StepError> {
        let Some((at, claims)) = &self.claims else {
            return Ok(Vec::new());
        };
        let here = Snapshot {
            commit: *at,
            depth: Depth::HEAD,
        };
        let mut pools = Vec::new();
        for name in claims.keys().filter(|pool| self.is_waited_for(pool)) {
            let pool = attempt::read_pool(&self.remote, &here, name);
            pools.extend(pool.map_err(at_the_head)?);
        }
        let none = BTreeMap::new();
        let lines = pools.iter().map(|pool| Line {
            pool,
            claims: claims.get(pool.name()).unwrap_or(&none),
            waiters: circles::line_of(&self.tickets, &start_of(pool.name()), Instant::now()),
        });
        let lines: Vec<Line<'_>> = lines.collect();
        let store = self.remote.store();
        let fits: Vec<_> = pools
            .iter()
            .map(|pool| attempt::fitting(store, pool))
            .collect();
        let fits = |pool: &Pool, want: &Want, lock: &LockName| {
            let place = pools.iter().position(|other| other.name() == pool.name());
            place.is_some_and(|place| fits[place](want, lock))
        };
        let mut found = circles::circles(&lines, fits);
        let is_shown = |name: &PoolName| overview.pools.iter().any(|pool| pool.name == *name);
        found.retain(|circle| circle.members.iter().any(|member| is_shown(&member.pool)));
        Ok(found)
    }

    /// The pools that are looked at, in order.
    fn names(&self, snapshot: &Snapshot) -> Result<Vec<PoolName>, StepError> {
        let history = self.remote.history(snapshot);
        let names = match self.which {
            Which::All => past::pools(&history, snapshot.commit)
                .map(|pools| pools.into_iter().collect::<Vec<_>>()),
            Which::One => ledger::is_pool(&history, snapshot.commit, &self.pool)
                .map(|is_there| is_there.then(|| self.pool.clone()).into_iter().collect()),
        };
        names.map_err(at_the_head)
    }

    fn pools(
        &self,
        snapshot: &Snapshot,
        names: Vec<PoolName>,
        mut claims: BTreeMap<PoolName, BTreeMap<LockName, Held>>,
    ) -> Result<Vec<PoolView>, StepError> {
        let history = self.remote.history(snapshot);
        let mut holds: BTreeMap<PoolName, Vec<Duration>> = BTreeMap::new();
        let mut commits = 0;
        let about = |pool: &PoolName| names.binary_search(pool).is_ok();
        // Where the history ends that is here, there is nothing more to learn.
        let _ = past::holds(&history, &about, &mut |_, begun| {
            for hold in begun {
                let held = hold.end.map(|end| u64::try_from(end.at - hold.since));
                let held = held.and_then(Result::ok).map(Duration::from_secs);
                holds.entry(hold.pool).or_default().extend(held);
            }
            commits += 1;
            if commits < RECENT_PAST {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });

        let mut pools = Vec::new();
        for name in names {
            let list = |holding| history.list(snapshot.commit, &name.folder(holding));
            let claimed = list(Holding::Claimed).map_err(at_the_head)?;
            let unclaimed = list(Holding::Unclaimed).map_err(at_the_head)?;
            let pool = Pool::new(name.clone(), &claimed, &unclaimed);
            pools.push(PoolView {
                usual: Usual::of(holds.remove(&name).unwrap_or_default()),
                ..view(&pool, claims.remove(&name).unwrap_or_default())
            });
        }
        Ok(pools)
    }

    /// Takes in what a listing says of the tickets.
    fn note_tickets(&mut self, listing: &Listing) {
        let store = self.remote.store();
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let listed = listing.watched.iter();
        self.tickets.observe(
            listed.map(|(name, commit)| (name.as_str(), *commit)),
            &|commit| Said::in_store(store, commit),
            Instant::now(),
            clock.map_or(0, |clock| clock.as_secs()),
        );
    }

    /// Puts those who wait into the pools that they wait for.
    fn with_lines(&self, mut overview: Overview) -> Overview {
        let now = Instant::now();
        for pool in &mut overview.pools {
            let start = start_of(&pool.name);
            let mut known: HashMap<String, &Sighting> = HashMap::new();
            let mut tickets = Vec::new();
            for (name, ticket) in self.tickets.listed() {
                let is_here = name
                    .strip_prefix(&start)
                    .is_some_and(|rest| !rest.contains('/'));
                let Some(place) = ticket.place.clone().filter(|_| is_here) else {
                    continue;
                };
                if ticket.life(now) == Life::Left {
                    continue;
                }
                known.insert(place.id.clone(), ticket);
                let need = ticket.text().map(|text| text.need.clone());
                tickets.push(Ticket {
                    place,
                    need: need.unwrap_or_else(|| Need::Any(Want::default())),
                });
            }
            let line = in_order(tickets).into_iter().filter_map(|ticket| {
                let known = known.get(&ticket.place.id)?;
                Some(waiter(known, &ticket.place, now))
            });
            pool.line = line.collect();
        }
        overview
    }
}

/// What the names of a pool's tickets start with, behind the branch.
fn start_of(pool: &PoolName) -> String {
    format!("{}/", component(pool.as_str()))
}

/// A pool with these claims, as it is shown, without its line.
pub(super) fn view(pool: &Pool, mut claims: BTreeMap<LockName, Held>) -> PoolView {
    let locks = pool.locks().map(|(lock, state)| LockView {
        name: lock.clone(),
        standing: match state {
            State::Unclaimed(_) => Standing::Free,
            State::Claimed(_) => Standing::Held(claims.remove(lock)),
            State::Damaged(damage) => Standing::Damaged(damage, claims.remove(lock)),
        },
    });
    PoolView {
        locks: locks.collect(),
        line: Vec::new(),
        usual: None,
        name: pool.name().clone(),
    }
}

/// What `far` has, made if there is nothing yet: a remote of its own, over the connections of this one.
fn far<'a>(
    far: &'a mut Option<Far>,
    remote: &Remote,
    temporary: &Path,
) -> Result<&'a mut Far, StoreError> {
    Ok(match far {
        Some(far) => far,
        None => far.insert(Far::new(remote.beside(Store::temporary(temporary)?))),
    })
}

/// Whether some claims are likely to be older than what `deeper` would bring, where so many have been found up to `depth`: if
/// of those that are left as many are found in each further part of the history as in the one that is here.
fn are_older(found: &Claims, older: &Older, depth: Depth, deeper: Depth) -> bool {
    let left = older.locks.len() as f64;
    let found: usize = found.values().map(BTreeMap::len).sum();
    // One more than were found: that a few are not there says little.
    let share = left / (left + found as f64 + 1.0);
    left * share.powi(deeper.parts(depth) - 1) >= 0.5
}

/// What stands at the head is here; what is not is lost.
pub(super) fn at_the_head(err: HistoryError) -> StepError {
    match err {
        HistoryError::Store(err) => err.into(),
        // The depth does not matter: there is always one commit.
        HistoryError::Truncated => StepError::NoSuchVersion("the head".to_owned()),
    }
}

fn waiter(ticket: &Sighting, place: &PlaceName, now: Instant) -> Waiter {
    let text = ticket.text();
    let who = text.map(|text| {
        let subject = text.subject.as_str();
        let who = subject.rsplit_once("waiting for ");
        who.map_or(subject, |(who, _)| who).trim().to_owned()
    });
    let is_dead = ticket.life(now) == Life::Dead;
    Waiter {
        id: place.id.clone(),
        who: who
            .filter(|who| !who.is_empty())
            .map_or("somebody".to_owned(), |who| terminal::one_line(&who)),
        url: text.and_then(|text| text.url.clone()),
        need: text.map(|text| text.need.clone()),
        since: text.map(|text| text.since),
        priority: place.priority,
        silent: is_dead.then(|| ticket.silence(now)),
    }
}
