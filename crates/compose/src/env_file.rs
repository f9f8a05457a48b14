//! Files of variables: `.env` and `env_file`. Lines `NAME=value`, with `export` before it or not; single
//! quotes keep what is in them, double quotes know escapes and variables, and both may span lines; `#`
//! begins a remark where a line begins or after white space.

use std::collections::BTreeSet;

use crate::files::shorten;
use crate::interpolate::{self, Variables};

/// Most bytes of all values of one file.
const MOST_BYTES: usize = 4 << 20;

/// A line's number and what is wrong with it.
pub(crate) type Bad = (u32, String);

/// How values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// With quotes, remarks and variables.
    Usual,
    /// All that stands behind `=`, as it is.
    Raw,
}

/// Reads the variables of a file, in order. Values may use what `outer` has and what stands before them. A
/// name alone takes its value from `outer`, and is `None` when that has none.
pub(crate) fn read(
    text: &str,
    format: Format,
    outer: &Variables,
) -> Result<Vec<(String, Option<String>)>, Bad> {
    let mut known = outer.clone();
    let mut out = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    let (mut number, mut total) = (0_u32, 0);
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        number += 1;
        let first = number;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let trimmed = match trimmed.strip_prefix("export") {
            Some(name) if name.starts_with([' ', '\t']) => name.trim_start(),
            Some(_) | None => trimmed,
        };
        let Some((name, value)) = split(trimmed) else {
            let name = check(trimmed.trim_end(), first)?;
            out.push((name.to_owned(), known.get(name).cloned()));
            rest = after;
            continue;
        };
        let name = check(name.trim_end(), first)?;
        let value = if format == Format::Raw {
            rest = after;
            value.to_owned()
        } else if let Some(quote) = value.trim_start().chars().next().filter(|c| "'\"".contains(*c))
        {
            let start = value.trim_start().as_ptr() as usize - rest.as_ptr() as usize;
            let (inside, length) = quoted(&rest[start + 1..], quote)
                .ok_or_else(|| (first, format!("the value of {name} lacks its {quote}")))?;
            let lines = rest[..start + 1 + length].matches('\n').count();
            number += u32::try_from(lines).unwrap_or(0);
            let behind = &rest[start + 2 + length..];
            rest = behind.split_once('\n').map_or("", |(_, after)| after);
            match quote {
                '"' => expand(&escapes(inside), &known).map_err(|why| (first, why))?,
                _ => inside.to_owned(),
            }
        } else {
            rest = after;
            expand(unquoted(value), &known).map_err(|why| (first, why))?
        };
        total += value.len();
        if total > MOST_BYTES {
            return Err((
                first,
                format!("variables of more than {} MiB together", MOST_BYTES >> 20),
            ));
        }
        known.insert(name.to_owned(), value.clone());
        out.push((name.to_owned(), Some(value)));
    }
    Ok(out)
}

/// Name and value: at `=`, or at `: ` as YAML has it.
fn split(line: &str) -> Option<(&str, &str)> {
    let equals = line.find('=');
    let colon = line.find(": ").or_else(|| line.strip_suffix(':').map(str::len));
    match (equals, colon) {
        (Some(equals), Some(colon)) if colon < equals => {
            Some((&line[..colon], line[colon + 1..].trim_start()))
        }
        (Some(equals), _) => Some((&line[..equals], &line[equals + 1..])),
        (None, Some(colon)) => Some((&line[..colon], line[colon + 1..].trim_start())),
        (None, None) => None,
    }
}

fn check(name: &str, line: u32) -> Result<&str, Bad> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
    match !name.is_empty() && name.chars().all(good) && !name.starts_with('-') {
        true => Ok(name),
        false => Err((line, format!("{:?} is not the name of a variable", shorten(name)))),
    }
}

/// What stands before the closing quote, and how long that is.
fn quoted(text: &str, quote: char) -> Option<(&str, usize)> {
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return Some((&text[..place], place)),
            _ => {}
        }
    }
    None
}

/// Without a remark and white space at the ends.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    if value.starts_with('#') {
        return "";
    }
    let remark = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
    value[..remark.unwrap_or(value.len())].trim_end()
}

fn escapes(inside: &str) -> String {
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some('$') => out.push_str("$$"),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

fn expand(value: &str, known: &Variables) -> Result<String, String> {
    if !value.contains('$') {
        return Ok(value.to_owned());
    }
    interpolate::text(value, known, &mut BTreeSet::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, format: Format) -> Vec<(String, Option<String>)> {
        let outer = [("OUT".to_owned(), "o".to_owned())].into();
        read(text, format, &outer).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn lines_as_people_write_them() {
        for (text, name, value) in [
            ("A=1", "A", "1"),
            ("  A = x y  ", "A", "x y"),
            ("export A=1\r\n", "A", "1"),
            ("A=", "A", ""),
            ("A=x # remark", "A", "x"),
            ("A=x#y", "A", "x#y"),
            ("A= # remark", "A", ""),
            ("A='x # $B'", "A", "x # $B"),
            ("A=\"x\\ny\\\"z\\$B\" # remark", "A", "x\ny\"z$B"),
            ("A=\"one\ntwo\"\n", "A", "one\ntwo"),
            ("A=$OUT/${NOT:-d}", "A", "o/d"),
            ("A=a=b", "A", "a=b"),
            ("A: x", "A", "x"),
            ("A=\"\"", "A", ""),
            ("a.b-c=1", "a.b-c", "1"),
        ] {
            assert_eq!(values(text, Format::Usual), [pair(name, value)], "{text:?}");
        }
        let several = "# first\n\nA='1\n2'\nB=${A}\nOUT\nNOT\n";
        let wanted =
            [pair("A", "1\n2"), pair("B", "1\n2"), pair("OUT", "o"), ("NOT".to_owned(), None)];
        assert_eq!(values(several, Format::Usual), wanted);
        assert_eq!(values("A='x' # $B", Format::Raw), [pair("A", "'x' # $B")]);
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, line, why) in [
            ("A=1\n=2", 2, "\"\" is not the name of a variable"),
            ("A='1\n2'\nB=\"x\n\n", 3, "the value of B lacks its \""),
            ("a b", 1, "\"a b\" is not the name of a variable"),
            ("A=${B", 1, "\"${B\" lacks its '}'"),
        ] {
            let error = read(text, Format::Usual, &Variables::new()).unwrap_err();
            assert_eq!(error, (line, why.to_owned()), "{text:?}");
        }
    }
}
