//! Signatures of commits, by a key for SSH.
//!
//! Git signs the commit as it is without the signature, which then stands in a header of its own. `git verify-commit` and the
//! hosts check it against the keys that they know of the committer.
//!
//! Source: OpenSSH's PROTOCOL.sshsig; `gpg.format` and `user.signingKey` in git-config(1).

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{HashAlg, PrivateKey};

use crate::RemoteError;
use crate::link::private_key::read;

/// By this word a signature is one of Git's: no other can be passed off as one.
const NAMESPACE: &str = "git";

/// A key that signs commits.
#[derive(Clone)]
pub struct Signer {
    key: Arc<PrivateKey>,
}

impl Signer {
    /// Reads a private key in any of the usual forms.
    ///
    /// # Errors
    /// [`RemoteError::SigningKey`], also for a key that cannot sign by itself, such as one on a device.
    pub fn new(text: &str, passphrase: Option<&str>) -> Result<Signer, RemoteError> {
        let with = match passphrase {
            Some(_) => "with this `signing_key_passphrase`",
            None => "without a `signing_key_passphrase`",
        };
        let key = read(text, passphrase);
        let key = key.map_err(|source| RemoteError::SigningKey { with, source })?;
        let signer = Signer { key: Arc::new(key) };
        // It shows here, and not when a lock is to be claimed.
        let tried = signer.sign(b"");
        tried.map_err(|source| RemoteError::SigningKey { with, source })?;
        Ok(signer)
    }

    /// The signature of these bytes, as a header has it, without the last end of a line.
    pub(crate) fn sign(
        &self,
        bytes: &[u8],
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        // As Git does it, whatever the key is.
        let signature = self.key.sign(NAMESPACE, HashAlg::Sha512, bytes)?;
        let text = signature.to_pem(LineEnding::LF)?;
        Ok(text.trim_end().to_owned())
    }
}

impl PartialEq for Signer {
    fn eq(&self, other: &Signer) -> bool {
        self.key.public_key() == other.key.public_key()
    }
}

impl Eq for Signer {}

impl fmt::Debug for Signer {
    /// The public half alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = self.key.fingerprint(HashAlg::Sha256);
        write!(f, "Signer({print})")
    }
}

/// A commit with a signature of it.
pub(crate) fn signed(commit: &[u8], signature: &str) -> Vec<u8> {
    // The headers end with an empty line.
    let end = commit.windows(2).position(|two| two == b"\n\n");
    let (headers, rest) = commit.split_at(end.map_or(commit.len(), |end| end + 1));
    let header = format!("gpgsig {}\n", signature.replace('\n', "\n "));
    [headers, header.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_a_header_before_the_message() {
        let commit = b"tree x\nauthor y\ncommitter z\n\na\n\nb\n";
        let expected: &[u8] =
            b"tree x\nauthor y\ncommitter z\ngpgsig -----BEGIN\n AA\n -----END\n\na\n\nb\n";

        assert_eq!(signed(commit, "-----BEGIN\nAA\n-----END"), expected);
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        let cut = "-----BEGIN OPENSSH PRIVATE KEY-----\nMARKER\n-----END OPENSSH PRIVATE KEY-----";
        for text in ["", "MARKER", cut] {
            let err = Signer::new(text, Some("PASSMARK")).map(drop);
            let shown = format!("{err:?}");
            assert!(
                shown.contains("SigningKey") && !shown.contains("MARK"),
                "{shown}"
            );
        }
    }
}
