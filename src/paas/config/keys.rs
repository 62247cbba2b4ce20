//! Keys of one section, read as what they are to be.

use std::time::Duration;

use toml::{Table, Value};

use super::ConfigError;

/// The keys of one section.
pub(super) struct Keys<'a> {
    at: &'a str,
    table: &'a Table,
}

impl<'a> Keys<'a> {
    /// Those of `table`; `at` is what messages begin with.
    pub fn new(at: &'a str, table: &'a Table) -> Keys<'a> {
        Keys { at, table }
    }

    pub fn fault(&self, key: &str, fault: &str) -> ConfigError {
        ConfigError::Key {
            at: self.at.to_owned(),
            key: key.to_owned(),
            fault: fault.to_owned(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    pub fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(key, "has to be a text")),
        }
    }

    pub fn required(&self, key: &str) -> Result<String, ConfigError> {
        match self.text(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.fault(key, "is missing")),
        }
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.fault(key, "has to be true or false")),
        }
    }

    pub fn count(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        match self.count_or_none(key)? {
            None if self.get(key).is_some() => Err(self.fault(key, "has to be more than 0")),
            count => Ok(count),
        }
    }

    /// As [`Keys::count`], where 0 stands for no limit.
    pub fn count_or_none(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Value::Integer(number)) => usize::try_from(*number),
            Some(_) => return Err(self.fault(key, "has to be a whole number")),
        };
        let number = number.map_err(|_| self.fault(key, "has to be more than 0"))?;
        Ok((number > 0).then_some(number))
    }

    pub fn seconds(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let seconds = match self.get(key) {
            None => return Ok(None),
            #[allow(clippy::cast_precision_loss, reason = "no time is that long")]
            Some(Value::Integer(number)) => *number as f64,
            Some(Value::Float(number)) => *number,
            Some(_) => f64::NAN,
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if !time.is_zero() => Ok(Some(time)),
            _ => Err(self.fault(key, "has to be a number of seconds, more than 0")),
        }
    }

    /// A text, or a list of some.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let fault = || self.fault(key, "has to be a text, or a list of texts");
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
            Some(Value::Array(list)) if !list.is_empty() => {
                let texts = list.iter().map(|one| one.as_str().map(str::to_owned));
                texts
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(fault)
                    .map(Some)
            }
            Some(_) => Err(fault()),
        }
    }
}
