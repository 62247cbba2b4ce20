//! `http://` and `https://`: the smart protocol in single requests, on kept connections.
//!
//! Credentials go with the first request, which spares a round trip, and never to another host.
//!
//! Source: `gitprotocol-http(5)`.

use std::sync::Mutex;

use futures_util::TryStreamExt;
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, StatusCode};
use tokio_util::io::StreamReader;
use url::Url;

use super::super::location::{Credentials, without_credentials};
use super::super::packet::PacketReader;
use super::super::{RemoteError, readable};
use super::{Limits, Link, Service, Talk, To};

/// How many redirects are followed: more is a circle.
const MOST_REDIRECTS: usize = 5;

pub(super) struct Http {
    client: Client,
    credentials: Option<Credentials>,
    /// Where the repository is; moves when the server redirects within its host.
    base: Mutex<Url>,
}

impl Http {
    pub fn new(
        url: &Url,
        credentials: Option<Credentials>,
        limits: Limits,
    ) -> Result<Http, RemoteError> {
        let client = Client::builder()
            .user_agent(concat!(
                "git/2.0 (",
                env!("CARGO_PKG_NAME"),
                " ",
                env!("CARGO_PKG_VERSION"),
                ")"
            ))
            .connect_timeout(limits.connect)
            .read_timeout(limits.silence)
            // Followed below, where the host can be looked at and the new place remembered.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .build()
            .map_err(|source| RemoteError::Unreachable {
                remote: without_credentials(url),
                source: source.into(),
            })?;
        Ok(Http {
            client,
            credentials,
            base: Mutex::new(url.clone()),
        })
    }

    pub async fn open<'a>(
        &'a self,
        link: &'a Link,
        service: Service,
    ) -> Result<Talk<'a>, RemoteError> {
        let mut url = self.url(&format!("info/refs?service={}", service.name()));
        let mut redirects = 0;
        let response = loop {
            let mut request = self
                .client
                .get(url.clone())
                .header(
                    ACCEPT,
                    format!("application/x-{}-advertisement, */*", service.name()),
                )
                .header(CACHE_CONTROL, "no-cache");
            if let Some(credentials) = &self.credentials {
                request = request.basic_auth(&credentials.username, credentials.password.as_ref());
            }
            let response = request.send().await.map_err(|err| failed(link, err))?;
            if !response.status().is_redirection() {
                break response;
            }
            redirects += 1;
            url = self.redirected(link, &url, &response, redirects)?;
        };
        let response = accepted(link, response).await?;
        expect_type(
            link,
            &response,
            &format!("application/x-{}-advertisement", service.name()),
        )?;
        if redirects > 0 {
            self.remember(&url);
        }
        Ok(Talk {
            link,
            reader: reader(link, response),
            to: To::Http {
                http: self,
                service,
            },
        })
    }

    pub async fn post(
        &self,
        link: &Link,
        service: Service,
        body: Vec<u8>,
    ) -> Result<PacketReader, RemoteError> {
        let name = service.name();
        let mut request = self
            .client
            .post(self.url(name))
            .header(CONTENT_TYPE, format!("application/x-{name}-request"))
            .header(ACCEPT, format!("application/x-{name}-result"))
            .body(body);
        if let Some(credentials) = &self.credentials {
            request = request.basic_auth(&credentials.username, credentials.password.as_ref());
        }
        let response = request.send().await.map_err(|err| failed(link, err))?;
        let response = accepted(link, response).await?;
        expect_type(link, &response, &format!("application/x-{name}-result"))?;
        Ok(reader(link, response))
    }

    fn url(&self, rest: &str) -> Url {
        let base = self
            .base
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut url = base.clone();
        let (path, query) = rest
            .split_once('?')
            .map_or((rest, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// Where a redirect leads, if we may follow: credentials stay on the host (and the kind of connection) they were
    /// given for, except that plain HTTP may become HTTPS.
    fn redirected(
        &self,
        link: &Link,
        from: &Url,
        response: &Response,
        n: usize,
    ) -> Result<Url, RemoteError> {
        let to = response
            .headers()
            .get(LOCATION)
            .and_then(|to| from.join(to.to_str().ok()?).ok())
            .filter(|to| matches!(to.scheme(), "http" | "https") && n <= MOST_REDIRECTS);
        let Some(to) = to else {
            return Err(RemoteError::Protocol {
                remote: link.remote.clone(),
                found: format!("status {}, and no place to go to", response.status()),
            });
        };
        let same_host = to.host() == from.host();
        let same_place = same_host && to.scheme() == from.scheme() && to.port() == from.port();
        let safer = same_host && from.scheme() == "http" && to.scheme() == "https";
        let ours_to_read =
            self.credentials.is_none() && !(from.scheme() == "https" && to.scheme() == "http");
        if same_place || safer || ours_to_read {
            Ok(to)
        } else {
            Err(RemoteError::Redirected {
                remote: link.remote.clone(),
                to: without_credentials(&to),
            })
        }
    }

    /// Takes a redirect of the first request as the new place of the repository.
    fn remember(&self, url: &Url) {
        if let Some(path) = url.path().strip_suffix("/info/refs") {
            let mut base = url.clone();
            base.set_query(None);
            base.set_path(path);
            *self
                .base
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = base;
        }
    }
}

fn reader(link: &Link, response: Response) -> PacketReader {
    let stream = response.bytes_stream().map_err(std::io::Error::other);
    PacketReader::new(
        Box::new(StreamReader::new(Box::pin(stream))),
        link.limits.silence,
    )
}

/// Turns a status that is not a success into the error it means, with the first words of the page.
async fn accepted(link: &Link, response: Response) -> Result<Response, RemoteError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let remote = link.remote.clone();
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let mut words = status.to_string();
    if plain && let Ok(page) = first_bytes(response).await {
        let page = readable(&page);
        if !page.is_empty() {
            words = format!("{words}: {page}");
        }
    }
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RemoteError::Denied { remote, words },
        StatusCode::NOT_FOUND | StatusCode::GONE => RemoteError::NotFound { remote, words },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            RemoteError::Failed { remote, words }
        }
        status if status.is_server_error() => RemoteError::Failed { remote, words },
        _ => RemoteError::Protocol {
            remote,
            found: format!("status {words}"),
        },
    })
}

/// The beginning of a page: enough for a line in a log.
async fn first_bytes(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    const ENOUGH: usize = 512;
    let mut bytes = Vec::new();
    while bytes.len() < ENOUGH {
        match response.chunk().await? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => break,
        }
    }
    bytes.truncate(ENOUGH);
    Ok(bytes)
}

fn expect_type(link: &Link, response: &Response, wanted: &str) -> Result<(), RemoteError> {
    let found = response
        .headers()
        .get(CONTENT_TYPE)
        .map(|kind| kind.as_bytes());
    if found.is_some_and(|found| found == wanted.as_bytes()) {
        return Ok(());
    }
    let found = found.map_or("nothing".to_owned(), readable);
    Err(RemoteError::Protocol {
        remote: link.remote.clone(),
        found: format!("its answer is of the type `{found}`, not `{wanted}`; check `source.uri`"),
    })
}

fn failed(link: &Link, err: reqwest::Error) -> RemoteError {
    let remote = link.remote.clone();
    if err.is_timeout() {
        let after = if err.is_connect() {
            link.limits.connect
        } else {
            link.limits.silence
        };
        return RemoteError::Silent { remote, after };
    }
    // The URL is in the message already, and without what we have taken out of it.
    RemoteError::Unreachable {
        remote,
        source: err.without_url().into(),
    }
}
