//! What is looked at before a template is read: whether it can call itself, and how often it can have the
//! engine do so.

use regex::Regex;

/// Most blocks, and most parentheses. Both may be nested, and the engine calls itself for each.
pub(super) const MAX_NESTED: usize = 1000;

/// Refuses what is not handed to the engine.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let calls = r"\{\{-?\s*(?:template|define|block)\b";
    if Regex::new(calls).expect("the expression is sound").is_match(text) {
        return Err("defines templates of its own, which is not read");
    }
    let blocks = Regex::new(r"\{\{-?\s*(?:if|with|range|else)\b").expect("the expression is sound");
    if blocks.find_iter(text).count() > MAX_NESTED || text.matches('(').count() > MAX_NESTED {
        return Err("has more than 1000 blocks or parentheses");
    }
    Ok(())
}
