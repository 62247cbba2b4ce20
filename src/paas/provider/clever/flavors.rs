//! How large apps may be.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::{Kind, ProviderError};
use super::api::Api;
use crate::config;

/// How long the list is good.
const KEPT: Duration = Duration::from_secs(3600);

/// The flavors that there are, asked for once an hour.
pub(super) struct Flavors {
    context: String,
    prefix: String,
    defaults: Vec<String>,
    largest: Option<String>,
    /// Held by who asks: others wait for that answer.
    known: Mutex<Option<(Instant, Known)>>,
}

/// Those that can be had: by the name that people use, the provider's, and the memory in bytes.
type Known = BTreeMap<String, (String, Option<u64>)>;

impl Flavors {
    pub fn new(settings: &config::Clever) -> Flavors {
        Flavors {
            context: settings.flavor_context.clone(),
            prefix: settings.flavor_prefix.clone(),
            defaults: settings.flavors.clone(),
            largest: settings.largest_flavor.clone(),
            known: Mutex::default(),
        }
    }

    /// The provider's names of those that a job may have, the first one first.
    pub async fn of_job(
        &self,
        api: &Api,
        wanted: Option<&str>,
    ) -> Result<Vec<String>, ProviderError> {
        let known = self.known(api).await?;
        let wanted: Vec<&str> = match wanted {
            Some(wanted) => vec![wanted],
            None => self.defaults.iter().map(String::as_str).collect(),
        };
        choose(&known, &wanted, self.largest.as_deref())
    }

    async fn known(&self, api: &Api) -> Result<Known, ProviderError> {
        let mut kept = self.known.lock().await;
        if let Some((at, known)) = &*kept
            && at.elapsed() < KEPT
        {
            return Ok(known.clone());
        }
        let path = ["products", "flavors"];
        let query = [("context", &self.context[..])];
        let list = api.get("list-flavors", &path, &query).await?;
        let known = read(&list, &self.prefix);
        *kept = Some((Instant::now(), known.clone()));
        Ok(known)
    }
}

fn read(list: &Value, prefix: &str) -> Known {
    let all = list.as_array().into_iter().flatten();
    all.filter(|one| one.get("available").and_then(Value::as_bool) != Some(false))
        .filter_map(|one| {
            let name = one.get("name")?.as_str()?;
            let short = name.strip_prefix(prefix)?;
            let memory = one
                .pointer("/memory/value")
                .or_else(|| one.get("mem"))
                .and_then(Value::as_u64);
            Some((short.to_owned(), (name.to_owned(), memory)))
        })
        .collect()
}

fn choose(
    known: &Known,
    wanted: &[&str],
    largest: Option<&str>,
) -> Result<Vec<String>, ProviderError> {
    let refused = |details: String| ProviderError {
        code: super::super::Code(Some("1".to_owned())),
        ..ProviderError::new("check-flavor", Kind::Refused, details)
    };
    let most = largest
        .and_then(|name| known.get(name))
        .and_then(|(_, memory)| *memory);
    let mut found = Vec::new();
    for name in wanted {
        let shown = terminal::one_line(name);
        match known.get(*name) {
            Some((_, Some(memory))) if most.is_some_and(|most| *memory > most) => {
                return Err(refused(format!(
                    "the flavor '{shown}' is larger than '{}', the largest that this runner allows",
                    largest.unwrap_or_default()
                )));
            }
            Some((full, _)) => found.push(full.clone()),
            None => {
                let all: Vec<&str> = known.keys().map(String::as_str).collect();
                return Err(refused(format!(
                    "the flavor '{shown}' is not available; choose one of {}",
                    terminal::one_line(&all.join(", "))
                )));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn known() -> Known {
        let list = json!([
            {"name": "heptapod-runner-M", "available": true, "memory": {"value": 4}},
            {"name": "heptapod-runner-XL", "memory": {"value": 16}},
            {"name": "heptapod-runner-GPU", "available": false},
            {"name": "other-S"},
        ]);
        read(&list, "heptapod-runner-")
    }

    #[test]
    fn a_flavor_is_wanted_by_its_name_without_the_prefix() {
        let found = choose(&known(), &["XL", "M"], None);
        assert_eq!(found.unwrap(), ["heptapod-runner-XL", "heptapod-runner-M"]);
    }

    #[test]
    fn one_that_is_not_there_is_refused_with_those_that_are() {
        for name in ["GPU", "S", "nonsense"] {
            let err = choose(&known(), &[name], None).unwrap_err();

            assert_eq!(
                (err.action, &err.code.0),
                ("check-flavor", &Some("1".to_owned()))
            );
            assert!(err.details.contains("M, XL"), "{err}");
        }
    }

    #[test]
    fn one_that_is_too_large_is_refused() {
        let err = choose(&known(), &["XL"], Some("M")).unwrap_err();
        assert!(err.details.contains("larger"), "{err}");
        assert!(choose(&known(), &["M"], Some("M")).is_ok());
    }
}
