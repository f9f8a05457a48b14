//! Interpolation: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?error}`, `${NAME:+other}`, `$$`
//! (Compose Specification, `12-interpolation.md`). Values are interpolated, keys are not.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::shorten;
use crate::told::Told;
use crate::yaml::{Node, Value};

/// Deepest nesting of defaults.
const DEEPEST: usize = 32;
/// Longest text that comes out.
const LONGEST: usize = 4 << 20;

/// The values of variables.
pub(crate) type Variables = BTreeMap<String, String>;

/// Interpolates all values of a tree, in place. What is wrong is told where it stands.
pub(crate) fn tree(node: &mut Node, variables: &Variables, told: &Told) {
    let mut missing = BTreeSet::new();
    walk(node, "", variables, told, &mut missing);
}

fn walk(
    node: &mut Node,
    path: &str,
    variables: &Variables,
    told: &Told,
    missing: &mut BTreeSet<String>,
) {
    match &mut node.value {
        Value::Null => {}
        Value::Text(written) => {
            if !written.contains('$') {
                return;
            }
            if told.left_filled() == 0 {
                return told.refuse(&node.at, path, "variables make too much of these files");
            }
            let mut unset = BTreeSet::new();
            let (done, cost) = costed(written, variables, &mut unset, told.left_filled());
            // What came to nothing was made all the same.
            match (told.spend_filled(cost), done) {
                (true, Ok(done)) => *written = done,
                (false, Ok(_)) => {
                    told.refuse(&node.at, path, "variables make too much of these files");
                }
                (_, Err(why)) => told.refuse(&node.at, path, why),
            }
            for name in unset {
                if missing.insert(name.clone()) {
                    let why = format!("variable {name} is not set: an empty text stands for it");
                    told.ignore(&node.at, path, why);
                }
            }
        }
        Value::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{i}]"), variables, told, missing);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let path = join(path, &entry.key);
                walk(&mut entry.node, &path, variables, told, missing);
            }
        }
    }
}

/// The path of a key below a path.
pub(crate) fn join(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => shorten(key),
        false => format!("{path}.{}", shorten(key)),
    }
}

/// Interpolates a text. `unset` takes the names for which there is neither a value nor a default.
///
/// # Errors
/// A sentence about what is wrong.
pub(crate) fn text(
    written: &str,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) -> Result<String, String> {
    costed(written, variables, unset, LONGEST).0
}

/// Interpolates a text, and says how many bytes that made, those that come to nothing among them. It makes
/// no more than what is left.
fn costed(
    written: &str,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
    left: usize,
) -> (Result<String, String>, usize) {
    let most = left.min(LONGEST);
    let mut work = Work { variables, unset, left: most, over: false };
    let done = work.text(written, 0);
    let cost = if work.over { most + 1 } else { most - work.left };
    (done, cost)
}

struct Work<'a> {
    variables: &'a Variables,
    unset: &'a mut BTreeSet<String>,
    left: usize,
    /// More was to be made than may be.
    over: bool,
}

impl Work<'_> {
    fn text(&mut self, written: &str, depth: usize) -> Result<String, String> {
        if depth > DEEPEST {
            return Err(format!("variables nested more than {DEEPEST} deep"));
        }
        let mut out = String::new();
        let mut rest = written;
        while let Some(place) = rest.find('$') {
            self.push(&mut out, &rest[..place])?;
            rest = &rest[place + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.push(&mut out, "$")?;
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = closing(after)
                    .ok_or_else(|| format!("{:?} lacks its '}}'", shorten(written)))?;
                let value = self.braced(&after[..end], depth)?;
                self.push(&mut out, &value)?;
                rest = &after[end + 1..];
            } else {
                let name = name_of(rest);
                if name.is_empty() {
                    self.push(&mut out, "$")?;
                } else {
                    let value = self.value(name);
                    self.push(&mut out, &value)?;
                }
                rest = &rest[name.len()..];
            }
        }
        self.push(&mut out, rest)?;
        Ok(out)
    }

    fn push(&mut self, out: &mut String, part: &str) -> Result<(), String> {
        match self.left.checked_sub(part.len()) {
            Some(left) => self.left = left,
            None => {
                self.over = true;
                return Err("variables make too much of these files".to_owned());
            }
        }
        out.push_str(part);
        Ok(())
    }

    fn value(&mut self, name: &str) -> String {
        match self.variables.get(name) {
            Some(value) => value.clone(),
            None => {
                self.unset.insert(name.to_owned());
                String::new()
            }
        }
    }

    /// What stands between braces.
    fn braced(&mut self, inside: &str, depth: usize) -> Result<String, String> {
        let name = name_of(inside);
        if name.is_empty() {
            return Err(format!(
                "${{{}}} names no variable; write $$ for a dollar sign",
                shorten(inside)
            ));
        }
        let rest = &inside[name.len()..];
        let (empty_counts, rest) = match rest.strip_prefix(':') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        let set = self.variables.get(name).filter(|value| empty_counts || !value.is_empty());
        let set = set.cloned();
        match (rest.chars().next(), set) {
            (None, _) if empty_counts => Ok(self.value(name)),
            (Some('-'), Some(value)) => Ok(value),
            (Some('-'), None) => self.text(&rest[1..], depth + 1),
            (Some('?'), Some(value)) => Ok(value),
            (Some('?'), None) => {
                let why = self.text(&rest[1..], depth + 1)?;
                let why =
                    if why.is_empty() { String::new() } else { format!(": {}", shorten(&why)) };
                Err(format!("variable {name} must be set{why}"))
            }
            (Some('+'), Some(_)) => self.text(&rest[1..], depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some(_) | None, _) => Err(format!(
                "${{{}}} is not understood: after a name stand -, :-, ?, :?, + or :+",
                shorten(inside)
            )),
        }
    }
}

/// The name of a variable at the beginning of a text.
fn name_of(text: &str) -> &str {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let more = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !text.starts_with(first) {
        return "";
    }
    &text[..text.find(|c| !more(c)).unwrap_or(text.len())]
}

/// Where the brace is that closes what begins before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'$' if bytes.get(i + 1) == Some(&b'$') => i += 1,
            b'$' if bytes.get(i + 1) == Some(&b'{') => {
                depth += 1;
                i += 1;
            }
            b'}' if depth == 0 => return Some(i),
            b'}' => depth -= 1,
            _ => {}
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [("A", "a"), ("EMPTY", ""), ("N_1", "n")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn done(written: &str) -> Result<String, String> {
        text(written, &variables(), &mut BTreeSet::new())
    }

    #[test]
    fn what_the_specification_says() {
        for (written, wanted) in [
            ("x", "x"),
            ("$A", "a"),
            ("${A}b$A", "aba"),
            ("$N_1.x", "n.x"),
            ("$$A", "$A"),
            ("$${A}", "${A}"),
            ("a$", "a$"),
            ("$1", "$1"),
            ("$ A", "$ A"),
            ("$NOT", ""),
            ("${EMPTY-d}", ""),
            ("${EMPTY:-d}", "d"),
            ("${NOT-d}", "d"),
            ("${NOT:-}", ""),
            ("${NOT:-${A}}", "a"),
            ("${NOT:-${NOT:-x}y}", "xy"),
            ("${NOT:-a:b-c}", "a:b-c"),
            ("${NOT:-$A}", "a"),
            ("${NOT:-$$}", "$"),
            ("${A+x}", "x"),
            ("${A:+x}", "x"),
            ("${EMPTY+x}", "x"),
            ("${EMPTY:+x}", ""),
            ("${NOT+x}", ""),
            ("${EMPTY?no}", ""),
        ] {
            assert_eq!(done(written).as_deref(), Ok(wanted), "{written}");
        }
        for (written, why) in [
            ("${NOT:?tell it}", "variable NOT must be set: tell it"),
            ("${EMPTY:?}", "variable EMPTY must be set"),
            ("${A", "\"${A\" lacks its '}'"),
            ("${}", "${} names no variable; write $$ for a dollar sign"),
            ("${A/x/y}", "${A/x/y} is not understood: after a name stand -, :-, ?, :?, + or :+"),
            ("${A:}", "${A:} is not understood: after a name stand -, :-, ?, :?, + or :+"),
        ] {
            assert_eq!(done(written).unwrap_err(), why, "{written}");
        }
    }

    #[test]
    fn names_without_a_value_are_told() {
        let mut unset = BTreeSet::new();
        text("$NOT ${ALSO} ${HAS:-d} $A", &variables(), &mut unset).unwrap();
        assert_eq!(unset.into_iter().collect::<Vec<_>>(), ["ALSO", "NOT"]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("{}x{}", "${N:-".repeat(100), "}".repeat(100));
        assert!(done(&deep).unwrap_err().contains("nested"));
        let many: Variables = [("B".to_owned(), "b".repeat(1 << 20))].into();
        let error = text(&"$B".repeat(10), &many, &mut BTreeSet::new()).unwrap_err();
        assert!(error.contains("too much"), "{error}");
    }
}
