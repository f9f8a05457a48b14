//! An image made of a machine: its root disk, made whole, where the image it runs from has its own.
//!
//! While it runs, QEMU copies the disk as it is at one moment; the guest's file systems are frozen at that
//! moment where its agent does that. What comes out is written anew in walls: a guest may have written
//! anything into it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use images::{ImportKind, ImportOptions};
use link::instance::CommitRequest;
use machines::config::{DIRECTORY, DISKS};
use machines::disk::tool::DiskFile;
use machines::disk::{DiskFormat, DiskTool};
use machines::qemu;
use model::error::Context as _;
use model::image::{Image, Reference};
use model::instance::ContainerState;
use model::{Bytes, Error, ErrorKind, Result, Uid};
use rustix::fs::OFlags;
use serde_json::json;
use tokio::time::Instant;

use super::disk::{Room, layer_of, receive};
use crate::calls::{Calls, Found};
use crate::context::Context;
use crate::guests;
use crate::steps::machine::{BASE, ROOT};

/// How long copying a disk may take.
const COPY: Duration = Duration::from_secs(3600);
/// How often it is asked whether it is done; others speak to QEMU meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// QEMU's name for the copy, and its file's.
const TARGET: &str = "commit";

/// Makes the image; returns its id.
pub(in crate::calls) async fn commit(
    calls: &Calls,
    found: &Found,
    image: &Image,
    request: CommitRequest,
) -> Result<String> {
    if request.name.is_empty() {
        return Err(Error::invalid("the image of a machine has no name")
            .at("name")
            .next("give one"));
    }
    let name = Reference::parse(&request.name).map_err(|error| error.at("name"))?;
    let machine = image.machine.as_ref();
    let machine = machine.ok_or_else(|| Error::internal("a machine whose image has no disk"))?;
    let tool = DiskTool::find()?;
    let room = Room::new(&calls.context)?;
    let target = room.file("disk.qcow2", &tool)?;
    let whole = DiskFile::alone(&target, DiskFormat::Qcow2);
    let copy = room.file("copy", &tool)?;
    let base = room.file("base", &tool)?;
    let turn = guests::disks_now(&calls.context, &found.instance)?;
    let source = match found.state() {
        ContainerState::Running => {
            copy_running(calls, found, &copy, &tool, room.left()?).await?;
            DiskFile::alone(&copy, DiskFormat::Qcow2)
        }
        ContainerState::Waiting | ContainerState::Exited => {
            let own = calls.context.places.instance(&found.instance.meta.id).join(DISKS);
            copy_file(&own.join(ROOT), &copy, room.left()?).await?;
            drop(turn);
            let (_, disk) = calls.context.images.local.disk(&image.digest).await?;
            receive(disk, &base).await?;
            // The path by which the root disk's own header calls what it lies on.
            let called = match std::fs::symlink_metadata(own.join(BASE)).is_ok() {
                true => Path::new(DIRECTORY).join(DISKS).join(BASE),
                false => PathBuf::from(&machine.disk),
            };
            let base = (base.as_path(), called);
            let source =
                DiskFile { path: &copy, format: DiskFormat::Qcow2, base: Some((base.0, &base.1)) };
            tool.convert(source, whole, true, room.left()?).await?;
            return taken_in(calls, found, image, request, name, &target).await;
        }
        ContainerState::Paused => {
            let name = &found.instance.meta.name;
            return Err(Error::conflict(format!("machine {name:?} is paused"))
                .next(format!("hull unpause {name}, or stop it")));
        }
    };
    drop(turn);
    tool.check(source).await?;
    tool.convert(source, whole, true, room.left()?).await?;
    taken_in(calls, found, image, request, name, &target).await
}

/// Has QEMU write the root disk, whole, as it is now.
async fn copy_running(
    calls: &Calls,
    found: &Found,
    copy: &Path,
    tool: &DiskTool,
    most: u64,
) -> Result<()> {
    let context = &calls.context;
    let uid = &found.instance.meta.id;
    let control = guests::control(context, uid).await?;
    let node = qemu::node_name("root");
    let size = control.qmp.block_size(&node).await?;
    let directory = context.places.instance(uid);
    let (draft, place) = (directory.join(TARGET), directory.join(DISKS).join(TARGET));
    // Of one that was cut short.
    let _ = control.qmp.blockdev_del(TARGET).await;
    let _ = std::fs::remove_file(&draft);
    tool.create(&draft, size).await?;
    let user = control.config.user;
    let failed = || format!("cannot make {}", place.display());
    chown(&draft, Some(user), Some(user))
        .and_then(|()| std::fs::rename(&draft, &place))
        .context(ErrorKind::Unavailable, failed)?;
    let file = json!({"driver": "file", "filename": format!("{DIRECTORY}/{DISKS}/{TARGET}")});
    let added = json!({"driver": "qcow2", "node-name": TARGET, "file": file});
    control.qmp.blockdev_add(added).await?;
    let arguments = json!({
        "job-id": TARGET, "device": node, "target": TARGET, "sync": "full", "auto-dismiss": false,
    });
    let frozen = guests::freeze(context, &found.instance).await.ok();
    // Once that is answered, what is written later is not in the copy.
    let begun = control.qmp.begin_job("blockdev-backup", arguments, TARGET).await;
    drop(control);
    if let Some(frozen) = frozen {
        frozen.thaw().await?;
    }
    let copied = match begun {
        Ok(()) => copied(context, uid).await,
        Err(error) => Err(error),
    };
    let _ = guests::control(context, uid).await?.qmp.blockdev_del(TARGET).await;
    let taken = match copied {
        Ok(()) => copy_file(&place, copy, most).await,
        Err(error) => Err(error),
    };
    std::fs::remove_file(&place)
        .context(ErrorKind::Unavailable, || format!("cannot remove {}", place.display()))?;
    taken
}

/// Waits for QEMU's copy, without keeping others from speaking to it.
async fn copied(context: &Context, uid: &Uid) -> Result<()> {
    let deadline = Instant::now() + COPY;
    while Instant::now() < deadline {
        if guests::control(context, uid).await?.qmp.job_ended(TARGET).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    guests::control(context, uid).await?.qmp.cancel_job(TARGET).await?;
    Err(Error::unavailable(format!("copying the disk took longer than {} s", COPY.as_secs())))
}

/// Copies a machine's own file, of so many bytes at most; a link in its place is not followed.
async fn copy_file(from: &Path, to: &Path, most: u64) -> Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let copy = move || {
        let failed = || format!("{} cannot be copied", from.display());
        let source = File::options()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&from)
            .context(ErrorKind::Unavailable, failed)?;
        let meta = source.metadata().context(ErrorKind::Unavailable, failed)?;
        if !meta.is_file() || meta.len() > most {
            return Err(Error::exhausted(format!(
                "{} is no disk of {} at most",
                from.display(),
                Bytes(most)
            ))
            .next("free space, for instance with: hull image prune"));
        }
        let mut target =
            File::options().write(true).open(&to).context(ErrorKind::Unavailable, failed)?;
        std::io::copy(&mut source.take(most), &mut target)
            .context(ErrorKind::Exhausted, failed)
            .map(drop)
    };
    let copied = tokio::task::spawn_blocking(copy).await;
    copied.context(ErrorKind::Internal, || "a disk was not copied".to_owned())?
}

async fn taken_in(
    calls: &Calls,
    found: &Found,
    image: &Image,
    request: CommitRequest,
    name: Reference,
    disk: &Path,
) -> Result<String> {
    let machine = image.machine.clone().unwrap_or_default();
    let mut besides = Vec::new();
    // What starts it without firmware comes along.
    if !machine.kernel.is_empty() {
        let root = calls.context.engine.rootfs(&found.id).await?;
        for path in [&machine.kernel, &machine.initrd] {
            if !path.is_empty() {
                let file = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
                besides.push((path.clone(), File::from(file)));
            }
        }
    }
    let config = crate::calls::inspect::committed(&image.config, &request);
    let options = ImportOptions {
        kind: ImportKind::RootFs,
        name: Some(name),
        config,
        comment: request.message,
        ..ImportOptions::default()
    };
    let layer = layer_of(disk, besides).await?;
    let made = calls.context.images.local.import(layer, options).await;
    calls.context.images.forget();
    let made = made?.into_iter().next();
    made.map(|image| image.id).ok_or_else(|| Error::internal("no image came of the machine"))
}
