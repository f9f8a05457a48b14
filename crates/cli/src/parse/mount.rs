//! What is mounted: `-v`, `--mount` and `--tmpfs`.

use std::path::Path;

use model::instance::{Mount, MountKind, Propagation};
use model::{Bytes, Error, Result};

/// Reads one `--volume`: `NAME:/path[:options]`, `/host/path:/path[:options]`, or `/path` for a
/// volume without a name. A relative host path (`./x`) is made absolute from `here`.
pub fn volume(text: &str, here: &Path) -> Result<Mount> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not a volume: {why}"))
            .at("--volume")
            .next("write NAME:/path, /host/path:/path or /path, with :ro to forbid writing")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(refuse("too many colons")),
    };
    if !target.starts_with('/') {
        return Err(refuse("the path inside is not absolute"));
    }
    let mut mount = Mount {
        kind: source_kind(source, here, true),
        target: target.to_owned(),
        read_only: false,
        disk: None,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        apply(&mut mount, option).ok_or_else(|| refuse(&format!("unknown option {option:?}")))?;
    }
    Ok(mount)
}

fn source_kind(source: &str, here: &Path, create: bool) -> MountKind {
    if source.starts_with(['/', '.', '~']) {
        let source = match source.strip_prefix("~/").zip(std::env::var_os("HOME")) {
            Some((rest, home)) => Path::new(&home).join(rest),
            None => here.join(source),
        };
        return MountKind::Bind {
            source: clean(&source),
            create,
            propagation: Propagation::Rprivate,
            non_recursive: false,
        };
    }
    MountKind::Volume { name: source.to_owned(), subpath: String::new(), no_copy: false }
}

/// A path without `.` and `..`; links are left to the node.
fn clean(path: &Path) -> String {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(parts.pop()),
            std::path::Component::Normal(name) => parts.push(name),
            _ => {}
        }
    }
    let joined: std::path::PathBuf =
        std::iter::once(std::ffi::OsStr::new("/")).chain(parts).collect();
    joined.to_string_lossy().into_owned()
}

fn apply(mount: &mut Mount, option: &str) -> Option<()> {
    match option {
        "ro" | "readonly" => mount.read_only = true,
        "rw" => mount.read_only = false,
        // Labels for SELinux, which the platform does not use; taken, as Docker does without it.
        "z" | "Z" => {}
        "nocopy" => match &mut mount.kind {
            MountKind::Volume { no_copy, .. } => *no_copy = true,
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => return None,
        },
        word => match &mut mount.kind {
            MountKind::Bind { propagation, .. } => *propagation = self::propagation(word)?,
            MountKind::Volume { .. } | MountKind::Tmpfs { .. } => return None,
        },
    }
    Some(())
}

fn propagation(word: &str) -> Option<Propagation> {
    [
        Propagation::Rprivate,
        Propagation::Private,
        Propagation::Rshared,
        Propagation::Shared,
        Propagation::Rslave,
        Propagation::Slave,
    ]
    .into_iter()
    .find(|known| known.as_str() == word)
}

/// Reads one `--mount`: `type=bind,source=/a,target=/b,readonly`.
pub fn mount(text: &str, here: &Path) -> Result<Mount> {
    let refuse = |why: String| {
        Error::invalid(format!("{text:?} is not a mount: {why}"))
            .at("--mount")
            .next("write type=bind|volume|tmpfs,source=…,target=/path[,readonly]")
    };
    let pairs: Vec<(&str, &str)> =
        text.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let get =
        |names: &[&str]| pairs.iter().find(|(key, _)| names.contains(key)).map(|(_, value)| *value);
    let target = get(&["target", "dst", "destination"]).unwrap_or_default();
    if !target.starts_with('/') {
        return Err(refuse("no absolute target".into()));
    }
    let source = get(&["source", "src"]).unwrap_or_default();
    let kind = match get(&["type"]).unwrap_or("volume") {
        "bind" if source.is_empty() => return Err(refuse("a bind needs a source".into())),
        "bind" => source_kind(&here.join(source).display().to_string(), here, false),
        "volume" => {
            MountKind::Volume { name: source.into(), subpath: String::new(), no_copy: false }
        }
        "tmpfs" => MountKind::Tmpfs { size: None, mode: None, options: Vec::new() },
        other => return Err(refuse(format!("type {other:?} is unknown"))),
    };
    let mut mount = Mount { kind, target: target.to_owned(), read_only: false, disk: None };
    for (key, value) in &pairs {
        set(&mut mount, key, value).map_err(refuse)?;
    }
    Ok(mount)
}

fn set(mount: &mut Mount, key: &str, value: &str) -> Result<(), String> {
    let yes = || matches!(value, "" | "true" | "1");
    match (key, &mut mount.kind) {
        ("type" | "source" | "src" | "target" | "dst" | "destination" | "consistency", _) => {}
        ("readonly" | "ro", _) => mount.read_only = yes(),
        ("volume-nocopy", MountKind::Volume { no_copy, .. }) => *no_copy = yes(),
        ("volume-subpath", MountKind::Volume { subpath, .. }) => *subpath = value.to_owned(),
        ("bind-propagation", MountKind::Bind { propagation: word, .. }) => {
            *word = propagation(value).ok_or(format!("{value:?} is no propagation"))?;
        }
        ("bind-nonrecursive", MountKind::Bind { non_recursive, .. }) => *non_recursive = yes(),
        ("bind-create", MountKind::Bind { create, .. }) => *create = yes(),
        ("tmpfs-size", MountKind::Tmpfs { size, .. }) => {
            *size = Some(value.parse::<Bytes>().map_err(|error| error.to_string())?);
        }
        ("tmpfs-mode", MountKind::Tmpfs { mode, .. }) => {
            *mode = Some(u32::from_str_radix(value, 8).map_err(|_| format!("mode {value:?}"))?);
        }
        _ => return Err(format!("{key:?} does not go with this type")),
    }
    Ok(())
}

/// Reads one `--tmpfs`: `/path[:size=64m,mode=1777,exec]`.
pub fn tmpfs(text: &str) -> Result<Mount> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not a tmpfs: {why}"))
            .at("--tmpfs")
            .next("write /path[:size=64m,mode=1777]")
    };
    let (target, rest) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(refuse("the path is not absolute"));
    }
    let (mut size, mut mode, mut options, mut read_only) = (None, None, Vec::new(), false);
    for option in rest.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size = Some(value.parse::<Bytes>()?),
            Some(("mode", value)) => {
                mode = Some(u32::from_str_radix(value, 8).map_err(|_| refuse("mode"))?);
            }
            None if option == "ro" => read_only = true,
            None if option == "rw" => {}
            _ => options.push(option.to_owned()),
        }
    }
    let kind = MountKind::Tmpfs { size, mode, options };
    Ok(Mount { kind, target: target.to_owned(), read_only, disk: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new("/work/dir")
    }

    fn bind(source: &str, create: bool) -> MountKind {
        MountKind::Bind {
            source: source.into(),
            create,
            propagation: Propagation::Rprivate,
            non_recursive: false,
        }
    }

    fn named(name: &str) -> MountKind {
        MountKind::Volume { name: name.into(), subpath: String::new(), no_copy: false }
    }

    #[test]
    fn volumes() {
        for (text, kind, target, read_only) in [
            ("data:/d", named("data"), "/d", false),
            ("/d", named(""), "/d", false),
            ("/a:/b:ro", bind("/a", true), "/b", true),
            ("./x:/b", bind("/work/dir/x", true), "/b", false),
            ("../x:/b", bind("/work/x", true), "/b", false),
        ] {
            let mount = volume(text, here()).unwrap();
            assert_eq!(
                (mount.kind, mount.target.as_str(), mount.read_only),
                (kind, target, read_only),
                "{text}"
            );
        }
        for text in ["", "x", "a:b", "a:/b:c:d", "a:/b:frob", "data:/d:rshared"] {
            assert!(volume(text, here()).is_err(), "{text}");
        }
    }

    #[test]
    fn mounts() {
        let mount = |text| super::mount(text, here());
        assert_eq!(mount("type=bind,src=/a,dst=/b,readonly").unwrap().kind, bind("/a", false));
        assert_eq!(mount("source=v,target=/b").unwrap().kind, named("v"));
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        let options = Vec::new();
        assert_eq!(
            tmpfs.kind,
            MountKind::Tmpfs { size: Some(Bytes::mib(1)), mode: Some(0o700), options }
        );
        for text in [
            "type=bind,dst=/b",
            "type=x,dst=/b",
            "dst=b",
            "dst=/b,frob=1",
            "type=tmpfs,dst=/b,volume-nocopy",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory() {
        let mount = tmpfs("/run:size=64m,noexec").unwrap();
        let options = vec!["noexec".to_owned()];
        assert_eq!(
            mount.kind,
            MountKind::Tmpfs { size: Some(Bytes::mib(64)), mode: None, options }
        );
        assert!(tmpfs("run").is_err());
    }
}
