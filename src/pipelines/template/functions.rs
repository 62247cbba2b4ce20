//! The functions of templates.

use std::cmp::Ordering;

use super::format::{print, printf, println, shown};
use super::shell_word;
use crate::value::{Number, Value};

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Index,
    Slice,
    Len,
    Print,
    Printf,
    Println,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Default,
    Quote,
}

/// The function of a name.
pub(super) fn named(name: &str) -> Result<Function, String> {
    Ok(match name {
        "and" => Function::And,
        "or" => Function::Or,
        "not" => Function::Not,
        "index" => Function::Index,
        "slice" => Function::Slice,
        "len" => Function::Len,
        "print" => Function::Print,
        "printf" => Function::Printf,
        "println" => Function::Println,
        "eq" => Function::Eq,
        "ne" => Function::Ne,
        "lt" => Function::Lt,
        "le" => Function::Le,
        "gt" => Function::Gt,
        "ge" => Function::Ge,
        "default" => Function::Default,
        "quote" => Function::Quote,
        "html" | "js" | "urlquery" | "call" => {
            return Err(format!(
                "function \"{name}\" is not supported; for a word of a shell there is `quote`"
            ));
        }
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

/// Why a function has no value.
pub(super) enum Wrong {
    Count(String),
    Value(String),
}

fn wrong(words: impl Into<String>) -> Wrong {
    Wrong::Value(words.into())
}

/// Whether a value counts as true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_float() != 0.0,
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(items) => !items.is_empty(),
    }
}

/// Calls a function.
pub(super) fn call(function: &Function, values: &[Value]) -> Result<Value, Wrong> {
    let exactly = |n: usize| match values.len() == n {
        true => Ok(()),
        false => Err(Wrong::Count(format!("want {n} got {}", values.len()))),
    };
    let at_least = |n: usize| match values.len() >= n {
        true => Ok(()),
        false => Err(Wrong::Count(format!(
            "want at least {n} got {}",
            values.len()
        ))),
    };
    Ok(match function {
        // Called with values that are known already.
        Function::And | Function::Or => values.last().cloned().unwrap_or_default(),
        Function::Not => {
            exactly(1)?;
            Value::Bool(!is_true(&values[0]))
        }
        Function::Index => {
            at_least(1)?;
            index(&values[0], &values[1..])?
        }
        Function::Slice => {
            at_least(1)?;
            slice(&values[0], &values[1..])?
        }
        Function::Len => {
            exactly(1)?;
            let length = match &values[0] {
                Value::Text(text) => text.len(),
                Value::List(items) => items.len(),
                Value::Map(items) => items.len(),
                Value::Null => return Err(wrong("len of nil pointer")),
                other => return Err(wrong(format!("len of {}", other.kind()))),
            };
            Value::Number(Number::whole(length as i128))
        }
        Function::Print => Value::Text(print(values)),
        Function::Println => Value::Text(println(values)),
        Function::Printf => {
            at_least(1)?;
            let Value::Text(format) = &values[0] else {
                return Err(wrong("the format is no string"));
            };
            Value::Text(printf(format, &values[1..]).map_err(wrong)?)
        }
        Function::Eq => {
            at_least(2)?;
            let mut is_any = false;
            for other in &values[1..] {
                is_any |= equal(&values[0], other)?;
            }
            Value::Bool(is_any)
        }
        Function::Ne => {
            exactly(2)?;
            Value::Bool(!equal(&values[0], &values[1])?)
        }
        Function::Lt | Function::Le | Function::Gt | Function::Ge => {
            exactly(2)?;
            let order = order(&values[0], &values[1])?;
            Value::Bool(match function {
                Function::Lt => order == Ordering::Less,
                Function::Le => order != Ordering::Greater,
                Function::Gt => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
        Function::Default => {
            exactly(2)?;
            let is_empty = match &values[1] {
                Value::Number(_) | Value::Null => false,
                other => !is_true(other),
            };
            values[usize::from(!is_empty)].clone()
        }
        Function::Quote => {
            exactly(1)?;
            Value::Text(shell_word(&shown(&values[0])))
        }
    })
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, Wrong> {
    let Some((key, rest)) = keys.split_first() else {
        return Ok(value.clone());
    };
    let item = match value {
        Value::List(items) => {
            items[place(key, items.len().saturating_sub(1))?.min(items.len())..].first()
        }
        Value::Map(items) => match key {
            // One that is missing is nothing, as in Go.
            Value::Text(name) => Some(items.get(name).unwrap_or(&Value::Null)),
            other => {
                return Err(wrong(format!(
                    "value is {}; should be a string",
                    other.kind()
                )));
            }
        },
        Value::Text(text) => {
            let at = place(key, text.len().saturating_sub(1))?;
            let byte = text.as_bytes().get(at).copied();
            let byte = byte.ok_or_else(|| wrong(format!("index out of range: {at}")))?;
            return index(&Value::Number(Number::whole(i128::from(byte))), rest);
        }
        Value::Null => return Err(wrong("index of untyped nil")),
        other => return Err(wrong(format!("can't index {}", other.kind()))),
    };
    let item = item.ok_or_else(|| wrong(format!("index out of range: {}", shown(key))))?;
    index(item, rest)
}

fn place(key: &Value, most: usize) -> Result<usize, Wrong> {
    let Value::Number(number) = key else {
        return Err(wrong(format!(
            "cannot index slice/array with {}",
            key.kind()
        )));
    };
    let at = number.as_whole().and_then(|at| usize::try_from(at).ok());
    let at = at.filter(|at| *at <= most);
    at.ok_or_else(|| wrong(format!("index out of range: {}", number.text())))
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, Wrong> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(wrong(format!("can't slice {}", other.kind()))),
    };
    if bounds.len() > 2 {
        return Err(wrong(format!("too many slice indexes: {}", bounds.len())));
    }
    let start = bounds.first().map_or(Ok(0), |bound| place(bound, length))?;
    let end = bounds
        .get(1)
        .map_or(Ok(length), |bound| place(bound, length))?;
    if start > end {
        return Err(wrong(format!("invalid slice index: {start} > {end}")));
    }
    match value {
        Value::List(items) => Ok(Value::List(items[start..end].to_vec())),
        Value::Text(text) => match text.get(start..end) {
            Some(part) => Ok(Value::Text(part.to_owned())),
            None => Err(wrong("slice cuts a character in two")),
        },
        _ => Ok(Value::Null),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, Wrong> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Text(_), Value::Text(_)) => Ok(a == b),
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            Err(wrong("non-comparable type: a list or a map"))
        }
        _ => Err(wrong("incompatible types for comparison")),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, Wrong> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.compare(b).ok_or_else(|| wrong("no numbers to compare"))
        }
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Number(_) | Value::Text(_), Value::Number(_) | Value::Text(_)) => {
            Err(wrong("incompatible types for comparison"))
        }
        _ => Err(wrong("invalid type for comparison")),
    }
}
