//! The tree of a template.

mod operand;

use super::TemplateError;
use super::functions::Function;
use super::lex::{Kind, Token, tokens};
use crate::value::Value;

/// How deep actions and brackets may be nested.
const DEEPEST: usize = 100;

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Shows a value, if it declares or assigns none.
    Action(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$x := a | b | c`
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub variables: Vec<String>,
    pub declares: bool,
    pub commands: Vec<Command>,
}

/// A value, or a function with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub words: Vec<Operand>,
}

/// Something with a value, where it is, and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub at: usize,
    pub written: String,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Literal(Value),
    Dot,
    /// Fields of the dot.
    Field(Vec<String>),
    /// A variable, and fields of it.
    Variable(String, Vec<String>),
    Function(Function),
    /// `(…).a.b`
    Pipeline(Pipeline, Vec<String>),
}

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        at: 0,
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        Ending::Text => Ok(nodes),
        Ending::End(at) => parser.fail(at, "unexpected {{end}}"),
        Ending::Else(at) => parser.fail(at, "unexpected {{else}}"),
    }
}

/// What a list of parts ends with.
enum Ending {
    Text,
    End(usize),
    Else(usize),
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// Those that are declared here.
    variables: Vec<String>,
    loops: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, at: usize, words: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::parse(self.text, at, words))
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn peek(&self) -> Token {
        let end = Token {
            at: self.text.len(),
            kind: Kind::End,
        };
        self.tokens.get(self.at).cloned().unwrap_or(end)
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(at, format!("nested deeper than {DEEPEST} levels"));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(Vec<Node>, Ending), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Text(text) if text.is_empty() => {}
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::Open => {
                    self.skip_space();
                    let word = self.peek();
                    let keyword = match &word.kind {
                        Kind::Word(word) => word.clone(),
                        _ => String::new(),
                    };
                    let node = match keyword.as_str() {
                        "end" => {
                            self.at += 1;
                            self.close("end")?;
                            return Ok((nodes, Ending::End(word.at)));
                        }
                        "else" => {
                            self.at += 1;
                            return Ok((nodes, Ending::Else(word.at)));
                        }
                        "if" => self.branch(word.at, Node::If)?,
                        "with" => self.branch(word.at, Node::With)?,
                        "range" => {
                            self.loops += 1;
                            let node = self.branch(word.at, Node::Range);
                            self.loops -= 1;
                            node?
                        }
                        "break" | "continue" if self.loops == 0 => {
                            return self
                                .fail(word.at, format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                        }
                        "break" | "continue" => {
                            self.at += 1;
                            self.close(&keyword)?;
                            if keyword == "break" {
                                Node::Break
                            } else {
                                Node::Continue
                            }
                        }
                        "define" | "template" | "block" => {
                            return self.fail(
                                word.at,
                                format!("{{{{{keyword}}}}} is not supported: a script entry is one template"),
                            );
                        }
                        _ => Node::Action(self.pipeline("command", &Kind::Close)?),
                    };
                    nodes.push(node);
                }
                _ => return Ok((nodes, Ending::Text)),
            }
        }
    }

    fn close(&mut self, after: &str) -> Result<(), TemplateError> {
        self.skip_space();
        let token = self.next();
        match token.kind {
            Kind::Close => Ok(()),
            _ => self.fail(token.at, format!("unexpected words in {after}")),
        }
    }

    fn branch(
        &mut self,
        at: usize,
        make: fn(Pipeline, Vec<Node>, Vec<Node>) -> Node,
    ) -> Result<Node, TemplateError> {
        self.deeper(at)?;
        let outside = self.variables.len();
        let word = match self.next().kind {
            Kind::Word(word) => word,
            _ => String::new(),
        };
        let pipeline = self.pipeline(&word, &Kind::Close)?;
        if pipeline.variables.len() > 1 && word != "range" {
            return self.fail(at, format!("too many declarations in {word}"));
        }
        let (body, end) = self.list()?;
        let otherwise = match end {
            Ending::End(_) => Vec::new(),
            Ending::Text => return self.fail(self.text.len(), "unexpected EOF"),
            Ending::Else(at) => {
                self.skip_space();
                // `else if` and `else with`: the rest is one more branch, with the same end.
                match self.peek().kind {
                    Kind::Word(next) if next == word && next != "range" => {
                        vec![self.branch(at, make)?]
                    }
                    _ => {
                        self.close("else")?;
                        // A loop's alternative is outside of it.
                        let loops = self.loops;
                        self.loops -= usize::from(word == "range");
                        let (otherwise, end) = self.list()?;
                        self.loops = loops;
                        match end {
                            Ending::End(_) => otherwise,
                            Ending::Else(at) => {
                                return self.fail(at, "expected end; found {{else}}");
                            }
                            Ending::Text => return self.fail(self.text.len(), "unexpected EOF"),
                        }
                    }
                }
            }
        };
        self.variables.truncate(outside);
        self.depth -= 1;
        Ok(make(pipeline, body, otherwise))
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Result<Pipeline, TemplateError> {
        self.skip_space();
        let start = self.peek().at;
        let (variables, declares) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek();
            if token.kind == *end {
                self.at += 1;
                break;
            }
            commands.push(self.command(end)?);
        }
        if commands.is_empty() {
            return self.fail(start, format!("missing value for {context}"));
        }
        for command in &commands[1..] {
            if !matches!(command.words[0].what, What::Function(_)) {
                let written = &command.words[0].written;
                return self.fail(
                    command.words[0].at,
                    format!("non executable command in pipeline: {written}"),
                );
            }
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline {
            variables,
            declares,
            commands,
        })
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), TemplateError> {
        let start = self.at;
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().kind {
            self.at += 1;
            names.push(name);
            self.skip_space();
            match self.peek().kind {
                kind @ (Kind::Declare | Kind::Assign) => {
                    let token = self.next();
                    let declares = kind == Kind::Declare;
                    if let Some(name) = names
                        .iter()
                        .find(|name| !declares && !self.variables.contains(name))
                    {
                        return self.fail(token.at, format!("undefined variable \"{name}\""));
                    }
                    return Ok((names, declares));
                }
                Kind::Comma if context == "range" && names.len() == 1 => {
                    self.at += 1;
                    self.skip_space();
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, end: &Kind) -> Result<Command, TemplateError> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                words.push(operand);
            }
            let token = self.peek();
            match token.kind {
                Kind::Space => {}
                Kind::Pipe => {
                    self.at += 1;
                    self.skip_space();
                    if self.peek().kind == *end {
                        return self.fail(token.at, "missing value for command");
                    }
                    break;
                }
                kind if kind == *end => break,
                Kind::Open1 => {}
                _ => return self.fail(token.at, "unexpected words in operand"),
            }
        }
        match words.is_empty() {
            true => self.fail(self.peek().at, "empty command"),
            false => Ok(Command { words }),
        }
    }
}
