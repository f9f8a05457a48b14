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

    /// The labels or fields it asks for.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| match term {
            Term::Equals(key, _) | Term::Differs(key, _) => key.as_str(),
            Term::Present(key) | Term::Absent(key) => key.as_str(),
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

fn parse_term(term: &str) -> Result<Term> {
    // No key has these; `tier in (a,b)` is meant otherwise, and must not select nothing in silence.
    let odd = |c: char| c.is_whitespace() || "()<>=!".contains(c);
    let key = |text: &str| match text.trim() {
        key if key.is_empty() || key.contains(odd) => {
            Err(Error::invalid(format!("{term:?} is not a selector term"))
                .next("write key=value, key!=value, key or !key, joined by commas"))
        }
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
        for text in ["=x", "tier in (a,b)", "a>1", "!!a", "a b"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
