//! A job of GitLab that made a claim.
//!
//! Its commit links to the job's page, and gives project, pipeline and job by their numbers:
//!
//! ```text
//! GitLab ops/web deploy #4711 claiming: env-1
//!
//! Build URL: https://gitlab.example.com/ops/web/-/jobs/4711
//!
//! Pool-Build: gitlab:42/99/4711
//! ```

use std::fmt;

use url::Url;

use crate::message;
use terminal::one_line;

/// What the trailer with the numbers begins with.
const GITLAB: &str = "gitlab:";

/// What stands between the path of a project and the number of a job in the URL of its page.
const JOBS: &str = "/-/jobs/";

/// A job of GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// Its page, without credentials, query and fragment.
    pub page: Url,
    /// Its number.
    pub id: u64,
    /// The numbers of its project and its pipeline, if the commit gives them.
    pub of: Option<(u64, u64)>,
}

/// What the trailer with the numbers of a run of GitHub Actions begins with.
const GITHUB: &str = "github:";

/// The value of the trailer with the numbers of a run of GitHub Actions, its repository and its attempt, if they are numbers.
/// Nobody asks GitHub yet; who does one day needs them.
pub fn github_numbers(repository: &str, run: &str, attempt: &str) -> Option<String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (repository, run, attempt) = (number(repository)?, number(run)?, number(attempt)?);
    Some(format!("{GITHUB}{repository}/{run}/{attempt}"))
}

/// The value of the trailer with a job's numbers, if they are numbers.
pub fn numbers(project: &str, pipeline: &str, job: &str) -> Option<String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (project, pipeline, job) = (number(project)?, number(pipeline)?, number(job)?);
    Some(format!("{GITLAB}{project}/{pipeline}/{job}"))
}

impl Job {
    /// Reads from a message which job made the commit; `None` when it links to no job's page, and an error when it says one
    /// thing here and another there.
    pub(super) fn read(message: &[u8], link: &str) -> Option<Result<Job, &'static str>> {
        let mut page = Url::parse(link)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
        let path = page.path().trim_end_matches('/').to_owned();
        let (project, id) = path.rsplit_once(JOBS)?;
        let id = id.parse().ok().filter(|_| !project.is_empty())?;
        page.set_path(&path);
        page.set_query(None);
        page.set_fragment(None);
        page.set_username("").ok()?;
        page.set_password(None).ok()?;

        let given = message::trailer(message, message::BUILD);
        let given = given
            .as_deref()
            .and_then(|given| given.strip_prefix(GITLAB));
        let Some(given) = given else {
            return Some(Ok(Job { page, id, of: None }));
        };
        let numbers: Vec<u64> = given
            .split('/')
            .filter_map(|text| text.parse().ok())
            .collect();
        Some(match numbers[..] {
            [project, pipeline, job] if job == id => Ok(Job {
                page,
                id,
                of: Some((project, pipeline)),
            }),
            _ => Err("its commit names one job of GitLab and links to another"),
        })
    }

    /// The path of its project below the pages of a GitLab; `None` when its page is not there.
    pub fn project_below(&self, home: &Url) -> Option<String> {
        let same_place = self.page.scheme() == home.scheme()
            && self.page.host() == home.host()
            && self.page.port_or_known_default() == home.port_or_known_default();
        let root = home.path().trim_end_matches('/');
        let path = self.page.path().strip_prefix(root)?.strip_prefix('/')?;
        let (project, _) = path.rsplit_once(JOBS)?;
        same_place.then(|| project.to_owned())
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.page.path().rsplit_once(JOBS);
        let project = path.map_or("", |(project, _)| project.trim_start_matches('/'));
        write!(f, "GitLab {} job #{}", one_line(project), self.id)
    }
}
