//! Where a GitLab is, which project of it is meant, and who asks.

use std::fmt;

use net::Secret;
use net::http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

/// Why a setting cannot be used. The words go on from the name of the setting. None of them has its value in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The URL of the API is none.
    #[error(
        "must be the http or https URL of GitLab's API, such as https://gitlab.example.com/api/v4, without user, password, query and fragment"
    )]
    Url,
    /// The project has no name.
    #[error("must be the number of a project, or its path such as `group/project`")]
    Project,
    /// The token cannot be sent.
    #[error("must be a token: printable characters on one line, and no spaces")]
    Token,
}

/// Where the API of a GitLab is, such as `https://gitlab.example.com/api/v4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl(Url);

impl ApiUrl {
    /// Reads the URL of an API; a slash at its end makes no difference.
    ///
    /// # Errors
    /// [`SettingError::Url`].
    pub fn parse(text: &str) -> Result<ApiUrl, SettingError> {
        let url = Url::parse(text.trim()).map_err(|_| SettingError::Url)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if plain {
            Ok(ApiUrl(url))
        } else {
            Err(SettingError::Url)
        }
    }

    /// The API of the GitLab whose pages are below this URL.
    ///
    /// # Errors
    /// [`SettingError::Url`].
    pub fn of_home(text: &str) -> Result<ApiUrl, SettingError> {
        let home = ApiUrl::parse(text)?;
        Ok(ApiUrl(home.below(&["api", "v4"])))
    }

    /// The URL itself.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL of something below it.
    pub fn below(&self, parts: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Never fails: an http URL has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }
}

/// A project, by its number or its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Project(String);

impl Project {
    /// Reads a project: `42`, `group/project`, or `group%2Fproject`, which is encoded already.
    ///
    /// # Errors
    /// [`SettingError::Project`].
    pub fn parse(text: &str) -> Result<Project, SettingError> {
        let text = text.trim().trim_matches('/');
        let is_encoded = text.to_ascii_lowercase().contains("%2f") && !text.contains('/');
        let path = match is_encoded {
            true => percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| SettingError::Project)?,
            false => text.into(),
        };
        let parts_are_names = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if parts_are_names && !path.contains(char::is_control) {
            Ok(Project(path.into_owned()))
        } else {
            Err(SettingError::Project)
        }
    }

    /// The number or the path, as people write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A token of a user, a project or a group.
    Private(Secret),
    /// The token of a running job.
    Job(Secret),
    /// Nobody in particular: a public project needs no token.
    None,
}

impl Token {
    /// Reads a token of a user, a project or a group.
    ///
    /// # Errors
    /// [`SettingError::Token`].
    pub fn private(text: &str) -> Result<Token, SettingError> {
        sendable(text).map(Token::Private)
    }

    /// Reads the token of a job.
    ///
    /// # Errors
    /// [`SettingError::Token`].
    pub fn job(text: &str) -> Result<Token, SettingError> {
        sendable(text).map(Token::Job)
    }

    /// What messages call it.
    pub(crate) fn called(&self) -> &'static str {
        match self {
            Token::Private(_) => "the private token",
            Token::Job(_) => "the job token",
            Token::None => "a request without a token",
        }
    }

    /// The header that has it.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, token) = match self {
            Token::Private(token) => ("private-token", token),
            Token::Job(token) => ("job-token", token),
            Token::None => return None,
        };
        let mut value = HeaderValue::from_str(token.expose()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_static(name), value))
    }
}

fn sendable(text: &str) -> Result<Secret, SettingError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err(SettingError::Token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pipelines(api: &str, project: &str) -> String {
        let project = Project::parse(project).unwrap();
        let api = ApiUrl::parse(api).unwrap();
        api.below(&["projects", project.as_str(), "pipelines"])
            .into()
    }

    #[test]
    fn a_slash_at_the_end_of_the_url_makes_no_difference_and_a_relative_root_is_kept() {
        for api in [
            "https://git.example/gitlab/api/v4",
            "https://git.example/gitlab/api/v4/",
        ] {
            assert_eq!(
                pipelines(api, "42"),
                "https://git.example/gitlab/api/v4/projects/42/pipelines"
            );
        }
        let home = ApiUrl::of_home("https://git.example/gitlab/").unwrap();
        assert_eq!(home.url().as_str(), "https://git.example/gitlab/api/v4");
    }

    #[test]
    fn the_path_of_a_project_is_encoded_once_and_not_again_if_it_is_already() {
        for (project, expected) in [
            ("group/sub/project", "group%2Fsub%2Fproject"),
            ("group%2Fsub%2fproject", "group%2Fsub%2Fproject"),
            ("/group/project/", "group%2Fproject"),
            ("42", "42"),
            ("group/50%25", "group%2F50%2525"),
        ] {
            let expected = format!("https://h/api/projects/{expected}/pipelines");
            assert_eq!(pipelines("https://h/api", project), expected, "{project}");
        }
        for project in ["", "/", ".", "..", "a/../b", "a//b", "a%2F..", "a\nb"] {
            assert_eq!(
                Project::parse(project),
                Err(SettingError::Project),
                "{project:?}"
            );
        }
    }

    #[test]
    fn what_is_no_url_and_no_token_is_refused_and_not_shown() {
        for url in [
            "",
            "h/api",
            "ftp://h",
            "https://u:MARKER@h",
            "https://h/?MARKER",
            "https://h/#MARKER",
        ] {
            let err = ApiUrl::parse(url).unwrap_err();
            assert!(!err.to_string().contains("MARKER"), "{url}");
        }
        for token in ["", " ", "MARKER MARKER", "MARKER\nX: y", "MARKERé"] {
            assert!(
                !Token::private(token)
                    .unwrap_err()
                    .to_string()
                    .contains("MARKER")
            );
        }
        let shown = format!("{:?} {:?}", Token::private("MARKER"), Token::job("MARKER"));
        assert!(!shown.contains("MARKER"), "{shown}");
        assert!(!format!("{:?}", Token::job("MARKER").unwrap().header()).contains("MARKER"));
    }
}
