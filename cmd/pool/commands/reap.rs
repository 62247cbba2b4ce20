//! `pool reap`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use gitlab::Token;
use net::Secret;
use pool::concourse::{GitlabServer, Login, Reap, Server};
use pool::step;

use super::Context;
use crate::pool::args::ReapArgs;
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource;

/// Frees the locks that nobody will give back any more.
pub async fn reap(context: &Context, args: &ReapArgs) -> Result<ExitCode> {
    let settings = Reap {
        stale_after: args.stale_after,
        concourse: server(args)?,
        gitlab: gitlab_server(args)?,
        dry_run: args.dry_run,
    };
    let stop = resource::stop_on_signals()?;
    let (origin, around) = (context.origin.clone(), &context.around);
    let log = &mut Log::default();
    let reaping = step::reap(&context.source, &settings, origin, around, stop, log).await?;
    super::say(&output::reaped(
        &reaping,
        context.source.pool.as_str(),
        context.json,
    )?)?;
    if let Some(unheard) = reaping.unheard {
        return Err(step::StepError::Unheard(unheard).into());
    }
    // Why, the log has told.
    Ok(match reaping.failed().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(2),
    })
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The GitLab that can be asked.
fn gitlab_server(args: &ReapArgs) -> Result<Option<GitlabServer>> {
    let Some(url) = &args.gitlab_url else {
        return Ok(None);
    };
    let token = match (env("POOL_GITLAB_TOKEN"), env("POOL_GITLAB_JOB_TOKEN")) {
        (Some(token), None) => Token::private(&token).context("POOL_GITLAB_TOKEN is no token")?,
        (None, Some(token)) => Token::job(&token).context("POOL_GITLAB_JOB_TOKEN is no token")?,
        (Some(_), Some(_)) => {
            bail!("both POOL_GITLAB_TOKEN and POOL_GITLAB_JOB_TOKEN are set; one is enough")
        }
        (None, None) => bail!(
            "--gitlab-url needs POOL_GITLAB_TOKEN or POOL_GITLAB_JOB_TOKEN in the environment"
        ),
    };
    let server = GitlabServer::at(url, token);
    let server = server.context("--gitlab-url must be an http or https URL without credentials")?;
    Ok(Some(server))
}

/// The Concourse that can be asked.
fn server(args: &ReapArgs) -> Result<Option<Server>> {
    let Some(url) = &args.concourse_url else {
        return Ok(None);
    };
    let url = Server::parse_url(url)
        .context("--concourse-url must be an http or https URL without credentials")?;
    let login = match (
        env("POOL_CONCOURSE_TOKEN"),
        &args.concourse_username,
        env("POOL_CONCOURSE_PASSWORD"),
    ) {
        (Some(token), None, _) => {
            Login::parse_token(&token).context("POOL_CONCOURSE_TOKEN is not a token")?
        }
        (Some(_), Some(_), _) => {
            bail!("both --concourse-username and POOL_CONCOURSE_TOKEN are set; one is enough")
        }
        (None, Some(username), Some(password)) => Login::Password {
            username: username.clone(),
            password: Secret::new(password),
        },
        (None, _, _) => bail!(
            "--concourse-url needs POOL_CONCOURSE_TOKEN in the environment, or --concourse-username and POOL_CONCOURSE_PASSWORD"
        ),
    };
    Ok(Some(Server { url, login }))
}
