//! Where the locks are, from flags, the environment, a file, or by default on this machine, in this order.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pool_resource::concourse::Source;
use serde_json::{Map, Value};

use crate::args::PlaceArgs;

/// The keys of a source that are one value each: the environment has them as `POOL_` and the key in capitals.
const KEYS: [&str; 18] = [
    "uri",
    "branch",
    "private_key",
    "private_key_user",
    "private_key_passphrase",
    "username",
    "password",
    "retry_delay",
    "order",
    "ticket_renewal",
    "connect_timeout",
    "silence_timeout",
    "attempt_timeout",
    "fault_timeout",
    "skip_ssl_verification",
    "ca_cert",
    "known_hosts",
    "prometheus_push_gateway",
];

/// Puts together where the locks are.
pub fn source(place: &PlaceArgs, env: &impl Fn(&str) -> Option<String>) -> Result<Source> {
    let mut keys = match file(place, env) {
        Some(path) => read(&path)?,
        None => Map::new(),
    };
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            keys.insert(key.to_owned(), Value::String(value));
        }
    };
    for key in KEYS {
        set(key, env(&format!("POOL_{}", key.to_uppercase())));
    }
    set("pool", env("POOL_NAME"));
    set("uri", place.uri.clone());
    set("branch", place.branch.clone());
    set("pool", place.pool.clone());
    Ok(Source::from_json(&Value::Object(keys))?)
}

/// The file with settings, if there is one.
fn file(place: &PlaceArgs, env: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = place
        .config
        .clone()
        .or_else(|| env("POOL_CONFIG").map(PathBuf::from));
    let usual = [
        Some(PathBuf::from("pool.toml")),
        dirs::config_dir().map(|dir| dir.join("pool/pool.toml")),
    ];
    named.or_else(|| usual.into_iter().flatten().find(|path| path.is_file()))
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the settings in `{}`", path.display()))?;
    toml::from_str(&text).with_context(|| format!("`{}` is not TOML", path.display()))
}
