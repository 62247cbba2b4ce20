//! What tells this dispatcher from others: made once, and kept beside the state file.

use std::fs;
use std::io;
use std::path::Path;

use rand::RngExt;

use crate::ledger::beside;

/// How many characters an id has, as with the runner that everybody uses.
const LENGTH: usize = 12;

/// What tells this dispatcher from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// Reads it, or makes one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn beside(state_file: &Path) -> io::Result<Identity> {
        let path = beside(state_file, ".system-id");
        match fs::read_to_string(&path) {
            Ok(text) => {
                if let Some(id) = text.trim().strip_prefix("r_").filter(|id| is_id(id)) {
                    return Ok(Identity(id.to_owned()));
                }
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        let mut random = rand::rng();
        let id: String = (0..LENGTH)
            .filter_map(|_| char::from_digit(random.random_range(0..36), 36))
            .collect();
        journal::replace(&path, format!("r_{id}\n").as_bytes())?;
        Ok(Identity(id))
    }

    /// As GitLab knows it.
    pub fn system_id(&self) -> String {
        format!("r_{}", self.0)
    }

    /// As names of machines have it.
    pub fn short(&self) -> &str {
        &self.0
    }
}

fn is_id(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    text.len() == LENGTH && text.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");

        let first = Identity::beside(&state).unwrap();

        assert_eq!(Identity::beside(&state).unwrap(), first);
        assert!(first.system_id().starts_with("r_") && is_id(first.short()));
        fs::write(beside(&state, ".system-id"), "../../odd").unwrap();
        assert!(is_id(Identity::beside(&state).unwrap().short()));
    }
}
