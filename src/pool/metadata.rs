//! What a lock's metadata says, where it is JSON or YAML.
//!
//! Pure. Metadata is its owner's business, and whatever it is, it is a lock's: what cannot be read says nothing.
//!
//! A value is kept as the text that stands there, so that `1.30` and `no` mean to a text what they look like, and one odd
//! value keeps no other from being read.

mod read;

use serde_json::Value;

use crate::lock::LockName;
use crate::operation::{Condition, Test, Wanted};
use read::Node;
pub use read::problem;

/// The most that is read of one lock's metadata, in bytes. A description of an environment is far smaller.
pub const READABLE: usize = 1024 * 1024;

/// Whether metadata says all of this: at each path there is one value, and it is the one given.
///
/// A path is the keys that lead to the value, with dots between them; a number leads into a list. A key that has dots in
/// it itself is found too.
///
/// `None` is metadata that cannot be had. What that says, and what cannot be read, is not known: it is neither what somebody
/// wants nor what he does not want.
pub fn fits(lock: &LockName, metadata: Option<&[u8]>, conditions: &[Condition]) -> bool {
    if conditions.is_empty() {
        return true;
    }
    let document = metadata.and_then(|metadata| read::read(metadata).ok());
    all(lock, document.as_ref(), conditions) == Some(true)
}

/// Whether all of it is true; `None` where that is not known.
fn all(lock: &LockName, document: Option<&Node>, conditions: &[Condition]) -> Option<bool> {
    let answers = conditions.iter().map(|condition| match &condition.value {
        Wanted::AnyOf(tests) => any(lock, document, tests),
        Wanted::NoneOf(tests) => any(lock, document, tests).map(|any| !any),
        value => document.map(|document| says(document, &condition.path, value)),
    });
    decided(answers, false)
}

/// Whether one of these is true; `None` where that is not known.
fn any(lock: &LockName, document: Option<&Node>, tests: &[Test]) -> Option<bool> {
    let answers = tests.iter().map(|test| match test {
        Test::Named(name) => Some(name == lock),
        Test::All(conditions) => all(lock, document, conditions),
    });
    decided(answers, true)
}

/// The answer that decides, if one gives it; the opposite, if all are known; else none.
fn decided(answers: impl Iterator<Item = Option<bool>>, decides: bool) -> Option<bool> {
    let mut is_known = true;
    for answer in answers {
        if answer == Some(decides) {
            return answer;
        }
        is_known &= answer.is_some();
    }
    is_known.then_some(!decides)
}

fn says(document: &Node, path: &str, wanted: &Wanted) -> bool {
    if path.is_empty() {
        return matches!(document, Node::Text(text) if is(text, wanted));
    }
    let ends = path
        .match_indices('.')
        .map(|(dot, _)| dot)
        .chain([path.len()]);
    for end in ends {
        let (key, rest) = (&path[..end], path.get(end + 1..).unwrap_or_default());
        let found = match document {
            // Of several with one key the last one counts.
            Node::Map(pairs) => pairs.iter().rev().find(|(name, _)| name == key),
            Node::List(_) | Node::Text(_) => None,
        };
        let found = match document {
            Node::List(list) => key.parse::<usize>().ok().and_then(|n| list.get(n)),
            Node::Map(_) | Node::Text(_) => found.map(|(_, node)| node),
        };
        if found.is_some_and(|found| says(found, rest, wanted)) {
            return true;
        }
    }
    false
}

/// Whether a value that stands there is what is wanted: a text letter by letter, a number and a switch by their value.
fn is(text: &str, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Text(wanted) => text == wanted,
        Wanted::Switch(on) => text.trim().eq_ignore_ascii_case(&on.to_string()),
        Wanted::Number(wanted) => match (number(text), number(wanted)) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => text.trim() == wanted,
        },
        Wanted::OneOf(values) => values.iter().any(|wanted| is(text, wanted)),
        // These are no values.
        Wanted::AnyOf(_) | Wanted::NoneOf(_) => false,
    }
}

/// A number by its value.
#[derive(PartialEq)]
enum Number {
    Whole(i128),
    Real(f64),
}

fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let in_base = |digits: &str, base| i128::from_str_radix(digits, base).ok();
    let whole = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => Some(in_base(digits, 16)?),
        (_, Some(digits)) => Some(in_base(digits, 8)?),
        _ => text.parse().ok(),
    };
    if let Some(whole) = whole {
        return Some(Number::Whole(whole));
    }
    // Words such as `inf` and `nan` are none.
    let is_number = text.contains(|c: char| c.is_ascii_digit())
        && !text.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'));
    let real: f64 = text.parse().ok().filter(|_| is_number)?;
    // What is whole is so however it is written, as far as such numbers are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if real.fract() == 0.0 && real.abs() <= EXACT {
        return Some(Number::Whole(real as i128));
    }
    Some(Number::Real(real))
}

/// What a value in a request wants of a lock; `None` for lists and objects.
pub fn wanted(value: &Value) -> Option<Wanted> {
    match value {
        Value::Null => Some(Wanted::Text("null".to_owned())),
        Value::Bool(on) => Some(Wanted::Switch(*on)),
        Value::Number(number) => Some(Wanted::Number(number.to_string())),
        Value::String(text) => Some(Wanted::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn lock() -> LockName {
        LockName::new("env-1").unwrap()
    }

    fn text(path: &str, value: &str) -> Condition {
        Condition {
            path: path.to_owned(),
            value: Wanted::Text(value.to_owned()),
        }
    }

    fn fits(metadata: &str, conditions: &[(&str, &str)]) -> bool {
        let conditions: Vec<Condition> = conditions
            .iter()
            .map(|(path, value)| text(path, value))
            .collect();
        super::fits(&lock(), Some(metadata.as_bytes()), &conditions)
    }

    /// Whether the value of `x` in a document is what a request wants that has this as JSON.
    fn is_wanted(stands: &str, wanted: &str) -> bool {
        let condition = Condition {
            path: "x".to_owned(),
            value: super::wanted(&serde_json::from_str(wanted).unwrap()).unwrap(),
        };
        super::fits(
            &lock(),
            Some(format!("x: {stands}\n").as_bytes()),
            &[condition],
        )
    }

    #[test]
    fn a_text_is_compared_with_the_text_that_stands_there() {
        for (stands, wanted) in [
            ("1.30", "\"1.30\""),
            ("\"1.30\"", "\"1.30\""),
            ("012345678901", "\"012345678901\""),
            ("no", "\"no\""),
            ("0x1F", "\"0x1F\""),
            (
                "123456789012345678901234567890",
                "\"123456789012345678901234567890\"",
            ),
            ("true", "\"true\""),
            ("~", "\"~\""),
            (".inf", "\".inf\""),
            ("2026-11-27", "\"2026-11-27\""),
            ("!!str 7", "\"7\""),
        ] {
            assert!(is_wanted(stands, wanted), "{stands} as {wanted}");
        }
        for (stands, wanted) in [
            ("1.30", "\"1.3\""),
            ("0x1F", "\"31\""),
            ("no", "\"false\""),
            ("012345678901", "\"12345678901\""),
            ("TRUE", "\"true\""),
        ] {
            assert!(!is_wanted(stands, wanted), "{stands} as {wanted}");
        }
    }

    #[test]
    fn a_number_and_a_switch_are_compared_by_their_values() {
        for (stands, wanted) in [
            ("1.30", "1.3"),
            ("3", "3.0"),
            ("3.0", "3"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("012", "12"),
            ("-7", "-7"),
            ("1e3", "1000"),
            ("\"3\"", "3"),
            ("18446744073709551615", "18446744073709551615"),
            ("true", "true"),
            ("True", "true"),
            ("FALSE", "false"),
        ] {
            assert!(is_wanted(stands, wanted), "{stands} as {wanted}");
        }
        for (stands, wanted) in [
            ("1.30", "1.31"),
            ("no", "false"),
            ("1", "true"),
            ("three", "3"),
            ("inf", "1e400"),
            ("0x", "0"),
        ] {
            let wanted: Result<Value, _> = serde_json::from_str(wanted);
            let Ok(wanted) = wanted else { continue };
            assert!(
                !is_wanted(stands, &wanted.to_string()),
                "{stands} as {wanted}"
            );
        }
    }

    #[test]
    fn one_odd_value_does_not_spoil_the_document() {
        let odd = "x: 99999999999999999999999999999999\n? [a, b]\n: c\nd: !!int z\ne: 1\ne: 2\nf: &f {g: 1}\nh: {<<: *f, i: 2}\nj: *f\n";
        for (path, value) in [
            ("x", "99999999999999999999999999999999"),
            ("d", "z"),
            ("e", "2"),
            ("h.g", "1"),
            ("h.i", "2"),
            ("j.g", "1"),
        ] {
            assert!(fits(odd, &[(path, value)]), "{path}");
        }
    }

    #[test]
    fn several_documents_say_nothing_and_that_is_said() {
        let several = "a: 1\n---\na: 2\n";
        assert!(!fits(several, &[("a", "1")]));
        assert_eq!(
            problem(several.as_bytes()),
            Some("has several YAML documents, and only one can be read")
        );
        assert_eq!(problem(b"---\na: 1\n...\n"), None);
        assert!(problem(b"a: [").is_some());
        assert_eq!(problem(b""), None);
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
        assert!(!super::fits(&lock(), Some(b"\xff\xfe"), &[text("a", "1")]));
    }
}
