//! A template is rendered.

use super::TemplateError;
use super::format::shown;
use super::functions::{self, Function, is_true};
use super::parse::{Command, Node, Operand, Pipeline, What};
use crate::value::{Number, Value, Variables};

/// The longest text that a template may make, in bytes.
const LONGEST: usize = 16 << 20;
/// The most steps that it may take.
const MOST_STEPS: usize = 100_000;

pub(super) fn render(
    text: &str,
    nodes: &[Node],
    variables: &Variables,
) -> Result<String, TemplateError> {
    let root = Value::Map(variables.clone());
    let mut run = Run {
        text,
        output: String::new(),
        variables: vec![("$".to_owned(), root.clone())],
        steps: 0,
    };
    run.list(nodes, &root)?;
    Ok(run.output)
}

/// How a list of parts ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    text: &'a str,
    output: String,
    variables: Vec<(String, Value)>,
    steps: usize,
}

impl Run<'_> {
    fn fail<T>(&self, operand: &Operand, words: &str) -> Result<T, TemplateError> {
        Err(TemplateError::run(
            self.text,
            operand.at,
            &operand.written,
            words,
        ))
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.output.len() > LONGEST {
            return Err(TemplateError::parse(
                self.text,
                0,
                "it makes a text that is too long",
            ));
        }
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    match value {
                        Value::Null => self.output.push_str("<no value>"),
                        value => self.output.push_str(&shown(&value)),
                    }
                }
            }
            Node::If(pipeline, body, otherwise) => {
                let outside = self.variables.len();
                let is_so = is_true(&self.pipeline(pipeline, dot)?);
                let flow = self.list(if is_so { body } else { otherwise }, dot)?;
                self.variables.truncate(outside);
                return Ok(flow);
            }
            Node::With(pipeline, body, otherwise) => {
                let outside = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let flow = match is_true(&value) {
                    true => self.list(body, &value)?,
                    false => self.list(otherwise, dot)?,
                };
                self.variables.truncate(outside);
                return Ok(flow);
            }
            Node::Range(pipeline, body, otherwise) => {
                return self.range(pipeline, body, otherwise, dot);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let outside = self.variables.len();
        let over = self.commands(pipeline, dot)?;
        let written = &pipeline.commands[0].words[0];
        let items: Vec<(Value, Value)> = match over {
            Value::Null => Vec::new(),
            Value::List(items) => {
                let numbered = items.into_iter().enumerate();
                numbered
                    .map(|(at, item)| (Value::Number(Number::whole(at as i128)), item))
                    .collect()
            }
            Value::Map(items) => items
                .into_iter()
                .map(|(name, item)| (Value::Text(name), item))
                .collect(),
            Value::Number(number) if number.as_whole().is_some_and(|n| n <= MOST_STEPS as i128) => {
                let numbers = (0..number.as_whole().unwrap_or_default())
                    .map(|n| Value::Number(Number::whole(n)));
                numbers.map(|number| (number.clone(), number)).collect()
            }
            other => {
                return self.fail(
                    written,
                    &format!("range can't iterate over {}", shown(&other)),
                );
            }
        };
        if items.is_empty() {
            let flow = self.list(otherwise, dot)?;
            self.variables.truncate(outside);
            return Ok(flow);
        }
        for (key, item) in items {
            let before = self.variables.len();
            match pipeline.variables.as_slice() {
                [] => {}
                [name] => self.set(name, item.clone(), pipeline.declares),
                [first, second, ..] => {
                    self.set(first, key, pipeline.declares);
                    self.set(second, item.clone(), pipeline.declares);
                }
            }
            let flow = self.list(body, &item)?;
            self.variables.truncate(before);
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(outside);
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        let known = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match known {
            Some((_, old)) if !declares => *old = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        self.steps += 1;
        let (first, arguments) = command.words.split_first().expect("a command has a word");
        if let What::Function(function) = &first.what {
            return self.call(function, first, arguments, dot, piped);
        }
        if !arguments.is_empty() || piped.is_some() {
            let words = format!("can't give argument to non-function {}", first.written);
            return self.fail(first, &words);
        }
        self.operand(first, dot)
    }

    fn call(
        &mut self,
        function: &Function,
        name: &Operand,
        arguments: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        // These two leave the rest alone once they know.
        if let Function::And | Function::Or = function {
            let stops_at = matches!(function, Function::Or);
            let mut last = None;
            for argument in arguments {
                let value = self.operand(argument, dot)?;
                if is_true(&value) == stops_at {
                    return Ok(value);
                }
                last = Some(value);
            }
            return match piped.or(last) {
                Some(value) => Ok(value),
                None => self.fail(
                    name,
                    &format!(
                        "wrong number of args for {}: want at least 1 got 0",
                        name.written
                    ),
                ),
            };
        }
        let mut values = Vec::new();
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(piped);
        functions::call(function, &values).or_else(|words| match words {
            functions::Wrong::Count(words) => self.fail(
                name,
                &format!("wrong number of args for {}: {words}", name.written),
            ),
            functions::Wrong::Value(words) => {
                self.fail(name, &format!("error calling {}: {words}", name.written))
            }
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match &operand.what {
            What::Literal(value) => Ok(value.clone()),
            What::Dot => Ok(dot.clone()),
            What::Field(fields) => self.fields(operand, dot, fields),
            What::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map(|(_, value)| value.clone()).unwrap_or_default();
                self.fields(operand, &value, fields)
            }
            What::Pipeline(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot)?;
                self.fields(operand, &value, fields)
            }
            What::Function(function) => self.call(function, operand, &[], dot, None),
        }
    }

    fn fields(
        &self,
        operand: &Operand,
        value: &Value,
        fields: &[String],
    ) -> Result<Value, TemplateError> {
        let mut value = value;
        for name in fields {
            value = match value {
                Value::Map(items) => match items.get(name) {
                    Some(value) => value,
                    None => {
                        return self.fail(operand, &format!("map has no entry for key \"{name}\""));
                    }
                },
                Value::Null => {
                    return self.fail(
                        operand,
                        &format!("nil pointer evaluating interface {{}}.{name}"),
                    );
                }
                _ => {
                    return self.fail(
                        operand,
                        &format!("can't evaluate field {name} in type interface {{}}"),
                    );
                }
            };
        }
        Ok(value.clone())
    }
}
