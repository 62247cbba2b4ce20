//! The past of all pools of a branch, read once and gone on with; and what locks say, for those who show it.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings, Viewer, Which};
use crate::attempt;
use crate::concourse::Source;
use crate::lock::{Holding, LockName, PoolName};
use crate::past::chronicle::Chronicle;
use crate::past::{self, Hold};
use git::object::Oid;
use git::{Depth, Files, HistoryError, Remote, Snapshot, Store};

/// The longest metadata that is shown, in bytes.
pub const MOST_SHOWN: usize = 16 * 1024;

/// What locks say, by the file: those that do not change are read once.
pub type Known = HashMap<Oid, Arc<str>>;

/// Reads the whole past of a branch, over connections of its own: by its commits alone where the server can leave folders out,
/// else by everything but the files.
///
/// It takes seconds of processor time where the history is long.
///
/// # Errors
/// [`StepError`].
pub async fn whole_past(
    source: &Source,
    which: Which,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Chronicle, StepError> {
    let about = |pool: &PoolName| which == Which::All || *pool == source.pool;
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let limit = ready.pace.fault_limit;
    let never = CancellationToken::new();
    let mut depth = Depth::RECENT;
    let mut is_untried = true;
    loop {
        let snapshot = attempt::snapshot(&mut remote, depth, limit, &never, log).await?;
        match by_folders(&remote, &snapshot, &about) {
            Ok(chronicle) => return Ok(chronicle),
            Err(err) => depth = attempt::deeper(snapshot.depth, err)?,
        }
        if std::mem::take(&mut is_untried)
            && attempt::work_out(&mut remote, &snapshot, limit, &never, log).await?
            && let Ok(chronicle) = worked_out(&remote, &snapshot, &about)
        {
            return Ok(chronicle);
        }
    }
}

fn begun(remote: &Remote, snapshot: &Snapshot) -> Result<Chronicle, HistoryError> {
    let newest = remote.history(snapshot).commit(snapshot.commit)?.time;
    Ok(Chronicle::new(snapshot.commit, newest))
}

fn by_folders(
    remote: &Remote,
    snapshot: &Snapshot,
    about: &dyn Fn(&PoolName) -> bool,
) -> Result<Chronicle, HistoryError> {
    let mut chronicle = begun(remote, snapshot)?;
    let history = remote.history(snapshot);
    past::holds_since(&history, None, about, &mut |id, commit, begun| {
        chronicle.before(id, commit.time, &begun);
        ControlFlow::Continue(())
    })?;
    Ok(chronicle)
}

fn worked_out(
    remote: &Remote,
    snapshot: &Snapshot,
    about: &dyn Fn(&PoolName) -> bool,
) -> Result<Chronicle, HistoryError> {
    let mut chronicle = begun(remote, snapshot)?;
    let history = remote.history(snapshot);
    past::holds_worked_out(&history, about, &mut |id, commit, begun| {
        chronicle.before(id, commit.time, &begun);
    })?;
    Ok(chronicle)
}

impl Viewer {
    /// Has faults told at once, and not ridden out: for those who look again soon anyway.
    pub fn tell_faults_at_once(&mut self) {
        self.pace.fault_limit = Duration::ZERO;
    }

    /// Has the metadata of locks fetched with them.
    pub fn want_metadata(&mut self) {
        self.remote.want_files(Files::Small(MOST_SHOWN));
    }

    /// Goes on with what is known of the past, up to the last look; says whether that was possible. It was not if the branch was
    /// rewritten, or if too much has happened.
    ///
    /// # Errors
    /// [`StepError`].
    pub async fn follow(
        &mut self,
        chronicle: &mut Chronicle,
        log: &mut dyn Write,
    ) -> Result<bool, StepError> {
        let Some(mut snapshot) = self.snapshot else {
            return Ok(true);
        };
        let never = CancellationToken::new();
        while snapshot.commit != chronicle.head {
            let mut found: Vec<Hold> = Vec::new();
            let mut commits = 0;
            let history = self.remote.history(&snapshot);
            let until = Some(chronicle.head);
            let about = |pool: &PoolName| self.which == Which::All || *pool == self.pool;
            let walked = past::holds_since(&history, until, &about, &mut |_, _, begun| {
                found.extend(begun);
                commits += 1;
                ControlFlow::Continue(())
            });
            match walked {
                Ok(rest) if rest.is_there => {
                    let newest = history.commit(snapshot.commit);
                    let newest = newest.map_err(super::status::at_the_head)?.time;
                    chronicle.go_on(snapshot.commit, newest, commits, rest, found);
                    break;
                }
                Ok(_) => return Ok(false),
                Err(HistoryError::Truncated) if snapshot.depth >= Depth::LONG => return Ok(false),
                Err(err) => {
                    let deeper = attempt::deeper(snapshot.depth, err)?;
                    let limit = self.pace.fault_limit;
                    let fetched =
                        attempt::snapshot(&mut self.remote, deeper, limit, &never, log).await?;
                    snapshot = fetched;
                }
            }
        }
        Ok(true)
    }

    /// What the locks of these pools say, as far as it is text and not too long. `known` is what was read before.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn metadata<'a>(
        &self,
        pools: impl IntoIterator<Item = &'a PoolName>,
        known: &mut Known,
    ) -> Result<BTreeMap<(PoolName, LockName), Arc<str>>, StepError> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(BTreeMap::new());
        };
        let history = self.remote.history(snapshot);
        let mut found = BTreeMap::new();
        let mut now = Known::new();
        for pool in pools {
            for holding in [Holding::Unclaimed, Holding::Claimed] {
                let listed = history.list(snapshot.commit, &pool.folder(holding));
                for file in listed.map_err(super::status::at_the_head)? {
                    let name = std::str::from_utf8(&file.name).ok();
                    let name = name.and_then(|name| LockName::new(name).ok());
                    let (Some(name), true) = (name, file.entry.mode.is_blob()) else {
                        continue;
                    };
                    let id = file.entry.id;
                    let text = match known.get(&id) {
                        Some(text) => Some(text.clone()),
                        None => self.text(id)?,
                    };
                    if let Some(text) = text {
                        now.insert(id, text.clone());
                        found.insert((pool.clone(), name), text);
                    }
                }
            }
        }
        *known = now;
        Ok(found)
    }

    fn text(&self, file: Oid) -> Result<Option<Arc<str>>, StepError> {
        let store = self.remote.store();
        if !store.has(file) {
            return Ok(None);
        }
        let bytes = store.small_blob(file, MOST_SHOWN)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(Arc::from))
    }
}
