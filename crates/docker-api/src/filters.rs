//! Filters of lists: JSON in the query, `{"label": ["a=b"]}` or, from old clients,
//! `{"label": {"a=b": true}}`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::failure::Failure;
use crate::query::Query;

/// The filters of a request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

/// Most values of all filters together: each may be a pattern.
const MOST: usize = 256;

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Set(set) => set.len(),
        }
    }
}

impl Filters {
    /// Reads the field `filters` and refuses filters that the list does not have.
    pub(crate) fn read(query: &Query, known: &[&str]) -> Result<Self, Failure> {
        Self::parse(query.text("filters"), known)
    }

    /// The same from the field's text.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, Failure> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let raw: BTreeMap<String, Option<Values>> = serde_json::from_str(text)
            .map_err(|error| Failure::bad(format!("invalid filter: {error}")))?;
        if let Some(name) = raw.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Failure::bad(format!("invalid filter '{name}'")));
        }
        let many = raw.values().flatten().map(Values::len).sum::<usize>();
        if many > MOST {
            return Err(Failure::bad(format!("invalid filter: {many} values, over {MOST}")));
        }
        let list = |values| match values {
            None => Vec::new(),
            Some(Values::List(list)) => list,
            Some(Values::Set(set)) => {
                set.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect()
            }
        };
        Ok(Self(raw.into_iter().map(|(name, values)| (name, list(values))).collect()))
    }

    /// The values of a filter.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the filter was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether the filter was not given, or one of its values is wanted.
    pub(crate) fn any(&self, name: &str, wanted: impl Fn(&str) -> bool) -> bool {
        let values = self.all(name);
        values.is_empty() || values.iter().any(|value| wanted(value))
    }

    /// The only value of a filter that is a boolean.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let [value] = self.all(name) else { return Ok(None) };
        match value.as_str() {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Ok(Some(true)),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(Some(false)),
            other => Err(Failure::bad(format!("invalid filter '{name}=[{other}]'"))),
        }
    }

    /// The filter `name`.
    pub(crate) fn names(&self) -> Result<Names, Failure> {
        let read = |pattern: &String| {
            let built = RegexBuilder::new(pattern).size_limit(1 << 20).build();
            built.map_err(|_| Failure::bad(format!("invalid filter 'name={pattern}'")))
        };
        Ok(Names(self.all("name").iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether labels are as `label` and `label!` say: `key`, `key=value`; all must hold.
    pub(crate) fn labels<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let holds = |term: &String| match term.split_once('=') {
            Some((key, value)) => get(key) == Some(value),
            None => get(term).is_some(),
        };
        self.all("label").iter().all(holds) && !self.all("label!").iter().any(holds)
    }
}

/// What the filter `name` wants: names are matched as regular expressions.
pub(crate) struct Names(Vec<Regex>);

impl Names {
    /// Whether one of them matches, or none was given.
    pub(crate) fn any(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(name))
    }

    /// The same for a container, whose name has a slash before it as well as not.
    pub(crate) fn any_container(&self, name: &str) -> bool {
        self.any(name) || self.any(&format!("/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Filters, String> {
        let query = http::Request::builder()
            .uri(format!("/x?filters={}", text.replace('{', "%7B").replace('"', "%22")))
            .body(())
            .unwrap();
        let (mut parts, ()) = query.into_parts();
        let query = futures::executor::block_on(
            <Query as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &()),
        );
        Filters::read(&query.unwrap(), &["label", "dangling"]).map_err(|failure| failure.message)
    }

    #[test]
    fn name_patterns() {
        for (pattern, met) in
            [("web", true), ("^web-1$", true), ("^/web-1$", true), ("^eb", false), ("1$", true)]
        {
            let names = Names(vec![Regex::new(pattern).unwrap()]);
            assert_eq!(names.any_container("web-1"), met, "{pattern}");
        }
    }

    #[test]
    fn both_forms() {
        for text in [r#"{"label":["a=b"]}"#, r#"{"label":{"a=b":true}}"#] {
            let filters = read(text).unwrap();
            assert_eq!(filters.all("label"), ["a=b"]);
            assert!(filters.labels(|key| (key == "a").then_some("b")));
            assert!(!filters.labels(|_| None));
        }
        assert_eq!(read(r#"{"dangling":["1"]}"#).unwrap().flag("dangling").unwrap(), Some(true));
        assert_eq!(read(r#"{"x":["1"]}"#).unwrap_err(), "invalid filter 'x'");
        assert!(read("{").is_err());
    }
}
