//! What every HTTP client of ours has: trust, proxies, time limits, and the rule by which a redirect is followed.

use reqwest::Client;
use url::Url;

use super::super::RemoteError;
use super::super::access::Access;
use super::super::location::without_credentials;
use super::tls;

/// How many redirects are followed: more is a circle.
pub(crate) const MOST_REDIRECTS: usize = 5;

/// Makes a client for servers like the one at `url`: over TLS or not, through a proxy or not.
///
/// # Errors
/// [`RemoteError`] when the settings cannot be used, such as certificates that are none.
pub(crate) fn client(url: &Url, access: &Access, agent: &str) -> Result<Client, RemoteError> {
    let failed = |source: reqwest::Error| RemoteError::Unreachable {
        remote: without_credentials(url),
        source: source.without_url().into(),
    };
    let mut builder = Client::builder()
        .user_agent(agent)
        .connect_timeout(access.limits.connect)
        .read_timeout(access.limits.silence)
        // Followed by us, where the host can be looked at and the new place remembered.
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .no_proxy();
    if let Some(proxy) = &access.proxy {
        let mut through =
            reqwest::Proxy::all(format!("http://{}:{}", proxy.host, proxy.port)).map_err(failed)?;
        if let Some(credentials) = &proxy.credentials {
            let password = credentials.password.as_deref().unwrap_or_default();
            through = through.basic_auth(&credentials.username, password);
        }
        builder = builder.proxy(through);
    }
    // Reading the system's certificates takes longer than a request: only where they are needed.
    let builder = if url.scheme() == "https" {
        tls::trust(builder, &access.trust)?
    } else {
        tls::none(builder)
    };
    builder.build().map_err(failed)
}

/// Whether a redirect may be followed: secrets stay on the host (and the kind of connection) that they were given for,
/// except that plain HTTP may become HTTPS.
pub(crate) fn may_follow(from: &Url, to: &Url, with_secrets: bool) -> bool {
    let same_host = to.host() == from.host();
    let same_place = same_host && to.scheme() == from.scheme() && to.port() == from.port();
    let safer = same_host && from.scheme() == "http" && to.scheme() == "https";
    let is_laid_open = from.scheme() == "https" && to.scheme() == "http";
    same_place || safer || !(with_secrets || is_laid_open)
}
