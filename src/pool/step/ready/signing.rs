//! The key that signs our commits: the source's own, or that of Git's settings.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Settings;
use crate::concourse::{Source, read_private_key};
use crate::step::{StepError, Surroundings};
use git::{RemoteError, Signer};

/// The most that a file with a key may have, in bytes.
const MOST: u64 = 64 * 1024;

/// What signs our commits, if they are to be signed.
pub(super) fn signer(
    source: &Source,
    settings: &Settings,
    around: &Surroundings,
) -> Result<Option<Signer>, StepError> {
    let passphrase = source.signing_key_passphrase.as_ref();
    let passphrase = passphrase.map(|text| text.expose());
    if let Some(key) = source.signing_key()? {
        return Ok(Some(Signer::new(&key, passphrase)?));
    }
    let Some(value) = settings.signing.key() else {
        return Ok(None);
    };
    let unusable = |why: String| StepError::SigningSetting { why };
    let text = text(value, around.home.as_deref()).map_err(unusable)?;
    let text = read_private_key(&text).map_err(|what| unusable(format!("it looks like {what}")))?;
    let signer = Signer::new(&text, passphrase);
    let signer = signer.map_err(|err| match err {
        RemoteError::SigningKey { with, source } => unusable(format!(
            "it cannot be read {with}: {}",
            terminal::chain(&*source)
        )),
        other => other.into(),
    })?;
    Ok(Some(signer))
}

/// The key that a value of `user.signingKey` stands for: the key itself, or the file that it is in, or the file beside that.
fn text(value: &str, home: Option<&Path>) -> Result<String, String> {
    if value.contains("PRIVATE KEY") || value.trim().contains('\n') {
        return Ok(value.to_owned());
    }
    if value.starts_with("key::") || value.starts_with("ssh-") || value.starts_with("ecdsa-") {
        return Err(
            "it is the public half of a key, and no agent is asked to sign; give the private key as `signing_key`"
                .to_owned(),
        );
    }
    let path = match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    };
    // Git takes the public one and finds the private one beside it.
    let path = match path.extension() {
        Some(end) if end == "pub" => path.with_extension(""),
        _ => path,
    };
    let mut text = String::new();
    let read = std::fs::File::open(&path);
    let read = read.and_then(|file| file.take(MOST).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(err) => Err(format!("cannot read `{}`: {err}", path.display())),
    }
}

/// Git's settings on signing.
#[derive(Debug, Default, Clone)]
pub(super) struct Signing {
    /// `gpg.format`.
    pub format: Option<String>,
    /// `user.signingKey`.
    pub signing_key: Option<String>,
    /// `commit.gpgSign`.
    pub wanted: Option<bool>,
}

impl Signing {
    /// The key, if commits are to be signed with one for SSH.
    fn key(&self) -> Option<&str> {
        let is_ssh = self.format.as_deref() == Some("ssh") && self.wanted != Some(false);
        let key = self.signing_key.as_deref().filter(|_| is_ssh);
        key.map(str::trim).filter(|key| !key.is_empty())
    }

    /// Which of them have no effect here.
    pub fn without_effect(&self) -> Vec<&'static str> {
        if self.key().is_some() || self.wanted == Some(false) {
            return Vec::new();
        }
        let set = [
            ("gpg.format", self.format.is_some()),
            ("user.signingkey", self.signing_key.is_some()),
            ("commit.gpgsign", self.wanted.is_some()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(name, _)| name).collect()
    }
}
