//! Values of a document as values of the template engine, and back.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind};

use crate::value::{MOST_DEPTH, Map, Value, python_str};

pub(super) fn to_engine(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(is_true) => minijinja::Value::from(*is_true),
        Value::Int(number) => match i64::try_from(*number) {
            Ok(number) => minijinja::Value::from(number),
            Err(_) => minijinja::Value::from(*number),
        },
        Value::Float(number) => minijinja::Value::from(*number),
        Value::Text(text) => minijinja::Value::from(text.as_str()),
        Value::List(items) => items.iter().map(to_engine).collect(),
        Value::Map(map) => {
            let pairs = map
                .iter()
                .map(|(name, value)| (name.as_str(), to_engine(value)));
            pairs.collect()
        }
    }
}

pub(super) fn from_engine(value: &minijinja::Value) -> Result<Value, Error> {
    from_engine_at(value, 1)
}

fn from_engine_at(value: &minijinja::Value, depth: usize) -> Result<Value, Error> {
    if depth > MOST_DEPTH {
        return Err(invalid("a value is nested too deeply"));
    }
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => Value::Int(i128::try_from(value.clone())?),
        ValueKind::Number => match f64::try_from(value.clone())? {
            number if number.is_finite() => Value::Float(number),
            _ => Value::Text(value.to_string()),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?;
            let items = items.map(|item| from_engine_at(&item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()? {
                let below = value.get_item(&key)?;
                let name = python_str(&from_engine_at(&key, depth + 1)?);
                map.insert(name, from_engine_at(&below, depth + 1)?);
            }
            Value::Map(map)
        }
        _ => Value::Text(value.to_string()),
    })
}

pub(super) fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.into())
}
