//! One request and its answer, whatever its status.

use std::time::Duration;

use net::http::header::{
    CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use net::http::{Method, RequestBuilder, StatusCode};
use net::without_credentials;
use serde::de::DeserializeOwned;
use serde_json::Value;
use terminal::one_line;
use tokio::time::timeout;
use url::Url;

use super::{Coordinator, MOST_JOB};
use crate::GitlabError;
use crate::client::retry_after;

/// What goes with a request.
pub(super) enum Body<'a> {
    Json(&'a Value),
    JobToken(&'a str),
    Private(&'a str),
    Trace {
        token: &'a str,
        offset: u64,
        text: &'a str,
    },
}

/// An answer.
pub(super) struct Said {
    pub status: StatusCode,
    at: String,
    who: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Coordinator {
    /// Sends one request. A redirect is not followed: what is sent is meant for this place alone.
    pub(super) async fn say(
        &self,
        method: Method,
        path: &[&str],
        body: Body<'_>,
        limit: Duration,
    ) -> Result<Said, GitlabError> {
        let url = self.api.below(path);
        let at = without_credentials(&url);
        match timeout(limit, self.say_at(method, &url, &at, body)).await {
            Ok(said) => said,
            Err(_) => Err(GitlabError::Slow { at, limit }),
        }
    }

    async fn say_at(
        &self,
        method: Method,
        url: &Url,
        at: &str,
        body: Body<'_>,
    ) -> Result<Said, GitlabError> {
        let request = self.client.request(method, url.clone())?;
        let (request, who) = body.put_into(request, at)?;
        let response = self.client.send(request, url, at).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            return Err(match to {
                Some(to) => GitlabError::Redirected {
                    at: at.to_owned(),
                    to: one_line(&to.origin().ascii_serialization()),
                },
                None => GitlabError::Odd {
                    at: at.to_owned(),
                    found: "a redirect to nowhere".to_owned(),
                },
            });
        }
        let body = self.client.body(response, url, at, MOST_JOB).await?;
        Ok(Said {
            status,
            at: at.to_owned(),
            who,
            headers,
            body,
        })
    }
}

impl Body<'_> {
    fn put_into(
        self,
        request: RequestBuilder,
        at: &str,
    ) -> Result<(RequestBuilder, &'static str), GitlabError> {
        let secret = |token: &str| {
            let value = HeaderValue::from_str(token);
            let mut value = value.map_err(|_| GitlabError::Odd {
                at: at.to_owned(),
                found: "a token that cannot be sent".to_owned(),
            })?;
            value.set_sensitive(true);
            Ok::<_, GitlabError>(value)
        };
        const JOB_TOKEN: HeaderName = HeaderName::from_static("job-token");
        const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");
        Ok(match self {
            Body::Json(body) => {
                let request = request.header(CONTENT_TYPE, "application/json");
                (request.body(body.to_string()), "the runner")
            }
            Body::JobToken(token) => (request.header(JOB_TOKEN, secret(token)?), "the job token"),
            Body::Private(token) => (
                request.header(PRIVATE_TOKEN, secret(token)?),
                "the private token",
            ),
            Body::Trace {
                token,
                offset,
                text,
            } => {
                let last = offset + (text.len() as u64).saturating_sub(1);
                let request = request
                    .header(JOB_TOKEN, secret(token)?)
                    .header(CONTENT_TYPE, "text/plain")
                    .header(CONTENT_RANGE, format!("{offset}-{last}"))
                    .body(text.to_owned());
                (request, "the job token")
            }
        })
    }
}

impl Said {
    /// The value of a header, if it has one that can be read.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The body as a text.
    pub fn text(self) -> Result<String, GitlabError> {
        let at = self.at;
        String::from_utf8(self.body).map_err(|_| GitlabError::Odd {
            at,
            found: "what is no text".to_owned(),
        })
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, GitlabError> {
        serde_json::from_slice(&self.body).map_err(|_| GitlabError::Odd {
            at: self.at.clone(),
            found: "other than JSON of the kind".to_owned(),
        })
    }

    /// The beginning of the body, for people.
    pub fn shown(&self) -> String {
        const SHOWN: usize = 300;
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(SHOWN).collect();
        one_line(&text)
    }

    /// What a status means that none of the answers has.
    pub fn fault(&self) -> GitlabError {
        let at = self.at.clone();
        let status = self.status.as_u16();
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                GitlabError::Refused {
                    at,
                    who: self.who,
                    status,
                }
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => GitlabError::Failed {
                at,
                status,
                retry_after: retry_after(&self.headers),
            },
            _ if self.status.is_server_error() => GitlabError::Failed {
                at,
                status,
                retry_after: retry_after(&self.headers),
            },
            _ => GitlabError::Unexpected { at, status },
        }
    }
}
