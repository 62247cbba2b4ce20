//! Why GitLab gave no answer.

use std::time::Duration;

use net::NetError;
use pace::Fault;

/// Failures between us and the API. No message has a token in it, nor what an answer says besides its status.
#[derive(Debug, thiserror::Error)]
pub enum GitlabError {
    /// The connection, or what it goes through.
    #[error(transparent)]
    Net(#[from] NetError),
    /// One request took longer than it may.
    #[error("no whole answer from `{at}` within {}", humantime::format_duration(*.limit))]
    Slow {
        /// What was asked.
        at: String,
        /// The limit.
        limit: Duration,
    },
    /// The server has trouble, or too much to do.
    #[error("`{at}` answers with status {status}")]
    Failed {
        /// What was asked.
        at: String,
        /// The status.
        status: u16,
        /// How long to wait before the next request, if it says so.
        retry_after: Option<Duration>,
    },
    /// The server does not show us what was asked for.
    #[error("`{at}` refuses {who} (status {status}): {}", hint(*.status))]
    Refused {
        /// What was asked.
        at: String,
        /// Who asked.
        who: &'static str,
        /// The status: 401, 403 or 404.
        status: u16,
    },
    /// The server does not take the question.
    #[error("`{at}` does not take the request (status {status}); is it the URL of GitLab's API?")]
    Unexpected {
        /// What was asked.
        at: String,
        /// The status.
        status: u16,
    },
    /// The server points to another place, where our token is not sent.
    #[error(
        "`{at}` redirects to {to}, where the token is not sent; if that is right, set it as the URL of the API"
    )]
    Redirected {
        /// What was asked.
        at: String,
        /// Where to: scheme, host and port.
        to: String,
    },
    /// What came is not what GitLab says.
    #[error("`{at}` does not answer as GitLab's API does, but with {found}")]
    Odd {
        /// What was asked.
        at: String,
        /// What came.
        found: String,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => "the token is wrong, expired or revoked",
        403 => "it may not read this; a token with the scope `read_api` may",
        _ => {
            "there is no such thing, or it may not see it; check the project, and whether the token belongs to it"
        }
    }
}

impl GitlabError {
    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            GitlabError::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the server does not show us what was asked for.
    pub fn is_refusal(&self) -> bool {
        matches!(self, GitlabError::Refused { .. })
    }
}

impl Fault for GitlabError {
    fn is_transient(&self) -> bool {
        match self {
            GitlabError::Net(err) => err.is_transient(),
            // A page of some proxy, while the server behind it starts.
            GitlabError::Slow { .. } | GitlabError::Failed { .. } | GitlabError::Odd { .. } => true,
            GitlabError::Refused { .. }
            | GitlabError::Unexpected { .. }
            | GitlabError::Redirected { .. } => false,
        }
    }
}
