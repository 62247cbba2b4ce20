//! Where the locks are: from flags, the environment or a file, in this order. Only where nothing at all is set about it, they
//! are on this machine: a wrong setting must not give a lock that keeps nobody out.
//!
//! `keys` has the settings, `environment` and `file` tell what they find, and here it is put together.

mod environment;
mod file;
pub(super) mod keys;

pub use environment::Environment;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pool::concourse::Source;
use pool::lock::PoolName;
use pool::message::Origin;
use pool::step::{Which, init_local};
use serde_json::{Map, Value};

use self::file::File;
use crate::pool::args::PlaceArgs;
use crate::resource::tell;

/// The pool in a repository of one's own on this machine.
const LOCAL_POOL: &str = "local";

/// The source of a command that is about all pools has to have one.
const ANY_POOL: &str = "any";

/// Which pool a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The one that is set.
    One,
    /// The one that is set, else every pool on the branch.
    OneOrAll,
    /// Every pool on the branch.
    All,
    /// Those that a file lists, of which this is one.
    Listed(PoolName),
}

/// Where the locks are.
pub struct Settings {
    /// As the library takes it.
    pub source: Source,
    /// Whether that is the repository of one's own on this machine.
    pub is_local: bool,
    /// What of the branch is meant.
    pub which: Which,
    /// The file in use.
    pub file: Option<PathBuf>,
}

/// Puts together where the locks are. If nothing is set about it, it is a repository in the user's own folder, which is made
/// with the first use of it. `fault_timeout` is for where none is set.
///
/// # Errors
/// Something is set, and does not say where; or it is wrong.
pub fn read(
    place: &PlaceArgs,
    scope: &Scope,
    env: &Environment,
    origin: &Origin,
    fault_timeout: Option<&str>,
) -> Result<Settings> {
    let given = flags(place)?;
    let working = std::env::current_dir().ok();
    let file = file::find(place.config.as_deref(), env, working.as_deref())?;
    let from_file = file.as_ref().map(File::read).transpose()?;
    let from_file = from_file.unwrap_or_default();
    let from_env = env.settings(file::content)?;
    let is_named_elsewhere = given.contains_key("uri") || from_env.contains_key("uri");
    if let Some(file) = &file {
        let names_the_uri = !is_named_elsewhere && is_set(&from_file, "uri");
        file.check_use(&from_file, names_the_uri, env)?;
    }
    let is_local = !is_named_elsewhere && !is_set(&from_file, "uri");
    if is_local {
        let mut set = about_a_place(place, scope, env, file.as_ref());
        if working.is_none() {
            set.push("the working folder, where pool.toml could be, cannot be read".to_owned());
        }
        if !set.is_empty() {
            bail!(
                "no Git repository is named, but {}: name it by --uri, POOL_URI, or `uri` in pool.toml. Only where nothing is set, a lock is on this machine alone, and keeps nobody else out",
                set.join(", ")
            );
        }
    }
    let mut keys = from_file;
    keys.extend(from_env);
    keys.extend(given);

    if let Some(limit) = fault_timeout {
        keys.entry("fault_timeout").or_insert_with(|| limit.into());
    }
    keys.entry("branch").or_insert_with(|| "main".into());
    if is_local {
        return local(keys, scope, origin);
    }
    tell_of_slips(env, &keys);
    let which = which(&mut keys, scope, env)?;
    Ok(Settings {
        source: Source::from_json(&Value::Object(keys))?,
        is_local,
        which,
        file: file.map(|file| file.path),
    })
}

/// The secret in a variable, or in the file that the variable with `_FILE` names.
///
/// # Errors
/// Both are set, or there is no such file.
#[cfg(feature = "serve")]
pub fn secret(env: &Environment, name: &str) -> Result<Option<net::Secret<String>>> {
    let file = format!("{name}_FILE");
    let text = match (env.get(name)?, env.get(&file)?) {
        (Some(_), Some(_)) => bail!("both {name} and {file} are set; one is enough"),
        (None, Some(path)) => Some(file::content(std::path::Path::new(&path))?),
        (text, None) => text,
    };
    let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    Ok(text.map(net::Secret::new))
}

/// What the flags say. One that is empty, as a variable of a shell may be, is a mistake.
fn flags(place: &PlaceArgs) -> Result<Map<String, Value>> {
    let mut keys = Map::new();
    let flags = [
        ("uri", &place.uri),
        ("branch", &place.branch),
        ("pool", &place.pool),
    ];
    for (key, value) in flags {
        match value.as_deref() {
            Some("") => bail!("--{key} is empty; give it a value, or leave it out"),
            Some(value) => drop(keys.insert(key.to_owned(), value.into())),
            None => {}
        }
    }
    if let Some(path) = &place.signing_key {
        keys.insert("signing_key".to_owned(), file::content(path)?.into());
    }
    if place
        .config
        .as_ref()
        .is_some_and(|file| file.as_os_str().is_empty())
    {
        bail!("--config is empty; give it a value, or leave it out");
    }
    Ok(keys)
}

fn is_set(keys: &Map<String, Value>, key: &str) -> bool {
    !matches!(keys.get(key), None | Some(Value::Null)) && keys[key] != ""
}

/// All that says, or was meant to say, where the locks are.
fn about_a_place(
    place: &PlaceArgs,
    scope: &Scope,
    env: &Environment,
    file: Option<&File>,
) -> Vec<String> {
    let mut set = Vec::new();
    if place.pool.is_some() {
        set.push("--pool is given".to_owned());
    }
    if place.branch.is_some() {
        set.push("--branch is given".to_owned());
    }
    if matches!(scope, Scope::Listed(_)) {
        set.push("--file names pools".to_owned());
    }
    set.extend(env.about_a_place());
    set.extend(file.map(|file| format!("`{}` is in use, and has no `uri`", file.path.display())));
    set.extend(
        env.ci()
            .map(|name| format!("{name} is set: this is a job of a CI system")),
    );
    set
}

/// Tells of variables that were probably meant to be others, and of a branch that was meant to be set.
fn tell_of_slips(env: &Environment, keys: &Map<String, Value>) {
    for unknown in env
        .unknown()
        .iter()
        .filter(|unknown| unknown.meant.is_some())
    {
        tell!("note: {unknown}");
    }
    if env.is_empty("POOL_BRANCH") {
        let branch = keys.get("branch").and_then(Value::as_str);
        tell!(
            "note: POOL_BRANCH is set and empty; the branch is `{}`",
            branch.unwrap_or_default()
        );
    }
}

/// Which pool is meant; the source gets one in any case.
fn which(keys: &mut Map<String, Value>, scope: &Scope, env: &Environment) -> Result<Which> {
    let is_set = is_set(keys, "pool");
    match scope {
        Scope::All => {}
        Scope::One | Scope::OneOrAll if is_set => return Ok(Which::One),
        Scope::OneOrAll => {}
        Scope::Listed(_) if is_set => return Ok(Which::One),
        Scope::Listed(pool) => {
            keys.insert("pool".to_owned(), pool.as_str().into());
            return Ok(Which::One);
        }
        Scope::One => bail!(
            "no pool is named{}: give --pool, POOL_NAME, or `pool` in pool.toml (it is a folder on the branch; `pool status --all` shows which there are)",
            if env.is_empty("POOL_NAME") {
                ", for POOL_NAME is set and empty"
            } else {
                ""
            }
        ),
    }
    keys.insert("pool".to_owned(), ANY_POOL.into());
    Ok(Which::All)
}

/// Where the keys of SSH servers are kept that were met for the first time; `None` without a folder of the user's. A home
/// that is not there is none: users without one are given a name for it, and nobody expects that to be made.
pub fn met_hosts() -> Option<PathBuf> {
    let data = dirs::data_dir()?;
    let is_in_home = dirs::home_dir().is_some_and(|home| data.starts_with(&home) && !home.is_dir());
    (!is_in_home).then(|| data.join("pool/known_hosts"))
}

/// The repository of one's own.
fn local(mut keys: Map<String, Value>, scope: &Scope, origin: &Origin) -> Result<Settings> {
    let data = dirs::data_dir().context(
        "no repository is named (--uri, POOL_URI, pool.toml), and there is no folder of the user's for one: HOME is not set",
    )?;
    let folder = data.join("pool/locks.git");
    let text = folder.to_str().map(str::to_owned);
    let text = text.with_context(|| format!("`{}` is not UTF-8", folder.display()))?;
    keys.insert("uri".to_owned(), Value::String(text));
    keys.insert("pool".to_owned(), LOCAL_POOL.into());
    let source = Source::from_json(&Value::Object(keys))?;
    init_local(&folder, "main", &PoolName::new(LOCAL_POOL)?, origin)?;
    tell!(
        "note: no repository is named, so that locks are in {}: they keep nobody out who is not you on this machine",
        folder.display()
    );
    Ok(Settings {
        source,
        is_local: true,
        which: match scope {
            Scope::All => Which::All,
            _ => Which::One,
        },
        file: None,
    })
}

#[cfg(test)]
mod tests;
