//! The file with settings: which one it is, what is in it, and what it may say.
//!
//! One that was only found in the working folder or above may be anybody's, such as the author's of a branch that is built.
//! It may say where the locks are. It may not send credentials of ours anywhere, nor run anything here.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use git::Location;
use rustix::process::geteuid;
use serde_json::{Map, Value};

use super::environment::Environment;
use super::keys::{DETOURS, IN_FILES, NESTED, SWITCHES, TEXTS, TRUST};

/// What it is called where nobody names it.
const NAME: &str = "pool.toml";

/// A file with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was only found, in the working folder or above: nobody has named it, and it is not the user's own.
    pub was_found: bool,
}

/// The file in use, if there is one: the one that is named, else the one in the working folder or nearest above it, else the
/// user's own. There may be no working folder any more.
///
/// # Errors
/// A folder cannot be looked into, or a file that was found is somebody else's.
pub fn find(
    named: Option<&Path>,
    env: &Environment,
    working: Option<&Path>,
) -> Result<Option<File>> {
    let named = match named {
        Some(path) => Some(path.to_owned()),
        None => env.get("POOL_CONFIG")?.map(PathBuf::from),
    };
    if let Some(path) = named {
        return Ok(Some(File {
            path,
            was_found: false,
        }));
    }
    for folder in working.into_iter().flat_map(Path::ancestors) {
        let path = folder.join(NAME);
        if let Some(owner) = owner_of_file(&path)? {
            check_owner(&path, owner, working.unwrap_or(folder))?;
            return Ok(Some(File {
                path,
                was_found: true,
            }));
        }
    }
    let Some(path) = dirs::config_dir().map(|folder| folder.join("pool").join(NAME)) else {
        return Ok(None);
    };
    Ok(owner_of_file(&path)?.map(|_| File {
        path,
        was_found: false,
    }))
}

/// Whose a file is; `None` where there is none.
fn owner_of_file(path: &Path) -> Result<Option<u32>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(None),
        Ok(metadata) => Ok(Some(metadata.uid())),
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(err) => {
            Err(err).with_context(|| format!("cannot look whether there is `{}`", path.display()))
        }
    }
}

/// In a folder that everybody can write to, such as `/tmp`, anybody can leave a file for those who work below it.
fn check_owner(path: &Path, owner: u32, working: &Path) -> Result<()> {
    let of_folder = fs::metadata(working).map(|metadata| metadata.uid()).ok();
    if is_right_owner(owner, geteuid().as_raw(), of_folder) {
        return Ok(());
    }
    bail!(
        "`{}` belongs to another user (of number {owner}) than you and the working folder; if it is right all the same, {}",
        path.display(),
        naming(path)
    );
}

/// A checkout may belong to another user than the job that works in it, and then all of it does.
fn is_right_owner(owner: u32, ours: u32, of_folder: Option<u32>) -> bool {
    const ROOT: u32 = 0;
    owner == ROOT || owner == ours || Some(owner) == of_folder
}

/// What to do to have a file trusted.
fn naming(path: &Path) -> String {
    format!("name the file: --config or POOL_CONFIG={}", path.display())
}

impl File {
    /// Reads it. A key that ends with `_file` gives what is in that file.
    ///
    /// # Errors
    /// It, or a file that it names, cannot be read; it is not TOML; it has a key that means nothing, or may not have.
    pub fn read(&self) -> Result<Map<String, Value>> {
        let path = self.path.display();
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut set = Map::new();
        for (key, value) in parse(&content(&self.path)?, &self.path)? {
            let in_file = key
                .strip_suffix("_file")
                .filter(|base| IN_FILES.contains(base));
            let (key, value) = match in_file {
                Some(base) => {
                    let Value::String(file) = &value else {
                        bail!("`{key}` in `{path}` must be the path of a file");
                    };
                    let file = folder.join(file);
                    if self.was_found && !is_below(&file, folder)? {
                        bail!(
                            "`{key}` in `{path}` is a file outside of that folder, and `{path}` was only found there; if it is right, {}",
                            naming(&self.path)
                        );
                    }
                    (base.to_owned(), Value::String(content(&file)?))
                }
                None => (key, value),
            };
            check_key(&key, &self.path)?;
            if self.was_found && DETOURS.contains(&key.as_str()) {
                bail!(
                    "`{key}` is in `{path}`, which was only found there: it could send passwords elsewhere; if it is right, {}",
                    naming(&self.path)
                );
            }
            if set.insert(key.clone(), value).is_some() {
                bail!("both `{key}` and `{key}_file` are in `{path}`; one is enough");
            }
        }
        Ok(set)
    }

    /// Checks that what a file says, which was only found, goes together with what else is set: a `uri` of it with nobody
    /// else's credentials, and a `uri` of somebody else's with nothing by which it would be trusted wrongly.
    ///
    /// # Errors
    /// They don't.
    pub fn check_use(
        &self,
        settings: &Map<String, Value>,
        names_the_uri: bool,
        env: &Environment,
    ) -> Result<()> {
        if !self.was_found {
            return Ok(());
        }
        let path = self.path.display();
        if !names_the_uri {
            if let Some(key) = TRUST.iter().find(|key| settings.contains_key(**key)) {
                bail!(
                    "`{key}` is in `{path}`, which was only found there, and says which servers to trust for a uri that it does not name; if it is right, {}",
                    naming(&self.path)
                );
            }
            return Ok(());
        }
        let uri = settings.get("uri").and_then(Value::as_str);
        let is_path = |uri| matches!(Location::parse(uri), Ok((Location::Path(_), _)));
        if uri.is_some_and(is_path) {
            bail!(
                "`uri` in `{path}` is a path on this machine, whose hooks would run, and the file was only found there; if it is right, {}, or set POOL_URI",
                naming(&self.path)
            );
        }
        let credentials = env.credentials();
        if !credentials.is_empty() {
            bail!(
                "{} would go to the `uri` in `{path}`, which was only found there; if it is right, {}, or set POOL_URI",
                credentials.join(" and "),
                naming(&self.path)
            );
        }
        Ok(())
    }
}

fn parse(text: &str, path: &Path) -> Result<Map<String, Value>> {
    toml::from_str(text).map_err(|err| {
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
    })
}

fn check_key(key: &str, path: &Path) -> Result<()> {
    let known = TEXTS.iter().chain(&SWITCHES).chain(&NESTED);
    if known.clone().any(|known| *known == key) {
        return Ok(());
    }
    let mut names: Vec<String> = known.map(|name| (*name).to_owned()).collect();
    names.extend(IN_FILES.iter().map(|name| format!("{name}_file")));
    names.sort();
    bail!(
        "there is no setting {key:?}, which is in `{}`; there are: {}",
        path.display(),
        names.join(", ")
    );
}

/// Whether a file is below a folder, whatever links lead to it.
fn is_below(file: &Path, folder: &Path) -> Result<bool> {
    let real = |path: &Path| {
        fs::canonicalize(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    Ok(real(file)?.starts_with(real(folder)?))
}

/// What is in a file.
pub fn content(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_found_is_ours_the_systems_or_goes_with_the_folder_that_is_worked_in() {
        assert!(is_right_owner(1000, 1000, Some(1001)));
        assert!(is_right_owner(0, 1000, Some(1000)));
        // A job that runs as root, in a checkout of somebody else's.
        assert!(is_right_owner(1000, 0, Some(1000)));
        assert!(!is_right_owner(1001, 1000, Some(1000)));
        assert!(!is_right_owner(1001, 0, Some(0)));
        assert!(!is_right_owner(1001, 1000, None));
    }
}
