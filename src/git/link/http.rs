//! `http://` and `https://`: the smart protocol in single requests, on kept connections.
//!
//! Credentials go with the first request, which spares a round trip, and never to another host.
//!
//! Source: `gitprotocol-http(5)`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use net::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use net::http::header::{HeaderMap, HeaderName, HeaderValue};
use net::http::{Broken, Client, Error, Method, Redirect, RequestBuilder, Response, StatusCode};
use net::http::{broke, redirect, retry_after, server_time};
use net::{NetError, without_credentials};
use terminal::harmless::words;
use tokio_util::io::StreamReader;
use url::Url;

use super::super::RemoteError;
use super::super::access::Access;
use super::super::packet::PacketReader;
use super::super::refusal;
use super::{Link, Service, Talk, To};

/// Some servers let nobody in who does not call himself git.
const AGENT: &str = concat!("git/2.0 (pool-resource ", env!("CARGO_PKG_VERSION"), ")");

pub(super) struct Http {
    client: Client,
    /// What goes with each request: credentials, and whatever the settings add.
    headers: HeaderMap,
    /// Where the repository is; moves when the server redirects within its host.
    base: Mutex<Url>,
    /// Whether anything has been answered, so that a connection may have been kept.
    has_answered: AtomicBool,
}

impl Http {
    pub fn new(url: &Url, access: &Access) -> Result<Http, RemoteError> {
        let client = Client::new(url, &access.route, AGENT)?;
        let mut headers = HeaderMap::new();
        for header in &access.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_str(&header.value);
            let (Ok(name), Ok(mut value)) = (name, value) else {
                let message = format!(
                    "`http.extraHeader` has a header {:?} that cannot be sent",
                    header.name
                );
                return Err(NetError::Setting(message).into());
            };
            value.set_sensitive(true);
            headers.append(name, value);
        }
        if let Some(credentials) = &access.credentials {
            let mut value = HeaderValue::from_str(&credentials.basic()).map_err(|_| {
                NetError::Setting("the credentials cannot be sent in a header".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Http {
            client,
            headers,
            base: Mutex::new(url.clone()),
            has_answered: AtomicBool::new(false),
        })
    }

    pub async fn open(&self, link: &Arc<Link>, service: Service) -> Result<Talk, RemoteError> {
        let mut url = self.url(&format!("info/refs?service={}", service.name()));
        let mut redirects = 0;
        let response = loop {
            let request = self
                .client
                .request(Method::GET, url.clone())?
                .headers(self.headers.clone())
                .header(
                    ACCEPT,
                    format!("application/x-{}-advertisement, */*", service.name()),
                )
                .header(CACHE_CONTROL, "no-cache");
            let response = self.ask(link, request, &url).await?;
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
        let request = self
            .client
            .request(Method::POST, url.clone())?
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, format!("application/x-{name}-request"))
            .header(ACCEPT, format!("application/x-{name}-result"))
            .body(body);
        let response = match service {
            Service::UploadPack => self.ask(link, request, &url).await?,
            Service::ReceivePack => self.send(link, request, &url).await?,
        };
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
        match redirect(from, response, n, !self.headers.is_empty()) {
            Redirect::To(to) | Redirect::Elsewhere(to) if refusal::is_sign_in(to.path()) => {
                Err(RemoteError::Denied {
                    remote: link.remote.clone(),
                    words: format!(
                        "it sends us to `{}` to sign in, as it does where a token is wrong or has expired",
                        without_credentials(&to)
                    ),
                })
            }
            Redirect::To(to) => Ok(to),
            Redirect::Elsewhere(to) => Err(RemoteError::Redirected {
                remote: link.remote.clone(),
                to: without_credentials(&to),
            }),
            Redirect::Nowhere => Err(RemoteError::Protocol {
                remote: link.remote.clone(),
                found: format!("status {}, and no place to go to", response.status()),
            }),
        }
    }

    async fn send(
        &self,
        link: &Link,
        request: RequestBuilder,
        url: &Url,
    ) -> Result<Response, NetError> {
        let response = self.client.send(request, url, &link.remote).await?;
        self.has_answered.store(true, Ordering::Relaxed);
        link.clock.note(server_time(&response));
        Ok(response)
    }

    /// Sends what only reads. That the server closes a kept connection while a request is on its way over it is no fault
    /// of anybody: the request is sent once more.
    async fn ask(
        &self,
        link: &Link,
        request: RequestBuilder,
        url: &Url,
    ) -> Result<Response, NetError> {
        let was_kept = self.has_answered.load(Ordering::Relaxed);
        let again = request.try_clone().filter(|_| was_kept);
        match (self.send(link, request, url).await, again) {
            (Err(err), Some(again)) if broke(&err) => self.send(link, again, url).await,
            (answer, _) => answer,
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
    let stream = response.bytes_stream().map_err(|err| {
        let kind = if err.is_timeout() {
            std::io::ErrorKind::TimedOut
        } else {
            std::io::ErrorKind::Other
        };
        std::io::Error::new(kind, Broken(err))
    });
    PacketReader::new(
        Box::new(StreamReader::new(Box::pin(stream))),
        link.access.route.limits.silence,
    )
}

/// Turns a status that is not a success into the error it means, with the first words of the page.
async fn accepted(link: &Link, response: Response) -> Result<Response, RemoteError> {
    let status = response.status();
    if status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
        return Err(RemoteError::Denied {
            remote: link.remote.clone(),
            words: format!(
                "{status}: it shows a page to sign in, as where a token is wrong or has expired"
            ),
        });
    }
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
    let wait = retry_after(&response);
    let mut told = status.to_string();
    if plain && let Ok(page) = first_bytes(response).await {
        let page = words(&page);
        if !page.is_empty() {
            told = format!("{told}: {page}");
        }
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        told += ", so the server, or a web server before it, limits the size of requests (nginx: `client_max_body_size`)";
    }
    let words = if let Some(proxy) = &link.access.route.proxy {
        let proxy = format!("{}:{}", proxy.host, proxy.port);
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || (status == StatusCode::FORBIDDEN && by_proxy)
        {
            return Err(NetError::Proxy { proxy, words: told }.into());
        }
        format!("{told}, through the proxy {proxy}")
    } else {
        told
    };
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RemoteError::Denied { remote, words },
        StatusCode::NOT_FOUND | StatusCode::GONE => RemoteError::NotFound { remote, words },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if wait.is_some() => {
            let wait = wait.unwrap_or_default();
            NetError::Busy {
                remote,
                words,
                wait,
            }
            .into()
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            NetError::Failed { remote, words }.into()
        }
        status if status.is_server_error() => NetError::Failed { remote, words }.into(),
        status if status.is_client_error() => RemoteError::Refused { remote, words },
        _ => RemoteError::Protocol {
            remote,
            found: format!("status {words}"),
        },
    })
}

/// The beginning of a page: enough for a line in a log.
async fn first_bytes(mut response: Response) -> Result<Vec<u8>, Error> {
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
    let found = found.map_or("nothing".to_owned(), words);
    Err(RemoteError::Protocol {
        remote: link.remote.clone(),
        found: format!(
            "its answer is of the type `{found}`, not `{wanted}`; check `source.uri`, and the credentials if it is a page to sign in"
        ),
    })
}
