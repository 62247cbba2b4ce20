//! What GitLab answers, as far as it matters here.
//!
//! Everything but an id may be missing, `null` or of a kind that is not known here.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

/// A pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Pipeline {
    /// Its number on this server.
    #[serde(deserialize_with = "id")]
    pub id: u64,
    /// What has become of it; see [`crate::status`].
    #[serde(default, deserialize_with = "text")]
    pub status: String,
    /// Its branch, tag, or ref of a merge request.
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub ref_name: String,
    /// Its commit.
    #[serde(default, deserialize_with = "text")]
    pub sha: String,
    /// What started it, such as `push` or `parent_pipeline`.
    #[serde(default, deserialize_with = "text")]
    pub source: String,
    /// Its page.
    #[serde(default, deserialize_with = "text")]
    pub web_url: String,
}

/// A job of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Its number on this server.
    #[serde(deserialize_with = "id")]
    pub id: u64,
    /// Its name.
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    /// What has become of it; see [`crate::status`].
    #[serde(default, deserialize_with = "text")]
    pub status: String,
    /// Whether its pipeline goes on when it fails.
    #[serde(default, deserialize_with = "flag")]
    pub allow_failure: bool,
    /// When a runner took it.
    #[serde(default, rename = "started_at", deserialize_with = "moment")]
    pub started: Option<SystemTime>,
    /// When it was over.
    #[serde(default, rename = "finished_at", deserialize_with = "moment")]
    pub finished: Option<SystemTime>,
    /// Its page.
    #[serde(default, deserialize_with = "text")]
    pub web_url: String,
    /// Who started it.
    #[serde(default)]
    pub user: Option<User>,
    /// The pipeline that it is of.
    #[serde(default)]
    pub pipeline: Option<Pipeline>,
}

/// A job that starts another pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Bridge {
    /// Its name.
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    /// The pipeline, once it has started it.
    #[serde(default)]
    pub downstream_pipeline: Option<Pipeline>,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The user's name.
    #[serde(default, deserialize_with = "text")]
    pub username: String,
}

/// A number; some proxies and older servers write it as a text.
fn id<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(from)?;
    let number = value.as_u64();
    let number = number.or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| D::Error::custom("an id that is no number"))
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        _ => Ok(String::new()),
    }
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(from)?.as_bool().unwrap_or_default())
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(value.as_str().and_then(terminal::time::parse))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn missing_null_and_unknown_fields_are_normal_and_a_missing_id_is_not() {
        let read = |text: &str| serde_json::from_str::<Vec<Pipeline>>(text);

        let pipelines = read(
            r#"[{"id": 7, "ref": null, "status": "running", "new": {}}, {"id": "8"}, {"id": 9, "sha": 3}]"#,
        );

        let ids: Vec<u64> = pipelines.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(ids, [7, 8, 9]);
        for text in [
            r#"[{"ref": "x"}]"#,
            r#"[{"id": null}]"#,
            r#"[{"id": -1}]"#,
            "{}",
            "[7]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let job: Job = serde_json::from_str(
            r#"{"id": 5, "started_at": null, "user": null, "allow_failure": null, "pipeline": {"id": 7}}"#,
        )
        .unwrap();
        assert_eq!((job.started, job.pipeline.unwrap().id), (None, 7));
    }
}
