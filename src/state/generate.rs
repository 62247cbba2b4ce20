//! Generators: values that are made from other values of the document.

use crate::event::{EventError, Work, shared, template_of};
use crate::log::Level;
use crate::path::Path;
use crate::value::{Map, Value};

impl Work<'_> {
    /// Runs the generator to which a path leads; says whether there was exactly one.
    ///
    /// # Errors
    /// [`EventError`] when it cannot be read, or what it makes cannot be set.
    pub fn generate(&mut self, expression: &str) -> Result<(), EventError> {
        let wrong = |what: String| EventError::Setting {
            handler: format!("the generator `{}`", terminal::one_line(expression)),
            what,
        };
        let path = Path::parse(expression)?;
        let found: Vec<Value> = path.find(&self.document)?.into_iter().cloned().collect();
        let generator = match &found[..] {
            [Value::Map(generator)] => generator.clone(),
            [Value::Null] => Map::new(),
            [other] => return Err(wrong(format!("it must be a map, and is {}", other.kind()))),
            found => {
                let count = found.len();
                return Err(wrong(format!(
                    "the path must lead to one value, and leads to {count}"
                )));
            }
        };
        for (name, item) in &generator {
            let item = item
                .as_map()
                .ok_or_else(|| wrong(format!("`{name}` must be a map, and is {}", item.kind())))?;
            self.generate_item(&wrong, item)?;
        }
        Ok(())
    }

    fn generate_item(
        &mut self,
        wrong: &dyn Fn(String) -> EventError,
        item: &Map,
    ) -> Result<(), EventError> {
        let context = self.context()?.with("generator", shared(item.clone()));
        if !self.passes(item, &context, true) {
            return Ok(());
        }
        let sets = match item.get("set") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::List(sets)) => sets.clone(),
            Some(other) => {
                return Err(wrong(format!(
                    "`set` must be a list, and is {}",
                    other.kind()
                )));
            }
        };
        for set in &sets {
            let (Some(key), Some(value)) = (set.get("key"), set.get("value")) else {
                self.log.tell(
                    Level::Warning,
                    "a generator's `set` has no `key` or no `value`, skipping",
                );
                continue;
            };
            let context = self.context()?.with("generator", shared(item.clone()));
            let key = self.render(&template_of(key), &context);
            if key.trim().is_empty() || !value.is_truthy() {
                continue;
            }
            let value = self.render(&template_of(value), &context);
            self.set(&key, Value::Text(value))?;
        }
        Ok(())
    }
}
