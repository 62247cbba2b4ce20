//! The push that starts an app: one commit, on a branch that is not there yet.

use std::path::{Path, PathBuf};

use git::object::{Content, Edit, Mode};
use git::{Access, Identity, Interest, Location, RefUpdate, Remote, RemoteError, Store};
use net::{Credentials, Proxies, Secret};
use pace::Fault;
use url::Url;

use super::super::{Kind, ProviderError};
use super::{api, route};
use crate::context::Context;

/// The branch that Clever Cloud builds.
const BRANCH: &str = "master";

/// The push, as errors name it.
const ACTION: &str = "push";

/// The repository of an app. Nothing of the machine's or the user's Git settings plays a part, and the token is in no
/// argument, no URL and no message: it goes in a header.
pub(super) struct Target {
    location: Location,
    access: Access,
    /// Where objects are kept for a moment: they have secrets in them.
    temporary: PathBuf,
}

impl Target {
    pub fn new(
        url: &str,
        user: &str,
        token: &Secret,
        proxies: &Proxies,
        temporary: &Path,
    ) -> Result<Target, ProviderError> {
        let wrong = |why: &str| {
            let details = format!("the address to push to {why}");
            ProviderError::new(ACTION, Kind::Refused, details)
        };
        let url = Url::parse(url).map_err(|_| wrong("is not a URL"))?;
        let is_secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("is neither https nor http")),
        };
        let (location, _) = Location::parse(url.as_str()).map_err(|_| wrong("is not a URL"))?;
        let route = route(proxies, &url)
            .map_err(|err| ProviderError::new(ACTION, Kind::Refused, api::said(&err)))?;
        // Where everybody can read along, no token goes.
        let credentials = is_secure.then(|| Credentials {
            username: user.to_owned(),
            password: Some(token.expose().to_owned()),
        });
        Ok(Target {
            location,
            temporary: temporary.to_owned(),
            access: Access {
                route,
                credentials,
                ..Access::default()
            },
        })
    }

    fn remote(&self) -> Result<Remote, ProviderError> {
        let store = Store::temporary(&self.temporary).map_err(|err| of_git(&err.into()))?;
        Remote::new(&self.location, &self.access, BRANCH, store).map_err(|err| of_git(&err))
    }

    /// Whether something was pushed already.
    pub async fn has_branch(&self) -> Result<bool, ProviderError> {
        let mut remote = self.remote()?;
        match remote.look(false, &|_| Interest::Nothing).await {
            Ok(_) => Ok(true),
            Err(RemoteError::NoBranch { .. }) => Ok(false),
            // It is made a while after the app.
            Err(RemoteError::NotFound { .. }) => Ok(false),
            Err(err) => Err(of_git(&err)),
        }
    }

    /// Pushes the context. Where the answer is lost, it is looked whether it has arrived.
    pub async fn push(&self, context: &Context) -> Result<(), ProviderError> {
        let remote = self.remote()?;
        let identity = Identity {
            name: "Heptapod Paas Runner".to_owned(),
            email: "paasrunner@heptapod.test".to_owned(),
            signer: None,
        };
        let edits = context.files().map(|(path, text)| Edit::Write {
            path: path.to_owned(),
            mode: Mode::File,
            content: Content::new(text.as_bytes().to_vec()),
        });
        let store = remote.store();
        let made = store.make_first_commit(&edits, "Job definition\n", &identity);
        let (commit, objects) = made.map_err(|err| of_git(&err.into()))?;
        let pack = store.pack(&objects).map_err(|err| of_git(&err.into()))?;
        let new = RefUpdate {
            name: format!("refs/heads/{BRANCH}"),
            old: None,
            new: Some(commit),
        };
        let why = match remote.update_refs(&[new], &pack).await {
            Ok(None) => return Ok(()),
            Ok(Some(reason)) => ProviderError::new(
                ACTION,
                Kind::Refused,
                format!("the Git server does not take it: {reason}"),
            ),
            Err(err) => of_git(&err),
        };
        // The repository is this job's alone: what is there is what we have sent.
        match self.has_branch().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(why),
            Err(_) => Err(ProviderError {
                kind: match why.kind {
                    Kind::Refused | Kind::NoRoom => why.kind,
                    Kind::Passing | Kind::Unknown => Kind::Unknown,
                },
                ..why
            }),
        }
    }
}

fn of_git(err: &RemoteError) -> ProviderError {
    let kind = match err {
        // Where the server has trouble with the request itself it may have done it.
        RemoteError::Net(net) if net.nobody_there().is_some() => Kind::Passing,
        RemoteError::Nobody { .. } | RemoteError::NotFound { .. } => Kind::Passing,
        err if err.is_transient() => Kind::Unknown,
        _ => Kind::Refused,
    };
    ProviderError {
        wait: err.wait(),
        ..ProviderError::new(ACTION, kind, said(err))
    }
}

/// What went wrong, without advice that is meant for the settings of the lock pool.
fn said(err: &RemoteError) -> String {
    match err {
        RemoteError::Denied { remote, words } => {
            format!("`{remote}` does not let us in ({words})")
        }
        RemoteError::NotFound { remote, .. } => {
            format!("there is no repository at `{remote}`, or it may not be seen")
        }
        RemoteError::Nobody { remote, why, .. } => format!("there is nobody at `{remote}`: {why}"),
        err => api::said(err),
    }
}
