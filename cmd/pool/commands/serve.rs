//! `pool serve`.

use std::process::ExitCode;

#[cfg(feature = "serve")]
pub use with::serve;

/// Says that this program cannot do it.
#[cfg(not(feature = "serve"))]
pub async fn serve(
    _: &super::Context,
    _: &crate::pool::args::ServeArgs,
) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "this `pool` was built without the feature `serve`, as that of the resource's image is: use the one of the image or the archive with all tools, or build it with that feature"
    )
}

#[cfg(feature = "serve")]
mod with {
    use std::sync::Arc;

    use anyhow::{Context as _, Result, bail};
    use pool::serve::{Deed, Settings, reader::Task};
    use tokio::net::TcpListener;

    use super::ExitCode;
    use crate::pool::args::{Allowed, ServeArgs};
    use crate::pool::commands::Context;
    use crate::pool::settings::{self, Environment};
    use crate::pool::words;
    use crate::resource;

    /// The variable with the token.
    const TOKEN: &str = "POOL_SERVE_TOKEN";

    /// The fewest characters that a token has.
    const SHORTEST: usize = 16;

    /// Serves the pools until a signal ends it.
    pub async fn serve(context: &Context, args: &ServeArgs) -> Result<ExitCode> {
        let token = settings::secret(&Environment::of_process(), TOKEN)?;
        match &token {
            None if !args.allow.is_empty() => bail!(
                "--allow needs a token, which those have to show who want to change something: {TOKEN}, or {TOKEN}_FILE with the name of a file"
            ),
            Some(token) if token.expose().chars().count() < SHORTEST => {
                bail!("the token in {TOKEN} must have at least {SHORTEST} characters")
            }
            Some(_) if args.allow.is_empty() => {
                resource::tell!("note: {TOKEN} is set, and without --allow nobody can sign in");
            }
            _ => {}
        }
        let stop = resource::stop_on_signals()?;
        let listener = TcpListener::bind(&args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on `{}`", args.listen))?;
        let address = listener.local_addr().context("cannot listen")?;
        let settings = Settings {
            task: Task {
                source: context.source.clone(),
                which: context.which.clone(),
                around: context.around.clone(),
                shows_metadata: args.show_metadata,
                tell: Arc::new(|line| resource::tell!("{}", words::ours(line))),
            },
            origin: context.origin.clone(),
            allowed: args.allow.iter().map(|allowed| deed(*allowed)).collect(),
            token,
        };
        resource::tell!(
            "the pools on the branch `{}` are at http://{address}/",
            context.source.branch
        );
        let served = pool::serve::serve(listener, settings, stop).await;
        served.context("cannot start")?;
        Ok(ExitCode::SUCCESS)
    }

    fn deed(allowed: Allowed) -> Deed {
        match allowed {
            Allowed::Unlock => Deed::Unlock,
            Allowed::Claim => Deed::Claim,
            Allowed::Release => Deed::Release,
        }
    }
}
