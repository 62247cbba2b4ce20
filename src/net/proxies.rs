//! Which proxy a URL is reached through.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::{Credentials, Proxy};

/// Which HTTP proxies the environment names, as `curl` and Git read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTP_PROXY`, for `http://`.
    pub http: String,
    /// `HTTPS_PROXY`, for `https://`.
    pub https: String,
    /// `ALL_PROXY`, for both.
    pub all: String,
    /// `NO_PROXY`: hosts, domains and networks that are reached without one.
    pub no: String,
}

/// Why a proxy cannot be used. The words go on from the name of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The URL cannot be reached through any.
    #[error("cannot be used for this uri")]
    Target,
    /// It is not a URL.
    #[error("is not the URL of a proxy")]
    Malformed,
    /// It is reached in another way than by plain HTTP.
    #[error("is of a kind that is not supported; it must be an http:// URL")]
    Kind,
    /// There is nowhere to go.
    #[error("has no host")]
    NoHost,
}

impl Proxies {
    /// The proxy for `url`, if it is to be reached through one.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub fn proxy_for(&self, url: &Url) -> Result<Option<Proxy>, ProxyError> {
        // The matcher takes it for a name, which an address never has.
        if self.no.split(',').any(|host| host.trim() == "*") {
            return Ok(None);
        }
        let matcher = Matcher::builder()
            .all(self.all.clone())
            .http(self.http.clone())
            .https(self.https.clone())
            .no(self.no.clone())
            .build();
        matching(&matcher, url)
    }
}

impl Proxy {
    /// The proxy that is set for all URLs, such as for `url`.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub fn parse(proxy: &str, url: &Url) -> Result<Proxy, ProxyError> {
        let matcher = Matcher::builder().all(proxy.to_owned()).build();
        matching(&matcher, url)?.ok_or(ProxyError::Malformed)
    }
}

fn matching(matcher: &Matcher, url: &Url) -> Result<Option<Proxy>, ProxyError> {
    let target = url.as_str().parse().map_err(|_| ProxyError::Target)?;
    let Some(found) = matcher.intercept(&target) else {
        return Ok(None);
    };
    let uri = found.uri();
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(ProxyError::Kind);
    }
    let credentials = found
        .basic_auth()
        .and_then(|header| basic(header.to_str().ok()?));
    Ok(Some(Proxy {
        host: uri.host().ok_or(ProxyError::NoHost)?.to_owned(),
        port: uri.port_u16().unwrap_or(80),
        credentials,
    }))
}

/// The user and password in the value of a header of the scheme Basic.
fn basic(header: &str) -> Option<Credentials> {
    let bytes = BASE64_STANDARD
        .decode(header.strip_prefix("Basic ")?)
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':').unwrap_or((&text, ""));
    Some(Credentials {
        username: username.to_owned(),
        password: Some(password.to_owned()),
    })
}
