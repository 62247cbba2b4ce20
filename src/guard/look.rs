//! Readings from GitLab, and which way the token lets us read.
//!
//! **By the list of pipelines**, with a private token: one list for each status that matches, then the jobs of each
//! pipeline that matches. **By the list of jobs**, with the token of the job, which may not list pipelines: the jobs of the
//! project that are not over, each with its pipeline. **Without a token**, where the project is public.
//!
//! Which of them works depends on the server. They are tried in this order, and the first that works is kept.

mod kin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use gitlab::{Gitlab, GitlabError, Job, Pipeline, Project, status};
use pace::Fault;

use crate::pattern::{GuardedJobs, Pattern};
use crate::rule::{Guarded, Jobs, Kin, Other, Own, Reading};
use crate::wait::Look;

/// Which pipelines match.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Where the ref is matched.
    pub refs: Pattern,
    /// Where the status is matched.
    pub statuses: Pattern,
    /// Which jobs are guarded.
    pub jobs: GuardedJobs,
}

impl Filter {
    /// The statuses of GitLab that match, in the order in which a pipeline goes through them.
    pub fn known_statuses(&self) -> Vec<&'static str> {
        let all = status::OF_PIPELINES.into_iter();
        all.filter(|status| self.statuses.matches(status)).collect()
    }

    fn has(&self, pipeline: &Pipeline) -> bool {
        self.statuses.matches(&pipeline.status) && self.refs.matches(&pipeline.ref_name)
    }
}

/// One way to read.
#[derive(Debug)]
pub enum Way {
    /// By the list of pipelines.
    Pipelines(Gitlab),
    /// By the list of jobs.
    Jobs(Gitlab),
}

impl Way {
    fn gitlab(&self) -> &Gitlab {
        match self {
            Way::Pipelines(gitlab) | Way::Jobs(gitlab) => gitlab,
        }
    }
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// GitLab cannot be read.
    #[error(transparent)]
    Gitlab(#[from] GitlabError),
    /// No way to read is open to us.
    #[error(
        "this GitLab lets no job token read: {by_jobs}; and {public}; set PRIVATE_TOKEN to a token with the scope `read_api`"
    )]
    Closed {
        /// What it says of the list of jobs.
        by_jobs: String,
        /// What it says without a token.
        public: Box<GitlabError>,
    },
}

impl Fault for LookError {
    fn is_transient(&self) -> bool {
        match self {
            LookError::Gitlab(err) => err.is_transient(),
            LookError::Closed { .. } => false,
        }
    }
}

/// Reads one project of one GitLab.
pub struct Eyes {
    /// The ways that are left to try; the first is the one in use.
    ways: Vec<Way>,
    /// What the ways said that are tried no more.
    refused: Option<String>,
    project: Project,
    filter: Filter,
    own: Own,
    /// Whether our pipeline was started by another one.
    is_child: bool,
    /// The guarded jobs of our own pipeline, when no more of them can start.
    known: Option<Jobs>,
}

impl Eyes {
    /// Reads by the first of these ways that works.
    pub fn new(ways: Vec<Way>, project: Project, filter: Filter, own: Own, is_child: bool) -> Eyes {
        Eyes {
            ways,
            refused: None,
            project,
            filter,
            own,
            is_child,
            known: None,
        }
    }

    async fn read(&mut self) -> Result<Reading, GitlabError> {
        let Some(way) = self.ways.first() else {
            return Ok(Reading {
                own: Jobs::Unknown,
                is_listed: true,
                others: Vec::new(),
                date: None,
            });
        };
        let gitlab = way.gitlab();
        let (pipelines, active, date) = match way {
            Way::Pipelines(gitlab) => {
                let (pipelines, date) = self.pipelines(gitlab).await?;
                (pipelines, None, date)
            }
            Way::Jobs(gitlab) => {
                let heard = gitlab.active_jobs(&self.project).await?;
                let (pipelines, jobs) = by_pipeline(heard.value);
                (pipelines, Some(jobs), heard.date)
            }
        };
        let is_listed = match pipelines.contains_key(&self.own.pipeline) {
            true => true,
            false => self.need_not_be_listed(way).await?,
        };
        let own = match &self.known {
            Some(known) => known.clone(),
            None => {
                self.guarded(gitlab, self.own.pipeline, active.as_ref())
                    .await?
            }
        };
        let mut others = Vec::new();
        let matching = pipelines.into_values().filter(|one| self.filter.has(one));
        for pipeline in matching.filter(|one| one.id != self.own.pipeline) {
            let jobs = self.guarded(gitlab, pipeline.id, active.as_ref()).await?;
            // The list of jobs lacks those that start other pipelines, and so a pipeline that waits for its child.
            let is_of_parent =
                active.is_some() && !self.is_child && pipeline.source == "parent_pipeline";
            let jobs = match jobs {
                Jobs::Read(jobs) if jobs.is_empty() && is_of_parent => Jobs::Over,
                jobs => jobs,
            };
            others.push(Other {
                pipeline,
                jobs,
                kin: Kin::None,
            });
        }
        if self.is_child {
            kin::find(gitlab, &self.project, self.own.pipeline, &mut others).await?;
        }
        if let Jobs::Read(jobs) = &own
            && let [only] = jobs.as_slice()
            && only.started.is_some()
            // An old answer may have an earlier try of our job.
            && self.own.job.is_none_or(|id| id == only.id)
            && !self.own.takes_turns
        {
            self.known = Some(own.clone());
        }
        Ok(Reading {
            own,
            is_listed,
            others,
            date,
        })
    }

    /// The pipelines with a status that matches. One that goes on from one status to the next meanwhile is in it.
    async fn pipelines(
        &self,
        gitlab: &Gitlab,
    ) -> Result<(BTreeMap<u64, Pipeline>, Option<SystemTime>), GitlabError> {
        let mut found = BTreeMap::new();
        let mut date = None;
        for status in self.filter.known_statuses() {
            for of_parents in [false, true] {
                if of_parents && !self.is_child {
                    continue;
                }
                let heard = gitlab.pipelines(&self.project, status, of_parents).await?;
                date = date.or(heard.date);
                found.extend(heard.value.into_iter().map(|one| (one.id, one)));
            }
        }
        Ok((found, date))
    }

    /// Whether our own pipeline is rightly not in the lists: they are of other statuses, or we are not in a pipeline.
    async fn need_not_be_listed(&self, way: &Way) -> Result<bool, GitlabError> {
        if self.filter.jobs.is_empty() {
            return Ok(true);
        }
        if matches!(way, Way::Jobs(_)) {
            // The list has our own job in it as soon as it has started.
            return Ok(self.own.job.is_none());
        }
        match way
            .gitlab()
            .pipeline(&self.project, self.own.pipeline)
            .await
        {
            Ok(own) => Ok(!self.filter.statuses.matches(&own.status)),
            Err(err) if err.is_refusal() => Ok(true),
            Err(err) => Err(err),
        }
    }

    /// The guarded jobs of a pipeline; `active` are those jobs of all pipelines that are not over, if they are known.
    async fn guarded(
        &self,
        gitlab: &Gitlab,
        pipeline: u64,
        active: Option<&BTreeMap<u64, Vec<Job>>>,
    ) -> Result<Jobs, GitlabError> {
        if self.filter.jobs.is_empty() {
            return Ok(Jobs::Unknown);
        }
        let only_guarded = |jobs: Vec<Job>| {
            let jobs = jobs
                .into_iter()
                .filter(|job| self.filter.jobs.has(&job.name));
            jobs.map(Guarded::from).collect::<Vec<_>>()
        };
        match gitlab.jobs_of(&self.project, pipeline).await {
            Ok(heard) => Ok(Jobs::Read(only_guarded(heard.value))),
            Err(err) if err.is_refusal() => Ok(match active {
                None => Jobs::Unreadable,
                Some(active) => {
                    let jobs = active.get(&pipeline).cloned().unwrap_or_default();
                    match only_guarded(jobs) {
                        jobs if jobs.is_empty() => Jobs::Over,
                        jobs => Jobs::Read(jobs),
                    }
                }
            }),
            Err(err) => Err(err),
        }
    }
}

impl Look for Eyes {
    async fn look(&mut self) -> Result<Reading, LookError> {
        loop {
            let err = match self.read().await {
                Ok(reading) => {
                    // What works is kept.
                    self.ways.truncate(1);
                    return Ok(reading);
                }
                Err(err) => err,
            };
            if !err.is_refusal() {
                return Err(err.into());
            }
            if self.ways.len() > 1 {
                self.ways.remove(0);
                self.refused = Some(terminal::chain(&err));
                continue;
            }
            return Err(match self.refused.clone() {
                Some(by_jobs) => LookError::Closed {
                    by_jobs,
                    public: Box::new(err),
                },
                None => err.into(),
            });
        }
    }
}

/// Jobs by their pipelines.
fn by_pipeline(jobs: Vec<Job>) -> (BTreeMap<u64, Pipeline>, BTreeMap<u64, Vec<Job>>) {
    let mut pipelines = BTreeMap::new();
    let mut found: BTreeMap<u64, Vec<Job>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for job in jobs {
        let Some(pipeline) = job.pipeline.clone() else {
            continue;
        };
        // One that moved to the next page while we read is on both.
        if seen.insert(job.id) {
            found.entry(pipeline.id).or_default().push(job);
        }
        pipelines.insert(pipeline.id, pipeline);
    }
    (pipelines, found)
}
