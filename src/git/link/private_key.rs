//! Private keys, in any of the usual forms.

use russh::keys::{PrivateKey, decode_secret_key};

use super::pem;
use crate::RemoteError;

/// Reads the private key by which we log in, in any of the usual forms.
pub fn read_key(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, RemoteError> {
    let with = match passphrase {
        Some(_) => "with this `private_key_passphrase`",
        None => "without a `private_key_passphrase`",
    };
    read(text, passphrase).map_err(|source| RemoteError::Key { with, source })
}

/// Reads a private key in any of the usual forms.
///
/// # Errors
/// Why it cannot be read, in words that show nothing of it.
pub fn read(
    text: &str,
    passphrase: Option<&str>,
) -> Result<PrivateKey, Box<dyn std::error::Error + Send + Sync>> {
    // Editors and YAML put spaces before and line ends after it.
    let text: String = text
        .trim()
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let opened = pem::opened(&text, passphrase)?;
    // A key in PEM says whether it is encrypted, and one that is not must not be decrypted.
    let passphrase = passphrase.filter(|_| {
        let kinds = ["-----BEGIN OPENSSH ", "-----BEGIN ENCRYPTED ", "PuTTY-"];
        opened.is_none()
            && text
                .lines()
                .any(|line| kinds.iter().any(|kind| line.starts_with(kind)))
    });
    decode_secret_key(&opened.unwrap_or(text), passphrase)
        .and_then(|key| match (key.is_encrypted(), passphrase) {
            (true, None) => Err(russh::keys::Error::KeyIsEncrypted),
            (true, Some(passphrase)) => Ok(key.decrypt(passphrase)?),
            (false, _) => Ok(key),
        })
        .map_err(why)
}

/// Why a key cannot be read, in words that show nothing of it: of a damaged one the libraries quote what they stumbled
/// over, which for a key of PuTTY can be a line of its private part.
fn why(err: russh::keys::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let told = err.to_string();
    // The library takes such a number for one of another curve.
    if told.contains("length invalid") {
        return "a number in it is too short: of ECDSA keys of 256 bits one in 512 cannot be read in this form; `ssh-keygen -p -m PEM` puts it into one that can".into();
    }
    let quotes = told.contains(['"', '\''])
        || told.contains(char::is_control)
        || matches!(err, russh::keys::Error::UnsupportedKeyType { .. });
    if quotes {
        "it is not whole, or of a kind that is not supported".into()
    } else {
        err.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_an_error_that_does_not_show_it() {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nMARKER\n-----END OPENSSH PRIVATE KEY-----";
        // It says that its private part has one line, and it has two.
        let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\nAAAA\n\
                     Private-Lines: 1\nAAAA\nMARKERMARKER\nPrivate-MAC: 00\n";
        for text in [text, putty, "MARKER", ""] {
            let shown = read_key(text, Some("PASSMARK"))
                .map(drop)
                .map_err(|err| format!("{err:?} {err}"));

            assert!(shown.is_err_and(|shown| !shown.contains("MARK")));
        }
    }
}
