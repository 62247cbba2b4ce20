//! Where a repository is: the `uri` of a source, parsed once, its credentials taken out.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use net::Credentials;
use terminal::one_line;

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
    /// `ssh://` and `user@host:path`.
    Ssh {
        /// The user, if the uri has one.
        user: Option<String>,
        /// The machine; an IPv6 address stands in brackets.
        host: String,
        /// The port, 22 unless given.
        port: u16,
        /// The path as the server's shell gets it: relative to the user's home unless it starts with a slash.
        path: String,
    },
    /// `http://` or `https://`, without a user, query or fragment, and without a slash at its end.
    Http(Url),
}

/// Why a uri is not a place we can go to. Never shows the uri's credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not a URL.
    #[error("`source.uri` is not a location: {0}")]
    Malformed(String),
    /// A URL whose beginning is not quite one.
    #[error(
        "`source.uri` looks like a URL whose beginning is misspelt (`{0}`); one begins with https://, http://, ssh://, git:// or file://"
    )]
    Misspelt(String),
    /// A kind of location that we have no transport for.
    #[error(
        "`source.uri` starts with `{0}`, which is not supported; supported are https://, http://, ssh://, user@host:path, git://, file:// and paths"
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
                Some((scheme, rest)) if !scheme.contains('[') && rest.starts_with(':') => {
                    Err(LocationError::Scheme(shown(&format!("{scheme}::"))))
                }
                _ if is_misspelt_url(uri) => Err(LocationError::Misspelt(shown(uri))),
                Some((host, _)) if !host.contains('/') => Ok((scp_like(uri)?, None)),
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
            "ssh" | "git+ssh" | "ssh+git" => {
                let url = parse_url(&format!("ssh://{rest}"))?;
                let path = String::from_utf8_lossy(&percent_decode(url.path())).into_owned();
                let location = Location::Ssh {
                    user: Some(decoded(url.username())).filter(|user| !user.is_empty()),
                    host: host_of(&url)?,
                    port: url.port().unwrap_or(22),
                    // `/~user/x` is below that user's home.
                    path: if path.starts_with("/~") {
                        path[1..].to_owned()
                    } else {
                        path
                    },
                };
                Ok((location, None))
            }
            _ => Err(LocationError::Scheme(shown(&format!("{scheme}://")))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => f.write_str(&shown(&path.display().to_string())),
            Location::Git {
                host,
                port: 9418,
                path,
            } => write!(f, "git://{host}{}", shown(path)),
            Location::Git { host, port, path } => {
                write!(f, "git://{host}:{port}{}", shown(path))
            }
            Location::Ssh {
                user,
                host,
                port,
                path,
            } => {
                // What follows a colon would be a password, which SSH has no use for.
                let user = user.as_deref().and_then(|user| user.split(':').next());
                let user = user.map_or(String::new(), |user| format!("{user}@"));
                let port = if *port == 22 {
                    String::new()
                } else {
                    format!(":{port}")
                };
                // As a URL, in which a path without a slash before it is below the user's home.
                let slash = if path.starts_with('/') { "" } else { "/~/" };
                write!(
                    f,
                    "ssh://{}{host}{port}{slash}{}",
                    one_line(&user),
                    shown(path)
                )
            }
            Location::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

/// Whether a text without `://` was meant to be a URL: it begins with the name of a kind of URL and what follows it there, or
/// it has a user and a password in it. Git would take it for a path, and show all of it.
fn is_misspelt_url(text: &str) -> bool {
    const KINDS: [&str; 5] = ["https", "http", "ssh", "git", "file"];
    let lower = text.to_ascii_lowercase();
    let begins = KINDS.iter().any(|kind| {
        let rest = lower.strip_prefix(kind).unwrap_or_default();
        // A machine may be called `git`.
        let colon = *kind != "git" && rest.starts_with(":/");
        colon
            || ["//", ";//", ".//", ":\\\\"]
                .iter()
                .any(|start| rest.starts_with(start))
    });
    let is_path = text.starts_with(['/', '.', '~']);
    let has_password = text.split_once('@').is_some_and(|(before, rest)| {
        !is_path && rest.contains('/') && before.contains('/') && before.contains(':')
    });
    begins || has_password
}

/// `user@host:path`, `[user@host:port]:path`, `[::1]:path` and `user@[::1]:path`.
fn scp_like(uri: &str) -> Result<Location, LocationError> {
    let malformed = |what: &str| {
        LocationError::Malformed(format!("{what} in a location of the form host:path"))
    };
    let (place, path) = if uri.contains('[') {
        uri.split_once("]:").ok_or_else(|| malformed("no `]:`"))?
    } else {
        uri.split_once(':').ok_or_else(|| malformed("no colon"))?
    };
    let place = place.strip_prefix('[').unwrap_or(place);
    let (user, host) = match place.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), host),
        None => (None, place),
    };
    let host = host.trim_start_matches('[');
    let (host, port) = match host.split_once(':') {
        // More than one colon: an IPv6 address.
        Some((_, rest)) if rest.contains(':') => (format!("[{host}]"), 22),
        Some((host, port)) => (
            host.to_owned(),
            port.parse().map_err(|_| malformed("no valid port"))?,
        ),
        None => (host.to_owned(), 22),
    };
    // What starts with a dash could be taken for an option somewhere on the way.
    if host.is_empty() || host.starts_with('-') || host.contains(char::is_control) {
        return Err(malformed("no valid host"));
    }
    if path.is_empty() {
        return Err(malformed("no path"));
    }
    Ok(Location::Ssh {
        user,
        host,
        port,
        path: path.to_owned(),
    })
}

/// A text as it may be shown, on one line. Where it looks as if it had a user and a password in it, as a URL has whose
/// start is misspelt (`https//me:secret@host/x`, `me:secret@host:x`), these are left out.
fn shown(text: &str) -> String {
    let text = match text.rsplit_once('@') {
        Some((before, rest)) if before.contains(':') || text.find(['@', '/']) == text.find('@') => {
            format!("***@{rest}")
        }
        _ => text.to_owned(),
    };
    one_line(&text)
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
    fn a_url_whose_beginning_is_misspelt_is_refused_and_its_password_is_not_shown() {
        for uri in [
            "https//me:MARKER@host/x",
            "HTTPS:/me:MARKER@host/x",
            "http;//me:MARKER@host/x",
            "ssh//me:MARKER@host/x",
            "ttps/me:MARKER@host/x",
        ] {
            let err = Location::parse(uri).unwrap_err();
            assert!(matches!(err, LocationError::Misspelt(_)), "{uri}: {err}");
            assert!(!err.to_string().contains("MARKER"), "{err}");
            assert!(err.to_string().contains("host/x"), "{err}");
        }
        for path in [
            "/srv/https//x",
            "git:/srv/x.git",
            "./a:b@c/d",
            "https.git",
            "srv/me@host/x",
        ] {
            assert!(Location::parse(path).is_ok(), "{path}");
        }
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
    fn every_form_of_an_ssh_location_names_user_host_port_and_path() {
        for (uri, user, host, port, path) in [
            (
                "ssh://me@h.example:2222/srv/x.git",
                "me",
                "h.example",
                2222,
                "/srv/x.git",
            ),
            ("ssh://h/x", "", "h", 22, "/x"),
            ("ssh://me@[::1]:2222/x", "me", "[::1]", 2222, "/x"),
            ("ssh://me@h/~/x", "me", "h", 22, "~/x"),
            ("ssh://me@h/my%20locks", "me", "h", 22, "/my locks"),
            (
                "git@github.com:ops/locks.git",
                "git",
                "github.com",
                22,
                "ops/locks.git",
            ),
            ("h:/srv/x", "", "h", 22, "/srv/x"),
            ("[me@h:2222]:x", "me", "h", 2222, "x"),
            ("[h:2222]:/x", "", "h", 2222, "/x"),
            ("[::1]:x", "", "[::1]", 22, "x"),
            ("me@[::1]:x", "me", "[::1]", 22, "x"),
            ("me@h:a:b", "me", "h", 22, "a:b"),
        ] {
            let expected = Location::Ssh {
                user: Some(user.to_owned()).filter(|user| !user.is_empty()),
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            };
            assert_eq!(location(uri), expected, "{uri}");
        }
        assert_eq!(location("git@h:x").to_string(), "ssh://git@h/~/x");
        assert_eq!(location("[git@h:1]:/x").to_string(), "ssh://git@h:1/x");
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
            "-oProxyCommand=marker:x",
            "h:",
            "[h:port]:x",
        ] {
            let err = Location::parse(uri).unwrap_err();
            assert!(!format!("{err} {err:?}").contains("marker"), "{uri}: {err}");
        }
    }
}
