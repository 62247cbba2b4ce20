//! Reading paths.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::Step;

/// The deepest that parentheses may stand in one another.
const MOST_DEPTH: usize = 50;

/// The longest path, in parts: each stands in the next one.
const MOST_STEPS: usize = 500;

/// Why a text is no path, or one that leads too far.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is nothing.
    #[error("a path is empty")]
    Empty,
    /// Something stands where it cannot.
    #[error("the path `{}` cannot be read: `{}` is not expected there", .path.escape_debug(), .found.escape_debug())]
    Unexpected {
        /// The path.
        path: String,
        /// What stands there.
        found: String,
    },
    /// It ends where something has to follow.
    #[error("the path `{}` cannot be read: it ends too early", .0.escape_debug())]
    Ends(String),
    /// Too many parts.
    #[error("a path has too many parts")]
    TooLong,
    /// It leads to too many values.
    #[error("a path leads to more than a million values")]
    TooMany,
}

/// What makes one step of two.
type Join = fn(Box<Step>, Box<Step>) -> Step;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name as it is.
    Name(String),
    /// A name in quotes.
    Quoted(String),
    /// A name in backquotes.
    Operator(String),
    /// `..`
    Dots,
    /// One of `$ * . | , [ ] ( ) :`
    Sign(char),
}

pub(super) fn path(text: &str) -> Result<Step, PathError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err(PathError::Empty);
    }
    if tokens.len() > 2 * MOST_STEPS {
        return Err(PathError::TooLong);
    }
    let mut reader = Reader {
        text,
        tokens: tokens.into_iter().peekable(),
        depth: 0,
    };
    let step = reader.step(0)?;
    match reader.tokens.next() {
        None => Ok(step),
        Some(token) => Err(reader.unexpected(&token)),
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: Peekable<IntoIter<Token>>,
    depth: usize,
}

impl Reader<'_> {
    /// Reads as far as what binds at least that strongly.
    fn step(&mut self, least: u8) -> Result<Step, PathError> {
        let mut left = self.atom()?;
        loop {
            let (strength, join): (u8, Join) = match self.tokens.peek() {
                Some(Token::Dots) => (1, Step::Descendants),
                Some(Token::Sign('.')) => (2, Step::Child),
                Some(Token::Sign('|')) => (3, Step::Union),
                Some(Token::Name(word)) if word == "where" => (4, Step::Where),
                _ => return Ok(left),
            };
            if strength < least {
                return Ok(left);
            }
            self.tokens.next();
            let right = self.step(strength + 1)?;
            left = join(Box::new(left), Box::new(right));
        }
    }

    fn atom(&mut self) -> Result<Step, PathError> {
        let mut step = match self.next()? {
            Token::Sign('$') => Step::Root,
            Token::Sign('*') => Step::Any,
            Token::Sign('(') => {
                self.depth += 1;
                if self.depth > MOST_DEPTH {
                    return Err(PathError::TooLong);
                }
                let step = self.step(0)?;
                self.expect(')')?;
                self.depth -= 1;
                step
            }
            Token::Sign('[') => self.bracket()?,
            Token::Operator(name) if name == "this" => Step::This,
            Token::Operator(name) if name == "parent" => Step::Parent,
            Token::Name(name) | Token::Quoted(name) => self.fields(name)?,
            other => return Err(self.unexpected(&other)),
        };
        while self.tokens.next_if_eq(&Token::Sign('[')).is_some() {
            step = Step::Child(Box::new(step), Box::new(self.bracket()?));
        }
        Ok(step)
    }

    /// Reads the names after a first one.
    fn fields(&mut self, first: String) -> Result<Step, PathError> {
        let mut names = vec![first];
        while self.tokens.next_if_eq(&Token::Sign(',')).is_some() {
            match self.next()? {
                Token::Name(name) | Token::Quoted(name) => names.push(name),
                other => return Err(self.unexpected(&other)),
            }
        }
        Ok(Step::Fields(names))
    }

    /// Reads what stands between brackets, of which the first was read.
    fn bracket(&mut self) -> Result<Step, PathError> {
        let step = match self.tokens.peek() {
            Some(Token::Sign('*')) => {
                self.tokens.next();
                Step::Any
            }
            Some(Token::Sign(':')) => self.slice(None)?,
            Some(Token::Name(name)) if name.parse::<i64>().is_ok() => {
                let first = self.number()?;
                match self.tokens.peek() {
                    Some(Token::Sign(':')) => self.slice(Some(first))?,
                    _ => {
                        let mut places = vec![first];
                        while self.tokens.next_if_eq(&Token::Sign(',')).is_some() {
                            places.push(self.number()?);
                        }
                        Step::Items(places)
                    }
                }
            }
            _ => match self.next()? {
                Token::Name(name) | Token::Quoted(name) => self.fields(name)?,
                other => return Err(self.unexpected(&other)),
            },
        };
        self.expect(']')?;
        Ok(step)
    }

    fn slice(&mut self, start: Option<i64>) -> Result<Step, PathError> {
        let mut bounds = [None, None];
        for bound in &mut bounds {
            if self.tokens.next_if_eq(&Token::Sign(':')).is_none() {
                break;
            }
            if matches!(self.tokens.peek(), Some(Token::Name(_))) {
                *bound = Some(self.number()?);
            }
        }
        Ok(Step::Slice(start, bounds[0], bounds[1]))
    }

    fn number(&mut self) -> Result<i64, PathError> {
        let token = self.next()?;
        match &token {
            Token::Name(name) => name.parse().map_err(|_| self.unexpected(&token)),
            _ => Err(self.unexpected(&token)),
        }
    }

    fn next(&mut self) -> Result<Token, PathError> {
        let ends = || PathError::Ends(self.text.to_owned());
        self.tokens.next().ok_or_else(ends)
    }

    fn expect(&mut self, sign: char) -> Result<(), PathError> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, token: &Token) -> PathError {
        PathError::Unexpected {
            path: self.text.to_owned(),
            found: match token {
                Token::Name(name) | Token::Quoted(name) => name.clone(),
                Token::Operator(name) => format!("`{name}`"),
                Token::Dots => "..".to_owned(),
                Token::Sign(sign) => sign.to_string(),
            },
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, PathError> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '-');
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '.' if chars.next_if_eq(&'.').is_some() => Token::Dots,
            '$' | '*' | '.' | '|' | ',' | '[' | ']' | '(' | ')' | ':' => Token::Sign(c),
            quote @ ('\'' | '"' | '`') => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        None => return Err(PathError::Ends(text.to_owned())),
                        Some(c) if c == quote => break,
                        Some('\\') => name.extend(chars.next()),
                        Some(c) => name.push(c),
                    }
                }
                match quote {
                    '`' => Token::Operator(name),
                    _ => Token::Quoted(name),
                }
            }
            c if is_of_name(c) => {
                let mut name = String::from(c);
                while let Some(c) = chars.next_if(|c| is_of_name(*c)) {
                    name.push(c);
                }
                Token::Name(name)
            }
            c => {
                return Err(PathError::Unexpected {
                    path: text.to_owned(),
                    found: c.to_string(),
                });
            }
        };
        tokens.push(token);
    }
    Ok(tokens)
}
