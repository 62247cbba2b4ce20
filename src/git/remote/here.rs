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
    ) -> Result<Option<Seen>, RemoteError> {
        let Some((plain, advertisement)) = self.refs_here() else {
            return Ok(None);
        };
        let listing = self.listing(&advertisement)?;
        // Whoever has no word for why it cannot be read has the server say it.
        if self.store.lend(&plain.objects()).is_err() || !self.store.has(listing.head) {
            return Ok(None);
        }
        self.is_read.send_replace(true);
        let fetched = match interest(&listing) {
            Interest::Nothing => None,
            Interest::Head(depth, _) => {
                let known = self.store.depth_of(listing.head).map_or(depth, Depth);
                Some((depth.max(known), Vec::new()))
            }
        };
        Ok(Some(Seen {
            listing,
            fetched,
            anew: None,
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
