//! Going far back in a history without fetching all of it.

use super::fetch::Came;
use super::{Depth, Remote, Snapshot};
use crate::commits::Commits;
use crate::object::Oid;
use crate::replay::{Guess, Replay, Went};
use crate::store::Store;
use crate::{History, RemoteError};
use net::NetError;

/// How far is gone back at first where nobody knows how far it is; at most ten times as far each time after that.
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
            Some(replay) if replay.is_over() => return Ok(false),
            Some(replay) => replay,
            None => match self.begin_replay(snapshot, folder, until).await? {
                Some(replay) => replay,
                None => {
                    self.reaches = false;
                    self.coming = None;
                    return Ok(false);
                }
            },
        };
        let from = replay.known();
        let (enough, to) = match until {
            Some(_) => (usize::MAX, usize::MAX),
            // Most questions are about what was changed last. Others are asked again, and each time it is twice as far.
            None => ((from * 2).max(FIRST_REACH), (from * 10).max(FIRST_REACH)),
        };
        let mut rounds = 0;
        loop {
            match replay.go_back(&self.store, guess, (from, enough, to))? {
                Went::There => {
                    self.replay = Some(replay);
                    return Ok(true);
                }
                Went::Short(needed) if self.take_more(&mut replay, needed).await? => {}
                Went::Needs(commits) if rounds < MOST_ROUNDS => {
                    rounds += 1;
                    if !self.fetch_folders(&commits, 1, replay.fetched()).await? {
                        break;
                    }
                }
                Went::Short(_) | Went::Needs(_) | Went::Lost => break,
            }
        }
        self.reaches = false;
        self.coming = None;
        Ok(false)
    }

    /// Takes in so many of the commits that are on their way; says whether they are of use.
    async fn take_more(&mut self, replay: &mut Replay, needed: usize) -> Result<bool, RemoteError> {
        let Some(mut coming) = self.coming.take() else {
            return Ok(false);
        };
        // Only over HTTP is nobody held up by what waits to be read.
        let needed = match self.link.is_stateless() {
            true => needed,
            false => usize::MAX,
        };
        let came = self.within_limit(async {
            while replay.last() < needed {
                match self.take_commits(&mut coming, replay.commits()).await? {
                    Came::Some if replay.lengthen() => {}
                    Came::All => return Ok((replay.all_came(), false)),
                    Came::Some | Came::Unfit => return Ok((false, false)),
                }
            }
            Ok((true, true))
        });
        let (is_of_use, more_to_come) = came.await?;
        self.coming = more_to_come.then_some(coming);
        Ok(is_of_use)
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
        &mut self,
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
        self.coming = self.within_limit(self.ask_for_commits(end)).await?;
        let Ok(commits) = Commits::new(&self.store.place_for_temporary()) else {
            return Ok(None);
        };
        let head = snapshot.commit;
        let replay = Replay::new(folder, head, commits, &self.store, fetched);
        Ok(replay.filter(|_| self.coming.is_some()))
    }
}
