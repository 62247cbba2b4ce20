//! What is fetched: the head with its files, folders of some commits, or all commits and nothing else.

use std::time::{Duration, Instant};

use super::{AGENT, Depth, Files, Remote, hear};
use crate::RemoteError;
use crate::advertisement::Capabilities;
use crate::commits::{self, Commits, UnfitPack};
use crate::link::{Service, Talk};
use crate::object::Oid;
use crate::packet::{self, MIB, Packet};
use crate::store::{Store, StoreError};
use net::NetError;
use terminal::harmless;

/// The most that a pack may have, in bytes, and what is said besides while it comes. It goes to the disk. More than that
/// the large hosts don't take in one push either.
const MOST_PACK: u64 = 2 * 1024 * MIB;

/// The most that the list of commits may have after which a history is cut off, in bytes: room for a million.
const MOST_CUTS: u64 = 64 * MIB;

/// The commits of a branch on their way to us.
pub(super) struct Coming {
    talk: Talk,
    reader: commits::Reader,
    /// What the server says besides.
    words: Vec<u8>,
    /// When something was taken in last.
    since: Instant,
}

impl Coming {
    /// For how long a server is kept waiting with what may never be asked for.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Whether nobody has wanted more of it for a while.
    pub(super) fn is_left(&self) -> bool {
        self.since.elapsed() > Coming::LONGEST
    }
}

/// How far they have come.
pub(super) enum Came {
    /// Some more are here.
    Some,
    /// That was all of them.
    All,
    /// They cannot be read at once.
    Unfit,
}

impl Remote {
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

    /// The line that has files left out that nobody reads; `None` where that cannot be, or need not.
    fn filter(&self, known: &Capabilities) -> Option<String> {
        if !self.filters.get() || !known.can("filter") {
            return None;
        }
        match self.files {
            Files::All => None,
            // Unless the others can be had one by one.
            Files::Small(_) if !self.can_fetch_single(known) => None,
            // Git means those that are smaller than that.
            Files::Small(most) => Some(format!("filter blob:limit={}\n", most.saturating_add(1))),
            Files::None => Some("filter blob:none\n".to_owned()),
        }
    }

    /// Whether the server says that it gives whatever it has. It says no more than that it gives what its refs point to, and
    /// what can be reached from there: of files, only one that gives everything has both.
    fn can_fetch_single(&self, known: &Capabilities) -> bool {
        let needed = ["allow-tip-sha1-in-want", "allow-reachable-sha1-in-want"];
        self.gives_single.get() && needed.iter().all(|needed| known.can(needed))
    }

    /// Fetches what is wanted, the head first, into `store`; and gives the commits at which the server says the history is
    /// cut off.
    pub(super) async fn fetch(
        &self,
        talk: &mut Talk,
        known: &Capabilities,
        store: &Store,
        wanted: &[Oid],
        depth: Depth,
    ) -> Result<Vec<Oid>, RemoteError> {
        let filter = self.filter(known);
        let mut needed = vec!["side-band-64k", "shallow"];
        needed.extend(filter.iter().map(|_| "filter"));
        // Some want to hear it. Not where files are left out, for then an object may come as a change of one that is not here.
        let thin = ["thin-pack"];
        let thin = thin
            .iter()
            .filter(|thin| filter.is_none() && known.can(thin));
        needed.extend(thin);
        let capabilities = self.fetch_capabilities(known, &needed)?;
        let mut request = wants(wanted, &capabilities);
        for cut in store.boundary() {
            packet::push(&mut request, format!("shallow {cut}\n").as_bytes());
        }
        packet::push(&mut request, format!("deepen {}\n", depth.0).as_bytes());
        if let Some(filter) = filter {
            packet::push(&mut request, filter.as_bytes());
        }
        packet::push_flush(&mut request);
        if let Some(have) = store.head() {
            packet::push(&mut request, format!("have {have}\n").as_bytes());
        }
        packet::push(&mut request, b"done\n");
        talk.send(request).await?;
        self.receive(talk, store).await
    }

    /// Fetches these files, as far as they are not here yet. Tells whether they are here then, as far as the server has
    /// them: where it does not give single files, everything that was fetched is thrown away instead, and the next look
    /// brings it again with all files.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch_files(&mut self, files: &[Oid]) -> Result<bool, RemoteError> {
        let missing: Vec<Oid> = files
            .iter()
            .copied()
            .filter(|file| !self.store.has(*file))
            .collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let fetched = self.within_limit(self.fetch_single(&missing)).await;
        match fetched {
            Ok(true) => return Ok(true),
            Ok(false) | Err(RemoteError::Net(NetError::Failed { .. } | NetError::Ended { .. })) => {
                self.gives_single.set(false);
            }
            Err(err) => return Err(err),
        }
        if self.files == Files::All {
            return Ok(true);
        }
        self.files = Files::All;
        match self.store.successor()? {
            Some(store) => self.store = store,
            None => self.store.forget()?,
        }
        Ok(false)
    }

    async fn fetch_single(&self, files: &[Oid]) -> Result<bool, RemoteError> {
        let (mut talk, advertisement) = self.open(Service::UploadPack).await?;
        let known = advertisement.capabilities();
        if !self.can_fetch_single(known) {
            let _ = talk.leave().await;
            return Ok(false);
        }
        let capabilities = self.fetch_capabilities(known, &["side-band-64k"])?;
        let mut request = wants(files, &capabilities);
        packet::push_flush(&mut request);
        packet::push(&mut request, b"done\n");
        talk.send(request).await?;
        self.receive_objects(&mut talk, &self.store).await?;
        Ok(true)
    }

    /// Fetches into `store` these commits, each with `depth` - 1 of those before it, and their folders, without the files in
    /// them. It should be a store for just that: it has not the whole of any history.
    ///
    /// Tells whether it did: not where the server cannot leave files out, or gives nothing but what its refs point to.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch_folders(
        &self,
        commits: &[Oid],
        depth: u32,
        store: &Store,
    ) -> Result<bool, RemoteError> {
        self.within_limit(async {
            let needed = ["filter", "allow-reachable-sha1-in-want"];
            let fetch = [&format!("deepen {depth}\n"), "filter blob:none\n"];
            match self.ask_for(commits, &needed, &fetch, None).await? {
                Some(mut talk) => self.receive(&mut talk, store).await.map(|_| true),
                None => Ok(false),
            }
        })
        .await
    }

    /// Fetches the commits of the branch as it is now that are not in the history of `until`, or all of them, and none of
    /// their folders.
    ///
    /// `None` when the server cannot leave folders out, or there is more of it than can be read at once.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch_commits(&self, until: Option<Oid>) -> Result<Option<Commits>, RemoteError> {
        self.within_limit(async {
            let Some(mut coming) = self.ask_for_commits(until).await? else {
                return Ok(None);
            };
            let Ok(mut commits) = Commits::new(&self.store.place_for_temporary()) else {
                return Ok(None);
            };
            loop {
                match self.take_commits(&mut coming, &mut commits).await? {
                    Came::Some => {}
                    Came::All => return Ok(Some(commits)),
                    Came::Unfit => return Ok(None),
                }
            }
        })
        .await
    }

    /// Asks for what [`Remote::fetch_commits`] fetches; `None` when the server cannot leave folders out.
    pub(super) async fn ask_for_commits(
        &self,
        until: Option<Oid>,
    ) -> Result<Option<Coming>, RemoteError> {
        let fetch = ["filter tree:0\n"];
        let talk = self.ask_for(&[], &["filter"], &fetch, until).await?;
        Ok(talk.map(|mut talk| {
            talk.reader.allow("pack", MOST_PACK);
            Coming {
                talk,
                reader: commits::Reader::new(),
                words: Vec::new(),
                since: Instant::now(),
            }
        }))
    }

    /// Takes some more of them in.
    pub(super) async fn take_commits(
        &self,
        coming: &mut Coming,
        commits: &mut Commits,
    ) -> Result<Came, RemoteError> {
        let part = self
            .next_of_pack(&mut coming.talk, &mut coming.words)
            .await?;
        coming.since = Instant::now();
        let taken = match &part {
            Some(data) => coming.reader.take(commits, &data[1..]),
            None => coming.reader.end(),
        };
        match taken {
            Ok(()) if part.is_some() => Ok(Came::Some),
            Ok(()) => Ok(Came::All),
            Err(UnfitPack::Other(_)) => Ok(Came::Unfit),
            Err(err) => Err(self.protocol(err.to_string())),
        }
    }

    /// Asks for commits (the head, if none is named), of which not all that belongs to them is wanted, and nothing that is
    /// in the history of `have`; `None` when the server can't do that.
    async fn ask_for(
        &self,
        commits: &[Oid],
        needed: &[&str],
        lines: &[&str],
        have: Option<Oid>,
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
        let mut request = match commits {
            [] => wants(&[head], &capabilities),
            commits => wants(commits, &capabilities),
        };
        for line in lines {
            packet::push(&mut request, line.as_bytes());
        }
        packet::push_flush(&mut request);
        if let Some(have) = have {
            packet::push(&mut request, format!("have {have}\n").as_bytes());
        }
        packet::push(&mut request, b"done\n");
        talk.send(request).await?;
        Ok(Some(talk))
    }

    /// Takes in what follows a request: the cuts in the history, and a pack.
    async fn receive(&self, talk: &mut Talk, store: &Store) -> Result<Vec<Oid>, RemoteError> {
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
        self.receive_objects(talk, store).await?;
        Ok(cuts)
    }

    async fn receive_objects(&self, talk: &mut Talk, store: &Store) -> Result<(), RemoteError> {
        store
            .take_pack(
                async move |write: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>| {
                    self.receive_pack(talk, &mut |bytes| Ok(write(bytes)?))
                        .await
                },
            )
            .await
    }

    async fn receive_pack(
        &self,
        talk: &mut Talk,
        take: &mut dyn FnMut(&[u8]) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        talk.reader.allow("pack", MOST_PACK);
        let mut words = Vec::new();
        while let Some(data) = self.next_of_pack(talk, &mut words).await? {
            take(&data[1..])?;
        }
        Ok(())
    }

    /// The next part of a pack, after a byte that says that it is one; `None` after the last. What the server says besides goes to
    /// `words`.
    async fn next_of_pack(
        &self,
        talk: &mut Talk,
        words: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        loop {
            let Packet::Data(data) = self.next(talk).await? else {
                return Ok(None);
            };
            match data.split_first() {
                Some((1, _)) => return Ok(Some(data)),
                Some((2, progress)) => hear(words, progress),
                Some((3, fatal)) => return Err(self.server_failed_at_last(words, fatal)),
                // Which of our commits the server knows too; we asked for the pack either way.
                _ if data.starts_with(b"ACK ") || data.starts_with(b"NAK") => {}
                _ => match data.strip_prefix(b"ERR ") {
                    Some(words) => return Err(self.server_failed(words)),
                    None => {
                        return Err(
                            self.protocol(format!("`{}` in a pack", harmless::words(&data)))
                        );
                    }
                },
            }
        }
    }
}

/// The beginning of a request: what is wanted, and how.
fn wants(objects: &[Oid], capabilities: &str) -> Vec<u8> {
    let mut request = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        let line = match n {
            0 => format!("want {object} {capabilities}\n"),
            _ => format!("want {object}\n"),
        };
        packet::push(&mut request, line.as_bytes());
    }
    request
}
