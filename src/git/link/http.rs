//! `http://` and `https://`: the smart protocol in single requests, on kept connections.
//!
//! Credentials go with the first request, which spares a round trip, and never to another host.
//!
//! Source: `gitprotocol-http(5)`.

use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio_util::io::StreamReader;
use url::Url;

use super::super::access::Access;
use super::super::location::without_credentials;
use super::super::packet::PacketReader;
use super::super::{RemoteError, readable};
use super::client::{MOST_REDIRECTS, client, may_follow};
use super::connect::connect;
use super::{Link, Service, Talk, To};
use crate::report;

/// Some servers let nobody in who does not call himself git.
const AGENT: &str = concat!(
    "git/2.0 (",
    env!("CARGO_PKG_NAME"),
    " ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

pub(super) struct Http {
    client: Mutex<Client>,
    access: Access,
    /// What goes with each request: credentials, and whatever the settings add.
    headers: HeaderMap,
    /// Where the repository is; moves when the server redirects within its host.
    base: Mutex<Url>,
}

impl Http {
    pub fn new(url: &Url, access: &Access) -> Result<Http, RemoteError> {
        let client = client(url, access, AGENT)?;
        let mut headers = HeaderMap::new();
        for header in &access.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_str(&header.value);
            let (Ok(name), Ok(mut value)) = (name, value) else {
                let message = format!(
                    "`http.extraHeader` has a header {:?} that cannot be sent",
                    header.name
                );
                return Err(RemoteError::Setting(message));
            };
            value.set_sensitive(true);
            headers.append(name, value);
        }
        if let Some(credentials) = &access.credentials {
            let mut value = HeaderValue::from_str(&credentials.basic()).map_err(|_| {
                RemoteError::Setting("the credentials cannot be sent in a header".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Http {
            client: Mutex::new(client),
            access: access.clone(),
            headers,
            base: Mutex::new(url.clone()),
        })
    }

    pub async fn open(&self, link: &Arc<Link>, service: Service) -> Result<Talk, RemoteError> {
        let mut url = self.url(&format!("info/refs?service={}", service.name()));
        let mut redirects = 0;
        let response = loop {
            let request = lock(&self.client)
                .get(url.clone())
                .headers(self.headers.clone())
                .header(
                    ACCEPT,
                    format!("application/x-{}-advertisement, */*", service.name()),
                )
                .header(CACHE_CONTROL, "no-cache");
            let response = send(link, request, &url).await?;
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
            link: link.clone(),
            reader: reader(link, response),
            to: To::Http(service),
        })
    }

    pub async fn post(
        &self,
        link: &Link,
        service: Service,
        body: Vec<u8>,
    ) -> Result<PacketReader, RemoteError> {
        let name = service.name();
        let url = self.url(name);
        let request = lock(&self.client)
            .post(url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, format!("application/x-{name}-request"))
            .header(ACCEPT, format!("application/x-{name}-result"))
            .body(body);
        let response = send(link, request, &url).await?;
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

    /// Where a redirect leads, if we may follow.
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
        if may_follow(from, &to, !self.headers.is_empty()) {
            if to.scheme() != from.scheme() {
                *lock(&self.client) = client(&to, &self.access, AGENT)?;
            }
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn reader(link: &Link, response: Response) -> PacketReader {
    let stream = response.bytes_stream().map_err(|err| {
        let kind = if err.is_timeout() {
            std::io::ErrorKind::TimedOut
        } else {
            std::io::ErrorKind::Other
        };
        std::io::Error::new(kind, err)
    });
    PacketReader::new(
        Box::new(StreamReader::new(Box::pin(stream))),
        link.access.limits.silence,
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
    // Squid marks its own pages; others name themselves in a header of RFC 9209.
    let by_proxy = ["x-squid-error", "proxy-status"]
        .iter()
        .any(|mark| response.headers().contains_key(*mark));
    let mut words = status.to_string();
    if plain && let Ok(page) = first_bytes(response).await {
        let page = readable(&page);
        if !page.is_empty() {
            words = format!("{words}: {page}");
        }
    }
    if let Some(proxy) = &link.access.proxy {
        let proxy = format!("{}:{}", proxy.host, proxy.port);
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || (status == StatusCode::FORBIDDEN && by_proxy)
        {
            return Err(RemoteError::Proxy { proxy, words });
        }
        words = format!("{words}, through the proxy {proxy}");
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

async fn send(link: &Link, request: RequestBuilder, url: &Url) -> Result<Response, RemoteError> {
    let err = match request.send().await {
        Ok(response) => return Ok(response),
        Err(err) => err,
    };
    let limits = link.access.limits;
    let remote = match &link.access.proxy {
        Some(proxy) => format!(
            "{} through the proxy {}:{}",
            link.remote, proxy.host, proxy.port
        ),
        None => link.remote.clone(),
    };
    if err.is_timeout() {
        let after = if err.is_connect() {
            limits.connect
        } else {
            limits.silence
        };
        return Err(RemoteError::Silent { remote, after });
    }
    // The URL is in the message already, and without what we have taken out of it.
    let err = err.without_url();
    let told = report::chain(&err);
    if told.contains("tunnel error")
        && let Some(proxy) = &link.access.proxy
    {
        // The client does not say what the proxy answered. Ask it once more, and look.
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        connect(&remote, host, port, Some(proxy), limits).await?;
    }
    if told.contains("certificate") {
        return Err(RemoteError::Certificate {
            remote: link.remote.clone(),
            source: err.into(),
        });
    }
    Err(RemoteError::Unreachable {
        remote,
        source: err.into(),
    })
}
