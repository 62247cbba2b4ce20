//! Expressions: read, written and weighed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::metadata::fits;

fn name(n: usize) -> LockName {
    LockName::new(&format!("env-{n}")).unwrap()
}

/// Whether a lock with this metadata is what an expression wants.
fn is_wanted(lock: &LockName, metadata: Option<&str>, expression: &Value) -> bool {
    let conditions = read(expression).unwrap();
    fits(lock, metadata.map(str::as_bytes), &conditions)
}

/// The same, reckoned in the plainest way, of metadata that is keys and values.
fn plainly(lock: &LockName, metadata: &BTreeMap<String, String>, expression: &Value) -> bool {
    let items = |value: &Value| value.as_array().unwrap().clone();
    let test = |item: &Value| match item {
        Value::String(name) => lock.as_str() == name,
        object => plainly(lock, metadata, object),
    };
    expression
        .as_object()
        .unwrap()
        .iter()
        .all(|(key, value)| match key.as_str() {
            ANY_OF => items(value).iter().any(test),
            NONE_OF => !items(value).iter().any(test),
            key => {
                let wanted = match value {
                    Value::Array(values) => values.clone(),
                    one => vec![one.clone()],
                };
                let stands = metadata.get(key);
                wanted
                    .iter()
                    .any(|wanted| stands.map(String::as_str) == wanted.as_str())
            }
        })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![Just("x"), Just("y"), Just("z")].prop_map(Value::from)
}

/// Expressions over three keys and three locks.
fn expression() -> impl Strategy<Value = Value> {
    let values = prop_oneof![
        3 => value(),
        1 => proptest::collection::vec(value(), 1..3).prop_map(Value::from),
    ];
    let plain =
        proptest::collection::btree_map(prop_oneof![Just("a"), Just("b"), Just("c")], values, 1..3);
    let plain = plain.prop_map(|map| json!(map));
    plain.prop_recursive(4, 24, 3, |inner| {
        let item = prop_oneof![
            1 => (0..3_usize).prop_map(|n| Value::from(name(n).as_str())),
            2 => inner.clone(),
        ];
        let items = proptest::collection::vec(item, 1..4);
        (inner, items, any::<bool>(), any::<bool>()).prop_map(|(all, items, is_any, alone)| {
            let mut map = match alone {
                true => Map::new(),
                false => all.as_object().unwrap().clone(),
            };
            let key = if is_any { ANY_OF } else { NONE_OF };
            map.insert(key.to_owned(), items.into());
            Value::Object(map)
        })
    })
}

fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    let (key, value) = (
        prop_oneof![Just("a"), Just("b")],
        prop_oneof![Just("x"), Just("y")],
    );
    let pairs = proptest::collection::btree_map(key, value, 0..3);
    pairs.prop_map(|map| {
        map.into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_lock_is_wanted_when_all_of_the_expression_is_true(
        expression in expression(), metadata in metadata(), n in 0..4_usize
    ) {
        let text = serde_json::to_string(&metadata).unwrap();
        let expected = plainly(&name(n), &metadata, &expression);
        prop_assert_eq!(is_wanted(&name(n), Some(&text), &expression), expected);
    }

    #[test]
    fn what_is_written_says_what_was_read(
        expression in expression(), metadata in metadata(), n in 0..4_usize, known in any::<bool>()
    ) {
        let text = serde_json::to_string(&metadata).unwrap();
        let text = known.then_some(text.as_str());
        let conditions = read(&expression).unwrap();
        let again = write(&conditions);
        prop_assert_eq!(is_wanted(&name(n), text, &again), is_wanted(&name(n), text, &expression));
        prop_assert!(!again.to_string().contains('\n'));
    }

    #[test]
    fn none_of_is_the_opposite_of_any_of_where_the_metadata_can_be_read(
        expression in expression(), metadata in metadata(), n in 0..4_usize
    ) {
        let text = serde_json::to_string(&metadata).unwrap();
        let (any, none) = (json!({ANY_OF: [&expression]}), json!({NONE_OF: [&expression]}));
        let (lock, text) = (name(n), Some(text.as_str()));
        prop_assert_ne!(is_wanted(&lock, text, &any), is_wanted(&lock, text, &none));
        // Where it cannot, neither is certain.
        prop_assert!(!(is_wanted(&lock, None, &any) && is_wanted(&lock, None, &none)));
    }

    #[test]
    fn no_json_makes_the_reader_stumble(text in r#"(\{"|"\}|":|\[|\]|,|any_of|none_of|a|1|true|null|"){0,30}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text)
            && let Ok(conditions) = read(&value)
        {
            prop_assert!(read(&write(&conditions)).is_ok() || conditions.is_empty());
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (expression, at, found) in [
        (json!("x"), "", "a string"),
        (json!({"any_of": {}}), ".any_of", "an object"),
        (json!({"any_of": []}), ".any_of", "an empty one"),
        (json!({"any_of": ["env-1", 7]}), ".any_of[1]", "a number"),
        (json!({"any_of": ["a/b"]}), ".any_of[0]", "it"),
        (
            json!({"none_of": [{"any_of": [{}]}]}),
            ".none_of[0].any_of[0]",
            "an empty one",
        ),
        (json!({"region": []}), ".region", "an empty one"),
        (json!({"region": ["x", ["y"]]}), ".region[1]", "a list"),
        (
            json!({"tags": {"any_of": ["env-1"]}}),
            ".tags.any_of[0]",
            "a string",
        ),
        (json!({"tags": {"a=b": 1}}), ".tags.a=b", "another key"),
        (json!({"": 1}), ".", "another key"),
        (json!({"region": "x\ny"}), ".region", "another value"),
    ] {
        let problem = read(&expression).unwrap_err();
        assert_eq!(problem.at, at, "{expression}");
        assert!(
            problem.found.contains(found),
            "{expression}: {}",
            problem.found
        );
    }
}

#[test]
fn too_much_is_told_as_such() {
    let mut deep = json!({"a": 1});
    for _ in 0..40 {
        deep = json!({"any_of": [deep]});
    }
    assert!(read(&deep).unwrap_err().expected.contains("no deeper"));
    let many: Vec<Value> = (0..501).map(|n| json!({"a": n})).collect();
    assert!(
        read(&json!({"any_of": many}))
            .unwrap_err()
            .expected
            .contains("500")
    );
}

#[test]
fn within_a_key_it_is_about_what_is_below_that() {
    let expression = json!({"tags": {"any_of": [{"gpu": true}, {"size": ["big", "huge"]}]}});
    for (metadata, expected) in [
        ("tags: {gpu: true}", true),
        ("tags: {size: huge}", true),
        ("tags: {size: small}", false),
        ("gpu: true", false),
    ] {
        assert_eq!(
            is_wanted(&name(1), Some(metadata), &expression),
            expected,
            "{metadata}"
        );
    }
}

#[test]
fn metadata_that_cannot_be_read_is_neither_wanted_nor_unwanted_and_a_name_needs_none() {
    let broken = Some("a: [");
    let (good, bad) = (
        json!({"none_of": [{"state": "broken"}]}),
        json!({"any_of": [{"state": "broken"}]}),
    );
    for metadata in [None, broken] {
        assert!(!is_wanted(&name(1), metadata, &good));
        assert!(!is_wanted(&name(1), metadata, &bad));
        assert!(is_wanted(
            &name(1),
            metadata,
            &json!({"any_of": ["env-1", {"state": "broken"}]})
        ));
        assert!(!is_wanted(
            &name(1),
            metadata,
            &json!({"none_of": ["env-1"]})
        ));
        assert!(is_wanted(
            &name(2),
            metadata,
            &json!({"none_of": ["env-1"]})
        ));
    }
}
