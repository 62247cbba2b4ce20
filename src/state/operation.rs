//! Changes of a document, each of one place: a list of them can be applied to a newer document as well.

mod read;

use crate::answer;
use crate::value::{MOST_DEPTH, Map, Value};

pub use read::{Pair, increment, json, place, set, set_if, sets, setter};

/// Where the id of a document stands in it.
pub const ID: [&str; 2] = ["state", "cicdContextDataId"];

/// The place of a value: the names that lead to it from the document, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Vec<String>);

/// What is done at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It becomes this.
    Set(Value),
    /// It becomes this if there is nothing, or null.
    SetIfAbsent(Value),
    /// It becomes `to` if it prints as `was`; where there is nothing, as an empty text.
    SetIf {
        /// What `--get` prints of it.
        was: String,
        /// What it becomes.
        to: Value,
    },
    /// The list there gets more items; with `once` it then has each only once, at its first place.
    Extend {
        /// The items.
        items: Vec<Value>,
        /// Whether it is a set.
        once: bool,
    },
    /// It becomes an empty list.
    Clear,
    /// It is taken away.
    Remove,
    /// The number there grows by this one; where there is nothing, from 0.
    Increment(i128),
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Where.
    pub place: Place,
    /// What.
    pub change: Change,
}

/// Why a change cannot be made. Nothing is changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Something on the way is no map.
    #[error(
        "cannot set `{place}`: `{at}` is {kind}, and only a map has values below it; unset it first"
    )]
    NotAMap {
        /// The place.
        place: String,
        /// What is no map.
        at: String,
        /// What it is.
        kind: &'static str,
    },
    /// What is to get items is no list.
    #[error("cannot add items to `{place}`: it is {kind}, and not a list")]
    NotAList {
        /// The place.
        place: String,
        /// What it is.
        kind: &'static str,
    },
    /// What is to grow is no number.
    #[error("cannot increment `{place}`: it is {kind}, and not a whole number")]
    NotANumber {
        /// The place.
        place: String,
        /// What it is.
        kind: &'static str,
    },
    /// The id, or what it stands in.
    #[error(
        "cannot change `{0}`: it has the id of the document, which names it in every data source"
    )]
    Id(String),
    /// A marker that stands elsewhere.
    #[error("cannot set `{}`: `[]` and `{{}}` are understood at the end of a path only", .0.escape_debug())]
    Marker(String),
    /// A name is missing.
    #[error("cannot set `{}`: a name in the path is empty", .0.escape_debug())]
    EmptyName(String),
    /// It would be too deep.
    #[error("cannot set `{0}`: documents are at most {MOST_DEPTH} levels deep")]
    TooDeep(String),
    /// The condition does not hold.
    #[error("`{place}` is not changed: {why}")]
    Unmet {
        /// The place.
        place: String,
        /// What it is instead.
        why: String,
    },
    /// The argument is not written as it should be.
    #[error("`{}` must have the form {form}", .argument.escape_debug())]
    Form {
        /// The argument.
        argument: String,
        /// Its form.
        form: &'static str,
    },
    /// The value is no JSON.
    #[error("the value for `{}` cannot be read: {why}", .path.escape_debug())]
    Json {
        /// The path of the argument.
        path: String,
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&terminal::one_line(&self.0.join(".")))
    }
}

impl Operation {
    /// Whether a document that has it done already stays the same when it is done again.
    pub fn is_repeatable(&self) -> bool {
        match &self.change {
            Change::Set(_) | Change::Clear | Change::Remove => true,
            Change::Extend { once, .. } => *once,
            Change::SetIfAbsent(_) | Change::SetIf { .. } | Change::Increment(_) => false,
        }
    }

    /// Changes the document; gives the new number of an increment.
    ///
    /// # Errors
    /// [`OperationError`].
    pub fn apply(&self, document: &mut Value) -> Result<Option<Value>, OperationError> {
        let Place(names) = &self.place;
        let is_start = |start: &[&str]| names.iter().zip(start).all(|(name, id)| name == id);
        if is_start(&ID) && (names.len() >= ID.len() || names.len() == 1) {
            return Err(OperationError::Id(self.place.to_string()));
        }
        if let Change::Remove = self.change {
            self.remove(document);
            return Ok(None);
        }
        let new = match &self.change {
            Change::Set(value) | Change::SetIfAbsent(value) | Change::SetIf { to: value, .. } => {
                value.depth()
            }
            Change::Extend { items, .. } => {
                1 + items.iter().map(Value::depth).max().unwrap_or_default()
            }
            Change::Clear | Change::Remove | Change::Increment(_) => 1,
        };
        if names.len() + new > MOST_DEPTH {
            return Err(OperationError::TooDeep(self.place.to_string()));
        }
        self.check(self.current(document)?)?;
        let at = self.make(document)?;
        match &self.change {
            Change::Set(value) | Change::SetIfAbsent(value) | Change::SetIf { to: value, .. } => {
                *at = value.clone();
            }
            Change::Clear => *at = Value::List(Vec::new()),
            Change::Extend { items, once } => {
                let mut all = match std::mem::replace(at, Value::Null) {
                    Value::List(all) => all,
                    // Checked: there is nothing in it.
                    _ => Vec::new(),
                };
                all.extend(items.iter().cloned());
                *at = Value::List(if *once { without_doubles(all) } else { all });
            }
            Change::Increment(by) => {
                let before = number(at).unwrap_or_default();
                *at = Value::Int(before.saturating_add(*by));
                return Ok(Some(at.clone()));
            }
            Change::Remove => {}
        }
        Ok(None)
    }

    /// The value at the place; `None` where there is nothing.
    fn current<'a>(&self, document: &'a Value) -> Result<Option<&'a Value>, OperationError> {
        let mut at = document;
        for (n, name) in self.place.0.iter().enumerate() {
            match at {
                Value::Null => return Ok(None),
                Value::Map(map) => match map.get(name) {
                    Some(value) => at = value,
                    None => return Ok(None),
                },
                other => {
                    return Err(OperationError::NotAMap {
                        place: self.place.to_string(),
                        at: Place(self.place.0[..n].to_vec()).to_string(),
                        kind: other.kind(),
                    });
                }
            }
        }
        Ok(Some(at))
    }

    /// Whether the value that is there can be changed in this way.
    fn check(&self, current: Option<&Value>) -> Result<(), OperationError> {
        let place = || self.place.to_string();
        match (&self.change, current) {
            (Change::SetIfAbsent(_), None | Some(Value::Null)) => Ok(()),
            (Change::SetIfAbsent(_), Some(_)) => Err(OperationError::Unmet {
                place: place(),
                why: "it is there already".to_owned(),
            }),
            (Change::SetIf { was, .. }, current) => {
                let printed = current.map(answer::print).unwrap_or_default();
                match printed == *was {
                    true => Ok(()),
                    false => Err(OperationError::Unmet {
                        place: place(),
                        why: "it has another value than the expected one".to_owned(),
                    }),
                }
            }
            // What Python takes for false counts as nothing.
            (Change::Extend { .. } | Change::Clear, Some(value))
                if value.is_truthy() && value.as_list().is_none() =>
            {
                Err(OperationError::NotAList {
                    place: place(),
                    kind: value.kind(),
                })
            }
            (Change::Increment(_), Some(value))
                if number(value).is_none() && *value != Value::Null =>
            {
                Err(OperationError::NotANumber {
                    place: place(),
                    kind: value.kind(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The place, made where it is not there.
    fn make<'a>(&self, document: &'a mut Value) -> Result<&'a mut Value, OperationError> {
        let mut at = document;
        for name in &self.place.0 {
            if *at == Value::Null {
                *at = Value::Map(Map::new());
            }
            at = match at {
                Value::Map(map) => map.entry(name.clone()).or_insert(Value::Null),
                other => {
                    return Err(OperationError::NotAMap {
                        place: self.place.to_string(),
                        at: name.clone(),
                        kind: other.kind(),
                    });
                }
            };
        }
        Ok(at)
    }

    fn remove(&self, document: &mut Value) {
        let Some((last, above)) = self.place.0.split_last() else {
            return;
        };
        let mut at = document;
        for name in above {
            match at {
                Value::Map(map) => match map.get_mut(name) {
                    Some(value) => at = value,
                    None => return,
                },
                _ => return,
            }
        }
        if let Value::Map(map) = at {
            map.shift_remove(last);
        }
    }
}

/// Applies changes in order; gives the number of the last increment.
///
/// # Errors
/// [`OperationError`] of the first that cannot be made.
pub fn apply_all(
    operations: &[Operation],
    document: &mut Value,
) -> Result<Option<Value>, OperationError> {
    let mut number = None;
    for operation in operations {
        number = operation.apply(document)?.or(number);
    }
    Ok(number)
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(*number),
        // As `--set` stores numbers.
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn without_doubles(items: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::HashSet::new();
    let key = |item: &Value| {
        (
            item.class(),
            crate::json::write(item, crate::json::Layout::Line),
        )
    };
    items
        .into_iter()
        .filter(|item| seen.insert(key(item)))
        .collect()
}

#[cfg(test)]
mod tests;
