//! Picks values out of a JSON document, so that every complaint names its key.
//!
//! Used in place of derived deserializers: their messages give the line and column of a document that the user never
//! saw, show the offending value, which may be a secret, and stop at the first missing key.

use std::time::Duration;

use serde_json::{Map, Value};

use pace::duration;

use super::RequestError;

/// An object in the document, and the keys that lead to it.
pub(super) struct Keys<'a> {
    path: String,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Keys<'a> {
    /// The whole document.
    pub(super) fn of(document: &'a Value) -> Result<Keys<'a>, RequestError> {
        match document {
            Value::Object(map) => Ok(Keys {
                path: String::new(),
                map: Some(map),
            }),
            other => Err(RequestError::NotAnObject {
                found: kind(other).to_owned(),
            }),
        }
    }

    /// The value of `key`, exactly as it is.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.map?.get(key)
    }

    /// The value of `key`, if it is set: `null`, `false` and `""` mean that it is not.
    pub(super) fn set(&self, key: &str) -> Option<&'a Value> {
        self.raw(key).filter(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
        })
    }

    /// Whether none of its keys is set.
    pub(super) fn is_blank(&self) -> bool {
        self.names().all(|key| self.set(key).is_none())
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, RequestError> {
        match self.set(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string", kind(other))),
        }
    }

    /// A switch, off unless it is set. A text counts as the word that it is, as in the resource in use today.
    pub(super) fn flag(&self, key: &str) -> Result<bool, RequestError> {
        match self.set(key) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(Value::String(text)) if is_word(text, "true") => Ok(true),
            Some(Value::String(text)) if is_word(text, "false") => Ok(false),
            Some(other) => Err(self.wrong(key, "true or false", kind(other))),
        }
    }

    /// A time; zero counts as not set.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, RequestError> {
        const EXPECTED: &str =
            "a duration such as \"90s\" or \"1h30m\", or a whole number of nanoseconds";
        let (parsed, value) = match self.set(key) {
            None => return Ok(None),
            Some(value @ Value::String(text)) => (duration::parse(text), value),
            Some(value @ Value::Number(number)) => match number.as_i128() {
                Some(nanos) => (duration::from_nanos(nanos), value),
                None => return Err(self.wrong(key, EXPECTED, value.to_string())),
            },
            Some(other) => return Err(self.wrong(key, EXPECTED, kind(other))),
        };
        match parsed {
            Ok(time) => Ok(Some(time).filter(|time| !time.is_zero())),
            Err(reason) => Err(RequestError::Duration {
                key: self.path_of(key),
                found: terminal::one_line(&value.to_string()),
                reason,
            }),
        }
    }

    /// An object, without keys when it is not set.
    pub(super) fn object(&self, key: &str) -> Result<Keys<'a>, RequestError> {
        let map = match self.set(key) {
            None => None,
            Some(Value::Object(map)) => Some(map),
            Some(other) => return Err(self.wrong(key, "an object", kind(other))),
        };
        Ok(Keys {
            path: self.path_of(key),
            map,
        })
    }

    /// A list of objects, empty when it is not set.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Keys<'a>>, RequestError> {
        let items = match self.set(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(key, "a list of objects", kind(other))),
        };
        items
            .iter()
            .enumerate()
            .map(|(n, item)| match item {
                Value::Object(map) => Ok(Keys {
                    path: format!("{}[{n}]", self.path_of(key)),
                    map: Some(map),
                }),
                other => Err(self.wrong(&format!("{key}[{n}]"), "an object", kind(other))),
            })
            .collect()
    }

    /// The complaint that the value of `key` is not what it should be.
    pub(super) fn wrong(
        &self,
        key: &str,
        expected: &'static str,
        found: impl Into<String>,
    ) -> RequestError {
        RequestError::Wrong {
            key: self.path_of(key),
            expected,
            found: found.into(),
        }
    }

    /// The keys that it has.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The name of a key, with those that lead to it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

fn is_word(text: &str, word: &str) -> bool {
    text.trim().eq_ignore_ascii_case(word)
}

/// What kind of value it is; never the value, which may be a secret.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
