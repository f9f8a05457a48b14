//! `.dockerignore`: what of a context is not sent. Patterns are read as Docker reads them: each stands for a
//! path from the context's root and all that is below it, and the last one that fits counts.

use globset::{GlobBuilder, GlobMatcher};
use model::{Error, Result};

/// Patterns of what is left out.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// It takes in again what one before it leaves out.
    takes_in: bool,
    path: GlobMatcher,
}

impl Ignore {
    /// Reads the patterns of a file.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern.
    pub fn read(text: &str) -> Result<Self> {
        let lines =
            text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#'));
        let lines = lines.map(str::trim).filter(|line| !line.is_empty());
        let patterns = lines.filter_map(|line| pattern(line).transpose());
        Ok(Self { patterns: patterns.collect::<Result<_>>()? })
    }

    /// Whether a path, or a directory that it is in, is left out.
    #[must_use]
    pub fn leaves_out(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let paths: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let fits = |pattern: &&Pattern| paths.iter().any(|path| pattern.path.is_match(path));
        self.patterns.iter().rev().find(fits).is_some_and(|last| !last.takes_in)
    }

    /// Whether something below a directory that is left out may be taken in.
    #[must_use]
    pub fn takes_in(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_in)
    }
}

fn pattern(line: &str) -> Result<Option<Pattern>> {
    let refused = || {
        Error::invalid(format!("{line:?} in .dockerignore is no pattern"))
            .next("write it like **/node_modules, or !keep/this")
    };
    let (takes_in, written) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    if written.is_empty() {
        return Err(refused());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    // Braces are letters to Docker.
    let text = parts.join("/").replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
    let glob = glob.map_err(|error| refused().caused_by(error))?;
    Ok(Some(Pattern { takes_in, path: glob.compile_matcher() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out() {
        for (patterns, out, kept) in [
            ("node_modules", &["node_modules", "node_modules/a/b"][..], &["a/node_modules"][..]),
            ("**/*.log", &["x.log", "a/b/x.log"], &["x.log.txt"]),
            ("*.md\n!README.md", &["a.md"], &["README.md", "docs/a.md"]),
            ("# docs\n\n /docs/ \n!docs/api", &["docs/x"], &["docs/api", "docs/api/y"]),
            ("*\n!src", &["a", "b/c"], &["src", "src/a.rs"]),
            ("!a\na", &["a"], &["b"]),
            ("./a/../b", &["b/c"], &["a"]),
            ("te?p[0-9]", &["temp1", "temp1/x"], &["temp", "te/p1"]),
            ("a{b,c}", &["a{b,c}"], &["ab"]),
            ("dir/**", &["dir/a", "dir/a/b"], &["dirs"]),
            (".", &[], &["a"]),
        ] {
            let ignore = Ignore::read(patterns).unwrap();
            out.iter().for_each(|path| assert!(ignore.leaves_out(path), "{patterns:?}: {path}"));
            kept.iter().for_each(|path| assert!(!ignore.leaves_out(path), "{patterns:?}: {path}"));
        }
        for bad in ["!", "a[", "! "] {
            assert!(Ignore::read(bad).is_err(), "{bad:?}");
        }
    }
}
