//! Values of variables: JSON, with numbers as they are written.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep values may be nested.
const DEEPEST: usize = 64;

/// A value of JSON.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Map(Variables),
}

/// The variables of a job, by name.
pub type Variables = BTreeMap<String, Value>;

/// A number as it is written, so that none loses a digit.
#[derive(Debug, Clone)]
pub struct Number(String);

impl Number {
    /// A whole number.
    pub fn whole(number: i128) -> Number {
        Number(number.to_string())
    }

    /// A number as JSON writes it; `None` when it is none.
    pub fn parse(text: &str) -> Option<Number> {
        let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        (is_number && serde_json::from_str::<&RawValue>(text).is_ok())
            .then(|| Number(text.to_owned()))
    }

    /// The number if it is whole and written as such.
    pub fn as_whole(&self) -> Option<i128> {
        self.0.parse().ok()
    }

    /// The number, as precisely as a `f64` has it.
    pub fn as_float(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// Whether it is written as a whole number.
    pub fn is_whole(&self) -> bool {
        self.0
            .trim_start_matches('-')
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Which is larger.
    pub fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self.as_whole(), other.as_whole()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ if self.0 == other.0 => Some(Ordering::Equal),
            _ => self.as_float().partial_cmp(&other.as_float()),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }
}

impl Value {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn read(raw: &RawValue, depth: usize) -> Result<Value, serde_json::Error> {
        if depth > DEEPEST {
            return Err(serde::de::Error::custom(format_args!(
                "values are nested deeper than {DEEPEST} levels"
            )));
        }
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'"') => Value::Text(serde_json::from_str(text)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                let items = items.into_iter().map(|item| Value::read(item, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'{') => {
                let items: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
                let items = items
                    .into_iter()
                    .map(|(name, item)| Ok((name, Value::read(item, depth + 1)?)));
                Value::Map(items.collect::<Result<_, serde_json::Error>>()?)
            }
            _ => Value::Number(Number(text.to_owned())),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    /// Only from JSON.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Value::read(&raw, 0).map_err(D::Error::custom)
    }
}

impl Serialize for Value {
    /// Only to JSON.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(Number(text)) => {
                let raw = RawValue::from_string(text.clone()).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => items.serialize(serializer),
            Value::Map(items) => items.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let text =
            r#"{"a":[1000000,12345678901234567890123,1.50,-0,1e400],"b":{"c":null,"d":true}}"#;

        let value: Value = serde_json::from_str(text).unwrap();

        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        let number = |text| Number::parse(text).unwrap();
        assert_eq!(number("1"), number("1.0"));
        assert_eq!(number("1e2"), number("100"));
        assert_ne!(
            number("12345678901234567890"),
            number("12345678901234567891")
        );
        assert!(Number::parse("x").is_none() && Number::parse("1 2").is_none());
    }

    #[test]
    fn values_that_are_nested_too_deeply_are_refused() {
        for depth in [66, 70, 500_000] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            let err = serde_json::from_str::<Value>(&text)
                .unwrap_err()
                .to_string();
            assert!(err.contains("nested") || err.contains("recursion"), "{err}");
        }
    }
}
