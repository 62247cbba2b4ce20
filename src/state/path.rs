//! Paths by which values are found: JSONPath as `jsonpath-ng` for Python reads it.
//!
//! `$`, names (`a.b`, `'x y'`, `a,b`), `*`, `..`, `[0]`, `[-1]`, `[1:3]`, `|`, `where`, parentheses, `` `this` `` and
//! `` `parent` ``. A path need not begin with `$`. From the weakest to the strongest bind `..`, `.`, `|`, `where` and
//! brackets, so that `a.b|c` is `a.(b|c)`. Unlike there, a name may begin with a digit.

mod parse;

use std::rc::Rc;

pub use parse::PathError;

use crate::value::Value;

/// The most values that a path may lead to: each `..` can multiply them.
const MOST_MATCHES: usize = 1_000_000;

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Step);

/// A part of a path: from a value to others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Root,
    This,
    Parent,
    /// The values of these names.
    Fields(Vec<String>),
    /// All values of a map or a list.
    Any,
    /// The items of a list at these places; those from the end are negative.
    Items(Vec<i64>),
    /// The items of a list from one place to before another, in steps.
    Slice(Option<i64>, Option<i64>, Option<i64>),
    /// The second, from where the first leads to.
    Child(Box<Step>, Box<Step>),
    /// The second, from where the first leads to and from all that is below.
    Descendants(Box<Step>, Box<Step>),
    /// Both.
    Union(Box<Step>, Box<Step>),
    /// Where the first leads to, if the second leads on from there.
    Where(Box<Step>, Box<Step>),
}

/// A value, and how we came to it.
#[derive(Clone)]
struct Match<'a> {
    value: &'a Value,
    above: Option<Rc<Match<'a>>>,
}

impl<'a> Match<'a> {
    fn below(&self, value: &'a Value) -> Match<'a> {
        Match {
            value,
            above: Some(Rc::new(self.clone())),
        }
    }
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(text: &str) -> Result<Path, PathError> {
        parse::path(text).map(Path)
    }

    /// The values that it leads to, in order.
    ///
    /// # Errors
    /// [`PathError::TooMany`].
    pub fn find<'a>(&self, root: &'a Value) -> Result<Vec<&'a Value>, PathError> {
        let start = Match {
            value: root,
            above: None,
        };
        let mut found = Vec::new();
        walk(&self.0, &start, root, &mut found)?;
        Ok(found.into_iter().map(|found| found.value).collect())
    }
}

fn walk<'a>(
    step: &Step,
    from: &Match<'a>,
    root: &'a Value,
    found: &mut Vec<Match<'a>>,
) -> Result<(), PathError> {
    match step {
        Step::Root => found.push(Match {
            value: root,
            above: None,
        }),
        Step::This => found.push(from.clone()),
        Step::Parent => found.extend(from.above.as_deref().cloned()),
        Step::Fields(names) => {
            let named = names.iter().filter_map(|name| from.value.get(name));
            found.extend(named.map(|value| from.below(value)));
        }
        Step::Any => found.extend(children(from.value).map(|value| from.below(value))),
        Step::Items(places) => {
            let items = from.value.as_list().unwrap_or_default();
            let at = |place: &i64| items.get(index(*place, items.len())?);
            found.extend(places.iter().filter_map(at).map(|value| from.below(value)));
        }
        Step::Slice(start, end, by) => {
            let items = from.value.as_list().unwrap_or_default();
            let places = slice(*start, *end, *by, items.len());
            found.extend(places.map(|place| from.below(&items[place])));
        }
        Step::Child(first, second) => {
            for between in sub_walk(first, from, root)? {
                walk(second, &between, root, found)?;
            }
        }
        Step::Descendants(first, second) => {
            for between in sub_walk(first, from, root)? {
                walk_below(second, &between, root, found)?;
            }
        }
        Step::Union(first, second) => {
            walk(first, from, root, found)?;
            walk(second, from, root, found)?;
        }
        Step::Where(first, second) => {
            for between in sub_walk(first, from, root)? {
                if !sub_walk(second, &between, root)?.is_empty() {
                    found.push(between);
                }
            }
        }
    }
    match found.len() {
        0..=MOST_MATCHES => Ok(()),
        _ => Err(PathError::TooMany),
    }
}

fn sub_walk<'a>(
    step: &Step,
    from: &Match<'a>,
    root: &'a Value,
) -> Result<Vec<Match<'a>>, PathError> {
    let mut found = Vec::new();
    walk(step, from, root, &mut found)?;
    Ok(found)
}

/// Walks from here, and from all that is below.
fn walk_below<'a>(
    step: &Step,
    from: &Match<'a>,
    root: &'a Value,
    found: &mut Vec<Match<'a>>,
) -> Result<(), PathError> {
    walk(step, from, root, found)?;
    for value in children(from.value) {
        walk_below(step, &from.below(value), root, found)?;
    }
    Ok(())
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::List(items) => Box::new(items.iter()),
        Value::Map(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn index(place: i64, length: usize) -> Option<usize> {
    match place < 0 {
        true => length.checked_sub(usize::try_from(place.unsigned_abs()).ok()?),
        false => usize::try_from(place).ok(),
    }
}

/// The places of a slice, as Python takes them.
fn slice(
    start: Option<i64>,
    end: Option<i64>,
    by: Option<i64>,
    length: usize,
) -> impl Iterator<Item = usize> {
    let by = by.unwrap_or(1);
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (least, most) = if by < 0 {
        (-1, length - 1)
    } else {
        (0, length)
    };
    let within = |place: i64| match place < 0 {
        true => place.saturating_add(length).max(least),
        false => place.min(most),
    };
    let (first, last) = if by < 0 { (most, least) } else { (least, most) };
    let start = start.map_or(first, within);
    let end = end.map_or(last, within);
    let mut next = Some(start);
    std::iter::from_fn(move || {
        let place = next?;
        let is_inside = if by < 0 { place > end } else { place < end };
        if !is_inside || by == 0 {
            return None;
        }
        next = place.checked_add(by);
        usize::try_from(place).ok()
    })
}

#[cfg(test)]
mod tests;
