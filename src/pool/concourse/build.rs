//! The build that a step is part of, as its environment tells.

use serde_json::Value;
use url::Url;

use crate::message::Origin;

/// Who runs the step, as far as Concourse says so; all unknown outside of Concourse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    id: Option<String>,
    name: Option<String>,
    job: Option<String>,
    pipeline: Option<String>,
    team: Option<String>,
    instance_vars: Option<String>,
    external_url: Option<String>,
    url: Option<String>,
}

impl Build {
    /// Looks up what Concourse puts into the environment of `in` and `out`; empty values count as absent.
    ///
    /// Source: Concourse, "Implementing a resource type", metadata.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Build {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        Build {
            id: get("BUILD_ID"),
            name: get("BUILD_NAME"),
            job: get("BUILD_JOB_NAME"),
            pipeline: get("BUILD_PIPELINE_NAME"),
            team: get("BUILD_TEAM_NAME"),
            instance_vars: get("BUILD_PIPELINE_INSTANCE_VARS"),
            external_url: get("ATC_EXTERNAL_URL"),
            url: get("BUILD_URL"),
        }
    }

    /// What tells the build from all others.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What tells the build from all others, also from those of another Concourse on the same lock repository.
    pub fn identity(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        let page = self.external_url.as_ref().or(self.url.as_ref());
        let installation = page.and_then(|page| Url::parse(page).ok());
        let installation = installation.map(|url| match &self.external_url {
            Some(external) => external.trim_end_matches('/').to_owned(),
            None => url.origin().ascii_serialization(),
        });
        Some(match installation {
            Some(installation) => format!("{installation} {id}"),
            None => id.clone(),
        })
    }

    /// What commits say of who made them.
    pub fn origin(&self) -> Origin {
        Origin {
            prefix: self.prefix(),
            url: self.url.clone().or_else(|| self.composed_url()),
            build_id: self.id.clone(),
            instance_vars: self.instance_vars.clone(),
        }
    }

    fn prefix(&self) -> String {
        match (&self.id, &self.job) {
            (None, _) => String::new(),
            (Some(id), None) => format!("one-off build {id}"),
            (Some(id), Some(_)) => {
                let path: Vec<&str> = [&self.team, &self.pipeline, &self.job]
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                format!(
                    "{} build {}",
                    path.join("/"),
                    self.name.as_ref().unwrap_or(id)
                )
            }
        }
    }

    /// The build's page, for Concourse before 8.0, which does not tell.
    fn composed_url(&self) -> Option<String> {
        let mut url = Url::parse(self.external_url.as_ref()?).ok()?;
        let parts = match (&self.team, &self.pipeline, &self.job, &self.name) {
            (Some(team), Some(pipeline), Some(job), Some(name)) => {
                url.query_pairs_mut().extend_pairs(self.vars());
                vec![
                    "teams",
                    team,
                    "pipelines",
                    pipeline,
                    "jobs",
                    job,
                    "builds",
                    name,
                ]
            }
            _ => vec!["builds", self.id.as_ref()?],
        };
        url.path_segments_mut().ok()?.pop_if_empty().extend(parts);
        // A plus means a space only to some readers.
        let query = url.query().map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref().filter(|query| !query.is_empty()));
        Some(url.into())
    }

    /// The instance vars, as Concourse's pages take them in their query.
    fn vars(&self) -> Vec<(String, String)> {
        let json = self.instance_vars.as_deref().unwrap_or_default();
        let Ok(Value::Object(vars)) = serde_json::from_str(json) else {
            return Vec::new();
        };
        vars.iter()
            .map(|(name, value)| {
                // A dot leads into a nested value, unless it is quoted.
                let plain = !name.contains(['.', ':', '/', ',', ' ', '"']);
                let name = if plain {
                    name.clone()
                } else {
                    format!("{name:?}")
                };
                (format!("vars.{name}"), value.to_string())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const JOB: [(&str, &str); 5] = [
        ("BUILD_ID", "4711"),
        ("BUILD_NAME", "12"),
        ("BUILD_JOB_NAME", "deploy"),
        ("BUILD_PIPELINE_NAME", "web"),
        ("BUILD_TEAM_NAME", "ops"),
    ];

    fn origin(env: &[(&str, &str)]) -> Origin {
        // The last one wins.
        Build::from_env(|name| {
            let found = env.iter().rev().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .origin()
    }

    fn url(env: &[(&str, &str)]) -> Option<String> {
        origin(&[&JOB, env].concat()).url
    }

    #[test]
    fn without_an_environment_nothing_is_known() {
        assert_eq!(origin(&[]), Origin::default());
        assert_eq!(
            origin(&[("BUILD_ID", ""), ("BUILD_URL", "")]),
            Origin::default()
        );
    }

    #[test]
    fn a_build_of_a_job_is_named_by_team_pipeline_job_and_number() {
        assert_eq!(origin(&JOB).prefix, "ops/web/deploy build 12");
    }

    #[test]
    fn a_one_off_build_is_named_by_its_id() {
        let env = [
            ("BUILD_ID", "4711"),
            ("BUILD_TEAM_NAME", "ops"),
            ("ATC_EXTERNAL_URL", "https://ci.example.com"),
        ];

        assert_eq!(origin(&env).prefix, "one-off build 4711");
        assert_eq!(
            origin(&env).url.as_deref(),
            Some("https://ci.example.com/builds/4711")
        );
    }

    #[test]
    fn without_a_build_id_there_is_no_prefix() {
        assert_eq!(origin(&JOB[1..]).prefix, "");
    }

    #[test]
    fn the_url_that_concourse_tells_wins() {
        let env = [
            ("ATC_EXTERNAL_URL", "https://a"),
            ("BUILD_URL", "https://ci.example.com/x?vars.a=1"),
        ];

        assert_eq!(
            url(&env).as_deref(),
            Some("https://ci.example.com/x?vars.a=1")
        );
        assert_eq!(url(&[]), None);
    }

    #[test]
    fn before_concourse_8_the_url_is_put_together() {
        let expected = Some("https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12");
        for external in ["https://ci.example.com", "https://ci.example.com/"] {
            assert_eq!(url(&[("ATC_EXTERNAL_URL", external)]).as_deref(), expected);
        }
        assert_eq!(
            url(&[("ATC_EXTERNAL_URL", "http://h:8080/ci/")]).as_deref(),
            Some("http://h:8080/ci/teams/ops/pipelines/web/jobs/deploy/builds/12")
        );
        for external in ["", "ci.example.com", "mailto:x"] {
            assert_eq!(url(&[("ATC_EXTERNAL_URL", external)]), None, "{external}");
        }
    }

    #[test]
    fn names_in_the_url_are_percent_encoded() {
        let env = [
            ("ATC_EXTERNAL_URL", "https://ci"),
            ("BUILD_TEAM_NAME", "a b"),
            ("BUILD_PIPELINE_NAME", "c/d?e#f%g"),
            ("BUILD_JOB_NAME", "ü"),
            ("BUILD_NAME", "1.2"),
        ];

        assert_eq!(
            url(&env).as_deref(),
            Some("https://ci/teams/a%20b/pipelines/c%2Fd%3Fe%23f%25g/jobs/%C3%BC/builds/1.2")
        );
    }

    #[test]
    fn instance_vars_are_in_the_origin_and_in_the_urls_query() {
        let vars = r#"{"branch":"a b","n":1,"deep":{"x":[true]},"a.b":"&"}"#;
        let env = [
            ("ATC_EXTERNAL_URL", "https://ci"),
            ("BUILD_PIPELINE_INSTANCE_VARS", vars),
        ];

        let page = Url::parse(&url(&env).unwrap()).unwrap();
        let mut pairs: Vec<_> = page
            .query_pairs()
            .into_owned()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        pairs.sort();

        assert_eq!(origin(&env).instance_vars.as_deref(), Some(vars));
        assert_eq!(
            page.path(),
            "/teams/ops/pipelines/web/jobs/deploy/builds/12"
        );
        assert_eq!(
            pairs,
            [
                r#"vars."a.b"="&""#,
                r#"vars.branch="a b""#,
                r#"vars.deep={"x":[true]}"#,
                "vars.n=1"
            ]
        );
        for broken in ["{", "[1]", "{}", "null"] {
            let env = [
                ("ATC_EXTERNAL_URL", "https://ci"),
                ("BUILD_PIPELINE_INSTANCE_VARS", broken),
            ];
            assert!(!url(&env).unwrap().contains('?'), "{broken}");
        }
    }
}
