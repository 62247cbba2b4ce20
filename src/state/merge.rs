//! Deep merging of what several files say.

use crate::value::{Map, Value};

/// Two values that cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Overlapping keys exist with different types: original is <class '{original}'>, new value is <class '{new}'> (`{path}`)"
)]
pub struct MergeError {
    original: &'static str,
    new: &'static str,
    path: String,
}

/// Merges `newer` over `into`: maps key by key, everything else is replaced. Where there is nothing yet, or something that
/// Python takes for false, any value is taken; null takes a value away; other values must be of one type.
///
/// # Errors
/// [`MergeError`].
pub fn merge(into: &mut Map, newer: &Map) -> Result<(), MergeError> {
    merge_below(into, newer, "")
}

fn merge_below(into: &mut Map, newer: &Map, above: &str) -> Result<(), MergeError> {
    for (name, new) in newer {
        let path = match above {
            "" => name.clone(),
            above => format!("{above}.{name}"),
        };
        match (into.get_mut(name), new) {
            (Some(Value::Map(old)), Value::Map(new)) => merge_below(old, new, &path)?,
            (Some(old), new) if old.is_truthy() && *new != Value::Null => {
                if old.class() != new.class() {
                    return Err(MergeError {
                        original: old.class(),
                        new: new.class(),
                        path: terminal::one_line(&path),
                    });
                }
                *old = new.clone();
            }
            (Some(old), new) => *old = new.clone(),
            (None, new) => drop(into.insert(name.clone(), new.clone())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::json::{self, Layout};

    fn map(text: &str) -> Map {
        json::read(text).unwrap().as_map().unwrap().clone()
    }

    #[test]
    fn maps_are_merged_and_the_rest_is_replaced() {
        for (older, newer, merged) in [
            (
                r#"{"a": {"x": 1}}"#,
                r#"{"a": {"y": 2}}"#,
                r#"{"a": {"x": 1, "y": 2}}"#,
            ),
            (r#"{"l": [1, 2]}"#, r#"{"l": [3]}"#, r#"{"l": [3]}"#),
            (
                r#"{"a": 0, "b": "", "c": null, "d": []}"#,
                r#"{"a": "x", "b": {}, "c": 1, "d": "y"}"#,
                r#"{"a": "x", "b": {}, "c": 1, "d": "y"}"#,
            ),
            (r#"{"a": {"x": 1}}"#, r#"{"a": null}"#, r#"{"a": null}"#),
            (
                r#"{"a": "old"}"#,
                r#"{"b": 1, "a": "new"}"#,
                r#"{"a": "new", "b": 1}"#,
            ),
        ] {
            let mut into = map(older);

            merge(&mut into, &map(newer)).unwrap();

            assert_eq!(json::write(&Value::Map(into), Layout::Line), merged);
        }
    }

    #[test]
    fn values_of_two_types_are_told_in_the_words_of_the_original() {
        for (older, newer, words) in [
            (
                r#"{"a": {"x": 1}}"#,
                r#"{"a": {"x": "y"}}"#,
                "original is <class 'int'>, new value is <class 'str'> (`a.x`)",
            ),
            (
                r#"{"a": {"x": 1}}"#,
                r#"{"a": []}"#,
                "original is <class 'dict'>, new value is <class 'list'> (`a`)",
            ),
            (
                r#"{"a": 1}"#,
                r#"{"a": true}"#,
                "original is <class 'int'>, new value is <class 'bool'> (`a`)",
            ),
        ] {
            let err = merge(&mut map(older), &map(newer)).unwrap_err();

            assert_eq!(
                err.to_string(),
                format!("Overlapping keys exist with different types: {words}")
            );
        }
    }
}
