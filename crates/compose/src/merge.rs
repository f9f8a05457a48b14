//! How one tree is merged onto another (Compose Specification, `13-merge.md`): mappings field by field,
//! lists one behind the other, and what is different in some fields.

use std::collections::{HashMap, HashSet};

use crate::told::At;
use crate::yaml::{Entry, Node, Tag, Value};

/// How a field is merged.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Mappings field by field, lists one behind the other, the later one of anything else.
    Usual,
    /// The later one.
    Replace,
    /// A mapping, or a list of `name=value` that stands for one.
    Pairs(char),
    /// A mapping, or a list of its keys.
    Names,
    /// A list in which the later one of two for the same thing counts.
    Unique(fn(&Node) -> Option<String>),
    /// A mapping whose options belong to its `driver`.
    OfDriver,
}

/// The rule for a field; `path` is the one below the top: `services`, `web`, `ports`.
fn rule(path: &[&str]) -> Rule {
    let ["services", _, field @ ..] = path else {
        return match path {
            [_, _, "labels" | "driver_opts"] => Rule::Pairs('='),
            _ => Rule::Usual,
        };
    };
    match field {
        ["command" | "entrypoint"] | ["healthcheck", "test"] => Rule::Replace,
        ["environment" | "labels" | "annotations" | "sysctls" | "storage_opt"]
        | ["deploy", "labels"]
        | ["build", "args" | "labels" | "additional_contexts"] => Rule::Pairs('='),
        ["extra_hosts"] => Rule::Pairs(':'),
        ["depends_on" | "networks" | "models"] => Rule::Names,
        ["ports"] => Rule::Unique(port),
        ["volumes" | "devices"] => Rule::Unique(target),
        ["secrets" | "configs"] | ["build", "secrets"] => Rule::Unique(grant),
        ["logging"] => Rule::OfDriver,
        _ => Rule::Usual,
    }
}

/// Merges `over` onto `base`, both below `path`.
pub(crate) fn merge(base: &mut Node, over: Node, path: &mut Vec<String>) {
    if over.tag != Tag::None {
        *base = over;
        return;
    }
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match rule(&names) {
        Rule::Replace => {
            if over.value != Value::Null {
                *base = over;
            }
        }
        Rule::Pairs(mark) => {
            as_pairs(base, mark);
            merge_maps(base, pairs(over, mark), path);
        }
        Rule::Names => {
            as_names(base);
            merge_maps(base, names_of(over), path);
        }
        Rule::Unique(key) => merge_unique(base, over, key),
        Rule::OfDriver if other_driver(base, &over) => *base = over,
        Rule::OfDriver | Rule::Usual => merge_maps(base, over, path),
    }
}

fn other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_text).map(str::to_owned);
    driver(over).is_some_and(|new| driver(base).is_some_and(|old| old != new))
}

fn merge_maps(base: &mut Node, over: Node, path: &mut Vec<String>) {
    match (&mut base.value, over.value) {
        (_, Value::Null) => {}
        (Value::Map(old), Value::Map(entries)) => {
            let mut places = Places::of(old, entries.len());
            for entry in entries {
                path.push(entry.key.clone());
                match places.find(old, &entry.key) {
                    // A name without a value stands for the value outside, also over one that is given.
                    Some(place) if entry.node.value == Value::Null && path.ends_with_pair() => {
                        old[place].node = entry.node;
                    }
                    Some(place) => merge(&mut old[place].node, entry.node, path),
                    None => places.push(old, entry),
                }
                path.pop();
            }
        }
        (Value::List(old), Value::List(new)) => append(old, new),
        (Value::List(old), Value::Text(text)) => {
            append(old, vec![Node { at: over.at, tag: Tag::None, value: Value::Text(text) }]);
        }
        (Value::Text(_), Value::List(new)) if is_list_field(path) => {
            let first = Node { at: base.at.clone(), tag: Tag::None, value: base.value.clone() };
            let mut items = vec![first];
            append(&mut items, new);
            base.value = Value::List(items);
        }
        (Value::Text(_), Value::Text(text)) if is_list_field(path) => {
            let first = Node { at: base.at.clone(), tag: Tag::None, value: base.value.clone() };
            let mut items = vec![first];
            append(
                &mut items,
                vec![Node { at: over.at, tag: Tag::None, value: Value::Text(text) }],
            );
            base.value = Value::List(items);
        }
        (_, value) => {
            base.at = over.at;
            base.value = value;
        }
    }
}

/// Whether the last of a path is a name in a mapping of texts.
trait EndsWithPair {
    fn ends_with_pair(&self) -> bool;
}

impl EndsWithPair for Vec<String> {
    fn ends_with_pair(&self) -> bool {
        let names: Vec<&str> = self.iter().map(String::as_str).collect();
        names.split_last().is_some_and(|(_, above)| matches!(rule(above), Rule::Pairs('=')))
    }
}

/// Fields that take a text or a list of texts.
fn is_list_field(path: &[String]) -> bool {
    let last = path.last().map(String::as_str);
    path.len() == 3
        && matches!(last, Some("env_file" | "dns" | "dns_search" | "tmpfs" | "label_file"))
}

/// Where keys stand in a mapping. Many are looked up by an index: what merges two large mappings must not
/// take the product of their sizes.
struct Places(Option<HashMap<String, usize>>);

/// Most keys that are looked up one by one.
const FEW: usize = 8;

impl Places {
    /// Of a mapping in which so many keys are looked up.
    fn of(entries: &[Entry], lookups: usize) -> Self {
        let index = || entries.iter().enumerate().map(|(i, it)| (it.key.clone(), i)).collect();
        Self((lookups > FEW).then(index))
    }

    fn find(&self, entries: &[Entry], key: &str) -> Option<usize> {
        match &self.0 {
            Some(index) => index.get(key).copied(),
            None => entries.iter().position(|it| it.key == key),
        }
    }

    fn push(&mut self, entries: &mut Vec<Entry>, entry: Entry) {
        if let Some(index) = &mut self.0 {
            index.insert(entry.key.clone(), entries.len());
        }
        entries.push(entry);
    }
}

/// A mapping of pairs, of which the last of two with one key counts.
fn map_of(at: At, pairs: impl ExactSizeIterator<Item = Option<(String, Node)>>) -> Node {
    let mut entries = Vec::new();
    let mut places = Places::of(&entries, pairs.len());
    for (key, node) in pairs.flatten() {
        match places.find(&entries, &key) {
            Some(place) => entries[place].node = node,
            None => places.push(&mut entries, Entry { key, at: node.at.clone(), node }),
        }
    }
    Node { at, tag: Tag::None, value: Value::Map(entries) }
}

fn append(old: &mut Vec<Node>, new: Vec<Node>) {
    let texts = old.iter().filter_map(|it| it.as_text().map(str::to_owned));
    let mut texts: HashSet<String> = texts.collect();
    for node in new {
        let is_new = node.as_text().is_none_or(|text| texts.insert(text.to_owned()));
        if is_new {
            old.push(node);
        }
    }
}

/// Makes a mapping of a list of `name=value`.
pub(crate) fn as_pairs(node: &mut Node, mark: char) {
    let taken = std::mem::replace(node, Node::map(node.at.clone()));
    *node = pairs(taken, mark);
}

fn pairs(node: Node, mark: char) -> Node {
    let Value::List(items) = node.value else { return node };
    let pair = |item: Node| {
        let text = item.as_text()?;
        // Hosts may stand with either mark.
        let split = match mark {
            ':' => text.split_once('=').or_else(|| text.split_once(':')),
            mark => text.split_once(mark),
        };
        let (name, value) = match split {
            Some((name, value)) => (name.to_owned(), Value::Text(value.to_owned())),
            None => (text.to_owned(), Value::Null),
        };
        Some((name, Node { at: item.at, tag: Tag::None, value }))
    };
    map_of(node.at, items.into_iter().map(pair))
}

/// Makes a mapping of a list of keys.
pub(crate) fn as_names(node: &mut Node) {
    let taken = std::mem::replace(node, Node::map(node.at.clone()));
    *node = names_of(taken);
}

fn names_of(node: Node) -> Node {
    let Value::List(items) = node.value else { return node };
    let name = |item: Node| {
        let name = item.as_text()?.to_owned();
        Some((name, Node { at: item.at, tag: Tag::None, value: Value::Null }))
    };
    map_of(node.at, items.into_iter().map(name))
}

fn merge_unique(base: &mut Node, over: Node, key: fn(&Node) -> Option<String>) {
    let (Value::List(old), Value::List(new)) = (&mut base.value, &over.value) else {
        if over.value != Value::Null {
            *base = over;
        }
        return;
    };
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, node) in old.iter().enumerate() {
        if let Some(key) = key(node) {
            places.entry(key).or_insert(place);
        }
    }
    for node in new {
        let wanted = key(node);
        let same = wanted.as_ref().and_then(|wanted| places.get(wanted)).copied();
        match same {
            Some(place) => {
                let both_maps =
                    matches!((&old[place].value, &node.value), (Value::Map(_), Value::Map(_)));
                match both_maps {
                    true => merge_maps(&mut old[place], node.clone(), &mut Vec::new()),
                    false => old[place] = node.clone(),
                }
            }
            None => {
                places.extend(wanted.map(|wanted| (wanted, old.len())));
                old.push(node.clone());
            }
        }
    }
}

/// What tells a published port from another.
fn port(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => {
            let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            Some(format!("{text}/{protocol}"))
        }
        Value::Map(_) => {
            let part = |key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default();
            let protocol = match part("protocol") {
                "" => "tcp",
                other => other,
            };
            let text = [part("host_ip"), part("published"), part("target")];
            let text: Vec<_> = text.into_iter().filter(|part| !part.is_empty()).collect();
            Some(format!("{}/{protocol}", text.join(":")))
        }
        Value::Null | Value::List(_) => None,
    }
}

/// Where something is mounted.
fn target(node: &Node) -> Option<String> {
    let target = match &node.value {
        Value::Text(text) => {
            let mut parts = text.split(':');
            let first = parts.next()?;
            parts.next().unwrap_or(first)
        }
        Value::Map(_) => node.get("target").and_then(Node::as_text)?,
        Value::Null | Value::List(_) => return None,
    };
    Some(target.trim_end_matches('/').to_owned())
}

/// Where a secret or config is found.
fn grant(node: &Node) -> Option<String> {
    let text = |key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Map(_) => text("target").or_else(|| text("source")),
        Value::Null | Value::List(_) => None,
    }
}

/// Takes away what `!reset` stands at, and the marks of what has been merged.
pub(crate) fn settle(node: &mut Node) {
    match &mut node.value {
        Value::Null | Value::Text(_) => {}
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.node.tag != Tag::Reset);
            entries.iter_mut().for_each(|entry| settle(&mut entry.node));
        }
    }
    node.tag = Tag::None;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::told::{Source, Told};
    use crate::yaml;

    fn tree(text: &str) -> Node {
        let source = Arc::new(Source { file: "f".into(), directory: String::new() });
        let told = Told::default();
        let read = yaml::read(text, &source, &told).unwrap();
        assert!(!told.failed(), "{:?}", told.refusal());
        read.0.into_iter().next().unwrap()
    }

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".into(),
            Value::Text(text) => text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            Value::Map(entries) => {
                let pair = |entry: &Entry| format!("{}: {}", entry.key, shown(&entry.node));
                format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn fields_merge_as_the_specification_says() {
        for (field, base, over, wanted) in [
            ("image", "a", "b", "b"),
            ("image", "a", "~", "a"),
            ("cap_add", "[A, B]", "[B, C]", "[A, B, C]"),
            ("command", "[a, b]", "[c]", "[c]"),
            ("command", "a b", "~", "a b"),
            ("entrypoint", "[a]", "x y", "x y"),
            ("healthcheck", "{test: [a], retries: 1}", "{test: [b]}", "{test: [b], retries: 1}"),
            ("environment", "[A=1, B=2]", "{A: 3, C: 4}", "{A: 3, B: 2, C: 4}"),
            ("environment", "{A: 1}", "[A]", "{A: ~}"),
            ("labels", "{a: 1}", "[b=2]", "{a: 1, b: 2}"),
            ("extra_hosts", "[\"a:1.1.1.1\"]", "{a: 2.2.2.2}", "{a: 2.2.2.2}"),
            (
                "depends_on",
                "[a]",
                "{b: {condition: service_healthy}}",
                "{a: ~, b: {condition: service_healthy}}",
            ),
            ("networks", "[a]", "[b]", "{a: ~, b: ~}"),
            (
                "ports",
                "[\"80:80\", 90]",
                "[\"80:80/tcp\", {target: 90}, \"81:80\"]",
                "[80:80/tcp, {target: 90}, 81:80]",
            ),
            (
                "volumes",
                "[\"foo:/work\", \"/a\"]",
                "[\"bar:/work\", {target: /a/, type: tmpfs}]",
                "[bar:/work, {target: /a/, type: tmpfs}]",
            ),
            ("secrets", "[a, b]", "[{source: a, mode: 1}]", "[{source: a, mode: 1}, b]"),
            ("env_file", "a", "b", "[a, b]"),
            ("dns", "[1.1.1.1]", "8.8.8.8", "[1.1.1.1, 8.8.8.8]"),
            ("logging", "{driver: a, options: {x: 1}}", "{driver: b}", "{driver: b}"),
            (
                "logging",
                "{driver: a, options: {x: 1}}",
                "{options: {y: 2}}",
                "{driver: a, options: {x: 1, y: 2}}",
            ),
            (
                "ulimits",
                "{nofile: 1}",
                "{nofile: {soft: 1, hard: 2}}",
                "{nofile: {soft: 1, hard: 2}}",
            ),
            ("ports", "[\"80:80\"]", "!override [\"90:90\"]", "[90:90]"),
        ] {
            let file = |value: &str| tree(&format!("services: {{web: {{{field}: {value}}}}}"));
            let mut merged = file(base);
            merge(&mut merged, file(over), &mut Vec::new());
            settle(&mut merged);
            let found = merged.get("services").and_then(|it| it.get("web")?.get(field)).map(shown);
            assert_eq!(found.as_deref(), Some(wanted), "{field}: {base} + {over}");
        }
    }

    #[test]
    fn reset_takes_away() {
        let mut merged = tree("services: {web: {ports: [\"1:1\"], environment: {A: 1, B: 2}}}");
        let over = tree("services: {web: {ports: !reset [], environment: {A: !reset null}}}");
        merge(&mut merged, over, &mut Vec::new());
        settle(&mut merged);
        assert_eq!(shown(&merged), "{services: {web: {environment: {B: 2}}}}");
    }
}
