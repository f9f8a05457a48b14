//! Ranges of keys as SQLite sees them.

use crate::RangeRequest;

/// Above every key: this byte occurs in no UTF-8.
const ABOVE_ALL: &[u8] = &[0xff];

/// Keys from `from` up to and without `to`, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl Bounds {
    pub(super) fn prefix(prefix: &str) -> Self {
        Self { from: prefix.into(), to: end_of_prefix(prefix.as_bytes()) }
    }

    pub(super) fn of(request: &RangeRequest) -> Self {
        let Self { from, to } = Self::prefix(&request.prefix);
        let end = request.end.as_ref().map_or(ABOVE_ALL, String::as_bytes);
        Self {
            from: from.max(request.start.clone().into_bytes()),
            to: if end < to.as_slice() { end.into() } else { to },
        }
    }
}

/// What comes after all keys that begin with `prefix`. UTF-8 has no byte 255, so the last byte can
/// always be counted up.
fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    match prefix.split_last() {
        Some((last, rest)) => [rest, &[last + 1]].concat(),
        None => ABOVE_ALL.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(prefix: &str, start: &str, end: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let bounds = Bounds::of(&RangeRequest {
            prefix: prefix.into(),
            start: start.into(),
            end: end.map(Into::into),
            ..RangeRequest::default()
        });
        (bounds.from, bounds.to)
    }

    #[test]
    fn all_three_bounds_hold() {
        let check = |request: (&str, &str, Option<&str>), from: &[u8], to: &[u8]| {
            assert_eq!(bounds(request.0, request.1, request.2), (from.into(), to.into()));
        };
        check(("", "", None), b"", b"\xff");
        check(("a/", "", None), b"a/", b"a0");
        check(("a/", "a/k", None), b"a/k", b"a0");
        check(("a/", "Z", Some("a/m")), b"a/", b"a/m");
        check(("a/", "", Some("b")), b"a/", b"a0");
        check(("\u{10ffff}", "", None), "\u{10ffff}".as_bytes(), b"\xf4\x8f\xbf\xc0");
    }
}
