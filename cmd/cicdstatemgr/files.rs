//! The files that the user names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use state::json;
use state::store::MOST_BYTES;
use state::value::Value;
use state::yaml;

use super::errors::Failure;

/// Reads a file as text; `what` is what the error calls it.
pub fn text(what: &str, path: &str) -> Result<String, Failure> {
    let failed = |err: std::io::Error| {
        let path = terminal::one_line(path);
        Failure::new(format!("cannot read {what} `{path}`: {err}"))
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MOST_BYTES as u64 + 1).read_to_string(&mut text);
    match read.map_err(failed)? {
        0..=MOST_BYTES => Ok(text),
        _ => Err(Failure::new(format!(
            "cannot read {what} `{}`: it has more than {MOST_BYTES} bytes",
            terminal::one_line(path)
        ))),
    }
}

/// Reads a file of YAML, of which JSON is a part.
pub fn yaml(what: &str, path: &str) -> Result<Value, Failure> {
    let text = text(what, path)?;
    yaml::read(&text).map_err(|err| {
        let path = terminal::one_line(path);
        Failure::new(format!("cannot read {what} `{path}`: {err}"))
    })
}

/// Reads the file of a value `file://…`, if there is one.
pub fn of_value(path: &str) -> Option<String> {
    match Path::new(path).is_file() {
        true => text("the value", path).ok(),
        false => None,
    }
}

/// The settings of a repository, as the pool's source has them.
pub fn as_source(settings: &state::value::Map) -> serde_json::Value {
    let text = json::write(&Value::Map(settings.clone()), json::Layout::Line);
    serde_json::from_str(&text).unwrap_or_default()
}
