//! What we may do: push to the branch, and take a place in line.

use std::cell::Cell;

use uuid::Uuid;

use super::{Findings, Health, Settings, advice};
use crate::attempt::{component, refs_of_branch};
use crate::concourse::Source;
use crate::message;
use git::{Identity, PushAnswer, RefUpdate, Remote, RemoteError, Snapshot};
use terminal::chain;

/// Tries it; `None` where nothing further can be looked at.
pub(super) async fn rights(
    remote: &Remote,
    snapshot: &Snapshot,
    source: &Source,
    settings: &Settings,
    identity: &Identity,
    findings: &mut Findings,
) -> Option<()> {
    match remote.may_begin_push().await {
        Ok(true) => findings.fine(
            "atomic",
            "several refs can be changed as one: a grant takes its ticket away with it",
        ),
        Ok(false) => findings.warning(
            "atomic",
            "several refs cannot be changed as one",
            "nothing to do: tickets are taken away one request later",
        ),
        Err(err) => {
            let (_, advice) = advice(&err);
            findings.problem("push", chain(&err), advice);
            return None;
        }
    }
    let refused = ticket(remote, source).await;
    match &refused {
        Ok(None) => findings.fine("line", "a ticket can be pushed and taken away"),
        Ok(Some(reason)) => findings.warning(
            "line",
            format!(
                "tickets below `{}` are refused: {reason}",
                refs_of_branch(&source.branch)
            ),
            "allow refs below refs/pool-queue/: without them those who wait are served in no order",
        ),
        Err(err) => findings.warning("line", chain(err), "try again"),
    }
    if !settings.push {
        findings.add(
            "push",
            Health::Untried,
            format!(
                "whether `{}` itself may be pushed to was not tried",
                source.branch
            ),
            Some("`pool doctor --push` tries it, by a commit that changes no file"),
        );
        return Some(());
    }
    match commit(remote, snapshot, settings, identity).await {
        Ok(PushAnswer::Accepted { .. }) => {
            findings.fine("push", format!("`{}` was pushed to", source.branch));
        }
        Ok(PushAnswer::Moved) => findings.warning(
            "push",
            format!(
                "`{}` moved meanwhile, so that nothing was pushed",
                source.branch
            ),
            "try again",
        ),
        Ok(PushAnswer::Rejected { reason, words }) => findings.problem(
            "push",
            format!("`{}` takes no push: {reason} {words}", source.branch),
            "see what protects the branch: its rules, a hook, the rights of the credentials",
        ),
        Err(err) => {
            let (_, advice) = advice(&err);
            findings.problem("push", chain(&err), advice);
        }
    }
    Some(())
}

/// Makes a ref where tickets are and takes it away again; gives the server's reason when it does not let us.
async fn ticket(remote: &Remote, source: &Source) -> Result<Option<String>, RemoteError> {
    // No ticket's name, so that nobody takes it for one.
    let name = format!(
        "{}{}/doctor-{}",
        refs_of_branch(&source.branch),
        component(source.pool.as_str()),
        Uuid::new_v4()
    );
    let blob = remote.store().make_blob(b"pool doctor\n")?;
    let pack = remote.store().pack(&[blob])?;
    let make = RefUpdate {
        name: name.clone(),
        old: None,
        new: Some(blob),
    };
    if let Some(reason) = remote.update_refs(&[make], &pack).await? {
        return Ok(Some(reason));
    }
    let take_away = RefUpdate {
        name,
        old: Some(blob),
        new: None,
    };
    remote.update_refs(&[take_away], &[]).await
}

/// Pushes a commit with the files of the one before.
async fn commit(
    remote: &Remote,
    snapshot: &Snapshot,
    settings: &Settings,
    identity: &Identity,
) -> Result<PushAnswer, RemoteError> {
    let trailers = [(message::REQUEST, Uuid::new_v4().to_string())];
    let text = message::text(&settings.origin, "tries whether it may push", &trailers);
    let store = remote.store();
    let (commit, made) = store.make_commit(snapshot.commit, &[], &text, identity)?;
    let pack = store.pack(&made)?;
    let sent = Cell::new(false);
    remote
        .push(snapshot.commit, commit, &pack, &[], &sent)
        .await
}
