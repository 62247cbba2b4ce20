//! Where the locks are: from flags, the environment, a file, or by default on this machine, in this order.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pool::concourse::Source;
use pool::lock::PoolName;
use pool::message::Origin;
use pool::step::init_local;
use serde_json::{Map, Value};

use crate::pool::args::PlaceArgs;

/// The keys of a source that are one text each: the environment has them as `POOL_` and the key in capitals.
const TEXTS: [&str; 17] = [
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
    "ca_cert",
    "known_hosts",
    "prometheus_push_gateway",
];

/// Those that are on or off.
const SWITCHES: [&str; 2] = ["skip_ssl_verification", "forward_agent"];

/// Those that can be in a file, which is named by the key and `_file`.
const IN_FILES: [&str; 5] = [
    "private_key",
    "private_key_passphrase",
    "password",
    "ca_cert",
    "known_hosts",
];

/// Those that only a settings file can have.
const NESTED: [&str; 3] = ["pool", "https_tunnel", "git_config"];

/// The pool in a repository of one's own on this machine.
const LOCAL_POOL: &str = "local";

/// Where the locks are.
pub struct Settings {
    /// As the library takes it.
    pub source: Source,
    /// Whether that is the repository of one's own on this machine.
    pub is_local: bool,
}

/// Puts together where the locks are. Without any repository named it is one in the user's own folder, which is made with
/// the first use of it. `fault_timeout` is for where none is set.
pub fn read(
    place: &PlaceArgs,
    env: &impl Fn(&str) -> Option<String>,
    origin: &Origin,
    fault_timeout: Option<&str>,
) -> Result<Settings> {
    let mut keys = layers(place, env)?;
    if let Some(limit) = fault_timeout {
        keys.entry("fault_timeout").or_insert_with(|| limit.into());
    }
    let is_local = !keys.contains_key("uri");
    keys.entry("branch").or_insert_with(|| "main".into());
    if is_local {
        keys.entry("pool").or_insert_with(|| LOCAL_POOL.into());
        let folder = local_folder()?;
        let text = folder.to_str().map(str::to_owned);
        let text = text.with_context(|| format!("`{}` is not UTF-8", folder.display()))?;
        keys.insert("uri".to_owned(), Value::String(text));
    } else if !keys.contains_key("pool") {
        bail!(
            "no pool is named: give --pool, POOL_NAME, or `pool` in pool.toml (it is a folder on the branch; `pool status --all` shows which there are)"
        );
    }
    let source = Source::from_json(&Value::Object(keys))?;
    if is_local {
        let folder = local_folder()?;
        if init_local(&folder, "main", &PoolName::new(LOCAL_POOL)?, origin)? {
            crate::resource::tell!(
                "note: the locks are in {}, for nothing else is set; see `pool --help`",
                folder.display()
            );
        }
    }
    Ok(Settings { source, is_local })
}

/// The keys that are set, the most particular setting of each.
fn layers(place: &PlaceArgs, env: &impl Fn(&str) -> Option<String>) -> Result<Map<String, Value>> {
    let mut keys = match file(place, env) {
        Some(path) => read_file(&path)?,
        None => Map::new(),
    };
    for key in TEXTS {
        let name = format!("POOL_{}", key.to_uppercase());
        let value = env(&name);
        let in_file = match IN_FILES.contains(&key) {
            true => env(&format!("{name}_FILE")),
            false => None,
        };
        let value = match (value, in_file) {
            (Some(_), Some(_)) => bail!("both {name} and {name}_FILE are set; one is enough"),
            (None, Some(path)) => Some(content(Path::new(&path))?),
            (value, None) => value,
        };
        if let Some(value) = value {
            keys.insert(key.to_owned(), Value::String(value));
        }
    }
    for key in SWITCHES {
        let name = format!("POOL_{}", key.to_uppercase());
        if let Some(text) = env(&name) {
            let on = switch(&text).with_context(|| format!("{name} must be true or false"))?;
            keys.insert(key.to_owned(), Value::Bool(on));
        }
    }
    let given = [
        ("pool", env("POOL_NAME")),
        ("uri", place.uri.clone()),
        ("branch", place.branch.clone()),
        ("pool", place.pool.clone()),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            keys.insert(key.to_owned(), Value::String(value));
        }
    }
    Ok(keys)
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
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

fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let text = content(path)?;
    let keys: Map<String, Value> = toml::from_str(&text).map_err(|err| {
        // Never the line itself, which may have a secret in it.
        let line = err.span().map(|span| {
            let before = text.get(..span.start).unwrap_or_default();
            format!(", line {}", before.matches('\n').count() + 1)
        });
        anyhow::anyhow!(
            "`{}` is not TOML{}",
            path.display(),
            line.unwrap_or_default()
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut set = Map::new();
    for (key, value) in keys {
        let in_file = key
            .strip_suffix("_file")
            .filter(|base| IN_FILES.contains(base));
        if let Some(base) = in_file {
            let Value::String(file) = &value else {
                bail!("`{key}` in `{}` must be the path of a file", path.display());
            };
            let text = content(&folder.join(file))?;
            if set.insert(base.to_owned(), Value::String(text)).is_some() {
                bail!(
                    "both `{base}` and `{key}` are in `{}`; one is enough",
                    path.display()
                );
            }
            continue;
        }
        let known = TEXTS.iter().chain(&SWITCHES).chain(&NESTED);
        if !known.clone().any(|known| *known == key) {
            let mut names: Vec<String> = known.map(|name| (*name).to_owned()).collect();
            names.extend(IN_FILES.iter().map(|name| format!("{name}_file")));
            names.sort();
            bail!(
                "there is no setting {key:?}, which is in `{}`; there are: {}",
                path.display(),
                names.join(", ")
            );
        }
        if set.insert(key.clone(), value).is_some() {
            bail!(
                "both `{key}` and `{key}_file` are in `{}`; one is enough",
                path.display()
            );
        }
    }
    Ok(set)
}

fn content(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Where the repository of one's own is.
fn local_folder() -> Result<PathBuf> {
    let data = dirs::data_dir().context(
        "no repository is named (--uri, POOL_URI, pool.toml), and there is no folder of the user's for one: HOME is not set",
    )?;
    Ok(data.join("pool/locks.git"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn how_long_faults_are_borne_with_goes_by_the_command_only_where_nothing_is_set() {
        let place = PlaceArgs {
            uri: Some("https://git.example.com/locks.git".to_owned()),
            pool: Some("aws".to_owned()),
            // Nobody's own settings.
            config: Some("/dev/null".into()),
            ..PlaceArgs::default()
        };
        let origin = Origin {
            prefix: String::new(),
            url: None,
            build_id: None,
            instance_vars: None,
        };
        let limit = |set: Option<&str>, of_the_command: Option<&str>| {
            let env = |name: &str| {
                let set = set.filter(|_| name == "POOL_FAULT_TIMEOUT");
                set.map(str::to_owned)
            };
            let settings = read(&place, &env, &origin, of_the_command).unwrap();
            settings.source.fault_timeout.as_secs()
        };
        assert_eq!(limit(None, None), 300);
        assert_eq!(limit(None, Some("20s")), 20);
        assert_eq!(limit(Some("7s"), Some("20s")), 7);
    }
}
