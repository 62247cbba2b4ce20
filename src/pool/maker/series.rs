//! Builds of one job, of which the later ones have higher numbers.

use std::collections::BTreeMap;

use super::{Me, is_id};
use crate::message::{Origin, read_prefix};

/// Which job a build is of, and which of its builds it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// What no other job has: its Concourse, its names and its instance vars; or what another CI system calls it.
    job: String,
    /// What is higher for a later build.
    number: (u64, u64),
}

impl Series {
    /// Of whoever commits with this origin; `None` for one who is no build of a job, or whose builds cannot be told apart.
    pub fn of(origin: &Origin) -> Option<Series> {
        let id = origin.build_id.as_deref();
        if let Some(id) = id.filter(|id| is_id(id)) {
            // Concourse gives ids out in the order in which builds are made, those that are run again as well.
            let (build, _) = read_prefix(&origin.prefix)?;
            let build = build?;
            let Some(Me::Build { home, .. }) = Me::of(origin) else {
                return None;
            };
            let home = home.map_or(String::new(), String::from);
            let vars = origin.instance_vars.as_deref().unwrap_or_default();
            return Some(Series {
                job: format!(
                    "{home} {}/{}/{} {vars}",
                    build.team, build.pipeline, build.job
                ),
                number: (id.parse().ok()?, 0),
            });
        }
        // `GitLab ops/web deploy #4711`, `GitHub ops/web Deploy/west #99 attempt 2`, `Jenkins ops/web/deploy #12`
        let (job, number) = origin.prefix.rsplit_once(" #")?;
        let is_ci = ["GitLab ", "GitHub ", "Jenkins "];
        if !is_ci.iter().any(|ci| job.starts_with(ci)) {
            return None;
        }
        let (number, attempt) = match number.split_once(" attempt ") {
            Some((number, attempt)) => (number, attempt.parse().ok()?),
            None => (number, 1),
        };
        Some(Series {
            job: job.to_owned(),
            number: (number.parse().ok()?, attempt),
        })
    }

    /// Whether it is a later build of the same job.
    pub fn is_later_than(&self, other: &Series) -> bool {
        self.job == other.job && self.number > other.number
    }
}

/// The latest build of each job, of those that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latest(BTreeMap<String, (u64, u64)>);

impl Latest {
    /// Of these.
    pub fn of(series: impl IntoIterator<Item = Series>) -> Latest {
        let mut latest = Latest::default();
        for Series { job, number } in series {
            let known = latest.0.entry(job).or_insert(number);
            *known = number.max(*known);
        }
        latest
    }

    /// Whether there is a later build of the same job.
    pub fn supersedes(&self, series: &Series) -> bool {
        let latest = self.0.get(&series.job);
        latest.is_some_and(|latest| *latest > series.number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn build(job: &str, name: &str, id: &str, home: &str) -> Origin {
        Origin {
            prefix: format!("ops/web/{job} build {name}"),
            url: Some(format!("https://{home}/builds/{id}")),
            build_id: Some(id.to_owned()),
            instance_vars: None,
        }
    }

    fn named(prefix: &str) -> Origin {
        Origin {
            prefix: prefix.to_owned(),
            ..Origin::default()
        }
    }

    fn is_later(later: &Origin, than: &Origin) -> bool {
        let (Some(later), Some(than)) = (Series::of(later), Series::of(than)) else {
            return false;
        };
        assert!(!(later.is_later_than(&than) && than.is_later_than(&later)));
        later.is_later_than(&than)
    }

    #[test]
    fn a_build_is_later_than_those_of_its_own_job_alone() {
        let first = build("deploy", "12", "9", "ci");
        // It is run again, under a number of its own.
        assert!(is_later(&build("deploy", "12.1", "10", "ci"), &first));
        assert!(!is_later(&first, &first));
        for other in [
            build("test", "13", "10", "ci"),
            build("deploy", "13", "10", "ci-2"),
            Origin {
                instance_vars: Some("{\"branch\":\"x\"}".to_owned()),
                ..build("deploy", "13", "10", "ci")
            },
            Origin {
                prefix: "one-off build 10".to_owned(),
                ..build("deploy", "13", "10", "ci")
            },
            named("ops/web/deploy build 13"),
        ] {
            assert!(!is_later(&other, &first), "{other:?}");
        }
    }

    #[test]
    fn jobs_of_other_systems_are_told_by_their_names_and_numbers() {
        for (later, than, is) in [
            (
                "GitLab ops/web deploy #100",
                "GitLab ops/web deploy #99",
                true,
            ),
            (
                "GitLab ops/web deploy #100",
                "GitLab ops/web test #99",
                false,
            ),
            (
                "GitHub ops/web Deploy/west #7 attempt 2",
                "GitHub ops/web Deploy/west #7",
                true,
            ),
            (
                "GitHub ops/web Deploy/west #7",
                "GitHub ops/web Deploy/east #6",
                false,
            ),
            ("Jenkins ops/deploy #13", "Jenkins ops/deploy #12", true),
            ("anna #13", "anna #12", false),
            ("anna@laptop", "anna@laptop", false),
            (
                "GitLab ops/web deploy #x",
                "GitLab ops/web deploy #1",
                false,
            ),
        ] {
            assert_eq!(is_later(&named(later), &named(than)), is, "{later}");
        }
    }
}
