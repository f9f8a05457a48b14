//! Step: what a machine has beyond a container. Its container's program is the monitor, whose child is
//! QEMU; the image's own files are its root, so that the disk in it is there, once for all machines
//! that run from it, and the host's `/usr` is QEMU's.
//!
//! ```text
//!  /                 the image's layers, read-only          /usr /lib /lib64   the host's, read-only
//!  /disk/disk.qcow2  the image's disk                       /machine           sockets, machine.json
//!  /machine/disks    this machine's root disk, a layer on the image's; first-boot data; UEFI's variables
//!  /machine/shares/<n>  volumes and directories shared with the guest, which QEMU's user does not reach
//! ```

mod cds;
mod clone;
mod disks;
mod fitness;
mod walls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containers::rootfs::Rootfs;
use containers::{Bind, ContainerConfig};
use faults::may_die;
use machines::config::{
    Accelerator, Bus, CONFIG, DIRECTORY, DISKS, Dialect, Disk, Firmware, Format, Kernel,
    MachineConfig, Nic, RUN, SHARES, Share, ShareServer, TOLD,
};
use machines::monitor::Told;
use machines::qemu;
use machines::seed::{Seed, SharedFile};
use model::error::Context as _;
use model::image::{Image, MachineImage};
use model::instance::{
    BootDevice, ContainerSpec, Datasource, Instance, MachineDisk, MachineEnd, MachineProfile,
    MachineSpec, Phase, Reason, Resources,
};
use model::{Bytes, Error, ErrorKind, Result};
use tokio::sync::OwnedMutexGuard;

use super::volume::{self, Mounted};
use super::{files, handed, network};
use crate::guests;
use crate::local::replace_file;
use crate::observe::engine_id;
use crate::worker::Worker;

pub use disks::{BASE, ROOT, VOLUME_DISK, resume_next, resumed};

/// Memory of a machine when nobody said.
const MEMORY: Bytes = Bytes::mib(1024);

/// Name of the state that a stop saves.
const SAVED: &str = "hull-saved";
/// How long writing it may take.
const SAVING: Duration = Duration::from_secs(600);

/// QEMU's program for this architecture.
pub(crate) const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";

/// The machine that an instance is, if its image carries a disk.
///
/// # Errors
/// `Invalid` when something is asked of a machine that is none.
pub fn of<'a>(wanted: &Instance, image: &'a Image) -> Result<Option<&'a MachineImage>> {
    let Some(machine) = &image.machine else {
        let mut mounts = wanted.spec.all_containers().flat_map(|container| &container.mounts);
        if let Some(disk) = mounts.find(|mount| mount.disk.is_some()) {
            return Err(Error::invalid("a container takes a volume as a directory, not as a disk")
                .at("mounts")
                .next(format!("mount it with -v NAME:/path instead of {}", disk.target)));
        }
        return match &wanted.spec.machine {
            // What the command line adds to be ready for either is no wish.
            Some(asked) if *asked != MachineSpec::default() => {
                let name = wanted.spec.main().map(|main| main.image.as_str()).unwrap_or_default();
                Err(Error::invalid(format!("image {name:?} carries no disk: it is a container's"))
                    .at("machine")
                    .next("leave out what only a machine has, or name a machine's image"))
            }
            Some(_) | None => Ok(None),
        };
    };
    if wanted.spec.all_containers().count() > 1 {
        return Err(Error::invalid("a machine is alone in its instance").at("containers"));
    }
    Ok(Some(machine))
}

/// Turns a container's description into that of the walls of a machine.
pub async fn outfit(
    worker: &mut Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    image: &MachineImage,
    mounted: &[Mounted],
    config: ContainerConfig,
) -> Result<ContainerConfig> {
    let asked = wanted.spec.machine.clone().unwrap_or_default();
    fitness::check(&asked, memory(container))?;
    let proof = worker.context.kvm().await;
    let accelerator = if proof.ordinary_guests() { Accelerator::Kvm } else { Accelerator::Tcg };
    let share_server = share_server().await?;
    let owner = (share_server == ShareServer::Qemu).then(|| walls::user_of(&worker.uid));
    let mut shared = walls::shares(container, mounted, owner)?;
    let given_files = handed::for_machine(worker, container);
    if let Some(handed) = &given_files {
        if share_server == ShareServer::Qemu {
            return Err(Error::unsupported(
                "secrets and configs of a machine are shared with it by virtiofs, which this node \
                 has no server for",
            )
            .at("containers")
            .next("install virtiofsd on the node, or give the machine first-boot data: --cloud-init FILE"));
        }
        let share = share(shared.len(), handed.target, true);
        let bind = Bind::new(handed.directory.clone(), share.path.to_string_lossy());
        shared.push((share, bind.read_only()));
    }
    let placed = given_files.map(|handed| handed.files).unwrap_or_default();
    volume::release_others(worker, wanted, &[]).await?;
    let given = disks::volumes(worker, wanted, mounted).await?;
    let machine = MachineConfig {
        name: wanted.meta.name.clone(),
        uuid: uuid(worker),
        user: walls::user_of(&worker.uid),
        program: PathBuf::from(PROGRAM),
        cpus: cpus(container),
        max_cpus: asked.max_cpus.unwrap_or(0).max(cpus(container)),
        memory: memory(container).0,
        max_memory: asked.max_memory.map_or(0, |most| most.0).max(memory(container).0),
        accelerator,
        firmware: firmware(&asked, image)?,
        kernel: kernel(image),
        disks: own_disks(&asked)
            .into_iter()
            .chain(cds::put_in(worker, &asked).await?)
            .chain(given.iter().map(|(disk, _)| disk.clone()))
            .collect(),
        cds_first: asked.boot == BootDevice::Cdrom,
        nics: nics(worker, wanted)?,
        shares: shared.iter().map(|(share, _)| share.clone()).collect(),
        share_server,
        graphics: true,
        windows: asked.profile == MachineProfile::Windows,
        nested: asked.nested,
        hugepages: asked.hugepages,
        tpm: asked.tpm,
        watchdog: asked.watchdog,
        pci: asked.pci.clone(),
        resume: None,
        changed: false,
    };
    let machine = disks::going_on(worker, machine)?;
    let shared = shared.into_iter().map(|(_, bind)| bind);
    let binds = shared.chain(given.into_iter().map(|(_, bind)| bind)).collect();
    write(worker, &machine)?;
    seed(worker, wanted, &asked, &machine, placed)?;
    tell(worker, &machine, &proof);
    worker.local.status.machine.get_or_insert_default().networks = networks_of(wanted);
    walls::config(worker, &machine, binds, config)
}

/// What a running machine is to have: its volumes are there and given to it.
pub async fn given(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<guests::Given> {
    let running = guests::config(&worker.context.places.machine(&worker.uid))?;
    let asked = wanted.spec.machine.as_ref();
    let mut given = guests::Given {
        nics: nics(worker, wanted)?,
        root_size: asked.and_then(|machine| machine.root_size),
        root_bounds: asked.map_or((0, 0), |machine| (machine.root_iops, machine.root_bps)),
        ..guests::Given::default()
    };
    let cdroms = asked.map(|machine| machine.cdroms.as_slice()).unwrap_or_default();
    let (discs, refused) = cds::given(worker, cdroms, &running).await;
    (given.discs, given.refused) = (discs, refused);
    for (mounted, disk) in volume::disks(worker, wanted, container).await? {
        let open = running.disks.iter().any(|has| has.name == disk.name);
        match disks::of_volume(worker, wanted, &mounted, &disk, open).await {
            Ok((made, bind, size)) => given.disks.push((made, bind.source, size)),
            Err(error) => {
                // One that is there stays as it is.
                let has = running.disks.iter().find(|has| has.name == disk.name);
                given.disks.extend(has.map(|has| (has.clone(), PathBuf::new(), None)));
                given.refused.push(format!("disk {:?}: {}", disk.name, error.chain()));
            }
        }
    }
    Ok(given)
}

/// Brings what runs to what is wanted of its disks and cards, and lets go of volumes that it has no more.
pub async fn refit(worker: &mut Worker, wanted: &Instance, given: guests::Given) -> Result<()> {
    let refitted = guests::refit(worker, given).await?;
    let has: Vec<String> = refitted.disks.iter().map(|disk| disk.name.clone()).collect();
    volume::release_others(worker, wanted, &has).await?;
    let seen = worker.local.status.machine.get_or_insert_default();
    seen.disks = refitted.disks;
    seen.networks = networks_of(wanted);
    seen.pending.extend(refitted.pending);
    Ok(())
}

/// The disks that people know of.
pub fn disks_of(machine: &MachineConfig) -> Vec<MachineDisk> {
    let disks = machine.disks.iter().filter(|disk| disk.name != "seed");
    disks.map(|disk| MachineDisk { name: disk.name.clone(), size: None }).collect()
}

fn networks_of(wanted: &Instance) -> Vec<String> {
    let placed = wanted.spec.placement.iter();
    placed.flat_map(|placed| &placed.interfaces).map(|it| it.network.clone()).collect()
}

/// Waits until nobody works on the disks of what has been a machine.
pub async fn disks(worker: &Worker) -> Option<OwnedMutexGuard<()>> {
    match worker.local.status.machine {
        Some(_) => Some(guests::disks(&worker.context, &worker.uid).await),
        None => None,
    }
}

/// Makes the machine's disks where they are not there, once the image's files can be reached.
pub async fn furnish(
    worker: &mut Worker,
    wanted: &Instance,
    image: &Image,
    machine: &MachineImage,
    root: Rootfs,
) -> Result<()> {
    let asked = wanted.spec.machine.clone().unwrap_or_default();
    disks::root(worker, &asked, image, machine, root).await?;
    disks::variables(worker, &asked, machine)?;
    if asked.source.is_some() {
        worker.local.status.machine.get_or_insert_default().copied = true;
    }
    Ok(())
}

/// Takes in what the monitor of a machine told; says what is new of it.
pub fn observe(worker: &mut Worker, ended: bool) -> Vec<&'static str> {
    let Some(before) = worker.local.status.machine.clone() else { return Vec::new() };
    let directory = worker.context.places.machine(&worker.uid);
    worker.context.guests.follow(&worker.uid, &directory);
    let told = guests::told(&worker.context, &worker.uid);
    let mut news = Vec::new();
    if told.reboots > before.reboots {
        news.push("reboot");
    }
    if told.watchdog > before.watchdog {
        news.push("watchdog");
    }
    if told.end == Some(MachineEnd::Panic) && before.end.is_none() {
        news.push("panic");
    }
    if told.gone != worker.gone && !before.pending.is_empty() {
        // Perhaps what a change waits for.
        worker.local.taken_in = 0;
    }
    if full(&mut worker.local.status.reason, told.full.as_deref().filter(|_| !ended)) {
        news.push("disk-full");
    }
    worker.gone = told.gone;
    let grown = worker.context.storage_grown.load(Ordering::Acquire);
    if grown != worker.grown {
        // Perhaps what a disk fills. It is tried now, also where the last try was a moment ago: QEMU takes a
        // moment before it answers, and what was asked then is asked again after a while only.
        worker.local.taken_in = 0;
        worker.tried = None;
    }
    worker.grown = grown;
    let seen = worker.local.status.machine.get_or_insert_default();
    (seen.reboots, seen.watchdog, seen.end) = (told.reboots, told.watchdog, told.end);
    if ended {
        worker.local.status.reason = why_ended(&told);
    }
    news
}

/// The reason of a machine that stands still, as a disk has no room.
pub const DISK_FULL: &str = "DiskFull";

/// Says that a machine stands still, as a disk has no room, or that it no longer does. Whether that is new.
fn full(reason: &mut Option<Reason>, disk: Option<&str>) -> bool {
    let said = reason.as_ref().is_some_and(|reason| reason.code == DISK_FULL);
    match disk {
        Some(disk) if !said => {
            let message =
                format!("disk {disk:?} has no room for what the guest writes: it stands still");
            let next = match disk {
                "root" => "make room on the node's disk: it goes on by itself".to_owned(),
                volume => format!(
                    "make room on the node's disk, or hull volume grow {volume} SIZE: it goes on by itself"
                ),
            };
            *reason = Some(Reason { next: Some(next), ..Reason::new(DISK_FULL, message) });
            true
        }
        None if said => {
            *reason = None;
            false
        }
        Some(_) | None => false,
    }
}

/// Why a machine ended, where that is not what a guest does that is shut down.
fn why_ended(told: &Told) -> Option<Reason> {
    let reason = |code, message: &str, next: &str| {
        Some(Reason { next: Some(next.to_owned()), ..Reason::new(code, message) })
    };
    if let Some(target) = &told.lost {
        let message = format!("the server of its shared directory {target} ended");
        return reason("ShareLost", &message, "start it again: hull start");
    }
    match told.end {
        Some(MachineEnd::Panic) => {
            reason("GuestPanicked", "the guest's kernel panicked", "read its last words: hull logs")
        }
        Some(MachineEnd::Crash) => {
            reason("QemuEnded", "QEMU ended, and not because the guest did", "hull logs says more")
        }
        Some(MachineEnd::Saved) => Some(Reason::new("Saved", "its state is saved")),
        Some(MachineEnd::Shutdown) | None => None,
    }
}

/// A run has begun. One that goes on from a saved state stands still until it is told, as it did when it
/// was saved. The next start is an ordinary one, whatever becomes of this.
pub fn begun(worker: &Worker, wanted: &Instance) -> Result<()> {
    if worker.local.status.machine.is_none() || disks::resume(&worker.dir)?.is_none() {
        return Ok(());
    }
    disks::resumed(&worker.dir)?;
    may_die("resume.begun");
    guests::go_on(worker.context.clone(), Arc::new(wanted.clone()), true);
    Ok(())
}

/// Looks after a machine that ran while the platform was away: what the platform had stopped in it goes on.
pub fn adopt(worker: &Worker, wanted: &Arc<Instance>) {
    let runs = worker.local.status.phase == Phase::Running;
    if runs && worker.local.status.machine.is_some() {
        guests::go_on(worker.context.clone(), wanted.clone(), false);
    }
}

/// Ends a machine and keeps its memory on its disk. When that fails it runs on, and says so.
pub async fn save(worker: &mut Worker, wanted: &Instance) -> Result<()> {
    if worker.local.status.reason.as_ref().is_some_and(|reason| reason.code == "SaveFailed") {
        // Of an earlier try.
        worker.local.status.reason = None;
        worker.publish(wanted)?;
    }
    let Err(error) = write_state(worker, wanted).await else {
        return Ok(());
    };
    worker.local.status.reason = Some(Reason::from_error("SaveFailed", &error));
    worker.local.status.observed_generation = wanted.meta.generation;
    worker.publish(wanted)?;
    worker.unheeded(wanted).await;
    Err(error)
}

async fn write_state(worker: &Worker, wanted: &Instance) -> Result<()> {
    let control = guests::control(&worker.context, &worker.uid).await?;
    let disks = control.config.kept_disks();
    let disks: Vec<String> = disks.map(|disk| qemu::node_name(&disk.name)).collect();
    guests::is_as_it_started(&control).await?;
    control.qmp.stop().await?;
    if let Err(error) = keep_state(worker, &control, &disks).await {
        control.qmp.cont().await?;
        return Err(error);
    }
    let main = wanted.spec.main().map(|main| main.name.as_str()).unwrap_or_default();
    if let Some(id) = engine_id(&worker.uid, &wanted.spec, main) {
        worker.context.engine.wait(&id).await?;
    }
    Ok(())
}

async fn keep_state(worker: &Worker, control: &guests::Control, disks: &[String]) -> Result<()> {
    // That of an earlier save, if there was one.
    let _ = control.qmp.snapshot_delete(SAVED, disks, SAVING).await;
    control.qmp.snapshot_save(SAVED, &qemu::node_name("root"), disks, SAVING).await?;
    may_die("save.written");
    resume_next(&worker.dir, SAVED, &control.config)?;
    may_die("save.marked");
    control.qmp.quit().await
}

/// What people and programs are told of the machine.
fn tell(worker: &mut Worker, machine: &MachineConfig, proof: &host::kvm::Proof) {
    let slow = match machine.accelerator {
        Accelerator::Kvm => String::new(),
        Accelerator::Tcg => why_slow(proof),
    };
    if !slow.is_empty() {
        worker.warn(format!("the machine runs without KVM, many times slower: {slow}"));
    }
    let seen = worker.local.status.machine.get_or_insert_default();
    seen.accelerator = match machine.accelerator {
        Accelerator::Kvm => "kvm".to_owned(),
        Accelerator::Tcg => "tcg".to_owned(),
    };
    seen.slow = slow;
    seen.shares = match (machine.shares.is_empty(), machine.has_virtiofs()) {
        (true, _) => String::new(),
        (false, true) => "virtiofs".to_owned(),
        (false, false) => "9p".to_owned(),
    };
    seen.cpus = machine.cpus;
    seen.memory = Bytes(machine.memory);
    (seen.reboots, seen.watchdog, seen.end) = (0, 0, None);
    seen.disks = disks_of(machine);
    seen.pending.clear();
}

fn why_slow(proof: &host::kvm::Proof) -> String {
    if !proof.device {
        let fault = proof.fault.as_deref().unwrap_or("it is not there");
        return format!("/dev/kvm cannot be used: {fault}");
    }
    if !proof.long_mode {
        return "/dev/kvm opens, and ordinary guests do not get far in it".to_owned();
    }
    "the processor shows neither vmx nor svm".to_owned()
}

/// Processors of a machine.
pub fn cpus(container: &ContainerSpec) -> u32 {
    let milli = container.resources.cpus.map_or(1000, |cpus| cpus.milli());
    u32::try_from(milli.div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// Memory of a machine's guest.
pub fn memory(container: &ContainerSpec) -> Bytes {
    container.resources.memory.unwrap_or(MEMORY)
}

/// The instance's identity as a UUID (RFC 9562, version 8: of the maker's own making).
fn uuid(worker: &Worker) -> String {
    let digits = worker.uid.as_str();
    format!(
        "{}-{}-8{}-8{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
        &digits[20..32]
    )
}

fn kernel(image: &MachineImage) -> Option<Kernel> {
    (!image.kernel.is_empty()).then(|| Kernel {
        image: PathBuf::from(&image.kernel),
        initrd: (!image.initrd.is_empty()).then(|| PathBuf::from(&image.initrd)),
        command_line: image.command_line.clone(),
    })
}

fn firmware(asked: &MachineSpec, image: &MachineImage) -> Result<Firmware> {
    let Some(secure) = disks::uefi(asked, image) else { return Ok(Firmware::Bios) };
    let (code, _) = disks::ovmf(secure)?;
    let variables = Path::new(DIRECTORY).join(DISKS).join(disks::VARIABLES);
    Ok(Firmware::Uefi { code, variables, secure })
}

fn own_disks(asked: &MachineSpec) -> Vec<Disk> {
    let own = |file: &str| Path::new(DIRECTORY).join(DISKS).join(file);
    let windows = asked.profile == MachineProfile::Windows;
    let root = Disk {
        name: "root".into(),
        path: own(disks::ROOT),
        bus: if windows { Bus::Sata } else { Bus::Virtio },
        iops: asked.root_iops,
        bps: asked.root_bps,
        ..Disk::default()
    };
    let seed = Disk {
        name: "seed".into(),
        path: own(disks::SEED),
        format: Format::Raw,
        bus: if windows { Bus::Cdrom } else { Bus::Virtio },
        read_only: true,
        ..Disk::default()
    };
    vec![root, seed]
}

fn nics(worker: &Worker, wanted: &Instance) -> Result<Vec<Nic>> {
    let links = network::links(&worker.context, wanted)?;
    let hostname = files::machine_name(wanted);
    let nic = |link: &::network::InterfaceLink| {
        let gateways = worker.context.gateways(&link.network);
        Nic {
            tap: link.tap(),
            mac: link.mac.clone(),
            router6: link.gateway6.map(|_| ::network::Names::bridge_link_local(&link.bridge)),
            mtu: link.mtu,
            ipv4: link.ipv4,
            ipv6: link.ipv6,
            gateway4: link.gateway4,
            gateway6: link.gateway6,
            dns: gateways,
            search: vec![format!("{}.{}", wanted.meta.project, files::DOMAIN)],
            hostname: hostname.clone(),
        }
    };
    Ok(links.interfaces.iter().map(nic).collect())
}

/// First-boot data; written anew at each start, as addresses and keys may have changed.
fn seed(
    worker: &Worker,
    wanted: &Instance,
    asked: &MachineSpec,
    machine: &MachineConfig,
    placed: Vec<SharedFile>,
) -> Result<()> {
    let seed = Seed {
        instance_id: worker.uid.short().to_owned(),
        hostname: files::machine_name(wanted),
        cloud_init: asked.cloud_init.clone().unwrap_or_default(),
        nics: machine.nics.clone(),
        shares: machine.shares.clone(),
        files: placed,
        copied: asked.source.is_some(),
    };
    let datasource = seed.cloud_init.datasource.unwrap_or_else(|| asked.profile.datasource());
    let data = match datasource {
        Datasource::NoCloud => machines::seed::build(&seed)?,
        Datasource::ConfigDrive => machines::seed::build_config_drive(&seed)?,
    };
    disks::write_seed(worker, machine.user, &data)
}

fn write(worker: &Worker, machine: &MachineConfig) -> Result<()> {
    let directory = worker.context.places.machine(&worker.uid);
    // The place that the disks' directory is mounted at.
    std::fs::create_dir_all(directory.join(DISKS))
        .context(ErrorKind::Unavailable, || format!("cannot make {}", directory.display()))?;
    walls::own_directory(&directory.join(RUN), machine.user)?;
    if !machine.shares.is_empty() {
        // Served by others than QEMU, they are not QEMU's user's to look at.
        let reader = if machine.has_virtiofs() { 0 } else { machine.user };
        walls::own_directory(&directory.join(SHARES), reader)?;
    }
    // What an earlier run told is no news of this one.
    match std::fs::remove_file(directory.join(TOLD)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(ErrorKind::Unavailable, || {
                format!("cannot clear {}", directory.display())
            });
        }
        _ => {}
    }
    walls::own_directory(&disks::directory(worker), machine.user)?;
    write_config(worker, machine)
}

/// Writes down what a machine is made of.
pub fn write_config(worker: &Worker, machine: &MachineConfig) -> Result<()> {
    let directory = worker.context.places.machine(&worker.uid);
    let text = serde_json::to_vec(machine).expect("plain data always encodes");
    replace_file(&directory.join(CONFIG), &text)
}

/// What is to share directories with guests on this node.
async fn share_server() -> Result<ShareServer> {
    let looked = tokio::task::spawn_blocking(host::shares::virtiofsd).await;
    let found =
        looked.context(ErrorKind::Internal, || "virtiofsd was not looked for".to_owned())?;
    Ok(found.map_or(ShareServer::Qemu, |found| ShareServer::Virtiofs {
        program: found.program,
        dialect: match found.dialect {
            host::shares::Dialect::Qemu => Dialect::Qemu,
            host::shares::Dialect::VirtioFs => Dialect::VirtioFs,
        },
    }))
}

/// The shares of a machine, for whoever asks later.
pub fn share_tag(index: usize) -> String {
    format!("share{index}")
}

/// Takes the machine's sockets away; its disks go with what is remembered of the instance.
pub fn remove(worker: &Worker) -> Result<()> {
    guests::forget(&worker.context, &worker.uid);
    let directory = worker.context.places.machine(&worker.uid);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .context(ErrorKind::Unavailable, || format!("cannot remove {}", directory.display())),
        _ => Ok(()),
    }
}

/// The limits of a running machine's walls, with those of the wish and room for what it is given.
pub fn limits(worker: &Worker, asked: &Resources, given: &guests::Given) -> Result<Resources> {
    let mut machine = guests::config(&worker.context.places.machine(&worker.uid))?;
    for (disk, _, _) in &given.disks {
        if !machine.disks.iter().any(|has| has.name == disk.name) {
            machine.disks.push(disk.clone());
        }
    }
    Ok(walls::resources(asked, &machine))
}

/// What a share is called and where the guest mounts it.
fn share(index: usize, target: &str, read_only: bool) -> Share {
    Share {
        tag: share_tag(index),
        path: Path::new(DIRECTORY).join(SHARES).join(index.to_string()),
        target: target.to_owned(),
        read_only,
    }
}
