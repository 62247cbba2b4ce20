#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::value::Value;

const VARIABLES: &str = r#"{"s":"x y","e":"","n":3,"big":12345678901234567890123,"million":1000000,"f":1.5,"tiny":0.00001,
    "zero":0,"t":true,"no":false,"null":null,"list":["a","b",3,null],"none":[],"map":{"b":2,"a":{"c":"deep"}},
    "quoted":"it's; rm -rf /","float3":3.0,"__jobID":"id"}"#;

fn rendered(text: &str) -> String {
    let variables: Variables = serde_json::from_str(VARIABLES).unwrap();
    match render(text, &variables) {
        Ok(text) => text,
        Err(err) => format!("!{err}"),
    }
}

/// The rows of the specification's section 5, and of the documentation of Go's package.
#[test]
fn templates_are_rendered_as_go_does() {
    let table = [
        ("plain", "plain"),
        ("a {{ .s }} b", "a x y b"),
        ("{{.s}}{{.n}}", "x y3"),
        ("{{ .__jobID }}", "id"),
        (
            "{{ .n }} {{ .million }} {{ .big }}",
            "3 1000000 12345678901234567890123",
        ),
        ("{{ .f }} {{ .tiny }} {{ .float3 }}", "1.5 1e-05 3"),
        ("{{ .t }} {{ .null }}", "true <no value>"),
        (
            "{{ .list }} {{ .map }}",
            "[a b 3 <nil>] map[a:map[c:deep] b:2]",
        ),
        ("{{ .map.a.c }}", "deep"),
        ("a  {{- .n -}}  b", "a3b"),
        ("a {{- /* no */ -}} b{{/* c */}}d", "abd"),
        (
            "{{ index .list 1 }}{{ index .map \"b\" }}{{ index .map \"a\" \"c\" }}",
            "b2deep",
        ),
        ("{{ index .map \"gone\" }}", "<no value>"),
        ("{{ (index .map \"a\").c }}", "deep"),
        (
            "{{ .s | printf \"%q\" }} {{ printf \"%s-%s\" .s .e }}",
            "\"x y\" x y-",
        ),
        (
            "{{ printf \"%d %5d|%-5d|%05d %x %.2f %v %t\" .n .n .n .n 255 .f .list true }}",
            "3     3|3    |00003 ff 1.50 [a b 3 <nil>] true",
        ),
        (
            "{{ printf \"%d\" .s }} {{ printf \"%s\" }} {{ printf \"x\" 1 }}",
            "%!d(string=x y) %!s(MISSING) x%!(EXTRA int=1)",
        ),
        (
            "{{ printf \"%.0f\" .million }} {{ printf \"%e\" .f }} {{ printf \"%g\" .tiny }}",
            "1000000 1.500000e+00 1e-05",
        ),
        (
            "{{ $x := .n }}{{ $x }}{{ $x = 4 }}{{ $x }}{{ $.s }}",
            "34x y",
        ),
        ("{{ if .e }}1{{ else if .n }}2{{ else }}3{{ end }}", "2"),
        ("{{ if not .none }}empty{{ end }}", "empty"),
        (
            "{{ range .list }}<{{ . }}>{{ end }}",
            "<a><b><3><<no value>>",
        ),
        (
            "{{ range $i, $e := .list }}{{ $i }}={{ $e }} {{ end }}",
            "0=a 1=b 2=3 3=<no value> ",
        ),
        ("{{ range $k, $v := .map }}{{ $k }};{{ end }}", "a;b;"),
        ("{{ range .none }}x{{ else }}nobody{{ end }}", "nobody"),
        (
            "{{ range .list }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "a",
        ),
        (
            "{{ range $i, $e := .list }}{{ if eq $i 0 }}{{ continue }}{{ end }}{{ $i }}{{ end }}",
            "123",
        ),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        (
            "{{ with .map.a }}{{ .c }}{{ $.n }}{{ end }}{{ with .e }}x{{ else }}y{{ end }}",
            "deep3y",
        ),
        ("{{ with $m := .map }}{{ $m.b }}{{ end }}", "2"),
        (
            "{{ and .n .s }} {{ and .n .e }} {{ or .e .s }} {{ or .e .none }}",
            "x y  x y []",
        ),
        ("{{ and .e .nope }}{{ or .n .nope }}", "3"),
        (
            "{{ eq .n 3 }} {{ eq .n 3.0 }} {{ eq .s \"a\" \"x y\" }} {{ ne .n 4 }}",
            "true true true true",
        ),
        (
            "{{ lt 1 2 }} {{ le 2 2 }} {{ gt .million 5 }} {{ ge \"b\" \"a\" }}",
            "true true true true",
        ),
        ("{{ len .list }}{{ len .s }}{{ len .map }}", "432"),
        (
            "{{ print 1 2 \"a\" \"b\" 3 }}|{{ println 1 \"a\" }}|",
            "1 2ab3|1 a\n|",
        ),
        ("{{ slice .s 1 }}{{ slice .list 0 2 }}", " y[a b]"),
        (
            "{{ .e | default \"d\" }} {{ .s | default \"d\" }} {{ .no | default \"d\" }} {{ .none | default \"d\" }}",
            "d x y d d",
        ),
        (
            "{{ .zero | default \"d\" }} {{ .null | default \"d\" }}",
            "0 <no value>",
        ),
        (
            "{{ quote .quoted }} {{ .n | quote }}",
            r"'it'\''s; rm -rf /' '3'",
        ),
        (
            "{{ \"a\\tb\\u00e9\" }}{{ `raw\\n` }}{{ 'a' }}{{ 0x10 }}{{ -5 }}{{ 1_000 }}",
            "a\tbéraw\\n9716-51000",
        ),
        (
            "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}",
            "2",
        ),
        ("{{- 3}} {{3 -}} x", "3 3x"),
        ("{{ not (and .t .no) }} {{ (len .list) }}", "true 4"),
    ];
    for (template, expected) in table {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn what_is_wrong_is_said_as_go_does() {
    let table = [
        (
            "echo {{ .nope }}",
            "1:8: executing \"interpolate\" at <.nope>: map has no entry for key \"nope\"",
        ),
        (
            "x\n {{ .map.zz }}",
            "2:8: executing \"interpolate\" at <.map.zz>: map has no entry for key \"zz\"",
        ),
        (
            "{{ .s.x }}",
            "1:5: executing \"interpolate\" at <.s.x>: can't evaluate field x in type interface {}",
        ),
        (
            "{{ .nope | default \"d\" }}",
            "1:3: executing \"interpolate\" at <.nope>: map has no entry for key \"nope\"",
        ),
        (
            "{{ index .list 9 }}",
            "1:3: executing \"interpolate\" at <index>: error calling index: index out of range: 9",
        ),
        (
            "{{ index .none 0 }}",
            "1:3: executing \"interpolate\" at <index>: error calling index: index out of range: 0",
        ),
        (
            "{{ lt 1 \"a\" }}",
            "1:3: executing \"interpolate\" at <lt>: error calling lt: incompatible types for comparison",
        ),
        (
            "{{ eq 1 }}",
            "1:3: executing \"interpolate\" at <eq>: wrong number of args for eq: want at least 2 got 1",
        ),
        (
            "{{ .s 1 }}",
            "1:3: executing \"interpolate\" at <.s>: can't give argument to non-function .s",
        ),
        ("{{ if", "1: unclosed action"),
        ("a\n{{ .s", "2: unclosed action"),
        ("{{ .s | upper }}", "1: function \"upper\" not defined"),
        (
            "{{ .s | html }}",
            "1: function \"html\" is not supported; for a word of a shell there is `quote`",
        ),
        (
            "{{ define \"x\" }}{{ end }}",
            "1: {{define}} is not supported: a script entry is one template",
        ),
        ("{{ if .n }}", "1: unexpected EOF"),
        ("{{ end }}", "1: unexpected {{end}}"),
        ("{{ else }}", "1: unexpected {{else}}"),
        ("{{ break }}", "1: {{break}} outside {{range}}"),
        ("{{ $x }}", "1: undefined variable \"$x\""),
        ("{{ }}", "1: missing value for command"),
        ("{{ .s | }}", "1: missing value for command"),
        ("{{ \"x }}", "1: unterminated quoted string"),
        ("{{ /* x }}", "1: unclosed comment"),
        ("{{ .s | .n }}", "1: non executable command in pipeline: .n"),
    ];
    for (template, expected) in table {
        assert_eq!(
            rendered(template),
            format!("!template: interpolate:{expected}"),
            "{template}"
        );
    }
}

#[test]
fn a_template_that_would_never_end_is_ended() {
    let bomb = "{{ range 100000 }}{{ range 100000 }}xxxxxxxxxx{{ end }}{{ end }}";
    assert!(rendered(bomb).contains("too long"), "{}", rendered(bomb));
    let deep = "{{ if .n }}".repeat(10_000);
    assert!(rendered(&deep).contains("nested deeper"));
    let deep = format!("{{{{ {} }}}}", "(".repeat(10_000));
    assert!(rendered(&deep).contains("nested deeper"));
}

proptest! {
    #[test]
    fn no_text_makes_a_template_panic(text in "(\\{\\{|\\}\\}|-| |[a-z.$|()\"`,:=0-9%]|if |range |with |end|else|é|/\\*|\\*/|index |slice |printf ){0,24}") {
        let _ = rendered(&text);
        let _ = rendered(&format!("{{{{ {text} }}}}"));
    }

    #[test]
    fn a_quoted_text_is_one_word(text in "\\PC{0,20}") {
        let variables = [("v".to_owned(), Value::Text(text.clone()))].into();
        let quoted = render("{{ quote .v }}", &variables).unwrap();
        // Between quotes that close nothing else is special.
        let inside = quoted[1..quoted.len() - 1].replace(r"'\''", "");
        prop_assert!(!inside.contains('\''));
    }
}
