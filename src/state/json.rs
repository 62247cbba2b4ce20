//! JSON, read in the order in which it is written, and written as Python writes it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::value::{MOST_DEPTH, Map, Value, python_float};

/// Why a text is no JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is not written as JSON is.
    #[error("it is not JSON: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is more in one another than is read.
    #[error("it is nested more than {MOST_DEPTH} levels deep")]
    TooDeep,
}

/// Reads one value. Of several of one name in a map, the last counts.
///
/// # Errors
/// [`JsonError`].
pub fn read(text: &str) -> Result<Value, JsonError> {
    // The library refuses what is much deeper, and so much that it would not end well.
    let value: Value = serde_json::from_str(text)?;
    match value.depth() {
        0..=MOST_DEPTH => Ok(value),
        _ => Err(JsonError::TooDeep),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Value, E> {
        Ok(Value::Bool(is_true))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        match number.is_finite() {
            true => Ok(Value::Float(number)),
            false => Err(E::custom("a number is too large")),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = from.next_entry::<String, Value>()? {
            map.insert(name, value);
        }
        Ok(Value::Map(map))
    }
}

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// On one line, with a blank after each comma and colon.
    Line,
    /// A line for each value, each level so many blanks further in.
    Indented(usize),
}

/// Writes a value as Python's `json.dumps` does: whatever is not ASCII is escaped.
pub fn write(value: &Value, layout: Layout) -> String {
    let mut out = String::new();
    write_at(value, layout, 0, &mut out);
    out
}

fn write_at(value: &Value, layout: Layout, level: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(is_true) => out.push_str(if *is_true { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&python_float(*number)),
        Value::Text(text) => write_text(text, out),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::Map(map) if map.is_empty() => out.push_str("{}"),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                separate(n, layout, level + 1, out);
                write_at(item, layout, level + 1, out);
            }
            end(layout, level, out);
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (n, (name, value)) in map.iter().enumerate() {
                separate(n, layout, level + 1, out);
                write_text(name, out);
                out.push_str(": ");
                write_at(value, layout, level + 1, out);
            }
            end(layout, level, out);
            out.push('}');
        }
    }
}

fn separate(n: usize, layout: Layout, level: usize, out: &mut String) {
    if n > 0 {
        out.push(',');
    }
    match layout {
        Layout::Line if n > 0 => out.push(' '),
        Layout::Line => {}
        Layout::Indented(_) => end(layout, level, out),
    }
}

fn end(layout: Layout, level: usize, out: &mut String) {
    if let Layout::Indented(blanks) = layout {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', level * blanks));
    }
}

/// Writes a text in double quotes.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn json_keeps_its_order_and_the_last_of_one_name() {
        let text = r#"{"z": 1, "a": [true, null, 1.5, "ü\n\ud83d\ude00"], "z": 2, "m": {}}"#;

        let value = read(text).unwrap();

        assert_eq!(
            write(&value, Layout::Line),
            r#"{"z": 2, "a": [true, null, 1.5, "\u00fc\n\ud83d\ude00"], "m": {}}"#
        );
        assert_eq!(
            write(value.get("a").unwrap(), Layout::Indented(2)),
            "[\n  true,\n  null,\n  1.5,\n  \"\\u00fc\\n\\ud83d\\ude00\"\n]"
        );
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        for text in ["", "{", "[1,]", "NaN", "1e999", "\"\u{1}\"", "[1] 2"] {
            assert!(read(text).is_err(), "{text}");
        }
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(&nested(MOST_DEPTH)).is_ok());
        for levels in [MOST_DEPTH + 1, 100_000] {
            assert!(read(&nested(levels)).is_err(), "{levels}");
        }
    }
}
