//! `qemu-img`: the verbs. All that read a disk run in [`walls`](super::walls).

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use model::error::Context;
use model::{Bytes, Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::process::Command;

use super::header::{self, look};
use super::walls::{Bind, Cell, MODE};
use super::{DiskFormat, Header};

const PROGRAM: &str = "qemu-img";
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/bin", "/usr/libexec"];
/// The user whose files it reads and writes where nobody says otherwise: one of those that systemd's
/// list of users leaves free.
const USER: u32 = 65_533;
/// Memory for tables of the largest disk.
const MEMORY: u64 = 2 << 30;
/// A look at tables of a large disk takes seconds; writing one takes what it takes.
const LOOK: Duration = Duration::from_secs(120);
const WRITE: Duration = Duration::from_secs(6 * 3600);
/// Of what the program says, this much is read.
const MOST_TOLD: usize = 1 << 20;

/// `qemu-img`, and who runs it.
#[derive(Debug, Clone)]
pub struct DiskTool {
    program: PathBuf,
    /// The program that makes walls, this one; without, there are none: for tests of the verbs.
    walls: Option<PathBuf>,
    user: (u32, u32),
}

/// What is known of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskInfo {
    /// Its format.
    pub format: DiskFormat,
    /// Bytes the guest sees.
    pub virtual_size: u64,
    /// Bytes it takes on the host's disk.
    pub actual_size: u64,
}

/// A state kept inside a qcow2.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was taken: seconds since 1970.
    pub date_sec: i64,
    /// Bytes of memory it keeps; 0 for the disk alone.
    pub vm_state_size: u64,
}

/// A disk as the tool is given it.
#[derive(Debug, Clone, Copy)]
pub struct DiskFile<'a> {
    /// Its file.
    pub path: &'a Path,
    /// Its format, as it was settled when it was taken in.
    pub format: DiskFormat,
    /// The disk it lies on, and the path by which its header calls that.
    pub base: Option<(&'a Path, &'a Path)>,
}

impl<'a> DiskFile<'a> {
    /// A disk that lies on no other.
    pub fn alone(path: &'a Path, format: DiskFormat) -> Self {
        Self { path, format, base: None }
    }

    /// The words that have it opened in its own format, and without what it lies on where that is not
    /// given: what is done to its own tables needs none of it.
    fn opened(&self) -> Vec<String> {
        if self.format != DiskFormat::Qcow2 || self.base.is_some() {
            return ["-f", self.format.as_str(), DISK].map(str::to_owned).to_vec();
        }
        let file = serde_json::json!({"driver": "file", "filename": DISK});
        let disk = serde_json::json!({"driver": "qcow2", "file": file, "backing": null});
        vec![format!("json:{disk}")]
    }

    fn binds(&self, inside: &str, writable: bool) -> Vec<Bind> {
        let own = Bind { host: self.path.to_owned(), inside: inside.into(), writable };
        let base = self.base.map(|(host, inside)| Bind {
            host: host.to_owned(),
            inside: inside.to_owned(),
            writable: false,
        });
        [own].into_iter().chain(base).collect()
    }
}

/// Where the disks are inside the walls.
const DISK: &str = "/disks/disk";
const TARGET: &str = "/disks/target";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    filename: String,
    virtual_size: u64,
    actual_size: u64,
    format: String,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    format_specific: Option<Specific>,
    #[serde(default)]
    snapshots: Vec<Snapshot>,
}

#[derive(Deserialize)]
struct Specific {
    data: SpecificData,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct SpecificData {
    data_file: Option<String>,
    encrypt: Option<serde_json::Value>,
    corrupt: bool,
    extents: Vec<Extent>,
    parent_cid: Option<u64>,
}

#[derive(Deserialize)]
struct Extent {
    filename: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Check {
    check_errors: u64,
    corruptions: u64,
}

fn with<'a>(words: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    words.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

impl DiskTool {
    /// The tool of this machine, looked up once.
    ///
    /// # Errors
    /// `Unsupported` with the package's name, if it is not installed.
    pub fn find() -> Result<Self> {
        static FOUND: OnceLock<PathBuf> = OnceLock::new();
        let program = match FOUND.get() {
            Some(found) => found.clone(),
            None => FOUND.get_or_init(look_up()?).clone(),
        };
        // The program that runs, also when an upgrade has put another in the place of its file.
        let walls = PathBuf::from("/proc/self/exe");
        Ok(Self { program, walls: Some(walls), user: (USER, USER) })
    }

    /// The same as another user: whose files the disks are.
    #[must_use]
    pub fn as_user(self, user: u32, group: u32) -> Self {
        Self { user: (user, group), ..self }
    }

    /// User and group that it runs as, whom its files must belong to.
    pub fn user(&self) -> (u32, u32) {
        self.user
    }

    /// Makes a disk that lies on another, which nothing is read of. `base` is the path by which its
    /// machine will find that. Quick: each first start of a machine waits for it.
    ///
    /// # Errors
    /// `Invalid` for an absurd size; `Exhausted`, `Internal` if it cannot be written.
    pub async fn create_overlay(
        &self,
        path: &Path,
        base: &Path,
        base_format: DiskFormat,
        size: u64,
    ) -> Result<()> {
        let named = |error: Error| about(path, error);
        header::check_size(size).map_err(named)?;
        let base = text(base)?;
        let words = ["create", "-q", "-f", "qcow2", "-u", "-b", base, "-F", base_format.as_str()];
        self.bare(&words, path, size).await
    }

    /// Makes an empty qcow2.
    ///
    /// # Errors
    /// As of [`Self::create_overlay`].
    pub async fn create(&self, path: &Path, size: u64) -> Result<()> {
        header::check_size(size).map_err(|error| about(path, error))?;
        self.bare(&["create", "-q", "-f", "qcow2"], path, size).await
    }

    /// What reads nothing needs no walls.
    async fn bare(&self, words: &[&str], path: &Path, size: u64) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(words).arg(path).arg(size.to_string()).env_clear();
        let output = finish(command, LOOK).await.map_err(|error| about(path, error))?;
        judge(&output, "cannot be made").map_err(|error| about(path, error))
    }

    /// Looks at a disk somebody brought: its header, and what `qemu-img` makes of it.
    ///
    /// # Errors
    /// As of [`look`]; `Invalid` if it is damaged or refers to other files.
    pub async fn inspect(&self, path: &Path, format: Option<DiskFormat>) -> Result<DiskInfo> {
        self.inspected(path, format).await.map_err(|error| about(path, error))
    }

    async fn inspected(&self, path: &Path, format: Option<DiskFormat>) -> Result<DiskInfo> {
        let file = std::fs::File::open(path)
            .context(ErrorKind::NotFound, || "cannot be opened".to_owned())?;
        let Header { format, virtual_size } = look(&file, format)?;
        let told = self.told(DiskFile::alone(path, format)).await?;
        told.refuse_others(format)?;
        header::check_size(told.virtual_size)?;
        if virtual_size.is_some_and(|size| size.next_multiple_of(512) != told.virtual_size) {
            return Err(Error::invalid("has two sizes"));
        }
        Ok(DiskInfo { format, virtual_size: told.virtual_size, actual_size: told.actual_size })
    }

    async fn told(&self, disk: DiskFile<'_>) -> Result<Told> {
        let opened = disk.opened();
        let words = with(&["info", "--output=json"], &opened);
        let output = self.inside(&words, disk.binds(DISK, false), LOOK, 0).await?;
        judge(&output, "cannot be read as a disk")?;
        serde_json::from_slice(&output.stdout)
            .context(ErrorKind::Internal, || "is described in a way that is not known".to_owned())
    }

    /// Checks all tables of a disk.
    ///
    /// # Errors
    /// `Invalid` if it is damaged.
    pub async fn check(&self, disk: DiskFile<'_>) -> Result<()> {
        let words = ["check", "--output=json", "-f", disk.format.as_str(), DISK];
        let checked = self.inside(&words, disk.binds(DISK, false), LOOK, 0).await;
        let output = checked.map_err(|error| about(disk.path, error))?;
        // 63: the format has nothing to check; 3: clusters that are only wasted.
        let found = match output.status.code() {
            Some(0 | 3 | 63) => return Ok(()),
            _ => serde_json::from_slice::<Check>(&output.stdout).unwrap_or_default(),
        };
        let count = found.check_errors + found.corruptions;
        let error = match count {
            0 => judge(&output, "cannot be checked").err(),
            count => Some(Error::invalid(format!("is damaged or cut off: {count} faults"))),
        };
        error.map_or(Ok(()), |error| Err(about(disk.path, error)))
    }

    /// Writes a disk anew in another format, into a file that is there, empty, and the tool's user's.
    /// `most` bounds what is written. A qcow2 is compressed inside if `compress`.
    ///
    /// # Errors
    /// `Invalid` if the source is damaged, `Exhausted` beyond `most`.
    pub async fn convert(
        &self,
        source: DiskFile<'_>,
        target: DiskFile<'_>,
        compress: bool,
        most: u64,
    ) -> Result<()> {
        let mut words = vec!["convert", "-q", "-f", source.format.as_str()];
        words.extend(["-O", target.format.as_str()]);
        match (target.format, compress) {
            // zstd is read several times faster than zlib; QEMU has it since 5.1.
            (DiskFormat::Qcow2, true) => words.extend(["-c", "-o", "compression_type=zstd"]),
            (DiskFormat::Vmdk, true) => words.extend(["-o", "subformat=streamOptimized"]),
            _ => {}
        }
        words.extend([DISK, TARGET]);
        let mut binds = source.binds(DISK, false);
        binds.extend(target.binds(TARGET, true));
        let converted = self.inside(&words, binds, WRITE, most).await;
        converted
            .and_then(|output| judge(&output, "cannot be converted"))
            .map_err(|error| about(source.path, error))
    }

    /// Makes a disk larger.
    ///
    /// # Errors
    /// `Invalid` for a size below what it has.
    pub async fn resize(&self, disk: DiskFile<'_>, size: u64) -> Result<()> {
        let outcome = self.resized(disk, size).await;
        outcome.map_err(|error| about(disk.path, error))
    }

    async fn resized(&self, disk: DiskFile<'_>, size: u64) -> Result<()> {
        header::check_size(size)?;
        let has = self.told(disk).await?.virtual_size;
        if size < has {
            return Err(Error::invalid(format!(
                "has {}: disks can be made larger, not smaller",
                Bytes(has)
            )));
        }
        let size = size.to_string();
        let opened = disk.opened();
        let mut words = with(&["resize", "-q"], &opened);
        words.push(&size);
        self.change(disk, &words).await
    }

    /// The states kept inside a disk.
    ///
    /// # Errors
    /// `Invalid` if it is damaged.
    pub async fn snapshots(&self, disk: DiskFile<'_>) -> Result<Vec<Snapshot>> {
        let told = self.told(disk).await.map_err(|error| about(disk.path, error))?;
        Ok(told.snapshots)
    }

    /// Keeps the state of a stopped disk.
    ///
    /// # Errors
    /// `Invalid` if it is damaged or no qcow2.
    pub async fn snapshot_create(&self, disk: DiskFile<'_>, name: &str) -> Result<()> {
        self.snapshot(disk, "-c", name).await
    }

    /// Takes a stopped disk back to a state.
    ///
    /// # Errors
    /// `NotFound` for a name that is not there.
    pub async fn snapshot_apply(&self, disk: DiskFile<'_>, name: &str) -> Result<()> {
        self.known(disk, name).await?;
        self.snapshot(disk, "-a", name).await
    }

    /// Deletes a state of a stopped disk.
    ///
    /// # Errors
    /// `NotFound` for a name that is not there.
    pub async fn snapshot_delete(&self, disk: DiskFile<'_>, name: &str) -> Result<()> {
        self.known(disk, name).await?;
        self.snapshot(disk, "-d", name).await
    }

    /// Writes a state that a disk keeps, and nothing of its base, into a file that is there, empty, and the
    /// tool's user's. `base` is what the disk lies on, as its header calls it, and what the copy will; what
    /// is there as that is read of nowhere: an empty disk of the same format and size does. `most` bounds
    /// what is written. Of a disk that QEMU has open, nobody may make or delete states meanwhile: the
    /// tables of those that are there are written no more.
    ///
    /// # Errors
    /// `Invalid` if the disk is damaged or has no such state, `Exhausted` beyond `most`.
    pub async fn copy_state(
        &self,
        disk: DiskFile<'_>,
        state: &str,
        target: &Path,
        base: DiskFormat,
        most: u64,
    ) -> Result<()> {
        let (opened, state) = (disk.opened(), format!("snapshot.name={state}"));
        let mut words = with(&["convert", "-q", "-U", "-l", &state, "-O", "qcow2"], &[]);
        // Else it would take no care that the copy is on the disk when it is done.
        words.extend(["-t", "writeback"]);
        if let Some((_, called)) = disk.base {
            words.extend(["-B", text(called)?, "-F", base.as_str()]);
        }
        words.extend(opened.iter().map(String::as_str));
        words.push(TARGET);
        let mut binds = disk.binds(DISK, false);
        binds.extend(DiskFile::alone(target, DiskFormat::Qcow2).binds(TARGET, true));
        let copied = self.inside(&words, binds, WRITE, most).await;
        copied
            .and_then(|output| judge(&output, "cannot be copied"))
            .map_err(|error| about(disk.path, error))
    }

    async fn known(&self, disk: DiskFile<'_>, name: &str) -> Result<()> {
        match self.snapshots(disk).await?.iter().any(|snapshot| snapshot.name == name) {
            true => Ok(()),
            false => Err(about(disk.path, Error::not_found(format!("has no snapshot {name}")))),
        }
    }

    async fn snapshot(&self, disk: DiskFile<'_>, verb: &str, name: &str) -> Result<()> {
        let opened = disk.opened();
        let changed = self.change(disk, &with(&["snapshot", "-q", verb, name], &opened)).await;
        changed.map_err(|error| about(disk.path, error))
    }

    async fn change(&self, disk: DiskFile<'_>, words: &[&str]) -> Result<()> {
        let output = self.inside(words, disk.binds(DISK, true), WRITE, header::MOST).await?;
        judge(&output, "cannot be changed")
    }

    async fn inside(
        &self,
        words: &[&str],
        files: Vec<Bind>,
        time: Duration,
        file_size: u64,
    ) -> Result<Output> {
        let Some(walls) = &self.walls else {
            return finish(self.unwalled(words, &files), time).await;
        };
        let program = text(&self.program)?.to_owned();
        let command = [program].into_iter().chain(words.iter().map(|word| (*word).to_owned()));
        let cell = Cell {
            user: self.user.0,
            group: self.user.1,
            files,
            memory: MEMORY,
            seconds: time.as_secs(),
            file_size,
            command: command.collect(),
        };
        let cell = serde_json::to_string(&cell)
            .context(ErrorKind::Internal, || "has a name that cannot be written".to_owned())?;
        let mut command = Command::new(walls);
        command.arg(MODE).arg(cell).env_clear();
        finish(command, time).await
    }

    fn unwalled(&self, words: &[&str], files: &[Bind]) -> Command {
        let mut command = Command::new(&self.program);
        for word in words {
            let mut word = (*word).to_owned();
            for file in files {
                let host = file.host.to_string_lossy();
                word = word.replace(&*file.inside.to_string_lossy(), &host);
            }
            command.arg(word);
        }
        command
    }
}

impl Told {
    /// The header was looked at already; this is what `qemu-img` found, which reads it otherwise.
    fn refuse_others(&self, format: DiskFormat) -> Result<()> {
        let data = self.format_specific.as_ref().map(|specific| &specific.data);
        let another = data.is_some_and(|data| {
            data.data_file.is_some()
                || data.extents.iter().any(|extent| extent.filename != self.filename)
                || data.extents.len() > 1
                || data.parent_cid.is_some_and(|cid| cid != u64::from(u32::MAX))
        });
        if self.backing_filename.is_some() || another {
            return Err(Error::invalid("needs another file")
                .next("make it whole first: qemu-img convert -O qcow2 FILE disk.qcow2"));
        }
        if self.encrypted || data.is_some_and(|data| data.encrypt.is_some()) {
            return Err(Error::unsupported("is encrypted"));
        }
        if data.is_some_and(|data| data.corrupt) {
            return Err(Error::invalid("is marked as damaged"));
        }
        match self.format == format.as_str() {
            true => Ok(()),
            false => Err(Error::internal(format!("is taken for {}", self.format))),
        }
    }
}

fn look_up() -> Result<impl FnOnce() -> PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed = std::env::split_paths(&path).filter(|place| place.is_absolute());
    let places = PLACES.iter().map(PathBuf::from).chain(listed);
    let found = places.map(|place| place.join(PROGRAM)).find(|program| program.is_file());
    match found {
        Some(program) => Ok(move || program),
        None => Err(Error::unsupported("qemu-img is not installed on this node")
            .next("install qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, RHEL)")),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::invalid(format!("path {} is not UTF-8", path.display())))
}

/// Names the disk before what is said about it.
fn about(path: &Path, error: Error) -> Error {
    error.about(format!("disk {}", path.file_name().unwrap_or_default().display()))
}

async fn finish(mut command: Command, time: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command
        .spawn()
        .context(ErrorKind::Unsupported, || format!("cannot be read: {PROGRAM} does not start"))?;
    let mut output = tokio::time::timeout(time, child.wait_with_output())
        .await
        .map_err(|_| Error::invalid("takes too long to be read"))?
        .context(ErrorKind::Internal, || "cannot be read".to_owned())?;
    output.stdout.truncate(MOST_TOLD);
    output.stderr.truncate(MOST_TOLD);
    Ok(output)
}

/// What the program's end means for the disk.
fn judge(output: &Output, what: &str) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = told.trim().trim_start_matches("qemu-img: ");
    let kind = match (output.status.signal(), output.status.code()) {
        (_, Some(code)) if code == i32::from(super::walls::FAILED) => ErrorKind::Unsupported,
        (Some(signal), _) if signal == nix::libc::SIGXFSZ => ErrorKind::Exhausted,
        _ if told.contains("No space left") || told.contains("File too large") => {
            ErrorKind::Exhausted
        }
        _ => ErrorKind::Invalid,
    };
    let shown: String = told.chars().take(500).collect();
    let why = match (kind, output.status.signal()) {
        (ErrorKind::Exhausted, _) => format!("{what}: the node's disk has no room for it"),
        (_, Some(signal)) => format!("{what}: {PROGRAM} ended by signal {signal}"),
        _ => what.to_owned(),
    };
    Err(Error::new(kind, why).caused_by(std::io::Error::other(shown)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Without walls, which are tested where the program is: in the end-to-end tests.
    fn tool() -> Option<DiskTool> {
        match DiskTool::find() {
            Ok(tool) => Some(DiskTool { walls: None, ..tool }),
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    /// A raw disk of 8 MiB with a partition.
    fn raw(path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"\x80\0\0\0\x83\0\0\0\x08\0\0\0\x08", 446).unwrap();
        file.write_all_at(b"\x55\xaa", 510).unwrap();
        file.write_all_at(b"something", 1 << 20).unwrap();
    }

    fn qemu_img(words: &[&str], directory: &Path) {
        let status =
            std::process::Command::new(PROGRAM).args(words).current_dir(directory).status();
        assert!(status.unwrap().success(), "{words:?}");
    }

    #[tokio::test]
    async fn every_format_is_taken_and_given() {
        let Some(tool) = tool() else { return };
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        raw(&at("disk.raw"));
        let source = DiskFile::alone(Path::new(""), DiskFormat::Raw);
        let (back, first) = (at("back"), at("disk.raw"));
        for format in DiskFormat::ALL {
            let path = at(&format!("disk.{}", format.as_str()));
            if format != DiskFormat::Raw {
                let (from, to) =
                    (DiskFile { path: &first, ..source }, DiskFile::alone(&path, format));
                tool.convert(from, to, true, 1 << 30).await.unwrap();
            }
            let info = tool.inspect(&path, None).await.unwrap();
            assert_eq!((info.format, info.virtual_size), (format, 8 << 20));
            tool.check(DiskFile::alone(&path, format)).await.unwrap();
            let to = DiskFile::alone(&back, DiskFormat::Raw);
            tool.convert(DiskFile::alone(&path, format), to, false, 1 << 30).await.unwrap();
            assert!(fs::read(&back).unwrap() == fs::read(&first).unwrap(), "{format:?}");
        }
    }

    #[tokio::test]
    async fn disks_that_refer_to_others_or_are_damaged() {
        let Some(tool) = tool() else { return };
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        raw(&at("disk.raw"));
        let make = |words: &[&str]| qemu_img(words, home.path());
        make(&["create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "backed"]);
        make(&["create", "-q", "-f", "qcow2", "-o", "data_file=data", "data-file", "1M"]);
        make(&["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "flat.vmdk", "1M"]);
        make(&["convert", "-q", "-O", "vmdk", "disk.raw", "base.vmdk"]);
        make(&["create", "-q", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "child.vmdk"]);
        make(&["convert", "-q", "-O", "qcow2", "disk.raw", "short.qcow2"]);
        let short = File::options().write(true).open(at("short.qcow2")).unwrap();
        short.set_len(5 << 16).unwrap();
        for (name, expected) in [
            ("backed", "backing file"),
            ("data-file", "its data"),
            ("flat.vmdk", "several files"),
            ("child.vmdk", "needs another file"),
        ] {
            let error = tool.inspect(&at(name), None).await.unwrap_err();
            assert!(error.message().contains(expected), "{name}: {}", error.chain());
            assert!(error.message().starts_with(&format!("disk {name} ")), "{error}");
        }
        let error = tool.check(DiskFile::alone(&at("short.qcow2"), DiskFormat::Qcow2)).await;
        let error = error.unwrap_err();
        assert!(error.message().contains("damaged or cut off"), "{}", error.chain());
        assert_eq!(tool.inspect(&at("none"), None).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_state_is_copied_without_its_base() {
        let Some(tool) = tool() else { return };
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let (base, stand_in, path) = (at("disk.raw"), at("none.raw"), at("root.qcow2"));
        raw(&base);
        File::create(&stand_in).unwrap().set_len(8 << 20).unwrap();
        tool.create_overlay(&path, &base, DiskFormat::Raw, 16 << 20).await.unwrap();
        let write = |text: &str| {
            let written = std::process::Command::new("qemu-io")
                .args(["-f", "qcow2", "-c", text])
                .arg(&path)
                .stdout(Stdio::null())
                .status();
            assert!(written.unwrap().success());
        };
        write("write -P 7 2M 64k");
        tool.snapshot_create(DiskFile::alone(&path, DiskFormat::Qcow2), "kept").await.unwrap();
        write("write -P 8 2M 64k");
        let source =
            DiskFile { path: &path, format: DiskFormat::Qcow2, base: Some((&stand_in, &base)) };
        // The base itself is not looked at.
        fs::rename(&base, at("away")).unwrap();
        fs::copy(&stand_in, &base).unwrap();
        let (copy, whole) = (at("copy.qcow2"), at("whole.raw"));
        File::create(&copy).unwrap();
        tool.copy_state(source, "kept", &copy, DiskFormat::Raw, 1 << 30).await.unwrap();
        // Without walls the copy calls its base as it was given.
        fs::rename(at("away"), &stand_in).unwrap();
        assert!(fs::metadata(&copy).unwrap().len() < 1 << 20, "more than what was written");
        let base = Some((stand_in.as_path(), stand_in.as_path()));
        let copied = DiskFile { path: &copy, format: DiskFormat::Qcow2, base };
        let into = DiskFile::alone(&whole, DiskFormat::Raw);
        tool.convert(copied, into, false, 1 << 30).await.unwrap();
        let found = fs::read(&whole).unwrap();
        assert_eq!(found.len(), 16 << 20);
        assert_eq!(&found[1 << 20..][..9], b"something");
        assert!(found[2 << 20..][..64 << 10].iter().all(|byte| *byte == 7));
        let error = tool.copy_state(source, "none", &copy, DiskFormat::Raw, 1 << 30).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn overlays_grow_and_keep_states() {
        let Some(tool) = tool() else { return };
        let home = tempfile::tempdir().unwrap();
        let (base, path) = (home.path().join("disk.raw"), home.path().join("root.qcow2"));
        raw(&base);
        let begun = std::time::Instant::now();
        tool.create_overlay(&path, &base, DiskFormat::Raw, 8 << 20).await.unwrap();
        eprintln!("an overlay took {:?}", begun.elapsed());
        let disk = DiskFile { path: &path, format: DiskFormat::Qcow2, base: None };
        tool.resize(disk, 16 << 20).await.unwrap();
        let error = tool.resize(disk, 1 << 20).await.unwrap_err();
        assert!(error.message().contains("not smaller"), "{error}");
        assert_eq!(tool.told(disk).await.unwrap().virtual_size, 16 << 20);
        tool.snapshot_create(disk, "before").await.unwrap();
        let names =
            |found: Vec<Snapshot>| found.into_iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(tool.snapshots(disk).await.unwrap()), ["before"]);
        tool.snapshot_apply(disk, "before").await.unwrap();
        tool.snapshot_delete(disk, "before").await.unwrap();
        assert_eq!(names(tool.snapshots(disk).await.unwrap()), Vec::<String>::new());
        let error = tool.snapshot_apply(disk, "before").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = tool.create_overlay(&path, &base, DiskFormat::Raw, u64::MAX).await.unwrap_err();
        assert!(error.message().contains("is the most"), "{error}");
    }
}
