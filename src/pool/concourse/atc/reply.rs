//! What came of a request.

use std::time::Duration;

use net::http::StatusCode;
use net::http::header::{CONTENT_TYPE, HeaderMap, LINK, LOCATION};
use serde::de::DeserializeOwned;
use url::Url;

use terminal::one_line;

/// Why Concourse could not be asked. No message has a secret in it, nor what an answer says besides its status.
#[derive(Debug, thiserror::Error)]
pub(super) enum AtcError {
    #[error("cannot talk to {home}")]
    Unreachable {
        home: String,
        #[source]
        source: net::http::Broken,
    },
    #[error(transparent)]
    Setting(#[from] net::NetError),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("it answers with status {0}")]
    Failed(u16),
    #[error("it gives no token for these credentials (status {0})")]
    Login(String),
    #[error("it does not take our token (status 401)")]
    Token,
    #[error("it does not let us see it (status 403); are we in the team?")]
    Forbidden,
    #[error("it redirects to {0}; if that is right, give that as its URL")]
    Redirected(String),
    #[error("it does not answer as a Concourse does, but with {0}")]
    Odd(String),
    #[error("it is of a status that is not known here, {0:?}")]
    Status(String),
    #[error("not asked any more: {0}")]
    GivenUp(String),
}

impl AtcError {
    /// Whether the same question may well be answered a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            AtcError::Unreachable { .. } | AtcError::Silent(_) | AtcError::Failed(_) => true,
            AtcError::Setting(_)
            | AtcError::Login(_)
            | AtcError::Token
            | AtcError::Forbidden
            | AtcError::Redirected(_)
            | AtcError::Odd(_)
            | AtcError::Status(_)
            | AtcError::GivenUp(_) => false,
        }
    }
}

pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, AtcError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| AtcError::Odd(format!("other than JSON of the kind ({})", self.kind())))
    }

    /// What an answer means that has none of the statuses that were waited for.
    pub fn unexpected(&self) -> AtcError {
        let status = self.status;
        if status.is_redirection() {
            let to = self.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| Url::parse(to).ok());
            let place = to.map(|to| to.origin().ascii_serialization());
            return AtcError::Redirected(place.unwrap_or_else(|| "another page".to_owned()));
        }
        let passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
            );
        if passing {
            AtcError::Failed(status.as_u16())
        } else {
            AtcError::Odd(format!("status {}", status.as_u16()))
        }
    }

    /// The type of its content, as far as it is fit to be shown.
    pub fn kind(&self) -> String {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("no type");
        one_line(&kind.chars().take(60).collect::<String>())
    }
}

/// An answer, and the query of the page after it.
pub(super) struct Found<T> {
    pub value: T,
    pub next: Option<String>,
}

/// The query of the link to the next page.
///
/// Source: RFC 8288, as far as Concourse uses it.
pub(super) fn next_page(headers: &HeaderMap, here: &Url) -> Option<String> {
    let links = headers.get_all(LINK).iter();
    let links = links.filter_map(|links| links.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (url, rel) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = rel.split(';').any(|part| {
            let part = part.trim();
            part == "rel=\"next\"" || part == "rel=next"
        });
        let url = here.join(url).ok().filter(|_| next)?;
        url.query().map(str::to_owned)
    })
}
