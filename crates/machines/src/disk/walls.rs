//! Walls around a program that reads what nobody trusts: `hull disk-tool`.
//!
//! The process builds a root of its own out of the host's libraries, read-only, and the files it is
//! given; leaves the network, the host's file systems and its privileges; bounds itself; and becomes
//! the program. It is one of the program's faces because nothing of it needs more than a millisecond.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, pivot_root, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

/// The word that makes the program this.
pub const MODE: &str = "disk-tool";

/// Where the new root is mounted, for this process alone.
const ROOM: &str = "/tmp";
/// What programs are made of.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What cannot be started says so with this code; the program's own are lower.
pub(super) const FAILED: u8 = 125;

/// What runs, and inside what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its user; never 0.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Files it may use.
    pub files: Vec<Bind>,
    /// Bytes of memory.
    pub memory: u64,
    /// Seconds of processor time.
    pub seconds: u64,
    /// Bytes of the largest file it may write.
    pub file_size: u64,
    /// The program and its words.
    pub command: Vec<String>,
}

/// A file, and where the program finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub host: PathBuf,
    /// Inside.
    pub inside: PathBuf,
    /// It may be written.
    pub writable: bool,
}

/// `hull disk-tool CELL`: becomes the program.
#[expect(clippy::print_stderr, reason = "whoever started it reads there why it did not")]
pub fn main() -> ExitCode {
    let cell = std::env::args().nth(2).and_then(|text| serde_json::from_str(&text).ok());
    let outcome = match cell {
        Some(cell) => enter(&cell).map(|never| match never {}),
        None => Err("this is not for people: see hull image import".to_owned()),
    };
    eprintln!("{}", outcome.err().unwrap_or_default());
    ExitCode::from(FAILED)
}

/// Says what could not be done.
trait Cannot<T> {
    fn cannot(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::fmt::Display> Cannot<T> for Result<T, E> {
    fn cannot(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("cannot {what}: {error}"))
    }
}

fn enter(cell: &Cell) -> Result<std::convert::Infallible, String> {
    if cell.user == 0 {
        return Err("it may not run as root".to_owned());
    }
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(spaces).cannot("leave the host's namespaces")?;
    room(cell)?;
    bound(cell)?;
    setgroups(&[]).cannot("leave its groups")?;
    let (user, group) = (Uid::from_raw(cell.user), Gid::from_raw(cell.group));
    setresgid(group, group, group).cannot("change its group")?;
    setresuid(user, user, user).cannot("change its user")?;
    // It ends with whoever started it; a change of user takes this back, so it comes after.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .cannot("end with its parent")?;
    rustix::thread::set_no_new_privs(true).cannot("give up new privileges")?;
    let (program, words) = cell.command.split_first().ok_or("there is no program")?;
    let error = Command::new(program).args(words).env_clear().env("LC_ALL", "C").exec();
    Err(format!("cannot start {program}: {error}"))
}

/// Makes the root that the program sees, and nothing but it.
fn room(cell: &Cell) -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .cannot("keep mounts apart")?;
    // Opened before the new root hides what may lie under it.
    let held: Vec<OwnedFd> =
        cell.files.iter().map(|file| hold(&file.host)).collect::<Result<_, _>>()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), ROOM, Some("tmpfs"), flags, Some("size=1m,mode=755"))
        .cannot("make a root")?;
    for name in SYSTEM {
        system(Path::new(name))?;
    }
    let nothing = Path::new("/dev/null");
    show(&hold(nothing)?, &within(nothing), MsFlags::MS_RDONLY)?;
    for (file, held) in cell.files.iter().zip(&held) {
        let protect = if file.writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        show(held, &within(&file.inside), MsFlags::MS_NODEV | protect)?;
    }
    std::env::set_current_dir(ROOM).cannot("enter the root")?;
    pivot_root(".", ".").cannot("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).cannot("leave the host's files")?;
    std::env::set_current_dir("/").cannot("enter the root")?;
    let remount = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, "/", none, remount, none).cannot("protect the root")
}

fn within(path: &Path) -> PathBuf {
    Path::new(ROOM).join(path.strip_prefix("/").unwrap_or(path))
}

/// One of the host's own directories, or the link that it is.
fn system(path: &Path) -> Result<(), String> {
    let Ok(kind) = path.symlink_metadata() else { return Ok(()) };
    let to = within(path);
    if kind.is_symlink() {
        let target = fs::read_link(path).cannot("read a link")?;
        return std::os::unix::fs::symlink(target, to).cannot("make a link");
    }
    fs::create_dir(&to).cannot("make a directory")?;
    show(&hold(path)?, &to, MsFlags::MS_NODEV | MsFlags::MS_RDONLY)
}

fn hold(path: &Path) -> Result<OwnedFd, String> {
    let what = format!("find {}", path.display());
    // A machine's user owns the directory of its disks: a link it put in a disk's place leads nowhere.
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let held = open(path, flags, Mode::empty()).cannot(&what)?;
    match File::from(held.try_clone().cannot(&what)?).metadata().cannot(&what)?.is_symlink() {
        true => Err(format!("cannot {what}: it is a link")),
        false => Ok(held),
    }
}

fn show(held: &OwnedFd, to: &Path, protect: MsFlags) -> Result<(), String> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    if !from.is_dir() {
        let parent = to.parent().unwrap_or(to);
        fs::create_dir_all(parent).cannot("make a directory")?;
        File::create(to).cannot("make a place for a file")?;
    }
    let none = None::<&str>;
    let what = format!("show {}", to.display());
    mount(Some(&from), to, none, MsFlags::MS_BIND, none).cannot(&what)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | protect;
    mount(none, to, none, flags, none).cannot(&what)
}

fn bound(cell: &Cell) -> Result<(), String> {
    for (resource, most) in [
        (Resource::RLIMIT_AS, cell.memory),
        (Resource::RLIMIT_CPU, cell.seconds),
        (Resource::RLIMIT_FSIZE, cell.file_size),
        (Resource::RLIMIT_NOFILE, 64),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, most, most).cannot("bound itself")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_disk_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (disk, link) = (place.path().join("disk"), place.path().join("link"));
        File::create(&disk).unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        assert!(hold(&disk).is_ok());
        assert!(hold(&link).unwrap_err().ends_with("it is a link"));
        assert!(hold(&place.path().join("none")).is_err());
    }
}
