//! The one request to the Pushgateway: within a time limit, tried twice.
//!
//! It is made like those to a Git server over HTTP: the same trust, the same proxies, the same rule for redirects.

use std::time::Duration;

use git::{Location, LocationError};
use net::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use net::http::{Broken, Client, Method, Redirect, Response, StatusCode, redirect};
use net::{AGENT, Credentials, Limits, NetError, Proxy, Route, Secret, Trust, without_credentials};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::{Change, Push};

/// The longest that pushing may take, with everything that belongs to it.
///
/// A gateway answers in milliseconds, or is not worth a build's time.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Between two tries, if there is time: a gateway that restarts is back in a moment, and a burst is over.
const PAUSE: Duration = Duration::from_millis(250);

/// A Pushgateway, and how to get there.
pub struct Gateway {
    client: Client,
    /// Without credentials, and without a slash at its end.
    url: Url,
    authorization: Option<HeaderValue>,
}

/// Why metrics did not get to the gateway. Has no credentials in it.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The URL is none that can be used.
    #[error("`source.prometheus_push_gateway` cannot be used")]
    Location(#[from] LocationError),
    /// The settings cannot be used.
    #[error(transparent)]
    Setting(#[from] NetError),
    /// No connection, or it broke.
    #[error("metrics cannot be pushed to `{gateway}`")]
    Unreachable {
        /// Where to.
        gateway: String,
        /// What happened.
        #[source]
        source: Broken,
    },
    /// There was no answer in time.
    #[error("metrics cannot be pushed to `{gateway}`: no answer for {}", humantime::format_duration(*.after))]
    Silent {
        /// Where to.
        gateway: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The answer is a no.
    #[error("metrics cannot be pushed to `{gateway}`: it answers {words}")]
    Refused {
        /// Who.
        gateway: String,
        /// The status, and what the gateway says to it.
        words: String,
        /// Whether another try may do better.
        passes: bool,
    },
    /// It points to another place, to which we do not carry what is meant for this one.
    #[error(
        "metrics cannot be pushed to `{gateway}`: it redirects to `{to}`; if that is right, put it into `source.prometheus_push_gateway`"
    )]
    Redirected {
        /// Who.
        gateway: String,
        /// Where to, without credentials.
        to: String,
    },
}

impl PushError {
    /// Whether the same request may well succeed a moment later.
    fn passes(&self) -> bool {
        match self {
            PushError::Unreachable { .. } | PushError::Silent { .. } => true,
            PushError::Refused { passes, .. } => *passes,
            PushError::Location(_) | PushError::Setting(_) | PushError::Redirected { .. } => false,
        }
    }
}

impl Gateway {
    /// The gateway at `url`, which may have a user and a password in it, reached through `proxy` if there is one.
    ///
    /// # Errors
    /// [`PushError`] when that cannot be; nothing is sent yet.
    pub fn new(
        url: &Secret<Url>,
        trust: &Trust,
        proxy: Option<Proxy>,
    ) -> Result<Gateway, PushError> {
        let (location, credentials) = Location::parse(url.expose().as_str())?;
        let Location::Http(url) = location else {
            // The source takes no other.
            let words = "`source.prometheus_push_gateway` must be an http or https URL".to_owned();
            return Err(NetError::Setting(words).into());
        };
        let route = Route {
            limits: Limits {
                connect: LIMIT,
                silence: LIMIT,
                attempt: LIMIT,
            },
            trust: trust.clone(),
            proxy,
        };
        Ok(Gateway {
            client: Client::new(&url, &route, AGENT)?,
            authorization: credentials.as_ref().map(authorization).transpose()?,
            url,
        })
    }

    /// Pushes, twice if need be, within `limit`.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, push: &Push, limit: Duration) -> Result<(), PushError> {
        let start = Instant::now();
        let Err(first) = self.attempt(push, start, start + limit / 2).await else {
            return Ok(());
        };
        if !first.passes() {
            return Err(first);
        }
        let end = start + limit;
        let left = end.saturating_duration_since(Instant::now());
        sleep(PAUSE.min(left / 4)).await;
        self.attempt(push, start, end).await
    }

    /// Asks the gateway whether it is there; nothing is pushed.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn reach(&self) -> Result<(), PushError> {
        let mut url = self.url.clone();
        let base = self.url.path().trim_end_matches('/');
        url.set_path(&format!("{base}/-/ready"));
        let mut request = self.client.request(Method::GET, url)?;
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let end = Instant::now() + LIMIT;
        match timeout_at(end, request.send()).await {
            Err(_) => Err(self.silent(LIMIT)),
            Ok(Err(err)) => Err(PushError::Unreachable {
                gateway: self.shown(),
                source: Broken(err.without_url()),
            }),
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(self.refused(response).await),
        }
    }

    async fn attempt(&self, push: &Push, start: Instant, end: Instant) -> Result<(), PushError> {
        match timeout_at(end, self.send(push)).await {
            Ok(result) => result,
            Err(_) => Err(self.silent(end - start)),
        }
    }

    async fn send(&self, push: &Push) -> Result<(), PushError> {
        let mut url = self.url.clone();
        let base = self.url.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{}", push.path));
        let mut redirects = 0;
        loop {
            let response = self.send_to(&url, push).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            // 303 and 304 say that there is nothing to be done again elsewhere.
            if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
                return Err(self.refused(response).await);
            }
            redirects += 1;
            url = self.redirected(&url, &response, redirects)?;
        }
    }

    async fn send_to(&self, url: &Url, push: &Push) -> Result<Response, PushError> {
        let mut request = match &push.change {
            Change::Replace(text) => self
                .client
                .request(Method::POST, url.clone())?
                .header(CONTENT_TYPE, prometheus::TEXT_FORMAT)
                .body(text.clone()),
            Change::Delete => self.client.request(Method::DELETE, url.clone())?,
        };
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|err| {
            if err.is_timeout() {
                return self.silent(LIMIT);
            }
            PushError::Unreachable {
                gateway: self.shown(),
                source: Broken(err.without_url()),
            }
        })
    }

    fn redirected(&self, from: &Url, response: &Response, n: usize) -> Result<Url, PushError> {
        match redirect(from, response, n, self.authorization.is_some()) {
            Redirect::To(to) => Ok(to),
            Redirect::Elsewhere(mut to) => {
                // Of its path there is only ours to see.
                to.set_path("");
                Err(PushError::Redirected {
                    gateway: self.shown(),
                    to: without_credentials(&to),
                })
            }
            Redirect::Nowhere => Err(PushError::Refused {
                gateway: self.shown(),
                words: format!("{}, and leads nowhere", response.status()),
                passes: false,
            }),
        }
    }

    async fn refused(&self, response: Response) -> PushError {
        let status = response.status();
        let passes = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
            );
        let mut words = status.to_string();
        // What the gateway finds wrong with the metrics. Other pages are a web server's, and may repeat the request.
        if status == StatusCode::BAD_REQUEST && self.authorization.is_none() {
            let page = first_line(response).await;
            if !page.is_empty() {
                words = format!("{words}: {page}");
            }
        }
        PushError::Refused {
            gateway: self.shown(),
            words,
            passes,
        }
    }

    fn silent(&self, after: Duration) -> PushError {
        PushError::Silent {
            gateway: self.shown(),
            after,
        }
    }

    /// What messages call it.
    fn shown(&self) -> String {
        let url = self.url.as_str().trim_end_matches('/');
        match &self.client.route().proxy {
            Some(proxy) => format!("{url}` through the proxy `{}:{}", proxy.host, proxy.port),
            None => url.to_owned(),
        }
    }
}

fn authorization(credentials: &Credentials) -> Result<HeaderValue, PushError> {
    let mut value = HeaderValue::from_str(&credentials.basic()).map_err(|_| {
        NetError::Setting("the gateway's credentials cannot be sent in a header".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first line of a page, if it is short.
async fn first_line(mut response: Response) -> String {
    const ENOUGH: usize = 300;
    let mut bytes = Vec::new();
    while bytes.len() < ENOUGH {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ENOUGH);
    let text = String::from_utf8_lossy(&bytes);
    terminal::one_line(text.trim().lines().next().unwrap_or_default())
}
