//! The rule: which of the pipelines that match are in our way.
//!
//! Pure: what GitLab says goes in, and out come those to wait for, each with the reason. A pipeline that matches and is
//! not our own
//!
//! 1. is in the way if it is *inside*: a guarded job of it has passed, or all that started are over, and it still runs;
//! 2. else is in the way if its guarded job started *before* ours, by the time that GitLab gives, then by the job's id;
//! 3. else comes after us: its guarded job has not started, or started later;
//! 4. if it has no guarded job, or its jobs cannot be read, is in the way if its id is smaller.
//!
//! A pipeline with several guarded jobs has one place: that of the first of them to start. By rules 2 and 4 nobody waits in a
//! circle, and who is inside waits for nobody.
//!
//! Two kinds of pipelines are never in the way: those that started ours, which wait for us; and, for a child pipeline, those
//! that have no guarded job and started child pipelines, which are in the list themselves.

use std::time::SystemTime;

use gitlab::{Pipeline, status};

/// Who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Our pipeline.
    pub pipeline: u64,
    /// Our job, if we are told.
    pub job: Option<u64>,
    /// Whether the guarded jobs of our own pipeline take turns too.
    pub takes_turns: bool,
}

/// What GitLab says at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The guarded jobs of our own pipeline.
    pub own: Jobs,
    /// Whether our own pipeline is where it should be. If not, the answers are old.
    pub is_listed: bool,
    /// The other pipelines that match.
    pub others: Vec<Other>,
    /// What time it was by the server's clock.
    pub date: Option<SystemTime>,
}

/// A pipeline that matches and is not our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its guarded jobs.
    pub jobs: Jobs,
    /// What it has to do with ours.
    pub kin: Kin,
}

/// What a pipeline has to do with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// Nothing that we know of.
    None,
    /// It started ours, or one that did.
    Ancestor,
    /// It started child pipelines, which are listed as ours is.
    Parent,
}

/// The guarded jobs of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jobs {
    /// Nobody knows which jobs are guarded: we are not in a job.
    Unknown,
    /// They cannot be read.
    Unreadable,
    /// These they are.
    Read(Vec<Guarded>),
    /// None of them is left to run. What has become of them cannot be read.
    Over,
}

/// A guarded job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What has become of it.
    pub state: State,
    /// When a runner took it.
    pub started: Option<SystemTime>,
    /// Who started it.
    pub user: String,
    /// Its page.
    pub web_url: String,
}

/// What has become of a guarded job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It runs, or is still to run.
    #[default]
    Open,
    /// Its pipeline goes on behind it.
    Passed,
    /// It is over, and its pipeline does not go on behind it.
    Failed,
}

impl From<gitlab::Job> for Guarded {
    fn from(job: gitlab::Job) -> Guarded {
        let state = match job.status.as_str() {
            "success" => State::Passed,
            "failed" if job.allow_failure => State::Passed,
            other if status::is_over(other) => State::Failed,
            _ => State::Open,
        };
        Guarded {
            id: job.id,
            name: job.name,
            state,
            started: job.started,
            user: job.user.unwrap_or_default().username,
            web_url: job.web_url,
        }
    }
}

/// A pipeline in our way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its guarded job that counts, if there is one.
    pub job: Option<Guarded>,
    /// Why it is in the way.
    pub why: Why,
}

/// Why a pipeline is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is past its guarded job, and still runs.
    Inside,
    /// Its guarded job started before ours.
    Before,
    /// It has no guarded job, and its id is smaller.
    Older,
    /// Its jobs cannot be read, and its id is smaller.
    OlderUnread,
    /// It matches, and nobody knows which jobs are guarded.
    Matches,
    /// A guarded job of our own pipeline started before ours, and still runs.
    SamePipeline,
}

/// A place in line.
type Place = (SystemTime, u64);

/// The place of a pipeline with these guarded jobs.
fn place(jobs: &[Guarded]) -> Option<(Place, &Guarded)> {
    let started = jobs
        .iter()
        .filter_map(|job| Some(((job.started?, job.id), job)));
    started.min_by_key(|(place, _)| *place)
}

/// Whether a reading is recent enough to show our own job as started. One that is not may lack others too.
pub fn shows_us(own: &Own, reading: &Reading) -> bool {
    let has_started = match (&reading.own, own.job) {
        (Jobs::Read(jobs), Some(id)) => {
            jobs.iter().any(|job| job.id == id && job.started.is_some())
        }
        (Jobs::Read(jobs), None) => place(jobs).is_some(),
        (Jobs::Unknown | Jobs::Unreadable | Jobs::Over, _) => true,
    };
    has_started && reading.is_listed
}

/// When our own job started, by GitLab's clock.
pub fn own_start(own: &Own, reading: &Reading) -> Option<SystemTime> {
    let Jobs::Read(jobs) = &reading.own else {
        return None;
    };
    let ours = jobs
        .iter()
        .filter(|job| own.job.is_none_or(|id| id == job.id));
    ours.filter_map(|job| job.started).max()
}

/// Who is in our way; who came first comes first.
pub fn in_the_way(own: &Own, reading: &Reading) -> Vec<Conflict> {
    let ours = match &reading.own {
        Jobs::Read(jobs) => Some(place(jobs).map(|(place, _)| place)),
        Jobs::Unknown | Jobs::Unreadable | Jobs::Over => None,
    };
    let others = reading
        .others
        .iter()
        .filter(|other| other.pipeline.id != own.pipeline);
    let mut found: Vec<Conflict> = others
        .filter_map(|other| conflict(own, ours, other))
        .collect();
    if own.takes_turns {
        found.extend(same_pipeline(own, reading));
    }
    found.sort_by_key(|conflict| {
        let started = conflict.job.as_ref().and_then(|job| job.started);
        (started.is_none(), started, conflict.pipeline.id)
    });
    found
}

/// Whether this pipeline is in our way; `ours` is our place in line, as far as it is known.
fn conflict(own: &Own, ours: Option<Option<Place>>, other: &Other) -> Option<Conflict> {
    let is_older = other.pipeline.id < own.pipeline;
    let found = |why, job: Option<&Guarded>| {
        Some(Conflict {
            pipeline: other.pipeline.clone(),
            job: job.cloned(),
            why,
        })
    };
    let jobs = match (&other.jobs, other.kin) {
        (_, Kin::Ancestor) => return None,
        (Jobs::Unknown, _) => return found(Why::Matches, None),
        (Jobs::Over, _) => return found(Why::Inside, None),
        (Jobs::Unreadable, _) if is_older => return found(Why::OlderUnread, None),
        (Jobs::Unreadable, _) => return None,
        (Jobs::Read(jobs), Kin::Parent) if jobs.is_empty() => return None,
        (Jobs::Read(jobs), _) if jobs.is_empty() && is_older => return found(Why::Older, None),
        (Jobs::Read(jobs), _) => jobs,
    };
    let passed = jobs.iter().find(|job| job.state == State::Passed);
    let (theirs, first) = match (place(jobs), passed) {
        (_, Some(job)) => return found(Why::Inside, Some(job)),
        (Some((_, first)), None) if jobs.iter().all(|job| job.state != State::Open) => {
            return found(Why::Inside, Some(first));
        }
        (Some(started), None) => started,
        (None, None) => return None,
    };
    match ours {
        Some(Some(ours)) => (theirs < ours).then(|| found(Why::Before, Some(first)))?,
        // We have not been seen to start: whoever has was before us, as far as anybody can tell.
        Some(None) => found(Why::Before, Some(first)),
        // We don't know our own place, and they know ours no better.
        None if is_older => found(Why::OlderUnread, Some(first)),
        None => None,
    }
}

/// The guarded jobs of our own pipeline that started before ours, and still run.
fn same_pipeline(own: &Own, reading: &Reading) -> Vec<Conflict> {
    let Jobs::Read(jobs) = &reading.own else {
        return Vec::new();
    };
    let us = jobs.iter().find(|job| own.job == Some(job.id));
    let ours = us.and_then(|job| Some((job.started?, job.id)));
    let before = jobs.iter().filter(|job| {
        let theirs = job.started.map(|started| (started, job.id));
        own.job != Some(job.id)
            && job.state == State::Open
            && theirs.is_some_and(|theirs| ours.is_none_or(|ours| theirs < ours))
    });
    let conflicts = before.map(|job| Conflict {
        pipeline: Pipeline {
            id: own.pipeline,
            status: "running".to_owned(),
            ..Pipeline::default()
        },
        job: Some(job.clone()),
        why: Why::SamePipeline,
    });
    conflicts.collect()
}

#[cfg(test)]
mod tests;
