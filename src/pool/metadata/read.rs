//! JSON and YAML as trees of texts, each as it stands there.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Options, Parser};
use serde_json::value::RawValue;

use super::READABLE;

/// The most values of a document, those counted that are repeated by a reference.
const MOST: usize = 100_000;

/// How deep a document may be nested.
const DEEPEST: usize = 100;

/// A part of a document.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// One value, as it stands there, without its quotes.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What keeps metadata from being read, for people; `None` when nothing does, or there is none.
pub fn problem(metadata: &[u8]) -> Option<&'static str> {
    if metadata.trim_ascii().is_empty() {
        return None;
    }
    read(metadata).err()
}

/// Reads a document. JSON is not quite YAML (tabs, long keys), so that it is tried first.
pub(super) fn read(metadata: &[u8]) -> Result<Node, &'static str> {
    if metadata.len() > READABLE {
        return Err("has more than a megabyte, and only less is read");
    }
    let text = std::str::from_utf8(metadata).map_err(|_| "is no text in UTF-8")?;
    if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
        return from_json(json, 0).ok_or(TOO_MUCH);
    }
    from_yaml(text)
}

const TOO_MUCH: &str = "is nested too deep, or has too much in it";
const NEITHER: &str = "is neither JSON nor YAML";

fn from_json(json: &RawValue, depth: usize) -> Option<Node> {
    if depth > DEEPEST {
        return None;
    }
    let text = json.get();
    match text.as_bytes().first()? {
        b'{' => {
            let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let pairs = map.into_iter();
            pairs
                .map(|(key, value)| Some((key, from_json(value, depth + 1)?)))
                .collect::<Option<_>>()
                .map(Node::Map)
        }
        b'[' => {
            let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let values = list.into_iter();
            values
                .map(|value| from_json(value, depth + 1))
                .collect::<Option<_>>()
                .map(Node::List)
        }
        b'"' => serde_json::from_str(text).ok().map(Node::Text),
        _ => Some(Node::Text(text.to_owned())),
    }
}

/// A part that is not whole yet.
enum Open {
    List(Vec<Node>, usize),
    /// The pairs so far, and the key whose value comes next. A key that is no text has none.
    Map(Vec<(String, Node)>, Option<Option<String>>, usize),
}

fn from_yaml(text: &str) -> Result<Node, &'static str> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut whole: Option<Node> = None;
    let mut left = MOST;
    for next in Parser::new_from_str_with_options(text, Options::default()) {
        let (event, _) = next.map_err(|_| NEITHER)?;
        let (node, anchor) = match event {
            Event::DocumentStart(..) if whole.is_some() => {
                return Err("has several YAML documents, and only one can be read");
            }
            Event::Scalar(text, _, anchor, _) => {
                left = left.checked_sub(1).ok_or(TOO_MUCH)?;
                (Node::Text(text.into_owned()), anchor)
            }
            Event::Alias(anchor) => {
                let node = anchors.get(&anchor).ok_or(NEITHER)?;
                left = left.checked_sub(node.count()).ok_or(TOO_MUCH)?;
                (node.clone(), 0)
            }
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open::Map(Vec::new(), None, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                left = left.checked_sub(1).ok_or(TOO_MUCH)?;
                match open.pop().ok_or(NEITHER)? {
                    Open::List(list, anchor) => (Node::List(list), anchor),
                    Open::Map(pairs, _, anchor) => (Node::Map(merged(pairs)), anchor),
                }
            }
            _ => continue,
        };
        if open.len() > DEEPEST {
            return Err(TOO_MUCH);
        }
        if anchor > 0 {
            left = left.checked_sub(node.count()).ok_or(TOO_MUCH)?;
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            None => whole = Some(node),
            Some(Open::List(list, _)) => list.push(node),
            Some(Open::Map(pairs, key, _)) => match key.take() {
                None => {
                    *key = Some(match node {
                        Node::Text(text) => Some(text),
                        Node::List(_) | Node::Map(_) => None,
                    });
                }
                Some(Some(key)) => pairs.push((key, node)),
                Some(None) => {}
            },
        }
    }
    whole.ok_or(NEITHER)
}

/// The pairs of a map, with those of the maps that it takes in by `<<` before its own.
fn merged(pairs: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let (merges, own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key == "<<");
    let mut all = Vec::new();
    for (_, node) in merges {
        let maps = match node {
            // Those that come first win, and here the last one does.
            Node::List(list) => list.into_iter().rev().collect(),
            node => vec![node],
        };
        all.extend(maps.into_iter().flat_map(|map| match map {
            Node::Map(pairs) => pairs,
            Node::List(_) | Node::Text(_) => Vec::new(),
        }));
    }
    all.extend(own);
    all
}

impl Node {
    /// How many values it has, itself included.
    fn count(&self) -> usize {
        match self {
            Node::Text(_) => 1,
            Node::List(list) => 1 + list.iter().map(Node::count).sum::<usize>(),
            Node::Map(pairs) => 1 + pairs.iter().map(|(_, node)| node.count()).sum::<usize>(),
        }
    }
}
