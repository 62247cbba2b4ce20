//! What we may do: push to the branch, and take a place in line.

use std::cell::Cell;
use std::time::SystemTime;

use uuid::Uuid;

use super::{Findings, Health, Settings, advice};
use crate::attempt::{component, next_number, refs_of_branch};
use crate::concourse::Source;
use crate::message;
use git::object::Oid;
use git::{Identity, Interest, Note, Pack, PushAnswer, RefUpdate, Remote, RemoteError, Snapshot};
use terminal::chain;

/// Tries it; `None` where nothing further can be looked at.
pub(super) async fn rights(
    remote: &mut Remote,
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
    match ticket(remote, source, identity).await {
        Ok(None) => findings.fine("line", "a ticket can be made, listed, moved and taken away"),
        Ok(Some(lacking)) => {
            let (found, advice) = lacking.told(&refs_of_branch(&source.branch));
            findings.warning("line", found, advice);
        }
        Err(err) => findings.warning("line", chain(&err), "try again"),
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

/// What a line needs and the server does not let us do.
enum Lacking {
    Make(String),
    List,
    Move(String),
    Delete(String),
}

impl Lacking {
    /// What was found, and what to do about it.
    fn told(&self, refs: &str) -> (String, &'static str) {
        match self {
            Lacking::Make(reason) => (
                format!("tickets below `{refs}` are refused: {reason}"),
                "allow refs below refs/pool-queue/: without them those who wait are served in no order",
            ),
            Lacking::List => (
                format!("tickets below `{refs}` are taken, and not listed"),
                "list refs below refs/pool-queue/ too: without that those who wait are served in no order",
            ),
            Lacking::Move(reason) => (
                format!("tickets below `{refs}` cannot be moved: {reason}"),
                "allow fast-forwards of refs below refs/pool-queue/: without them those who wait are served in no order",
            ),
            Lacking::Delete(reason) => (
                format!("tickets below `{refs}` cannot be taken away: {reason}"),
                "allow refs below refs/pool-queue/ to be deleted: otherwise those who wait are served in no order once one has left",
            ),
        }
    }
}

/// How often the trial is begun anew when somebody else does the same.
const TRIES: usize = 3;

/// Does with a ref what waiters do with their tickets, and takes it away again; gives the first thing that the server does
/// not let us do. It is always the same ref: where it cannot be taken away, the next doctor goes on with it.
async fn ticket(
    remote: &mut Remote,
    source: &Source,
    identity: &Identity,
) -> Result<Option<Lacking>, RemoteError> {
    // No ticket's name, so that nobody takes it for one.
    const NAME: &str = "doctor";
    let start = format!(
        "{}{}/",
        refs_of_branch(&source.branch),
        component(source.pool.as_str())
    );
    remote.watch(&start);
    let mut at = listed(remote, NAME).await?;
    for _ in 0..TRIES {
        let was_there = at.is_some();
        let (first, refused) = change(remote, &start, at, identity).await?;
        if let Some(reason) = refused {
            match listed(remote, NAME).await? {
                now if now == at && was_there => return Ok(Some(Lacking::Move(reason))),
                now if now == at => return Ok(Some(Lacking::Make(reason))),
                now => at = now,
            }
            continue;
        }
        let is_listed = listed(remote, NAME).await?.is_some();
        let (second, moved) = change(remote, &start, Some(first), identity).await?;
        let take_away = RefUpdate {
            name: format!("{start}{NAME}"),
            old: Some(if moved.is_none() { second } else { first }),
            new: None,
        };
        let deleted = remote.update_refs(&[take_away], &[]).await?;
        return Ok(match (is_listed, moved, deleted) {
            (false, ..) => Some(Lacking::List),
            (_, Some(reason), _) => Some(Lacking::Move(reason)),
            (_, _, Some(reason)) => Some(Lacking::Delete(reason)),
            (true, None, None) => None,
        });
    }
    Ok(None)
}

/// Where a watched ref is.
async fn listed(remote: &mut Remote, name: &str) -> Result<Option<Oid>, RemoteError> {
    let (listing, _) = remote.look(false, &|_| Interest::Nothing).await?;
    Ok(listing.watched.get(name).copied())
}

/// Makes the doctor's ref, or moves it on; gives where it then is, and the server's reason when it does not let us.
async fn change(
    remote: &Remote,
    start: &str,
    old: Option<Oid>,
    identity: &Identity,
) -> Result<(Oid, Option<String>), RemoteError> {
    let message = format!("pool doctor\n\n{}: {}\n", message::REQUEST, Uuid::new_v4());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let (new, objects) = remote.store().make_note(&Note {
        after: old,
        message: &message,
        identity,
        time: now.map_or(0, |now| now.as_secs()),
    })?;
    let update = RefUpdate {
        name: format!("{start}doctor"),
        old,
        new: Some(new),
    };
    let pack = remote.store().pack(&objects)?;
    Ok((new, remote.update_refs(&[update], &pack).await?))
}

/// Pushes a commit with the files of the one before.
async fn commit(
    remote: &Remote,
    snapshot: &Snapshot,
    settings: &Settings,
    identity: &Identity,
) -> Result<PushAnswer, RemoteError> {
    let number = next_number(remote, snapshot.commit)?;
    let trailers = [
        (message::REQUEST, Uuid::new_v4().to_string()),
        (message::NUMBER, number.to_string()),
    ];
    let text = message::text(&settings.origin, "tries whether it may push", &trailers);
    let store = remote.store();
    let (commit, made) = store.make_commit(snapshot.commit, &[], &text, identity)?;
    let sent = Cell::new(false);
    remote
        .push(snapshot.commit, commit, &Pack::Of(made), &[], &sent)
        .await
}
