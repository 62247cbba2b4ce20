//! Whether the pools are as they should be.

use super::{Findings, Settings};
use crate::concourse::Source;
use crate::lock::{Holding, LockName, PoolName};
use crate::past;
use crate::rules::{Pool, State};
use git::object::{Mode, Named};
use git::{History, HistoryError, Remote, Snapshot};
use terminal::chain;

/// How many of a kind are named.
const NAMED: usize = 5;

/// Looks at the pool that is meant, or at all.
pub(super) fn pools(
    remote: &Remote,
    snapshot: &Snapshot,
    source: &Source,
    settings: &Settings,
    findings: &mut Findings,
) {
    let history = remote.history(snapshot);
    let names = match past::pools(&history, snapshot.commit) {
        Ok(names) => names,
        Err(err) => {
            findings.problem("pool", chain(&err), "see what is wrong with the repository");
            return;
        }
    };
    let known: Vec<&str> = names.iter().map(PoolName::as_str).collect();
    match (settings.has_pool, names.contains(&source.pool)) {
        (_, _) if names.is_empty() => {
            findings.problem(
                "pool",
                "there is no pool on the branch",
                "`pool init` makes one",
            );
        }
        (true, false) => findings.problem(
            "pool",
            format!(
                "there is no pool `{}`; there is {}",
                source.pool,
                some(&known)
            ),
            "name one of them, or make it with `pool init`",
        ),
        (true, true) => findings.fine("pool", format!("`{}` is there", source.pool)),
        (false, _) => findings.fine("pool", format!("there is {}", some(&known))),
    }
    let looked_at = names
        .iter()
        .filter(|name| !settings.has_pool || **name == source.pool);
    for name in looked_at {
        if let Err(err) = pool(&history, snapshot, name, findings) {
            findings.problem("pool", chain(&err), "see what is wrong with the repository");
        }
    }
}

/// What is odd about a pool.
fn pool(
    history: &History<'_>,
    snapshot: &Snapshot,
    name: &PoolName,
    findings: &mut Findings,
) -> Result<(), HistoryError> {
    let list = |holding| history.list(snapshot.commit, &name.folder(holding));
    let (claimed, unclaimed) = (list(Holding::Claimed)?, list(Holding::Unclaimed)?);
    for (lock, state) in Pool::new(name.clone(), &claimed, &unclaimed).locks() {
        if let State::Damaged(damage) = state {
            findings.problem(
                "locks",
                format!("`{lock}` in `{name}` is damaged: {damage}"),
                "until then nobody gets it",
            );
        }
    }
    let mut ignored = Vec::new();
    for (holding, files) in [
        (Holding::Claimed, &claimed),
        (Holding::Unclaimed, &unclaimed),
    ] {
        let folder = history.entry(snapshot.commit, &name.folder(holding))?;
        if folder.is_some_and(|folder| folder.mode != Mode::Folder) {
            findings.problem(
                "pool",
                format!("`{}` is not a folder", name.folder(holding)),
                "take it away: nothing can be moved there",
            );
        } else if !files.iter().any(|file| file.name == b".gitkeep") {
            findings.warning(
                "pool",
                format!("`{}` has no `.gitkeep`", name.folder(holding)),
                "the next change makes it; until then other tools may fail when the folder is empty",
            );
        }
        ignored.extend(files.iter().filter_map(not_a_lock));
    }
    if !ignored.is_empty() {
        let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
        findings.warning(
            "locks",
            format!(
                "in `{name}` there is what can be no lock: {}",
                some(&ignored)
            ),
            "give it another name, or take it away",
        );
    }
    Ok(())
}

/// The name of a file that is neither hidden nor a lock's.
fn not_a_lock(file: &Named) -> Option<String> {
    let text = String::from_utf8_lossy(&file.name).into_owned();
    let is_lock = std::str::from_utf8(&file.name).is_ok_and(|name| LockName::new(name).is_ok());
    (!is_lock && !text.starts_with('.')).then_some(text)
}

fn some(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
