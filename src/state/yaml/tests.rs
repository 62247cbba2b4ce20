#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::json::{self, Layout};
use crate::value::{MOST_DEPTH, Map, Value};

#[track_caller]
fn as_json(text: &str) -> String {
    json::write(&read(text).unwrap(), Layout::Line)
}

#[test]
fn texts_without_quotes_stand_for_what_python_takes_them_for_but_for_odd_numbers_and_dates() {
    for (texts, value) in [
        ("~ null Null NULL", "null"),
        ("yes Yes YES true True TRUE on On ON", "true"),
        ("no No NO false False FALSE off Off OFF", "false"),
        ("12 +12 1_2 0xC 0b1100", "12"),
        ("-7 -0x7", "-7"),
        ("0 -0 +0", "0"),
        ("1.5 +1.5 1_.5 1.5e+0 15.0e-1", "1.5"),
        ("0.5 .5", "0.5"),
        ("012.5", "12.5"),
        ("12.", "12.0"),
    ] {
        for text in texts.split(' ') {
            assert_eq!(as_json(text), value, "{text}");
        }
    }
    for text in [
        "012",
        "0o14",
        "00",
        "12:30:45",
        "1:30.5",
        "2020-01-01",
        "2020-01-01T00:00:00Z",
        ".inf",
        "-.inf",
        ".nan",
        "1e3",
        "1.5e3",
        "-.5",
        "=",
        "y",
        "n",
        "yEs",
        "0x",
        "0b2",
        "1.2.3",
        "+",
        ".",
        "._5",
        "170141183460469231731687303715884105728",
        "tRUE",
        "0x-1",
        "1__x",
    ] {
        assert_eq!(as_json(&format!("- {text}")), format!("[\"{text}\"]"));
    }
}

#[test]
fn keys_are_texts_duplicates_the_last_and_merges_go_below_what_is_there() {
    for (text, value) in [
        (
            "on: 1\n80: 2\nnull: 3\n1.0: 4",
            r#"{"on": 1, "80": 2, "null": 3, "1.0": 4}"#,
        ),
        ("a: 1\nb: 2\na: 3", r#"{"a": 3, "b": 2}"#),
        (
            "x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x",
            r#"{"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}"#,
        ),
        (
            "<<: [{a: 1, b: 1}, {a: 2, c: 2}]",
            r#"{"a": 1, "c": 2, "b": 1}"#,
        ),
        ("'<<': 1", r#"{"<<": 1}"#),
        (
            "- &a x\n- *a\n- &k key: 1\n- *k : 2",
            r#"["x", "x", {"key": 1}, {"key": 2}]"#,
        ),
        ("!!str 5", r#""5""#),
        ("! 5", r#""5""#),
        ("[!!float 5, !!int '7']", "[5.0, 7]"),
        ("", "null"),
        ("# nothing", "null"),
        (
            "---\na: |\n  x\n  y\nb: >\n  x\n  y\n...",
            r#"{"a": "x\ny\n", "b": "x y\n"}"#,
        ),
        ("a:\n- 1\n-\n  - 2", r#"{"a": [1, [2]]}"#),
    ] {
        assert_eq!(as_json(text), value, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_place() {
    for (text, words) in [
        ("a: [1", "line"),
        ("a: 1\n b: 2", "line"),
        ("? [a]\n: 1", "a key in line 1 is a list"),
        ("a: 1\n---\nb: 1", "more than one"),
        ("a: !thing 1", "the tag `!thing` in line 1"),
        ("a: !!python/object:os.system []", "is not supported"),
        ("a: 1\n<<: 1", "merged in line 2"),
        ("&a [*a]", "stands in itself"),
        ("*a", "line 1"),
    ] {
        let err = read(text).unwrap_err().to_string();
        assert!(err.contains(words), "{text}: {err}");
    }
}

#[test]
fn a_few_lines_do_not_stand_for_very_many_values_and_nothing_is_too_deep() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let all = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb += &format!("a{n}: &a{n} [{all}]\n");
    }
    assert!(matches!(read(&bomb), Err(YamlError::TooMany)));
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for n in 1..200 {
        deep += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    assert!(matches!(read(&deep), Err(YamlError::TooDeep)));
    for levels in [MOST_DEPTH + 1, 200_000] {
        assert!(read(&("[".repeat(levels) + &"]".repeat(levels))).is_err());
        assert!(read(&"- ".repeat(levels)).is_err());
    }
    assert!(read(&("[".repeat(MOST_DEPTH) + &"]".repeat(MOST_DEPTH))).is_ok());
}

#[test]
fn a_document_is_written_as_python_writes_it() {
    let text = "a:\n  b:\n  - 1\n  - c: 2\n    d: []\n  e: {}\ns: 'x: y'\nu: \"\\xFC\"\nn: null\nb: true\nf: 1.0e+16\n\
                z: 'yes'\nd: '2020-01-01'\nl:\n- - 1\n  - 2\n- []\n";

    assert_eq!(write(&read(text).unwrap()), text);
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,8}",
        "[-+0-9._:eExn~a'\"\\\\ \n\t#{}\\[\\],&*!|>%@`]{0,8}",
        "[ -~]{100,140}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(Value::Float),
        text.clone().prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((text.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Map(Map::from_iter(pairs))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(value in any_value()) {
        prop_assert_eq!(&read(&write(&value)).unwrap(), &value);
        prop_assert_eq!(&json::read(&json::write(&value, Layout::Line)).unwrap(), &value);
        prop_assert_eq!(&json::read(&json::write(&value, Layout::Indented(2))).unwrap(), &value);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@`a1 \n\t<]{0,40}|\\PC{0,40}") {
        if let Ok(value) = read(&text) {
            prop_assert_eq!(&read(&write(&value)).unwrap(), &value);
        }
    }
}
