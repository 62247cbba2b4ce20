//! Whatever talks to a server: connections, TLS, proxies, HTTP, credentials.
//!
//! - [`Route`]: how a server is reached (time limits, certificates, a proxy). [`Proxies`]: what the environment says of
//!   proxies.
//! - [`connect`]: a TCP [`Connection`], straight or through a proxy's tunnel.
//! - [`http`]: an HTTP client on a route, and the rule by which a redirect is followed.
//! - [`keep_to_built_in_services`]: how a static program looks up names.
//! - [`Credentials`], [`Header`], [`Secret`]: what proves who we are, and is never shown.
//! - [`NetError`]: what can go wrong on the way.
//!
//! # Invariants
//!
//! - Only this crate names the HTTP client, the TLS library and proxies. It knows no Git, no CI system and no lock.
//! - Nothing waits without a limit.
//! - Credentials stay with the origin that they were given for ([`http::redirect`]).
//! - No error and no `Debug` shows a credential: a server is named without them, a [`Secret`] prints as `***`.
//! - Nothing is read from the environment but where certificates are (`SSL_CERT_FILE`, `SSL_CERT_DIR`), which is the
//!   TLS library's business.

mod access;
mod connect;
mod connection;
mod error;
pub mod http;
mod names;
mod proxies;
mod secret;
mod tls;

pub use access::{Credentials, Header, Limits, Proxy, Route, Trust};
pub use connect::connect;
pub use connection::Connection;
pub use error::NetError;
pub use names::keep_to_built_in_services;
pub use proxies::{Proxies, ProxyError};
pub use secret::Secret;

use url::Url;

/// The name by which programs of ours tell servers who they are.
pub const AGENT: &str = concat!("pool-resource/", env!("CARGO_PKG_VERSION"));

/// A URL as it may be shown: without user, password and query, where tokens are.
pub fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}
