//! What a variable has to be.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use serde_json::Value as Json;

use super::wire;
use crate::value::{Value, Variables};

/// What a variable has to be.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its kind, if only one is allowed.
    pub kind: Option<Kind>,
    /// What it is where it is not given.
    pub default: Option<Value>,
    /// What it may be.
    pub choices: Vec<Value>,
    /// What a string has to match as a whole.
    pub pattern: Option<Regex>,
    /// Whether it has to be given.
    pub is_required: bool,
    /// Whether its value is shown nowhere.
    pub is_secret: bool,
}

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    String,
    /// A number.
    Number,
    /// A number without a point.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An array.
    List,
    /// An object.
    Map,
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Parameter) -> bool {
        let pattern = |of: &Parameter| {
            of.pattern
                .as_ref()
                .map(|pattern| pattern.as_str().to_owned())
        };
        self.kind == other.kind
            && self.default == other.default
            && self.choices == other.choices
            && pattern(self) == pattern(other)
            && self.is_required == other.is_required
            && self.is_secret == other.is_secret
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        Some(match text {
            "string" => Kind::String,
            "number" => Kind::Number,
            "integer" => Kind::Integer,
            "boolean" => Kind::Boolean,
            "list" => Kind::List,
            "map" => Kind::Map,
            _ => return None,
        })
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
            Kind::List => "list",
            Kind::Map => "map",
        }
    }

    fn has(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Integer, Value::Number(number)) => number.is_whole(),
            (Kind::String, Value::Text(_))
            | (Kind::Number, Value::Number(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::List, Value::List(_))
            | (Kind::Map, Value::Map(_)) => true,
            _ => false,
        }
    }
}

impl Parameter {
    pub(super) fn new(wire: wire::Parameter) -> Result<Parameter, String> {
        let value =
            |json: Json| serde_json::from_str(&json.to_string()).map_err(|err| err.to_string());
        let kind = match wire.kind.as_deref() {
            None => None,
            Some(name) => Some(Kind::parse(name).ok_or_else(|| {
                format!("type is string, number, integer, boolean, list or map, not \"{name}\"")
            })?),
        };
        let pattern = match &wire.pattern {
            None => None,
            Some(text) => {
                let whole = Regex::new(&format!("^(?:{text})$"));
                Some(whole.map_err(|err| format!("pattern cannot be read: {err}"))?)
            }
        };
        let parameter = Parameter {
            kind,
            default: wire.default.map(value).transpose()?,
            choices: wire
                .choices
                .unwrap_or_default()
                .into_iter()
                .map(value)
                .collect::<Result<_, _>>()?,
            pattern,
            is_required: wire.required.is_some_and(|flag| flag.0),
            is_secret: wire.secret.is_some_and(|flag| flag.0),
        };
        if let Some(default) = &parameter.default {
            parameter
                .check(default)
                .map_err(|fault| format!("default {fault}"))?;
        }
        Ok(parameter)
    }

    /// Checks a value; the fault does not show it.
    fn check(&self, value: &Value) -> Result<(), String> {
        if let Some(kind) = self.kind
            && !kind.has(value)
        {
            return Err(format!(
                "is {}, and has to be of type {}",
                value.kind(),
                kind.name()
            ));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> = self
                .choices
                .iter()
                .filter_map(|one| serde_json::to_string(one).ok())
                .collect();
            return Err(format!("is none of {}", choices.join(", ")));
        }
        if let Some(pattern) = &self.pattern {
            let Value::Text(text) = value else {
                return Err(format!("is {}, and has to be a string", value.kind()));
            };
            // One that takes too long to match does not match.
            if !pattern.is_match(text).unwrap_or(false) {
                return Err(format!("does not match {:?}", pattern.as_str()));
            }
        }
        Ok(())
    }
}

/// Checks variables, and adds those that have a default.
///
/// # Errors
/// The first fault, which names the variable.
pub fn complete(
    parameters: &BTreeMap<String, Parameter>,
    variables: &mut Variables,
) -> Result<(), String> {
    if let Some(unknown) = variables
        .keys()
        .find(|name| !parameters.contains_key(*name))
    {
        let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
        return Err(format!(
            "there is no parameter \"{unknown}\"; there are: {}",
            known.join(", ")
        ));
    }
    for (name, parameter) in parameters {
        match (variables.get(name), &parameter.default) {
            (Some(value), _) => {
                parameter
                    .check(value)
                    .map_err(|fault| format!("parameter \"{name}\" {fault}"))?;
            }
            (None, Some(default)) => {
                variables.insert(name.clone(), default.clone());
            }
            (None, None) if parameter.is_required => {
                return Err(format!("parameter \"{name}\" is missing"));
            }
            (None, None) => {}
        }
    }
    Ok(())
}
