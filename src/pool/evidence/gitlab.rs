//! What GitLab says of the job that made a claim.
//!
//! **Whose job?** The commit links to the job's page. The job that GitLab has under these numbers must have that page, or
//! it is another one's: of another GitLab, or somebody wrote numbers of his choice into a commit.
//!
//! **Not found.** GitLab answers 404 for a job that is gone with its pipeline, and for one that the token may not see. So
//! the job is gone only where the same token is shown other jobs of the project.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use gitlab::{GitlabError, Project};
use net::http::Client;
use pace::Fault;
use tokio::time::sleep;
use url::Url;

use super::{Answer, Witness};
use crate::concourse::GitlabServer;
use crate::maker::job::Job;
use crate::maker::{Heard, Maker, Status};
use terminal::one_line;

/// The pauses between tries of a question that met a fault which may pass. A reaping is repeated anyway, so that long faults
/// are left to the next one.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// After as many questions in a row that met such a fault to the end, no more are asked.
const MOST_FAILURES: u32 = 2;

/// One GitLab, asked during one run.
pub struct Gitlab {
    gitlab: gitlab::Gitlab,
    home: Url,
    /// Questions in a row that met a passing fault to the end.
    failures: u32,
    /// Why no more questions are asked.
    given_up: Option<String>,
    heard: HashMap<Job, Heard>,
}

impl Gitlab {
    /// Asks the GitLab of the settings by `client`. No request may take longer than `limit`.
    pub fn new(client: Client, server: &GitlabServer, limit: Duration) -> Gitlab {
        let gitlab = gitlab::Gitlab::with(client, &server.api, server.token.clone());
        Gitlab {
            gitlab: gitlab.within(limit),
            home: server.home.clone(),
            failures: 0,
            given_up: None,
            heard: HashMap::new(),
        }
    }

    async fn about(&mut self, job: &Job) -> Heard {
        if let Some(heard) = self.heard.get(job) {
            return heard.clone();
        }
        if let Some(why) = &self.given_up {
            return Heard::Unheard(format!("not asked any more: {why}"));
        }
        let mut pauses = PAUSES.iter();
        let heard = loop {
            match self.learn(job).await {
                Ok(heard) => {
                    self.failures = 0;
                    break heard;
                }
                Err(err) if err.is_transient() => {
                    if let Some(pause) = pauses.next() {
                        sleep(*pause).await;
                        continue;
                    }
                    self.failures += 1;
                    let why = terminal::chain(&err);
                    if self.failures >= MOST_FAILURES {
                        self.given_up = Some(why.clone());
                    }
                    break Heard::Unheard(why);
                }
                Err(err) => break Heard::Unheard(terminal::chain(&err)),
            }
        };
        self.heard.insert(job.clone(), heard.clone());
        heard
    }

    async fn learn(&self, job: &Job) -> Result<Heard, GitlabError> {
        let by_path = job.project_below(&self.home);
        let is_here = by_path.is_some();
        let by_id = job.of.map(|(project, _)| project.to_string());
        let project = by_id
            .or(by_path)
            .and_then(|project| Project::parse(&project).ok());
        let Some(project) = project else {
            return Ok(elsewhere(job));
        };
        let found = match self.gitlab.job(&project, job.id).await {
            Ok(found) => found,
            Err(GitlabError::Refused { status: 404, .. }) => {
                // Whoever does not see the project does not see that the job is gone.
                self.gitlab.shows(&project).await?;
                return Ok(match is_here {
                    true => Heard::Missing {
                        running: Vec::new(),
                        complete: true,
                    },
                    false => elsewhere(job),
                });
            }
            // A number of another GitLab's may be one of somebody else's project here.
            Err(GitlabError::Refused { .. }) if !is_here => return Ok(elsewhere(job)),
            Err(err) => return Err(err),
        };
        let is_it = found.id == job.id
            && match job.of {
                Some((_, pipeline)) => found.pipeline.as_ref().is_none_or(|one| one.id == pipeline),
                None => true,
            };
        if !is_it || !is_page(&found.web_url, job, is_here) {
            return Ok(Heard::Unknown(
                "the job that GitLab has under its number is another".to_owned(),
            ));
        }
        Ok(match Status::of_gitlab(&found.status) {
            Some(status) => Heard::Found {
                status,
                began: found.started,
                ended: found.finished,
            },
            None => Heard::Unheard(format!(
                "it is of a status that is not known here, {:?}",
                shown(&found.status)
            )),
        })
    }
}

impl Witness for Gitlab {
    fn ask<'a>(&'a mut self, maker: &'a Maker, _made: SystemTime) -> Answer<'a> {
        Box::pin(async move {
            match maker {
                Maker::Job(job) => Some(self.about(job).await),
                Maker::Build(_) | Maker::Unknown(_) => None,
            }
        })
    }
}

/// Whether the page that GitLab gives is the one that the commit links to. A project may have been moved since, so that for
/// a page of this GitLab the number is enough.
fn is_page(page: &str, job: &Job, is_here: bool) -> bool {
    match Url::parse(page) {
        Ok(page) => page == job.page || (is_here && job.of.is_some()),
        Err(_) => is_here,
    }
}

fn elsewhere(job: &Job) -> Heard {
    let home = job.page.origin().ascii_serialization();
    Heard::Unknown(format!(
        "it is a job of another GitLab, at {}",
        one_line(&home)
    ))
}

fn shown(status: &str) -> String {
    status.chars().take(40).collect()
}
