//! Variables in forms: a field for each parameter, or one field with all of them as JSON.

use std::collections::BTreeMap;

use page::answer::Sent;
use page::form::{Field, Kind};

use crate::definition::{self, Parameter};
use crate::value::{Number, Value, Variables};

/// What stands before the name of a parameter in the name of its field.
const FIELD: &str = "p.";
/// The field with all variables, where a pipeline has no parameters.
const ALL: &str = "variables";

type Parameters = BTreeMap<String, Parameter>;

/// A value as it stands in a field.
fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        value => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// The fields for parameters, filled with these values, and then with what was sent.
pub(super) fn fields(
    parameters: Option<&Parameters>,
    values: &Variables,
    sent: Option<&Sent>,
) -> Vec<Field> {
    let Some(parameters) = parameters else {
        let text = match sent.and_then(|sent| sent.get(ALL)) {
            Some(text) => text.to_owned(),
            None if values.is_empty() => String::new(),
            None => serde_json::to_string_pretty(values).unwrap_or_default(),
        };
        return vec![Field {
            name: ALL.to_owned(),
            label: "Variables".to_owned(),
            kind: Kind::Area,
            value: text,
            hint: "A JSON object such as {\"version\": \"1.2\"}; nothing for none.".to_owned(),
            ..Field::default()
        }];
    };
    let field = |(name, parameter): (&String, &Parameter)| {
        let sent_name = format!("{FIELD}{name}");
        let value = match (sent, values.get(name).or(parameter.default.as_ref())) {
            _ if parameter.is_secret => String::new(),
            (Some(sent), _) => sent.get(&sent_name).unwrap_or_default().to_owned(),
            (None, Some(value)) => text_of(value),
            (None, None) => String::new(),
        };
        Field {
            name: sent_name,
            label: terminal::one_line(name),
            kind: kind_of(parameter),
            value,
            hint: hint_of(parameter),
            fault: None,
            // A box that is not checked is `false`.
            is_required: parameter.is_required && parameter.kind != Some(definition::Kind::Boolean),
            // Another language of patterns than that of browsers: the server checks.
            pattern: None,
        }
    };
    parameters.iter().map(field).collect()
}

fn kind_of(parameter: &Parameter) -> Kind {
    if parameter.is_secret {
        return Kind::Secret;
    }
    if !parameter.choices.is_empty() {
        return Kind::Choice(parameter.choices.iter().map(text_of).collect());
    }
    match parameter.kind {
        Some(definition::Kind::Boolean) => Kind::Check,
        Some(definition::Kind::Integer) => Kind::Number { is_whole: true },
        Some(definition::Kind::Number) => Kind::Number { is_whole: false },
        Some(definition::Kind::List | definition::Kind::Map) => Kind::Area,
        Some(definition::Kind::String) | None => Kind::Text,
    }
}

fn hint_of(parameter: &Parameter) -> String {
    let kind = match parameter.kind {
        Some(definition::Kind::List) => Some("a list, as JSON".to_owned()),
        Some(definition::Kind::Map) => Some("a map, as JSON".to_owned()),
        None if parameter.choices.is_empty() => {
            Some("a text, or any other value as JSON".to_owned())
        }
        _ => None,
    };
    // As it was written: it is matched as a whole, with `^(?:` before it and `)$` behind it.
    let pattern = parameter.pattern.as_ref().map(|pattern| {
        let whole = pattern.as_str();
        let inner = whole
            .strip_prefix("^(?:")
            .and_then(|rest| rest.strip_suffix(")$"));
        format!("matches {}", inner.unwrap_or(whole))
    });
    let secret = parameter
        .is_secret
        .then(|| "secret: shown and kept nowhere".to_owned());
    let parts = [kind, pattern, secret].into_iter().flatten();
    parts.collect::<Vec<_>>().join("; ")
}

/// The variables that were sent. A field that is empty is no variable, unless it empties one of `before`.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn read(
    parameters: Option<&Parameters>,
    sent: &Sent,
    before: &Variables,
) -> Result<Variables, String> {
    let Some(parameters) = parameters else {
        let text = sent.get(ALL).unwrap_or_default().trim();
        if text.is_empty() {
            return Ok(Variables::new());
        }
        return serde_json::from_str(text)
            .map_err(|err| format!("The variables are no JSON object: {err}"));
    };
    let mut all = Variables::new();
    for (name, parameter) in parameters {
        let text = sent.get(&format!("{FIELD}{name}"));
        if let Some(value) = value(parameter, text, before.contains_key(name)) {
            all.insert(name.clone(), value);
        }
    }
    Ok(all)
}

fn value(parameter: &Parameter, text: Option<&str>, was_given: bool) -> Option<Value> {
    if parameter.kind == Some(definition::Kind::Boolean)
        && parameter.choices.is_empty()
        && !parameter.is_secret
    {
        return Some(Value::Bool(text == Some("true")));
    }
    let text = text?;
    let is_text = matches!(parameter.kind, None | Some(definition::Kind::String));
    if text.is_empty() {
        return (is_text && was_given && !parameter.is_secret).then(|| Value::Text(String::new()));
    }
    // A choice is the value that stands in the form as this text.
    if let Some(choice) = parameter
        .choices
        .iter()
        .find(|choice| text_of(choice) == text)
    {
        return Some(choice.clone());
    }
    Some(match parameter.kind {
        Some(definition::Kind::String) => Value::Text(text.to_owned()),
        Some(definition::Kind::Integer | definition::Kind::Number) => {
            // What is no number is a text, and refused as such.
            Number::parse(text.trim()).map_or_else(|| Value::Text(text.to_owned()), Value::Number)
        }
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::Text(text.to_owned())),
    })
}

/// The same request for a shell. It is put together so that no value can end a word of it.
pub(super) fn curl(host: &str, path: &str, body: &serde_json::Value) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    format!(
        "curl -H \"Authorization: Bearer $PRUNNER_TOKEN\" \\\n  {} \\\n  -d {}",
        quoted(&format!("http://{host}{path}")),
        quoted(&body.to_string())
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parameters(yaml: &str) -> Parameters {
        let text = format!("pipelines: {{p: {{parameters: {yaml}}}}}");
        let pipelines = definition::read(&text, "pipelines.yml").unwrap();
        pipelines[0].parameters.clone().unwrap()
    }

    fn read_as_json(yaml: &str, form: &str, before: &str) -> String {
        let before: Variables = serde_json::from_str(before).unwrap();
        let all = read(
            Some(&parameters(yaml)),
            &Sent::parse(form.as_bytes()),
            &before,
        )
        .unwrap();
        serde_json::to_string(&all).unwrap()
    }

    #[test]
    fn each_field_becomes_a_value_of_its_kind() {
        let yaml = "{s: {type: string}, n: {type: integer}, b: {type: boolean}, l: {type: list}, \
                     c: {choices: [1, '1', two]}, x: {}}";
        assert_eq!(
            read_as_json(
                yaml,
                "p.s=7&p.n=12345678901234567890&p.b=true&p.l=[1]&p.c=two&p.x={\"a\":1}",
                "{}"
            ),
            r#"{"b":true,"c":"two","l":[1],"n":12345678901234567890,"s":"7","x":{"a":1}}"#
        );
        // What is empty is not sent; a box that is not checked is.
        assert_eq!(
            read_as_json(yaml, "p.s=&p.n=&p.l=&p.c=&p.x=", "{}"),
            r#"{"b":false}"#
        );
        // What was there before can be emptied.
        assert_eq!(
            read_as_json("{s: {type: string}}", "p.s=", r#"{"s":"old"}"#),
            r#"{"s":""}"#
        );
        // What is no number is refused by the rules, which say why.
        assert_eq!(
            read_as_json("{n: {type: number}}", "p.n=1%202", "{}"),
            r#"{"n":"1 2"}"#
        );
    }

    #[test]
    fn a_secret_is_never_filled_in() {
        let parameters = parameters("{key: {secret: true, required: true}}");
        let before: Variables = serde_json::from_str(r#"{"key":"hidden"}"#).unwrap();
        let sent = Sent::parse(b"p.key=hidden");
        for fields in [
            fields(Some(&parameters), &before, None),
            fields(Some(&parameters), &before, Some(&sent)),
        ] {
            assert_eq!(fields[0].value, "");
            assert_eq!(fields[0].kind, Kind::Secret);
            assert!(fields[0].is_required);
        }
    }

    #[test]
    fn without_parameters_all_variables_are_one_object() {
        let read = |text: &str| read(None, &Sent::parse(text.as_bytes()), &Variables::new());
        assert_eq!(read("variables=").unwrap(), Variables::new());
        assert_eq!(read("variables={\"a\":\"b\"}").unwrap().len(), 1);
        assert!(
            read("variables=[1]")
                .unwrap_err()
                .starts_with("The variables are no JSON object")
        );
    }

    #[test]
    fn no_value_ends_a_word_of_the_command() {
        let body = serde_json::json!({"a": "it's $(rm -rf /) `x` \\"});
        let text = curl("localhost:9009", "/pipelines/schedule", &body);
        let output = std::process::Command::new("bash")
            .args([
                "-c",
                &format!("curl() {{ printf '%s\\n' \"${{@: -1}}\"; }}; {text}"),
            ])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim_end(),
            body.to_string()
        );
    }
}
