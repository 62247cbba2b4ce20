//! The conversations with a server: look where the branch is, fetch its head, push one commit onto it.
//!
//! Source: `gitprotocol-pack(5)`, `gitprotocol-capabilities(5)`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::timeout;

use super::access::Access;
use super::advertisement::{Advertisement, AdvertisementError, Capabilities};
use super::commits::{self, Commits, UnfitPack};
use super::link::{Link, Service, Talk};
use super::location::Location;
use super::packet::{self, MIB, Packet};
use super::store::{Store, StoreError};
use super::{History, RemoteError, SHOWN, readable};
use crate::object::Oid;

/// How we introduce ourselves to servers.
const AGENT: &str = concat!(
    "agent=",
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION")
);

/// The most that a pack may have, in bytes, and what is said besides while it comes. It goes to the disk. More than that
/// the large hosts don't take in one push either.
const MOST_PACK: u64 = 2 * 1024 * MIB;

/// The most that the list of commits may have after which a history is cut off, in bytes: room for a million.
const MOST_CUTS: u64 = 64 * MIB;

/// The most that a server and its hooks may say to a push, in bytes.
const MOST_REPORT: u64 = 64 * MIB;

/// How many commits of a history are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth(u32);

impl Depth {
    /// The head alone: what is there now.
    pub const HEAD: Depth = Depth(1);
    /// The last fifty: enough for most questions about the past, and hardly dearer than one.
    pub const RECENT: Depth = Depth(50);
    /// The last five thousand: enough to find nearly every claim, at a cost that is felt.
    pub const LONG: Depth = Depth(5000);
    /// Everything. The number is Git's own for it.
    const ALL: Depth = Depth(0x7fff_ffff);

    /// The next depth to try when this one was not enough; `None` after everything.
    pub fn deeper(self) -> Option<Depth> {
        match self {
            Depth::ALL => None,
            depth if depth < Depth::RECENT => Some(Depth::RECENT),
            // Past this the whole history is hardly more.
            Depth(depth) if depth >= 50_000 => Some(Depth::ALL),
            Depth(depth) => Some(Depth(depth * 10)),
        }
    }

    /// How many times as deep as another one.
    pub fn parts(self, other: Depth) -> i32 {
        i32::try_from(self.0 / other.0).unwrap_or(i32::MAX)
    }
}

/// A branch at one moment: its head's files are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit that the branch was at.
    pub commit: Oid,
    /// How deep its history was fetched.
    pub depth: Depth,
}

/// What a server lists at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit that the branch is at.
    pub head: Oid,
    /// The refs that are watched, by the part of their names after what was given to [`Remote::watch`].
    pub watched: BTreeMap<String, Oid>,
}

/// What is to be fetched after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Nothing.
    Nothing,
    /// The head, so deep, and these objects of watched refs, each if it is not here yet. They may be missing afterwards:
    /// refs come and go.
    Head(Depth, Vec<Oid>),
}

/// One change of one ref besides the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Its whole name.
    pub name: String,
    /// Where it must be for the change to count; `None` if it must not be there.
    pub old: Option<Oid>,
    /// Where it is to be; `None` to take it away.
    pub new: Option<Oid>,
}

/// What a server answered to a push. Nothing but [`PushAnswer::Accepted`] is to be believed without looking at the
/// branch again: something between us and the server may have sent our request twice.
#[must_use = "a lost race looks like success unless it is read"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// The branch moved from the expected commit to ours.
    Accepted {
        /// Whether the other refs moved with it, which only some servers can.
        together: bool,
    },
    /// The branch is not at the expected commit any more; nothing was sent.
    Moved,
    /// The server did not take it.
    Rejected {
        /// Its reason for the ref, one line.
        reason: String,
        /// What its hooks and it said besides.
        words: String,
    },
}

/// One branch of a remote repository, and our copy of as much of it as was needed.
pub struct Remote {
    link: Arc<Link>,
    branch: String,
    store: Store,
    /// What the names of the refs start with that are listed with the branch.
    watched: Option<String>,
    /// How many conversations have failed in a way that may pass.
    faults: Cell<u32>,
    /// The beginning of a push, made while something else was waited for.
    prepared: Mutex<Option<Prepared>>,
}

/// What was listed, and how deep the head was fetched (with the cuts in its history), if it was.
struct Seen {
    listing: Listing,
    fetched: Option<(Depth, Vec<Oid>)>,
}

/// A push as far as it can go before it is known what to push.
enum Prepared {
    /// What the server can do. All later pushes can begin with that, for each request is a conversation of its own.
    Known(Capabilities),
    /// A conversation that has begun, and the commit that the server said the branch is at. Good for one push, soon.
    Begun(Box<Talk>, Capabilities, Option<Oid>),
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
        Ok(Remote {
            link,
            branch: branch.to_owned(),
            store,
            watched: None,
            faults: Cell::new(0),
            prepared: Mutex::new(None),
        })
    }

    /// Has the refs whose names start with `start` listed with every look.
    pub fn watch(&mut self, start: &str) {
        self.watched = Some(start.to_owned());
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

    /// The objects that were fetched or made.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The history behind a snapshot, as far as it is here.
    pub fn history(&self, snapshot: &Snapshot) -> History<'_> {
        History::new(&self.store, snapshot.commit, snapshot.depth == Depth::ALL)
    }

    /// Looks where the branch is and fetches what is not here yet of its last `depth` commits.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, RemoteError> {
        let interest = |_: &Listing| Interest::Head(depth, Vec::new());
        let seen = self.list_and_fetch(&interest).await?;
        let (listing, fetched) = self.note(seen)?;
        Ok(fetched.unwrap_or(Snapshot {
            commit: listing.head,
            depth,
        }))
    }

    /// Looks what is there, and fetches of it what `interest` says. With `push_follows` it begins a push at the same
    /// time; whoever then has nothing to push says so with [`Remote::forget_push`].
    ///
    /// # Errors
    /// [`RemoteError`] of the look. What goes wrong with beginning the push comes up again with the push.
    pub async fn look(
        &mut self,
        push_follows: bool,
        interest: &dyn Fn(&Listing) -> Interest,
    ) -> Result<(Listing, Option<Snapshot>), RemoteError> {
        let seen = if push_follows {
            tokio::join!(self.list_and_fetch(interest), self.prepare_push()).0
        } else {
            self.list_and_fetch(interest).await
        };
        self.note(seen?)
    }

    fn note(&mut self, seen: Seen) -> Result<(Listing, Option<Snapshot>), RemoteError> {
        let Some((depth, cuts)) = seen.fetched else {
            return Ok((seen.listing, None));
        };
        let head = seen.listing.head;
        self.store.note_fetched(head, depth.0, cuts)?;
        Ok((
            seen.listing,
            Some(Snapshot {
                commit: head,
                depth,
            }),
        ))
    }

    async fn list_and_fetch(
        &self,
        interest: &dyn Fn(&Listing) -> Interest,
    ) -> Result<Seen, RemoteError> {
        let asked_for_more = Cell::new(false);
        let first = |listing: &Listing| {
            let interest = interest(listing);
            asked_for_more.set(matches!(&interest, Interest::Head(_, also) if !also.is_empty()));
            interest
        };
        match Box::pin(self.list_and_fetch_once(&first)).await {
            // A ref may have gone or moved since it was listed, and then its object is not to be had any more.
            Err(RemoteError::Failed { .. } | RemoteError::Ended { .. }) if asked_for_more.get() => {
                let again = |listing: &Listing| match interest(listing) {
                    Interest::Head(depth, _) => Interest::Head(depth, Vec::new()),
                    Interest::Nothing => Interest::Nothing,
                };
                Box::pin(self.list_and_fetch_once(&again)).await
            }
            result => result,
        }
    }

    async fn list_and_fetch_once(
        &self,
        interest: &dyn Fn(&Listing) -> Interest,
    ) -> Result<Seen, RemoteError> {
        self.within_limit(async {
            let (mut talk, advertisement) = self.open(Service::UploadPack).await?;
            let listing = Listing {
                head: self.head_in(&advertisement)?,
                watched: match &self.watched {
                    Some(start) => advertisement.below(start),
                    None => BTreeMap::new(),
                },
            };
            let (depth, mut also) = match interest(&listing) {
                Interest::Head(depth, also) => (depth, also),
                Interest::Nothing => {
                    // The answer is there; a goodbye that gets lost changes nothing.
                    let _ = talk.leave().await;
                    return Ok(Seen {
                        listing,
                        fetched: None,
                    });
                }
            };
            also.retain(|object| !self.store.has(*object));
            if let Some(known) = self.store.depth_of(listing.head).map(Depth)
                && known >= depth
                && also.is_empty()
            {
                let _ = talk.leave().await;
                return Ok(Seen {
                    listing,
                    fetched: Some((known, Vec::new())),
                });
            }
            let cuts = self
                .fetch(
                    &mut talk,
                    advertisement.capabilities(),
                    listing.head,
                    &also,
                    depth,
                )
                .await?;
            Ok(Seen {
                listing,
                fetched: Some((depth, cuts)),
            })
        })
        .await
    }

    async fn prepare_push(&self) -> Result<(), RemoteError> {
        if self.prepared().is_some() {
            return Ok(());
        }
        self.within_limit(async {
            let (talk, advertisement) = self.open(Service::ReceivePack).await?;
            let known = advertisement.capabilities().clone();
            *self.prepared() = Some(if self.link.is_stateless() {
                Prepared::Known(known)
            } else {
                Prepared::Begun(Box::new(talk), known, advertisement.get(&self.reference()))
            });
            Ok(())
        })
        .await
    }

    /// Ends a push that was begun, if one was, so that no server is kept waiting.
    pub async fn forget_push(&self) {
        let begun = self
            .prepared()
            .take_if(|prepared| matches!(prepared, Prepared::Begun(..)));
        if let Some(Prepared::Begun(talk, ..)) = begun {
            // If the goodbye gets lost, the end of the connection says the same.
            let _ = talk.leave().await;
        }
    }

    fn prepared(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a push, or goes on with one that was begun. With `expected` only one that replaces that commit: `None` when
    /// the branch has moved.
    async fn begin_push(
        &self,
        expected: Option<Oid>,
    ) -> Result<Option<(Talk, Capabilities)>, RemoteError> {
        let prepared = self.prepared().take();
        match prepared {
            Some(Prepared::Known(known)) => {
                *self.prepared() = Some(Prepared::Known(known.clone()));
                return Ok(Some((self.link.resume(Service::ReceivePack)?, known)));
            }
            Some(Prepared::Begun(talk, known, at)) if expected.is_none() || at == expected => {
                return Ok(Some((*talk, known)));
            }
            // It was begun before or after the commit that we go by; only a new one can tell.
            Some(Prepared::Begun(talk, ..)) => drop(talk.leave().await),
            None => {}
        }
        let (talk, advertisement) = self.open(Service::ReceivePack).await?;
        if expected.is_some() && advertisement.get(&self.reference()) != expected {
            let _ = talk.leave().await;
            return Ok(None);
        }
        let known = advertisement.capabilities().clone();
        if self.link.is_stateless() {
            *self.prepared() = Some(Prepared::Known(known.clone()));
        }
        Ok(Some((talk, known)))
    }

    /// Moves the branch from `expected` to `commit`, whose new objects are in `pack`, if it is still there; and where the
    /// server can do it in one step, the refs in `also`. Sets `sent` before the server gets to see any of it: whoever
    /// drops the push later does not know what became of it.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, the push may or may not have landed.
    pub async fn push(
        &self,
        expected: Oid,
        commit: Oid,
        pack: &[u8],
        also: &[RefUpdate],
        sent: &Cell<bool>,
    ) -> Result<PushAnswer, RemoteError> {
        self.within_limit(async {
            let Some((mut talk, known)) = self.begin_push(Some(expected)).await? else {
                return Ok(PushAnswer::Moved);
            };
            let mut updates = vec![RefUpdate {
                name: self.reference(),
                old: Some(expected),
                new: Some(commit),
            }];
            let together = !also.is_empty() && known.can("atomic") && known.can("delete-refs");
            if together {
                updates.extend_from_slice(also);
            }
            let request = self.commands(&known, &updates, pack)?;
            sent.set(true);
            talk.send(request).await?;
            let mut report = self.read_report(&mut talk).await?;
            match report.refs.remove(&self.reference()) {
                Some(None) => Ok(PushAnswer::Accepted { together }),
                Some(Some(reason)) => Ok(PushAnswer::Rejected {
                    reason,
                    words: report.words,
                }),
                None => Err(self.report_lacks("the branch")),
            }
        })
        .await
    }

    /// Makes, moves or takes away refs besides the branch, all or none of them where the server can. Gives the server's
    /// reason when it does not, or when one was not as expected.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, it may have been done or not.
    pub async fn update_refs(
        &self,
        updates: &[RefUpdate],
        pack: &[u8],
    ) -> Result<Option<String>, RemoteError> {
        self.within_limit(async {
            let Some((mut talk, known)) = self.begin_push(None).await? else {
                return Ok(Some("there is no way to the server".to_owned()));
            };
            if !known.can("delete-refs") {
                let _ = talk.leave().await;
                return Ok(Some("it lets no ref be deleted".to_owned()));
            }
            talk.send(self.commands(&known, updates, pack)?).await?;
            let mut report = self.read_report(&mut talk).await?;
            for update in updates {
                match report.refs.remove(&update.name) {
                    Some(None) => {}
                    Some(reason) => return Ok(reason),
                    None => return Err(self.report_lacks(&update.name)),
                }
            }
            Ok(None)
        })
        .await
    }

    /// Asks whether the server lets us in to push, and whether it can then change several refs as one. Changes nothing.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn may_begin_push(&self) -> Result<bool, RemoteError> {
        self.within_limit(async {
            let (talk, advertisement) = self.open(Service::ReceivePack).await?;
            let _ = talk.leave().await;
            Ok(advertisement.capabilities().can("atomic"))
        })
        .await
    }

    /// The commands of a push, with the objects that they need.
    fn commands(
        &self,
        known: &Capabilities,
        updates: &[RefUpdate],
        pack: &[u8],
    ) -> Result<Vec<u8>, RemoteError> {
        let mut capabilities = vec!["report-status", "side-band-64k"];
        for capability in &capabilities {
            self.require(known, capability)?;
        }
        let mut optional = vec!["quiet"];
        if updates.len() > 1 {
            optional.push("atomic");
        }
        if updates.iter().any(|update| update.new.is_none()) {
            optional.push("delete-refs");
        }
        capabilities.extend(optional.iter().filter(|optional| known.can(optional)));
        if known.value("agent").is_some() {
            capabilities.push(AGENT);
        }
        let capabilities = capabilities.join(" ");
        let mut request = Vec::with_capacity(pack.len() + 512);
        for (n, update) in updates.iter().enumerate() {
            let id = |id: Option<Oid>| id.unwrap_or(Oid::ZERO_SHA1);
            let (old, new, name) = (id(update.old), id(update.new), &update.name);
            let mut command = format!("{old} {new} {name}").into_bytes();
            if n == 0 {
                command.extend_from_slice(format!("\0 {capabilities}").as_bytes());
            }
            packet::push(&mut request, &command);
        }
        packet::push_flush(&mut request);
        // What only takes away needs no objects, and servers wait for none.
        if updates.iter().any(|update| update.new.is_some()) {
            request.extend_from_slice(pack);
        }
        Ok(request)
    }

    fn report_lacks(&self, what: &str) -> RemoteError {
        let words = format!("its report does not say what became of {what}");
        self.server_failed(words.as_bytes())
    }

    async fn within_limit<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let limit = self.link.limits().attempt;
        let result = match timeout(limit, Box::pin(work)).await {
            Ok(result) => result,
            Err(_) => Err(RemoteError::Silent {
                remote: self.link.remote().to_owned(),
                after: limit,
            }),
        };
        if result.as_ref().is_err_and(RemoteError::is_transient) {
            self.faults.set(self.faults.get().saturating_add(1));
        }
        result
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

    async fn open(&self, service: Service) -> Result<(Talk, Advertisement), RemoteError> {
        let mut talk = self.link.open(service).await?;
        let reference = self.reference();
        let advertisement = match Advertisement::read(&mut talk.reader, |name| {
            name == reference
                || self
                    .watched
                    .as_ref()
                    .is_some_and(|start| name.starts_with(start))
        })
        .await
        {
            Ok(advertisement) => advertisement,
            Err(AdvertisementError::Packet(err)) => return Err(talk.failed(err).await),
            Err(AdvertisementError::Garbage(found)) => return Err(self.protocol(found)),
            Err(AdvertisementError::Refused(words)) => {
                return Err(RemoteError::NotFound {
                    remote: self.link.remote().to_owned(),
                    words,
                });
            }
        };
        match advertisement.capabilities().value("object-format") {
            None | Some("sha1") => Ok((talk, advertisement)),
            Some(other) => Err(self.protocol(format!(
                "its objects are named by {}, and only sha1 is supported",
                readable(other.as_bytes())
            ))),
        }
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

    /// What a fetch asks the server to do: what it cannot go without, and what is welcome.
    fn fetch_capabilities(
        &self,
        known: &Capabilities,
        needed: &[&'static str],
    ) -> Result<String, RemoteError> {
        for capability in needed {
            self.require(known, capability)?;
        }
        let mut capabilities = needed.to_vec();
        capabilities.extend(
            ["ofs-delta", "no-progress"]
                .iter()
                .filter(|optional| known.can(optional)),
        );
        if known.value("agent").is_some() {
            capabilities.push(AGENT);
        }
        Ok(capabilities.join(" "))
    }

    /// Fetches, and gives the commits at which the server says the history is cut off.
    async fn fetch(
        &self,
        talk: &mut Talk,
        known: &Capabilities,
        head: Oid,
        also: &[Oid],
        depth: Depth,
    ) -> Result<Vec<Oid>, RemoteError> {
        let capabilities = self.fetch_capabilities(known, &["side-band-64k", "shallow"])?;
        let mut request = Vec::new();
        packet::push(
            &mut request,
            format!("want {head} {capabilities}\n").as_bytes(),
        );
        for object in also {
            packet::push(&mut request, format!("want {object}\n").as_bytes());
        }
        for cut in self.store.boundary() {
            packet::push(&mut request, format!("shallow {cut}\n").as_bytes());
        }
        packet::push(&mut request, format!("deepen {}\n", depth.0).as_bytes());
        packet::push_flush(&mut request);
        if let Some(have) = self.store.head() {
            packet::push(&mut request, format!("have {have}\n").as_bytes());
        }
        packet::push(&mut request, b"done\n");
        talk.send(request).await?;
        self.receive(talk).await
    }

    /// Fetches these commits, without those before them, and their folders, without the files in them. So our copy is not the
    /// whole of any commit after that, and no snapshot may be taken with it.
    ///
    /// Tells whether it did: not where the server cannot leave files out, or gives nothing but what its refs point to.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch_folders(&self, commits: &[Oid]) -> Result<bool, RemoteError> {
        self.within_limit(async {
            let needed = ["filter", "allow-reachable-sha1-in-want"];
            let fetch = ["deepen 1\n", "filter blob:none\n"];
            match self.ask_for(commits, &needed, &fetch).await? {
                Some(mut talk) => self.receive(&mut talk).await.map(|_| true),
                None => Ok(false),
            }
        })
        .await
    }

    /// Fetches all commits of the branch as it is now, and none of their folders.
    ///
    /// `None` when the server cannot leave folders out, or there is more of it than can be read at once.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch_commits(&self) -> Result<Option<Commits>, RemoteError> {
        self.within_limit(async {
            let fetch = ["filter tree:0\n"];
            let Some(mut talk) = self.ask_for(&[], &["filter"], &fetch).await? else {
                return Ok(None);
            };
            let mut reader = commits::Reader::new();
            let mut unfit = None;
            let received = self
                .receive_pack(&mut talk, &mut |bytes| {
                    reader.take(bytes).map_err(|err| {
                        unfit = Some(err);
                        self.protocol(err.to_string())
                    })
                })
                .await;
            if let Some(UnfitPack::Other(_)) = unfit {
                return Ok(None);
            }
            received?;
            let commits = reader.end().map_err(|err| self.protocol(err.to_string()))?;
            Ok(Some(commits))
        })
        .await
    }

    /// Asks for commits (the head, if none is named), of which not all that belongs to them is wanted; `None` when the
    /// server can't do that.
    async fn ask_for(
        &self,
        commits: &[Oid],
        needed: &[&str],
        lines: &[&str],
    ) -> Result<Option<Talk>, RemoteError> {
        let (mut talk, advertisement) = self.open(Service::UploadPack).await?;
        let head = self.head_in(&advertisement)?;
        let known = advertisement.capabilities();
        if !needed.iter().all(|needed| known.can(needed)) {
            // It has been reached; that it is left without a word changes nothing.
            let _ = talk.leave().await;
            return Ok(None);
        }
        let capabilities =
            self.fetch_capabilities(known, &["side-band-64k", "shallow", "filter"])?;
        let wants = if commits.is_empty() {
            std::slice::from_ref(&head)
        } else {
            commits
        };
        let mut request = Vec::new();
        for (n, want) in wants.iter().enumerate() {
            let line = match n {
                0 => format!("want {want} {capabilities}\n"),
                _ => format!("want {want}\n"),
            };
            packet::push(&mut request, line.as_bytes());
        }
        for line in lines {
            packet::push(&mut request, line.as_bytes());
        }
        packet::push_flush(&mut request);
        packet::push(&mut request, b"done\n");
        talk.send(request).await?;
        Ok(Some(talk))
    }

    /// Takes in what follows a request: the cuts in the history, and a pack.
    async fn receive(&self, talk: &mut Talk) -> Result<Vec<Oid>, RemoteError> {
        let mut cuts = Vec::new();
        talk.reader.allow("list of cuts", MOST_CUTS);
        loop {
            match self.next(talk).await? {
                Packet::Flush => break,
                Packet::Data(line) => {
                    let line = packet::text(&line);
                    if let Some(cut) = line.strip_prefix(b"shallow ") {
                        let cut = std::str::from_utf8(cut)
                            .ok()
                            .and_then(|cut| Oid::from_str(cut).ok());
                        cuts.extend(cut);
                    } else if let Some(words) = line.strip_prefix(b"ERR ") {
                        return Err(self.server_failed(words));
                    }
                    // "unshallow" needs no note: what is cut off shows in what is here.
                }
            }
        }
        self.store
            .take_pack(
                async move |write: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>| {
                    self.receive_pack(talk, &mut |bytes| Ok(write(bytes)?))
                        .await
                },
            )
            .await?;
        Ok(cuts)
    }

    async fn receive_pack(
        &self,
        talk: &mut Talk,
        take: &mut dyn FnMut(&[u8]) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        talk.reader.allow("pack", MOST_PACK);
        let mut words = Vec::new();
        loop {
            let Packet::Data(data) = self.next(talk).await? else {
                return Ok(());
            };
            match data.split_first() {
                Some((1, pack)) => take(pack)?,
                Some((2, progress)) => hear(&mut words, progress),
                Some((3, fatal)) => return Err(self.server_failed_at_last(&words, fatal)),
                // Which of our commits the server knows too; we asked for the pack either way.
                _ if data.starts_with(b"ACK ") || data.starts_with(b"NAK") => {}
                _ => match data.strip_prefix(b"ERR ") {
                    Some(words) => return Err(self.server_failed(words)),
                    None => {
                        return Err(self.protocol(format!("`{}` in a pack", readable(&data))));
                    }
                },
            }
        }
    }

    async fn next(&self, talk: &mut Talk) -> Result<Packet, RemoteError> {
        match talk.reader.next().await {
            Ok(packet) => Ok(packet),
            Err(err) => Err(talk.failed(err).await),
        }
    }

    fn server_failed(&self, words: &[u8]) -> RemoteError {
        RemoteError::Failed {
            remote: self.link.remote().to_owned(),
            words: readable(words),
        }
    }

    /// As [`Remote::server_failed`], with its last words, whatever it has said before.
    fn server_failed_at_last(&self, before: &[u8], last: &[u8]) -> RemoteError {
        let room = SHOWN.saturating_sub(last.len());
        let before = &before[..before.len().min(room)];
        self.server_failed(&[before, last].concat())
    }

    /// Reads what became of a push: packets in packets, with what hooks say beside them.
    async fn read_report(&self, talk: &mut Talk) -> Result<Report, RemoteError> {
        let mut report = Vec::new();
        let mut words = Vec::new();
        talk.reader.allow("report", MOST_REPORT);
        loop {
            let Packet::Data(data) = self.next(talk).await? else {
                break;
            };
            match data.split_first() {
                Some((1, piece)) => report.extend_from_slice(piece),
                Some((2, piece)) => hear(&mut words, piece),
                Some((3, fatal)) => {
                    return Err(self.server_failed_at_last(&words, fatal));
                }
                _ => match data.strip_prefix(b"ERR ") {
                    Some(words) => return Err(self.server_failed(words)),
                    None => return Err(self.protocol(format!("`{}` in a report", readable(&data)))),
                },
            }
        }
        let silence = self.link.limits().silence;
        let mut lines = packet::PacketReader::new(Box::new(std::io::Cursor::new(report)), silence);
        let mut refs = BTreeMap::new();
        let mut not_unpacked = None;
        while let Ok(Packet::Data(line)) = lines.next().await {
            let line = String::from_utf8_lossy(packet::text(&line)).into_owned();
            if let Some(name) = line.strip_prefix("ok ") {
                refs.insert(name.to_owned(), None);
            } else if let Some(rest) = line.strip_prefix("ng ") {
                let (name, reason) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
                refs.insert(name.to_owned(), Some(readable(reason.as_bytes())));
            } else if let Some(problem) = line
                .strip_prefix("unpack ")
                .filter(|result| *result != "ok")
            {
                not_unpacked = Some(format!(
                    "it could not unpack our objects: {}",
                    readable(problem.as_bytes())
                ));
            }
        }
        if let Some(reason) = not_unpacked {
            // Nothing can have moved to objects that are not there, whatever else it says.
            refs.entry(self.reference()).or_default();
            for outcome in refs.values_mut() {
                *outcome = Some(reason.clone());
            }
        }
        Ok(Report {
            words: readable(&words),
            refs,
        })
    }
}

/// What a server says became of a push.
struct Report {
    /// What its hooks and it said besides.
    words: String,
    /// For each ref why it did not move; `None` where it did.
    refs: BTreeMap<String, Option<String>>,
}

/// Keeps the beginning of what a server says beside its answer: as much as is ever shown of it.
fn hear(words: &mut Vec<u8>, more: &[u8]) {
    let room = SHOWN.saturating_sub(words.len());
    words.extend_from_slice(&more[..more.len().min(room)]);
}
