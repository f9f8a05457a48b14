//! What a service mounts where: volumes, directories of the node, files that were sent, memory.

use model::instance::{Handed, Mount, MountKind, Propagation};

use super::{Context, Draft, bytes, mode};
use crate::field::Field;
use crate::files::{resolve, shorten};
use crate::wanted::{Named, WantedConfig};
use crate::yaml::Value;

/// Most things that a service mounts.
pub(crate) const MOST_MOUNTS: usize = 256;
/// Most files of one directory that are handed to a service.
const MOST_FILES: usize = 64;
/// Most bytes of one such file, as a config may have.
const MOST_BYTES: usize = 500 << 10;

pub(super) fn read(service: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let driver = service.get("volume_driver").and_then(|it| it.text()).map(str::to_owned);
    for item in service.get("volumes").map(|it| it.items()).unwrap_or_default() {
        match &item.node.value {
            Value::Map(_) => long(&item, draft, context),
            Value::Null | Value::Text(_) | Value::List(_) => {
                short(&item, driver.as_deref(), draft, context);
            }
        }
    }
    for item in service.get("tmpfs").map(|it| it.one_or_more()).unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let kind = tmpfs(&item, options);
        push(draft, &item, Mount { kind, target: target.to_owned(), read_only: false, disk: None });
    }
}

fn push(draft: &mut Draft, item: &Field<'_>, mount: Mount) {
    let target = mount.target.trim_end_matches('/').to_owned();
    if !target.starts_with('/') {
        item.refuse(format!("{:?} is not an absolute path inside", shorten(&mount.target)));
        return;
    }
    let mounts = &mut draft.container.mounts;
    if mounts.len() >= MOST_MOUNTS {
        return item.refuse(format!("a service mounts {MOST_MOUNTS} things at most"));
    }
    if mounts.iter().any(|it| it.target.trim_end_matches('/') == target) {
        // Files in the wild name a place twice; the later one counts, as it did for their engines.
        item.ignore(format!("{target} is mounted twice: the last one counts"));
        mounts.retain(|it| it.target.trim_end_matches('/') != target);
    }
    mounts.push(mount);
}

fn tmpfs(item: &Field<'_>, options: &str) -> MountKind {
    let (mut size, mut bits, mut rest) = (None, None, Vec::new());
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option.split_once('=') {
            Some(("size", text)) => match text.parse() {
                Ok(bytes) => size = Some(bytes),
                Err(_) => item.refuse(format!("{text:?} is not a size")),
            },
            Some(("mode", text)) => match u32::from_str_radix(text, 8) {
                Ok(mode) => bits = Some(mode),
                Err(_) => item.refuse(format!("{text:?} is not permissions such as 1777")),
            },
            Some(_) | None => rest.push(option.to_owned()),
        }
    }
    MountKind::Tmpfs { size, mode: bits, options: rest }
}

/// `[SOURCE:]TARGET[:MODE]`.
fn short(item: &Field<'_>, driver: Option<&str>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let Some(text) = item.text() else { return };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        // `/data:rw` is an anonymous volume with a mode.
        [target, options] if !options.starts_with('/') && target.starts_with('/') => {
            ("", *target, *options)
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return item.refuse(format!("{:?} is not SOURCE:TARGET[:MODE]", shorten(text))),
    };
    let mut wish = Wish { source, target, ..Wish::default() };
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option {
            "rw" => {}
            "ro" => wish.read_only = true,
            "nocopy" => wish.no_copy = true,
            "z" | "Z" => item.ignore("the platform does not label for SELinux"),
            "cached" | "delegated" | "consistent" => {}
            word => match propagation(word) {
                Some(found) => wish.propagation = found,
                None => item.refuse(format!("{word:?} is not known: ro, rw, nocopy are")),
            },
        }
    }
    wish.create = true;
    if is_path(source) {
        bind(item, wish, draft, context);
    } else {
        volume(item, wish, driver, draft, context);
    }
}

/// What is wished of a mount.
#[derive(Default)]
struct Wish<'a> {
    source: &'a str,
    target: &'a str,
    read_only: bool,
    no_copy: bool,
    create: bool,
    subpath: &'a str,
    propagation: Propagation,
    non_recursive: bool,
}

fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~'])
}

fn propagation(word: &str) -> Option<Propagation> {
    let all = [
        Propagation::Rprivate,
        Propagation::Private,
        Propagation::Rshared,
        Propagation::Shared,
        Propagation::Rslave,
        Propagation::Slave,
    ];
    all.into_iter().find(|it| it.as_str() == word)
}

fn long(item: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let text = |key: &str| item.get(key).and_then(|it| it.text()).unwrap_or_default();
    let flag = |field: Option<Field<'_>>, usual| field.and_then(|it| it.flag()).unwrap_or(usual);
    let mut wish = Wish {
        source: text("source"),
        target: text("target"),
        read_only: flag(item.get("read_only"), false),
        ..Wish::default()
    };
    if wish.target.is_empty() {
        return item.refuse("a target is missing: the path inside");
    }
    match text("type") {
        "bind" => {
            wish.create = true;
            if let Some(options) = item.get("bind") {
                wish.create = flag(options.get("create_host_path"), true);
                wish.non_recursive =
                    options.get("recursive").is_some_and(|it| it.text() == Some("disabled"));
                if let Some(field) = options.get("propagation") {
                    match field.text().and_then(propagation) {
                        Some(found) => wish.propagation = found,
                        None => field.refuse("rprivate, private, rshared, shared, rslave, slave"),
                    }
                }
            }
            if wish.source.is_empty() {
                return item.refuse("a source is missing: a path of the node");
            }
            bind(item, wish, draft, context);
        }
        "volume" | "" => {
            if let Some(options) = item.get("volume") {
                wish.no_copy = flag(options.get("nocopy"), false);
                wish.subpath = options.get("subpath").and_then(|it| it.text()).unwrap_or_default();
            }
            volume(item, wish, None, draft, context);
        }
        "tmpfs" => {
            let options = item.get("tmpfs");
            let part = |key: &str| options.as_ref().and_then(|it| it.get(key));
            let kind = MountKind::Tmpfs {
                size: part("size").and_then(|it| bytes(&it)),
                mode: part("mode").and_then(|it| mode(&it)),
                options: Vec::new(),
            };
            let target = wish.target.to_owned();
            push(draft, item, Mount { kind, target, read_only: wish.read_only, disk: None });
        }
        other => item.refuse(format!("{other:?} is none of volume, bind and tmpfs")),
    }
}

fn volume(
    item: &Field<'_>,
    wish: Wish<'_>,
    driver: Option<&str>,
    draft: &mut Draft,
    context: &mut Context<'_, '_>,
) {
    let name = volume_name(wish.source);
    if !name.is_empty() && !context.volumes.contains(wish.source) {
        if !context.lenient {
            return item.refuse(format!(
                "volumes has no {:?} at the top of the file; a path begins with ./ or /",
                wish.source
            ));
        }
        let driver = driver.filter(|it| !matches!(*it, "local" | "default" | ""));
        context.undeclared.insert(wish.source.to_owned(), driver.map(str::to_owned));
    }
    let kind = MountKind::Volume { name, subpath: wish.subpath.to_owned(), no_copy: wish.no_copy };
    let target = wish.target.to_owned();
    push(draft, item, Mount { kind, target, read_only: wish.read_only, disk: None });
}

/// The key of a volume, as names are allowed.
pub(crate) fn volume_name(written: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    written.chars().map(|c| if plain(c) { c } else { '-' }).collect()
}

/// A path of the node; or a file that was sent, which the service then has as a config.
fn bind(item: &Field<'_>, wish: Wish<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let source = if wish.source.starts_with('/') {
        wish.source.to_owned()
    } else {
        let written = wish.source.strip_prefix("~/").filter(|_| false).unwrap_or(wish.source);
        let path = match resolve(&item.at().source.directory, written) {
            Ok(path) => path,
            Err(why) => return item.refuse(why),
        };
        match &context.asked.directory {
            Some(root) => format!("{}/{path}", root.trim_end_matches('/')),
            None => return sent(item, &wish, &path, draft, context),
        }
    };
    let kind = MountKind::Bind {
        source,
        create: wish.create,
        propagation: wish.propagation,
        non_recursive: wish.non_recursive,
    };
    let target = wish.target.to_owned();
    push(draft, item, Mount { kind, target, read_only: wish.read_only, disk: None });
}

/// Hands files that were sent to a service.
fn sent(
    item: &Field<'_>,
    wish: &Wish<'_>,
    path: &str,
    draft: &mut Draft,
    context: &mut Context<'_, '_>,
) {
    let files = match context.reading.has(path) && !path.is_empty() {
        true => vec![(path.to_owned(), wish.target.to_owned())],
        false => {
            let listed = context.reading.list(path).unwrap_or_default();
            let inside = |file: &str| {
                let rest = if path.is_empty() { file } else { &file[path.len() + 1..] };
                format!("{}/{rest}", wish.target.trim_end_matches('/'))
            };
            listed.iter().map(|file| (file.clone(), inside(file))).collect()
        }
    };
    if files.is_empty() {
        return item.refuse(format!(
            "{:?} is a path of your machine, and no such file was sent; send it, name a volume, or \
             an absolute path of the node",
            wish.source
        ));
    }
    if files.len() > MOST_FILES {
        return item.refuse(format!(
            "{:?} has {} files, and {MOST_FILES} at most are handed to a service; use a volume",
            wish.source,
            files.len()
        ));
    }
    if !wish.read_only {
        item.ignore("what was sent is handed to the service read-only; a volume can be written");
    }
    for (file, target) in files {
        let value = match context.reading.bytes(&file) {
            Ok(value) if value.len() <= MOST_BYTES => value,
            Ok(_) => {
                item.refuse(format!("{file} has more than {} KiB; use a volume", MOST_BYTES >> 10));
                continue;
            }
            Err(_) => continue,
        };
        let key = config_key(&file, value, context);
        draft.container.configs.push(Handed {
            source: key,
            target,
            mode: 0o555,
            ..Handed::default()
        });
    }
}

/// The key of the config that a file becomes: made of its path, and another one where a config of the
/// author's or of another path is called so.
fn config_key(file: &str, value: Vec<u8>, context: &mut Context<'_, '_>) -> String {
    if let Some((_, known)) = context.mounted.iter().find(|(path, _)| path == file) {
        return known.object.key.clone();
    }
    let usual = volume_name(file.trim_start_matches('.'));
    let is_taken = |key: &str| {
        context.configs.contains(key) || context.mounted.iter().any(|(_, it)| it.object.key == key)
    };
    let others = (2..).map(|count| format!("{usual}-{count}"));
    let key = std::iter::once(usual.clone()).chain(others).find(|key| !is_taken(key));
    let key = key.unwrap_or(usual);
    let object = Named { key: key.clone(), ..Named::default() };
    context.mounted.push((file.to_owned(), WantedConfig { object, value }));
    key
}
