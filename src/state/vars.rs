//! What templates can name besides the document: the config, and the variables of `--tmpl-ctx-var`.

use std::sync::Arc;

use crate::operation::{Operation, OperationError, apply_all, setter};
use crate::path::Path;
use crate::template::Context;
use crate::value::Value;

/// A variable: a place in the context, and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    path: String,
    expression: String,
}

impl Variable {
    /// Reads `PATH=EXPRESSION`.
    ///
    /// # Errors
    /// [`OperationError::Form`].
    pub fn parse(argument: &str) -> Result<Variable, OperationError> {
        match argument.split_once('=') {
            Some((path, expression)) if !path.trim().is_empty() => Ok(Variable {
                path: path.trim().to_owned(),
                expression: expression.trim().to_owned(),
            }),
            _ => Err(OperationError::Form {
                argument: argument.to_owned(),
                form: "propPath=expression (--tmpl-ctx-var needs to be in format propPath=expression)",
            }),
        }
    }

    /// Its value: what the expression finds in a document, or else the expression itself.
    fn value(&self, document: &Value) -> Value {
        let path = Path::parse(&self.expression).ok();
        let found = path.and_then(|path| path.find(document).ok());
        match found.as_deref() {
            Some([single]) => (*single).clone(),
            Some([]) | None => Value::from(self.expression.as_str()),
            Some(several) => Value::List(several.iter().copied().cloned().collect()),
        }
    }
}

/// The changes that put variables into a context.
///
/// # Errors
/// [`OperationError`].
pub fn operations(
    variables: &[Variable],
    document: &Value,
) -> Result<Vec<Operation>, OperationError> {
    let values = variables
        .iter()
        .map(|variable| (variable, variable.value(document)));
    let set = values.filter(|(_, value)| value.is_truthy());
    set.map(|(variable, value)| setter(&variable.path, value))
        .collect()
}

/// The context of a document, with variables and the config.
///
/// # Errors
/// [`OperationError`] when a variable cannot be put in.
pub fn context(
    document: &Value,
    variables: &[Operation],
    config: &Arc<Value>,
) -> Result<Context, OperationError> {
    let mut document = document.clone();
    apply_all(variables, &mut document)?;
    Ok(Context::new(Arc::new(document)).with("configData", config.clone()))
}
