//! Our ticket in the line of those who wait, and what we see of the tickets of others.
//!
//! A ticket is a ref with a small blob behind it. Its owner changes the blob every so often, to show that it is there;
//! whoever sees the same blob for [`LIVES`] such periods of its own clock takes the ticket for one of a process that
//! vanished. That is a guess, and no harm is done if it is wrong: a ticket only orders those who wait, and an owner
//! whose ticket was taken away puts it back with the number that it had. What is granted is decided by the branch alone.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use pace::Fault;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::publish::means_contention;
use crate::line::{Need, PlaceName, STEP, Standing, Ticket, TicketText, in_order};
use crate::lock::PoolName;
use crate::message::Origin;
use crate::operation::Want;
use crate::rules::Turn;
use git::object::Oid;
use git::{Depth, Interest, Listing, RefUpdate, Remote, RemoteError, Store, StoreError};

/// Where the tickets of all lines are.
pub(super) const REFS: &str = "refs/pool-queue";

/// After how many periods without a sign of life a ticket counts as left behind.
const LIVES: u32 = 3;

/// The period of a ticket whose text we do not know.
const USUAL_RENEWAL: Duration = Duration::from_secs(20);

/// How soon a ticket of ours is put back of which we do not know whether it is there.
const UNCERTAIN: Duration = Duration::from_secs(1);

/// How many tickets are read at most; those further back are taken to want any lock.
const MOST_READ: usize = 2000;

/// How one waits in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InLine {
    /// How urgent it is; higher goes first.
    pub priority: i32,
    /// How often we show that we are there.
    pub renewal: Duration,
}

/// The line for one pool, as one waiter sees it.
pub(super) struct Queue {
    start: String,
    need: Need,
    settings: InLine,
    arrived: Instant,
    since: u64,
    mine: Option<Mine>,
    others: HashMap<String, Other>,
    highest: u64,
    /// How many locks there are that we could use, when we looked last.
    usable: usize,
    first: First,
}

/// Whose turn to publish comes before ours, though there is a lock for us.
enum First {
    /// Only theirs.
    These(HashSet<String>),
    /// That of everybody before us, as far as we know.
    All,
}

struct Mine {
    place: PlaceName,
    blob: Oid,
    renewed: u64,
    renewed_at: Instant,
    /// Whether a listing has shown it, or the server has said so.
    is_there: bool,
}

struct Other {
    place: PlaceName,
    blob: Oid,
    unchanged_since: Instant,
    /// `None` as long as it is not known.
    text: Option<TicketText>,
}

/// What became of a push of our ticket.
pub(super) enum Kept {
    Done,
    /// Somebody else was at it; the next look tells.
    Uncertain,
    /// The server takes no such refs.
    Refused(String),
}

impl Queue {
    pub fn new(branch: &str, pool: &PoolName, need: Need, settings: InLine) -> Queue {
        Queue {
            start: format!("{}{}/", refs_of_branch(branch), component(pool.as_str())),
            need,
            settings,
            arrived: Instant::now(),
            since: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            mine: None,
            others: HashMap::new(),
            highest: 0,
            usable: usize::MAX,
            first: First::These(HashSet::new()),
        }
    }

    /// What the names of all tickets of this line start with.
    pub fn start(&self) -> &str {
        &self.start
    }

    /// The id of our ticket; `None` without one.
    pub fn ticket_id(&self) -> Option<&str> {
        Some(&self.mine.as_ref()?.place.id)
    }

    /// Since when we wait, in seconds since 1970.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// How many wait, and since when the one who has waited for longest does, in seconds since 1970, as far as is known.
    pub fn census(&self) -> (usize, Option<u64>) {
        let live = || self.others.values().filter(|other| !other.is_dead());
        let mine = self.mine.as_ref().map(|_| self.since);
        let others = live().filter_map(|other| Some(other.text.as_ref()?.since));
        let length = live().count() + usize::from(mine.is_some());
        (length, others.chain(mine).min())
    }

    /// Whether we have a ticket.
    pub fn has_ticket(&self) -> bool {
        self.mine.is_some()
    }

    /// Notes where we stand in the line that [`Queue::line`] gave.
    pub fn note_standing(&mut self, standing: &Standing) {
        self.usable = standing.usable;
        let (tickets, _) = self.live();
        let first = match standing.turn {
            Turn::Ours(_) => &standing.served_before[..],
            Turn::Open | Turn::Theirs { .. } => &[],
        };
        let first = first.iter().filter_map(|n| tickets.get(*n));
        self.first = First::These(first.map(|ticket| ticket.place.id.clone()).collect());
    }

    /// Notes that somebody was faster than us: let those before us go first, rather than to race them again.
    pub fn note_overtaken(&mut self) {
        self.first = First::All;
    }

    /// What to fetch after a look. Nothing while it is the turn of others to publish; and nothing when as many as there
    /// are locks for us want the same before us: then there can be none for us, whatever happened on the branch.
    pub fn interest(&self, listing: &Listing, depth: Depth) -> Interest {
        let places: Vec<(PlaceName, Oid)> = listing
            .watched
            .iter()
            .filter_map(|(name, blob)| Some((PlaceName::parse(name)?, *blob)))
            .filter(|(place, _)| !self.is_mine(place))
            .collect();
        // Whoever finds others waiting will probably wait too, and then wants to know for whom.
        let depth = if places.is_empty() {
            depth
        } else {
            depth.max(Depth::RECENT)
        };
        let unknown = |place: &PlaceName| {
            let known = self.others.get(&place.id);
            known.is_none_or(|other| other.text.is_none())
        };
        if self.mine.is_none() {
            let unread = places.iter().filter(|(place, _)| unknown(place));
            return Interest::Head(
                depth,
                unread.map(|(_, blob)| *blob).take(MOST_READ).collect(),
            );
        }
        let blobs: HashMap<&str, Oid> = places
            .iter()
            .map(|(place, blob)| (place.id.as_str(), *blob))
            .collect();
        let tickets = places.iter().map(|(place, _)| {
            let known = self.others.get(&place.id);
            let dead = known.is_some_and(|other| {
                blobs.get(place.id.as_str()) == Some(&other.blob) && other.is_dead()
            });
            (!dead).then(|| self.ticket(place))
        });
        let (line, me) = self.with_mine(tickets.flatten().collect());
        let before = &line[..me];
        let is_first = |ticket: &Ticket| match &self.first {
            First::All => true,
            First::These(these) => these.contains(&ticket.place.id),
        };
        if before.iter().any(is_first) {
            return Interest::Nothing;
        }
        let wanted_before: usize = before
            .iter()
            .filter(|ticket| ticket.need == self.need && !unknown(&ticket.place))
            .map(|ticket| count(&ticket.need))
            .sum();
        if wanted_before > 0 && wanted_before >= self.usable {
            return Interest::Nothing;
        }
        let unread = before
            .iter()
            .filter(|ticket| unknown(&ticket.place))
            .filter_map(|ticket| blobs.get(ticket.place.id.as_str()).copied());
        Interest::Head(depth, unread.take(MOST_READ).collect())
    }

    /// Takes in what a look showed.
    pub fn observe(&mut self, listing: &Listing, store: &Store) {
        let now = Instant::now();
        let mut found = HashMap::new();
        self.highest = 0;
        let mut ours = None;
        for (name, blob) in &listing.watched {
            let Some(place) = PlaceName::parse(name) else {
                continue;
            };
            self.highest = self.highest.max(place.number);
            if self.is_mine(&place) {
                ours = Some((place, *blob));
                continue;
            }
            let known = self.others.remove(&place.id);
            let (unchanged_since, text) = match known {
                Some(known) if known.place == place && known.blob == *blob => {
                    (known.unchanged_since, known.text)
                }
                Some(known) => (now, known.text),
                None => (now, None),
            };
            let read = || TicketText::parse(&store.small_blob(*blob, 64 * 1024).ok()??);
            let other = Other {
                text: text.or_else(read),
                blob: *blob,
                unchanged_since,
                place,
            };
            found.insert(other.place.id.clone(), other);
        }
        self.others = found;
        if let Some(mine) = &mut self.mine {
            mine.is_there = ours.is_some();
            if let Some((place, blob)) = ours {
                mine.place = place;
                mine.blob = blob;
            }
        }
    }

    /// What all who are there wait for, in order, and where we are among them: with our ticket, or as a newcomer.
    pub fn line(&self) -> (Vec<Need>, usize) {
        let (line, me) = self.live();
        (line.into_iter().map(|ticket| ticket.need).collect(), me)
    }

    fn live(&self) -> (Vec<Ticket>, usize) {
        let live = self.others.values().filter(|other| !other.is_dead());
        self.with_mine(live.map(|other| self.ticket(&other.place)).collect())
    }

    fn with_mine(&self, mut tickets: Vec<Ticket>) -> (Vec<Ticket>, usize) {
        let place = match &self.mine {
            Some(mine) => mine.place.clone(),
            None => self.next_place(),
        };
        let id = place.id.clone();
        tickets.push(Ticket {
            place,
            need: self.need.clone(),
        });
        let line = in_order(tickets);
        let me = line.iter().position(|ticket| ticket.place.id == id);
        (line, me.unwrap_or_default())
    }

    fn ticket(&self, place: &PlaceName) -> Ticket {
        let text = self
            .others
            .get(&place.id)
            .and_then(|other| other.text.as_ref());
        Ticket {
            place: place.clone(),
            // One that cannot be read stands in nobody's way for more than a lock.
            need: text.map_or_else(|| Need::Any(Want::default()), |text| text.need.clone()),
        }
    }

    fn is_mine(&self, place: &PlaceName) -> bool {
        self.mine
            .as_ref()
            .is_some_and(|mine| mine.place.id == place.id)
    }

    fn next_place(&self) -> PlaceName {
        PlaceName {
            number: self.highest.saturating_add(1),
            priority: self.settings.priority,
            raised: 0,
            id: "~".to_owned(),
        }
    }

    /// The text of our ticket.
    fn text(&self, origin: &Origin, renewed: u64) -> Vec<u8> {
        let text = TicketText {
            subject: String::new(),
            url: None,
            need: self.need.clone(),
            since: self.since,
            renewal: self.settings.renewal,
        };
        text.compose(origin, renewed).into_bytes()
    }

    /// When our ticket is to be renewed next; `None` without one.
    pub fn renewal_due(&self) -> Option<Instant> {
        let mine = self.mine.as_ref()?;
        let pause = if mine.is_there {
            self.settings.renewal
        } else {
            self.settings.renewal.min(UNCERTAIN)
        };
        Some(mine.renewed_at + pause)
    }

    /// The change that takes a ticket, puts ours back, or renews it; and the blob that it needs.
    pub fn keep(
        &mut self,
        store: &Store,
        origin: &Origin,
    ) -> Result<(Vec<RefUpdate>, Oid), StoreError> {
        let mut place = match &self.mine {
            Some(mine) => mine.place.clone(),
            None => PlaceName {
                id: uuid::Uuid::new_v4().to_string(),
                ..self.next_place()
            },
        };
        let (renewed, old) = match &self.mine {
            Some(mine) => (
                mine.renewed + 1,
                mine.is_there
                    .then(|| (self.name(&mine.place), Some(mine.blob))),
            ),
            None => (0, None),
        };
        // As long as nobody is more urgent there is nothing to gain.
        let overtaken = self
            .others
            .values()
            .any(|other| other.place.priority > place.priority);
        if overtaken {
            let steps = self.arrived.elapsed().as_secs() / STEP.as_secs();
            place.raised = u32::try_from(steps).unwrap_or(u32::MAX);
        }
        let blob = store.make_blob(&self.text(origin, renewed))?;
        let name = self.name(&place);
        let updates = match old {
            Some((before, old)) if before == name => vec![RefUpdate {
                name,
                old,
                new: Some(blob),
            }],
            old => {
                let taken_away = old.map(|(name, old)| RefUpdate {
                    name,
                    old,
                    new: None,
                });
                let made = RefUpdate {
                    name,
                    old: None,
                    new: Some(blob),
                };
                [Some(made), taken_away].into_iter().flatten().collect()
            }
        };
        self.mine = Some(Mine {
            place,
            blob,
            renewed,
            renewed_at: Instant::now(),
            is_there: false,
        });
        Ok((updates, blob))
    }

    /// Takes in what became of [`Queue::keep`]'s change.
    pub fn kept(
        &mut self,
        answer: Result<Option<String>, RemoteError>,
    ) -> Result<Kept, RemoteError> {
        match answer {
            Ok(None) => {
                if let Some(mine) = &mut self.mine {
                    mine.is_there = true;
                }
                Ok(Kept::Done)
            }
            Ok(Some(reason)) if means_contention(&reason) => Ok(Kept::Uncertain),
            Ok(Some(reason)) => {
                self.mine = None;
                Ok(Kept::Refused(reason))
            }
            Err(fault) if Fault::is_transient(&fault) => Ok(Kept::Uncertain),
            Err(fault) => Err(fault),
        }
    }

    /// The change that takes our ticket away, as we know it; `None` without one.
    pub fn withdrawal(&self) -> Option<RefUpdate> {
        let mine = self.mine.as_ref()?;
        Some(RefUpdate {
            name: self.name(&mine.place),
            old: Some(mine.blob),
            new: None,
        })
    }

    /// Our ticket is gone.
    pub fn forget_ticket(&mut self) {
        self.mine = None;
    }

    /// The changes that take away the tickets of those who vanished, when there is nobody alive before us who would do
    /// it. Each is to be made by itself: others may be faster.
    pub fn clearance(&self) -> Vec<RefUpdate> {
        let tickets = self.others.values();
        let (line, me) = self.with_mine(tickets.map(|other| self.ticket(&other.place)).collect());
        let before = line[..me]
            .iter()
            .filter_map(|ticket| self.others.get(&ticket.place.id));
        let dead: Vec<&Other> = before.take_while(|other| other.is_dead()).collect();
        dead.into_iter()
            .map(|other| RefUpdate {
                name: self.name(&other.place),
                old: Some(other.blob),
                new: None,
            })
            .collect()
    }

    fn name(&self, place: &PlaceName) -> String {
        format!("{}{}", self.start, place.name())
    }

    /// Has our ticket taken away, whatever state it is in.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn withdraw(&mut self, remote: &mut Remote) -> Result<(), RemoteError> {
        while let Some(update) = self.withdrawal() {
            if remote.update_refs(&[update], &[]).await?.is_none() {
                self.mine = None;
                return Ok(());
            }
            // It is not as we know it: an answer got lost, or somebody took it for one that was left behind.
            let (listing, _) = remote.look(false, &|_| Interest::Nothing).await?;
            self.observe(&listing, remote.store());
            if self.mine.as_ref().is_some_and(|mine| !mine.is_there) {
                self.mine = None;
            }
        }
        Ok(())
    }
}

impl Other {
    fn is_dead(&self) -> bool {
        let renewal = self
            .text
            .as_ref()
            .map_or(USUAL_RENEWAL, |text| text.renewal);
        self.unchanged_since.elapsed() >= renewal * LIVES
    }
}

fn count(need: &Need) -> usize {
    match need {
        Need::Any(want) => want.count.get(),
        Need::Lock(_) => 1,
    }
}

/// What the names of the tickets of all pools on a branch start with; behind it come the pool, as [`component`] has it, a
/// slash and the place.
pub(crate) fn refs_of_branch(branch: &str) -> String {
    format!("{REFS}/{}/", component(branch))
}

/// A text as one part of a ref's name: Git forbids some characters there, and file systems long names.
pub(crate) fn component(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    const LONGEST: usize = 200;
    let encoded = utf8_percent_encode(text, KEPT).to_string();
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let hash = git::object::Content::new(text.as_bytes().to_vec()).id();
    format!("{}-{hash}", &encoded[..100])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_branch_or_pool_is_one_part_of_a_valid_ref() {
        let long = "ü/".repeat(100);
        let names = [
            "main",
            "team-a/aws",
            "a b~^:?*[\\x..y.lock",
            "@{",
            ".",
            &long,
            &format!("{long}x"),
        ];
        let parts: Vec<String> = names.iter().map(|name| component(name)).collect();

        for part in &parts {
            let name = format!("{REFS}/{part}/x");
            assert!(git::object::is_ref(&name), "{name}");
            assert_eq!(name.matches('/').count(), 3);
            assert!(part.len() <= 200);
        }
        let different: std::collections::HashSet<&String> = parts.iter().collect();
        assert_eq!(different.len(), parts.len());
    }
}
