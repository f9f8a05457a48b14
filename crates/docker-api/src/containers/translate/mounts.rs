//! What is mounted: `Binds`, `Mounts`, `Tmpfs`, `Volumes` and `VolumesFrom`.

use std::collections::BTreeMap;

use bollard_stubs::models::{
    Mount as DockerMount, MountBindOptionsPropagationEnum as Spread, MountType,
};
use model::Bytes;
use model::instance::{Mount, MountKind, Propagation};

use super::{Asked, size};
use crate::failure::{Failure, Reply};
use crate::volumes;

/// A mount taken over from another container.
#[derive(Debug, Clone)]
pub(crate) struct Inherited {
    pub(crate) mount: Mount,
}

/// All mounts, each path once: what is asked for by name goes before what another container or the
/// configuration brings.
pub(super) fn all(asked: &Asked<'_>) -> Reply<Vec<Mount>> {
    let mut mounts = BTreeMap::new();
    let host = asked.host;
    for inherited in asked.inherited {
        mounts.insert(clean(&inherited.mount.target), inherited.mount.clone());
    }
    let mut own = BTreeMap::new();
    for text in host.binds.iter().flatten() {
        add(&mut own, bind(text)?)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        add(&mut own, tmpfs(target, options)?)?;
    }
    for asked in host.mounts.iter().flatten() {
        add(&mut own, mount(asked)?)?;
    }
    mounts.extend(own);
    for target in asked.config.volumes.iter().flatten() {
        let image = asked.image.config.volumes.iter().any(|path| clean(path) == clean(target));
        // The node makes those that the image asks for.
        if !image {
            mounts.entry(clean(target)).or_insert_with(|| anonymous(target));
        }
    }
    Ok(mounts.into_values().collect())
}

fn add(mounts: &mut BTreeMap<String, Mount>, mount: Mount) -> Reply<()> {
    let target = mount.target.clone();
    match mounts.insert(clean(&target), mount) {
        None => Ok(()),
        Some(_) => Err(Failure::bad(format!("Duplicate mount point: {target}"))),
    }
}

fn clean(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

fn anonymous(target: &str) -> Mount {
    let kind = MountKind::Volume { name: String::new(), subpath: String::new(), no_copy: false };
    Mount { kind, target: target.to_owned(), read_only: false, disk: None }
}

/// `SOURCE:TARGET[:OPTIONS]`.
fn bind(text: &str) -> Reply<Mount> {
    let wrong = || Failure::bad(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(wrong()),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(wrong());
    }
    check_target(target, text, if source.starts_with('/') { "bind" } else { "volume" })?;
    let (mut read_only, mut no_copy, mut propagation) = (false, false, Propagation::default());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "nocopy" => no_copy = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "default" => {}
            other => {
                propagation = spread(other)
                    .ok_or_else(|| Failure::bad(format!("invalid mode: {options}")))?;
            }
        }
    }
    let kind = if source.starts_with('/') {
        MountKind::Bind {
            source: source.to_owned(),
            create: true,
            propagation,
            non_recursive: false,
        }
    } else {
        volumes::check_name(source)?;
        MountKind::Volume { name: source.to_owned(), subpath: String::new(), no_copy }
    };
    Ok(Mount { kind, target: target.to_owned(), read_only, disk: None })
}

fn check_target(target: &str, text: &str, kind: &str) -> Reply<()> {
    if !target.starts_with('/') {
        return Err(Failure::bad(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": \
             invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if clean(target) == "/" {
        return Err(Failure::bad(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": \
             invalid specification: destination can't be '/'"
        )));
    }
    Ok(())
}

fn spread(word: &str) -> Option<Propagation> {
    use Propagation::{Private, Rprivate, Rshared, Rslave, Shared, Slave};
    [Rprivate, Private, Rshared, Shared, Rslave, Slave].into_iter().find(|it| it.as_str() == word)
}

fn tmpfs(target: &str, text: &str) -> Reply<Mount> {
    if !target.starts_with('/') {
        return Err(Failure::bad(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let (mut bytes, mut mode, mut options) = (None, None, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                let wrong = || Failure::bad(format!("invalid tmpfs option {option:?}"));
                bytes = Some(size(value).ok_or_else(wrong)?);
            }
            Some(("mode", value)) => {
                mode = Some(
                    u32::from_str_radix(value, 8)
                        .map_err(|_| Failure::bad(format!("invalid tmpfs option {option:?}")))?,
                );
            }
            _ => options.push(option.to_owned()),
        }
    }
    let read_only = options.iter().any(|option| option == "ro");
    options.retain(|option| option != "ro" && option != "rw");
    let kind = MountKind::Tmpfs { size: bytes, mode, options };
    Ok(Mount { kind, target: target.to_owned(), read_only, disk: None })
}

/// A mount in the long form.
fn mount(asked: &DockerMount) -> Reply<Mount> {
    let target = asked.target.clone().unwrap_or_default();
    let source = asked.source.clone().unwrap_or_default();
    let kind = asked.typ.unwrap_or(MountType::VOLUME);
    let invalid =
        |why: &str| Failure::bad(format!("invalid mount config for type \"{kind}\": {why}"));
    if target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    if !target.starts_with('/') {
        return Err(invalid(&format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let kind = match kind {
        MountType::BIND => {
            if source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            if !source.starts_with('/') {
                return Err(invalid(&format!(
                    "invalid mount path: '{source}' mount path must be absolute"
                )));
            }
            bind_kind(asked, source)
        }
        MountType::VOLUME => {
            let options = asked.volume_options.as_ref();
            volumes::check_name(&source)?;
            MountKind::Volume {
                name: source,
                subpath: options.and_then(|it| it.subpath.clone()).unwrap_or_default(),
                no_copy: options.and_then(|it| it.no_copy).unwrap_or_default(),
            }
        }
        MountType::TMPFS => {
            if !source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            tmpfs_kind(asked)
        }
        MountType::IMAGE | MountType::NPIPE | MountType::CLUSTER => {
            return Err(Failure::unserved(format!(
                "mounts of type \"{kind}\" are not served by this engine"
            )));
        }
    };
    Ok(Mount { kind, target, read_only: asked.read_only.unwrap_or_default(), disk: None })
}

fn bind_kind(asked: &DockerMount, source: String) -> MountKind {
    let options = asked.bind_options.as_ref();
    let propagation = match options.and_then(|it| it.propagation) {
        Some(Spread::PRIVATE) => Propagation::Private,
        Some(Spread::SHARED) => Propagation::Shared,
        Some(Spread::RSHARED) => Propagation::Rshared,
        Some(Spread::SLAVE) => Propagation::Slave,
        Some(Spread::RSLAVE) => Propagation::Rslave,
        Some(Spread::RPRIVATE | Spread::EMPTY) | None => Propagation::Rprivate,
    };
    MountKind::Bind {
        source,
        create: options.and_then(|it| it.create_mountpoint).unwrap_or_default(),
        propagation,
        non_recursive: options.and_then(|it| it.non_recursive).unwrap_or_default(),
    }
}

fn tmpfs_kind(asked: &DockerMount) -> MountKind {
    let options = asked.tmpfs_options.as_ref();
    let size = options.and_then(|it| it.size_bytes).and_then(|size| u64::try_from(size).ok());
    let mode = options.and_then(|it| it.mode).and_then(|mode| u32::try_from(mode).ok());
    MountKind::Tmpfs {
        size: size.filter(|size| *size > 0).map(Bytes),
        mode: mode.filter(|mode| *mode > 0),
        options: options
            .and_then(|it| it.options.clone())
            .unwrap_or_default()
            .into_iter()
            .map(|words| words.join("="))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        let bound = bind("/a:/b:ro,rslave").unwrap();
        assert!(bound.read_only);
        assert!(matches!(bound.kind, MountKind::Bind { create: true, .. }));
        let volume = bind("data:/b:nocopy").unwrap();
        assert!(matches!(volume.kind, MountKind::Volume { no_copy: true, .. }));
        for bad in ["a:b", "/a:/", ":/x", "/a:/b:ro:x", "/a:/b:what", "a/b:/x"] {
            assert!(bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let mount = tmpfs("/t", "rw,size=1m,mode=700,noexec").unwrap();
        assert_eq!(
            mount.kind,
            MountKind::Tmpfs {
                size: Some(Bytes(1 << 20)),
                mode: Some(0o700),
                options: vec!["noexec".into()]
            }
        );
    }
}
