//! A document: what is in one at the beginning, and whose it is.

use crate::merge::{MergeError, merge};
use crate::operation::ID;
use crate::value::{Map, Value};

/// What a document is made of.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// What the app file says.
    pub app: &'a Value,
    /// What its base files say, in order.
    pub bases: &'a [Value],
    /// Which context is taken.
    pub context: &'a str,
    /// The id.
    pub id: &'a str,
}

/// Why no document can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Something is no map.
    #[error("{what} must be a map, and is {kind}")]
    NotAMap {
        /// What.
        what: String,
        /// What it is.
        kind: &'static str,
    },
    /// There is no such context.
    #[error("there is no context `{}` in `cicd-contexts` of the app file; there are: {known}", .wanted.escape_debug())]
    NoContext {
        /// The one that is wanted.
        wanted: String,
        /// Those that there are.
        known: String,
    },
    /// Files that do not fit.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The id is empty, or cannot be one.
    #[error("the id of a document must be a text of 1 to 500 bytes without control characters")]
    Id,
}

/// The id of a document.
pub fn id_of(document: &Value) -> Option<&str> {
    document.get(ID[0])?.get(ID[1])?.as_text()
}

/// Checks that a text can be an id.
///
/// # Errors
/// [`OriginError::Id`].
pub fn check_id(id: &str) -> Result<(), OriginError> {
    match id.is_empty() || id.len() > 500 || id.contains(char::is_control) {
        true => Err(OriginError::Id),
        false => Ok(()),
    }
}

/// The names of the base files that an app file lists.
///
/// # Errors
/// [`OriginError::NotAMap`] when they are no list of names.
pub fn bases(app: &Value) -> Result<Vec<&str>, OriginError> {
    let wrong = |value: &Value| OriginError::NotAMap {
        what: "`bases` of the app file must be a list of file names; it".to_owned(),
        kind: value.kind(),
    };
    match app.get("bases") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(names)) => {
            let names = names
                .iter()
                .map(|name| name.as_text().ok_or_else(|| wrong(name)));
            names.collect()
        }
        Some(other) => Err(wrong(other)),
    }
}

impl Origin<'_> {
    /// Makes the document, and gives the templates of its variables apart: they are rendered when all else is there.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn document(&self) -> Result<(Value, Map), OriginError> {
        check_id(self.id)?;
        let mut merged = Map::new();
        for (n, part) in self.bases.iter().chain([self.app]).enumerate() {
            let what = match n == self.bases.len() {
                true => "the app file".to_owned(),
                false => format!("base file {}", n + 1),
            };
            merge(&mut merged, map_of(part, &what)?)?;
        }
        let merged = Value::Map(merged);
        let contexts = merged
            .get("cicd-contexts")
            .cloned()
            .unwrap_or(Value::Map(Map::new()));
        let contexts = map_of(&contexts, "`cicd-contexts`")?;
        let Some(context) = contexts.get(self.context) else {
            let known: Vec<&str> = contexts.keys().map(String::as_str).collect();
            return Err(OriginError::NoContext {
                wanted: self.context.to_owned(),
                known: terminal::one_line(&known.join(", ")),
            });
        };
        let mut document = map_of(context, "the context")?.clone();
        document.insert("appPipelinesConfig".to_owned(), self.app.clone());
        document.insert(
            "jinja2Macros".to_owned(),
            macros(merged.get("jinja2-macros"))?,
        );
        let state = [(ID[1], self.id), ("cicdContextName", self.context)];
        let state = state.map(|(name, value)| (name.to_owned(), Value::from(value)));
        document.insert(ID[0].to_owned(), Value::Map(Map::from_iter(state)));
        let variables = match merged.get("variables") {
            None | Some(Value::Null) => Map::new(),
            Some(variables) => map_of(variables, "`variables`")?.clone(),
        };
        Ok((Value::Map(document), variables))
    }
}

/// The macros by their names, and all of them as one text.
fn macros(by_name: Option<&Value>) -> Result<Value, OriginError> {
    let empty = Value::Map(Map::new());
    let by_name = match by_name {
        None | Some(Value::Null) => &empty,
        Some(by_name) => by_name,
    };
    let texts = map_of(by_name, "`jinja2-macros`")?.values();
    let all: String = texts.filter_map(Value::as_text).map(str::trim).collect();
    Ok(Value::Map(Map::from_iter([
        ("byName".to_owned(), by_name.clone()),
        ("all".to_owned(), Value::Text(all)),
    ])))
}

fn map_of<'a>(value: &'a Value, what: &str) -> Result<&'a Map, OriginError> {
    value.as_map().ok_or_else(|| OriginError::NotAMap {
        what: what.to_owned(),
        kind: value.kind(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::yaml;

    #[test]
    fn a_document_has_its_parts_in_the_order_of_the_original() {
        let app = yaml::read(
            "bases: [b.yaml]\njinja2-macros: {m: ' {# m #} '}\nvariables: {v: '{{ x }}'}\n\
             cicd-contexts: {stage: {channel: c, pipelines: {}}}",
        );
        let base = yaml::read(
            "jinja2-macros: {a: '{# a #}'}\ncicd-contexts: {stage: {channel: old, more: 1}}",
        );
        let (app, bases_read) = (app.unwrap(), [base.unwrap()]);
        let origin = Origin {
            app: &app,
            bases: &bases_read,
            context: "stage",
            id: "i",
        };

        let (document, variables) = origin.document().unwrap();

        assert_eq!(bases(&app).unwrap(), ["b.yaml"]);
        let expected = "channel: c\nmore: 1\npipelines: {}\nappPipelinesConfig:\n  bases:\n  - b.yaml\n  jinja2-macros:\n    \
             m: ' {# m #} '\n  variables:\n    v: '{{ x }}'\n  cicd-contexts:\n    stage:\n      channel: c\n      \
             pipelines: {}\njinja2Macros:\n  byName:\n    a: '{# a #}'\n    m: ' {# m #} '\n  all: '{# a #}{# m #}'\n\
             state:\n  cicdContextDataId: i\n  cicdContextName: stage\n";
        assert_eq!(yaml::write(&document), expected);
        assert_eq!(id_of(&document), Some("i"));
        assert_eq!(variables.get("v"), Some(&Value::from("{{ x }}")));
    }

    #[test]
    fn what_no_document_can_be_made_of_is_told() {
        for (app, context, id, words) in [
            (
                "cicd-contexts: {stage: {}, prod: {}}",
                "none",
                "i",
                "there are: stage, prod",
            ),
            ("a: 1", "stage", "i", "there is no context `stage`"),
            (
                "[1]",
                "stage",
                "i",
                "the app file must be a map, and is a list",
            ),
            (
                "cicd-contexts: {stage: text}",
                "stage",
                "i",
                "the context must be a map",
            ),
            (
                "variables: x\ncicd-contexts: {stage: {}}",
                "stage",
                "i",
                "`variables` must be a map",
            ),
            (
                "cicd-contexts: {stage: {}}",
                "stage",
                "",
                "the id of a document",
            ),
            (
                "cicd-contexts: {stage: {}}",
                "stage",
                "a\nb",
                "the id of a document",
            ),
        ] {
            let app = yaml::read(app).unwrap();
            let origin = Origin {
                app: &app,
                bases: &[],
                context,
                id,
            };

            let err = origin.document().unwrap_err().to_string();

            assert!(err.contains(words), "{err}");
        }
    }
}
