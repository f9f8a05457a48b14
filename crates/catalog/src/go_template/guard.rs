//! What is looked at before a template is read: whether all of its loops can be counted, and how often it
//! can have the engine call itself.

use regex::Regex;

/// Most blocks, and most parentheses. Both may be nested, and the engine calls itself for each.
pub(super) const MAX_NESTED: usize = 1000;

/// Gives each loop a call of `loopTick` as the first thing it does.
pub(super) fn count_loops(text: &str) -> Result<String, &'static str> {
    let calls = r"\{\{-?\s*(?:template|define|block)\b";
    if Regex::new(calls).expect("the expression is sound").is_match(text) {
        return Err("defines templates of its own, which is not read");
    }
    let blocks = Regex::new(r"\{\{-?\s*(?:if|with|range|else)\b").expect("the expression is sound");
    if blocks.find_iter(text).count() > MAX_NESTED || text.matches('(').count() > MAX_NESTED {
        return Err("has more than 1000 blocks or parentheses");
    }
    if text.contains("loopTick") {
        return Err("calls what is not for it");
    }
    // An action ends at the first `}}` outside of texts.
    let ranges = Regex::new(
        r#"(\{\{-?\s*range\b(?:[^"`'}{]|"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*')*?)(-?)\}\}"#,
    );
    let ranges = ranges.expect("the expression is sound");
    let counted = ranges.replace_all(text, "${1}}}{{loopTick ${2}}}");
    let begins = Regex::new(r"\{\{-?\s*range\b").expect("the expression is sound");
    if begins.find_iter(text).count() != counted.matches("{{loopTick ").count() {
        return Err("has a loop that cannot be read");
    }
    Ok(counted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_counts() {
        for (text, expected) in [
            ("{{range .a}}x{{end}}", "{{range .a}}{{loopTick }}x{{end}}"),
            ("{{- range .a -}} x{{end}}", "{{- range .a }}{{loopTick -}} x{{end}}"),
            ("{{range f \"}}\" `}}`}}", "{{range f \"}}\" `}}`}}{{loopTick }}"),
        ] {
            assert_eq!(count_loops(text).as_deref(), Ok(expected));
        }
        for bad in ["{{range", "{{range \"}}", "{{range {{range}}", "{{loopTick }}{{range"] {
            assert!(count_loops(bad).is_err(), "{bad}");
        }
    }
}
