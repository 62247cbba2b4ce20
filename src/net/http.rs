//! An HTTP client on a route: certificates, proxies, time limits, and the rule by which a redirect is followed.
//!
//! The requests themselves are the library's, which nobody else names.

use std::fmt::{self, Display, Formatter};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

pub use reqwest::{Error, Method, RequestBuilder, Response, StatusCode, header};
use url::Url;

use crate::{NetError, Route, connect, keep_to_built_in_services, tls, without_credentials};

/// How long a connection is kept that nothing goes over. Many servers close theirs after five seconds, and a request that
/// is on its way then is lost.
const KEPT: Duration = Duration::from_secs(4);

/// How many redirects are followed: more is a circle.
pub const MOST_REDIRECTS: usize = 5;

/// A client for the servers at one end of a route. It follows no redirects by itself; see [`redirect`].
#[derive(Debug)]
pub struct Client {
    route: Route,
    agent: &'static str,
    plain: OnceLock<reqwest::Client>,
    /// Apart, for reading the system's certificates takes longer than a request: only where they are needed.
    tls: OnceLock<reqwest::Client>,
}

impl Client {
    /// Makes a client for servers like the one at `url`; `agent` is what it calls itself.
    ///
    /// # Errors
    /// [`NetError`] when the settings cannot be used, such as certificates that are none.
    pub fn new(url: &Url, route: &Route, agent: &'static str) -> Result<Client, NetError> {
        let client = Client {
            route: route.clone(),
            agent,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        };
        client.of(url)?;
        Ok(client)
    }

    /// How servers are reached.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Begins a request.
    ///
    /// # Errors
    /// As [`Client::new`], where `url` is of another scheme than the first one.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, NetError> {
        Ok(self.of(&url)?.request(method, url))
    }

    /// Sends a request to `url`, and says what went wrong; `remote` is what messages call the server.
    ///
    /// # Errors
    /// [`NetError`].
    pub async fn send(
        &self,
        request: RequestBuilder,
        url: &Url,
        remote: &str,
    ) -> Result<Response, NetError> {
        match request.send().await {
            Ok(response) => Ok(response),
            Err(err) => Err(self.failed(err, url, remote).await),
        }
    }

    /// Reads the body of an answer from `url`, of which `most` bytes are allowed.
    ///
    /// # Errors
    /// [`NetError`]; [`NetError::TooLong`] as soon as there are more bytes.
    pub async fn body(
        &self,
        mut response: Response,
        url: &Url,
        remote: &str,
        most: usize,
    ) -> Result<Vec<u8>, NetError> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() + piece.len() <= most => {
                    body.extend_from_slice(&piece);
                }
                Ok(Some(_)) => {
                    return Err(NetError::TooLong {
                        remote: remote.to_owned(),
                        most,
                    });
                }
                Ok(None) => return Ok(body),
                Err(err) => return Err(self.failed(err, url, remote).await),
            }
        }
    }

    /// What an error of the library means.
    async fn failed(&self, err: Error, url: &Url, remote: &str) -> NetError {
        let Route { limits, proxy, .. } = &self.route;
        let reached = match proxy {
            Some(proxy) => format!("{remote} through the proxy {}:{}", proxy.host, proxy.port),
            None => remote.to_owned(),
        };
        if err.is_timeout() {
            let after = if err.is_connect() {
                limits.connect
            } else {
                limits.silence
            };
            return NetError::Silent {
                remote: reached,
                after,
            };
        }
        // The URL is in the message already, and without what we have taken out of it.
        let err = err.without_url();
        let told = terminal::chain(&err);
        if told.contains("tunnel error")
            && let Some(proxy) = proxy
        {
            // The client does not say what the proxy answered. Ask it once more, and look.
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or(443);
            if let Err(err) = connect(&reached, host, port, Some(proxy), *limits).await {
                return err;
            }
        }
        if told.contains("certificate") {
            return NetError::Certificate {
                remote: remote.to_owned(),
                source: err.into(),
            };
        }
        NetError::Unreachable {
            remote: reached,
            source: Broken(err).into(),
        }
    }

    /// The library's client for URLs of this scheme.
    fn of(&self, url: &Url) -> Result<&reqwest::Client, NetError> {
        let is_tls = url.scheme() == "https";
        let cell = if is_tls { &self.tls } else { &self.plain };
        if cell.get().is_none() {
            // Somebody else may have been faster, with the same.
            let _ = cell.set(self.make(url, is_tls)?);
        }
        cell.get()
            .ok_or_else(|| NetError::Setting("there is no HTTP client".to_owned()))
    }

    fn make(&self, url: &Url, is_tls: bool) -> Result<reqwest::Client, NetError> {
        let failed = |source: reqwest::Error| NetError::Unreachable {
            remote: without_credentials(url),
            source: source.without_url().into(),
        };
        keep_to_built_in_services();
        let mut builder = reqwest::Client::builder()
            .user_agent(self.agent)
            .connect_timeout(self.route.limits.connect)
            .read_timeout(self.route.limits.silence)
            .pool_idle_timeout(KEPT)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_proxy();
        if let Some(proxy) = &self.route.proxy {
            let mut through = reqwest::Proxy::all(format!("http://{}:{}", proxy.host, proxy.port))
                .map_err(failed)?;
            if let Some(credentials) = &proxy.credentials {
                let password = credentials.password.as_deref().unwrap_or_default();
                through = through.basic_auth(&credentials.username, password);
            }
            builder = builder.proxy(through);
        }
        let builder = if is_tls {
            tls::trust(builder, &self.route.trust)?
        } else {
            tls::none(builder)
        };
        builder.build().map_err(failed)
    }
}

/// Whether a connection that had been made broke before anything of the answer was there.
pub fn broke(err: &NetError) -> bool {
    let NetError::Unreachable { source, .. } = err else {
        return false;
    };
    let source = source.downcast_ref::<Broken>();
    source.is_some_and(|Broken(err)| err.is_request() && !err.is_connect())
}

/// Whether no connection was made, so that nothing can have been sent.
pub fn made_no_connection(err: &NetError) -> bool {
    let NetError::Unreachable { source, .. } = err else {
        return false;
    };
    let source = source.downcast_ref::<Broken>();
    source.is_some_and(|Broken(err)| err.is_connect())
}

/// An error of the library in the words of its first cause. What lies above it only names the layers that it came through.
#[derive(Debug)]
pub struct Broken(pub Error);

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut first: &dyn std::error::Error = &self.0;
        while let Some(cause) = first.source() {
            first = cause;
        }
        Display::fmt(first, f)
    }
}

impl std::error::Error for Broken {}

/// How long a server asks to be left alone. The other form, a date, is by the server's clock.
///
/// Source: RFC 9110, 10.2.3 "Retry-After".
pub fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// What the server's clock says, in an answer that comes from itself and not from a cache.
pub fn server_time(response: &Response) -> Option<SystemTime> {
    let headers = response.headers();
    let date = headers
        .get(header::DATE)
        .filter(|_| !headers.contains_key(header::AGE))?;
    httpdate::parse_http_date(date.to_str().ok()?).ok()
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// To a place that may be asked in the same way. It has no credentials of the server's choice in it.
    To(Url),
    /// To a place that our secrets, or what is sent, are not meant for.
    Elsewhere(Url),
    /// To no place that one could go to, or in a circle.
    Nowhere,
}

/// Reads the `n`th redirect in a row, an answer to a request for `from` that had secrets in it or not.
///
/// Secrets stay on the host (and the kind of connection) that they were given for, except that plain HTTP may become
/// HTTPS.
pub fn redirect(from: &Url, response: &Response, n: usize, with_secrets: bool) -> Redirect {
    let to = response
        .headers()
        .get(header::LOCATION)
        .and_then(|to| from.join(to.to_str().ok()?).ok())
        .filter(|to| matches!(to.scheme(), "http" | "https") && n <= MOST_REDIRECTS);
    match to {
        None => Redirect::Nowhere,
        Some(to) if !may_follow(from, &to, with_secrets) => Redirect::Elsewhere(to),
        Some(mut to) => {
            // They would be sent as if they were ours.
            let _ = to.set_username("");
            let _ = to.set_password(None);
            Redirect::To(to)
        }
    }
}

fn may_follow(from: &Url, to: &Url, with_secrets: bool) -> bool {
    let same_host = to.host() == from.host();
    let same_place = same_host && to.scheme() == from.scheme() && to.port() == from.port();
    let safer = same_host && from.scheme() == "http" && to.scheme() == "https";
    let is_laid_open = from.scheme() == "https" && to.scheme() == "http";
    same_place || safer || !(with_secrets || is_laid_open)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn secrets_stay_where_they_were_given_for_and_nothing_that_was_hidden_is_laid_open() {
        for (from, to, with_secrets, followed) in [
            ("http://a/x", "http://a/y", true, true),
            ("http://a/x", "https://a/y", true, true),
            ("http://a/x", "http://a:81/y", true, false),
            ("http://a/x", "http://b/y", true, false),
            ("http://a/x", "http://b/y", false, true),
            ("https://a/x", "https://b/y", false, true),
            ("https://a/x", "http://a/y", false, false),
            ("https://a/x", "http://a/y", true, false),
        ] {
            let [from, to] = [from, to].map(|url| Url::parse(url).unwrap());

            assert_eq!(
                may_follow(&from, &to, with_secrets),
                followed,
                "{from} {to}"
            );
        }
    }
}
