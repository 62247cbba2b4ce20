//! The names of tickets: `refs/pool-queue/BRANCH/POOL/PLACE`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where the tickets of all lines are.
pub(in crate::attempt) const REFS: &str = "refs/pool-queue";

/// What the names of the tickets of all pools on a branch start with; behind it come the pool, as [`component`] has it, a
/// slash and the place.
pub(crate) fn refs_of_branch(branch: &str) -> String {
    format!("{REFS}/{}/", component(branch))
}

/// A text as one part of a ref's name: Git forbids some characters there, and file systems long names.
pub(crate) fn component(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    const LONGEST: usize = 200;
    let encoded = utf8_percent_encode(text, KEPT).to_string();
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let hash = git::object::Content::new(text.as_bytes().to_vec()).id();
    format!("{}-{hash}", &encoded[..100])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_branch_or_pool_is_one_part_of_a_valid_ref() {
        let long = "ü/".repeat(100);
        let names = [
            "main",
            "team-a/aws",
            "a b~^:?*[\\x..y.lock",
            "@{",
            ".",
            &long,
            &format!("{long}x"),
        ];
        let parts: Vec<String> = names.iter().map(|name| component(name)).collect();

        for part in &parts {
            let name = format!("{REFS}/{part}/x");
            assert!(git::object::is_ref(&name), "{name}");
            assert_eq!(name.matches('/').count(), 3);
            assert!(part.len() <= 200);
        }
        let different: std::collections::HashSet<&String> = parts.iter().collect();
        assert_eq!(different.len(), parts.len());
    }
}
