//! CDs: disks of images, read-only, once on the node however many machines have them in.

use std::fs::File;
use std::path::{Path, PathBuf};

use images::Progress;
use machines::config::{Bus, DIRECTORY, DISKS, Disk, Format, MachineConfig};
use machines::disk::{self, DiskFormat, DiskTool};
use model::error::Context as _;
use model::image::Image;
use model::instance::{MachineSpec, PullPolicy};
use model::{Error, ErrorKind, Result};

use super::disks::{directory, look};
use super::walls::{own_directory, user_of};
use crate::calls::images::disk::{Room, receive};
use crate::worker::Worker;

/// The name of a CD drive.
fn drive(index: usize) -> String {
    format!("cd{index}")
}

/// A drive that nothing is in.
fn empty(index: usize) -> Disk {
    Disk { name: drive(index), bus: Bus::Cdrom, read_only: true, ..Disk::default() }
}

/// Puts in the CDs that are asked for.
pub async fn put_in(worker: &Worker, asked: &MachineSpec) -> Result<Vec<Disk>> {
    let mut cds = Vec::new();
    if !asked.cdroms.is_empty() {
        own_directory(&directory(worker), user_of(&worker.uid))?;
    }
    for (index, image) in asked.cdroms.iter().enumerate() {
        let cd = one(worker, index, image).await;
        cds.push(cd.map_err(|error| error.at("machine.cdroms"))?.0);
    }
    Ok(cds)
}

/// What the drives of a running machine are to hold, each with its file; and which cannot have what is asked
/// for, and why. A disc stays in while the same name is asked for, whatever image has that name by now.
pub async fn given(
    worker: &Worker,
    asked: &[String],
    running: &MachineConfig,
) -> (Vec<(Disk, PathBuf)>, Vec<String>) {
    let (mut given, mut refused) = (Vec::new(), Vec::new());
    for (index, image) in asked.iter().enumerate() {
        let has = running.disks.iter().find(|has| has.name == drive(index));
        if let Some(has) = has.filter(|has| !has.is_empty() && has.asked == *image) {
            given.push((has.clone(), PathBuf::new()));
            continue;
        }
        match one(worker, index, image).await {
            Ok(disc) => given.push(disc),
            // What is in stays in.
            Err(error) => refused.push(format!("CD drive {}: {}", drive(index), error.chain())),
        }
    }
    let more = (asked.len()..MachineSpec::CDS).map(|index| (empty(index), PathBuf::new()));
    let has = |disc: &Disk| running.disks.iter().any(|has| has.name == disc.name);
    given.extend(more.filter(|(disc, _)| has(disc)));
    (given, refused)
}

async fn one(worker: &Worker, index: usize, name: &str) -> Result<(Disk, PathBuf)> {
    if name.is_empty() {
        return Ok((empty(index), PathBuf::new()));
    }
    let image =
        worker.context.images.ensure(name, PullPolicy::default(), None, Progress::none()).await?;
    let Some(machine) = &image.machine else {
        return Err(Error::invalid(format!("image {name:?} carries no disk to put in as a CD"))
            .next("make one of an ISO: hull image import --machine --name NAME FILE.iso"));
    };
    let own = directory(worker).join(drive(index));
    let file = kept(worker, &image, &own).await?;
    let (format, _) = look(&file, machine.disk.trim_end_matches(".gz"))?;
    let disc = Disk {
        path: Path::new(DIRECTORY).join(DISKS).join(drive(index)),
        image: image.id.clone(),
        asked: name.to_owned(),
        format: if format == DiskFormat::Raw { Format::Raw } else { Format::Qcow2 },
        ..empty(index)
    };
    // Root's own name of the file, not that in the directory of QEMU's user.
    Ok((disc, worker.context.places.unpacked(&image.id)))
}

/// The disk of an image as a file by itself, and `own`, a further name of it.
async fn kept(worker: &Worker, image: &Image, own: &Path) -> Result<File> {
    let context = &worker.context;
    let cache = context.places.unpacked(&image.id);
    if !cache.exists() {
        let room = Room::new(context)?;
        let passing = room.file("cd", &DiskTool::find()?)?;
        let (_, disk) = context.images.local.disk(&image.digest).await?;
        receive(disk, &passing).await.map_err(|error| error.about("the CD"))?;
        let (source, cache) = (File::open(&passing), cache.clone());
        let source =
            source.context(ErrorKind::Unavailable, || "the CD cannot be read".to_owned())?;
        tokio::task::spawn_blocking(move || disk::unpack_once(source, &cache))
            .await
            .context(ErrorKind::Internal, || "a CD was not unpacked".to_owned())??;
    }
    let failed = || format!("cannot make {}", own.display());
    match std::fs::remove_file(own) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(ErrorKind::Unavailable, failed);
        }
        _ => {}
    }
    std::fs::hard_link(&cache, own).context(ErrorKind::Unavailable, failed)?;
    File::open(&cache).context(ErrorKind::Unavailable, failed)
}
