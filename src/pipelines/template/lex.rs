//! The words of a template.

use super::TemplateError;

/// A word inside an action, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub kind: Kind,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Outside of any action.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// Space inside an action: it tells `.a .b` from `.a.b`.
    Space,
    Open1,
    Close1,
    Pipe,
    Comma,
    Declare,
    Assign,
    /// `.` alone
    Dot,
    /// `.name`
    Field(String),
    /// `$name`, or `$`
    Variable(String),
    /// a function or a keyword
    Word(String),
    Str(String),
    Number(String),
    Char(char),
    End,
}

/// Takes a template apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_of_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, at: usize, kind: Kind) {
        self.tokens.push(Token { at, kind });
    }

    fn fail<T>(&self, at: usize, words: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::parse(self.text, at, words))
    }

    fn run(&mut self) -> Result<(), TemplateError> {
        let mut trim = false;
        loop {
            let start = self.at;
            let length = self.rest().find("{{");
            let mut text = &self.rest()[..length.unwrap_or(self.rest().len())];
            if trim {
                text = text.trim_start_matches(is_space);
            }
            let Some(length) = length else {
                self.push(start, Kind::Text(text.to_owned()));
                self.push(self.text.len(), Kind::End);
                return Ok(());
            };
            self.at += length;
            let open = self.at;
            self.at += 2;
            let mut after = self.rest().chars();
            if after.next() == Some('-') && after.next().is_some_and(is_space) {
                text = text.trim_end_matches(is_space);
                self.at += 1;
            }
            self.push(start, Kind::Text(text.to_owned()));
            trim = if self.rest().trim_start_matches(is_space).starts_with("/*") {
                self.comment(open)?
            } else {
                self.push(open, Kind::Open);
                self.action(open)?
            };
        }
    }

    /// A comment; says whether the text after it is trimmed.
    fn comment(&mut self, open: usize) -> Result<bool, TemplateError> {
        let Some(end) = self.rest().find("*/") else {
            return self.fail(open, "unclosed comment");
        };
        self.at += end + 2;
        let rest = self.rest();
        if rest.starts_with("}}") {
            self.at += 2;
            return Ok(false);
        }
        let trimmed = rest.trim_start_matches(is_space);
        if trimmed.len() < rest.len() && trimmed.starts_with("-}}") {
            self.at += rest.len() - trimmed.len() + 3;
            return Ok(true);
        }
        self.fail(open, "comment ends before closing delimiter")
    }

    /// What is inside of an action; says whether the text after it is trimmed.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        loop {
            let at = self.at;
            let rest = self.rest();
            if rest.starts_with("}}") {
                self.at += 2;
                self.push(at, Kind::Close);
                return Ok(false);
            }
            let Some(c) = rest.chars().next() else {
                return self.fail(open, "unclosed action");
            };
            if is_space(c) {
                let trimmed = rest.trim_start_matches(is_space);
                if trimmed.starts_with("-}}") {
                    self.at += rest.len() - trimmed.len() + 3;
                    self.push(at, Kind::Close);
                    return Ok(true);
                }
                self.at += rest.len() - trimmed.len();
                self.push(at, Kind::Space);
                continue;
            }
            self.at += c.len_utf8();
            let kind = match c {
                '(' => Kind::Open1,
                ')' => Kind::Close1,
                '|' => Kind::Pipe,
                ',' => Kind::Comma,
                '=' => Kind::Assign,
                ':' if self.rest().starts_with('=') => {
                    self.at += 1;
                    Kind::Declare
                }
                '"' => self.string(at)?,
                '`' => {
                    let Some(end) = self.rest().find('`') else {
                        return self.fail(at, "unterminated raw quoted string");
                    };
                    let raw = self.rest()[..end].to_owned();
                    self.at += end + 1;
                    Kind::Str(raw)
                }
                '\'' => self.character(at)?,
                '.' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) => {
                    match self.name() {
                        "" => Kind::Dot,
                        name => Kind::Field(name.to_owned()),
                    }
                }
                '$' => Kind::Variable(format!("${}", self.name())),
                c if c == '.' || c == '+' || c == '-' || c.is_ascii_digit() => {
                    self.at = at;
                    Kind::Number(self.number().to_owned())
                }
                c if is_of_name(c) => {
                    self.at = at;
                    Kind::Word(self.name().to_owned())
                }
                c => return self.fail(at, format!("unexpected {c:?} in action")),
            };
            self.push(at, kind);
        }
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let is_sign = matches!(c, '+' | '-') && matches!(before, ' ' | 'e' | 'E' | 'p' | 'P');
            before = c;
            !(is_sign || c == '.' || is_of_name(c))
        });
        let end = end.unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn string(&mut self, at: usize) -> Result<Kind, TemplateError> {
        let mut value = String::new();
        loop {
            match self.next() {
                None | Some('\n') => return self.fail(at, "unterminated quoted string"),
                Some('"') => return Ok(Kind::Str(value)),
                Some('\\') => value.push(self.escaped(at)?),
                Some(c) => value.push(c),
            }
        }
    }

    fn character(&mut self, at: usize) -> Result<Kind, TemplateError> {
        let c = match self.next() {
            Some('\\') => self.escaped(at)?,
            Some(c) if c != '\'' && c != '\n' => c,
            _ => return self.fail(at, "unterminated character constant"),
        };
        match self.next() {
            Some('\'') => Ok(Kind::Char(c)),
            _ => self.fail(at, "malformed character constant"),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn escaped(&mut self, at: usize) -> Result<char, TemplateError> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('a') => return Ok('\u{7}'),
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('v') => return Ok('\u{b}'),
            Some(c @ ('\\' | '"' | '\'')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return self.fail(at, "invalid escape in a quoted string"),
        };
        let code = self
            .rest()
            .get(..digits)
            .and_then(|text| u32::from_str_radix(text, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => self.fail(at, "invalid escape in a quoted string"),
        }
    }
}
