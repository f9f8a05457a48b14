//! A context that BuildKit fetches as an archive, without what steps are not to have. BuildKit leaves out
//! what `.dockerignore` names only where a client sends file by file; so it is told how the context is made,
//! in its own instructions (BuildKit's `solver/pb/ops.proto`).

use prost::encoding::{bool, int32, int64};
use sha2::{Digest, Sha256};

use super::wire;

/// What the frontend asks for.
const CONTEXT: &str = "context";
const DOCKERFILE: &str = "dockerfile";
/// The archive's name where it was fetched to.
const FILE: &str = "context";

/// Neither is said: of an input there is none, of a file's mode or time its own stays.
const NONE: i64 = -1;

/// The inputs of a build whose archive is at `address`: all of it for the Dockerfile, and for steps what is
/// not `left_out`.
#[must_use]
pub fn inputs(address: &str, left_out: &[String]) -> Vec<(String, Vec<u8>)> {
    let mut whole = Graph::default();
    let archive = whole.fetch(address);
    let unpacked = whole.copy(&archive, &format!("/{FILE}"), &[], "unpack the build context");
    let mut part = whole.clone();
    let kept = part.copy(&unpacked, "/", left_out, "leave out what .dockerignore says");
    [(DOCKERFILE, whole.end(&unpacked)), (CONTEXT, part.end(&kept))]
        .map(|(name, definition)| (name.to_owned(), definition))
        .to_vec()
}

/// The lines of a `.dockerignore` as BuildKit takes them: each a path, or `!` and a path.
#[must_use]
pub fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    let patterns = lines.filter(|line| !line.is_empty()).map(|line| {
        let (mark, path) = match line.strip_prefix('!') {
            Some(path) => ("!", path.trim()),
            None => ("", line),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
        format!("{mark}{path}")
    });
    patterns.collect()
}

/// Instructions, each behind those it stands on.
#[derive(Clone, Default)]
struct Graph {
    instructions: Vec<Vec<u8>>,
    /// Digests of instructions, and what they are called.
    names: Vec<(String, String)>,
}

impl Graph {
    fn add(&mut self, instruction: Vec<u8>, name: &str) -> String {
        let hex: String =
            Sha256::digest(&instruction).iter().map(|it| format!("{it:02x}")).collect();
        let digest = format!("sha256:{hex}");
        self.instructions.push(instruction);
        self.names.push((digest.clone(), format!("[internal] {name}")));
        digest
    }

    /// Fetches the archive.
    fn fetch(&mut self, address: &str) -> String {
        let (mut source, mut instruction) = (Vec::new(), Vec::new());
        wire::put(&mut source, 1, address.as_bytes());
        wire::put_entry(&mut source, 2, "http.filename", FILE.as_bytes());
        wire::put(&mut instruction, 3, &source);
        self.add(instruction, "load remote build context")
    }

    /// Copies what is at `path` to the root of nothing: what an archive has in it, or a directory without
    /// what is left out.
    fn copy(&mut self, of: &str, path: &str, left_out: &[String], name: &str) -> String {
        let is_archive = path != "/";
        let (mut copy, mut action, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        wire::put(&mut copy, 1, path.as_bytes());
        wire::put(&mut copy, 2, b"/");
        int32::encode(4, &-1, &mut copy);
        if is_archive {
            bool::encode(7, &true, &mut copy);
        } else {
            bool::encode(6, &true, &mut copy);
        }
        int64::encode(11, &NONE, &mut copy);
        left_out.iter().for_each(|pattern| wire::put(&mut copy, 13, pattern.as_bytes()));
        int64::encode(1, &NONE, &mut action);
        wire::put(&mut action, 4, &copy);
        wire::put(&mut actions, 2, &action);
        let mut instruction = input(of);
        wire::put(&mut instruction, 4, &actions);
        self.add(instruction, name)
    }

    /// All of it, for what comes of one of the instructions.
    fn end(mut self, digest: &str) -> Vec<u8> {
        self.instructions.push(input(digest));
        let mut definition = Vec::new();
        self.instructions.iter().for_each(|it| wire::put(&mut definition, 1, it));
        for (digest, name) in &self.names {
            let mut about = Vec::new();
            wire::put_entry(&mut about, 2, "llb.customname", name.as_bytes());
            wire::put_entry(&mut definition, 2, digest, &about);
        }
        definition
    }
}

/// An instruction that stands on this one, without what it does.
fn input(digest: &str) -> Vec<u8> {
    let (mut input, mut instruction) = (Vec::new(), Vec::new());
    wire::put(&mut input, 1, digest.as_bytes());
    wire::put(&mut instruction, 1, &input);
    instruction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_dockers() {
        let text = "\u{feff}# words\n\n*.key\n!public.key\n/build/\n./a//b/../c\n! d \n.\n";
        assert_eq!(patterns(text), ["*.key", "!public.key", "build", "a/c", "!d", "."]);
        assert!(patterns("").is_empty());
    }

    #[test]
    fn each_instruction_stands_on_those_before_it() {
        let inputs = inputs("http://127.0.0.1:1/c", &["*.key".into()]);
        for ((name, definition), (wanted, count)) in
            inputs.iter().zip([("dockerfile", 3), ("context", 4)])
        {
            assert_eq!(name, wanted);
            let fields = wire::fields(definition).unwrap();
            let instructions: Vec<&[u8]> =
                fields.iter().filter(|it| it.number == 1).map(|it| it.value.unwrap()).collect();
            assert_eq!(instructions.len(), count, "{name}");
            for pair in instructions.windows(2) {
                let of = wire::first(wire::first(pair[1]).unwrap()).unwrap();
                let hex: String =
                    Sha256::digest(pair[0]).iter().map(|it| format!("{it:02x}")).collect();
                assert_eq!(of, format!("sha256:{hex}").as_bytes());
            }
            assert_eq!(fields.iter().filter(|it| it.number == 2).count(), count - 1);
        }
        let whole = inputs[0].1.windows(5).any(|it| it == b"*.key");
        assert!(!whole && inputs[1].1.windows(5).any(|it| it == b"*.key"));
    }
}
