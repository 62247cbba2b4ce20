//! What is to be done, put together from flags and environment, and checked before the first request.

use std::time::{Duration, SystemTime};

use gitlab::{ApiUrl, Gitlab, Project, Token};
use guard::look::{Eyes, Filter, Way};
use guard::pattern::{GuardedJobs, Pattern};
use guard::rule::Own;
use guard::turn::SETTLE;
use guard::wait::Terms;
use net::{Limits, NetError, Proxies, Route, Trust};
use pace::duration::in_two_units;

use super::flags::Flags;

/// How long to wait for GitLab.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    silence: Duration::from_secs(10),
    attempt: Duration::from_secs(60),
};

/// How long before the job's own time-out we end, so that our exit code is seen.
const MARGIN: Duration = Duration::from_secs(30);

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// Some are missing.
    #[error("the following arguments are required: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// One is wrong; says how.
    #[error("argument {0}: {1}")]
    Wrong(&'static str, String),
    /// What GitLab is reached by.
    #[error("{}", of_ours(.0))]
    Route(NetError),
}

/// The words of the library are those of a pool's settings.
fn of_ours(err: &NetError) -> String {
    terminal::chain(err).replace("`source.ca_cert`", "`--ca-file`")
}

type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What is to be done by GitLab's word alone.
pub struct Plan {
    /// Who looks.
    pub eyes: Eyes,
    /// On which terms.
    pub terms: Terms,
}

fn wrong(argument: &'static str, why: impl ToString) -> TermsError {
    TermsError::Wrong(argument, why.to_string())
}

/// Puts together what is to be done; `note` is told what people should know.
///
/// # Errors
/// [`TermsError`].
pub fn read(
    flags: &Flags,
    env: &Env<'_>,
    proxies: &Proxies,
    note: &mut dyn FnMut(&str),
) -> Result<Plan, TermsError> {
    let token = token(flags, env)?;
    let mut missing = Vec::new();
    let mut need = |is_missing: bool, names| {
        if is_missing {
            missing.push(names);
        }
    };
    let given = |value: &Option<String>| value.as_ref().filter(|value| !value.is_empty()).cloned();
    let (api, project) = (given(&flags.ci_api_v4_url), given(&flags.ci_project_id));
    let pipeline = given(&flags.ci_pipeline_id);
    need(api.is_none(), "--ci-api-v4-url/-u/--api-url");
    need(project.is_none(), "--ci-project-id/-p/--project-id");
    need(pipeline.is_none(), "--ci-pipeline-id/-i/--pipeline-id");
    need(
        token.is_none(),
        "--private-token/-t/--access-token/--api-token (or CI_JOB_TOKEN)",
    );
    let (Some(api), Some(project), Some(pipeline), Some(token)) = (api, project, pipeline, token)
    else {
        return Err(TermsError::Missing(missing));
    };

    let api = ApiUrl::parse(&api).map_err(|err| wrong("--ci-api-v4-url/-u/--api-url", err))?;
    let project =
        Project::parse(&project).map_err(|err| wrong("--ci-project-id/-p/--project-id", err))?;
    let pipeline = pipeline.trim().parse().map_err(|_| {
        wrong(
            "--ci-pipeline-id/-i/--pipeline-id",
            format!("invalid int value: '{pipeline}'"),
        )
    })?;
    let filter = filter(flags, env)?;
    if filter.known_statuses().is_empty() {
        note("the status regex matches no status of GitLab's: nobody is ever waited for");
    }
    if filter.jobs.is_empty() {
        note(
            "CI_JOB_NAME is not set, so this is no job that others wait for: every matching pipeline is waited for, as in 0.0.4.3",
        );
    }
    let own = Own {
        pipeline,
        job: env("CI_JOB_ID").and_then(|id| id.trim().parse().ok()),
        takes_turns: flags.take_turns,
    };
    let proxy = proxies.proxy_for(api.url());
    let proxy = proxy.map_err(|why| {
        wrong(
            "--ci-api-v4-url/-u/--api-url",
            format!("the environment's proxy {why}"),
        )
    })?;
    let route = Route {
        limits: LIMITS,
        trust: Trust {
            certificates: certificates(flags, env)?,
            anyone: false,
        },
        proxy,
    };
    let gitlab = |token| Gitlab::new(&api, token, &route).map_err(TermsError::Route);
    let ways = match token {
        Token::Job(_) => vec![
            Way::Jobs(gitlab(token)?),
            Way::Pipelines(gitlab(Token::None)?),
        ],
        token => vec![Way::Pipelines(gitlab(token)?)],
    };
    let source = env("CI_PIPELINE_SOURCE").unwrap_or_default();
    let is_child = matches!(source.as_str(), "parent_pipeline" | "pipeline");
    Ok(Plan {
        eyes: Eyes::new(ways, project, filter, own, is_child),
        terms: Terms {
            own,
            timeout: timeout(flags, env, note)?,
            no_wait: flags.no_wait,
            poll: flags.poll,
            settle: flags.settle.unwrap_or(SETTLE),
        },
    })
}

/// The token to ask with, if there is one.
///
/// # Errors
/// [`TermsError`] when it cannot be sent.
pub fn token(flags: &Flags, env: &Env<'_>) -> Result<Option<Token>, TermsError> {
    if let Some(token) = flags
        .private_token
        .as_deref()
        .filter(|token| !token.is_empty())
    {
        let token = Token::private(token);
        return Ok(Some(token.map_err(|err| {
            wrong("--private-token/-t/--access-token/--api-token", err)
        })?));
    }
    match env("CI_JOB_TOKEN") {
        Some(token) => Ok(Some(
            Token::job(&token).map_err(|err| wrong("CI_JOB_TOKEN", err))?,
        )),
        None => Ok(None),
    }
}

/// How long to wait; `None` for ever. We end before GitLab would end our job.
///
/// # Errors
/// [`TermsError`] when the job's time-out is no number.
pub fn timeout(
    flags: &Flags,
    env: &Env<'_>,
    note: &mut dyn FnMut(&str),
) -> Result<Option<Duration>, TermsError> {
    let asked = u64::try_from(flags.guard_timeout)
        .ok()
        .filter(|seconds| *seconds > 0);
    let asked = asked.map(Duration::from_secs);
    if asked.is_none() {
        note("the timeout is 0 or less: waiting has no limit of its own");
    }
    let Some(of_job) = env("CI_JOB_TIMEOUT") else {
        return Ok(asked);
    };
    let of_job = of_job
        .trim()
        .parse()
        .map_err(|_| wrong("CI_JOB_TIMEOUT", "must be a number of seconds"))?;
    let of_job = Duration::from_secs(of_job);
    let started = env("CI_JOB_STARTED_AT").and_then(|at| terminal::time::parse(&at));
    let gone = started
        .and_then(|at| SystemTime::now().duration_since(at).ok())
        .unwrap_or_default();
    let margin = MARGIN.min(of_job / 10);
    let left = of_job
        .saturating_sub(gone)
        .saturating_sub(margin)
        .max(Duration::from_secs(1));
    if asked.is_some_and(|asked| asked <= left) {
        return Ok(asked);
    }
    note(&format!(
        "the job's own time-out comes first: giving up after {}",
        in_two_units(left)
    ));
    Ok(Some(left))
}

fn filter(flags: &Flags, env: &Env<'_>) -> Result<Filter, TermsError> {
    let refs = Pattern::search(&flags.guard_ref_regex);
    let statuses = Pattern::prefix(&flags.guard_status_regex);
    let named = flags
        .guard_job_regex
        .as_deref()
        .map(Pattern::search)
        .transpose();
    let named = named.map_err(|err| wrong("--guard-job-regex", err))?;
    Ok(Filter {
        refs: refs.map_err(|err| wrong("--guard-ref-regex/-c/--check/--guard", err))?,
        statuses: statuses.map_err(|err| wrong("--guard-status-regex/-s/--status-regex", err))?,
        jobs: GuardedJobs::new(env("CI_JOB_NAME").as_deref(), named),
    })
}

/// The certificates to trust besides the system's: those of the flag, and those that Python's programs are told of.
///
/// # Errors
/// [`TermsError`] when a file cannot be read, or has none.
pub fn certificates(flags: &Flags, env: &Env<'_>) -> Result<Option<String>, TermsError> {
    let bundle = env("REQUESTS_CA_BUNDLE").map(|file| ("REQUESTS_CA_BUNDLE", file));
    let bundle = bundle.or_else(|| Some(("CURL_CA_BUNDLE", env("CURL_CA_BUNDLE")?)));
    let own = flags.ca_file.clone().map(|file| ("--ca-file", file));
    let mut all = String::new();
    for (name, file) in bundle.into_iter().chain(own) {
        let pem = std::fs::read_to_string(&file)
            .map_err(|err| wrong(name, format!("cannot read `{file}`: {err}")))?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(wrong(
                name,
                format!("`{file}` has no certificate in PEM form"),
            ));
        }
        all.push_str(&pem);
        all.push('\n');
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}
