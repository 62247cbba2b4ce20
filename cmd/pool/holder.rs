//! Who we are, as others see it in commits and in the line.

use pool::maker::{Maker, job};
use pool::message::{self, Origin, Verb};

/// Who acts: what was `given`, else what the environment says of a CI's build, else user and machine.
pub fn origin(given: Option<&str>, env: &impl Fn(&str) -> Option<String>) -> Origin {
    let given = given.map(str::to_owned).or_else(|| env("POOL_HOLDER"));
    let (who, url) = gitlab(env)
        .or_else(|| github(env))
        .or_else(|| jenkins(env))
        .unwrap_or_else(|| {
            let user = user(whoami::username().ok(), env);
            (format!("{user}@{}", machine()), None)
        });
    let given = given.filter(|given| !given.trim().is_empty());
    let mut origin = made_plain(given.unwrap_or(who), url);
    origin.build_id = numbers(env).or_else(|| github_numbers(env));
    origin
}

/// The numbers of a job of GitLab, by which it can be asked about.
fn numbers(env: &Env<'_>) -> Option<String> {
    job::numbers(
        &env("CI_PROJECT_ID")?,
        &env("CI_PIPELINE_ID")?,
        &env("CI_JOB_ID")?,
    )
}

/// The numbers of a run of GitHub Actions.
fn github_numbers(env: &Env<'_>) -> Option<String> {
    job::github_numbers(
        &env("GITHUB_REPOSITORY_ID")?,
        &env("GITHUB_RUN_ID")?,
        &env("GITHUB_RUN_ATTEMPT")?,
    )
}

type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

fn gitlab(env: &Env<'_>) -> Option<(String, Option<String>)> {
    let (project, job) = (env("CI_PROJECT_PATH")?, env("CI_JOB_ID")?);
    let name = env("CI_JOB_NAME").unwrap_or_else(|| "job".to_owned());
    Some((format!("GitLab {project} {name} #{job}"), env("CI_JOB_URL")))
}

fn github(env: &Env<'_>) -> Option<(String, Option<String>)> {
    let (repository, run) = (env("GITHUB_REPOSITORY")?, env("GITHUB_RUN_ID")?);
    let workflow = env("GITHUB_WORKFLOW").unwrap_or_else(|| "workflow".to_owned());
    // Each job of a run has locks of its own.
    let job = env("GITHUB_JOB").map_or(String::new(), |job| format!("/{job}"));
    let attempt = env("GITHUB_RUN_ATTEMPT").filter(|attempt| attempt != "1");
    let attempt = attempt.map_or(String::new(), |attempt| format!(" attempt {attempt}"));
    let server = env("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
    let url = format!(
        "{}/{repository}/actions/runs/{run}",
        server.trim_end_matches('/')
    );
    Some((
        format!("GitHub {repository} {workflow}{job} #{run}{attempt}"),
        Some(url),
    ))
}

fn jenkins(env: &Env<'_>) -> Option<(String, Option<String>)> {
    let (job, number) = (env("JOB_NAME")?, env("BUILD_NUMBER")?);
    Some((format!("Jenkins {job} #{number}"), env("BUILD_URL")))
}

/// The system may not know the user: a static program asks `/etc/passwd` alone, and not LDAP. A shell knows them still.
fn user(known: Option<String>, env: &Env<'_>) -> String {
    known
        .or_else(|| env("LOGNAME"))
        .or_else(|| env("USER"))
        .unwrap_or_else(|| "somebody".to_owned())
}

fn machine() -> String {
    whoami::hostname().unwrap_or_else(|_| "somewhere".to_owned())
}

/// An origin that nobody takes for a build of a Concourse: such a build could be asked about, and be over.
fn made_plain(who: String, url: Option<String>) -> Origin {
    let mut prefix = who.replace(char::is_control, " ").trim().to_owned();
    while prefix.contains(" build ") {
        prefix = prefix.replace(" build ", " build: ");
    }
    let mut origin = Origin {
        prefix,
        url,
        ..Origin::default()
    };
    let read = Maker::read(message::compose(&origin, Verb::Claiming, &[], &[]).as_bytes());
    if matches!(read, Maker::Build(_)) {
        origin.url = None;
    }
    origin
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pool::lock::LockName;

    use super::*;

    fn of(given: Option<&str>, env: &[(&str, &str)]) -> Origin {
        origin(given, &|name| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const GITLAB: [(&str, &str); 4] = [
        ("CI_PROJECT_PATH", "ops/web"),
        ("CI_JOB_NAME", "deploy"),
        ("CI_JOB_ID", "4711"),
        (
            "CI_JOB_URL",
            "https://gitlab.example.com/ops/web/-/jobs/4711",
        ),
    ];

    #[test]
    fn a_job_of_gitlab_is_named_by_project_job_and_id_and_linked() {
        let origin = of(None, &GITLAB);

        assert_eq!(origin.prefix, "GitLab ops/web deploy #4711");
        assert_eq!(origin.url.as_deref(), Some(GITLAB[3].1));
    }

    #[test]
    fn a_user_whom_the_system_does_not_know_is_named_by_the_environment() {
        let env = |name: &str| (name == "USER").then(|| "ada".to_owned());

        assert_eq!(user(None, &env), "ada");
        assert_eq!(user(Some("root".to_owned()), &env), "root");
        assert_eq!(user(None, &|_| None), "somebody");
    }

    #[test]
    fn a_run_of_github_is_named_by_repository_workflow_and_run_and_linked() {
        let mut env = vec![
            ("GITHUB_REPOSITORY", "ops/web"),
            ("GITHUB_WORKFLOW", "Deploy"),
            ("GITHUB_RUN_ID", "99"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_SERVER_URL", "https://github.example.com/"),
        ];
        let origin = of(None, &env);
        assert_eq!(origin.prefix, "GitHub ops/web Deploy #99");
        assert_eq!(
            origin.url.as_deref(),
            Some("https://github.example.com/ops/web/actions/runs/99")
        );

        assert_eq!(origin.build_id, None);
        env.push(("GITHUB_REPOSITORY_ID", "42"));
        let id = of(None, &env).build_id;
        assert_eq!(id.as_deref(), Some("github:42/99/1"));

        env[3].1 = "2";
        assert_eq!(of(None, &env).prefix, "GitHub ops/web Deploy #99 attempt 2");
        env.push(("GITHUB_JOB", "west"));
        let prefix = of(None, &env).prefix;
        assert_eq!(prefix, "GitHub ops/web Deploy/west #99 attempt 2");
    }

    #[test]
    fn a_build_of_jenkins_is_named_by_job_and_number_and_linked() {
        let env = [
            ("JOB_NAME", "ops/web/deploy"),
            ("BUILD_NUMBER", "12"),
            (
                "BUILD_URL",
                "https://jenkins.example.com/job/ops/job/web/12/",
            ),
        ];
        let origin = of(None, &env);

        assert_eq!(origin.prefix, "Jenkins ops/web/deploy #12");
        assert_eq!(origin.url.as_deref(), Some(env[2].1));
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_build() {
        let env: Vec<_> = [("POOL_HOLDER", "the night shift")]
            .into_iter()
            .chain(GITLAB)
            .collect();

        assert_eq!(of(Some("anna"), &env).prefix, "anna");
        assert_eq!(of(None, &env).prefix, "the night shift");
        assert!(of(Some(" "), &[]).prefix.contains('@'));
    }

    #[test]
    fn nobody_is_taken_for_a_build_of_a_concourse() {
        let lock = LockName::new("env-1").unwrap();
        for text in [
            "ops/web/deploy build 12",
            "one-off build 4711",
            "a/b/c\tbuild\n12",
            "a/b/c build build 12",
            "a/b/c build",
            "a/b/c build 1 claiming: x",
            "a/b/c build 1 adding claimed: x claiming:",
            " a/b/c  build 1 ",
        ] {
            for url in [
                None,
                Some("https://ci/builds/12"),
                Some("https://j/job/builds/12/"),
            ] {
                let env: Vec<_> = url
                    .iter()
                    .flat_map(|url| {
                        [
                            ("JOB_NAME", "x"),
                            ("BUILD_NUMBER", "1"),
                            ("BUILD_URL", *url),
                        ]
                    })
                    .collect();
                let origin = of(Some(text), &env);
                for verb in Verb::ALL {
                    let message = message::compose(&origin, verb, std::slice::from_ref(&lock), &[]);
                    let read = Maker::read(message.as_bytes());
                    assert!(matches!(read, Maker::Unknown(_)), "{message:?}: {read:?}");
                }
            }
        }
    }
}
