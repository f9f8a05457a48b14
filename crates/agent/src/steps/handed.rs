//! Step: secrets and configs are files of the instance's containers, in memory of the instance's own.
//!
//! They stand on a tmpfs that goes with the instance's last run, each a file of its own that is mounted
//! read-only where the container wants it. Nothing of them is on a disk, and a container's layer has
//! only an empty file in their places. A machine's guest shares the whole tmpfs, and a hook of its first-boot
//! data puts each file in its place (decision 151).

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use containers::Bind;
use link::desired::HandedData;
use machines::seed::SharedFile;
use model::error::Context as _;
use model::instance::{ContainerSpec, Handed, Instance, UserMapping};
use model::{Error, ErrorKind, Kind, Result, Uid};
use rustix::mount::{MountFlags, UnmountFlags};

use super::files::is_mount_point;
use crate::context::Context;
use crate::worker::Worker;

/// How long an instance's start waits for control to tell what it is handed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Room on the file system for each file beyond its data.
const SLACK: usize = 8 << 10;

/// A file of a container.
struct File<'a> {
    kind: Kind,
    handed: &'a Handed,
    /// Its name on the instance's file system.
    name: String,
    target: String,
}

/// What a container is handed.
fn files(container: &ContainerSpec) -> impl Iterator<Item = File<'_>> {
    let secrets = container.secrets.iter().enumerate().map(|(i, handed)| File {
        kind: Kind::Secret,
        handed,
        name: format!("{}.secret.{i}", container.name),
        target: handed.secret_path(),
    });
    let configs = container.configs.iter().enumerate().map(|(i, handed)| File {
        kind: Kind::Config,
        handed,
        name: format!("{}.config.{i}", container.name),
        target: handed.config_path(),
    });
    secrets.chain(configs)
}

/// Writes what the instance's containers are handed, where it is not there. What is there stays: it is
/// mounted in what runs, and does not change.
pub async fn write(worker: &Worker, wanted: &Instance) -> Result<()> {
    let directory = worker.context.places.handed(&worker.uid);
    let files: Vec<File> = wanted.spec.all_containers().flat_map(files).collect();
    let missing = files.iter().filter(|file| !directory.join(&file.name).exists());
    let mut due: Vec<(&File, Arc<HandedData>)> = Vec::new();
    for file in missing {
        due.push((file, told(&worker.context, &wanted.meta.project, file).await?));
    }
    if due.is_empty() {
        return Ok(());
    }
    let size: usize = due.iter().map(|(_, data)| data.data.len() + SLACK).sum();
    let owner = wanted.spec.user.as_ref();
    memory(&directory, size, files.len(), owner)?;
    for (file, data) in due {
        let path = directory.join(&file.name);
        write_file(&path, file.handed, data.data.bytes(), owner)
            .context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The data of a file, once control has told it.
async fn told(context: &Context, project: &str, file: &File<'_>) -> Result<Arc<HandedData>> {
    let name = &file.handed.source;
    let mut desired = context.desired.clone();
    let found = async {
        let is = |data: &&Arc<HandedData>| {
            data.kind == file.kind && data.project == project && data.name == *name
        };
        let has = |it: &Arc<link::Desired>| it.handed.iter().any(|data| is(&data));
        let set = desired.wait_for(has).await.ok()?;
        set.handed.iter().find(is).cloned()
    };
    let found = tokio::time::timeout(PATIENCE, found).await.ok().flatten();
    found.ok_or_else(|| {
        Error::unavailable(format!("{} {name:?} has not been told to this node", file.kind))
            .next(format!("hull {} show {name}", file.kind))
    })
}

/// The mounts of a container's files.
pub fn binds(worker: &Worker, container: &ContainerSpec) -> Vec<Bind> {
    let directory = worker.context.places.handed(&worker.uid);
    let bind = |file: File<'_>| Bind::new(directory.join(file.name), file.target).read_only();
    files(container).map(bind).collect()
}

/// Mounts memory for so many bytes and files, which is not swapped out where the kernel can do that.
///
/// # Errors
/// The kernel's.
pub fn memory(path: &Path, size: usize, files: usize, owner: Option<&UserMapping>) -> Result<()> {
    if is_mount_point(path) {
        return Ok(());
    }
    let failed = || format!("cannot make memory for secrets at {}", path.display());
    std::fs::create_dir_all(path).context(ErrorKind::Unavailable, failed)?;
    let (uid, gid) = owner.map_or((0, 0), |map| (map.first_uid, map.first_gid));
    let inodes = 2 * files + 8;
    let options = |more: &str| {
        let text = format!("mode=0700,uid={uid},gid={gid},size={size},nr_inodes={inodes}{more}");
        std::ffi::CString::new(text).expect("digits and letters have no zero byte")
    };
    // In a user namespace a mount made read-only has to keep these, which runc does not; root alone writes
    // here, and permissions are all that a mode has.
    let flags = match owner {
        Some(_) => MountFlags::empty(),
        None => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
    };
    let mount = |more: &str| {
        rustix::mount::mount("hull-handed", path, "tmpfs", flags, options(more).as_c_str())
    };
    // Kernels before 6.4 cannot keep one file system from being swapped out.
    mount(",noswap").or_else(|_| mount("")).context(ErrorKind::Unavailable, failed)
}

/// Writes a file beside its place and puts it there, so that one that is there is whole.
fn write_file(
    path: &Path,
    handed: &Handed,
    bytes: &[u8],
    owner: Option<&UserMapping>,
) -> std::io::Result<()> {
    use std::io::Write as _;
    let draft = PathBuf::from(format!("{}.new", path.display()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    let (uid, gid) = outside(handed, owner);
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    file.set_permissions(std::fs::Permissions::from_mode(handed.mode))?;
    std::fs::rename(&draft, path)
}

/// The ids outside of a file's user and group inside. One that is not mapped is nobody's inside, as
/// root's is.
fn outside(handed: &Handed, owner: Option<&UserMapping>) -> (u32, u32) {
    let Some(map) = owner else { return (handed.uid, handed.gid) };
    let mapped = |id: u32, first: u32| if id < map.size { first.saturating_add(id) } else { 0 };
    (mapped(handed.uid, map.first_uid), mapped(handed.gid, map.first_gid))
}

/// Takes the files of an instance away.
pub fn release(context: &Context, uid: &Uid) -> Result<()> {
    release_memory(&context.places.handed(uid))
}

/// Takes what [`memory`] mounted away, with what is in it. Fine when it is not there.
///
/// # Errors
/// The kernel's.
pub fn release_memory(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    while is_mount_point(path) {
        rustix::mount::unmount(path, UnmountFlags::DETACH)
            .context(ErrorKind::Unavailable, || format!("cannot unmount {}", path.display()))?;
    }
    std::fs::remove_dir_all(path)
        .context(ErrorKind::Unavailable, || format!("cannot remove {}", path.display()))
}

/// Where a machine's guest has the directory with what it is handed. Each of its files is put in its place
/// from there.
const IN_GUEST: &str = "/run/hull/handed";

/// What a machine is handed: the directory that its guest shares, and where each file of it belongs.
pub struct Shared {
    /// The directory on this node: memory of the instance's own.
    pub directory: PathBuf,
    /// Where the guest mounts it.
    pub target: &'static str,
    /// Its files.
    pub files: Vec<SharedFile>,
}

/// What a machine is handed, if anything.
pub fn for_machine(worker: &Worker, container: &ContainerSpec) -> Option<Shared> {
    let file = |file: File<'_>| SharedFile {
        source: format!("{IN_GUEST}/{}", file.name),
        target: file.target,
    };
    let files: Vec<SharedFile> = files(container).map(file).collect();
    let directory = worker.context.places.handed(&worker.uid);
    (!files.is_empty()).then_some(Shared { directory, target: IN_GUEST, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_owner_inside_and_is_whole() {
        let map = UserMapping { first_uid: 1000, first_gid: 2000, size: 10 };
        let of = |uid, gid| Handed { uid, gid, ..Handed::named("pw") };
        assert_eq!(outside(&of(3, 4), None), (3, 4));
        assert_eq!(outside(&of(3, 4), Some(&map)), (1003, 2004));
        assert_eq!(outside(&of(10, 4), Some(&map)), (0, 2004));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.secret.0");
        let me = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let handed = Handed { uid: me.0, gid: me.1, mode: 0o440, ..Handed::named("pw") };
        write_file(&path, &handed, b"hush", None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hush");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o440);
    }
}
