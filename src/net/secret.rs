//! What must not be shown.

use std::fmt;

/// A value that is, or may hold, a credential: it prints as `***` wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl Secret<String> {
    /// The text itself, for the one place that hands it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret<url::Url> {
    /// The URL itself, for the one place that goes there.
    pub fn expose(&self) -> &url::Url {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars_and_still_has_its_value() {
        let secret = Secret::new("MARKER".to_owned());

        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "*** *** Some(***)"
        );
        assert_eq!(secret.expose(), "MARKER");
    }
}
