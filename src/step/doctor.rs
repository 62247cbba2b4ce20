//! Whether everything is in order, found out by trying: as much as can be without changing anything that others see.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use uuid::Uuid;

use super::{Ready, StepError, Surroundings};
use crate::attempt::{component, refs_of_branch};
use crate::concourse::Source;
use crate::git::{
    Depth, History, HostKeys, Identity, Interest, Location, PushAnswer, RefUpdate, Remote,
    RemoteError, Snapshot, Store,
};
use crate::lock::{Holding, LockName, PoolName};
use crate::message::{self, Origin};
use crate::object::{Mode, Named};
use crate::past;
use crate::pool::{Pool, State};
use crate::report::{at, chain, length, one_line};

/// A clock may be wrong by so much before it is worth a word.
const CLOCK: Duration = Duration::from_secs(60);

/// How many of a kind are named.
const NAMED: usize = 5;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// In order.
    Fine,
    /// It was not tried.
    Untried,
    /// It works, and could be better.
    Warning,
    /// It does not work.
    Problem,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// About what: one word, which does not change from release to release.
    pub about: &'static str,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// What a doctor is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the pool of the source is meant, and not just any.
    pub has_pool: bool,
    /// Whether to push to the branch: a commit that changes no file.
    pub push: bool,
    /// Who does that.
    pub origin: Origin,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, about: &'static str, health: Health, found: String, advice: Option<&str>) {
        self.0.push(Finding {
            about,
            health,
            found: one_line(&found),
            advice: advice.map(str::to_owned),
        });
    }

    fn fine(&mut self, about: &'static str, found: impl Into<String>) {
        self.add(about, Health::Fine, found.into(), None);
    }

    fn warning(&mut self, about: &'static str, found: impl Into<String>, advice: &str) {
        self.add(about, Health::Warning, found.into(), Some(advice));
    }

    fn problem(&mut self, about: &'static str, found: impl Into<String>, advice: &str) {
        self.add(about, Health::Problem, found.into(), Some(advice));
    }
}

/// Looks at everything in turn, and goes on for as long as the next thing can be looked at. Nothing is tried twice.
pub async fn doctor(source: &Source, settings: &Settings, around: &Surroundings) -> Vec<Finding> {
    let mut findings = Findings::default();
    // What cannot be looked at is a finding of its own already.
    let _ = examine(source, settings, around, &mut findings).await;
    findings.0
}

/// `None` where nothing further can be looked at.
async fn examine(
    source: &Source,
    settings: &Settings,
    around: &Surroundings,
    findings: &mut Findings,
) -> Option<()> {
    let mut notes = Vec::new();
    let (ready, mut remote) = match prepared(source, around, &mut notes) {
        Ok(prepared) => prepared,
        Err(err) => {
            findings.problem("settings", chain(&err), "correct the setting");
            return None;
        }
    };
    for line in String::from_utf8_lossy(&notes).lines() {
        let line = line.strip_prefix("note: ").unwrap_or(line);
        findings.warning("settings", line, "leave it out");
    }
    trust(source, &ready, findings);

    let snapshot = reach(&ready, &mut remote, findings).await;
    if let Some(gateway) = &ready.gateway {
        match gateway.reach().await {
            Ok(()) => findings.fine("metrics", "the Pushgateway is there"),
            Err(err) => findings.warning(
                "metrics",
                chain(&err),
                "metrics are lost until then; nothing else suffers",
            ),
        }
    }
    let snapshot = snapshot?;
    clock(&remote, &snapshot, findings);
    pools(&remote, &snapshot, source, settings, findings);
    rights(
        &remote,
        &snapshot,
        source,
        settings,
        &ready.identity,
        findings,
    )
    .await
}

fn prepared(
    source: &Source,
    around: &Surroundings,
    notes: &mut dyn Write,
) -> Result<(Ready, Remote), StepError> {
    let ready = Ready::new(source, around, notes)?;
    let remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    Ok((ready, remote))
}

/// What can be said of the way before it is gone.
fn trust(source: &Source, ready: &Ready, findings: &mut Findings) {
    match &ready.location {
        Location::Http(url) if url.scheme() == "http" && ready.access.credentials.is_some() => {
            findings.warning(
                "credentials",
                "they are sent over plain http, where anyone on the way can read them",
                "use https",
            );
        }
        Location::Http(_) if source.skip_ssl_verification || ready.access.trust.anyone => {
            findings.warning(
                "certificate",
                "any certificate is taken, so that anyone on the way can read the credentials",
                "give the authority's certificate as `ca_cert` instead",
            );
        }
        _ => {}
    }
}

async fn reach(ready: &Ready, remote: &mut Remote, findings: &mut Findings) -> Option<Snapshot> {
    let transport = match &ready.location {
        Location::Path(_) => "on this machine",
        Location::Git { .. } => "by git://",
        Location::Ssh { .. } => "by ssh",
        Location::Http(url) if url.scheme() == "https" => "by https",
        Location::Http(_) => "by http",
    };
    let started = Instant::now();
    let seen = remote.snapshot(Depth::HEAD).await;
    let first = started.elapsed();
    let notices = remote.take_notices();
    if matches!(ready.location, Location::Ssh { .. }) && !notices.is_empty() {
        for notice in notices {
            let notice = notice.strip_prefix("note: ").unwrap_or(&notice).to_owned();
            let advice = "compare the fingerprint, and give the key as `known_hosts`";
            findings.warning("host-key", notice, advice);
        }
    }
    match seen {
        Ok(snapshot) => {
            let again = Instant::now();
            let _ = remote.look(false, &|_| Interest::Nothing).await;
            findings.fine(
                "server",
                format!(
                    "`{}` is reached {transport}: {} for the first fetch, {} for a look",
                    ready.location,
                    millis(first),
                    millis(again.elapsed())
                ),
            );
            if matches!(ready.location, Location::Ssh { .. })
                && findings.0.iter().all(|finding| finding.about != "host-key")
            {
                let from = match &ready.access.ssh.host_keys {
                    HostKeys::Known { from, .. } => format!(", by {from}"),
                    HostKeys::Any => String::new(),
                };
                findings.fine("host-key", format!("the server's key is known{from}"));
            }
            findings.fine(
                "branch",
                format!("`{}` is at {}", remote.branch(), snapshot.commit),
            );
            Some(snapshot)
        }
        Err(err) => {
            let (about, advice) = advice(&err);
            if about == "branch" {
                findings.fine(
                    "server",
                    format!(
                        "`{}` is reached {transport} in {}",
                        ready.location,
                        millis(first)
                    ),
                );
            }
            findings.problem(about, chain(&err), advice);
            None
        }
    }
}

/// What a failure is about, and what to do.
fn advice(err: &RemoteError) -> (&'static str, &'static str) {
    match err {
        RemoteError::NoBranch { .. } => ("branch", "`pool init` makes it, or name another"),
        RemoteError::Denied { .. } => ("credentials", "check them, and what they may do"),
        RemoteError::Key { .. } => ("credentials", "check the private key and its passphrase"),
        RemoteError::HostKey { .. } => ("host-key", "ask the server's owner which key is right"),
        RemoteError::Certificate { .. } => ("certificate", "give its authority's as `ca_cert`"),
        RemoteError::Proxy { .. } => ("proxy", "ask whoever runs it"),
        RemoteError::Setting(_) => ("settings", "correct the setting"),
        RemoteError::NotFound { .. } | RemoteError::Redirected { .. } => {
            ("server", "check `uri`, and what the credentials may see")
        }
        RemoteError::NoGit(_) => ("server", "install git"),
        RemoteError::Store(_) => ("disk", "make room for temporary files, in $TMPDIR"),
        RemoteError::Unreachable { .. }
        | RemoteError::Ended { .. }
        | RemoteError::Silent { .. }
        | RemoteError::Failed { .. } => (
            "server",
            "check host and port, the network, and whether the server is up",
        ),
        RemoteError::Protocol { .. } => ("server", "check `uri`: is that a Git server?"),
    }
}

fn clock(remote: &Remote, snapshot: &Snapshot, findings: &mut Findings) {
    let Ok(commit) = remote.history(snapshot).commit(snapshot.commit) else {
        return;
    };
    match at(commit.time).duration_since(SystemTime::now()) {
        Ok(ahead) if ahead > CLOCK => findings.warning(
            "clock",
            format!("the newest commit is from {} in the future", length(ahead)),
            "set this machine's clock, or that of whoever made it: leases and ages go by them",
        ),
        _ => findings.fine("clock", "no commit is from the future"),
    }
}

fn pools(
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
) -> Result<(), crate::git::HistoryError> {
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

async fn rights(
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

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
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
