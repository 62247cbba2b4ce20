//! Changes as they are written: `PATH=VALUE`, several with `|` between them.

use super::{Change, Operation, OperationError, Place};
use crate::json;
use crate::value::Value;
use crate::yaml;

/// A list, at the end of a path.
const LIST: &str = "[]";

/// A list that has each item once, at the end of a path.
const SET: &str = "{}";

/// A part of an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Pair {
    /// It is a change.
    Operation(Operation),
    /// It is none, which is told and passed over: no `=`, or nothing on one of its sides.
    Invalid(String),
}

/// Reads the argument of a `--set`: one or several changes. `read_file` gives what is in a file of this path, if there is
/// one.
///
/// # Errors
/// [`OperationError`].
pub fn sets(
    argument: &str,
    read_file: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Vec<Pair>, OperationError> {
    let parts = split(argument, '|', usize::MAX);
    parts.into_iter().map(|part| set(part, read_file)).collect()
}

/// Reads one change of a `--set`.
///
/// # Errors
/// [`OperationError`].
pub fn set(
    part: &str,
    read_file: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Pair, OperationError> {
    let invalid = || Ok(Pair::Invalid(part.to_owned()));
    let [path, value] = split(part, '=', 2)[..] else {
        return invalid();
    };
    let (path, value) = (path.trim(), value.trim().replace("\\|", "|"));
    if path.is_empty() || value.is_empty() {
        return invalid();
    }
    let content = value.strip_prefix("file://").and_then(read_file);
    let value = content.map_or(Value::Text(value), from_file);
    at(path, value).map(Pair::Operation)
}

/// The change of a setter that is not on the command line, whose value is a text and no file.
///
/// # Errors
/// [`OperationError`].
pub fn setter(path: &str, value: Value) -> Result<Operation, OperationError> {
    at(path.trim(), value)
}

/// Reads `PATH=JSON`.
///
/// # Errors
/// [`OperationError`].
pub fn json(argument: &str) -> Result<Operation, OperationError> {
    let (path, value) = halves(argument, "PATH=JSON")?;
    let value = json::read(value).map_err(|err| OperationError::Json {
        path: path.to_owned(),
        why: err.to_string(),
    })?;
    at(path, value)
}

/// Reads `PATH=OLD=>NEW`.
///
/// # Errors
/// [`OperationError`].
pub fn set_if(argument: &str) -> Result<Operation, OperationError> {
    const FORM: &str = "PATH=OLD=>NEW";
    let (path, rest) = halves(argument, FORM)?;
    let (was, to) = rest.split_once("=>").ok_or_else(|| form(argument, FORM))?;
    Ok(Operation {
        place: place(path)?,
        change: Change::SetIf {
            was: was.trim().to_owned(),
            to: Value::from(to.trim()),
        },
    })
}

/// Reads `PATH` or `PATH=N`.
///
/// # Errors
/// [`OperationError`].
pub fn increment(argument: &str) -> Result<Operation, OperationError> {
    const FORM: &str = "PATH or PATH=N, where N is a whole number";
    let (path, by) = match split(argument, '=', 2)[..] {
        [path, by] => (
            path.trim(),
            by.trim().parse().map_err(|_| form(argument, FORM))?,
        ),
        _ => (argument.trim(), 1),
    };
    Ok(Operation {
        place: place(path)?,
        change: Change::Increment(by),
    })
}

/// Reads a path of names with dots between them. A backslash takes from the next dot, bracket, brace, `|`, `=` or backslash
/// what it else stands for.
///
/// # Errors
/// [`OperationError`] when a name is missing.
pub fn place(path: &str) -> Result<Place, OperationError> {
    let names = split(path, '.', usize::MAX).into_iter().map(unescaped);
    let names: Vec<String> = names.collect();
    match names.iter().any(String::is_empty) {
        true => Err(OperationError::EmptyName(path.to_owned())),
        false => Ok(Place(names)),
    }
}

/// The change that sets a value at a path, which may end with a marker.
fn at(path: &str, value: Value) -> Result<Operation, OperationError> {
    let marked = [LIST, SET].into_iter().find_map(|marker| {
        let start = path.strip_suffix(marker)?;
        (!start.ends_with('\\')).then_some((start, marker))
    });
    let (path_of_place, change) = match marked {
        None => (path, Change::Set(value)),
        Some((start, _)) if value.as_text() == Some(LIST) => (start, Change::Clear),
        Some((start, marker)) => {
            let items = match value {
                Value::Text(text) => text.split(',').map(Value::from).collect(),
                Value::List(items) => items,
                other => vec![other],
            };
            let once = marker == SET;
            (start, Change::Extend { items, once })
        }
    };
    if [LIST, SET].iter().any(|marker| has(path_of_place, marker)) {
        return Err(OperationError::Marker(path.to_owned()));
    }
    Ok(Operation {
        place: place(path_of_place)?,
        change,
    })
}

/// What stands in a file: JSON, or YAML, or any text.
fn from_file(content: String) -> Value {
    let read = json::read(&content).ok();
    let read = read.or_else(|| yaml::read(&content).ok());
    read.unwrap_or(Value::Text(content))
}

/// The two sides of the first `=`, which must be there.
fn halves<'a>(argument: &'a str, of: &'static str) -> Result<(&'a str, &'a str), OperationError> {
    match split(argument, '=', 2)[..] {
        [path, value] if !path.trim().is_empty() => Ok((path.trim(), value)),
        _ => Err(form(argument, of)),
    }
}

fn form(argument: &str, form: &'static str) -> OperationError {
    OperationError::Form {
        argument: argument.to_owned(),
        form,
    }
}

/// Splits at a sign that has no backslash before it, into so many parts at most.
fn split(text: &str, sign: char, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == sign && !is_escaped && parts.len() + 1 < most {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// Whether a text has this in it without a backslash before it.
fn has(text: &str, part: &str) -> bool {
    let mut found = text.match_indices(part);
    found.any(|(at, _)| !text[..at].ends_with('\\'))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = chars.peek().copied();
        match (c, escaped) {
            ('\\', Some('.' | '|' | '=' | '\\' | '[' | ']' | '{' | '}')) => {
                out.extend(chars.next())
            }
            _ => out.push(c),
        }
    }
    out
}
