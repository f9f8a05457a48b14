//! What is kept of machines' snapshots: the list beside their disks, which only root writes, and the disks.

use std::path::{Path, PathBuf};

use link::snapshot::MachineSnapshot;
use machines::config::DISKS;
use model::error::Context as _;
use model::instance::{Instance, MountKind};
use model::{Error, ErrorKind, Result};
use volumes::Driver as _;

use crate::context::Context;
use crate::local::replace_file;
use crate::steps::machine::{ROOT, VOLUME_DISK};

/// The list, in the instance's directory.
const LIST: &str = "snapshots.json";

/// A snapshot's name in the disks. It is never a number there: those are taken for other names.
pub fn tag(name: &str) -> String {
    format!("s-{name}")
}

/// All snapshots of the machine whose directory it is, oldest first.
pub fn read(directory: &Path) -> Result<Vec<MachineSnapshot>> {
    let path = directory.join(LIST);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .context(ErrorKind::Internal, || format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            Err(error).context(ErrorKind::Unavailable, || format!("cannot read {}", path.display()))
        }
    }
}

/// Writes the list anew.
pub fn write(directory: &Path, list: &[MachineSnapshot]) -> Result<()> {
    let text = serde_json::to_vec(list).expect("plain data always encodes");
    replace_file(&directory.join(LIST), &text)
}

/// Where the file of a machine's disk is on the node.
pub async fn disk(context: &Context, machine: &Instance, name: &str) -> Result<PathBuf> {
    if name == "root" {
        return Ok(context.places.instance(&machine.meta.id).join(DISKS).join(ROOT));
    }
    let volume = context.volume(&machine.meta.project, name)?;
    let id = volumes::VolumeId::from(&volume.meta.id);
    let driver = &context.volumes;
    driver.node_stage(&id).await?;
    let path = driver.show(&id).await?.path;
    let path = path.ok_or_else(|| {
        Error::conflict(format!("{} is not mounted", volume.title()))
            .next("start the machine: its storage is there while it runs")
    })?;
    let directory = match subpath(machine, name) {
        "" => path,
        subpath => volumes::subpath::find(&path, subpath)?,
    };
    Ok(directory.join(VOLUME_DISK))
}

/// Directory of a volume that holds the machine's disk of that name.
fn subpath<'a>(machine: &'a Instance, name: &str) -> &'a str {
    let mounts = machine.spec.all_containers().flat_map(|container| &container.mounts);
    mounts
        .filter(|mount| mount.disk.is_some())
        .find_map(|mount| match &mount.kind {
            MountKind::Volume { name: volume, subpath, .. } if volume == name => Some(subpath),
            MountKind::Volume { .. } | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        })
        .map_or("", String::as_str)
}
