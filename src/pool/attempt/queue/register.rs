//! What the line needs of a server: to look, and to change refs.

use crate::line::sightings::Said;
use git::object::Oid;
use git::{Interest, Listing, Note, RefUpdate, Remote, RemoteError, StoreError};

/// The refs of a server, and our copy of the commits behind them.
pub(in crate::attempt) trait Register {
    /// Lists the refs, and fetches nothing.
    async fn look(&mut self) -> Result<Listing, RemoteError>;

    /// Changes refs: all or none where they belong `together` and the server can. Gives its reason where it does not.
    async fn change(
        &self,
        updates: &[RefUpdate],
        together: bool,
        objects: &[Oid],
    ) -> Result<Vec<Option<String>>, RemoteError>;

    /// Makes a note here, and gives its id and all objects that the server needs for it.
    fn make(&self, note: &Note<'_>) -> Result<(Oid, Vec<Oid>), StoreError>;

    /// What a commit says.
    fn said(&self, commit: Oid) -> Said;
}

impl Register for Remote {
    async fn look(&mut self) -> Result<Listing, RemoteError> {
        let (listing, _) = Remote::look(self, false, &|_| Interest::Nothing).await?;
        Ok(listing)
    }

    async fn change(
        &self,
        updates: &[RefUpdate],
        together: bool,
        objects: &[Oid],
    ) -> Result<Vec<Option<String>>, RemoteError> {
        let pack = match objects {
            [] => Vec::new(),
            objects => self.store().pack(objects)?,
        };
        self.update_each_ref(updates, together, &pack).await
    }

    fn make(&self, note: &Note<'_>) -> Result<(Oid, Vec<Oid>), StoreError> {
        self.store().make_note(note)
    }

    fn said(&self, commit: Oid) -> Said {
        Said::in_store(self.store(), commit)
    }
}
