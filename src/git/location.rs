//! Where a repository is: the `uri` of a source, parsed once, its credentials taken out.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// A place that a transport can go to. Prints itself without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine.
    Path(PathBuf),
    /// `git://`: the bare protocol over TCP, without credentials.
    Git {
        /// The machine, and what the server may use to tell virtual hosts apart.
        host: String,
        /// The port, 9418 unless given.
        port: u16,
        /// The path on the server, starting with a slash.
        path: String,
    },
    /// `http://` or `https://`, without a user, query or fragment, and without a slash at its end.
    Http(Url),
}

/// What proves to a server who we are. Debug shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name; may be empty where only a token counts.
    pub username: String,
    /// The password or token.
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Why a uri is not a place we can go to. Never shows the uri's credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not a URL.
    #[error("`source.uri` is not a location: {0}")]
    Malformed(String),
    /// A kind of location that we have no transport for.
    #[error(
        "`source.uri` starts with `{0}`, which is not supported; supported are http://, https://, git://, file:// and paths"
    )]
    Scheme(String),
}

impl Location {
    /// Parses a uri as Git does, and gives the credentials in it apart.
    ///
    /// # Errors
    /// [`LocationError`].
    ///
    /// Source: `gitprotocol`'s URL forms in `git-fetch(1)`, "GIT URLS".
    pub fn parse(uri: &str) -> Result<(Location, Option<Credentials>), LocationError> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            // `host:path` is SSH, unless a slash comes before the colon.
            return match uri.split_once(':') {
                Some((host, _)) if !host.contains('/') => {
                    Err(LocationError::Scheme("host:".to_owned()))
                }
                _ => Ok((Location::Path(PathBuf::from(uri)), None)),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest
                    .strip_prefix("localhost")
                    .filter(|path| path.starts_with('/'))
                    .unwrap_or(rest);
                let bytes = percent_decode(path);
                Ok((Location::Path(path_from(bytes)), None))
            }
            "git" => {
                let url = parse_url(uri)?;
                let location = Location::Git {
                    host: host_of(&url)?,
                    port: url.port().unwrap_or(9418),
                    path: String::from_utf8_lossy(&percent_decode(url.path())).into_owned(),
                };
                Ok((location, None))
            }
            "http" | "https" => {
                let mut url = parse_url(uri)?;
                host_of(&url)?;
                let credentials =
                    (!url.username().is_empty() || url.password().is_some()).then(|| Credentials {
                        username: decoded(url.username()),
                        password: url.password().map(decoded),
                    });
                // Cannot fail: the URL has a host.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.set_query(None);
                url.set_fragment(None);
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                Ok((Location::Http(url), credentials))
            }
            other => Err(LocationError::Scheme(format!("{other}://"))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => write!(f, "{}", path.display()),
            Location::Git {
                host,
                port: 9418,
                path,
            } => write!(f, "git://{host}{path}"),
            Location::Git { host, port, path } => write!(f, "git://{host}:{port}{path}"),
            Location::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

/// A URL as it may be shown: without user, password and query, where tokens are.
pub(super) fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn parse_url(uri: &str) -> Result<Url, LocationError> {
    Url::parse(uri).map_err(|err| LocationError::Malformed(err.to_string()))
}

fn host_of(url: &Url) -> Result<String, LocationError> {
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(host.to_owned()),
        _ => Err(LocationError::Malformed("it has no host".to_owned())),
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent_decode(text)).into_owned()
}

fn percent_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

fn path_from(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn location(uri: &str) -> Location {
        Location::parse(uri).unwrap().0
    }

    #[test]
    fn every_form_of_a_local_path_is_that_path() {
        for (uri, path) in [
            ("/srv/locks.git", "/srv/locks.git"),
            ("file:///srv/locks.git", "/srv/locks.git"),
            ("FILE://localhost/srv/locks.git", "/srv/locks.git"),
            ("file:///srv/my%20locks", "/srv/my locks"),
            ("/srv/a:b", "/srv/a:b"),
            ("../locks", "../locks"),
            ("-locks", "-locks"),
        ] {
            assert_eq!(location(uri), Location::Path(path.into()), "{uri}");
        }
    }

    #[test]
    fn credentials_are_taken_out_of_a_url_and_never_shown() {
        let (location, credentials) =
            Location::parse("http://me%40x:p%3Ass%2Fword@example.com:8080/a/b.git/?q#f").unwrap();

        assert_eq!(location.to_string(), "http://example.com:8080/a/b.git");
        let credentials = credentials.unwrap();
        assert_eq!(credentials.username, "me@x");
        assert_eq!(credentials.password.as_deref(), Some("p:ss/word"));
        assert!(!format!("{location:?} {credentials:?}").contains("ss/word"));
    }

    #[test]
    fn a_git_url_has_a_port_of_its_own() {
        assert_eq!(
            location("git://example.com/x").to_string(),
            "git://example.com/x"
        );
        assert_eq!(
            location("git://example.com:1/x").to_string(),
            "git://example.com:1/x"
        );
        let Location::Git { port, .. } = location("git://[::1]/x") else {
            panic!()
        };
        assert_eq!(port, 9418);
    }

    #[test]
    fn what_cannot_be_reached_is_refused_without_showing_a_secret() {
        for uri in [
            "http://me:marker@",
            "http://",
            "ext::sh -c marker",
            "ftp://me:marker@host/x",
            "git:///x",
            "http://me:marker@host:port/x",
        ] {
            let err = Location::parse(uri).unwrap_err();
            assert!(!format!("{err} {err:?}").contains("marker"), "{uri}: {err}");
        }
    }
}
