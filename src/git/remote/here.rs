//! The same conversations with a repository on this machine that needs no server; see [`crate::plain`].

use std::cell::Cell;

use super::{Depth, Interest, Listing, RefUpdate, Remote, Seen};
use crate::RemoteError;
use crate::advertisement::Advertisement;
use crate::object::Oid;
use crate::plain::{Became, Plain};

/// The reason that Git's server gives for a ref that was not where it was expected, or was being changed.
const NOT_CHANGED: &str = "failed to update ref";

impl Remote {
    /// What is there, and what was asked for of it; `None` where a server has to be asked.
    pub(super) fn look_here(
        &self,
        interest: &dyn Fn(&Listing) -> Interest,
        anew: bool,
    ) -> Result<Option<Seen>, RemoteError> {
        let Some((plain, advertisement)) = self.refs_here() else {
            return Ok(None);
        };
        let listing = self.listing(&advertisement)?;
        // Whoever has no word for why it cannot be read has the server say it.
        let anew = if anew { self.store.successor()? } else { None };
        let store = anew.as_ref().unwrap_or(&self.store);
        if store.lend(&plain.objects()).is_err() || !store.has(listing.head) {
            return Ok(None);
        }
        self.is_read.send_replace(true);
        let fetched = match interest(&listing) {
            Interest::Nothing => None,
            Interest::Head(depth, _) => {
                let known = store.depth_of(listing.head).map_or(depth, Depth);
                Some((depth.max(known), Vec::new()))
            }
        };
        // One that is not gone on with would know of nothing.
        let anew = anew.filter(|_| fetched.is_some());
        Ok(Some(Seen {
            listing,
            fetched,
            anew,
        }))
    }

    /// The repository, and its refs that are listed, with the branch among them.
    fn refs_here(&self) -> Option<(Plain, Advertisement)> {
        let plain = self.link.plain_of_late()?;
        let name = self.reference();
        let starts = [&self.watched, &self.besides].into_iter().flatten();
        let starts: Vec<&str> = starts.map(String::as_str).collect();
        let refs = plain.refs(&name, &starts)?;
        refs.contains_key(&name)
            .then(|| (plain, Advertisement::of(refs)))
    }

    /// Where the branch is; `None` where a server has to be asked.
    pub(super) fn head_here(&self) -> Option<Oid> {
        let plain = self.link.plain_of_late()?;
        let name = self.reference();
        plain.refs(&name, &[])?.get(&name).copied()
    }

    /// Whether pushes need no server.
    pub(super) fn pushes_here(&self) -> bool {
        self.link
            .plain_of_late()
            .is_some_and(|plain| plain.takes_pushes())
    }

    /// Changes refs, all or none of them, and tells why they were not changed, with Git's words; `None` where a server has to
    /// be asked. Sets `sent` before anything can have been changed.
    ///
    /// # Errors
    /// [`RemoteError::NoGit`].
    pub(super) async fn push_here(
        &self,
        updates: &[RefUpdate],
        sent: &Cell<bool>,
    ) -> Result<Option<Result<(), (String, String)>>, RemoteError> {
        let plain = self.link.plain().filter(Plain::takes_pushes);
        let Some(plain) = plain.filter(|_| self.store.is_lent()) else {
            return Ok(None);
        };
        if plain.write_objects(&self.store, updates).is_none() {
            return Ok(None);
        }
        sent.set(true);
        Ok(Some(match plain.change_refs(updates).await? {
            Became::Done => Ok(()),
            Became::Declined(words) => Err((NOT_CHANGED.to_owned(), words)),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use support::TestRemote;

    use super::*;
    use crate::{Access, Location, Store};

    /// What is asked of a repository on a path, without a server.
    fn at(theirs: &TestRemote, folder: &std::path::Path) -> Remote {
        let location = Location::Path(theirs.path().to_owned());
        let access = Access {
            settings: Some(Vec::new()),
            ..Access::default()
        };
        let store = Store::temporary(folder).unwrap();
        Remote::new(&location, &access, "main", store).unwrap()
    }

    /// Nothing waits for a server, but a process is started.
    fn now<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    }

    fn change(remote: &Remote, updates: &[RefUpdate]) -> Option<String> {
        now(remote.update_refs(updates, &[])).unwrap()
    }

    #[test]
    fn who_looks_while_the_branch_moves_on_and_on_keeps_little_of_it() {
        let theirs = TestRemote::empty("main");
        let folder = tempfile::tempdir().unwrap();
        let mut remote = at(&theirs, folder.path());

        for n in 0..150 {
            let head = theirs.commit(&n.to_string(), &[]);
            remote.may_begin_anew();
            let few = |_: &Listing| Interest::Head(Depth::FEW, Vec::new());
            let (listing, snapshot) = now(remote.look(false, &few)).unwrap();

            let snapshot = snapshot.unwrap();
            assert_eq!(listing.head.to_string(), head);
            assert_eq!(snapshot.commit, listing.head);
            let history = remote.history(&snapshot);
            let said = history.commit(listing.head).unwrap().message;
            assert_eq!(String::from_utf8(said).unwrap().trim(), n.to_string());
            assert!(n == 0 || history.parents(listing.head).unwrap().len() == 1);
        }

        assert!(remote.store().is_lent() && !remote.store().is_full());
    }

    #[test]
    fn several_refs_are_changed_as_one_or_not_at_all() {
        let theirs = TestRemote::empty("main");
        let head: Oid = theirs.commit("first", &[]).parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut remote = at(&theirs, folder.path());
        remote.watch("refs/line/");
        now(remote.snapshot(Depth::HEAD)).unwrap();
        let update = |name: &str, old, new| RefUpdate {
            name: format!("refs/line/{name}"),
            old,
            new,
        };
        let there = |remote: &Remote| {
            let (_, refs) = remote.refs_here().unwrap();
            refs.below("refs/line/").into_keys().collect::<Vec<_>>()
        };

        let made = [update("a", None, Some(head)), update("b", None, Some(head))];
        assert_eq!(change(&remote, &made), None);
        assert_eq!(there(&remote), ["a", "b"]);
        let moved = [update("a", Some(head), None), update("c", Some(head), None)];
        assert!(change(&remote, &moved).is_some());
        assert_eq!(there(&remote), ["a", "b"]);
        let gone = [update("a", Some(head), None), update("b", Some(head), None)];
        assert_eq!(change(&remote, &gone), None);
        assert_eq!(there(&remote), [""; 0]);
    }
}
