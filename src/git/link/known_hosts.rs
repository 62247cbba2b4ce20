//! Whether a host key is the one that a `known_hosts` file has for a host.
//!
//! Pure, but for [`note`]. Source: `sshd(8)`, "SSH_KNOWN_HOSTS FILE FORMAT". Host certificates are not supported: lines that name an
//! authority are passed over.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, KnownHosts, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

/// What the lines say of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// The lines have nothing on the host.
    Unknown,
    /// The host has other keys; their fingerprints.
    Other(Vec<String>),
    /// The key must not be used any more.
    Revoked,
}

/// Judges the key that a host has shown.
pub(super) fn judge(lines: &str, host: &str, port: u16, shown: &PublicKey) -> Verdict {
    let mut known = false;
    let mut others = Vec::new();
    for entry in entries(lines, host, port) {
        let same = entry.public_key().key_data() == shown.key_data();
        match entry.marker() {
            Some(Marker::CertAuthority) => {}
            Some(Marker::Revoked) if same => return Verdict::Revoked,
            Some(Marker::Revoked) => {}
            None if same => known = true,
            None => others.push(fingerprint(entry.public_key())),
        }
    }
    match (known, others.is_empty()) {
        (true, _) => Verdict::Known,
        (false, true) => Verdict::Unknown,
        (false, false) => Verdict::Other(others),
    }
}

/// The kinds of key that the lines have for a host, so that it can be asked for one of those.
pub(super) fn kinds(lines: &str, host: &str, port: u16) -> Vec<Algorithm> {
    entries(lines, host, port)
        .filter(|entry| entry.marker().is_none())
        .map(|entry| entry.public_key().algorithm())
        .collect()
}

/// A key's fingerprint as people know it: `ssh-ed25519 SHA256:…`.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Notes the key of a host in a file of our own, which is made if need be; nobody else can change it.
pub(super) fn note(file: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_lowercase();
    let name = match port {
        22 => bare,
        port => format!("[{bare}]:{port}"),
    };
    // A comment could say anything.
    let key = PublicKey::from(key.key_data().clone());
    let line = format!("{name} {}\n", key.to_openssh().map_err(io::Error::other)?);
    if let Some(folder) = file.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    // In one write, for others may do the same.
    options.open(file)?.write_all(line.as_bytes())
}

fn entries(lines: &str, host: &str, port: u16) -> impl Iterator<Item = Entry> {
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    let name = if port == 22 {
        bare
    } else {
        format!("[{bare}]:{port}")
    };
    // A line that cannot be read (a kind of key that we do not know, say) says nothing of ours.
    let lines: Vec<Entry> = KnownHosts::new(lines).filter_map(Result::ok).collect();
    lines
        .into_iter()
        .filter(move |entry| matches(entry.host_patterns(), &name))
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            // HMAC takes keys of any length.
            Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|hmac| {
                hmac.chain_update(name.as_bytes())
                    .verify_slice(hash)
                    .is_ok()
            })
        }
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                match pattern.strip_prefix('!') {
                    Some(not) if glob(not.to_ascii_lowercase().as_bytes(), name.as_bytes()) => {
                        return false;
                    }
                    Some(_) => {}
                    None => found |= glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
                }
            }
            found
        }
    }
}

/// Whether `name` fits a pattern in which `*` is anything and `?` any one byte. Takes time in proportion to the product
/// of the two lengths at most.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                // Let the last star take one byte more.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn verdict(line_start: &str, host: &str, port: u16) -> Verdict {
        judge(
            &format!("# a comment\n\n{line_start} {ONE} me@home\n"),
            host,
            port,
            &key(ONE),
        )
    }

    #[test]
    fn a_host_is_found_by_name_port_pattern_and_hash() {
        for (start, host, port) in [
            ("example.com", "example.com", 22),
            ("Example.com", "EXAMPLE.com", 22),
            ("a,example.com,b", "example.com", 22),
            ("[example.com]:2222", "example.com", 2222),
            ("*.example.com", "git.example.com", 22),
            ("git?.example.*", "git1.example.org", 22),
            ("[::1]:2222", "[::1]", 2222),
            ("::1", "[::1]", 22),
        ] {
            assert_eq!(verdict(start, host, port), Verdict::Known, "{start} {host}");
        }
        for (start, host, port) in [
            ("example.com", "example.com", 2222),
            ("[example.com]:2222", "example.com", 22),
            ("*.example.com,!git.example.com", "git.example.com", 22),
            ("example.com", "example.org", 22),
        ] {
            assert_eq!(
                verdict(start, host, port),
                Verdict::Unknown,
                "{start} {host}"
            );
        }
    }

    #[test]
    fn a_hashed_name_is_the_hmac_of_the_name() {
        let salt = [7_u8; 20];
        let hash = Hmac::<Sha1>::new_from_slice(&salt)
            .unwrap()
            .chain_update(b"[h]:99")
            .finalize()
            .into_bytes();
        let patterns = HostPatterns::HashedName {
            salt: salt.to_vec(),
            hash: hash.into(),
        };

        assert!(matches(&patterns, "[h]:99"));
        assert!(!matches(&patterns, "h"));
    }

    #[test]
    fn another_key_is_told_with_the_fingerprint_that_was_expected() {
        let lines = format!("h {ONE}\n@cert-authority h {TWO}\nbroken line\n");

        assert_eq!(
            judge(&lines, "h", 22, &key(TWO)),
            Verdict::Other(vec![fingerprint(&key(ONE))])
        );
        assert_eq!(kinds(&lines, "h", 22), [Algorithm::Ed25519]);
    }

    #[test]
    fn one_of_several_keys_is_enough_unless_it_is_revoked() {
        let lines = format!("h {ONE}\nh {TWO}\n");
        assert_eq!(judge(&lines, "h", 22, &key(TWO)), Verdict::Known);

        let lines = format!("{lines}@revoked * {TWO}\n");
        assert_eq!(judge(&lines, "h", 22, &key(TWO)), Verdict::Revoked);
        assert_eq!(judge(&lines, "h", 22, &key(ONE)), Verdict::Known);
    }

    #[test]
    fn stars_match_anything_in_bounded_time() {
        assert!(glob(b"*a*b*", b"xxaxxbxx"));
        assert!(!glob(b"*a*b*", b"xxbxxaxx"));
        assert!(glob(b"*", b"") && glob(b"", b"") && !glob(b"?", b""));
        assert!(!glob(
            "*a".repeat(500).as_bytes(),
            "a".repeat(499).as_bytes()
        ));
    }
}
