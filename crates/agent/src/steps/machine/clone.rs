//! Disks that begin as those of another machine, as a snapshot of it has them. They are copied once; what
//! becomes of the other machine later is nothing to them.

use std::fs::File;
use std::os::unix::fs::{fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faults::may_die;
use machines::config::DISKS;
use machines::disk::packed::room_at;
use machines::disk::tool::DiskFile;
use machines::disk::{DiskFormat, DiskTool};
use model::error::Context as _;
use model::image::Image;
use model::instance::{Instance, MachineSource};
use model::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use tokio::sync::OwnedMutexGuard;

use super::disks::VARIABLES;
use super::walls::user_of;
use crate::guests::{self, kept};
use crate::local::Local;
use crate::worker::Worker;

/// The disk that a machine's disk lies on.
pub struct Base<'a> {
    /// The path by which its machine finds it.
    pub called: &'a Path,
    /// Its format.
    pub format: DiskFormat,
    /// Its size in bytes.
    pub size: u64,
}

/// The machine that a snapshot is of. Nobody works on its disks meanwhile.
struct Source<'a> {
    worker: &'a Worker,
    asked: &'a MachineSource,
    machine: Arc<Instance>,
    _turn: OwnedMutexGuard<()>,
}

impl<'a> Source<'a> {
    async fn hold(worker: &'a Worker, asked: &'a MachineSource) -> Result<Self> {
        let context = &worker.context;
        let (name, snapshot) = (&asked.machine, &asked.snapshot);
        let gone = || {
            Error::not_found(format!(
                "machine {name:?}, whose snapshot {snapshot:?} this one is to be made of, is gone"
            ))
            .next("remove this one and make it of another")
        };
        let id = asked.id.as_ref().ok_or_else(gone)?;
        let turn = guests::disks(context, id).await;
        let machine = context.roster.get(id).ok_or_else(gone)?.wanted.borrow().clone();
        let list = kept::read(&context.places.instance(id))?;
        let is = |taken| asked.taken.is_none_or(|asked| asked == taken);
        match list.iter().any(|it| it.name == *snapshot && is(it.created)) {
            true => Ok(Self { worker, asked, machine, _turn: turn }),
            false => Err(Error::not_found(format!(
                "machine {name:?} has no more the snapshot {snapshot:?} this one is to be made of"
            ))
            .next("remove this one and make it of another")),
        }
    }

    /// Copies a disk to `draft`, which belongs to this machine's user then.
    async fn copy(&self, name: &str, draft: &Path, base: Option<&Base<'_>>) -> Result<()> {
        let path = kept::disk(&self.worker.context, &self.machine, name).await?;
        let user = user_of(&self.machine.meta.id);
        let tool = DiskTool::find()?.as_user(user, user);
        let failed = || format!("cannot make {}", draft.display());
        empty(draft, user).context(ErrorKind::Unavailable, failed)?;
        let directory = draft.parent().unwrap_or(draft);
        let tag = kept::tag(&self.asked.snapshot);
        match base {
            None => {
                let disk = DiskFile::alone(&path, DiskFormat::Qcow2);
                let most = room_at(directory)?;
                tool.copy_state(disk, &tag, draft, DiskFormat::Qcow2, most).await?;
                may_die("clone.volume");
            }
            Some(base) => {
                let stand_in = self.stand_in(&tool, base).await?;
                let on = Some((stand_in.as_path(), base.called));
                let disk = DiskFile { path: &path, format: DiskFormat::Qcow2, base: on };
                let most = room_at(directory)?;
                let copied = tool.copy_state(disk, &tag, draft, base.format, most).await;
                let _ = std::fs::remove_file(&stand_in);
                copied?;
                may_die("clone.root");
            }
        }
        let own = user_of(&self.worker.uid);
        lchown(draft, Some(own), Some(own)).context(ErrorKind::Unavailable, failed)
    }

    /// An empty disk like the base: of the base itself nothing is read, and the layers that it lies in
    /// cannot be shown to the tool.
    async fn stand_in(&self, tool: &DiskTool, base: &Base<'_>) -> Result<PathBuf> {
        let path = self.worker.dir.join("base-of-clone");
        let failed = || format!("cannot make {}", path.display());
        let (user, _) = tool.user();
        empty(&path, user).context(ErrorKind::Unavailable, failed)?;
        if base.format == DiskFormat::Raw {
            File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(base.size))
                .context(ErrorKind::Unavailable, failed)?;
        } else {
            tool.create(&path, base.size).await?;
        }
        Ok(path)
    }
}

/// Makes an empty file of a user's, in the place of one that a try that was cut short left.
fn empty(path: &Path, user: u32) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fchown(File::create_new(path)?, Some(user), Some(user))
}

/// Makes the root disk's draft: the other machine's layer on the image that both run from.
pub async fn root(
    worker: &Worker,
    asked: &MachineSource,
    image: &Image,
    draft: &Path,
    base: &Base<'_>,
) -> Result<()> {
    let source = Source::hold(worker, asked).await?;
    let known = Local::load(&worker.context.places.instance(&source.machine.meta.id));
    let main = source.machine.spec.main().map(|main| main.name.clone()).unwrap_or_default();
    let runs = known.and_then(|known| Some(known.status.container(&main)?.image_digest.clone()));
    if runs.as_deref() != Some(image.digest.as_str()) {
        return Err(Error::conflict(format!(
            "machine {:?} runs from another image than this one is to: its disk is a layer on that",
            asked.machine
        ))
        .at("machine.source.image"));
    }
    source.copy("root", draft, Some(base)).await
}

/// Makes the draft of a disk in a volume, if it is to begin as one of the other machine's; says whether
/// it is.
pub async fn volume(worker: &Worker, wanted: &Instance, name: &str, draft: &Path) -> Result<bool> {
    let asked = wanted.spec.machine.as_ref().and_then(|machine| machine.source.as_ref());
    // A disk that is put in later, under the name of one that was taken out, is an empty one.
    let copied = worker.local.status.machine.as_ref().is_some_and(|machine| machine.copied);
    let asked = asked.filter(|_| !copied);
    let Some((asked, from)) = asked.and_then(|asked| Some((asked, asked.disks.get(name)?))) else {
        return Ok(false);
    };
    let source = Source::hold(worker, asked).await?;
    source.copy(from, draft, None).await?;
    Ok(true)
}

/// What UEFI remembers in the other machine: where its system is started from. `None` where that is
/// nothing of this size.
pub fn variables(worker: &Worker, asked: &MachineSource, size: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let path = worker.context.places.instance(asked.id.as_ref()?).join(DISKS).join(VARIABLES);
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .ok()?;
    file.metadata().ok().filter(|meta| meta.is_file() && meta.len() == size as u64)?;
    let mut found = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut found).ok()?;
    (found.len() == size).then_some(found)
}
