#![allow(clippy::unwrap_used)]

use super::*;
use crate::json;

const DOCUMENT: &str = r#"{"jinja2Macros": {"all": "{%- macro hi(name='you', mark=state.mark) -%}hi {{ name }}{{ mark }}{%- endmacro -%}"},
    "state": {"mark": "!", "l": [1, 2, [3], {"a": 5}], "m": {"x y": 1, "t": true, "n": null, "f": 1.5},
    "text": "say \"hi\" \\ it's", "json": "{\"a\": [1, {\"b\": \"c\"}]}", "pairs": "a=1,b=2=3", "names": ["a", "b", "c"]}}"#;

fn render(template: &str) -> Result<String, TemplateError> {
    let document = json::read(DOCUMENT).unwrap();
    let templates = Templates::of(&document);
    let more = Arc::new(json::read(r#"{"k": "v"}"#).unwrap());
    templates.render(
        template,
        &Context::new(Arc::new(document)).with("notify", more),
    )
}

#[test]
fn templates_print_what_jinja2_prints() {
    for (template, printed) in [
        ("plain", "plain"),
        ("line\n", "line"),
        (
            "{{ state.m['x y'] }} {{ state.m.t }} {{ state.m.n }} {{ state.m.f }} {{ 2 ** 3 }}",
            "1 True None 1.5 8",
        ),
        ("[{{ nothing }}] [{{ state.nothing }}]", "[] []"),
        (
            "{{ state.l }} {{ state.m }}",
            "[1, 2, [3], {'a': 5}] {'x y': 1, 't': True, 'n': None, 'f': 1.5}",
        ),
        (
            "{{ state.l|string }} {{ ['it', true]|join('-') }}",
            "[1, 2, [3], {'a': 5}] it-True",
        ),
        ("{{ hi() }} {{ hi('Bob', '?') }}", "hi you! hi Bob?"),
        // Macros end with `-%}`, which takes blanks after them.
        ("   x", "x"),
        ("  ", ""),
        (
            "{{ state.m|tojson }}",
            r#"{"f": 1.5, "n": null, "t": true, "x y": 1}"#,
        ),
        ("{{ '<a&b>' | tojson }}", r#""\u003ca\u0026b\u003e""#),
        ("{{ state.text|json_dumps }}", r#""say \"hi\" \\ it's""#),
        (
            "{{ state.text|json_dumps(stripLeadingTrailingQuotes=True) }}",
            r#"say \"hi\" \\ it's"#,
        ),
        (
            "{{ {'a': [1]}|json_dumps(indent=1) }}",
            "{\n \"a\": [\n  1\n ]\n}",
        ),
        ("{{ (state.json|from_json).a[1].b }}", "c"),
        (
            "{{ state.pairs|kv_comma_pairs_to_json }}",
            r#"{"a": "1", "b": "2"}"#,
        ),
        ("{{ 'häß'|to_base64 }}", "aMOkw58="),
        (
            "{{ state.m|to_nice_yaml }}",
            "x y: 1\nt: true\nn: null\nf: 1.5\n",
        ),
        (
            "{{ {'b': 1, 'a': [2]}|to_nice_yaml(sort_keys=True, indent=4) }}",
            "a:\n- 2\nb: 1\n",
        ),
        (
            "{% for x in state.names %}{% if x == 'b' %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "ac",
        ),
        (
            "{% for x in state.names %}{% if x == 'b' %}{% break %}{% endif %}{{ loop.index }}{{ x }}{% endfor %}",
            "1a",
        ),
        (
            "{% for k, v in state.m.items() %}{{ k }};{% endfor %}",
            "x y;t;n;f;",
        ),
        ("{% for k in state.m %}{{ k }};{% endfor %}", "x y;t;n;f;"),
        (
            "{{ state.pairs.split(',')[0].upper() }} {{ 'a-b'.replace('-', '_') }} {{ ' x '.strip() }}",
            "A=1 a_b x",
        ),
        (
            "{{ state.m.get('none', 'else') }} {{ 'abc'.startswith('a') }}",
            "else True",
        ),
        (
            "{{ 'a-b'|replace('-', '+') }} {{ state.l|length }} {{ 'x'|default('y') }}{{ z|default('y') }}",
            "a+b 4 xy",
        ),
        (
            "{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.next() }} {{ c.current }}",
            "oddevenodd even",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for x in range(3) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        (
            "{{ range(5, 6)|random }}{{ ['x']|random }}{{ 'y'|random }}",
            "5xy",
        ),
        ("{% set j = joiner(', ') %}{{ j() }}a{{ j() }}b", "a, b"),
        ("{{ dict(a=1).a }} {{ lipsum(1)|length > 10 }}", "1 True"),
        (
            "{{ notify.k }}{% if state.mark is defined and nothing is not defined %}yes{% endif %}",
            "vyes",
        ),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        (
            "{{ \"%s-%s\"|format('a', 1) }} {{ 'A'|lower }} {{ 'one two'|wordcount }} {{ [3, 1]|sort|first }}",
            "a-1 a 2 1",
        ),
        (
            "{{ 12345678901234567890 }} {{ 1e16 }} {{ 7 // 2 }} {{ 7 / 2 }}",
            "12345678901234567890 1e+16 3 3.5",
        ),
    ] {
        assert_eq!(
            render(template).as_deref().ok(),
            Some(printed),
            "{template}: {:?}",
            render(template)
        );
    }
}

#[test]
fn what_cannot_be_rendered_is_an_error() {
    for template in [
        "{{ ",
        "{% if %}",
        "{{ nothing.more }}",
        "{{ state.nothing.more }}",
        "{{ 'x'|nofilter }}",
        "{{ nofunction() }}",
        "{{ '{'|from_json }}",
        "{{ 'a'|kv_comma_pairs_to_json }}",
        "{{ cycler() }}",
    ] {
        assert!(render(template).is_err(), "{template}");
    }
}

#[test]
fn templates_reach_no_files_and_nothing_of_the_program() {
    for template in [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% extends '/etc/passwd' %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__ }}",
        "{{ config.items() }}",
        "{{ lipsum.__globals__['os'].popen('id') }}",
        "{{ ''|attr('__class__')|attr('x') }}",
        "{{ open('/etc/passwd') }}",
        "{{ env('HOME') }}",
    ] {
        let rendered = render(template).unwrap_or_default();
        assert!(
            !rendered.contains("root:") && !rendered.contains("uid="),
            "{template}: {rendered}"
        );
    }
}

#[test]
fn every_template_ends() {
    for template in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in range(100000) %}{{ 'x' * 10000 }}{% endfor %}",
        "{{ range(10000000000) }}",
    ] {
        assert!(render(template).is_err(), "{template}");
    }
    for (start, part, end) in [
        ("", "{% if 1 %}", ""),
        ("{% if 0 %}", "{% elif 0 %}", "{% endif %}"),
        ("{{ ", "(", "1"),
        ("{{ ", "[", "1"),
        ("{{ ", "-", "1 }}"),
        ("{{ ", "not ", "1 }}"),
        ("{{ 1", "+1", " }}"),
        ("{{ 1", "|int", " }}"),
        ("{{ state", ".x", " }}"),
        ("{{ 1", " if 1 else 1", " }}"),
        ("{{ 1", "~1", " }}"),
        ("{{ 1", "**1", " }}"),
        ("{{ 1", "==1", " }}"),
    ] {
        // Just as much as may be, and much more.
        for count in [MOST_BETWEEN_BRACES / part.len() - 10, 100_000] {
            let _ = render(&format!("{start}{}{end}", part.repeat(count)));
        }
    }
}

#[test]
fn a_long_text_without_braces_is_no_matter() {
    let text = "a { b % c ".repeat(100_000);

    assert_eq!(render(&text).unwrap(), text);
}
