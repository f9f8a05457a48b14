//! Versions as templates have them: numbers with dots, perhaps a `v` before and words behind.

use std::cmp::Ordering;

/// A version that can be compared: numbers, then the words of an early release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    early: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// Reads one; what is no number before the first word counts as none.
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim().trim_start_matches(['v', 'V', '=']);
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, early) = text.split_once('-').unwrap_or((text, ""));
        let number = |part: &str| part.parse().unwrap_or(0);
        let mut numbers: Vec<u64> = numbers.split('.').map(number).collect();
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let part =
            |part: &str| part.parse().map_or_else(|_| Part::Word(part.to_owned()), Part::Number);
        let early = early.split(['.', '-']).filter(|part| !part.is_empty()).map(part).collect();
        Self { numbers, early }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // As in Semantic Versioning, an early release comes before the one it is of.
        self.numbers.cmp(&other.numbers).then_with(|| match (&*self.early, &*other.early) {
            ([], []) => Ordering::Equal,
            ([], _) => Ordering::Greater,
            (_, []) => Ordering::Less,
            (one, two) => one.cmp(two),
        })
    }
}

/// Whether a version is in a range: comparisons side by side that all hold, or others behind `||`.
pub fn within(version: &str, range: &str) -> bool {
    let known = Version::read(version);
    range.split("||").any(|part| {
        let mut words = part.split_whitespace().peekable();
        words.peek().is_some() && words.all(|word| holds(&known, word, version))
    })
}

fn holds(known: &Version, word: &str, text: &str) -> bool {
    let sign = word.find(|c: char| !"<>=!".contains(c)).unwrap_or(word.len());
    let (sign, bound) = word.split_at(sign);
    let order = known.cmp(&Version::read(bound));
    match sign {
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        "<" => order.is_lt(),
        "!=" | "!" => order.is_ne(),
        "" if bound == "*" => true,
        _ => order.is_eq() || text == bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let rising = ["", "v0.9", "1.2.0-pre3", "1.2.0-pre4-rc1", "v1.2.0", "1.2.1", "1.10", "2"];
        for pair in rising.windows(2) {
            assert!(Version::read(pair[0]) < Version::read(pair[1]), "{pair:?}");
        }
        assert_eq!(Version::read("v1.0.0"), Version::read("1"));
    }

    #[test]
    fn ranges() {
        for (version, range, holds) in [
            ("2.0.0", "2.0.0", true),
            ("v0.3.0", "v0.2.0 || >v0.2.0", true),
            ("v0.1.0", "v0.2.0 || >v0.2.0", false),
            ("1.5", ">=1.0 <2.0", true),
            ("2.0", ">=1.0 <2.0", false),
            ("0.5-rancher1", "0.5-rancher1", true),
            ("1.0", "", false),
            ("1.0", "*", true),
        ] {
            assert_eq!(within(version, range), holds, "{version} in {range}");
        }
    }
}
