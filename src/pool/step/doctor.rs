//! Whether everything is in order, found out by trying: as much as can be without changing anything that others see.

mod circles;
mod pools;
mod rights;

use std::io::Write;
use std::time::{Duration, SystemTime};

use circles::circles;
use pools::pools;
use rights::rights;
use tokio::time::Instant;

use super::{Ready, StepError, Surroundings};
use crate::concourse::Source;
use crate::message::Origin;
use git::{Depth, HostKeys, Interest, Location, Remote, RemoteError, Snapshot, Store};
use net::NetError;
use pace::duration::length;
use terminal::chain;
use terminal::one_line;
use terminal::time::at;

/// A clock may be wrong by so much before it is worth a word.
const CLOCK: Duration = Duration::from_secs(60);

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
    circles(source, settings, around, findings).await;
    rights(
        &mut remote,
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
        Location::Http(_) if source.skip_ssl_verification || ready.access.route.trust.anyone => {
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
        RemoteError::SigningKey { .. } => (
            "signing",
            "check the key that signs commits, and its passphrase",
        ),
        RemoteError::Key { .. } => ("credentials", "check the private key and its passphrase"),
        RemoteError::HostKey { .. } => ("host-key", "ask the server's owner which key is right"),
        RemoteError::Net(NetError::Certificate { .. }) => {
            ("certificate", "give its authority's as `ca_cert`")
        }
        RemoteError::Net(NetError::Proxy { .. }) => ("proxy", "ask whoever runs it"),
        RemoteError::Net(NetError::Setting(_)) => ("settings", "correct the setting"),
        RemoteError::NotFound { .. } | RemoteError::Redirected { .. } => {
            ("server", "check `uri`, and what the credentials may see")
        }
        RemoteError::Behind { .. } => (
            "server",
            "use the uri of the primary, or wait until its replicas have caught up",
        ),
        RemoteError::NoGit(_) => ("server", "install git"),
        RemoteError::Store(_) => ("disk", "make room for temporary files, in $TMPDIR"),
        RemoteError::Nobody { .. }
        | RemoteError::Net(
            NetError::Unreachable { .. }
            | NetError::Ended { .. }
            | NetError::Silent { .. }
            | NetError::Failed { .. }
            | NetError::Busy { .. },
        ) => (
            "server",
            "check host and port, the network, and whether the server is up",
        ),
        RemoteError::Refused { .. } | RemoteError::Unsupported { .. } => {
            ("server", "ask whoever runs it")
        }
        RemoteError::Protocol { .. } | RemoteError::Net(NetError::TooLong { .. }) => {
            ("server", "check `uri`: is that a Git server?")
        }
    }
}

fn clock(remote: &Remote, snapshot: &Snapshot, findings: &mut Findings) {
    let now = SystemTime::now();
    if let Some(server) = remote.server_time() {
        let (apart, which) = match server.duration_since(now) {
            Ok(behind) => (behind, "behind"),
            Err(ahead) => (ahead.duration(), "ahead of"),
        };
        if apart > CLOCK {
            findings.warning(
                "clock",
                format!(
                    "this machine's clock is {} {which} the server's",
                    length(apart)
                ),
                "set this machine's clock: leases and ages go by it",
            );
            return;
        }
    }
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

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
