//! What the files `--config` and `--secrets` say.

use std::sync::Arc;

use net::Secret;

use crate::merge::{MergeError, merge};
use crate::store::{Format, RedisPlace};
use crate::value::{Map, Value, python_str};

/// The key under which all of it stands.
const TOP: &str = "cicdstatemgr";

/// The shortest text of the secrets file that is taken for a secret: a shorter one would be found everywhere.
const LEAST_SECRET: usize = 4;

/// What may stand in the secrets file and is none: it may be in any message.
const NOT_SECRET: [&str; 6] = ["username", "user", "host", "port", "db", "path"];

/// The settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// All that the config file says; templates know it as `configData`.
    pub data: Arc<Value>,
    /// All that the secrets file says; only the headers of a trigger know it, as `secretData`.
    pub secrets: Arc<Value>,
    /// The primary data source.
    pub primary: Source,
    /// The others, in the order of the file.
    pub copies: Vec<Source>,
}

/// A data source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its type, by which it is called.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where a data source is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A Redis server.
    Redis(RedisPlace),
    /// A file with a document.
    File(Format, String),
    /// A file for a shell, without what stands below these keys.
    Shell(String, Vec<String>),
    /// A file with an id.
    Id(String),
    /// A Git repository: these settings, as of a source of the pool.
    Git(Map),
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The top is missing.
    #[error("the {0} file must have the key `{TOP}` with a map below it")]
    Top(&'static str),
    /// No data source is the primary one.
    #[error("DataSourceMgr() you have no isPrimary=True datasource configured! Invalid")]
    NoPrimary,
    /// This one cannot be it.
    #[error(
        "`datasources.{0}` cannot be the primary data source, for a document cannot be read back from it"
    )]
    Primary(String),
    /// A setting is missing or odd.
    #[error("`datasources.{source_name}.{key}` must be {expected}, and is {found}")]
    Setting {
        /// The data source.
        source_name: String,
        /// The setting.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Two files that do not fit.
    #[error("the secrets file does not fit the config file: {0}")]
    Merge(#[from] MergeError),
}

impl Config {
    /// Reads the settings; `note` gets what of them is passed over.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(
        config: &Value,
        secrets: &Value,
        note: &mut dyn FnMut(&str),
    ) -> Result<Config, ConfigError> {
        let data = config.get(TOP).ok_or(ConfigError::Top("config"))?;
        let secrets = match secrets {
            Value::Null => Value::Map(Map::new()),
            secrets => match secrets.get(TOP) {
                Some(Value::Null) => Value::Map(Map::new()),
                Some(secrets) => secrets.clone(),
                None => return Err(ConfigError::Top("secrets")),
            },
        };
        if data.as_map().is_none() {
            return Err(ConfigError::Top("config"));
        }
        let mut sources = map_at(data, "datasources");
        merge(&mut sources, &map_at(&secrets, "datasources"))?;
        let mut primary = None;
        let mut copies = Vec::new();
        for (name, settings) in &sources {
            let settings = Settings {
                name,
                map: settings,
            };
            let Some(place) = settings.place()? else {
                let name = terminal::one_line(name);
                note(&format!(
                    "No datasource module found by name: {name} .. ignoring"
                ));
                continue;
            };
            let source = Source {
                name: name.clone(),
                place,
            };
            if settings
                .get("isPrimary")
                .is_none_or(|is_primary| !is_primary.is_truthy())
            {
                copies.push(source);
            } else if primary.is_some() {
                note(&format!(
                    "DataSourceMgr() `{name}` says isPrimary too; the first one counts"
                ));
                copies.push(source);
            } else if let Place::Shell(..) | Place::Id(_) = source.place {
                return Err(ConfigError::Primary(name.clone()));
            } else {
                primary = Some(source);
            }
        }
        Ok(Config {
            data: Arc::new(data.clone()),
            secrets: Arc::new(secrets),
            primary: primary.ok_or(ConfigError::NoPrimary)?,
            copies,
        })
    }

    /// A setting of the config file.
    pub fn setting(&self, path: [&str; 2]) -> Option<&Value> {
        self.data.get(path[0])?.get(path[1])
    }

    /// A secret of the secrets file.
    pub fn secret(&self, path: [&str; 2]) -> Option<Secret> {
        let text = self.secrets.get(path[0])?.get(path[1])?;
        text.is_truthy().then(|| Secret::new(python_str(text)))
    }

    /// All texts that no log and no error may show.
    pub fn all_secrets(&self) -> Vec<String> {
        let mut all = Vec::new();
        texts(&self.secrets, &mut all);
        all.retain(|text| text.len() >= LEAST_SECRET);
        // The longest first, so that no part of one is left.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all
    }
}

fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| texts(item, all)),
        Value::Map(map) => {
            let secret = map
                .iter()
                .filter(|(key, _)| !NOT_SECRET.contains(&key.as_str()));
            secret.for_each(|(_, value)| texts(value, all));
        }
        Value::Text(text) => {
            all.push(text.clone());
            // A log has single lines.
            all.extend(text.lines().map(|line| line.trim().to_owned()));
        }
        Value::Int(_) | Value::Float(_) => all.push(python_str(value)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn map_at(value: &Value, name: &str) -> Map {
    value
        .get(name)
        .and_then(Value::as_map)
        .cloned()
        .unwrap_or_default()
}

struct Settings<'a> {
    name: &'a str,
    map: &'a Value,
}

impl Settings<'_> {
    /// Where it is; `None` for a type that is not known.
    fn place(&self) -> Result<Option<Place>, ConfigError> {
        Ok(Some(match self.name {
            "redis" => Place::Redis(RedisPlace {
                host: self
                    .text("host")?
                    .ok_or_else(|| self.wrong("host", "a name or address", None))?,
                port: self.number("port", 6379)?,
                db: i64::from(self.number("db", 0)?),
                username: self.text("username")?,
                password: self.text("password")?.map(Secret::new),
            }),
            "yamlfile" => Place::File(Format::Yaml, self.path()?),
            "jsonfile" => Place::File(Format::Json, self.path()?),
            "shellfile" => Place::Shell(self.path()?, self.excluded()?),
            "idfile" => Place::Id(self.path()?),
            "git" => {
                self.text("uri")?
                    .ok_or_else(|| self.wrong("uri", "where a repository is", None))?;
                let settings = self.map.as_map().cloned().unwrap_or_default();
                Place::Git(settings)
            }
            _ => return Ok(None),
        }))
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| **value != Value::Null)
    }

    /// A text, or a number that stands for one; an empty one counts as none.
    fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(number @ (Value::Int(_) | Value::Float(_))) => Ok(Some(python_str(number))),
            Some(other) => Err(self.wrong(key, "a text", Some(other))),
        }
    }

    fn number(&self, key: &'static str, usual: u16) -> Result<u16, ConfigError> {
        match self.text(key)? {
            None => Ok(usual),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| self.wrong(key, "a number from 0 to 65535", self.get(key))),
        }
    }

    fn path(&self) -> Result<String, ConfigError> {
        self.text("path")?
            .ok_or_else(|| self.wrong("path", "the path of a file", None))
    }

    fn excluded(&self) -> Result<Vec<String>, ConfigError> {
        const KEY: &str = "excludeKeyNames";
        match self.get(KEY) {
            None => Ok(Vec::new()),
            Some(Value::List(names)) => Ok(names.iter().map(python_str).collect()),
            Some(other) => Err(self.wrong(KEY, "a list of names", Some(other))),
        }
    }

    fn wrong(
        &self,
        key: &'static str,
        expected: &'static str,
        found: Option<&Value>,
    ) -> ConfigError {
        ConfigError::Setting {
            source_name: self.name.to_owned(),
            key,
            expected,
            found: found.map_or("not there", Value::kind),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::yaml;

    fn read(config: &str, secrets: &str) -> (Result<Config, ConfigError>, Vec<String>) {
        let mut notes = Vec::new();
        let (config, secrets) = (yaml::read(config).unwrap(), yaml::read(secrets).unwrap());
        let read = Config::read(&config, &secrets, &mut |note| notes.push(note.to_owned()));
        (read, notes)
    }

    #[test]
    fn the_first_primary_counts_and_an_unknown_type_is_passed_over() {
        let (config, notes) = read(
            "cicdstatemgr: {datasources: {mongo: {isPrimary: true}, jsonfile: {path: a, isPrimary: yes}, \
             redis: {host: h, isPrimary: true, password: x}, idfile: {path: i}}}",
            "cicdstatemgr: {datasources: {redis: {password: MARKER}}, slack: {token: 12345}}",
        );
        let config = config.unwrap();

        assert_eq!(config.primary.name, "jsonfile");
        let names: Vec<&str> = config.copies.iter().map(|copy| &copy.name[..]).collect();
        assert_eq!(names, ["redis", "idfile"]);
        assert_eq!(notes.len(), 2);
        assert_eq!(
            notes[0],
            "No datasource module found by name: mongo .. ignoring"
        );
        let Place::Redis(place) = &config.copies[0].place else {
            panic!()
        };
        assert_eq!((place.port, place.db), (6379, 0));
        assert_eq!(place.password.as_ref().unwrap().expose(), "MARKER");
        assert!(!format!("{:?}", config.copies).contains("MARKER"));
        assert_eq!(config.all_secrets(), ["MARKER", "MARKER", "12345"]);
        assert_eq!(config.secret(["slack", "token"]).unwrap().expose(), "12345");
    }

    #[test]
    fn wrong_settings_are_refused_at_once() {
        for (config, words) in [
            ("x: 1", "the config file must have the key `cicdstatemgr`"),
            (
                "cicdstatemgr: {}",
                "you have no isPrimary=True datasource configured",
            ),
            (
                "cicdstatemgr: {datasources: {idfile: {path: a}}}",
                "you have no isPrimary=True",
            ),
            (
                "cicdstatemgr: {datasources: {idfile: {path: a, isPrimary: true}}}",
                "`datasources.idfile` cannot be the primary",
            ),
            (
                "cicdstatemgr: {datasources: {shellfile: {path: a, isPrimary: true}}}",
                "cannot be the primary",
            ),
            (
                "cicdstatemgr: {datasources: {redis: {isPrimary: true}}}",
                "`datasources.redis.host` must be",
            ),
            (
                "cicdstatemgr: {datasources: {redis: {host: h, port: x}}}",
                "`datasources.redis.port` must be",
            ),
            (
                "cicdstatemgr: {datasources: {yamlfile: {isPrimary: true}}}",
                "`datasources.yamlfile.path` must be",
            ),
            (
                "cicdstatemgr: {datasources: {yamlfile: {path: [a]}}}",
                "a text, and is a list",
            ),
            (
                "cicdstatemgr: {datasources: {shellfile: {path: a, excludeKeyNames: x}}}",
                "a list of names",
            ),
            (
                "cicdstatemgr: {datasources: {git: {isPrimary: true}}}",
                "`datasources.git.uri` must be",
            ),
        ] {
            let err = read(config, "").0.unwrap_err().to_string();
            assert!(err.contains(words), "{config}: {err}");
        }
        assert!(
            read(
                "cicdstatemgr: {datasources: {yamlfile: {path: a, isPrimary: true}}}",
                "other: 1"
            )
            .0
            .is_err()
        );
    }
}
