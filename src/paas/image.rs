//! Names of images, and the dependency proxy that they may be fetched through.
//!
//! Source: the original's rules, which are those of Docker's own client for names without a registry.

use std::collections::HashMap;

/// How deep variables are expanded in variables. Real ones are two or three deep.
const DEEPEST: usize = 10;

/// The longest name after expansion: Docker takes far less.
const LONGEST: usize = 4096;

/// Variables by their names; of several of one name the last counts.
pub type Variables<'a> = HashMap<&'a str, &'a str>;

/// Replaces `$NAME` and `${NAME}` by what the variables say, also in these; an unknown one by nothing, and so one that is in
/// itself. `None` where that makes too long a name.
pub fn expand(text: &str, variables: &Variables<'_>) -> Option<String> {
    let mut expanded = String::new();
    expand_into(text, variables, &mut Vec::new(), &mut expanded)?;
    Some(expanded)
}

fn expand_into<'a>(
    text: &'a str,
    variables: &Variables<'a>,
    inside: &mut Vec<&'a str>,
    to: &mut String,
) -> Option<()> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        to.push_str(before);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let braced = after
            .strip_prefix('{')
            .and_then(|text| text.split_once('}'));
        let is_braced = braced.is_some();
        let (name, left) = braced.unwrap_or_else(|| {
            let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
            after.split_at(end)
        });
        rest = left;
        if name.is_empty() && !is_braced {
            to.push('$');
        } else if let Some(value) = variables.get(name)
            && !inside.contains(&name)
            && inside.len() < DEEPEST
        {
            inside.push(name);
            expand_into(value, variables, inside, to)?;
            inside.pop();
        }
        if to.len() > LONGEST {
            return None;
        }
    }
    to.push_str(rest);
    (to.len() <= LONGEST).then_some(())
}

/// What of a name is on Docker Hub: its path there, with tag or digest. `None` for an image of another registry.
pub fn on_docker_hub(name: &str) -> Option<String> {
    let remainder = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => match first {
            "docker.io" | "index.docker.io" => rest,
            _ => return None,
        },
        _ => name,
    };
    Some(match remainder.contains('/') {
        true => remainder.to_owned(),
        false => format!("library/{remainder}"),
    })
}

/// Whether what stands before the first slash of a name is a registry.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

/// The name by which the containers of a job find a service, if it has no other: the image's, without tag and digest.
pub fn alias(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    name.replace('/', "-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_of_docker_hub_unless_it_begins_with_a_registry() {
        for (name, expected) in [
            ("alpine", Some("library/alpine")),
            ("alpine:3.20", Some("library/alpine:3.20")),
            ("tutum/wordpress:1", Some("tutum/wordpress:1")),
            ("docker.io/alpine", Some("library/alpine")),
            ("docker.io/library/pg:1", Some("library/pg:1")),
            ("index.docker.io/a/b", Some("a/b")),
            ("redis@sha256:abc", Some("library/redis@sha256:abc")),
            ("a/b/c", Some("a/b/c")),
            ("localhost/a", None),
            ("registry.example/a/b", None),
            ("host:5000/a", None),
            ("Upper/a", None),
        ] {
            assert_eq!(on_docker_hub(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn an_alias_is_the_name_without_tag_and_digest() {
        for (name, expected) in [
            ("postgres:13", "postgres"),
            ("tutum/wordpress", "tutum-wordpress"),
            ("docker.io/library/pg:1", "docker.io-library-pg"),
            ("redis@sha256:abc", "redis"),
            ("redis:7@sha256:abc", "redis"),
        ] {
            assert_eq!(alias(name), expected);
        }
    }

    #[test]
    fn variables_are_expanded_in_both_forms_and_also_in_others() {
        let variables = Variables::from([
            ("V", "3"),
            ("NAME", "alpine:$V"),
            ("SELF", "a$SELF"),
            ("A", "$B"),
            ("B", "$A"),
            ("with space", "x"),
        ]);
        for (text, expected) in [
            ("$NAME", "alpine:3"),
            ("${NAME}x", "alpine:3x"),
            ("$V-$V", "3-3"),
            ("$V.$NONE.", "3.."),
            ("$SELF", "a"),
            ("$A", ""),
            ("${with space}", "x"),
            ("${}", ""),
            ("a$", "a$"),
            ("$$V", "$3"),
            ("${open", "${open"),
        ] {
            assert_eq!(
                expand(text, &variables).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_doubles_itself_again_and_again_comes_to_an_end() {
        let names: Vec<String> = (0..40).map(|n| format!("V{n}")).collect();
        let values: Vec<String> = (0..40).map(|n| format!("xx$V{0}$V{0}", n + 1)).collect();
        let mut variables = Variables::new();
        for (name, value) in names.iter().zip(&values) {
            variables.insert(name, value);
        }

        assert_eq!(expand("$V0$V0$V0$V0$V0", &variables), None);
    }

    proptest! {
        #[test]
        fn no_text_and_no_variables_break_it(
            text in r"[a$\{\}AB]{0,30}", a in r"[a$\{\}AB]{0,30}", b in r"[a$\{\}AB]{0,30}"
        ) {
            let variables = Variables::from([("A", &a[..]), ("B", &b[..])]);
            let expanded = expand(&text, &variables);
            prop_assert!(expanded.is_none_or(|text| text.len() <= LONGEST));
            let _ = (on_docker_hub(&text), alias(&text));
        }
    }
}
