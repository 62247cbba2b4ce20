//! What a coordinator says of a job, as far as it matters here. All else goes on to the inner runner as it came.

use serde_json::Value;

use crate::image::{self, Variables};

/// A job that was given to us, read.
#[derive(Clone, PartialEq)]
pub struct Payload(Value);

/// Why a job cannot be read. It does not show the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// It is no JSON.
    #[error("the coordinator gave a job that is no JSON")]
    Syntax,
    /// It lacks what every job has.
    #[error("the coordinator gave a job without `{0}`")]
    Lacks(&'static str),
    /// A name of an image is too long once its variables are expanded.
    #[error("the name of an image is too long once its variables are expanded")]
    Image,
}

/// Whose prefix images are fetched through.
const PROXY: &str = "CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX";

impl Payload {
    /// Reads a job.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn read(text: &str) -> Result<Payload, PayloadError> {
        let value: Value = serde_json::from_str(text).map_err(|_| PayloadError::Syntax)?;
        match value.is_object() {
            true => Ok(Payload(value)),
            false => Err(PayloadError::Lacks("id")),
        }
    }

    /// Its number.
    ///
    /// # Errors
    /// [`PayloadError::Lacks`].
    pub fn id(&self) -> Result<u64, PayloadError> {
        let id = self.0.get("id").and_then(Value::as_u64);
        id.ok_or(PayloadError::Lacks("id"))
    }

    /// Its token.
    ///
    /// # Errors
    /// [`PayloadError::Lacks`].
    pub fn token(&self) -> Result<&str, PayloadError> {
        let token = self.0.get("token").and_then(Value::as_str);
        token
            .filter(|token| !token.is_empty())
            .ok_or(PayloadError::Lacks("token"))
    }

    /// How long it may run, in seconds.
    pub fn timeout(&self) -> Option<u64> {
        let timeout = self.0.pointer("/runner_info/timeout");
        timeout.and_then(Value::as_u64).filter(|time| *time > 0)
    }

    /// The first value of a variable. Those that the coordinator sets come before those of the job's author, who so cannot
    /// have a job run at somebody else's cost.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.variables()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.get("variables").and_then(Value::as_array);
        all.into_iter().flatten().filter_map(|one| {
            let text = |key: &str| one.get(key).and_then(Value::as_str);
            Some((text("key")?, text("value")?))
        })
    }

    /// The images of a job whose group has a dependency proxy, fetched through it; `None` where there is nothing to change.
    ///
    /// # Errors
    /// [`PayloadError::Image`].
    pub fn through_proxy(&self) -> Result<Option<Payload>, PayloadError> {
        let variables: Variables<'_> = self.variables().collect();
        let Some(prefix) = variables.get(PROXY).filter(|prefix| !prefix.is_empty()) else {
            return Ok(None);
        };
        let mut changed = self.0.clone();
        if let Some(image) = changed.get_mut("image") {
            rewrite(image, prefix, &variables)?;
        }
        if let Some(services) = changed.get_mut("services").and_then(Value::as_array_mut) {
            for service in services {
                let Some(original) = rewrite(service, prefix, &variables)? else {
                    continue;
                };
                let alias = service.get("alias").and_then(Value::as_str);
                if alias.is_none_or(str::is_empty) {
                    service["alias"] = image::alias(&original).into();
                }
            }
        }
        Ok((changed != self.0).then_some(Payload(changed)))
    }

    /// It, as JSON.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// Has an image fetched through the proxy, if it is one of Docker Hub; gives the name that it had, expanded.
fn rewrite(
    image: &mut Value,
    prefix: &str,
    variables: &Variables<'_>,
) -> Result<Option<String>, PayloadError> {
    let Some(name) = image.get("name").and_then(Value::as_str) else {
        return Ok(None);
    };
    let name = image::expand(name, variables).ok_or(PayloadError::Image)?;
    if name.is_empty() {
        return Ok(None);
    }
    let Some(path) = image::on_docker_hub(&name) else {
        return Ok(None);
    };
    image["name"] = format!("{}/{path}", prefix.trim_end_matches('/')).into();
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn job(image: Value, services: Value) -> Payload {
        Payload(json!({
            "id": 7,
            "token": "MARKER",
            "variables": [
                {"key": PROXY, "value": "old", "public": true},
                {"key": PROXY, "value": "gitlab.example/group/proxy"},
                {"key": "V", "value": "3"},
            ],
            "image": image,
            "services": services,
            "odd": {"x": [1, 2.5, null]},
        }))
    }

    #[test]
    fn images_of_docker_hub_go_through_the_proxy_and_services_keep_their_names() {
        let job = job(
            json!({"name": "alpine:$V", "entrypoint": ["x"]}),
            json!([
                {"name": "postgres:13"},
                {"name": "redis", "alias": "cache"},
                {"name": "tutum/wordpress", "alias": ""},
                {"name": "registry.example/$V"},
                {"alias": "no-name"},
                {"name": ""},
            ]),
        );

        let Payload(changed) = job.through_proxy().unwrap().unwrap();

        let prefix = "gitlab.example/group/proxy";
        assert_eq!(
            changed["image"],
            json!({"name": format!("{prefix}/library/alpine:3"), "entrypoint": ["x"]})
        );
        assert_eq!(
            changed["services"],
            json!([
                {"name": format!("{prefix}/library/postgres:13"), "alias": "postgres"},
                {"name": format!("{prefix}/library/redis"), "alias": "cache"},
                {"name": format!("{prefix}/tutum/wordpress"), "alias": "tutum-wordpress"},
                {"name": "registry.example/$V"},
                {"alias": "no-name"},
                {"name": ""},
            ])
        );
        assert_eq!(changed["odd"], job.0["odd"]);
        assert_eq!(changed["token"], "MARKER");
    }

    #[test]
    fn an_image_that_is_absent_or_null_or_has_no_name_is_left_alone() {
        for image in [Value::Null, json!({}), json!({"name": null}), json!(7)] {
            assert!(job(image, Value::Null).through_proxy().unwrap().is_none());
        }
        let job = Payload(json!({"id": 1, "image": {"name": "alpine"}}));
        assert!(job.through_proxy().unwrap().is_none());
    }

    #[test]
    fn the_first_value_of_a_variable_counts_where_money_does() {
        let job = Payload(json!({"variables": [
            {"key": "CI_PROJECT_ROOT_NAMESPACE", "value": "owner"},
            {"key": "CI_PROJECT_ROOT_NAMESPACE", "value": "forged"},
        ]}));

        assert_eq!(job.first("CI_PROJECT_ROOT_NAMESPACE"), Some("owner"));
        assert_eq!(job.first("NONE"), None);
    }

    #[test]
    fn what_is_no_job_is_refused_and_not_shown() {
        for text in ["", "MARKER", "[]", "7", r#""MARKER""#] {
            let err = Payload::read(text).err().unwrap();
            assert!(!err.to_string().contains("MARKER"));
        }
        let read = |text: &str| Payload::read(text).unwrap();
        assert!(read(r#"{"id": "MARKER"}"#).id().is_err());
        assert!(read(r#"{"id": 1, "token": ""}"#).token().is_err());
        assert_eq!(
            read(r#"{"runner_info": {"timeout": 60}}"#).timeout(),
            Some(60)
        );
        assert_eq!(read(r#"{"runner_info": {"timeout": 0}}"#).timeout(), None);
    }
}
