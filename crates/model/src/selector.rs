//! Which objects of a list are meant: label selectors and field selectors.

use crate::error::{Error, Result};
use crate::meta::Labels;

/// Terms over labels that must all hold: `app=web`, `app!=web`, `app`, `!app`, joined by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Equals(String, String),
    Differs(String, String),
    Present(String),
    Absent(String),
}

impl Selector {
    /// Reads a comma-separated list of terms; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self> {
        let terms = text.split(',').map(str::trim).filter(|term| !term.is_empty());
        Ok(Self { terms: terms.map(parse_term).collect::<Result<_>>()? })
    }

    /// Whether all terms hold for these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_with(|key| labels.get(key).cloned())
    }

    /// Whether all terms hold for what `get` finds; also used for fields such as `status.phase`.
    pub fn matches_with(&self, get: impl Fn(&str) -> Option<String>) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Equals(key, value) => get(key).as_ref() == Some(value),
            Term::Differs(key, value) => get(key).as_ref() != Some(value),
            Term::Present(key) => get(key).is_some(),
            Term::Absent(key) => get(key).is_none(),
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

fn parse_term(term: &str) -> Result<Term> {
    let key = |text: &str| match text.trim() {
        "" => Err(Error::invalid(format!("{term:?} is not a selector term"))
            .next("write key=value, key!=value, key or !key")),
        key => Ok(key.to_owned()),
    };
    if let Some((left, right)) = term.split_once("!=") {
        return Ok(Term::Differs(key(left)?, right.trim().to_owned()));
    }
    if let Some((left, right)) = term.split_once('=') {
        let right = right.strip_prefix('=').unwrap_or(right);
        return Ok(Term::Equals(key(left)?, right.trim().to_owned()));
    }
    match term.strip_prefix('!') {
        Some(rest) => Ok(Term::Absent(key(rest)?)),
        None => Ok(Term::Present(key(term)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        let labels = Labels::from([("app".into(), "web".into()), ("tier".into(), "".into())]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("zone!=a", true),
            ("!zone", true),
            ("!app", false),
            ("app=web, zone", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        assert!(Selector::parse("=x").is_err());
    }
}
