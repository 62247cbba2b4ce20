//! `pipelines.yml` as it is written. YAML 1.1 is meant: `yes` and `on` are booleans. Unknown keys are ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use pace::duration::{self, DurationError};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value as Json;
use serde_saphyr::{DuplicateKeyPolicy, Options};

/// A file.
pub(super) struct File {
    pub pipelines: BTreeMap<String, Pipeline>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Top {
    pipelines: Option<BTreeMap<String, Option<Pipeline>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Pipeline {
    pub concurrency: Option<Whole>,
    pub queue_limit: Option<Whole>,
    pub queue_strategy: Option<String>,
    pub queue_partition_limit: Option<Whole>,
    pub start_delay: Option<Span>,
    pub continue_running_tasks_after_failure: Option<Flag>,
    pub retention_period: Option<Span>,
    pub retention_count: Option<Whole>,
    pub timeout: Option<Span>,
    pub restart: Option<String>,
    pub singleton: Option<Flag>,
    pub env_from_variables: Option<Flag>,
    pub parameters: Option<BTreeMap<String, Option<Parameter>>>,
    pub env: Option<BTreeMap<String, Option<String>>>,
    pub tasks: Option<BTreeMap<String, Option<Task>>>,
    pub on_error: Option<Task>,
    pub webhook: Option<Webhook>,
    #[serde(deserialize_with = "present")]
    pub locks: Option<Vec<Lock>>,
}

/// A key whose value may be nothing, but which is there: who writes `locks` counts on being alone.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Lock>>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Lock {
    pub pool: Option<String>,
    pub name: Option<String>,
    #[serde(rename = "match")]
    pub conditions: Option<BTreeMap<String, Json>>,
    pub count: Option<Whole>,
    pub lease: Option<Span>,
    pub timeout: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Task {
    pub script: Option<Vec<Option<String>>>,
    pub depends_on: Option<Vec<String>>,
    pub allow_failure: Option<Flag>,
    pub env: Option<BTreeMap<String, Option<String>>>,
    pub timeout: Option<Span>,
    pub retry: Option<Retry>,
    #[serde(deserialize_with = "present")]
    pub locks: Option<Vec<Lock>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Retry {
    pub max: Option<Whole>,
    pub delay: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Parameter {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub default: Option<Json>,
    pub choices: Option<Vec<Json>>,
    pub pattern: Option<String>,
    pub required: Option<Flag>,
    pub secret: Option<Flag>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Webhook {
    pub url: Option<String>,
    pub on: Option<Vec<String>>,
    pub late_after: Option<Span>,
}

impl File {
    /// Reads the first document of a file.
    pub fn read(text: &str) -> Result<File, String> {
        let mut options = Options::default();
        options.duplicate_keys = DuplicateKeyPolicy::LastWins;
        options.with_snippet = false;
        // What is behind the first document is none of our business, so it is not even read.
        let mut bytes = text.as_bytes();
        let mut documents = serde_saphyr::read_with_options::<_, Top>(&mut bytes, options);
        let top = documents
            .next()
            .ok_or("EOF")?
            .map_err(|err| err.to_string())?;
        let pipelines = top.pipelines.unwrap_or_default().into_iter();
        Ok(File {
            pipelines: pipelines
                .map(|(name, pipeline)| (name, pipeline.unwrap_or_default()))
                .collect(),
        })
    }
}

/// A whole number; what is behind a point is cut off.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(number) = text.replace('_', "").parse() {
            return Ok(Whole(number));
        }
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.abs() < 1e15);
        match number {
            Some(number) => Ok(Whole(number as i64)),
            None => Err(D::Error::custom(format_args!(
                "`{text}` is no whole number"
            ))),
        }
    }
}

/// A boolean of YAML 1.1.
#[derive(Clone, Copy)]
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Flag(true)),
            "false" | "no" | "off" | "n" => Ok(Flag(false)),
            _ => Err(D::Error::custom(format_args!(
                "`{text}` is neither true nor false"
            ))),
        }
    }
}

/// A duration of Go; a bare number is nanoseconds.
#[derive(Clone, Copy)]
pub(super) enum Span {
    Negative,
    Of(Duration),
}

impl Span {
    /// The time, if it is more than none.
    pub fn positive(self) -> Option<Duration> {
        match self {
            Span::Of(time) if !time.is_zero() => Some(time),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = match text.parse() {
            Ok(nanos) => duration::from_nanos(nanos),
            Err(_) => duration::parse(&text),
        };
        match parsed {
            Ok(time) => Ok(Span::Of(time)),
            Err(DurationError::Negative) => Ok(Span::Negative),
            Err(err) => Err(D::Error::custom(format_args!(
                "`{text}` is no duration such as 1h30m: {err}"
            ))),
        }
    }
}
