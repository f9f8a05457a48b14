//! A machine's own files: its root disk, a layer on its image's; first-boot data; UEFI's variables.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use containers::Bind;
use containers::rootfs::Rootfs;
use machines::config::{Bus, DIRECTORY, DISKS, Disk, Format, MachineConfig};
use machines::disk::tool::DiskFile;
use machines::disk::{self, DiskFormat, DiskTool};
use model::error::Context as _;
use model::image::{Image, MachineImage};
use model::instance::{DiskBus, DiskCache, DiskOptions, FirmwareKind, Instance, MachineSpec};
use model::{Bytes, Error, ErrorKind, Result};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use volumes::Driver as _;

use super::clone;
use super::walls::user_of;
use crate::local::replace_file;
use crate::steps::volume::{self, Mounted};
use crate::worker::Worker;

/// Which saved state the next start goes on from, in the instance's directory.
const RESUME: &str = "resume";
/// The root disk.
pub const ROOT: &str = "root.qcow2";
/// What the root disk lies on, where that is not in the image as it is.
pub const BASE: &str = "base";
/// First-boot data.
pub const SEED: &str = "seed.iso";
/// What UEFI remembers.
pub const VARIABLES: &str = "uefi.fd";

/// The disk in a volume.
pub const VOLUME_DISK: &str = "disk.qcow2";

/// OVMF's code and the variables that a new machine begins with, where distributions have them.
const OVMF: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];
const OVMF_SECURE: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
];

/// Where the machine's disks are on the node.
pub fn directory(worker: &Worker) -> PathBuf {
    worker.dir.join(DISKS)
}

/// A saved state, and the machine that it is of: it can be gone on from by no other.
#[derive(Debug, Serialize, Deserialize)]
struct Resume {
    state: String,
    machine: MachineConfig,
}

/// Has the next start of a machine go on from a saved state.
pub fn resume_next(directory: &Path, state: &str, machine: &MachineConfig) -> Result<()> {
    let resume = Resume { state: state.to_owned(), machine: machine.clone() };
    let text = serde_json::to_vec(&resume).expect("plain data always encodes");
    replace_file(&directory.join(RESUME), &text)
}

/// The state that the next start is to go on from.
pub fn resume(directory: &Path) -> Result<Option<String>> {
    Ok(read_resume(directory)?.map(|resume| resume.state))
}

/// The machine as it is to start: with what it had when its state was saved, if it goes on from one.
pub fn going_on(worker: &mut Worker, machine: MachineConfig) -> Result<MachineConfig> {
    let Some(Resume { state, machine: saved }) = read_resume(&worker.dir)? else {
        return Ok(machine);
    };
    if (saved.cpus, saved.memory) != (machine.cpus, machine.memory) {
        worker.warn(
            "it goes on from a saved state: other processors or memory come with the next start"
                .to_owned(),
        );
    }
    Ok(MachineConfig {
        cpus: saved.cpus,
        max_cpus: saved.max_cpus,
        memory: saved.memory,
        max_memory: saved.max_memory,
        resume: Some(state),
        ..machine
    })
}

fn read_resume(directory: &Path) -> Result<Option<Resume>> {
    let path = directory.join(RESUME);
    let failed = || format!("cannot read {}", path.display());
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).context(ErrorKind::Internal, failed).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(ErrorKind::Unavailable, failed),
    }
}

/// The state is not to be gone on from any more: the next start is an ordinary one.
pub fn resumed(directory: &Path) -> Result<()> {
    let path = directory.join(RESUME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .context(ErrorKind::Unavailable, || format!("cannot remove {}", path.display())),
        _ => Ok(()),
    }
}

/// Whether the machine boots by UEFI, and then whether only what is signed.
pub fn uefi(asked: &MachineSpec, image: &MachineImage) -> Option<bool> {
    match asked.firmware.unwrap_or(image.firmware) {
        FirmwareKind::Bios => None,
        FirmwareKind::Uefi => Some(false),
        FirmwareKind::SecureBoot => Some(true),
    }
}

/// The firmware's two files.
///
/// # Errors
/// `Unavailable` when it is not installed.
pub fn ovmf(secure: bool) -> Result<(PathBuf, PathBuf)> {
    let known = if secure { &OVMF_SECURE[..] } else { &OVMF[..] };
    let found =
        known.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
    let (code, variables) = found.ok_or_else(|| {
        Error::unavailable("the machine wants UEFI, and the node has no OVMF")
            .next("install it: apt install ovmf")
    })?;
    Ok((PathBuf::from(code), PathBuf::from(variables)))
}

/// Makes the root disk: a layer on the image's disk, as large as asked and never smaller than it; empty at
/// first, or that of another machine.
pub async fn root(
    worker: &Worker,
    asked: &MachineSpec,
    whole: &Image,
    image: &MachineImage,
    files: Rootfs,
) -> Result<()> {
    let path = directory(worker).join(ROOT);
    if std::fs::symlink_metadata(&path).is_ok() {
        return grow_root(worker, &path, asked.root_size).await;
    }
    let inside = File::from(files.open(&image.disk, OFlags::RDONLY | OFlags::NONBLOCK)?);
    // QEMU's user must be able to read it; those that KubeVirt's tools make belong to a user of theirs.
    let (inside, base) = match image.compressed || !is_readable(&inside) {
        false => (inside, PathBuf::from(&image.disk)),
        true => unpacked(worker, &whole.id, inside).await?,
    };
    let (format, has) = look(&inside, image.disk.trim_end_matches(".gz"))?;
    let size = match asked.root_size {
        Some(size) if size.0 < has => {
            return Err(Error::invalid(format!(
                "a root disk of {size} is smaller than the image's, {}",
                Bytes(has)
            ))
            .at("machine.rootSize"));
        }
        Some(size) => size.0,
        None => has,
    };
    // Made where only root writes: QEMU's user may have put a link in the place of the disk.
    let draft = worker.dir.join(ROOT);
    match &asked.source {
        None => DiskTool::find()?.create_overlay(&draft, &base, format, size).await?,
        Some(source) => {
            let base = clone::Base { called: &base, format, size: has };
            clone::root(worker, source, whole, &draft, &base).await?;
        }
    }
    let user = user_of(&worker.uid);
    chown(&draft, Some(user), Some(user))
        .and_then(|()| std::fs::rename(&draft, &path))
        .context(ErrorKind::Unavailable, || format!("cannot make {}", path.display()))?;
    match &asked.source {
        None => Ok(()),
        Some(_) => grow_root(worker, &path, asked.root_size).await,
    }
}

/// Gives a root disk that is there the size that is asked for now. A run that goes on from a saved state has
/// what it had.
async fn grow_root(worker: &Worker, path: &Path, asked: Option<Bytes>) -> Result<()> {
    let Some(size) = asked else { return Ok(()) };
    if resume(&worker.dir)?.is_some() {
        return Ok(());
    }
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .context(ErrorKind::Unavailable, || format!("cannot open {}", path.display()))?;
    let has = disk::header::size_of_layer(&file).map_err(|error| error.about(path.display()))?;
    if size.0 <= has {
        return Ok(());
    }
    let user = user_of(&worker.uid);
    let tool = DiskTool::find()?.as_user(user, user);
    tool.resize(DiskFile::alone(path, DiskFormat::Qcow2), size.0).await
}

fn is_readable(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// A disk that QEMU cannot read where it is, as it is compressed as a file or somebody's own, unpacked
/// once for all machines of its image. What this machine has is a further name of that file: it is there
/// for as long as one of them is, whatever becomes of the image.
async fn unpacked(worker: &Worker, id: &str, packed: File) -> Result<(File, PathBuf)> {
    let cache = worker.context.places.unpacked(id);
    let own = directory(worker).join(BASE);
    let work = move || {
        disk::unpack_once(packed, &cache)?;
        let failed = || format!("cannot make {}", own.display());
        match std::fs::hard_link(&cache, &own) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context(ErrorKind::Unavailable, failed);
            }
            _ => {}
        }
        File::open(&cache).context(ErrorKind::Unavailable, failed)
    };
    let done = tokio::task::spawn_blocking(work).await;
    let file = done.context(ErrorKind::Internal, || "a disk was not unpacked".to_owned())??;
    Ok((file, Path::new(DIRECTORY).join(DISKS).join(BASE)))
}

/// The volumes that are disks: made where they are new, grown where more is asked for, and each bound
/// alone into the walls.
pub async fn volumes(
    worker: &Worker,
    wanted: &Instance,
    mounted: &[Mounted],
) -> Result<Vec<(Disk, Bind)>> {
    let mut found = Vec::new();
    for volume in mounted {
        let Some(disk) = &volume.disk else { continue };
        let (disk, bind, _) = of_volume(worker, wanted, volume, disk, false).await?;
        found.push((disk, bind));
    }
    Ok(found)
}

/// The disk in a volume, made and grown as it is needed, and the size that it is to have now. One that QEMU
/// has `open` is left alone.
pub async fn of_volume(
    worker: &Worker,
    wanted: &Instance,
    volume: &Mounted,
    asked: &volume::Disk,
    open: bool,
) -> Result<(Disk, Bind, Option<Bytes>)> {
    let (name, options) = (&asked.name, &asked.options);
    let info = worker.context.volumes.show(&volume.id).await?;
    if info.published.iter().any(|user| *user != worker.uid.as_str()) {
        return Err(Error::conflict(format!(
            "volume {name:?} is used by another instance; a disk has one machine at a time"
        ))
        .next(format!("stop who uses it: hull volume show {name}")));
    }
    let path = volume.source.join(VOLUME_DISK);
    let whole = match (options.size, info.size) {
        (None, Some(volume)) => Some(fitting(name, &path, volume)?),
        _ => None,
    };
    let mut size = options.size;
    let user = user_of(&worker.uid);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let draft = path.with_extension("new");
            if clone::volume(worker, wanted, name, &draft).await? {
                std::fs::rename(&draft, &path).context(ErrorKind::Unavailable, || {
                    format!("cannot make {}", path.display())
                })?;
            } else {
                let size = options.size.or(whole).unwrap_or(DiskOptions::SIZE);
                DiskTool::find()?.create(&path, size.0).await?;
            }
        }
        Err(error) => {
            return Err(error)
                .context(ErrorKind::Unavailable, || format!("cannot look at {}", path.display()));
        }
        // A container that had the volume may have put anything there.
        Ok(meta) if !meta.is_file() => {
            return Err(Error::conflict(format!(
                "what volume {name:?} of {} holds as {VOLUME_DISK} is no disk",
                wanted.title()
            )));
        }
        Ok(_) => {
            let file = File::options()
                .read(true)
                .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
                .open(&path)
                .context(ErrorKind::Unavailable, || format!("cannot open {}", path.display()))?;
            let (format, has) = look(&file, VOLUME_DISK)?;
            if format != DiskFormat::Qcow2 {
                return Err(Error::conflict(format!("volume {name:?} holds no disk of ours")));
            }
            // What the volume's own tables take varies a little.
            size = size.or(whole.filter(|whole| whole.0 > has + has / 64));
            if let Some(size) = size.filter(|size| !open && size.0 > has) {
                give(&path, user)?;
                let tool = DiskTool::find()?.as_user(user, user);
                tool.resize(DiskFile::alone(&path, format), size.0).await?;
            }
        }
    }
    give(&path, user)?;
    let inside = format!("/volumes/{name}");
    let bus = match options.bus {
        DiskBus::Virtio => Bus::Virtio,
        DiskBus::Scsi => Bus::Scsi,
        DiskBus::Sata => Bus::Sata,
    };
    let made = Disk {
        name: name.clone(),
        serial: options.serial.clone(),
        path: PathBuf::from(&inside),
        image: String::new(),
        asked: String::new(),
        format: Format::Qcow2,
        bus,
        read_only: volume.read_only,
        iops: options.iops,
        bps: options.bps,
        direct: match options.cache {
            DiskCache::Writeback => false,
            DiskCache::None => true,
        },
    };
    Ok((made, Bind { read_only: volume.read_only, ..Bind::new(path, inside) }, size))
}

/// The size of a disk that fills a volume, with what its file takes besides.
fn fitting(name: &str, path: &Path, volume: Bytes) -> Result<Bytes> {
    const MIB: u64 = 1 << 20;
    let directory = path.parent().unwrap_or(path);
    let failed = || format!("cannot look at {}", directory.display());
    let room = rustix::fs::statvfs(directory).context(ErrorKind::Unavailable, failed)?;
    let has = std::fs::symlink_metadata(path).map_or(0, |meta| meta.blocks().saturating_mul(512));
    let usable = room.f_bavail.saturating_mul(room.f_frsize).saturating_add(has);
    // Where its disk is everybody's, a limit is what counts.
    let usable = usable.min(volume.0);
    // Tables of a qcow2 file take a 6,500th of it, and a few clusters; the file system's own grow a little.
    let fits = usable.saturating_sub(usable / 128 + MIB) / MIB * MIB;
    if fits == 0 {
        return Err(Error::invalid(format!("volume {name:?} has no room for a disk"))
            .next(format!("hull volume grow {name} SIZE")));
    }
    Ok(Bytes(fits))
}

/// Gives a file to the machine's user; of a link, the link.
pub fn give(path: &Path, user: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(user))
        .context(ErrorKind::Unavailable, || format!("cannot give {} away", path.display()))
}

/// The format and size of a disk that somebody else wrote.
pub fn look(file: &File, name: &str) -> Result<(DiskFormat, u64)> {
    let raw = matches!(
        Path::new(name).extension().and_then(|end| end.to_str()),
        Some("img" | "raw" | "iso")
    );
    // A raw disk need not have partitions yet; one that is called so may still be a qcow2.
    let header = disk::look(file, None).or_else(|error| match raw {
        true => disk::look(file, Some(DiskFormat::Raw)),
        false => Err(error),
    });
    let header = header.map_err(|error| error.about(format!("the disk {name}")))?;
    match (header.format, header.virtual_size) {
        (format @ (DiskFormat::Qcow2 | DiskFormat::Raw), Some(size)) => Ok((format, size)),
        (format, _) => Err(Error::unsupported(format!(
            "the disk {name} is {}, not qcow2 or raw",
            format.as_str()
        ))
        .next("import it as a machine's image: hull image import --machine")),
    }
}

/// Writes first-boot data, readable by nobody but the machine: keys and passwords are in it.
pub fn write_seed(worker: &Worker, user: u32, seed: &[u8]) -> Result<()> {
    let path = directory(worker).join(SEED);
    write_owned(&path, user, 0o400, seed)
}

/// Gives a machine with UEFI its variables, those of the firmware at first.
pub fn variables(worker: &Worker, asked: &MachineSpec, image: &MachineImage) -> Result<()> {
    let Some(secure) = uefi(asked, image) else { return Ok(()) };
    let path = directory(worker).join(VARIABLES);
    if std::fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    let (_, from) = ovmf(secure)?;
    let mut variables = std::fs::read(&from)
        .context(ErrorKind::Unavailable, || format!("cannot read {}", from.display()))?;
    if let Some(source) = &asked.source
        && let Some(theirs) = clone::variables(worker, source, variables.len())
    {
        variables = theirs;
    }
    write_owned(&path, user_of(&worker.uid), 0o600, &variables)
}

/// Writes a file of the machine's user, whole or not at all.
fn write_owned(path: &Path, user: u32, mode: u32, data: &[u8]) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // QEMU's user owns the directory: what it may have put there is not written through.
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(data)?;
        rustix::fs::fchown(
            &file,
            Some(rustix::fs::Uid::from_raw(user)),
            Some(rustix::fs::Gid::from_raw(user)),
        )?;
        std::fs::rename(&draft, path)
    };
    write().context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))
}
