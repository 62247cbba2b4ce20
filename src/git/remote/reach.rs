//! Going far back in a history without fetching all of it.

use super::{Depth, Remote, Snapshot};
use crate::object::Oid;
use crate::replay::{Guess, Replay, Went};
use crate::store::Store;
use crate::{History, RemoteError};
use net::NetError;

/// How far is gone back at first where nobody knows how far it is; ten times as far each time after that.
const FIRST_REACH: usize = 5000;

/// How often folders are fetched on the way before it is given up.
const MOST_ROUNDS: usize = 6;

impl Remote {
    /// Makes more known of the past of a folder behind a snapshot than is here: what its commits did is worked out by
    /// `guess`, and proved by their ids. `until` is the oldest commit that is asked about, if that is known.
    ///
    /// Tells whether it did. Where it did not, the history itself has to be fetched: the server cannot leave folders out, there
    /// is too much to work out, or nothing more.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn reach(
        &mut self,
        snapshot: &Snapshot,
        folder: &str,
        until: Option<Oid>,
        guess: &dyn Guess,
    ) -> Result<bool, RemoteError> {
        if !self.reaches {
            return Ok(false);
        }
        // What is known goes on to be true; but it may not go as far back, or not from here.
        let known = self.replay.take().filter(|replay| {
            let leads_there = replay.folder() == folder && self.leads_to(snapshot, replay);
            leads_there && until.is_none_or(|until| replay.has(until))
        });
        let mut replay = match known {
            Some(replay) if replay.known() == replay.last() => return Ok(false),
            Some(replay) => replay,
            None => match self.begin_replay(snapshot, folder, until).await? {
                Some(replay) => replay,
                None => {
                    self.reaches = false;
                    return Ok(false);
                }
            },
        };
        let to = match until {
            Some(_) => replay.last(),
            None => (replay.known() * 10).max(FIRST_REACH),
        };
        for _ in 0..MOST_ROUNDS {
            match replay.go_back(&self.store, guess, to)? {
                Went::There => {
                    self.replay = Some(replay);
                    return Ok(true);
                }
                Went::Needs(commits) => {
                    if !self.fetch_folders(&commits, 1, replay.fetched()).await? {
                        break;
                    }
                }
                Went::Lost => break,
            }
        }
        self.reaches = false;
        Ok(false)
    }

    /// Whether the history behind a snapshot leads to where a replay begins, by what is here.
    fn leads_to(&self, snapshot: &Snapshot, replay: &Replay) -> bool {
        if replay.has(snapshot.commit) {
            return true;
        }
        let history = History::new(&self.store, snapshot.commit, snapshot.depth == Depth::ALL);
        let mut line = history.first_parents(snapshot.commit);
        line.any(|commit| commit.is_ok_and(|commit| replay.has(commit)))
    }

    async fn begin_replay(
        &self,
        snapshot: &Snapshot,
        folder: &str,
        until: Option<Oid>,
    ) -> Result<Option<Replay>, RemoteError> {
        let fetched = Store::temporary(&self.store.place_for_temporary())?;
        // With the one before, for it is asked what it did itself. So the server need not go further than that.
        let mut end = None;
        if let Some(until) = until {
            match self.fetch_folders(&[until], 2, &fetched).await {
                Ok(_) => {
                    let commit = fetched.commit(until)?;
                    end = commit.and_then(|commit| commit.parents.first().copied());
                }
                // It has no such commit.
                Err(RemoteError::Net(NetError::Failed { .. } | NetError::Ended { .. })) => {}
                Err(err) => return Err(err),
            }
        }
        let Some(commits) = self.fetch_commits(end).await? else {
            return Ok(None);
        };
        let head = snapshot.commit;
        Ok(Replay::new(folder, head, commits, &self.store, fetched))
    }
}
