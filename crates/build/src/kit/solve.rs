//! What is asked of BuildKit by those who take it for a part of Docker Engine, in words that any BuildKit
//! knows (`moby.buildkit.v1.Control` in BuildKit's `api/services/control/control.proto`).
//!
//! Engine's own BuildKit has an exporter `moby`, which puts the image among Engine's. Here the exporter
//! `docker` writes it as an archive to the client's session, on whose way it is taken in.

use std::collections::BTreeMap;

use model::image::Reference;

use super::wire::{self, Field};

/// The exporter that only Engine has, and the one that others have in its place.
const ENGINES: [&str; 2] = ["moby", "image"];
/// The exporter that writes an archive, and what its progress is called.
const ARCHIVE: &str = "docker";
const ARCHIVE_VERTEX: &str = "exporting to docker image format";
const ARCHIVE_STATUS: &str = "sending tarball";

/// Label of a worker that has an image store of its own.
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";

/// Label of Engine's worker.
const GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

/// Attributes of an image exporter that mean nothing to that of an archive.
const IMAGE_ONLY: [&str; 9] = [
    "dangling-name-prefix",
    "danging-name-empty-only",
    "name-canonical",
    "push",
    "push-by-digest",
    "registry.insecure",
    "store",
    "unpack",
    "unsafe-internal-store-allow-incomplete",
];

/// Fields of `SolveRequest`.
mod field {
    pub(super) const REF: u32 = 1;
    /// Of BuildKit before 0.13; with its attributes.
    pub(super) const EXPORTER: u32 = 3;
    pub(super) const EXPORTER_ATTRS: u32 = 4;
    pub(super) const SESSION: u32 = 5;
    pub(super) const FRONTEND_ATTRS: u32 = 7;
    pub(super) const EXPORTERS: u32 = 13;
}

/// A build, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Solve {
    /// The request for a BuildKit that is not Engine's.
    pub(crate) message: Vec<u8>,
    /// What the client calls the build.
    pub(crate) reference: String,
    /// The client's session.
    pub(crate) session: String,
    /// Numbers of the exporters whose images are taken in.
    pub(crate) taken: Vec<String>,
    /// Names the images get.
    pub(crate) names: Vec<String>,
    /// Registries are to be asked what names mean now.
    pub(crate) fresh: bool,
    /// Platforms it is for, with commas between them; the node's own when empty.
    pub(crate) platforms: String,
}

impl Solve {
    /// Whether it makes an image of several platforms, which an archive cannot hold.
    pub(crate) fn is_of_many(&self) -> bool {
        !self.taken.is_empty() && self.platforms.contains(',')
    }
}

/// An exporter.
#[derive(Default)]
struct Exporter<'a> {
    kind: String,
    attrs: BTreeMap<String, String>,
    /// What else it has.
    others: Vec<Field<'a>>,
}

impl<'a> Exporter<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut exporter = Self::default();
        for it in wire::fields(message)? {
            match (it.number, it.value) {
                (1, Some(_)) => exporter.kind = it.text(),
                (2, Some(value)) => exporter.attrs.extend(wire::entry(value)),
                _ => exporter.others.push(it),
            }
        }
        Some(exporter)
    }

    /// Whether its image is to be among the platform's.
    fn is_ours(&self) -> bool {
        let pushed = self.attrs.get("push").is_some_and(|value| is_true(value));
        self.kind == ENGINES[0] || (self.kind == ENGINES[1] && !pushed)
    }

    fn become_archive(&mut self) {
        ARCHIVE.clone_into(&mut self.kind);
        self.attrs.retain(|key, _| !IMAGE_ONLY.contains(&key.as_str()));
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let names = self.attrs.get("name").map(String::as_str).unwrap_or_default();
        names.split(',').filter(|it| !it.is_empty() && *it != "*").map(in_full)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put(&mut out, 1, self.kind.as_bytes());
        put_attrs(&mut out, 2, &self.attrs);
        out.extend(self.others.iter().flat_map(|it| it.whole));
        out
    }
}

/// A name as Engine shows it: with its registry, and with the tag that it was given.
fn in_full(name: &str) -> String {
    let Ok(reference) = Reference::parse(name) else { return name.to_owned() };
    match name.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
        true => reference.to_string(),
        false => reference.name(),
    }
}

/// As Go reads truth (strconv.ParseBool); an attribute without a value is true.
fn is_true(text: &str) -> bool {
    matches!(text, "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn put_attrs(out: &mut Vec<u8>, number: u32, attrs: &BTreeMap<String, String>) {
    for (key, value) in attrs {
        let mut entry = Vec::new();
        wire::put(&mut entry, 1, key.as_bytes());
        wire::put(&mut entry, 2, value.as_bytes());
        wire::put(out, number, &entry);
    }
}

/// Reads a `SolveRequest`; `None` for what is none.
pub(crate) fn read(message: &[u8]) -> Option<Solve> {
    let mut solve = Solve::default();
    let mut old = Exporter::default();
    let mut exporters = 0;
    for it in wire::fields(message)? {
        let Some(value) = it.value else {
            solve.message.extend_from_slice(it.whole);
            continue;
        };
        match it.number {
            field::EXPORTER => old.kind = it.text(),
            field::EXPORTER_ATTRS => old.attrs.extend(wire::entry(value)),
            field::EXPORTERS => {
                let mut exporter = Exporter::read(value)?;
                if exporter.is_ours() {
                    solve.taken.push(exporters.to_string());
                    solve.names.extend(exporter.names());
                    exporter.become_archive();
                }
                exporters += 1;
                wire::put(&mut solve.message, field::EXPORTERS, &exporter.write());
            }
            number => {
                match number {
                    field::REF => solve.reference = it.text(),
                    field::SESSION => solve.session = it.text(),
                    field::FRONTEND_ATTRS => {
                        let (key, value) = wire::entry(value)?;
                        match key.as_str() {
                            "image-resolve-mode" => solve.fresh = value == "pull",
                            "platform" => solve.platforms = value,
                            _ => {}
                        }
                    }
                    _ => {}
                }
                solve.message.extend_from_slice(it.whole);
            }
        }
    }
    put_old(&mut solve, old, exporters == 0);
    Some(solve)
}

/// The exporter as older ones had it, which counts where there is no other.
fn put_old(solve: &mut Solve, mut old: Exporter<'_>, counts: bool) {
    if old.kind.is_empty() {
        return;
    }
    if old.is_ours() {
        if counts {
            solve.taken.push("0".into());
            solve.names.extend(old.names());
        }
        old.become_archive();
    }
    wire::put(&mut solve.message, field::EXPORTER, old.kind.as_bytes());
    put_attrs(&mut solve.message, field::EXPORTER_ATTRS, &old.attrs);
}

/// A `ListWorkersResponse` as of an engine whose images are of one platform and which pushes them itself:
/// by this label clients tell one that is not. By another one they learn where the host is (`host-gateway`).
pub(crate) fn workers(message: &[u8], gateway: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for it in wire::fields(message)? {
        match (it.number, it.value) {
            (1, Some(worker)) => wire::put(&mut out, 1, &of_engine(worker, gateway)?),
            _ => out.extend_from_slice(it.whole),
        }
    }
    Some(out)
}

fn of_engine(worker: &[u8], gateway: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    put_attrs(&mut out, 2, &BTreeMap::from([(GATEWAY.to_owned(), gateway.to_owned())]));
    for it in wire::fields(worker)? {
        let label = it.value.filter(|_| it.number == 2).and_then(wire::entry);
        if label.is_none_or(|(key, _)| key != SNAPSHOTTER) {
            out.extend_from_slice(it.whole);
        }
    }
    Some(out)
}

/// The build that a `StatusRequest` asks about.
pub(crate) fn reference(message: &[u8]) -> Option<String> {
    wire::first(message).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// A `StatusResponse` in the words of Engine's exporter: an image of these names is not written for the
/// client.
pub(crate) fn status(message: &[u8], names: &[String]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for it in wire::fields(message)? {
        match (it.number, it.value) {
            (1, Some(vertex)) => {
                wire::put(&mut out, 1, &renamed(vertex, 3, ARCHIVE_VERTEX, "exporting to image")?);
            }
            (2, Some(status)) if wire::first(status) == Some(ARCHIVE_STATUS.as_bytes()) => {
                let told: Vec<String> = match names {
                    [] => vec!["writing image".into()],
                    names => names.iter().map(|name| format!("naming to {name}")).collect(),
                };
                for name in told {
                    wire::put(&mut out, 2, &renamed(status, 1, ARCHIVE_STATUS, &name)?);
                }
            }
            _ => out.extend_from_slice(it.whole),
        }
    }
    Some(out)
}

/// A message with another text in a field that has this one.
fn renamed(message: &[u8], number: u32, from: &str, to: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for it in wire::fields(message)? {
        match it.number == number && it.value == Some(from.as_bytes()) {
            true => wire::put(&mut out, number, to.as_bytes()),
            false => out.extend_from_slice(it.whole),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exporter(kind: &str, attrs: &[(&str, &str)]) -> Vec<u8> {
        let attrs = attrs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Exporter { kind: kind.into(), attrs, others: Vec::new() }.write()
    }

    fn exporters(message: &[u8]) -> Vec<(String, BTreeMap<String, String>)> {
        let fields = wire::fields(message).unwrap();
        let found = fields.iter().filter(|it| it.number == field::EXPORTERS);
        let read = |it: &Field<'_>| {
            let exporter = Exporter::read(it.value.unwrap()).unwrap();
            (exporter.kind, exporter.attrs)
        };
        found.map(read).collect()
    }

    #[test]
    fn the_engines_exporter_becomes_one_that_any_buildkit_has() {
        for (kind, attrs, ours, names) in [
            (
                "moby",
                &[("name", "docker.io/library/a:1,b:2"), ("push", "false")][..],
                true,
                "docker.io/library/a:1,docker.io/library/b:2",
            ),
            ("moby", &[], true, ""),
            ("image", &[("name", "x"), ("unpack", "true")], true, "docker.io/library/x"),
            ("image", &[("name", "x"), ("push", "true")], false, ""),
            ("image", &[("name", "x"), ("push", "")], false, ""),
            ("docker", &[("name", "x")], false, ""),
            ("local", &[], false, ""),
        ] {
            let mut message = Vec::new();
            wire::put(&mut message, field::EXPORTERS, &exporter(kind, attrs));
            let solve = read(&message).unwrap();
            let (kind_now, attrs_now) = exporters(&solve.message).remove(0);
            assert_eq!(solve.taken, if ours { vec!["0"] } else { vec![] }, "{kind} {attrs:?}");
            assert_eq!(kind_now, if ours { "docker" } else { kind });
            assert_eq!(solve.names.join(","), names);
            assert_eq!(attrs_now.len(), if ours { attrs.len().min(1) } else { attrs.len() });
        }
    }

    #[test]
    fn the_rest_of_a_request_goes_through() {
        let mut message = Vec::new();
        wire::put(&mut message, field::REF, b"r");
        wire::put(&mut message, field::EXPORTER, b"moby");
        wire::put(&mut message, field::SESSION, b"s");
        wire::put(&mut message, 99, b"of later versions");
        prost::encoding::bool::encode(98, &true, &mut message);
        let mut pull = Vec::new();
        wire::put(&mut pull, 1, b"image-resolve-mode");
        wire::put(&mut pull, 2, b"pull");
        wire::put(&mut message, field::FRONTEND_ATTRS, &pull);
        let solve = read(&message).unwrap();
        assert_eq!((solve.reference.as_str(), solve.session.as_str()), ("r", "s"));
        assert!(solve.fresh);
        assert_eq!(solve.taken, ["0"], "of older clients");
        let fields = wire::fields(&solve.message).unwrap();
        let text = |number| fields.iter().find(|it| it.number == number).unwrap().text();
        assert_eq!(
            (text(99).as_str(), text(field::EXPORTER).as_str()),
            ("of later versions", "docker")
        );
        assert!(fields.iter().any(|it| it.number == 98));
        assert_eq!(read(&[0xff]), None);
    }

    #[test]
    fn the_second_of_two_exporters() {
        let mut message = Vec::new();
        for kind in ["local", "moby"] {
            wire::put(&mut message, field::EXPORTERS, &exporter(kind, &[]));
        }
        let solve = read(&message).unwrap();
        assert_eq!(solve.taken, ["1"]);
        let kinds: Vec<String> = exporters(&solve.message).into_iter().map(|it| it.0).collect();
        assert_eq!(kinds, ["local", "docker"]);
    }

    #[test]
    fn images_of_many_platforms() {
        for (exporter_kind, platforms, many) in [
            ("moby", "linux/amd64,linux/arm64", true),
            ("moby", "linux/arm64", false),
            ("oci", "a,b", false),
        ] {
            let (mut message, mut attr) = (Vec::new(), Vec::new());
            wire::put(&mut attr, 1, b"platform");
            wire::put(&mut attr, 2, platforms.as_bytes());
            wire::put(&mut message, field::FRONTEND_ATTRS, &attr);
            wire::put(&mut message, field::EXPORTERS, &exporter(exporter_kind, &[]));
            assert_eq!(read(&message).unwrap().is_of_many(), many, "{exporter_kind} {platforms}");
        }
    }

    #[test]
    fn workers_have_no_store_of_their_own() {
        let (mut message, mut worker) = (Vec::new(), Vec::new());
        wire::put(&mut worker, 1, b"id");
        for key in [SNAPSHOTTER, "other"] {
            let mut label = Vec::new();
            wire::put(&mut label, 1, key.as_bytes());
            wire::put(&mut worker, 2, &label);
        }
        wire::put(&mut message, 1, &worker);
        let shown = workers(&message, "1.2.3.4").unwrap();
        let worker = wire::fields(wire::first(&shown).unwrap()).unwrap();
        assert_eq!(worker.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 1, 2]);
        let label = |at: usize| wire::entry(worker[at].value.unwrap()).unwrap();
        assert_eq!(label(0), (GATEWAY.into(), "1.2.3.4".into()));
        assert_eq!(label(2).0, "other");
    }

    #[test]
    fn progress_in_the_words_of_engine() {
        let (mut vertex, mut told, mut message) = (Vec::new(), Vec::new(), Vec::new());
        wire::put(&mut vertex, 1, b"sha256:1");
        wire::put(&mut vertex, 3, ARCHIVE_VERTEX.as_bytes());
        wire::put(&mut message, 1, &vertex);
        wire::put(&mut told, 1, ARCHIVE_STATUS.as_bytes());
        wire::put(&mut told, 2, b"sha256:1");
        wire::put(&mut message, 2, &told);
        wire::put(&mut message, 3, b"");
        let shown = status(&message, &["a".into(), "b".into()]).unwrap();
        let fields = wire::fields(&shown).unwrap();
        assert_eq!(fields.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 2, 3]);
        let name = wire::fields(fields[0].value.unwrap()).unwrap()[1].text();
        assert_eq!(name, "exporting to image");
        let id = |index: usize| wire::fields(fields[index].value.unwrap()).unwrap()[0].text();
        assert_eq!((id(1).as_str(), id(2).as_str()), ("naming to a", "naming to b"));
    }
}
