//! What the environment says: settings, what looks like one, and whether this is a job of a CI system.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use git::Location;
use serde_json::{Map, Value};

use super::keys::{CREDENTIALS, IN_FILES, SWITCHES, TEXTS};

/// All our variables begin so.
const OURS: &str = "POOL_";

/// Variables that say nothing about where the locks are: of the command line, of `reap`, of `serve`, and those that `run` sets.
const NO_PLACE: [&str; 14] = [
    "POOL_HOLDER",
    "POOL_SERVE_TOKEN",
    "POOL_SERVE_TOKEN_FILE",
    "POOL_CONCOURSE_TOKEN",
    "POOL_CONCOURSE_PASSWORD",
    "POOL_GITLAB_TOKEN",
    "POOL_GITLAB_JOB_TOKEN",
    "POOL_LOCK_NAME",
    "POOL_CLAIM_NUMBER",
    "POOL_CLAIM",
    "POOL_WITHIN",
    "POOL_METADATA_FILE",
    "POOL_METADATA_DIR",
    "POOL_CONFIG",
];

/// The variables whose values are secrets, or name files with secrets.
const SECRETS: [&str; 16] = [
    "POOL_SERVE_TOKEN",
    "POOL_SERVE_TOKEN_FILE",
    "POOL_SIGNING_KEY",
    "POOL_SIGNING_KEY_FILE",
    "POOL_SIGNING_KEY_PASSPHRASE",
    "POOL_SIGNING_KEY_PASSPHRASE_FILE",
    "POOL_PRIVATE_KEY",
    "POOL_PRIVATE_KEY_FILE",
    "POOL_PRIVATE_KEY_PASSPHRASE",
    "POOL_PRIVATE_KEY_PASSPHRASE_FILE",
    "POOL_PASSWORD",
    "POOL_PASSWORD_FILE",
    "POOL_CONCOURSE_TOKEN",
    "POOL_CONCOURSE_PASSWORD",
    "POOL_GITLAB_TOKEN",
    "POOL_GITLAB_JOB_TOKEN",
];

/// Names that people give to what has another one.
const ALIASES: [(&str, &str); 4] = [
    ("POOL_POOL", "POOL_NAME"),
    ("POOL_REPOSITORY", "POOL_URI"),
    ("POOL_REPO", "POOL_URI"),
    ("POOL_USER", "POOL_USERNAME"),
];

/// By one of these, CI systems tell their jobs that they are jobs.
const CI: [&str; 6] = [
    "CI",
    "GITLAB_CI",
    "GITHUB_ACTIONS",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
];

/// The variables that are about locks, and those of CI systems.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// A variable that looks like one of ours, and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// What was probably meant.
    pub meant: Option<String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        Environment::among(std::env::vars_os())
    }

    /// What of these variables is about locks, or of CI systems.
    pub fn among(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
        let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Environment(
            named
                .filter(|(name, _)| is_ours(name) || CI.contains(&name.as_str()))
                .collect(),
        )
    }

    /// One with these variables.
    #[cfg(test)]
    pub fn of(variables: &[(&str, &str)]) -> Environment {
        let pairs = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Environment(pairs.collect())
    }

    /// The value of a variable; an empty one is none.
    pub fn get(&self, name: &str) -> Result<Option<String>> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        match value.map(|value| value.to_str()) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text.to_owned())),
            Some(None) => bail!("{name} is set to something that is not UTF-8"),
        }
    }

    /// Whether it is set to nothing.
    pub fn is_empty(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.is_empty())
    }

    /// The variables that say something about where the locks are, or were meant to.
    pub fn about_a_place(&self) -> Vec<String> {
        let ours = self.0.keys().filter(|name| is_ours(name));
        let about = ours.filter(|name| {
            // A file that is named is told of as a file.
            let is_file = *name == "POOL_CONFIG" && !self.is_empty(name);
            !is_file && (*name == "POOL_CONFIG" || !NO_PLACE.contains(&name.as_str()))
        });
        let unknown = self.unknown();
        about
            .map(|name| {
                let unknown = unknown.iter().find(|unknown| unknown.name == *name);
                match (unknown, self.is_empty(name)) {
                    (Some(unknown), _) => unknown.to_string(),
                    (None, true) => format!("{name} is set and empty"),
                    (None, false) => format!("{name} is set"),
                }
            })
            .collect()
    }

    /// The variables that look like ours, and are none.
    pub fn unknown(&self) -> Vec<Unknown> {
        let known = known();
        let unknown = self
            .0
            .keys()
            .filter(|name| is_ours(name) && !known.contains(name));
        unknown
            .map(|name| Unknown {
                name: name.clone(),
                meant: meant(name, &known),
            })
            .collect()
    }

    /// The variable that says that this is a job of a CI system.
    pub fn ci(&self) -> Option<&'static str> {
        CI.into_iter().find(|name| {
            let value = self.0.get(*name).map(|value| value.to_string_lossy());
            value.is_some_and(|value| {
                !matches!(value.to_ascii_lowercase().as_str(), "" | "false" | "0")
            })
        })
    }

    /// The variables with credentials for the repository.
    pub fn credentials(&self) -> Vec<String> {
        let names = CREDENTIALS.iter().flat_map(|key| names_of(key));
        names
            .filter(|name| self.0.get(name).is_some_and(|value| !value.is_empty()))
            .collect()
    }

    /// What of it a command of somebody else's is not to have: variables without which it starts, and others that it gets
    /// without the credentials in them.
    pub fn withheld(&self) -> (Vec<&'static str>, Vec<(&'static str, OsString)>) {
        const GATEWAY: &str = "POOL_PROMETHEUS_PUSH_GATEWAY";
        let text = |name| self.0.get(name).and_then(|value| value.to_str());
        let mut removed = SECRETS.to_vec();
        if text(GATEWAY).is_some_and(|url| url.contains('@')) {
            removed.push(GATEWAY);
        }
        let bare = match text("POOL_URI").map(Location::parse) {
            Some(Ok((location, Some(_)))) => Some(("POOL_URI", location.to_string().into())),
            _ => None,
        };
        (removed, bare.into_iter().collect())
    }

    /// The settings in it. `content` reads a file.
    pub fn settings(
        &self,
        content: impl Fn(&Path) -> Result<String>,
    ) -> Result<Map<String, Value>> {
        let mut keys = Map::new();
        for key in TEXTS {
            let (name, file) = (name_of(key), format!("{}_FILE", name_of(key)));
            let in_file = match IN_FILES.contains(&key) {
                true => self.get(&file)?,
                false => None,
            };
            let value = match (self.get(&name)?, in_file) {
                (Some(_), Some(_)) => bail!("both {name} and {file} are set; one is enough"),
                (None, Some(path)) => Some(content(Path::new(&path))?),
                (value, None) => value,
            };
            if let Some(value) = value {
                keys.insert(key.to_owned(), Value::String(value));
            }
        }
        for key in SWITCHES {
            let name = name_of(key);
            if let Some(text) = self.get(&name)? {
                let on = switch(&text).with_context(|| format!("{name} must be true or false"))?;
                keys.insert(key.to_owned(), Value::Bool(on));
            }
        }
        if let Some(pool) = self.get("POOL_NAME")? {
            keys.insert("pool".to_owned(), Value::String(pool));
        }
        Ok(keys)
    }
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = terminal::one_line(&self.name);
        match &self.meant {
            Some(meant) => write!(
                f,
                "{name} is set, which means nothing (did you mean {meant}?)"
            ),
            None => write!(f, "{name} is set, which means nothing"),
        }
    }
}

fn is_ours(name: &str) -> bool {
    name.get(..OURS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

fn name_of(key: &str) -> String {
    format!("{OURS}{}", key.to_uppercase())
}

/// The variables of a key that can be in a file.
fn names_of(key: &str) -> [String; 2] {
    [name_of(key), format!("{}_FILE", name_of(key))]
}

/// All variables that mean something.
fn known() -> Vec<String> {
    let settings = TEXTS.iter().chain(&SWITCHES).map(|key| name_of(key));
    let files = IN_FILES.iter().map(|key| format!("{}_FILE", name_of(key)));
    let others = NO_PLACE.iter().chain(&["POOL_NAME"]);
    settings
        .chain(files)
        .chain(others.map(|name| (*name).to_owned()))
        .collect()
}

/// What was probably meant by a name that is none.
fn meant(name: &str, known: &[String]) -> Option<String> {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some((*meant).to_owned());
    }
    let slips = |other: &String| strsim::osa_distance(&name, other);
    let nearest = known.iter().min_by_key(|other| slips(other))?;
    // In short names two letters make another word.
    let most = if name.len() < OURS.len() + 6 { 1 } else { 2 };
    (slips(nearest) <= most).then(|| nearest.clone())
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables)
    }

    #[test]
    fn a_slip_in_a_name_is_told_and_another_tools_name_is_not_taken_for_one() {
        for (name, expected) in [
            ("POOL_URL", Some("POOL_URI")),
            ("POOL_BRNACH", Some("POOL_BRANCH")),
            ("pool_uri", Some("POOL_URI")),
            ("POOL_POOL", Some("POOL_NAME")),
            ("POOL_PASSWRD", Some("POOL_PASSWORD")),
            ("POOL_PRIVATE_KEYFILE", Some("POOL_PRIVATE_KEY_FILE")),
            ("POOL_SIZE", None),
            ("POOL_NODE", None),
            ("POOL_SERVICE_HOST", None),
            ("POOL_", None),
        ] {
            let unknown = of(&[(name, "x")]).unknown();
            assert_eq!(unknown.len(), 1, "{name}");
            assert_eq!(unknown[0].meant.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_says_nothing_about_a_place_is_told_from_what_does() {
        for name in NO_PLACE {
            assert_eq!(of(&[(name, "x")]).about_a_place(), [""; 0]);
        }
        let all: Vec<String> = known();
        let places = all.iter().filter(|name| !NO_PLACE.contains(&name.as_str()));
        for name in places {
            assert_eq!(
                of(&[(name, "x")]).about_a_place(),
                [format!("{name} is set")]
            );
            assert_eq!(
                of(&[(name, "")]).about_a_place(),
                [format!("{name} is set and empty")]
            );
        }
        assert_eq!(
            of(&[("POOL_CONFIG", "")]).about_a_place(),
            ["POOL_CONFIG is set and empty"]
        );
    }

    #[test]
    fn a_command_gets_no_credentials_and_is_told_where_the_locks_are_all_the_same() {
        for name in CREDENTIALS.iter().flat_map(|key| names_of(key)) {
            assert!(SECRETS.contains(&name.as_str()), "{name}");
        }
        for (uri, expected) in [
            ("https://me:MARKER@h.example/x", Some("https://h.example/x")),
            ("https://MARKER@h.example/x", Some("https://h.example/x")),
            ("https://h.example/x", None),
            ("git@h.example:x", None),
        ] {
            let (removed, changed) = of(&[
                ("POOL_URI", uri),
                ("POOL_PROMETHEUS_PUSH_GATEWAY", "http://me:MARKER@h.example"),
            ])
            .withheld();
            let changed: Vec<_> = changed.iter().map(|(_, value)| value.to_str()).collect();
            assert_eq!(changed, expected.map(Some).as_slice());
            assert!(removed.contains(&"POOL_PROMETHEUS_PUSH_GATEWAY"));
        }
    }

    #[test]
    fn each_ci_system_says_that_this_is_a_job_unless_somebody_says_otherwise() {
        for name in CI {
            assert_eq!(of(&[(name, "1")]).ci(), Some(name));
            for off in ["", "false", "False", "0"] {
                assert_eq!(of(&[(name, off)]).ci(), None);
            }
        }
    }
}
