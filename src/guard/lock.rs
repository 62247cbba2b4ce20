//! The name of the lock, where a lock decides whose turn it is.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pool::lock::{LockName, PoolName};

/// The pool that the locks of guards are in, if no other is set.
pub const POOL: &str = "guards";

/// The longest name that a file may have.
const LONGEST: usize = 255;

/// What stands in a name as it is: neither a slash nor what separates project and guard.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Why there is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the names of the project and the guard are too long, or no names at all, for a lock to be named after them; set another name for the guard"
)]
pub struct NoName;

/// The lock of a guard of a project: `ops%2Fweb+deploy`. Two guards have two locks, whatever they are called.
///
/// # Errors
/// [`NoName`].
pub fn name(project: &str, guard: &str) -> Result<LockName, NoName> {
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let name = format!("{}+{}", encoded(project), encoded(guard));
    let fits = name.len() <= LONGEST && !project.is_empty() && !guard.is_empty();
    LockName::new(&name).ok().filter(|_| fits).ok_or(NoName)
}

/// The pool of this name.
///
/// # Errors
/// [`NoName`].
pub fn pool(name: &str) -> Result<PoolName, NoName> {
    PoolName::new(name).map_err(|_| NoName)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lock_is_named_after_project_and_guard() {
        assert_eq!(
            name("ops/web", "deploy").unwrap().as_str(),
            "ops%2Fweb+deploy"
        );
        assert_eq!(
            name("42", "deploy to eu").unwrap().as_str(),
            "42+deploy%20to%20eu"
        );
        assert_eq!(name("", "deploy"), Err(NoName));
        assert_eq!(name("42", &"x".repeat(300)), Err(NoName));
        assert_eq!(name(".hidden", "x"), Err(NoName));
    }

    proptest! {
        #[test]
        fn two_guards_never_have_one_lock(a in "[a/+%. ]{1,6}", b in "[a/+%. ]{1,6}", c in "[a/+%. ]{1,6}", d in "[a/+%. ]{1,6}") {
            if let (Ok(one), Ok(other)) = (name(&a, &b), name(&c, &d)) {
                prop_assert_eq!(one == other, a == c && b == d);
            }
        }
    }
}
