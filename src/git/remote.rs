//! The conversations with a server: look where the branch is, fetch its head, push one commit onto it.
//!
//! Source: `gitprotocol-pack(5)`, `gitprotocol-capabilities(5)`.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::timeout;

use super::access::Access;
use super::advertisement::{Advertisement, AdvertisementError, Capabilities};
use super::link::{Link, Service, Talk};
use super::location::Location;
use super::packet::{self, Packet};
use super::store::{Store, StoreError};
use super::{History, RemoteError, readable};
use crate::object::Oid;

/// How we introduce ourselves to servers.
const AGENT: &str = concat!(
    "agent=",
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION")
);

/// How many commits of a history are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth(u32);

impl Depth {
    /// The head alone: what is there now.
    pub const HEAD: Depth = Depth(1);
    /// The last fifty: enough for most questions about the past, and hardly dearer than one.
    pub const RECENT: Depth = Depth(50);
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
}

/// A branch at one moment: its head's files are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit that the branch was at.
    pub commit: Oid,
    /// How deep its history was fetched.
    pub depth: Depth,
}

/// What a server answered to a push. Nothing but [`PushAnswer::Accepted`] is to be believed without looking at the
/// branch again: something between us and the server may have sent our request twice.
#[must_use = "a lost race looks like success unless it is read"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// The branch moved from the expected commit to ours.
    Accepted,
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
    /// The beginning of a push, made while something else was waited for.
    prepared: Mutex<Option<Prepared>>,
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
            prepared: Mutex::new(None),
        })
    }

    /// What messages call the repository.
    pub fn name(&self) -> &str {
        self.link.remote()
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

    /// Looks where the branch is.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn head(&self) -> Result<Oid, RemoteError> {
        self.within_limit(async {
            let (talk, advertisement) = self.open(Service::UploadPack).await?;
            let head = self.head_in(&advertisement)?;
            // The answer is there; a goodbye that gets lost changes nothing.
            let _ = talk.leave().await;
            Ok(head)
        })
        .await
    }

    /// Looks where the branch is and fetches what is not here yet of its last `depth` commits.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, RemoteError> {
        let fetched = self.fetch_head(depth).await?;
        self.note(fetched)
    }

    /// As [`Remote::snapshot`], and begins a push at the same time. Whoever then has nothing to push says so with
    /// [`Remote::forget_push`].
    ///
    /// # Errors
    /// [`RemoteError`] of the snapshot. What goes wrong with the rest comes up again with the push.
    pub async fn snapshot_to_push(&mut self, depth: Depth) -> Result<Snapshot, RemoteError> {
        let (fetched, _) = tokio::join!(self.fetch_head(depth), self.prepare_push());
        self.note(fetched?)
    }

    fn note(
        &mut self,
        (head, cuts, depth): (Oid, Vec<Oid>, Depth),
    ) -> Result<Snapshot, RemoteError> {
        self.store.note_fetched(head, depth.0, cuts)?;
        Ok(Snapshot {
            commit: head,
            depth,
        })
    }

    async fn fetch_head(&self, depth: Depth) -> Result<(Oid, Vec<Oid>, Depth), RemoteError> {
        self.within_limit(async {
            let (mut talk, advertisement) = self.open(Service::UploadPack).await?;
            let head = self.head_in(&advertisement)?;
            if let Some(known) = self.store.depth_of(head).map(Depth)
                && known >= depth
            {
                let _ = talk.leave().await;
                return Ok((head, Vec::new(), known));
            }
            let cuts = self
                .fetch(&mut talk, advertisement.capabilities(), head, depth)
                .await?;
            Ok((head, cuts, depth))
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

    /// Begins a push that replaces `expected`, or goes on with one that was begun; `None` when the branch has moved.
    async fn begin_push(&self, expected: Oid) -> Result<Option<(Talk, Capabilities)>, RemoteError> {
        let prepared = self.prepared().take();
        match prepared {
            Some(Prepared::Known(known)) => {
                *self.prepared() = Some(Prepared::Known(known.clone()));
                return Ok(Some((self.link.resume(Service::ReceivePack)?, known)));
            }
            Some(Prepared::Begun(talk, known, Some(at))) if at == expected => {
                return Ok(Some((*talk, known)));
            }
            // It was begun before or after the commit that we go by; only a new one can tell.
            Some(Prepared::Begun(talk, ..)) => drop(talk.leave().await),
            None => {}
        }
        let (talk, advertisement) = self.open(Service::ReceivePack).await?;
        if advertisement.get(&self.reference()) != Some(expected) {
            let _ = talk.leave().await;
            return Ok(None);
        }
        Ok(Some((talk, advertisement.capabilities().clone())))
    }

    /// Moves the branch from `expected` to `commit`, whose new objects are in `pack`, if it is still there. Sets `sent`
    /// before the server gets to see any of it: whoever drops the push later does not know what became of it.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, the push may or may not have landed.
    pub async fn push(
        &self,
        expected: Oid,
        commit: Oid,
        pack: &[u8],
        sent: &Cell<bool>,
    ) -> Result<PushAnswer, RemoteError> {
        self.within_limit(async {
            let Some((mut talk, known)) = self.begin_push(expected).await? else {
                return Ok(PushAnswer::Moved);
            };
            let mut capabilities = vec!["report-status", "side-band-64k"];
            for capability in &capabilities {
                self.require(&known, capability)?;
            }
            capabilities.extend(["quiet"].iter().filter(|quiet| known.can(quiet)));
            if known.value("agent").is_some() {
                capabilities.push(AGENT);
            }
            let mut request = Vec::with_capacity(pack.len() + 512);
            let command = format!(
                "{expected} {commit} {}\0 {}",
                self.reference(),
                capabilities.join(" ")
            );
            packet::push(&mut request, command.as_bytes());
            packet::push_flush(&mut request);
            request.extend_from_slice(pack);
            sent.set(true);
            talk.send(request).await?;
            self.read_report(&mut talk).await
        })
        .await
    }

    async fn within_limit<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let limit = self.link.limits().attempt;
        match timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(RemoteError::Silent {
                remote: self.link.remote().to_owned(),
                after: limit,
            }),
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

    async fn open(&self, service: Service) -> Result<(Talk, Advertisement), RemoteError> {
        let mut talk = self.link.open(service).await?;
        let reference = self.reference();
        let advertisement =
            match Advertisement::read(&mut talk.reader, |name| name == reference).await {
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
                "its objects are named by {other}, and only sha1 is supported"
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

    /// Fetches, and gives the commits at which the server says the history is cut off.
    async fn fetch(
        &self,
        talk: &mut Talk,
        known: &Capabilities,
        head: Oid,
        depth: Depth,
    ) -> Result<Vec<Oid>, RemoteError> {
        let mut capabilities = vec!["side-band-64k", "shallow"];
        for capability in &capabilities {
            self.require(known, capability)?;
        }
        capabilities.extend(
            ["ofs-delta", "no-progress"]
                .iter()
                .filter(|optional| known.can(optional)),
        );
        if known.value("agent").is_some() {
            capabilities.push(AGENT);
        }
        let mut request = Vec::new();
        packet::push(
            &mut request,
            format!("want {head} {}\n", capabilities.join(" ")).as_bytes(),
        );
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

        let mut cuts = Vec::new();
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
        let talk = &mut *talk;
        self.store
            .take_pack(async move |write: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>| -> Result<(), RemoteError> {
                let mut words = Vec::new();
                loop {
                    let Packet::Data(data) = self.next(talk).await? else {
                        return Ok(());
                    };
                    match data.split_first() {
                        Some((1, pack)) => write(pack)?,
                        Some((2, progress)) => words.extend_from_slice(progress),
                        Some((3, fatal)) => return Err(self.server_failed(&[&words[..], fatal].concat())),
                        // Which of our commits the server knows too; we asked for the pack either way.
                        _ if data.starts_with(b"ACK ") || data.starts_with(b"NAK") => {}
                        _ => match data.strip_prefix(b"ERR ") {
                            Some(words) => return Err(self.server_failed(words)),
                            None => return Err(self.protocol(format!("`{}` in a pack", readable(&data)))),
                        },
                    }
                }
            })
            .await?;
        Ok(cuts)
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

    /// Reads what became of a push: packets in packets, with what hooks say beside them.
    async fn read_report(&self, talk: &mut Talk) -> Result<PushAnswer, RemoteError> {
        let mut report = Vec::new();
        let mut words = Vec::new();
        loop {
            let Packet::Data(data) = self.next(talk).await? else {
                break;
            };
            match data.split_first() {
                Some((1, piece)) => report.extend_from_slice(piece),
                Some((2, piece)) => words.extend_from_slice(piece),
                Some((3, piece)) => {
                    words.extend_from_slice(piece);
                    return Err(self.server_failed(&words));
                }
                _ => match data.strip_prefix(b"ERR ") {
                    Some(words) => return Err(self.server_failed(words)),
                    None => return Err(self.protocol(format!("`{}` in a report", readable(&data)))),
                },
            }
        }
        let words = readable(&words);
        let ours = self.reference();
        let silence = self.link.limits().silence;
        let mut lines = packet::PacketReader::new(Box::new(std::io::Cursor::new(report)), silence);
        while let Ok(Packet::Data(line)) = lines.next().await {
            let line = String::from_utf8_lossy(packet::text(&line)).into_owned();
            if line == format!("ok {ours}") {
                return Ok(PushAnswer::Accepted);
            }
            if let Some(reason) = line
                .strip_prefix("ng ")
                .and_then(|rest| rest.strip_prefix(&ours))
            {
                return Ok(PushAnswer::Rejected {
                    reason: readable(reason.as_bytes()),
                    words,
                });
            }
            if let Some(problem) = line
                .strip_prefix("unpack ")
                .filter(|result| *result != "ok")
            {
                let reason = format!(
                    "it could not unpack our objects: {}",
                    readable(problem.as_bytes())
                );
                return Ok(PushAnswer::Rejected { reason, words });
            }
        }
        Err(self.server_failed(b"its report does not say what became of the branch"))
    }
}
