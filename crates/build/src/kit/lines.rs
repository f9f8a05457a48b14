//! BuildKit's progress as lines of text, as its own clients print it where nobody watches.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::wire;

/// Reads messages of progress (`StatusResponse` of BuildKit's API) one after the other.
#[derive(Debug, Default)]
pub struct Lines {
    /// Steps by digest.
    steps: BTreeMap<String, Told>,
    /// Of whom the last line was.
    last: usize,
}

/// What was told of a step.
#[derive(Debug, Default)]
struct Told {
    number: usize,
    begun: bool,
    ended: bool,
    /// A line whose end has not come.
    rest: String,
}

impl Lines {
    /// What a message adds; nothing for one that cannot be read.
    #[must_use]
    pub fn read(&mut self, message: &[u8]) -> String {
        let mut out = String::new();
        for field in wire::fields(message).unwrap_or_default() {
            let Some(value) = field.value else { continue };
            match field.number {
                1 => self.vertex(value, &mut out),
                3 => self.log(value, &mut out),
                _ => {}
            }
        }
        out
    }

    fn vertex(&mut self, message: &[u8], out: &mut String) {
        let (mut digest, mut name, mut error) = (String::new(), String::new(), String::new());
        let (mut cached, mut started, mut completed) = (false, false, false);
        for field in wire::fields(message).unwrap_or_default() {
            match field.number {
                1 => digest = field.text(),
                3 => name = field.text(),
                // The only truth value there is; one that is false is not on the wire.
                4 => cached = true,
                5 => started = true,
                6 => completed = true,
                7 => error = field.text(),
                _ => {}
            }
        }
        let step = self.step(&digest);
        let number = step.number;
        if started && !step.begun {
            step.begun = true;
            self.head(number, out);
            let _ = writeln!(out, "#{number} {}", name.replace('\n', " "));
        }
        let step = self.step(&digest);
        if completed && step.begun && !step.ended {
            step.ended = true;
            let rest = std::mem::take(&mut step.rest);
            if !rest.is_empty() {
                let _ = writeln!(out, "#{number} {rest}");
            }
            self.head(number, out);
            let _ = match (error.as_str(), cached) {
                ("", true) => writeln!(out, "#{number} CACHED"),
                ("", false) => writeln!(out, "#{number} DONE"),
                (error, _) => writeln!(out, "#{number} ERROR: {}", error.replace('\n', " ")),
            };
        }
    }

    fn log(&mut self, message: &[u8], out: &mut String) {
        let (mut digest, mut text) = (String::new(), String::new());
        for field in wire::fields(message).unwrap_or_default() {
            match field.number {
                1 => digest = field.text(),
                4 => text = field.text(),
                _ => {}
            }
        }
        let step = self.step(&digest);
        let number = step.number;
        step.rest.push_str(&text);
        let whole = step.rest.rfind('\n').map_or(0, |end| end + 1);
        let whole: String = step.rest.drain(..whole).collect();
        if !whole.is_empty() {
            self.head(number, out);
        }
        for line in whole.lines() {
            let _ = writeln!(out, "#{number} {}", line.trim_end_matches('\r'));
        }
    }

    fn step(&mut self, digest: &str) -> &mut Told {
        let number = self.steps.len() + 1;
        self.steps.entry(digest.to_owned()).or_insert_with(|| Told { number, ..Told::default() })
    }

    /// An empty line where another step goes on.
    fn head(&mut self, number: usize, out: &mut String) {
        if self.last != 0 && self.last != number {
            out.push('\n');
        }
        self.last = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(digest: &str, name: &str, more: &[(u32, &[u8])], cached: bool) -> Vec<u8> {
        let mut vertex = Vec::new();
        wire::put(&mut vertex, 1, digest.as_bytes());
        wire::put(&mut vertex, 3, name.as_bytes());
        if cached {
            prost::encoding::bool::encode(4, &true, &mut vertex);
        }
        more.iter().for_each(|(number, value)| wire::put(&mut vertex, *number, value));
        let mut out = Vec::new();
        wire::put(&mut out, 1, &vertex);
        out
    }

    fn log(digest: &str, text: &str) -> Vec<u8> {
        let mut log = Vec::new();
        wire::put(&mut log, 1, digest.as_bytes());
        wire::put(&mut log, 4, text.as_bytes());
        let mut out = Vec::new();
        wire::put(&mut out, 3, &log);
        out
    }

    #[test]
    fn steps_are_told_once_and_their_output_in_whole_lines() {
        let mut lines = Lines::default();
        let mut text = String::new();
        for message in [
            vertex("a", "FROM busybox", &[], false),
            vertex("a", "FROM busybox", &[(5, b"")], false),
            vertex("a", "FROM busybox", &[(5, b""), (6, b"")], true),
            vertex("b", "RUN make", &[(5, b"")], false),
            log("b", "one\r\ntw"),
            log("b", "o\nthr"),
            vertex("b", "RUN make", &[(5, b""), (6, b""), (7, b"exit code: 2")], false),
            vertex("b", "RUN make", &[(5, b""), (6, b""), (7, b"exit code: 2")], false),
            b"\xff\xff".to_vec(),
        ] {
            text.push_str(&lines.read(&message));
        }
        assert_eq!(
            text,
            "#1 FROM busybox\n#1 CACHED\n\n#2 RUN make\n#2 one\n#2 two\n#2 thr\n\
             #2 ERROR: exit code: 2\n"
        );
    }
}
