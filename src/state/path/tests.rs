#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::json::{self, Layout};

const DOCUMENT: &str = r##"{"a": {"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"},
"list": [{"k": 1, "v": 2}, {"k": 3}, 7], "e": {},
"l2": [[1, 2], [3, 4]], "0": "zero", "k": "kk"}"##;

/// A path, and what `jsonpath-ng` finds by it; `$` is the whole document.
const TABLE: &[(&str, &str)] = &[
    (r##"a.b"##, r##"[1]"##),
    (r##"$"##, r##"[$]"##),
    (r##"$.a.b"##, r##"[1]"##),
    (
        r##"a.*"##,
        r##"[1, [10, 20, 30, {"d": 4}], {"z": "q"}, {"d": 5}, null, "text"]"##,
    ),
    (
        r##"*"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}, [{"k": 1, "v": 2}, {"k": 3}, 7], {}, [[1, 2], [3, 4]], "zero", "kk"]"##,
    ),
    (
        r##"$.*"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}, [{"k": 1, "v": 2}, {"k": 3}, 7], {}, [[1, 2], [3, 4]], "zero", "kk"]"##,
    ),
    (
        r##"a[*]"##,
        r##"[1, [10, 20, 30, {"d": 4}], {"z": "q"}, {"d": 5}, null, "text"]"##,
    ),
    (r##"a.c[*]"##, r##"[10, 20, 30, {"d": 4}]"##),
    (r##"list.*"##, r##"[{"k": 1, "v": 2}, {"k": 3}, 7]"##),
    (r##"list[*].k"##, r##"[1, 3]"##),
    (r##"list[0]"##, r##"[{"k": 1, "v": 2}]"##),
    (r##"list[-1]"##, r##"[7]"##),
    (r##"list[0:2]"##, r##"[{"k": 1, "v": 2}, {"k": 3}]"##),
    (r##"list[1:]"##, r##"[{"k": 3}, 7]"##),
    (r##"list[:1]"##, r##"[{"k": 1, "v": 2}]"##),
    (r##"list[::2]"##, r##"[{"k": 1, "v": 2}, 7]"##),
    (r##"a..d"##, r##"[{"d": 5}, 4, 5]"##),
    (r##"$..d"##, r##"[{"d": 5}, 4, 5]"##),
    (r##"..d"##, r##"error"##),
    (r##"a.b|s"##, r##"[1, "text"]"##),
    (r##"a.(b|s)"##, r##"[1, "text"]"##),
    (r##"(a.b)|(a.s)"##, r##"[1, "text"]"##),
    (r##"a.b | a.s"##, r##"[]"##),
    (r##"a.b,s"##, r##"[1, "text"]"##),
    (r##"a.[b,s]"##, r##"[1, "text"]"##),
    (r##"a['b']"##, r##"[1]"##),
    (r##"a.'x y'.z"##, r##"["q"]"##),
    (r##"a."x y".z"##, r##"["q"]"##),
    (r##"a['x y'].z"##, r##"["q"]"##),
    (r##"a[b,s]"##, r##"[1, "text"]"##),
    (r##"a.c[3].d"##, r##"[4]"##),
    (r##"`this`"##, r##"[$]"##),
    (
        r##"a.`this`"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (
        r##"a.b.`parent`"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (r##"a.b.`parent`.s"##, r##"["text"]"##),
    (r##"list[*].v.`parent`"##, r##"[{"k": 1, "v": 2}]"##),
    (
        r##"a where b"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (r##"list[*] where v"##, r##"[{"k": 1, "v": 2}]"##),
    (r##"a.b where c"##, r##"[]"##),
    (r##"a.n"##, r##"[null]"##),
    (r##"nope"##, r##"[]"##),
    (r##"a.nope"##, r##"[]"##),
    (r##"a.b.c"##, r##"[]"##),
    (r##"a.s[0]"##, r##"[]"##),
    (r##"a.s[*]"##, r##"[]"##),
    (r##"a.b[0]"##, r##"[]"##),
    (r##"e[0]"##, r##"[]"##),
    (r##"e[*]"##, r##"[]"##),
    (r##"l2[0][1]"##, r##"[2]"##),
    (r##"l2[*][0]"##, r##"[1, 3]"##),
    (r##"l2[*][*]"##, r##"[1, 2, 3, 4]"##),
    (r##"a.0"##, r##"[]"##),
    (r##"0"##, r##"["zero"]"##),
    (r##"list.0"##, r##"[]"##),
    (r##"'0'"##, r##"["zero"]"##),
    (r##"a.c[9]"##, r##"[]"##),
    (r##"a.c[-2]"##, r##"[30]"##),
    (
        r##"a..*"##,
        r##"[1, [10, 20, 30, {"d": 4}], {"z": "q"}, {"d": 5}, null, "text", 10, 20, 30, {"d": 4}, 4, "q", 5]"##,
    ),
    (r##"$..k"##, r##"["kk", 1, 3]"##),
    (r##"list..k"##, r##"[1, 3]"##),
    (r##"a.c.d"##, r##"[]"##),
    (r##"a.c[0,1]"##, r##"[10, 20]"##),
    (r##"[0]"##, r##"[]"##),
    (
        r##"[*]"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}, [{"k": 1, "v": 2}, {"k": 3}, 7], {}, [[1, 2], [3, 4]], "zero", "kk"]"##,
    ),
    (r##"a$"##, r##"error"##),
    (r##"a."##, r##"error"##),
    (r##"a.."##, r##"error"##),
    (r##""##, r##"error"##),
    (r##"a b"##, r##"error"##),
    (r##"a.c[1:2].x"##, r##"[]"##),
    (r##"$.a.$.k"##, r##"["kk"]"##),
    (r##"..k"##, r##"error"##),
    (r##"a&b"##, r##"error"##),
    (r##"@"##, r##"[]"##),
    (r##"a.@b"##, r##"[]"##),
    (r##"a-b"##, r##"[]"##),
    (r##"list[0,2]"##, r##"[{"k": 1, "v": 2}, 7]"##),
    (r##"list['0']"##, r##"[]"##),
    (r##"a.'*'"##, r##"[]"##),
    (r##"a."b""##, r##"[1]"##),
    (
        r##"$[a]"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (
        r##"$['a']"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (r##"$.list[?(@.k)]"##, r##"error"##),
    (r##"a.c[-2:]"##, r##"[30, {"d": 4}]"##),
    (r##"a.c[:-1]"##, r##"[10, 20, 30]"##),
    (r##"list[2]"##, r##"[7]"##),
    (
        r##"(a)"##,
        r##"[{"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (r##"((a.b))"##, r##"[1]"##),
    (r##"a.(b)"##, r##"[1]"##),
    (r##"a|k.b"##, r##"[1]"##),
    (
        r##"list[*]|a"##,
        r##"[{"k": 1, "v": 2}, {"k": 3}, 7, {"b": 1, "c": [10, 20, 30, {"d": 4}], "x y": {"z": "q"}, "d": {"d": 5}, "n": null, "s": "text"}]"##,
    ),
    (r##"a.c[*].d"##, r##"[4]"##),
    (r##"$..c[0]"##, r##"[10]"##),
    (r##"a..c[0]"##, r##"[10]"##),
    (r##"(a..c)[0]"##, r##"[10]"##),
    (r##"a..(b|s)"##, r##"[1, "text"]"##),
    (r##"a..b|s"##, r##"[1, "text"]"##),
    (r##"a..d.d"##, r##"[5]"##),
    (r##"list[*].*"##, r##"[1, 2, 3]"##),
    (r##"a.x-y"##, r##"[]"##),
    (r##"*.b"##, r##"[1]"##),
    (r##"a.`len`"##, r##"error"##),
    (r##"`foo`"##, r##"error"##),
    (r##"list[]"##, r##"error"##),
    (r##"a.b.`parent`.`parent`.k"##, r##"["kk"]"##),
    (r##"l2[0:1][0]"##, r##"[1]"##),
    (r##"l2[1][::-1]"##, r##"[4, 3]"##),
    (r##"a.c[0:9:0]"##, r##"[]"##),
    // A name may begin with a digit here.
    ("3f", "[]"),
    ("3f-1", "[]"),
];

#[test]
fn paths_lead_where_they_do_in_the_library_of_the_original() {
    let document = json::read(DOCUMENT).unwrap();
    for (path, expected) in TABLE {
        let found = Path::parse(path).and_then(|path| path.find(&document));

        let found = found.map(|found| {
            let found: Vec<Value> = found.into_iter().cloned().collect();
            json::write(&Value::List(found), Layout::Line)
        });

        let whole = json::write(&Value::List(vec![document.clone()]), Layout::Line);
        let expected = expected.replace("[$]", &whole);
        assert_eq!(found.unwrap_or("error".to_owned()), expected, "{path}");
    }
}

#[test]
fn a_path_that_would_not_end_is_refused() {
    assert_eq!(Path::parse(&"(".repeat(100_000)), Err(PathError::TooLong));
    assert_eq!(Path::parse(&"a.".repeat(100_000)), Err(PathError::TooLong));
    let mut wide = Value::List(vec![Value::Null; 50]);
    for _ in 0..20 {
        wide = Value::List(vec![wide]);
    }
    let many = Path::parse(&("$".to_owned() + &"..*".repeat(9))).unwrap();

    assert_eq!(many.find(&wide), Err(PathError::TooMany));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[$*.|,\\[\\]():'`\"a-c0-2 \\\\-]{0,20}|\\PC{0,20}") {
        let document = json::read(DOCUMENT).unwrap();
        if let Ok(path) = Path::parse(&text) {
            let _ = path.find(&document);
        }
    }
}
