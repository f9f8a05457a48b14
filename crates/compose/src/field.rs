//! A place in a tree while it is read: the value, its path, and where faults are told.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::files::shorten;
use crate::interpolate::join;
use crate::told::{At, Note, Told, note};
use crate::yaml::{Node, Value};

/// A value that is being read. What does not fit is told, and nothing comes of it.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub node: &'a Node,
    pub path: String,
    pub told: &'a Told,
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.path, self.node.at)
    }
}

impl<'a> Field<'a> {
    pub fn new(node: &'a Node, path: impl Into<String>, told: &'a Told) -> Self {
        Self { node, path: path.into(), told }
    }

    pub fn at(&self) -> &'a At {
        &self.node.at
    }

    /// It cannot be honoured.
    pub fn refuse(&self, why: impl Into<String>) {
        self.told.refuse(&self.node.at, self.path.clone(), why);
    }

    /// It is left out of account.
    pub fn ignore(&self, why: impl Into<String>) {
        self.told.ignore(&self.node.at, self.path.clone(), why);
    }

    /// Something to say of it, for whoever it concerns.
    pub fn note(&self, why: impl Into<String>) -> Note {
        note(&self.node.at, self.path.clone(), why.into())
    }

    /// What stands under a key; nothing when that is null.
    pub fn get(&self, key: &str) -> Option<Field<'a>> {
        let node = self.node.get(key)?;
        match node.value {
            Value::Null => None,
            _ => Some(Field::new(node, join(&self.path, key), self.told)),
        }
    }

    /// What stands under a key, null or not.
    pub fn get_null(&self, key: &str) -> Option<Field<'a>> {
        self.node.get(key).map(|node| Field::new(node, join(&self.path, key), self.told))
    }

    /// Keys and what stands under them; told when it is no mapping.
    pub fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::Map(entries) => {
                let field = |node, key| Field::new(node, join(&self.path, key), self.told);
                entries.iter().map(|it| (it.key.as_str(), field(&it.node, &it.key))).collect()
            }
            Value::Text(_) | Value::List(_) => {
                self.wrong("a mapping");
                Vec::new()
            }
        }
    }

    /// The items of a list; told when it is none.
    pub fn items(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, node)| Field::new(node, format!("{}[{i}]", self.path), self.told))
                .collect(),
            Value::Text(_) | Value::Map(_) => {
                self.wrong("a list");
                Vec::new()
            }
        }
    }

    /// The items of a list, or the only one.
    pub fn one_or_more(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::Text(_) => vec![self.clone()],
            Value::Null | Value::List(_) | Value::Map(_) => self.items(),
        }
    }

    fn wrong(&self, wanted: &str) {
        self.refuse(format!("{wanted} belongs here, not {}", self.node.kind()));
    }

    /// Its text; told when it is none.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong("a text");
                None
            }
        }
    }

    /// Its texts.
    pub fn texts(&self) -> Vec<String> {
        let items = self.one_or_more();
        items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    }

    /// What its text stands for, by a type's own reading.
    pub fn parsed<T: FromStr>(&self, wanted: &str) -> Option<T> {
        let text = self.text()?;
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.refuse(format!("{:?} is not {wanted}", shorten(text)));
        }
        parsed
    }

    /// What its text stands for, in words of the model's.
    pub fn read<T: FromStr<Err = model::Error>>(&self) -> Option<T> {
        match self.text()?.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(sentence(&error));
                None
            }
        }
    }

    /// A whole number, also as `0x1f`, `0o17`, `017` or `3.0`.
    pub fn number(&self) -> Option<i64> {
        let text = self.text()?;
        let found = number(text.trim());
        if found.is_none() {
            self.refuse(format!("{:?} is not a whole number", shorten(text)));
        }
        found
    }

    /// A whole number of that type.
    pub fn integer<T: TryFrom<i64>>(&self) -> Option<T> {
        let found = self.number()?;
        let fits = T::try_from(found).ok();
        if fits.is_none() {
            self.refuse(format!("{found} is out of range"));
        }
        fits
    }

    /// A truth value.
    pub fn flag(&self) -> Option<bool> {
        let text = self.text()?;
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
            _ => {
                self.refuse(format!("{:?} is neither true nor false", shorten(text)));
                None
            }
        }
    }

    /// A mapping of texts, or a list of `name=value`. A name without a value has `None`.
    pub fn pairs(&self) -> Vec<(String, Option<String>, Field<'a>)> {
        match &self.node.value {
            Value::List(_) => self
                .items()
                .into_iter()
                .filter_map(|item| {
                    let text = item.text()?;
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (text, None),
                    };
                    Some((name.to_owned(), value, item))
                })
                .collect(),
            Value::Null | Value::Text(_) | Value::Map(_) => self
                .entries()
                .into_iter()
                .filter_map(|(name, field)| {
                    let value = match &field.node.value {
                        Value::Null => None,
                        _ => Some(field.text()?.to_owned()),
                    };
                    Some((name.to_owned(), value, field))
                })
                .collect(),
        }
    }

    /// Labels: pairs, of which those without a value are empty.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let pairs = self.pairs().into_iter();
        pairs.map(|(name, value, _)| (name, value.unwrap_or_default())).collect()
    }
}

/// A whole number as YAML writes one.
pub(crate) fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1_i128, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    // A sign behind the prefix is none.
    let radix = |digits: &str, radix| {
        let signed = digits.starts_with(['+', '-']);
        i128::from_str_radix(digits, radix).ok().filter(|_| !signed)
    };
    let starts = |c: char| c.is_ascii_digit();
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        radix(octal, 8)
    } else if digits.len() > 1 && digits.starts_with('0') && digits.chars().all(starts) {
        radix(&digits[1..], 8).or_else(|| digits.parse().ok())
    } else if digits.starts_with(starts) {
        let whole = digits
            .split_once('.')
            .map_or(Some(digits), |(whole, rest)| rest.chars().all(|c| c == '0').then_some(whole));
        whole.and_then(|whole| whole.replace('_', "").parse().ok())
    } else {
        None
    };
    value.and_then(|value| i64::try_from(sign.checked_mul(value)?).ok())
}

/// What an error of the model's says, and what to do.
pub(crate) fn sentence(error: &model::Error) -> String {
    let mut text = error.message().to_owned();
    if let Some(next) = error.next_step() {
        text.push_str("; ");
        text.push_str(next);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, value) in [
            ("12", Some(12)),
            ("-1", Some(-1)),
            ("0755", Some(0o755)),
            ("0o17", Some(15)),
            ("0x1F", Some(31)),
            ("3.0", Some(3)),
            ("1_000", Some(1000)),
            ("08", Some(8)),
            ("3.5", None),
            ("", None),
            ("x", None),
            ("--1", None),
            ("0x", None),
            ("-0x-8000000000000000", None),
            ("0x-1", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-170141183460469231731687303715884105728", None),
            ("999999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }
}
