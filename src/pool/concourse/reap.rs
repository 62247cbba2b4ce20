//! The param `reap` of a put: which claims are given back that nobody will give back any more.

use std::time::Duration;

use gitlab::{ApiUrl, Token};
use url::Url;

use super::keys::Keys;
use net::Secret;

use super::RequestError;

/// What a put with `reap: {...}` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reap {
    /// The age from which on a claim is stale of which nothing else is known; never zero.
    pub stale_after: Option<Duration>,
    /// The Concourse that knows what has become of the builds that made claims.
    pub concourse: Option<Server>,
    /// The GitLab that knows what has become of the jobs that made claims.
    pub gitlab: Option<GitlabServer>,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
}

/// A GitLab, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitlabServer {
    /// Where its API is.
    pub api: ApiUrl,
    /// Where its pages are.
    pub home: Url,
    /// Who we are.
    pub token: Token,
}

/// A Concourse, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is: an http or https URL without credentials, query and fragment.
    pub url: Url,
    /// Who we are.
    pub login: Login,
}

/// Who we are at a Concourse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A local user, or one of an identity provider that takes passwords.
    Password {
        /// The user.
        username: String,
        /// The user's password.
        password: Secret,
    },
    /// Whoever this token was made for: the text behind `Bearer`, on one line.
    Token(Secret),
}

impl Reap {
    /// Reads the key `reap` of the params.
    pub(super) fn read(params: &Keys<'_>) -> Result<Reap, RequestError> {
        let reap = params.object("reap")?;
        Ok(Reap {
            stale_after: reap.duration("stale_after")?,
            concourse: server(&reap)?,
            gitlab: gitlab_server(&reap)?,
            dry_run: reap.flag("dry_run")?,
        })
    }
}

impl GitlabServer {
    /// A GitLab, by the URL of its pages or of its API; `None` when it is none, or has more in it than a place.
    pub fn at(url: &str, token: Token) -> Option<GitlabServer> {
        let given = ApiUrl::parse(url).ok()?;
        let path = given.url().path().trim_end_matches('/').to_owned();
        let Some(root) = path.strip_suffix("/api/v4") else {
            let api = ApiUrl::of_home(url).ok()?;
            let home = given.url().clone();
            return Some(GitlabServer { api, home, token });
        };
        let mut home = given.url().clone();
        home.set_path(root);
        Some(GitlabServer {
            api: given,
            home,
            token,
        })
    }
}

impl Server {
    /// Reads the URL of a Concourse; `None` when it is none, or has more in it than a place.
    pub fn parse_url(text: &str) -> Option<Url> {
        let url = Url::parse(text.trim()).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        Some(url).filter(|_| plain)
    }
}

impl Login {
    /// Reads a token as people copy it, with `Bearer` before it or not; `None` when it cannot be sent.
    pub fn parse_token(text: &str) -> Option<Login> {
        let text = text.trim();
        let bare = match text.split_once(char::is_whitespace) {
            Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => token.trim_start(),
            _ => text,
        };
        let sendable = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_graphic());
        sendable.then(|| Login::Token(Secret::new(bare.to_owned())))
    }
}

fn gitlab_server(reap: &Keys<'_>) -> Result<Option<GitlabServer>, RequestError> {
    if reap.set("gitlab").is_none() {
        return Ok(None);
    }
    let keys = reap.object("gitlab")?;
    let (url, token) = (keys.text("url")?, keys.text("token")?);
    let job_token = keys.text("job_token")?;
    let mut missing = Vec::new();
    if url.is_none() {
        missing.push("params.reap.gitlab.url".to_owned());
    }
    let (key, token) = match (token, job_token) {
        (Some(token), None) => ("token", Token::private(token)),
        (None, Some(token)) => ("job_token", Token::job(token)),
        (None, None) => {
            missing.push("params.reap.gitlab.token, or job_token".to_owned());
            return Err(RequestError::Missing(missing));
        }
        (Some(_), Some(_)) => {
            return Err(keys.wrong("token", "given alone, or else job_token", "both"));
        }
    };
    if !missing.is_empty() {
        return Err(RequestError::Missing(missing));
    }
    let token = token.map_err(|_| keys.wrong(key, "a token on one line", "something else"))?;
    let server = GitlabServer::at(url.unwrap_or_default(), token);
    let server = server.ok_or_else(|| {
        let expected =
            "the http or https URL of a GitLab, without user, password, query and fragment";
        keys.wrong("url", expected, "something else")
    })?;
    Ok(Some(server))
}

fn server(reap: &Keys<'_>) -> Result<Option<Server>, RequestError> {
    if reap.set("concourse").is_none() {
        return Ok(None);
    }
    let keys = reap.object("concourse")?;
    let text = |key: &str| keys.text(key);
    let (url, username) = (text("url")?, text("username")?);
    let (password, token) = (text("password")?, text("token")?);

    let mut missing = Vec::new();
    let mut need = |is_missing: bool, key: &str| {
        if is_missing {
            missing.push(format!("params.reap.concourse.{key}"));
        }
    };
    need(url.is_none(), "url");
    match (username, password, token) {
        (None, None, None) => need(true, "token, or username and password"),
        (_, _, None) => {
            need(username.is_none(), "username");
            need(password.is_none(), "password");
        }
        _ => {}
    }
    if !missing.is_empty() {
        return Err(RequestError::Missing(missing));
    }

    // The values may be secrets, or have some in them, so that no message shows them.
    let url = Server::parse_url(url.unwrap_or_default()).ok_or_else(|| {
        let expected =
            "the http or https URL of a Concourse, without user, password, query and fragment";
        keys.wrong("url", expected, "something else")
    })?;
    let login = match (username, password, token) {
        (Some(username), Some(password), None) => Login::Password {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        },
        (None, None, Some(token)) => Login::parse_token(token)
            .ok_or_else(|| keys.wrong("token", "a token on one line", "something else"))?,
        _ => {
            let expected = "given alone, or else username and password";
            return Err(keys.wrong("token", expected, "both"));
        }
    };
    Ok(Some(Server { url, login }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(reap: Value) -> Result<Reap, RequestError> {
        let document = json!({"params": {"reap": reap}});
        Reap::read(&Keys::of(&document)?.object("params")?)
    }

    fn message(reap: Value) -> String {
        read(reap).unwrap_err().to_string()
    }

    fn with(concourse: Value) -> Value {
        json!({ "concourse": concourse })
    }

    fn login(concourse: Value) -> Login {
        read(with(concourse)).unwrap().concourse.unwrap().login
    }

    const URL: &str = "https://ci.example.com";

    #[test]
    fn every_setting_may_be_left_out() {
        let least = Reap {
            stale_after: None,
            concourse: None,
            gitlab: None,
            dry_run: false,
        };

        for reap in [
            json!({}),
            json!({"stale_after": "", "concourse": null, "dry_run": false}),
            json!({"stale_after": 0, "more": 1}),
        ] {
            assert_eq!(read(reap).unwrap(), least);
        }
    }

    #[test]
    fn all_settings_are_read() {
        let reap = json!({
            "stale_after": "24h",
            "concourse": {"url": "https://ci.example.com/", "username": "reaper", "password": "s3cret"},
            "gitlab": {"url": "https://gitlab.example.com", "token": "abc"},
            "dry_run": true,
        });

        assert_eq!(
            read(reap).unwrap(),
            Reap {
                stale_after: Some(Duration::from_secs(24 * 3600)),
                concourse: Some(Server {
                    url: Url::parse(URL).unwrap(),
                    login: Login::Password {
                        username: "reaper".into(),
                        password: Secret::new("s3cret".into())
                    },
                }),
                gitlab: GitlabServer::at(
                    "https://gitlab.example.com",
                    Token::private("abc").unwrap()
                ),
                dry_run: true,
            }
        );
    }

    #[test]
    fn a_token_may_have_its_kind_before_it() {
        for token in ["abc.def", " Bearer abc.def\n", "bearer   abc.def"] {
            assert_eq!(
                login(json!({"url": URL, "token": token})),
                Login::Token(Secret::new("abc.def".into()))
            );
        }
    }

    #[test]
    fn what_is_missing_is_named_all_at_once() {
        let at = "invalid payload (missing params.reap.concourse";
        for (concourse, expected) in [
            (
                json!({}),
                format!("{at}.url)\n{at}.token, or username and password)"),
            ),
            (
                json!({"username": "u", "token": ""}),
                format!("{at}.url)\n{at}.password)"),
            ),
            (
                json!({"url": URL, "password": "MARKER"}),
                format!("{at}.username)"),
            ),
        ] {
            assert_eq!(message(with(concourse)), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_shown() {
        let marker = "MARKER";
        for (reap, expected) in [
            (json!(true), "`params.reap` must be an object, found true"),
            (
                json!({"stale_after": "soon"}),
                "`params.reap.stale_after` must be a duration",
            ),
            (
                json!({"dry_run": "yes"}),
                "`params.reap.dry_run` must be true or false, found a string",
            ),
            (
                with(json!(marker)),
                "`params.reap.concourse` must be an object, found a string",
            ),
            (
                with(json!({"url": URL, "username": "u", "password": 7})),
                "`params.reap.concourse.password` must be a string, found a number",
            ),
            (
                with(json!({"url": URL, "token": format!("{marker}\n{marker}")})),
                "`params.reap.concourse.token` must be a token on one line, found something else",
            ),
            (
                with(json!({"url": URL, "token": format!("{marker}é")})),
                "`params.reap.concourse.token` must be a token on one line",
            ),
            (
                with(json!({"url": URL, "token": marker, "username": "u", "password": marker})),
                "`params.reap.concourse.token` must be given alone, or else username and password, found both",
            ),
            (
                with(json!({"url": URL, "token": marker, "username": "u"})),
                "`params.reap.concourse.token` must be given alone",
            ),
        ] {
            let found = message(reap);
            assert!(found.starts_with(expected), "{found}");
            assert!(!found.contains(marker), "{found}");
        }
        for url in [
            "ci.example.com",
            "ftp://ci.example.com",
            "https://",
            "https://u:MARKER@ci.example.com",
            "https://MARKER@ci.example.com",
            "https://ci.example.com/?MARKER",
            "https://ci.example.com/#MARKER",
        ] {
            let found = message(with(json!({"url": url, "token": marker})));
            assert!(
                found.starts_with("`params.reap.concourse.url` must be the http or https URL"),
                "{found}"
            );
            assert!(!found.contains(marker), "{found}");
        }
    }

    #[test]
    fn a_gitlab_is_given_by_its_pages_or_its_api_and_one_token() {
        let given = |gitlab: Value| read(json!({ "gitlab": gitlab }));
        for (url, home, api) in [
            ("https://h", "https://h/", "https://h/api/v4"),
            ("https://h/git/", "https://h/git/", "https://h/git/api/v4"),
            (
                "https://h/git/api/v4/",
                "https://h/git",
                "https://h/git/api/v4/",
            ),
        ] {
            let server = given(json!({"url": url, "job_token": "t"}))
                .unwrap()
                .gitlab
                .unwrap();
            assert_eq!(server.home.as_str(), home);
            assert_eq!(server.api.url().as_str(), api);
            assert_eq!(server.token, Token::job("t").unwrap());
        }
        let at = "invalid payload (missing params.reap.gitlab";
        for (gitlab, expected) in [
            (json!({}), format!("{at}.url)\n{at}.token, or job_token)")),
            (json!({"token": "MARKER"}), format!("{at}.url)")),
            (
                json!({"url": "https://h", "token": "MARKER", "job_token": "MARKER"}),
                "`params.reap.gitlab.token` must be given alone, or else job_token, found both".to_owned(),
            ),
            (
                json!({"url": "https://h", "job_token": "MARKER MARKER"}),
                "`params.reap.gitlab.job_token` must be a token on one line, found something else".to_owned(),
            ),
            (
                json!({"url": "https://u:MARKER@h", "token": "x"}),
                "`params.reap.gitlab.url` must be the http or https URL of a GitLab, without user, password, query and fragment, found something else".to_owned(),
            ),
        ] {
            assert_eq!(given(gitlab).unwrap_err().to_string(), expected);
        }
        let shown = format!(
            "{:?}",
            given(json!({"url": "https://h", "token": "MARKER"}))
        );
        assert!(!shown.contains("MARKER"), "{shown}");
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let reap = json!({"url": URL, "username": "u", "password": "MARKER"});
        let token = json!({"url": URL, "token": "MARKER"});

        for reap in [reap, token] {
            let shown = format!("{:?}", read(with(reap)).unwrap());
            assert!(!shown.contains("MARKER"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}|(Bearer|https?://|[ @?#:/\n]|x){0,10}") {
            let _ = Server::parse_url(&text);
            if let Some(Login::Token(token)) = Login::parse_token(&text) {
                prop_assert!(text.contains(token.expose()));
            }
        }
    }
}
