//! What a container mounts.

use model::instance::{Instance, Mount, MountKind};
use serde_json::{Value, json};

use crate::Engine;
use crate::containers::origin;

/// `Mounts` of a listed or inspected container: named volumes, files of the host, memory, and the
/// volumes that its image asked for. Memory is shown at the paths in `tmpfs`.
pub(crate) fn points(engine: &Engine, instance: &Instance, tmpfs: &[String]) -> Vec<Value> {
    let Some(main) = instance.spec.main() else { return Vec::new() };
    let stands_in =
        |mount: &Mount| origin::stand_ins(instance).find(|(_, target)| *target == mount.target);
    // What `Tmpfs` asked for is told by it alone.
    let is_tmpfs = |mount: &&Mount| matches!(mount.kind, MountKind::Tmpfs { .. });
    let asked =
        main.mounts.iter().filter(|mount| !is_tmpfs(mount) || tmpfs.contains(&mount.target));
    let shown = asked.map(|mount| match stands_in(mount) {
        Some((name, target)) => volume(engine, name, target, !mount.read_only),
        None => point(engine, mount),
    });
    let mut points: Vec<_> = shown.collect();
    let made = instance.status.container(&main.name).map_or(&[][..], |status| &status.volumes);
    points.extend(made.iter().map(|made| volume(engine, made.name(), &made.target, true)));
    points.sort_by(|a, b| a["Destination"].as_str().cmp(&b["Destination"].as_str()));
    points
}

fn point(engine: &Engine, mount: &Mount) -> Value {
    let rw = !mount.read_only;
    match &mount.kind {
        MountKind::Volume { name, .. } => volume(engine, name, &mount.target, rw),
        MountKind::Bind { source, propagation, .. } => json!({
            "Type": "bind",
            "Source": source,
            "Destination": mount.target,
            "Mode": if rw { "" } else { "ro" },
            "RW": rw,
            "Propagation": propagation.as_str(),
        }),
        MountKind::Tmpfs { .. } => json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": "",
            "RW": rw,
            "Propagation": "",
        }),
    }
}

fn volume(engine: &Engine, name: &str, target: &str, rw: bool) -> Value {
    let (driver, path) = engine.volume_place(name);
    json!({
        "Type": "volume",
        "Name": name,
        "Source": path,
        "Destination": target,
        "Driver": driver,
        "Mode": if rw { "z" } else { "ro" },
        "RW": rw,
        "Propagation": "",
    })
}
