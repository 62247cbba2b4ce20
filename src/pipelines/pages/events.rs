//! What an open page is told: that something has changed, and what a log has that is new.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use futures_util::stream;
use page::answer::{Answer, Sent};
use page::{encoded, live};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::door::Signed;
use super::log::{STREAMS, names};
use super::tail::Follower;
use super::words::or;
use super::{Pages, SITE, error};
use crate::job::{Job, JobId};
use crate::view::View;

/// What a page shows.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// Lists of many jobs.
    All,
    /// One job.
    Job(JobId),
    /// The log of a task.
    Log(JobId, String),
}

impl Scope {
    /// A number that differs when what is shown does.
    fn state(&self, view: &View) -> u64 {
        let seen = view.look();
        let mut hash = DefaultHasher::new();
        match self {
            Scope::All => (seen.newest(), Arc::as_ptr(&seen.definitions) as usize).hash(&mut hash),
            Scope::Job(id) | Scope::Log(id, _) => match seen.job(*id) {
                Some(job) => hash_of(job, &mut hash),
                None => 0.hash(&mut hash),
            },
        }
        hash.finish()
    }
}

impl Scope {
    /// Whether it is a log to which nothing more is written.
    fn is_over(&self, view: &View) -> bool {
        let Scope::Log(id, task) = self else {
            return false;
        };
        let seen = view.look();
        let task = seen.job(*id).and_then(|job| job.task(task));
        task.is_none_or(|task| task.status.is_over())
    }
}

fn hash_of(job: &Job, hash: &mut DefaultHasher) {
    (
        job.phase().name(),
        job.start.map(|time| time.0),
        job.end.map(|time| time.0),
    )
        .hash(hash);
    (&job.last_error, format!("{:?}", job.hold)).hash(hash);
    for task in &job.tasks {
        (
            task.status.name(),
            task.attempt,
            &task.error,
            format!("{:?}", task.hold),
        )
            .hash(hash);
        (task.start.map(|time| time.0), task.end.map(|time| time.0)).hash(hash);
    }
}

/// Where a page that shows this is told of changes. It has to be asked for before the page looks at what it shows: what
/// changes in between is told then.
pub(super) fn path(pages: &Pages, _signed: &Signed, scope: &Scope) -> String {
    let state = scope.state(&pages.api.view);
    let what = match scope {
        Scope::All => String::new(),
        Scope::Job(id) => format!("&id={id}"),
        Scope::Log(id, task) => format!("&id={id}&task={}", encoded(task)),
    };
    SITE.path(&format!("/events?state={state}{what}"))
}

pub(super) async fn events(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    or(stream(&pages, &signed, &sent))
}

fn stream(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Answer, Answer> {
    let none = || {
        error(
            StatusCode::NOT_FOUND,
            "There is no such job, or no such task of it",
        )
    };
    let mut followers = Vec::new();
    let scope = match sent.text("id") {
        None => Scope::All,
        Some(id) => {
            let id = JobId::try_parse(id).map_err(|_| none())?;
            let job = pages.api.view.look().job(id).cloned();
            let job = job
                .filter(|job| signed.claims.may_see(&job.pipeline))
                .ok_or_else(none)?;
            match sent.get("task") {
                None => Scope::Job(id),
                Some(task) => {
                    job.task(task).ok_or_else(none)?;
                    for stream in STREAMS {
                        let from = sent.text(&format!("from.{}", names(stream).id));
                        if let Some(line) = from.and_then(|line| line.parse().ok()) {
                            followers.push(pages.tails.get(id, task, stream).follow(line));
                        }
                    }
                    Scope::Log(id, task.to_owned())
                }
            }
        }
    };
    let known = sent.text("state").and_then(|state| state.parse().ok());
    let viewer = Viewer {
        view: pages.api.view.clone(),
        wake: pages.api.view.changes(),
        queue: VecDeque::from([Bytes::from_static(b": begins\n\n")]),
        scope,
        known,
        followers,
        told: None,
    };
    Ok(live::answer(Body::from_stream(stream::unfold(
        viewer,
        async |mut viewer| {
            let piece = viewer.next().await?;
            Some((Ok::<_, Infallible>(piece), viewer))
        },
    ))))
}

struct Viewer {
    view: Arc<View>,
    wake: watch::Receiver<u64>,
    queue: VecDeque<Bytes>,
    scope: Scope,
    known: Option<u64>,
    followers: Vec<Follower>,
    /// When it was last told of a change.
    told: Option<Instant>,
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.queue.pop_front() {
                return Some(piece);
            }
            // Before the state: what a task has written is sent before its end is told.
            self.wake.mark_unchanged();
            let state = self.scope.state(&self.view);
            for follower in &mut self.followers {
                if let Some(event) = follower.event().await {
                    self.queue.push_back(event);
                }
            }
            let pause = self
                .told
                .map(|told| told + live::PAUSE)
                .filter(|end| *end > Instant::now());
            // The page closes its connection when it hears of the end.
            let has_all =
                !self.scope.is_over(&self.view) || self.followers.iter().all(Follower::is_done);
            if self.known != Some(state) && pause.is_none() && has_all {
                self.known = Some(state);
                self.told = Some(Instant::now());
                self.queue
                    .push_back(live::event("changed", &state.to_string()).into());
            }
            if self.queue.is_empty() {
                let is_late = self.known != Some(state);
                match timeout(live::SILENCE, self.wait(pause.filter(|_| is_late))).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(_) => return Some(Bytes::from_static(live::NOTHING.as_bytes())),
                }
            }
        }
    }

    /// Waits until there may be something new, or until it may be told. `false` when there will not be.
    async fn wait(&mut self, until: Option<Instant>) -> bool {
        let mut followers = self.followers.iter_mut();
        let (first, second) = (followers.next(), followers.next());
        let lines = async |follower: Option<&mut Follower>| match follower {
            Some(follower) => follower.wait().await,
            None => std::future::pending().await,
        };
        let pause = async {
            match until {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.wake.changed(), if until.is_none() => changed.is_ok(),
            () = lines(first) => true,
            () = lines(second) => true,
            () = pause => true,
        }
    }
}
