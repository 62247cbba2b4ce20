//! What tokens are signed with: given, or kept in a file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pipelines::log::Log;
use pipelines::token::Secret;
use rand::RngExt as _;
use serde::Deserialize;

use super::flags::Settings;

/// The fewest characters.
const SHORTEST: usize = 16;
/// How many characters one has that is made up.
const USUAL: usize = 32;

#[derive(Deserialize)]
struct Config {
    jwt_secret: Option<String>,
}

/// The secret of the settings, or of the file, which is made if there is none.
pub fn find(settings: &Settings, log: Log) -> Result<Secret> {
    if let Some(given) = &settings.jwt_secret {
        if given.0.length() < SHORTEST {
            bail!("invalid CLI config: jwt_secret must be at least {SHORTEST} characters long");
        }
        return Ok(given.0.clone());
    }
    let path = &settings.config;
    match std::fs::read_to_string(path) {
        Ok(text) => {
            if let Ok(about) = path.metadata()
                && about.permissions().mode() & 0o077 != 0
            {
                let words =
                    "The file with the secret of tokens can be read by others: chmod 600 it";
                log.warn(words, &[("file", &path.display().to_string())]);
            }
            read(&text)
        }
        Err(err) if err.kind() == ErrorKind::NotFound => make(path),
        Err(err) => Err(err).with_context(|| format!("opening config `{}`", path.display())),
    }
}

fn read(text: &str) -> Result<Secret> {
    // What the parser says may show the secret.
    let config: Config = serde_saphyr::from_str(text)
        .map_err(|_| anyhow::anyhow!("decoding config: it is no YAML with the key `jwt_secret`"))?;
    let Some(secret) = config.jwt_secret.filter(|secret| !secret.is_empty()) else {
        bail!("invalid config: missing jwt_secret");
    };
    let secret = Secret::new(&secret);
    if secret.length() < SHORTEST {
        bail!("invalid config: jwt_secret must be at least {SHORTEST} characters long");
    }
    Ok(secret)
}

fn make(path: &Path) -> Result<Secret> {
    let mut rng = rand::rng();
    let secret: String = (0..USUAL)
        .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
        .collect();
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = made.and_then(|mut file| {
        writeln!(file, "jwt_secret: {secret}")?;
        file.sync_all()
    });
    written.with_context(|| format!("writing config `{}`", path.display()))?;
    Ok(Secret::new(&secret))
}
