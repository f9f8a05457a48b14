//! YAML as a tree in which everything knows where it stands.
//!
//! Scalars are kept as they were written: what a number or a truth value is depends on the field, and
//! `0755`, `1.10` and `no` are texts where a field takes texts. Aliases and merge keys are taken apart here,
//! within bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag as YamlTag};

use crate::told::{At, Source, Told};

/// Most bytes of one file.
pub(crate) const MOST_BYTES: usize = 2 << 20;
/// Most nodes of one file, aliases taken apart.
const MOST_NODES: usize = 50_000;
/// Most bytes of texts of one file, aliases taken apart.
const MOST_TEXT: usize = 8 << 20;
/// Deepest nesting.
const DEEPEST: usize = 64;
/// Most keys of one file that stand twice.
const MOST_TWICE: usize = 100;
/// Most documents of one file.
const MOST_DOCUMENTS: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub at: At,
    pub tag: Tag,
    pub value: Value,
}

/// What a file that is merged onto another says about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Merge it.
    None,
    /// `!reset`: nothing stands here any more.
    Reset,
    /// `!override`: this stands here instead.
    Override,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub at: At,
    pub node: Node,
}

impl Node {
    /// An empty mapping.
    pub fn map(at: At) -> Self {
        Self { at, tag: Tag::None, value: Value::Map(Vec::new()) }
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// What stands under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The entry of that key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => {
                entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
            }
            Value::Null | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let place = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(place))
    }

    /// Puts something under a key, instead of what stands there.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Some(old) = self.get_mut(key) {
            *old = node;
        } else if let Value::Map(entries) = &mut self.value {
            entries.push(Entry { key: key.to_owned(), at: node.at.clone(), node });
        }
    }

    /// The text it is.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// How many nodes there are in it, itself counted.
    pub fn count(&self) -> usize {
        Size::of(self).nodes
    }

    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// How much is in a node.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
    depth: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let mut size = Size { nodes: 1, text: 0, depth: 1 };
        let mut inside = |child: Size| {
            size.nodes += child.nodes;
            size.text += child.text;
            size.depth = size.depth.max(child.depth + 1);
        };
        match &node.value {
            Value::Null => {}
            Value::Text(text) => size.text += text.len(),
            Value::List(items) => items.iter().for_each(|item| inside(Size::of(item))),
            Value::Map(entries) => entries.iter().for_each(|entry| {
                let mut child = Size::of(&entry.node);
                child.text += entry.key.len();
                inside(child);
            }),
        }
        size
    }
}

/// A collection that is being read.
struct Open {
    at: At,
    tag: Tag,
    anchor: usize,
    /// Of a mapping: the key whose value comes next.
    key: Option<(String, At)>,
    value: Value,
}

/// Keys that stand twice in one mapping: where the second one stands, and what to say of it.
pub(crate) type Twice = Vec<(At, String)>;

/// Reads the documents of a file, in which the last of two like keys counts. What cannot be read is told,
/// and the result is `None`.
pub(crate) fn read(text: &str, source: &Arc<Source>, told: &Told) -> Option<(Vec<Node>, Twice)> {
    let start = At::start(source);
    if text.len() > MOST_BYTES {
        told.refuse(&start, "", format!("the file has more than {} MiB", MOST_BYTES >> 20));
        return None;
    }
    match Builder::new(source).build(text) {
        Ok((documents, twice)) => {
            let count = documents.iter().map(Node::count).sum();
            if !told.spend_nodes(count) {
                told.refuse(&start, "", "there is too much in these files together");
                return None;
            }
            Some((documents, twice))
        }
        Err((at, why)) => {
            told.refuse(&at, "", why);
            None
        }
    }
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Size)>,
    documents: Vec<Node>,
    spent: Size,
    twice: Twice,
}

type Built<T> = Result<T, (At, String)>;

impl<'a> Builder<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        Self {
            source,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            documents: Vec::new(),
            spent: Size::default(),
            twice: Vec::new(),
        }
    }

    fn at(&self, span: &Span) -> At {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        At {
            source: self.source.clone(),
            line: number(span.start.line()),
            column: number(span.start.col()).saturating_add(1),
        }
    }

    fn build(mut self, text: &str) -> Built<(Vec<Node>, Twice)> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = DEEPEST;
        options.block_nesting_limit = DEEPEST;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let mark = Span::empty(*error.marker());
                (self.at(&mark), format!("this is not YAML: {}", error.info()))
            })?;
            self.event(event, &span)?;
        }
        Ok((self.documents, self.twice))
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Built<()> {
        let at = self.at(span);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                match self.documents.len() < MOST_DOCUMENTS {
                    true => Ok(()),
                    false => Err((at, "too many documents in one file".to_owned())),
                }
            }
            Event::Alias(id) => {
                let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
                    return Err((at, "this alias stands for what it is in".to_owned()));
                };
                self.spend(&at, size)?;
                match self.anchors.get(&id).map(|(node, _)| node.clone()) {
                    Some(node) => self.put(node, 0, &at),
                    None => Ok(()),
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(at.clone(), text, style, tag.as_deref())?;
                self.spend(&at, Size::of(&node))?;
                self.put(node, anchor, &at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(at, anchor, tag.as_deref(), Value::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(at, anchor, tag.as_deref(), Value::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let Open { at, tag, anchor, key: _, value } = open;
                let value = match value {
                    Value::Map(entries) => Value::Map(merge_keys(entries, &mut self.twice)?),
                    other => other,
                };
                self.put(Node { at: at.clone(), tag, value }, anchor, &at)
            }
            // Stream and document marks; comments and anchors are not asked for.
            _ => Ok(()),
        }
    }

    fn start(&mut self, at: At, anchor: usize, tag: Option<&YamlTag>, value: Value) -> Built<()> {
        self.spend(&at, Size { nodes: 1, text: 0, depth: 1 })?;
        let tag = own_tag(&at, tag)?.0;
        self.open.push(Open { at, tag, anchor, key: None, value });
        Ok(())
    }

    /// Counts what is put in, so that a small file cannot stand for a huge tree.
    fn spend(&mut self, at: &At, size: Size) -> Built<()> {
        self.spent.nodes += size.nodes;
        self.spent.text += size.text;
        if self.spent.nodes > MOST_NODES || self.spent.text > MOST_TEXT {
            return Err((at.clone(), "there is too much in this file, aliases taken apart".into()));
        }
        if self.open.len() + size.depth > DEEPEST {
            return Err((at.clone(), format!("more than {DEEPEST} levels deep")));
        }
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node, anchor: usize, at: &At) -> Built<()> {
        if anchor != 0 {
            let size = Size::of(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some((key, at)) => entries.push(Entry { key, at, node }),
                None => open.key = Some((key(node)?, at.clone())),
            },
            Value::Null | Value::Text(_) => {}
        }
        Ok(())
    }
}

/// A key is a text; what templates leave in braces (`{{.Values.x}}`) is read as one, too.
fn key(node: Node) -> Built<String> {
    match node.value {
        Value::Text(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::List(_) | Value::Map(_) => {
            Err((node.at, "a key must be a text, not a list or a mapping".to_owned()))
        }
    }
}

fn scalar(at: At, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&YamlTag>) -> Built<Node> {
    let (tag, text_wanted) = own_tag(&at, tag)?;
    let plain = style == ScalarStyle::Plain && !text_wanted;
    let value = match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        _ => Value::Text(text.into_owned()),
    };
    Ok(Node { at, tag, value })
}

/// The meaning of a tag, and whether it asks for a text.
fn own_tag(at: &At, tag: Option<&YamlTag>) -> Built<(Tag, bool)> {
    let Some(tag) = tag else { return Ok((Tag::None, false)) };
    let name = tag.original();
    match name.as_str() {
        "!reset" => Ok((Tag::Reset, false)),
        "!override" => Ok((Tag::Override, false)),
        "!" => Ok((Tag::None, true)),
        _ if tag.is_yaml_core_schema_tag("str") => Ok((Tag::None, true)),
        _ if tag.is_yaml_core_schema() => Ok((Tag::None, false)),
        _ => Err((at.clone(), format!("{name} means nothing here; !reset and !override do"))),
    }
}

/// Takes `<<` apart: what is merged in stands behind what the mapping has itself.
fn merge_keys(entries: Vec<Entry>, twice: &mut Twice) -> Built<Vec<Entry>> {
    let mut own: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut merged = Vec::new();
    let mut seen: BTreeMap<String, At> = BTreeMap::new();
    for entry in entries {
        if entry.key == "<<" {
            merged.push(entry.node);
            continue;
        }
        if let Some(first) = seen.get(&entry.key) {
            let why = format!("{:?} stands here already, in line {}", entry.key, first.line);
            twice.push((entry.at.clone(), why));
            if twice.len() > MOST_TWICE {
                return Err((entry.at, "too many keys that stand twice".to_owned()));
            }
            own.retain(|it| it.key != entry.key);
        }
        seen.insert(entry.key.clone(), entry.at.clone());
        own.push(entry);
    }
    for node in merged {
        let maps = match node.value {
            Value::List(items) => items,
            Value::Null => continue,
            Value::Text(_) | Value::Map(_) => vec![node],
        };
        for map in maps {
            let Value::Map(entries) = map.value else {
                return Err((map.at, "<< takes mappings".to_owned()));
            };
            for entry in entries {
                if !seen.contains_key(&entry.key) {
                    seen.insert(entry.key.clone(), entry.at.clone());
                    own.push(entry);
                }
            }
        }
    }
    Ok(own)
}
