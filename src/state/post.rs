//! Requests that are sent for events: each once, as far as that can be known.
//!
//! A request is tried again only where the server cannot have acted on it: there was no connection, or it said that it has
//! no time.

use std::time::Duration;

use net::http::{Client, Method, Redirect, StatusCode, header, redirect, retry_after};
use net::{AGENT, Limits, NetError, Proxies, Route, Secret, Trust, without_credentials};
use tokio::time::{sleep, timeout};
use url::Url;

/// The most of an answer that is read, in bytes.
const MOST_ANSWER: usize = 8 * 1024 * 1024;

/// How often a request is sent, the first time included.
const TRIES: usize = 3;

/// The pauses between tries are as long, and twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that a server may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Time limits: those who are told of events answer at once, or later by themselves.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    silence: Duration::from_secs(30),
    attempt: Duration::from_secs(60),
};

/// Sends requests.
pub struct Poster {
    proxies: Proxies,
    trust: Trust,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where to.
    pub url: Url,
    /// Headers that say nothing secret.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Headers that may.
    pub secret_headers: Vec<(String, Secret)>,
    /// What is sent.
    pub body: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What it says.
    pub body: String,
}

impl Answer {
    /// Whether it is a success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Not a URL that can be asked.
    #[error("`{0}` is no http or https URL")]
    Url(String),
    /// A header that cannot be sent.
    #[error("the value of the header `{0}` cannot be sent")]
    Header(String),
    /// The proxy of the environment.
    #[error("the environment's proxy {0}")]
    Proxy(#[from] net::ProxyError),
    /// It leads to where our secrets must not go, or in a circle.
    #[error(
        "`{remote}` redirects to `{to}`, where this request is not for; put the right URL into the config"
    )]
    Redirected {
        /// Who.
        remote: String,
        /// Where to.
        to: String,
    },
    /// On the way.
    #[error(transparent)]
    Net(#[from] NetError),
    /// On the way, when the request may have arrived.
    #[error("it was sent once, and `{remote}` may have acted on it")]
    Lost {
        /// Who.
        remote: String,
        /// What happened.
        #[source]
        source: NetError,
    },
}

/// Reads a URL that can be asked.
///
/// # Errors
/// [`PostError::Url`].
pub fn parse_url(text: &str) -> Result<Url, PostError> {
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(url) => Err(PostError::Url(without_credentials(&url))),
        // Without the text, which may have a password in it.
        Err(why) => Err(PostError::Url(why.to_string())),
    }
}

impl Poster {
    /// Goes through these proxies, and trusts these certificates.
    pub fn new(proxies: Proxies, trust: Trust) -> Poster {
        Poster { proxies, trust }
    }

    /// Sends a request, and follows where the answer leads if it may go there.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn send(&self, post: &Post) -> Result<Answer, PostError> {
        let mut url = post.url.clone();
        let mut method = Method::POST;
        for n in 1.. {
            let (status, to, body) = self.send_patiently(post, &method, &url).await?;
            let Some(to) = to else {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Ok(Answer { status, body });
            };
            let elsewhere = |to: String| PostError::Redirected {
                remote: without_credentials(&url),
                to,
            };
            match to(n) {
                Redirect::To(next) => url = next,
                Redirect::Elsewhere(to) => return Err(elsewhere(without_credentials(&to))),
                Redirect::Nowhere => return Err(elsewhere("nowhere, or in a circle".to_owned())),
            }
            // As clients do, whatever the standard once said.
            if matches!(status, 301..=303) {
                method = Method::GET;
            }
        }
        Err(PostError::Url(without_credentials(&url)))
    }

    async fn send_patiently(
        &self,
        post: &Post,
        method: &Method,
        url: &Url,
    ) -> Result<Sent, PostError> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            let wait = match self.send_once(post, method, url).await {
                Err(PostError::Net(_)) => Duration::ZERO,
                Ok((429 | 503, _, wait)) => wait,
                Ok((status, sent, _)) => return Ok((status, sent.0, sent.1)),
                Err(err) => return Err(err),
            };
            sleep(pause.max(wait.min(LONGEST_WAIT))).await;
            pause *= 2;
        }
        let (status, sent, _) = self.send_once(post, method, url).await?;
        Ok((status, sent.0, sent.1))
    }

    async fn send_once(
        &self,
        post: &Post,
        method: &Method,
        url: &Url,
    ) -> Result<(u16, (Option<Leads>, Vec<u8>), Duration), PostError> {
        let route = Route {
            limits: LIMITS,
            trust: self.trust.clone(),
            proxy: self.proxies.proxy_for(url)?,
        };
        let client = Client::new(url, &route, AGENT)?;
        let remote = without_credentials(url);
        let mut request = client.request(method.clone(), url.clone())?;
        for (name, value) in &post.headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &post.secret_headers {
            let wrong = || PostError::Header(terminal::one_line(name));
            let header_name =
                header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = header::HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            request = request.header(header_name, value);
        }
        if *method == Method::POST {
            request = request.body(post.body.clone());
        }
        let lost = |source| PostError::Lost {
            remote: remote.clone(),
            source,
        };
        let exchange = async {
            let response = match client.send(request, url, &remote).await {
                Ok(response) => response,
                Err(err) if was_not_sent(&err) => return Err(PostError::Net(err)),
                Err(err) => return Err(lost(err)),
            };
            let status = response.status();
            let wait = retry_after(&response).unwrap_or_default();
            let leads = leads(status, url, &response, !post.secret_headers.is_empty());
            let body = client
                .body(response, url, &remote, MOST_ANSWER)
                .await
                .map_err(lost)?;
            Ok((status.as_u16(), (leads, body), wait))
        };
        match timeout(LIMITS.attempt, exchange).await {
            Ok(done) => done,
            Err(_) => Err(lost(NetError::Silent {
                remote: remote.clone(),
                after: LIMITS.attempt,
            })),
        }
    }
}

/// A status, where it leads, and what it says.
type Sent = (u16, Option<Leads>, Vec<u8>);

/// Where the `n`th redirect in a row leads.
type Leads = Box<dyn Fn(usize) -> Redirect>;

fn leads(
    status: StatusCode,
    from: &Url,
    response: &net::http::Response,
    with_secrets: bool,
) -> Option<Leads> {
    if !matches!(status.as_u16(), 301..=303 | 307 | 308) {
        return None;
    }
    let first = redirect(from, response, 1, with_secrets);
    Some(Box::new(move |n| match n > net::http::MOST_REDIRECTS {
        true => Redirect::Nowhere,
        false => first.clone(),
    }))
}

/// Whether there was no connection over which anything could have been sent.
fn was_not_sent(err: &NetError) -> bool {
    match err {
        NetError::Silent { after, .. } => *after == LIMITS.connect,
        err => net::http::made_no_connection(err),
    }
}
