//! Create: a volume is made in `new/` and appears complete in one step.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use model::{Bytes, Error, Result, Time};

use super::core::Core;
use super::image;
use super::options::{Filesystem, Options};
use super::origin::Origin;
use super::record::{Layout, VolumeRecord};
use super::shelf::{self, Place};
use crate::driver::{CreateVolume, Method, VolumeInfo};
use crate::durable;
use crate::fault::Fault;
use crate::filled::Filled;
use crate::kernel::{btrfs, project};

/// Everything about a new volume, decided.
#[derive(Debug)]
struct Plan {
    size: Option<Bytes>,
    layout: Layout,
    options: Options,
    origin: Option<Origin>,
}

impl Core {
    /// Makes a volume.
    pub fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        let place = self.shelf.volume(&request.id);
        if let Some(found) = shelf::record::<VolumeRecord>(&place)? {
            found.answers(&request)?;
            return self.describe(&place, found);
        }
        let plan = self.plan(&request)?;
        let what = || format!("volume {:?} cannot be made", request.name);
        let draft = self.shelf.draft(&place)?;
        self.steps.at("create: begun");
        let method = self.make(&plan, &draft.place).map_err(|error| about(&request.name, error))?;
        self.steps.at("create: contents");
        let record = record(&request, plan, method);
        fs::create_dir(draft.place.users()).fault(what)?;
        durable::write(&draft.place.record(), &record).fault(what)?;
        self.steps.at("create: recorded");
        draft.keep(&place).fault(what)?;
        self.steps.at("create: done");
        self.describe(&place, record)
    }

    fn plan(&self, request: &CreateVolume) -> Result<Plan> {
        let options = Options::parse(&request.options)?;
        let origin = match &request.source {
            Some(source) => Some(self.origin(source)?),
            None => None,
        };
        let size = request.size.or(origin.as_ref().and_then(|origin| origin.limit));
        let layout = match &origin {
            Some(Origin { layout: Layout::Image(filesystem), .. }) => {
                refuse_other_filesystem(&options, *filesystem)?;
                Layout::Image(*filesystem)
            }
            _ => self.ground.layout(self.shelf.root(), size, &options)?,
        };
        if let Some(size) = size {
            self.refuse_larger_than_disk(&request.name, size)?;
            refuse_too_small(size, layout, origin.as_ref())?;
        }
        Ok(Plan { size, layout, options, origin })
    }

    /// Makes the contents; how they were copied, when there was something to copy.
    fn make(&self, plan: &Plan, place: &Place) -> Result<Option<Method>> {
        let method = match (&plan.origin, plan.layout) {
            (None, _) => {
                self.make_empty(plan, place)?;
                None
            }
            (Some(origin), Layout::Image(_)) if matches!(origin.layout, Layout::Image(_)) => {
                image::mount_point(place)?;
                Some(self.copy_image(origin, place)?)
            }
            (Some(origin), Layout::Subvolume) if origin.layout == Layout::Subvolume => {
                Some(snapshot_of(origin, place, plan.size)?)
            }
            (Some(origin), _) => {
                self.make_empty(plan, place)?;
                Some(within(plan, place, |contents| self.copy_tree(origin, contents))?)
            }
        };
        if plan.origin.is_some() && plan.options.choose_root() {
            if let Layout::Image(_) = plan.layout {
                // Its length is taken over when it is staged; here only the root is touched.
                within(plan, place, |contents| root(contents, &plan.options))?;
            } else {
                root(&place.contents(plan.layout), &plan.options)?;
            }
        }
        Ok(method)
    }

    fn make_empty(&self, plan: &Plan, place: &Place) -> Result<()> {
        let what = || "its directory cannot be made".to_owned();
        match plan.layout {
            Layout::Directory | Layout::Project => fs::create_dir(place.data()).fault(what)?,
            Layout::Subvolume => btrfs::create(&place.data()).fault(what)?,
            Layout::Image(filesystem) => {
                let size = plan.size.unwrap_or(filesystem.smallest());
                image::make(place, filesystem, size, plan.options.full)?;
                self.steps.at("create: file system");
                return within(plan, place, |contents| {
                    fs::create_dir(contents).fault(what)?;
                    root(contents, &plan.options)
                });
            }
        }
        limit(plan.layout, place, plan.size)?;
        root(&place.data(), &plan.options)
    }
}

/// Sets the size of what has one without being an image.
fn limit(layout: Layout, place: &Place, size: Option<Bytes>) -> Result<()> {
    let what = || "its size cannot be enforced".to_owned();
    match (layout, size) {
        (Layout::Subvolume, Some(size)) => btrfs::limit(&place.data(), Some(size.0)).fault(what),
        (Layout::Project, Some(size)) => project::limit(&place.data(), Some(size.0)).fault(what),
        _ => Ok(()),
    }
}

fn snapshot_of(origin: &Origin, place: &Place, size: Option<Bytes>) -> Result<Method> {
    let what = || format!("{:?} cannot be copied", origin.name);
    btrfs::snapshot(&origin.place.data(), &place.data(), false).fault(what)?;
    limit(Layout::Subvolume, place, size)?;
    let used = btrfs::referenced(&place.data()).fault(what)?.map(Bytes);
    match (used, size) {
        (Some(used), Some(size)) if used > size => Err(Error::invalid(format!(
            "the contents of {:?} take {used}, more than {size}",
            origin.name
        ))
        .at("size")),
        _ => Ok(Method::Btrfs),
    }
}

/// Does `work` on the contents, mounted for that time when they are an image's.
fn within<T>(plan: &Plan, place: &Place, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let contents = place.contents(plan.layout);
    let Layout::Image(filesystem) = plan.layout else { return work(&contents) };
    image::mount(place, filesystem, plan.options.full)?;
    let done = work(&contents).and_then(|done| {
        let mount = fs::File::open(place.mount());
        mount
            .and_then(|mount| Ok(rustix::fs::syncfs(mount)?))
            .fault(|| "it cannot be written out".to_owned())?;
        Ok(done)
    });
    image::unmount(place)?;
    done
}

/// Owner and mode of the volume's root.
fn root(contents: &Path, options: &Options) -> Result<()> {
    let what = || "owner and mode cannot be set".to_owned();
    chown(contents, options.uid, options.gid).fault(what)?;
    let mode = options.mode.unwrap_or(Options::MODE);
    fs::set_permissions(contents, fs::Permissions::from_mode(mode)).fault(what)
}

fn record(request: &CreateVolume, plan: Plan, method: Option<Method>) -> VolumeRecord {
    let Plan { size, layout, options, origin } = plan;
    let laid = match (&origin, layout) {
        (_, Layout::Directory | Layout::Project | Layout::Subvolume) => None,
        (Some(Origin { laid, layout: Layout::Image(_), .. }), Layout::Image(_)) => *laid,
        (_, Layout::Image(_)) => size,
    };
    VolumeRecord {
        id: request.id.clone(),
        name: request.name.clone(),
        asked: request.size,
        size,
        laid,
        layout,
        words: request.options.clone(),
        options,
        source: request.source.clone(),
        method,
        filled: origin.map_or(Filled::No, |origin| origin.filled),
        created: Time::now(),
    }
}

fn refuse_other_filesystem(options: &Options, filesystem: Filesystem) -> Result<()> {
    match options.filesystem {
        Some(other) if other != filesystem => Err(Error::invalid(format!(
            "a copy has the file system of its source, {}",
            filesystem.as_str()
        ))
        .at("options.filesystem")),
        _ => Ok(()),
    }
}

fn refuse_too_small(size: Bytes, layout: Layout, origin: Option<&Origin>) -> Result<()> {
    let (least, why) = match (layout, origin) {
        (Layout::Image(_), Some(Origin { layout: Layout::Image(_), limit: Some(limit), .. })) => {
            (*limit, "the size of its source")
        }
        (Layout::Image(filesystem), _) => (filesystem.smallest(), "the least of its file system"),
        _ => (Filesystem::Ext4.smallest(), "the least of any volume"),
    };
    if size >= least {
        return Ok(());
    }
    Err(Error::invalid(format!("{size} is less than {least}, {why}")).at("size"))
}

/// The same error, said of the volume.
fn about(name: &str, error: Error) -> Error {
    let mut outer = Error::new(error.kind(), format!("volume {name:?} cannot be made"));
    if let Some(field) = error.field() {
        outer = outer.at(field);
    }
    if let Some(next) = error.next_step() {
        outer = outer.next(next);
    }
    outer.caused_by(error)
}
