//! What a lock's metadata says, where it is JSON or YAML.
//!
//! Pure. Metadata is its owner's business, and whatever it is, it is a lock's: what cannot be read says nothing.

use serde_json::Value;

use crate::operation::Condition;

/// The most that is read of one lock's metadata, in bytes. A description of an environment is far smaller.
pub const READABLE: usize = 1024 * 1024;

/// Whether metadata says all of this: at each path there is one value, and as text it is the one given.
///
/// A path is the keys that lead to the value, with dots between them; a number leads into a list. A key that has dots in
/// it itself is found too.
pub fn fits(metadata: &[u8], conditions: &[Condition]) -> bool {
    if conditions.is_empty() {
        return true;
    }
    let Some(document) = read(metadata) else {
        return false;
    };
    conditions
        .iter()
        .all(|condition| says(&document, &condition.path, &condition.value))
}

/// JSON is not quite YAML (tabs, long keys), so that it is tried first.
fn read(metadata: &[u8]) -> Option<Value> {
    if metadata.len() > READABLE {
        return None;
    }
    let text = std::str::from_utf8(metadata).ok()?;
    serde_json::from_str(text)
        .ok()
        .or_else(|| serde_saphyr::from_str(text).ok())
}

fn says(document: &Value, path: &str, expected: &str) -> bool {
    if path.is_empty() {
        return as_text(document).is_some_and(|text| text == expected);
    }
    let ends = path
        .match_indices('.')
        .map(|(dot, _)| dot)
        .chain([path.len()]);
    for end in ends {
        let (key, rest) = (&path[..end], path.get(end + 1..).unwrap_or_default());
        let found = match document {
            Value::Object(map) => map.get(key),
            Value::Array(list) => key.parse::<usize>().ok().and_then(|n| list.get(n)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        if found.is_some_and(|found| says(found, rest, expected)) {
            return true;
        }
    }
    false
}

/// A single value as text; `None` for lists and objects.
pub fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(metadata: &str, conditions: &[(&str, &str)]) -> bool {
        let conditions: Vec<Condition> = conditions
            .iter()
            .map(|(path, value)| Condition {
                path: (*path).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        super::fits(metadata.as_bytes(), &conditions)
    }

    const YAML: &str =
        "region: eu-west-1\nsize: 3\ntags:\n  gpu: true\n  owner.name: ops\nhosts:\n- a\n- b\n";
    const JSON: &str = "{\"region\":\t\"eu-west-1\", \"size\": 3, \"tags\": {\"gpu\": true, \"owner.name\": \"ops\"}, \"hosts\": [\"a\", \"b\"]}";

    #[test]
    fn values_are_found_by_their_paths_in_json_and_yaml() {
        for document in [YAML, JSON] {
            for (path, value) in [
                ("region", "eu-west-1"),
                ("size", "3"),
                ("tags.gpu", "true"),
                ("tags.owner.name", "ops"),
                ("hosts.1", "b"),
            ] {
                assert!(fits(document, &[(path, value)]), "{path} in {document}");
                assert!(!fits(document, &[(path, "other")]), "{path} in {document}");
            }
            assert!(fits(document, &[("size", "3"), ("tags.gpu", "true")]));
            assert!(!fits(document, &[("size", "3"), ("tags.gpu", "false")]));
            for path in [
                "", "tags", "hosts", "nothing", "region.x", "hosts.2", ".", "tags.",
            ] {
                assert!(!fits(document, &[(path, "x")]), "{path} in {document}");
            }
        }
    }

    #[test]
    fn metadata_that_is_neither_json_nor_yaml_says_nothing() {
        let deep = "[".repeat(100_000);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
        for text in [
            "",
            "just words",
            "{",
            "a: [",
            &deep,
            "\u{feff}",
            "- - -",
            bomb,
        ] {
            assert!(!fits(text, &[("a", "1")]));
            assert!(fits(text, &[]));
        }
        let conditions = [Condition {
            path: "a".into(),
            value: "1".into(),
        }];
        assert!(!super::fits(b"\xff\xfe", &conditions));
    }
}
