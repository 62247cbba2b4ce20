//! Output without secrets.

/// What stands for a secret.
const MASK: &[u8] = b"***";

/// Replaces secrets in what passes, also where one comes in pieces.
pub(crate) struct Mask {
    /// The longest first.
    secrets: Vec<Vec<u8>>,
    /// What may be the beginning of one.
    held: Vec<u8>,
}

impl Mask {
    /// For these secrets. Empty ones are none.
    pub(crate) fn new(secrets: &[Vec<u8>]) -> Mask {
        let mut secrets: Vec<Vec<u8>> = secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .cloned()
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Mask {
            secrets,
            held: Vec::new(),
        }
    }

    /// What may be written once these bytes have come.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut left = std::mem::take(&mut self.held);
        left.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(left.len());
        let mut at = 0;
        while at < left.len() {
            let rest = &left[at..];
            // A longer one may still come of it.
            if self
                .secrets
                .iter()
                .any(|secret| secret.len() > rest.len() && secret.starts_with(rest))
            {
                break;
            }
            match self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    passed.extend_from_slice(MASK);
                    at += secret.len();
                }
                None => {
                    passed.push(rest[0]);
                    at += 1;
                }
            }
        }
        self.held = left.split_off(at);
        passed
    }

    /// What is left when nothing more comes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut held = std::mem::take(&mut self.held);
        while !held.is_empty() {
            match self.secrets.iter().find(|secret| held.starts_with(secret)) {
                Some(secret) => {
                    rest.extend_from_slice(MASK);
                    held.drain(..secret.len());
                }
                None => rest.push(held.remove(0)),
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let secrets: Vec<Vec<u8>> = secrets
            .iter()
            .map(|secret| secret.as_bytes().to_vec())
            .collect();
        let mut mask = Mask::new(&secrets);
        let mut all: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| mask.pass(piece.as_bytes()))
            .collect();
        all.extend(mask.rest());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_secret_is_never_written_however_it_comes() {
        assert_eq!(
            masked(&["secret", "secret-long"], &["a secret, b secret-long."]),
            "a ***, b ***."
        );
        assert_eq!(
            masked(&["secret"], &["a se", "cr", "et b secre"]),
            "a *** b secre"
        );
        assert_eq!(masked(&["aab"], &["aaab"]), "a***");
        assert_eq!(masked(&["", "x"], &["axb"]), "a***b");
        assert_eq!(masked(&["ab", "abcd"], &["ab"]), "***");
    }

    #[test]
    fn what_cannot_become_a_secret_is_not_held_back() {
        let mut mask = Mask::new(&[b"secret".to_vec()]);
        assert_eq!(mask.pass(b"line\n"), b"line\n");
        assert_eq!(mask.pass(b"prompt: s"), b"prompt: ");
    }
}
