//! What `match` says: which locks will do, as JSON, both ways.
//!
//! ```text
//! {region: [eu-west-1, eu-central-1],          one of these values
//!  any_of: [env-1, {gpu: true}],               this lock, or one that says so
//!  none_of: [{state: broken}]}
//! ```
//!
//! All of it must be true. In `any_of` and `none_of` stand names of locks, and objects of the same kind. Within the value of a
//! key they are about what is below that key.

use serde_json::{Map, Value, json};

use crate::lock::LockName;
use crate::metadata::wanted;
use crate::operation::{Condition, Test, Wanted};

const ANY_OF: &str = "any_of";
const NONE_OF: &str = "none_of";

/// How deep expressions may stand in each other.
const DEEPEST: usize = 32;

/// How many conditions there may be: they stand in the line for everybody to read.
const MOST: usize = 500;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in it, such as `.any_of[1].region`; empty for the whole.
    pub at: String,
    /// What should stand there.
    pub expected: &'static str,
    /// What does.
    pub found: String,
}

/// Reads an expression.
///
/// # Errors
/// The first [`Problem`].
pub fn read(value: &Value) -> Result<Vec<Condition>, Problem> {
    let mut reader = Reader { left: MOST };
    let Value::Object(map) = value else {
        return Err(problem("", "an object", kind(value)));
    };
    reader.all("", "", map, 0)
}

/// Writes conditions so that [`read`] reads what says the same. A key can stand in an object once: a further condition for it is
/// written as the opposite of its opposite.
pub fn write(conditions: &[Condition]) -> Value {
    let mut map = Map::new();
    let mut none_of = Vec::new();
    for Condition { path, value } in conditions {
        let (key, value) = match value {
            Wanted::NoneOf(tests) => {
                none_of.extend(tests.iter().map(test_as_json));
                continue;
            }
            Wanted::AnyOf(tests) => (
                ANY_OF,
                Value::Array(tests.iter().map(test_as_json).collect()),
            ),
            plain => (path.as_str(), as_json(plain)),
        };
        if map.contains_key(key) {
            none_of.push(json!({NONE_OF: [{key: value}]}));
        } else {
            map.insert(key.to_owned(), value);
        }
    }
    if !none_of.is_empty() {
        map.insert(NONE_OF.to_owned(), none_of.into());
    }
    Value::Object(map)
}

fn test_as_json(test: &Test) -> Value {
    match test {
        Test::Named(lock) => lock.as_str().into(),
        Test::All(conditions) => write(conditions),
    }
}

fn as_json(wanted: &Wanted) -> Value {
    match wanted {
        Wanted::Text(text) => Value::String(text.clone()),
        Wanted::Number(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Wanted::Switch(on) => Value::Bool(*on),
        Wanted::OneOf(values) => Value::Array(values.iter().map(as_json).collect()),
        Wanted::AnyOf(tests) | Wanted::NoneOf(tests) => tests.iter().map(test_as_json).collect(),
    }
}

struct Reader {
    /// How many conditions there may still be.
    left: usize,
}

impl Reader {
    /// What an object says of the value at `path`.
    fn all(
        &mut self,
        at: &str,
        path: &str,
        map: &Map<String, Value>,
        depth: usize,
    ) -> Result<Vec<Condition>, Problem> {
        if depth > DEEPEST {
            return Err(problem(at, "nested no deeper than that", "more"));
        }
        let mut conditions = Vec::new();
        for (key, value) in map {
            let at = format!("{at}.{key}");
            match key.as_str() {
                ANY_OF | NONE_OF => {
                    let tests = self.tests(&at, path, value, depth)?;
                    conditions.push(self.one(
                        &at,
                        Condition {
                            path: String::new(),
                            value: match key.as_str() {
                                ANY_OF => Wanted::AnyOf(tests),
                                _ => Wanted::NoneOf(tests),
                            },
                        },
                    )?);
                    continue;
                }
                _ => {}
            }
            let path = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            if let Value::Object(map) = value {
                conditions.extend(self.all(&at, &path, map, depth + 1)?);
                continue;
            }
            // They stand in the line for others to read, one on each line.
            if path.is_empty()
                || path.contains('=')
                || path.trim() != path
                || path.contains(char::is_control)
            {
                return Err(problem(
                    &at,
                    "a key without `=`, on one line, and not empty",
                    "another key",
                ));
            }
            let value = match value {
                Value::Array(values) => self.one_of(&at, values)?,
                value => plain(&at, value)?,
            };
            conditions.push(self.one(&at, Condition { path, value })?);
        }
        Ok(conditions)
    }

    /// One more, if there may be.
    fn one(&mut self, at: &str, condition: Condition) -> Result<Condition, Problem> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| problem(at, "no more than 500 conditions", "more"))?;
        Ok(condition)
    }

    fn one_of(&mut self, at: &str, values: &[Value]) -> Result<Wanted, Problem> {
        if values.is_empty() {
            return Err(problem(
                at,
                "a list with at least one value",
                "an empty one",
            ));
        }
        let mut all = Vec::new();
        for (n, value) in values.iter().enumerate() {
            all.push(plain(&format!("{at}[{n}]"), value)?);
        }
        Ok(match <[Wanted; 1]>::try_from(all) {
            Ok([one]) => one,
            Err(all) => Wanted::OneOf(all),
        })
    }

    fn tests(
        &mut self,
        at: &str,
        path: &str,
        value: &Value,
        depth: usize,
    ) -> Result<Vec<Test>, Problem> {
        const EXPECTED: &str = "a list of names of locks and of objects, with at least one";
        let list = match value {
            Value::Array(list) if list.is_empty() => {
                return Err(problem(at, EXPECTED, "an empty one"));
            }
            Value::Array(list) => list,
            other => return Err(problem(at, EXPECTED, kind(other))),
        };
        let mut tests = Vec::new();
        for (n, item) in list.iter().enumerate() {
            let at = format!("{at}[{n}]");
            tests.push(match item {
                Value::String(name) if path.is_empty() => {
                    let name = LockName::new(name);
                    let name = name.map_err(|why| {
                        problem(&at, "the name of a lock, or an object", why.to_string())
                    })?;
                    Test::Named(name)
                }
                Value::Object(map) if !map.is_empty() => {
                    Test::All(self.all(&at, path, map, depth + 1)?)
                }
                Value::Object(_) => {
                    return Err(problem(
                        &at,
                        "an object with at least one key",
                        "an empty one",
                    ));
                }
                Value::String(_) => {
                    return Err(problem(
                        &at,
                        "an object: names of locks stand in the outermost lists alone",
                        "a string",
                    ));
                }
                other => {
                    return Err(problem(
                        &at,
                        "the name of a lock, or an object",
                        kind(other),
                    ));
                }
            });
        }
        Ok(tests)
    }
}

/// One value.
fn plain(at: &str, value: &Value) -> Result<Wanted, Problem> {
    let expected = "a string, a number, true or false, on one line; or a list of these";
    let Some(wanted) = wanted(value) else {
        return Err(problem(at, expected, kind(value)));
    };
    let text = wanted.to_string();
    if text.trim() != text || text.contains(char::is_control) {
        return Err(problem(at, expected, "another value"));
    }
    Ok(wanted)
}

fn problem(at: &str, expected: &'static str, found: impl Into<String>) -> Problem {
    Problem {
        at: terminal::one_line(at),
        expected,
        found: found.into(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
