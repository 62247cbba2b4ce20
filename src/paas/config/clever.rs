//! The keys that begin with `cc_`.

use std::time::Duration;

use net::Secret;
use toml::Value;
use url::Url;

use super::keys::Keys;
use super::{ConfigError, Executor};

/// How apps are made at Clever Cloud.
#[derive(Debug, Clone)]
pub struct Clever {
    /// The API.
    pub api: Url,
    /// Where apps run: the next one where there is no room.
    pub zones: Vec<String>,
    /// How large they are: the next one where there is no room.
    pub flavors: Vec<String>,
    /// The largest that jobs may ask for.
    pub largest_flavor: Option<String>,
    /// Whose apps they are.
    pub tenancy: Tenancy,
    /// More variables of an app's environment.
    pub extra_env: Vec<(String, String)>,
    /// What flavors are asked for.
    pub flavor_context: String,
    /// What their names begin with.
    pub flavor_prefix: String,
    /// The user of the Git server.
    pub auth_user: String,
    /// The variant of an app.
    pub variant: String,
    /// How long the Git server's repository of an app may take to be there.
    pub repository_timeout: Duration,
    /// How often it is looked for.
    pub repository_step: Duration,
}

/// Whose apps they are.
#[derive(Debug, Clone)]
pub enum Tenancy {
    /// All are of one organisation.
    One {
        /// Its id.
        organisation: String,
        /// Its token.
        token: Secret,
    },
    /// Each group at GitLab has one, which attributes of the group say.
    Many {
        /// What may read attributes.
        token: Secret,
        /// The attribute with the id.
        id_attribute: String,
        /// The attribute with the token.
        token_attribute: String,
    },
}

impl Clever {
    pub(super) fn read(keys: &Keys<'_>, runner_token: &str) -> Result<Clever, ConfigError> {
        let or = |key: &str, default: &str| {
            let text = keys.text(key)?;
            Ok::<_, ConfigError>(text.unwrap_or_else(|| default.to_owned()))
        };
        let api = or("cc_api_url", "https://api.clever-cloud.com/v2")?;
        let api = Url::parse(api.trim_end_matches('/'))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| keys.fault("cc_api_url", "is not an http or https URL"))?;
        let flavor_context = or("cc_flavor_context", "heptapod-runner")?;
        let prefix = format!("{flavor_context}-");
        let tenancy = match keys.flag("cc_multi_tenant")?.unwrap_or(false) {
            true => Tenancy::Many {
                token: Secret::new(or("cc_gitlab_namespace_attributes_token", runner_token)?),
                id_attribute: or("cc_orga_id_attribute", "cc_orga_id")?,
                token_attribute: or("cc_orga_token_attribute", "cc_orga_token")?,
            },
            false => Tenancy::One {
                organisation: keys.required("cc_orga_id")?,
                token: Secret::new(keys.required("cc_token")?),
            },
        };
        Ok(Clever {
            api,
            zones: keys
                .texts("cc_zone")?
                .unwrap_or_else(|| vec!["par".to_owned()]),
            flavors: keys
                .texts("cc_default_flavor")?
                .unwrap_or_else(|| vec!["M".to_owned()]),
            largest_flavor: keys.text("cc_max_flavor")?,
            tenancy,
            extra_env: extra_env(keys)?,
            flavor_prefix: or("cc_flavor_name_prefix", &prefix)?,
            flavor_context,
            auth_user: or("cc_auth_user", "Jenkins")?,
            variant: or(
                "cc_instance_variant_uuid",
                "70d676a0-a775-4dc9-a43d-3121036e8515",
            )?,
            repository_timeout: keys
                .seconds("cc_deployment_repo_timeout")?
                .unwrap_or(Duration::from_secs(20))
                .min(Duration::from_secs(100)),
            repository_step: keys
                .seconds("cc_deployment_repo_step")?
                .unwrap_or(Duration::from_secs(2)),
        })
    }
}

fn extra_env(keys: &Keys<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    const KEY: &str = "cc_extra_env";
    let table = match keys.get(KEY) {
        None => return Ok(Vec::new()),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(keys.fault(KEY, "has to be a section")),
    };
    let texts = table.iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
            Ok((name.clone(), value.to_string()))
        }
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(keys.fault(KEY, "has a value that is no text"))
        }
    });
    texts.collect()
}

impl Executor {
    /// Whether each group has an organisation of its own.
    pub fn has_tenants(&self) -> bool {
        match self {
            Executor::Clever(clever) => matches!(clever.tenancy, Tenancy::Many { .. }),
            Executor::Local { .. } | Executor::Custom { .. } => false,
        }
    }

    /// What the configuration calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Executor::Clever(_) => "clever-docker",
            Executor::Local { .. } => "local-docker",
            Executor::Custom { .. } => "custom-docker",
        }
    }
}
