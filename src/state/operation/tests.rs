#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::json::{self as json_of, Layout};

const DOCUMENT: &str = r#"{"state": {"cicdContextDataId": "i", "k": "text", "n": null, "f": false, "l": ["a"], "m": {"x": "1"}, "t": "41"}}"#;

fn no_files(_: &str) -> Option<String> {
    None
}

/// What a `--set` makes of the map `state` of the document, without what is in it at the beginning.
fn set_in(document: &str, argument: &str) -> Result<String, OperationError> {
    let mut document = json_of::read(document).unwrap();
    let mut files = |path: &str| match path {
        "list.json" => Some("[1, {\"a\": 2}]".to_owned()),
        "map.yaml" => Some("a: 1\nb: [yes, '2']\n".to_owned()),
        "text" => Some("hello\nworld: : x\n [".to_owned()),
        _ => None,
    };
    for pair in sets(argument, &mut files)? {
        if let Pair::Operation(operation) = pair {
            operation.apply(&mut document)?;
        }
    }
    Ok(json_of::write(document.get("state").unwrap(), Layout::Line))
}

#[test]
fn a_set_makes_what_the_original_makes_of_it() {
    let start = r#"{"state": {}}"#;
    for (argument, state) in [
        ("state.a=1", r#"{"a": "1"}"#),
        ("state.a = x y |state.b=2", r#"{"a": "x y", "b": "2"}"#),
        (
            "state.a.b.c=1|state.a.b.d=2",
            r#"{"a": {"b": {"c": "1", "d": "2"}}}"#,
        ),
        ("state.a=b=c", r#"{"a": "b=c"}"#),
        (
            "state.l[]=a, b ,c|state.l[]=d",
            r#"{"l": ["a", " b ", "c", "d"]}"#,
        ),
        ("state.l[]=a|state.l[]=[]", r#"{"l": []}"#),
        ("state.s{}=a,b,a|state.s{}=b,z", r#"{"s": ["a", "b", "z"]}"#),
        ("state.s{}=a|state.s{}=[]", r#"{"s": []}"#),
        ("state.e=|=x|novalue| |state.a=1", r#"{"a": "1"}"#),
        ("state.f=file://list.json", r#"{"f": [1, {"a": 2}]}"#),
        (
            "state.f=file://map.yaml",
            r#"{"f": {"a": 1, "b": [true, "2"]}}"#,
        ),
        ("state.f=file://text", r#"{"f": "hello\nworld: : x\n ["}"#),
        ("state.f=file://none", r#"{"f": "file://none"}"#),
        (
            "state.f[]=file://text",
            r#"{"f": ["hello\nworld: : x\n ["]}"#,
        ),
        ("state.f[]=file://list.json", r#"{"f": [1, {"a": 2}]}"#),
        ("state.arr[0]=x", r#"{"arr[0]": "x"}"#),
        // New: a backslash takes from a dot and from a pipe what they mean.
        (r"state.a\.b=x\|y", r#"{"a.b": "x|y"}"#),
        (r"state.a\[]=x", r#"{"a[]": "x"}"#),
        (r"state.a\=b=C:\dir\", r#"{"a=b": "C:\\dir\\"}"#),
    ] {
        assert_eq!(set_in(start, argument).as_deref(), Ok(state), "{argument}");
    }
}

#[test]
fn what_cannot_be_set_is_an_error_and_changes_nothing() {
    for (argument, words) in [
        ("state.k.sub=x", "`state.k` is a text"),
        ("state.k.sub.more=x", "`state.k` is a text"),
        ("state.l.sub=x", "`state.l` is a list"),
        ("state.f.sub=x", "`state.f` is true or false"),
        ("state.k[]=x", "it is a text, and not a list"),
        ("state.m{}=x", "it is a map, and not a list"),
        ("state.m[]=[]", "it is a map, and not a list"),
        ("state.l[]x=1", "at the end of a path only"),
        ("state.l[].x=1", "at the end of a path only"),
        ("state.l[][]=1", "at the end of a path only"),
        ("state..x=1", "a name in the path is empty"),
        (".=1", "a name in the path is empty"),
        ("state.cicdContextDataId=other", "it has the id"),
        ("state.cicdContextDataId.x=other", "it has the id"),
        ("state=x", "it has the id"),
        ("state[]=x", "it has the id"),
    ] {
        let err = set_in(DOCUMENT, argument).unwrap_err().to_string();
        assert!(err.contains(words), "{argument}: {err}");
    }
    let deep = vec!["a"; MOST_DEPTH].join(".") + "=x";
    assert!(matches!(
        set_in(DOCUMENT, &deep),
        Err(OperationError::TooDeep(_))
    ));
    let wide = "x.".repeat(100_000) + "=x";
    assert!(set_in(DOCUMENT, &wide).is_err());
}

#[test]
fn nothing_and_null_become_a_map_or_a_list() {
    for argument in ["state.n.sub=x", "state.n[]=x", "state.f[]=x", "other.x=1"] {
        assert!(set_in(DOCUMENT, argument).is_ok(), "{argument}");
    }
}

#[test]
fn typed_conditional_and_counting_changes() {
    let applied = |operation: Operation| {
        let mut document = json_of::read(DOCUMENT).unwrap();
        let number = operation.apply(&mut document)?;
        let value = document.get("state").unwrap().get("k").unwrap().clone();
        Ok::<_, OperationError>((answer::print(&value), number.map(|n| answer::print(&n))))
    };
    let absent = |place_of: &str| Operation {
        place: place(place_of).unwrap(),
        change: Change::SetIfAbsent(Value::from("new")),
    };

    assert_eq!(
        applied(json("state.k={\"a\": [1, null, \"|\"]}").unwrap())
            .unwrap()
            .0,
        r#"{"a": [1, null, "|"]}"#
    );
    assert_eq!(applied(json("state.k=null").unwrap()).unwrap().0, "");
    assert!(matches!(json("state.k="), Err(OperationError::Json { .. })));
    assert_eq!(
        applied(set_if("state.k=text=>b=>c").unwrap()).unwrap().0,
        "b=>c"
    );
    assert_eq!(applied(set_if("state.new==>x").unwrap()).unwrap().0, "text");
    assert!(matches!(
        applied(set_if("state.k=other=>x").unwrap()),
        Err(OperationError::Unmet { .. })
    ));
    assert!(matches!(
        applied(set_if("state.k==>x").unwrap()),
        Err(OperationError::Unmet { .. })
    ));
    assert!(applied(absent("state.n")).is_ok());
    assert!(applied(absent("state.x.y")).is_ok());
    assert!(matches!(
        applied(absent("state.k")),
        Err(OperationError::Unmet { .. })
    ));
    assert_eq!(
        applied(increment("state.t").unwrap()).unwrap().1.as_deref(),
        Some("42")
    );
    assert_eq!(
        applied(increment("state.new=-3").unwrap())
            .unwrap()
            .1
            .as_deref(),
        Some("-3")
    );
    assert!(matches!(
        applied(increment("state.k").unwrap()),
        Err(OperationError::NotANumber { .. })
    ));
    for wrong in [
        set_if("a"),
        set_if("a=b"),
        increment("a=x"),
        increment("a=1.5"),
        json("a"),
    ] {
        assert!(
            matches!(wrong, Err(OperationError::Form { .. })),
            "{wrong:?}"
        );
    }
}

#[test]
fn what_is_removed_is_gone_and_what_is_not_there_is_no_error() {
    let mut document = json_of::read(DOCUMENT).unwrap();
    for path in ["state.m.x", "state.none.x", "state.k.x", "state.l", "none"] {
        let removal = Operation {
            place: place(path).unwrap(),
            change: Change::Remove,
        };
        removal.apply(&mut document).unwrap();
    }

    let left = json_of::write(document.get("state").unwrap(), Layout::Line);
    assert_eq!(
        left,
        r#"{"cicdContextDataId": "i", "k": "text", "n": null, "f": false, "m": {}, "t": "41"}"#
    );
    let removal = |path| Operation {
        place: place(path).unwrap(),
        change: Change::Remove,
    };
    for path in ["state", "state.cicdContextDataId"] {
        assert!(removal(path).apply(&mut document).is_err());
    }
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let path = prop::sample::select(vec!["a", "b", "a.x", "l", "s", "c.d.e"]);
    let change = prop_oneof![
        "[a-c]{1,2}".prop_map(|text| Change::Set(Value::Text(text))),
        "[a-c]".prop_map(|text| Change::Extend {
            items: vec![Value::Text(text)],
            once: true
        }),
        Just(Change::Remove),
        Just(Change::Clear),
    ];
    (path, change).prop_map(|(path, change)| Operation {
        place: place(path).unwrap(),
        change,
    })
}

proptest! {
    #[test]
    fn repeatable_changes_can_be_made_twice(operations in prop::collection::vec(any_operation(), 1..2)) {
        let mut once = json_of::read(DOCUMENT).unwrap();
        if apply_all(&operations, &mut once).is_ok() {
            let mut twice = once.clone();
            apply_all(&operations, &mut twice).unwrap();
            prop_assert!(operations.iter().all(Operation::is_repeatable));
            prop_assert_eq!(once, twice);
        }
    }

    #[test]
    fn any_argument_is_read_or_refused(text in "[a-c.|=\\\\\\[\\]{} ,]{0,30}|\\PC{0,30}") {
        let mut document = json_of::read(DOCUMENT).unwrap();
        for pair in sets(&text, &mut no_files).into_iter().flatten() {
            if let Pair::Operation(operation) = pair {
                let _ = operation.apply(&mut document);
            }
        }
        let id = document.get("state").unwrap().get("cicdContextDataId");
        prop_assert_eq!(id, Some(&Value::from("i")));
        let _ = (set_if(&text), increment(&text), json(&text));
    }
}
