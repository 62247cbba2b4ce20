//! The conversations with a server: look where the branch is, fetch its head, push one commit onto it.
//!
//! Source: `gitprotocol-pack(5)`, `gitprotocol-capabilities(5)`.

mod fetch;
mod here;
mod newest;
mod push;
mod reach;
mod removal;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::access::Access;
use super::advertisement::{Advertisement, AdvertisementError, Capabilities};
use super::link::{Link, Service, Talk};
use super::location::Location;
use super::packet::Packet;
use super::refusal::{self, Kind};
use super::replay::Replay;
use super::store::Store;
use super::{History, RemoteError};
use crate::object::Oid;
use fetch::Coming;
use net::{Limits, NetError};
use newest::Newest;
use pace::Fault;
pub use removal::Removal;
use terminal::harmless::SHOWN;
pub use values::{Depth, Files, Interest, Listing, Pack, PushAnswer, RefUpdate, Snapshot};

/// How we introduce ourselves to servers.
const AGENT: &str = concat!("agent=pool-resource/", env!("CARGO_PKG_VERSION"));

/// One branch of a remote repository, and our copy of as much of it as was needed.
pub struct Remote {
    link: Arc<Link>,
    location: Location,
    branch: String,
    store: Store,
    /// What the names of the refs start with that are listed with the branch.
    watched: Option<String>,
    /// What the names of other refs start with that are listed as well.
    besides: Option<String>,
    /// Which files are fetched with a head.
    files: Files,
    /// Whether the server gives single files, and leaves files out, as far as is known besides what it says.
    gives_single: Cell<bool>,
    filters: Cell<bool>,
    /// Whether the next look may throw away what was fetched before.
    may_begin_anew: bool,
    /// How many conversations have failed in a way that may pass.
    faults: Cell<u32>,
    /// Whether the repository has been read: before that nobody knows that it is one.
    is_read: watch::Sender<bool>,
    /// The beginning of a push, made while something else was waited for.
    prepared: Mutex<Option<Prepared>>,
    /// Whether each push looks first where the branch is, though it is known how to push.
    is_wary: Cell<bool>,
    /// Whether the server takes folders that are told as a change of those that it has, as far as is known.
    takes_thin: Cell<bool>,
    /// Whether the server changes several refs as one, and takes some away with it, as far as is known.
    pushes_together: Cell<bool>,
    /// Where we know the branch to have been.
    newest: RefCell<Newest>,
    /// What was worked out of the history that is not here.
    replay: Option<Replay>,
    /// The rest of the commits that it is made of, if it may not need them.
    coming: Option<Coming>,
    /// Whether it is worth trying to work out more.
    reaches: bool,
}

/// What was listed, and how deep the head was fetched (with the cuts in its history), if it was.
struct Seen {
    listing: Listing,
    fetched: Option<(Depth, Vec<Oid>)>,
    /// The store that it is in, if that is a new one.
    anew: Option<Store>,
}

/// A push as far as it can go before it is known what to push.
enum Prepared {
    /// What the server can do. All later pushes can begin with that, for each request is a conversation of its own.
    Known(Capabilities),
    /// A conversation that has begun, and the commit that the server said the branch is at. Good for one push, soon.
    Begun(Box<Talk>, Capabilities, Option<Oid>),
    /// A conversation that is being begun.
    Coming(JoinSet<Result<(Talk, Advertisement), RemoteError>>),
}

impl Remote {
    /// Gets ready to talk; connects to nothing yet.
    ///
    /// # Errors
    /// [`RemoteError`] when the transport cannot be set up.
    pub fn new(
        location: &Location,
        access: &Access,
        branch: &str,
        store: Store,
    ) -> Result<Remote, RemoteError> {
        let link = Link::new(location, access)?;
        Ok(Remote::over(link, location, branch, store))
    }

    /// The same branch over the same connections, with a copy of its own.
    pub fn beside(&self, store: Store) -> Remote {
        Remote::over(self.link.clone(), &self.location, &self.branch, store)
    }

    /// Goes on over new connections, with these limits: those that there are may be dead, which shows late.
    ///
    /// # Errors
    /// [`RemoteError`] when the transport cannot be set up.
    pub fn connect_anew(&mut self, limits: Limits) -> Result<(), RemoteError> {
        let mut access = self.link.access().clone();
        access.route.limits = limits;
        self.link = Link::new(&self.location, &access)?;
        *self.prepared() = None;
        Ok(())
    }

    pub(super) fn over(link: Arc<Link>, location: &Location, branch: &str, store: Store) -> Remote {
        Remote {
            link,
            location: location.clone(),
            branch: branch.to_owned(),
            store,
            watched: None,
            besides: None,
            files: Files::All,
            gives_single: Cell::new(true),
            filters: Cell::new(true),
            may_begin_anew: false,
            faults: Cell::new(0),
            is_read: watch::Sender::new(false),
            prepared: Mutex::new(None),
            is_wary: Cell::new(false),
            takes_thin: Cell::new(true),
            pushes_together: Cell::new(true),
            newest: RefCell::default(),
            replay: None,
            coming: None,
            reaches: true,
        }
    }

    /// Has the refs whose names start with `start` listed with every look.
    pub fn watch(&mut self, start: &str) {
        self.watched = Some(start.to_owned());
    }

    /// Has the refs whose names start with `start` listed besides with every look, where they are not watched.
    pub fn list_besides(&mut self, start: &str) {
        self.besides = Some(start.to_owned());
    }

    /// Leaves files out that nobody reads, with every fetch from now on.
    pub fn want_files(&mut self, files: Files) {
        self.files = files;
    }

    /// Lets the next look throw away what was fetched before it, if that has become much and something is fetched by it: for
    /// those who wait for long, and go by the newest snapshot alone. What was made here of late stays.
    pub fn may_begin_anew(&mut self) {
        self.may_begin_anew = true;
    }

    /// Begins to remove what was fetched, where that is so much that it takes a while; what was made here stays. For those who
    /// have done what they came for. Whatever goes wrong with it changes nothing for them.
    pub fn begin_to_remove(&mut self) -> Option<Removal> {
        self.coming = None;
        let replay = self.replay.take();
        let left = match self.store.is_large() {
            // Where no other can be made, it goes with the value, as ever.
            true => self.store.successor().ok().flatten(),
            false => None,
        };
        let left = left.map(|next| std::mem::replace(&mut self.store, next));
        (replay.is_some() || left.is_some()).then(|| Removal::begin((replay, left)))
    }

    /// What messages call the repository.
    pub fn name(&self) -> &str {
        self.link.remote()
    }

    /// How many conversations have failed so far in a way that may pass.
    pub fn faults(&self) -> u32 {
        self.faults.get()
    }

    /// The branch's name.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Takes the lines that came up so far and that people should read, though nothing failed.
    pub fn take_notices(&self) -> Vec<String> {
        self.link.notices().take()
    }

    /// What the server's clock says now: over HTTP, once it has answered.
    pub fn server_time(&self) -> Option<SystemTime> {
        self.link.server_time()
    }

    /// The objects that were fetched or made.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The history behind a snapshot, as far as it is here.
    pub fn history(&self, snapshot: &Snapshot) -> History<'_> {
        let is_whole = snapshot.depth == Depth::ALL;
        History::new(&self.store, snapshot.commit, is_whole).with(self.replay.as_ref())
    }

    /// Looks where the branch is and fetches what is not here yet of its last `depth` commits.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, RemoteError> {
        self.snapshot_of(&|_| depth).await
    }

    /// The same; but where the branch is as it was when it was fetched last, what is here of it is enough.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn snapshot_if_moved(&mut self, depth: Depth) -> Result<Snapshot, RemoteError> {
        let kept = self.store.head();
        let here = kept.and_then(|head| self.store.depth_of(head));
        let depth_of = |head: Oid| match here {
            Some(here) if kept == Some(head) => Depth(here).min(depth),
            _ => depth,
        };
        self.snapshot_of(&depth_of).await
    }

    async fn snapshot_of(
        &mut self,
        depth_of: &dyn Fn(Oid) -> Depth,
    ) -> Result<Snapshot, RemoteError> {
        let interest = |listing: &Listing| Interest::Head(depth_of(listing.head), Vec::new());
        let (listing, fetched) = self.look(false, &interest).await?;
        let depth = depth_of(listing.head);
        Ok(fetched.unwrap_or(Snapshot {
            commit: listing.head,
            depth,
        }))
    }

    /// Looks what is there, and fetches of it what `interest` says. With `push_follows` it begins a push meanwhile, as soon
    /// as the repository has been read; whoever then has nothing to push says so with [`Remote::forget_push`]. A look that
    /// fails takes the push with it, and no look waits for one.
    ///
    /// # Errors
    /// [`RemoteError`] of the look. What goes wrong with beginning the push comes up again with the push.
    pub async fn look(
        &mut self,
        push_follows: bool,
        interest: &dyn Fn(&Listing) -> Interest,
    ) -> Result<(Listing, Option<Snapshot>), RemoteError> {
        if push_follows {
            self.prepare_push();
        }
        // Without it the past is fetched in another way, should it be asked for all the same.
        drop(self.coming.take_if(|coming| coming.is_left()));
        let anew = std::mem::take(&mut self.may_begin_anew) && self.store.is_full();
        let seen = self.list_and_fetch(interest, anew).await;
        if seen.is_err() {
            self.forget_push().await;
        }
        let mut seen = seen?;
        self.note_fetched(&mut seen)?;
        let seen = Box::pin(self.newest(interest, seen)).await?;
        let commit = seen.listing.head;
        let snapshot = seen.fetched.map(|(depth, _)| Snapshot { commit, depth });
        Ok((seen.listing, snapshot))
    }

    fn note_fetched(&mut self, seen: &mut Seen) -> Result<(), RemoteError> {
        if let Some(store) = seen.anew.take() {
            self.store = store;
        }
        if let Some((depth, cuts)) = &seen.fetched {
            self.store
                .note_fetched(seen.listing.head, depth.0, cuts.clone())?;
        }
        Ok(())
    }

    async fn list_and_fetch(
        &self,
        interest: &dyn Fn(&Listing) -> Interest,
        anew: bool,
    ) -> Result<Seen, RemoteError> {
        let asked_for_more = Cell::new(false);
        let first = |listing: &Listing| {
            let interest = interest(listing);
            asked_for_more.set(matches!(&interest, Interest::Head(_, also) if !also.is_empty()));
            interest
        };
        match Box::pin(self.list_and_fetch_once(&first, anew)).await {
            // A server may list that it can leave files out, and then not do it in the way that it was asked for.
            Err(RemoteError::Net(NetError::Failed { words, .. }))
                if self.filters.get() && words.contains("filter") =>
            {
                self.filters.set(false);
                Box::pin(self.list_and_fetch_once(&first, anew)).await
            }
            // A ref may have gone or moved since it was listed, and then its object is not to be had any more.
            Err(RemoteError::Net(NetError::Failed { .. } | NetError::Ended { .. }))
                if asked_for_more.get() =>
            {
                let again = |listing: &Listing| match interest(listing) {
                    Interest::Head(depth, _) => Interest::Head(depth, Vec::new()),
                    Interest::Nothing => Interest::Nothing,
                };
                Box::pin(self.list_and_fetch_once(&again, anew)).await
            }
            result => result,
        }
    }

    async fn list_and_fetch_once(
        &self,
        interest: &dyn Fn(&Listing) -> Interest,
        anew: bool,
    ) -> Result<Seen, RemoteError> {
        if let Some(seen) = self.look_here(interest, anew)? {
            return Ok(seen);
        }
        self.within_limit(async {
            let (mut talk, advertisement) = self.open(Service::UploadPack).await?;
            self.is_read.send_replace(true);
            let listing = self.listing(&advertisement)?;
            let (depth, mut also) = match interest(&listing) {
                Interest::Head(depth, also) => (depth, also),
                Interest::Nothing => {
                    // The answer is there; a goodbye that gets lost changes nothing.
                    let _ = talk.leave().await;
                    return Ok(Seen {
                        listing,
                        fetched: None,
                        anew: None,
                    });
                }
            };
            let anew = if anew { self.store.successor()? } else { None };
            let store = anew.as_ref().unwrap_or(&self.store);
            also.retain(|object| !store.has(*object));
            if let Some(known) = store.depth_of(listing.head).map(Depth)
                && known >= depth
                && also.is_empty()
            {
                let _ = talk.leave().await;
                return Ok(Seen {
                    listing,
                    fetched: Some((known, Vec::new())),
                    anew,
                });
            }
            let known = advertisement.capabilities();
            let wanted = [&[listing.head], &also[..]].concat();
            let cuts = self.fetch(&mut talk, known, store, &wanted, depth).await?;
            Ok(Seen {
                listing,
                fetched: Some((depth, cuts)),
                anew,
            })
        })
        .await
    }

    async fn within_limit<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let limit = self.link.limits().attempt;
        let result = match timeout(limit, Box::pin(work)).await {
            Ok(result) => result,
            Err(_) => Err(RemoteError::Net(NetError::Silent {
                remote: self.link.remote().to_owned(),
                after: limit,
            })),
        };
        let result = result.map_err(|err| self.first_contact(err));
        if result.as_ref().is_err_and(Fault::is_transient) {
            self.faults.set(self.faults.get().saturating_add(1));
        }
        result
    }

    /// Makes of an error what it means where nobody has answered yet.
    fn first_contact(&self, err: RemoteError) -> RemoteError {
        match err {
            RemoteError::Net(err) if !*self.is_read.borrow() => match err.nobody_there() {
                Some(why) => RemoteError::Nobody {
                    remote: self.link.remote().to_owned(),
                    why,
                    source: Box::new(err),
                },
                None => RemoteError::Net(err),
            },
            err => err,
        }
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    fn protocol(&self, found: String) -> RemoteError {
        RemoteError::Protocol {
            remote: self.link.remote().to_owned(),
            found,
        }
    }

    fn require(&self, known: &Capabilities, capability: &str) -> Result<(), RemoteError> {
        if known.can(capability) {
            Ok(())
        } else {
            Err(self.protocol(format!("it lacks the capability `{capability}`")))
        }
    }

    fn open(
        &self,
        service: Service,
    ) -> impl Future<Output = Result<(Talk, Advertisement), RemoteError>> + Send + use<> {
        let (link, reference) = (self.link.clone(), self.reference());
        // What is listed besides often includes what is watched.
        let starts = [self.watched.clone(), self.besides.clone()];
        open(link, service, reference, starts)
    }

    fn listing(&self, advertisement: &Advertisement) -> Result<Listing, RemoteError> {
        Ok(Listing {
            head: self.head_in(advertisement)?,
            watched: match &self.watched {
                Some(start) => advertisement.below(start),
                None => BTreeMap::new(),
            },
            besides: match &self.besides {
                Some(start) => self.besides(start, advertisement),
                None => BTreeMap::new(),
            },
        })
    }

    fn besides(&self, start: &str, advertisement: &Advertisement) -> BTreeMap<String, Oid> {
        let mut besides = advertisement.below(start);
        if let Some(watched) = &self.watched {
            besides.retain(|name, _| !format!("{start}{name}").starts_with(watched));
        }
        besides
    }

    fn head_in(&self, advertisement: &Advertisement) -> Result<Oid, RemoteError> {
        advertisement
            .get(&self.reference())
            .ok_or_else(|| RemoteError::NoBranch {
                remote: self.link.remote().to_owned(),
                branch: self.branch.clone(),
                found: advertisement.other_branches(),
            })
    }

    async fn next(&self, talk: &mut Talk) -> Result<Packet, RemoteError> {
        match talk.reader.next().await {
            Ok(packet) => Ok(packet),
            Err(err) => Err(talk.failed(err).await),
        }
    }

    fn server_failed(&self, words: &[u8]) -> RemoteError {
        RemoteError::Net(NetError::Failed {
            remote: self.link.remote().to_owned(),
            words: refusal::words(words),
        })
    }

    /// As [`Remote::server_failed`], with its last words, whatever it has said before.
    fn server_failed_at_last(&self, before: &[u8], last: &[u8]) -> RemoteError {
        let room = SHOWN.saturating_sub(last.len());
        let before = &before[..before.len().min(room)];
        self.server_failed(&[before, last].concat())
    }
}

/// Opens a conversation, and reads what the server says first: of its refs `reference`, and those that are watched.
async fn open(
    link: Arc<Link>,
    service: Service,
    reference: String,
    watched: [Option<String>; 2],
) -> Result<(Talk, Advertisement), RemoteError> {
    let remote = || link.remote().to_owned();
    let mut talk = link.open(service).await?;
    let wanted = |name: &str| {
        let is_watched = |start: &String| name.starts_with(start);
        name == reference || watched.iter().flatten().any(is_watched)
    };
    let advertisement = match Advertisement::read(&mut talk.reader, wanted).await {
        Ok(advertisement) => advertisement,
        Err(AdvertisementError::Packet(err)) => return Err(talk.failed(err).await),
        Err(AdvertisementError::Garbage(found)) => {
            return Err(RemoteError::Protocol {
                remote: remote(),
                found,
            });
        }
        Err(AdvertisementError::Refused(words)) => {
            return Err(match refusal::kind(&words) {
                Kind::Denied => RemoteError::Denied {
                    remote: remote(),
                    words,
                },
                Kind::Passing => NetError::Failed {
                    remote: remote(),
                    words,
                }
                .into(),
                Kind::Unsupported | Kind::Missing | Kind::Raced | Kind::Other => {
                    RemoteError::NotFound {
                        remote: remote(),
                        words,
                    }
                }
            });
        }
        Err(AdvertisementError::Format(format)) => {
            return Err(RemoteError::Unsupported {
                remote: remote(),
                why: format!(
                    "its objects are named by {format}, and only SHA-1 is supported; make the lock repository with \
                     `git init --object-format=sha1`"
                ),
            });
        }
    };
    Ok((talk, advertisement))
}

/// Keeps the beginning of what a server says beside its answer: as much as is ever shown of it.
fn hear(words: &mut Vec<u8>, more: &[u8]) {
    let room = SHOWN.saturating_sub(words.len());
    words.extend_from_slice(&more[..more.len().min(room)]);
}
