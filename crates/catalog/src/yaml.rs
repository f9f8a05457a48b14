//! YAML as templates have it: a scalar that is asked for as text is the text that was written, `yes` is
//! no boolean, and of a key that is there twice the last counts, as in the program the template is for.

use model::{Error, Result};
use serde::de::DeserializeOwned;

/// Largest file of YAML.
const MAX: usize = 1 << 20;

/// Reads a file.
///
/// # Errors
/// `Invalid`, with the place, for what is not YAML or not of this shape.
pub(crate) fn read<T: DeserializeOwned>(path: &str, text: &str) -> Result<T> {
    if text.len() > MAX {
        return Err(Error::invalid(format!("{path} is larger than {} kB", MAX >> 10)));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    // A tab stands for white space in lines that are empty but for it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
        let cause = error.without_snippet().to_string();
        Error::invalid(format!("{path}{} cannot be read", place.unwrap_or_default()))
            .caused_by(std::io::Error::other(cause))
    })
}

/// The lines of a key at the top and of all that is below it; the first of these keys that is there.
/// A file that is no YAML before it is rendered is read so.
pub(crate) fn block(text: &str, keys: &[&str]) -> Option<String> {
    let begins = |line: &str| {
        keys.iter().any(|key| {
            let rest = line.strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    let mut lines = text.lines().skip_while(|line| !begins(line));
    let first = lines.next()?;
    let goes_on = |line: &&str| line.trim().is_empty() || line.starts_with([' ', '\t', '#']);
    let rest: Vec<&str> = lines.take_while(goes_on).collect();
    Some(format!("{first}\n{}\n", rest.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn text_is_as_it_was_written() {
        let text = "a: 1.10\nb: yes\nc: 0755\nd: true\ne:\nf: ''\na: 2.0\n";
        let read: BTreeMap<String, Option<String>> = read("f", text).unwrap();
        let values: Vec<Option<&str>> = read.values().map(Option::as_deref).collect();
        assert_eq!(values, [Some("2.0"), Some("yes"), Some("0755"), Some("true"), None, Some("")]);
    }

    #[test]
    fn a_fault_has_a_place_and_a_bomb_is_refused() {
        let fault = read::<BTreeMap<String, String>>("f.yml", "a: b\n  c: d\n").unwrap_err();
        assert!(fault.message().starts_with("f.yml:"), "{fault}");
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
        for (name, of) in "bcdefghij".chars().zip("abcdefghi".chars()) {
            let many = vec![format!("*{of}"); 10].join(",");
            bomb.push_str(&format!("{name}: &{name} [{many}]\n"));
        }
        assert!(read::<serde_json::Value>("f.yml", &bomb).is_err());
        assert!(read::<serde_json::Value>("f.yml", &"[".repeat(5000)).is_err());
    }

    #[test]
    fn a_block_is_cut_out() {
        let text =
            "web:\n  scale: {{ .Values.n }}\n.catalog:\n  name: x\n\n# y\n  version: 1\ndb: {}\n";
        assert_eq!(
            block(text, &[".catalog", "catalog"]).unwrap(),
            ".catalog:\n  name: x\n\n# y\n  version: 1\n"
        );
        assert_eq!(block(text, &["nothing"]), None);
    }
}
