//! QEMU's arguments: a value in, words out. QEMU's own documentation is `qemu-system-x86_64(1)`.
//!
//! The machine is a q35 with virtio devices and no default ones. It has the timers every PC has (HPET,
//! PM timer): without them a guest measures its processor's rate against nothing and may hang at boot.

use std::path::Path;

use model::instance::DiskOptions;
use serde_json::Value;

use crate::config::{
    Accelerator, Bus, DIRECTORY, Disk, Firmware, Format, GUEST_AGENT, Kernel, MachineConfig, Nic,
    QMP, ShareServer, VNC,
};

/// Ports left free for what is plugged in while the guest runs.
const HOT_PLUGS: usize = 4;
/// What the names of ports begin with.
pub const PORT: &str = "plug";
/// Slots for memory that is added while the guest runs.
const MEMORY_SLOTS: u32 = 8;
/// Bytes of translated code that the translator keeps.
const TRANSLATED: u64 = 128 << 20;
/// Bytes of QEMU's program data, devices and threads; what it took in measurements, doubled.
const QEMU: u64 = 192 << 20;
/// Bytes of the tables that a disk of the format keeps, of its picture, and of packets, at the most.
const DISK_CACHE: u64 = 32 << 20;
const PICTURE: u64 = 32 << 20;

/// Bytes of the program that serves a shared directory; what it took in measurements, tripled.
const SERVER: u64 = 16 << 20;
/// Bytes of the node's memory for each file of a shared directory that the guest knows: the open file, its
/// name, its inode. The guest has about half of that for it.
const KNOWN_FILE: u64 = 2048;
/// Most files that the server of a shared directory holds open, those that the guest knows among them.
pub const MOST_FILES: u64 = 1 << 18;

/// Files the monitor opened and QEMU inherits, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inherited {
    /// The monitor's own end of the control protocol.
    pub control: i32,
    /// The taps, in the order of the network cards.
    pub taps: Vec<i32>,
    /// What leads to the TPM's emulator.
    pub tpm: Option<i32>,
    /// What leads to the servers of shared directories, in their order.
    pub shares: Vec<i32>,
}

/// Memory that the machine's walls need beyond the guest's: bounded parts, each with its own limit, so
/// that a guest in its bounds is not killed for what QEMU takes.
pub fn overhead(config: &MachineConfig) -> u64 {
    let translated = match config.accelerator {
        Accelerator::Kvm => 0,
        Accelerator::Tcg => TRANSLATED,
    };
    let disks = u64::try_from(config.disks.len()).unwrap_or(u64::MAX).saturating_mul(DISK_CACHE);
    let picture = if config.graphics { PICTURE } else { 0 };
    // Page tables of the guest's memory, both QEMU's and the guest's own: a five-hundredth each.
    let tables = config.max_memory / 256;
    QEMU + translated + disks + picture + tables + servers(config)
}

fn servers(config: &MachineConfig) -> u64 {
    if !config.has_virtiofs() {
        return 0;
    }
    let shares = u64::try_from(config.shares.len()).unwrap_or(u64::MAX);
    let files = shares.saturating_mul(MOST_FILES * KNOWN_FILE);
    shares.saturating_mul(SERVER).saturating_add(files.min(config.max_memory.saturating_mul(2)))
}

/// The words after the program's name.
pub fn arguments(config: &MachineConfig, inherited: &Inherited) -> Vec<String> {
    let mut words = Words::default();
    board(config, &mut words);
    firmware(config, &mut words);
    if let Some(kernel) = &config.kernel {
        direct_boot(kernel, &mut words);
    }
    controls(config, inherited, &mut words);
    // What may be taken out while the guest runs has to be in a port of its own.
    let mut ports = ports(config, &mut words);
    let (mut sata, order) = (0.., boot_order(config));
    for (disk, boot) in config.disks.iter().zip(order) {
        plug_disk(disk, boot, (&mut ports, &mut sata), &mut words);
    }
    cards(config, inherited, &mut ports, &mut words);
    shares(config, inherited, &mut words);
    given(config, inherited, &mut words);
    if config.resume.is_some() {
        // The monitor loads it: by itself QEMU asks it of UEFI's variables, too, which keep none.
        words.0.push("-S".to_owned());
    }
    words.0
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }
}

/// A value inside an option: commas are doubled.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

fn own(file: &str) -> String {
    format!("{DIRECTORY}/{file}")
}

fn board(config: &MachineConfig, words: &mut Words) {
    words.pair("-name", format!("guest={}", escaped(&config.name)));
    words.pair("-uuid", &config.uuid);
    words.0.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    // Whoever breaks out of the guest is in a program that may start none, and in the walls.
    let sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
    words.pair("-sandbox", sandbox);
    let smm = match &config.firmware {
        Firmware::Uefi { secure: true, .. } => "on",
        Firmware::Uefi { .. } => "off",
        // Without it QEMU (10.0) shows nothing of VGA's text mode, in which this firmware and its loaders speak.
        Firmware::Bios => "auto",
    };
    words.pair("-machine", format!("q35,vmport=off,smm={smm},dump-guest-core=off"));
    words.pair(
        "-accel",
        match config.accelerator {
            Accelerator::Kvm => "kvm".to_owned(),
            Accelerator::Tcg => format!("tcg,thread=multi,tb-size={}", TRANSLATED >> 20),
        },
    );
    words.pair("-cpu", processor(config));
    words.pair("-smp", format!("cpus={},maxcpus={}", config.cpus, config.max_cpus));
    words.pair("-m", memory(config));
    if let Some(backend) = backend(config) {
        let size = config.memory >> 20;
        words.pair("-object", format!("{backend},id=ram,size={size}M"));
        words.pair("-machine", "memory-backend=ram");
    }
    let base = if config.windows { "localtime" } else { "utc" };
    words.pair("-rtc", format!("base={base},clock=host,driftfix=slew"));
    words.pair("-global", "ICH9-LPC.disable_s3=1");
    words.pair("-global", "ICH9-LPC.disable_s4=1");
    // What a guest's end means is told by events; see the monitor.
    words.pair("-action", "panic=shutdown,watchdog=reset,reboot=reset,shutdown=poweroff");
    words.pair("-boot", "menu=off,strict=on");
}

fn processor(config: &MachineConfig) -> String {
    let model = match config.accelerator {
        Accelerator::Kvm if config.nested => "host",
        Accelerator::Kvm => "host,-vmx,-svm",
        // Five-level page tables cost the translator a level at every miss.
        Accelerator::Tcg if config.nested => "max,-la57",
        Accelerator::Tcg => "max,-la57,-svm",
    };
    let windows = "hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-time,hv-synic,hv-stimer";
    match (config.windows, config.accelerator) {
        (true, Accelerator::Kvm) => format!("{model},{windows}"),
        (true | false, Accelerator::Kvm | Accelerator::Tcg) => model.to_owned(),
    }
}

/// What the guest's memory is made of, where that is not QEMU's own.
fn backend(config: &MachineConfig) -> Option<String> {
    let shared = if config.has_virtiofs() { ",share=on" } else { "" };
    match config.hugepages {
        true => Some(format!("memory-backend-memfd{shared},hugetlb=on,prealloc=on")),
        false => config.has_virtiofs().then(|| format!("memory-backend-memfd{shared}")),
    }
}

/// The same for memory that is plugged in while it runs, as `object-add` takes it.
pub fn more_memory(config: &MachineConfig) -> serde_json::Value {
    match config.has_virtiofs() {
        true => serde_json::json!({"qom-type": "memory-backend-memfd", "share": true}),
        false => serde_json::json!({"qom-type": "memory-backend-ram"}),
    }
}

fn memory(config: &MachineConfig) -> String {
    let size = config.memory >> 20;
    match config.max_memory > config.memory {
        true => format!("size={size}M,slots={MEMORY_SLOTS},maxmem={}M", config.max_memory >> 20),
        false => format!("size={size}M"),
    }
}

fn firmware(config: &MachineConfig, words: &mut Words) {
    let Firmware::Uefi { code, variables, secure } = &config.firmware else { return };
    let code = path(code);
    let variables = path(variables);
    words.pair("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
    words.pair("-drive", format!("if=pflash,unit=1,format=raw,file={variables}"));
    if *secure {
        words.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
}

fn direct_boot(kernel: &Kernel, words: &mut Words) {
    words.pair("-kernel", kernel.image.to_string_lossy());
    if let Some(initrd) = &kernel.initrd {
        words.pair("-initrd", initrd.to_string_lossy());
    }
    words.pair("-append", &kernel.command_line);
}

/// Consoles, control, the agent's port, and what keeps a guest honest.
fn controls(config: &MachineConfig, inherited: &Inherited, words: &mut Words) {
    // The walls' terminal is the serial line: what is said there is the machine's log.
    words.pair("-chardev", "stdio,id=serial,signal=off");
    words.pair("-serial", "chardev:serial");
    words.pair("-chardev", format!("socket,id=control,fd={}", inherited.control));
    words.pair("-mon", "chardev=control,mode=control");
    words.pair("-chardev", format!("socket,id=qmp,path={},server=on,wait=off", own(QMP)));
    words.pair("-mon", "chardev=qmp,mode=control");
    words.pair("-device", "virtio-serial-pci");
    words.pair("-chardev", format!("socket,id=agent,path={},server=on,wait=off", own(GUEST_AGENT)));
    words.pair("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
    match config.graphics {
        true => {
            words.pair("-device", "VGA,vgamem_mb=16,edid=on");
            words.pair("-device", "qemu-xhci");
            words.pair("-device", "usb-tablet");
            words.pair("-vnc", format!("unix:{}", own(VNC)));
        }
        false => words.pair("-display", "none"),
    }
    words.pair("-device", "virtio-rng-pci");
    words.pair("-device", "virtio-balloon-pci,id=balloon,deflate-on-oom=on,free-page-reporting=on");
    // By ACPI and by PCI: guests have a driver for one or the other.
    words.pair("-device", "pvpanic");
    words.pair("-device", "pvpanic-pci");
    if config.watchdog {
        words.pair("-device", "i6300esb");
    }
}

/// QEMU's name for the top of a disk. It has 31 characters at most, with what is appended to it here, so names
/// of disks are shortened as serial numbers are.
pub fn node_name(disk: &str) -> String {
    format!("d-{}", DiskOptions::short_name(disk))
}

/// QEMU's name for a disk's device.
pub fn device_name(disk: &str) -> String {
    format!("dev-{disk}")
}

/// The file of a disk, and its format on top, as `-blockdev` and `blockdev-add` take them.
pub fn block_nodes(disk: &Disk) -> [Value; 2] {
    let name = node_name(&disk.name);
    let file = serde_json::json!({
        "driver": "file",
        "filename": disk.path.to_string_lossy(),
        "node-name": format!("{name}-file"),
        "read-only": disk.read_only,
        "aio": "threads",
        "discard": "unmap",
        // Flushes reach the disk, whatever is cached.
        "cache": {"direct": disk.direct, "no-flush": false},
    });
    let driver = match disk.format {
        Format::Qcow2 => "qcow2",
        Format::Raw => "raw",
    };
    let mut top = serde_json::json!({
        "driver": driver,
        "node-name": name,
        "file": format!("{name}-file"),
        "read-only": disk.read_only,
        "discard": "unmap",
        "cache": {"direct": disk.direct, "no-flush": false},
    });
    if !disk.read_only {
        top["detect-zeroes"] = "unmap".into();
    }
    [file, top]
}

/// A device, as `-device` and `device_add` take it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device(Vec<(&'static str, Value)>);

impl Device {
    fn new(driver: &str) -> Self {
        Self(vec![("driver", driver.into())])
    }

    fn with(mut self, property: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((property, value.into()));
        self
    }

    /// Says which port it is plugged into.
    #[must_use]
    pub fn at(self, port: &str) -> Self {
        self.with("bus", port)
    }

    fn text(&self) -> String {
        let value = |value: &Value| match value {
            Value::String(text) => escaped(text),
            other => other.to_string(),
        };
        let driver = self.0.iter().take(1).map(|(_, driver)| value(driver));
        let rest = self.0.iter().skip(1).map(|(key, it)| format!("{key}={}", value(it)));
        driver.chain(rest).collect::<Vec<_>>().join(",")
    }

    /// For `device_add`.
    pub fn json(&self) -> Value {
        self.0.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }
}

/// The name of the device that takes a disk's port.
pub fn port_device(disk: &Disk) -> String {
    match disk.bus {
        Bus::Virtio | Bus::Sata | Bus::Cdrom => device_name(&disk.name),
        Bus::Scsi => controller_name(&disk.name),
    }
}

/// QEMU's name for the controller of a SCSI disk.
pub fn controller_name(disk: &str) -> String {
    format!("scsi-{disk}")
}

/// Where a disk's device is in QEMU's tree of objects, for the verbs that bound it.
pub fn bounded_device(disk: &Disk) -> String {
    let device = device_name(&disk.name);
    match disk.bus {
        // Its PCI card only carries the device that has the disk.
        Bus::Virtio => format!("/machine/peripheral/{device}/virtio-backend"),
        Bus::Scsi | Bus::Sata | Bus::Cdrom => device,
    }
}

/// The devices of a disk; the first is what is plugged into a port, where it is of a bus that has them.
pub fn disk_devices(disk: &Disk) -> Vec<Device> {
    let common = |driver: &str| {
        let device = Device::new(driver).with("id", device_name(&disk.name));
        if disk.is_empty() { device } else { device.with("drive", node_name(&disk.name)) }
    };
    match disk.bus {
        Bus::Virtio => vec![common("virtio-blk-pci").with("serial", disk.serial().into_owned())],
        Bus::Scsi => {
            let controller = controller_name(&disk.name);
            let bus = format!("{controller}.0");
            let disk =
                common("scsi-hd").with("serial", disk.serial().into_owned()).with("bus", bus);
            vec![Device::new("virtio-scsi-pci").with("id", controller), disk]
        }
        Bus::Sata => vec![common("ide-hd").with("serial", disk.serial().into_owned())],
        Bus::Cdrom => vec![common("ide-cd")],
    }
}

/// The names of the ports, of which there are some more than the machine has a use for at first.
fn ports(config: &MachineConfig, words: &mut Words) -> std::vec::IntoIter<String> {
    let needs = |disk: &&Disk| !disk.is_own() && matches!(disk.bus, Bus::Virtio | Bus::Scsi);
    let used = config.disks.iter().filter(needs).count() + config.nics.len();
    let ports: Vec<String> = (0..used + HOT_PLUGS).map(|port| format!("{PORT}{port}")).collect();
    for (index, port) in ports.iter().enumerate() {
        words.pair("-device", format!("pcie-root-port,id={port},chassis={}", index + 1));
    }
    ports.into_iter()
}

/// The place of each disk in the order that the firmware looks for something that boots.
fn boot_order(config: &MachineConfig) -> Vec<usize> {
    let late = |disk: &Disk| config.cds_first && disk.bus != Bus::Cdrom;
    let mut order: Vec<usize> = (0..config.disks.len()).collect();
    order.sort_by_key(|index| late(&config.disks[*index]));
    let place = |index| order.iter().position(|it| *it == index).unwrap_or_default() + 1;
    (0..config.disks.len()).map(place).collect()
}

fn plug_disk(
    disk: &Disk,
    boot: usize,
    (ports, sata): (&mut impl Iterator<Item = String>, &mut impl Iterator<Item = u32>),
    words: &mut Words,
) {
    let nodes = (!disk.is_empty()).then(|| block_nodes(disk));
    for node in nodes.into_iter().flatten() {
        words.pair("-blockdev", node.to_string());
    }
    let mut devices = disk_devices(disk);
    if let (Bus::Virtio | Bus::Scsi, false) = (disk.bus, disk.is_own())
        && let Some(port) = ports.next()
    {
        devices[0] = devices[0].clone().at(&port);
    }
    if let (Bus::Sata | Bus::Cdrom, Some(last)) = (disk.bus, devices.last_mut()) {
        *last = last.clone().at(&format!("ide.{}", sata.next().unwrap_or_default()));
    }
    if let Some(last) = devices.last_mut() {
        *last = last.clone().with("bootindex", boot);
    }
    devices.iter().for_each(|device| words.pair("-device", device.text()));
}

/// QEMU's name for a network card.
pub fn card_name(nic: &Nic) -> String {
    format!("card-{}", nic.tap)
}

/// QEMU's name for what is behind a network card.
pub fn net_name(nic: &Nic) -> String {
    format!("net-{}", nic.tap)
}

/// The device of a network card.
pub fn card_device(nic: &Nic, windows: bool) -> Device {
    let device = Device::new(if windows { "e1000e" } else { "virtio-net-pci" })
        .with("id", card_name(nic))
        .with("netdev", net_name(nic))
        .with("mac", nic.mac.clone());
    let device = match windows {
        true => device,
        false => device.with("host_mtu", nic.mtu),
    };
    // No network boot: the card's own program would only cost time.
    device.with("romfile", "")
}

fn cards(
    config: &MachineConfig,
    inherited: &Inherited,
    ports: &mut impl Iterator<Item = String>,
    words: &mut Words,
) {
    for (nic, tap) in config.nics.iter().zip(&inherited.taps) {
        words.pair("-netdev", format!("tap,id={},fd={tap}", net_name(nic)));
        let device = card_device(nic, config.windows);
        let device = match ports.next() {
            Some(port) => device.at(&port),
            None => device,
        };
        words.pair("-device", device.text());
    }
}

fn shares(config: &MachineConfig, inherited: &Inherited, words: &mut Words) {
    match config.share_server {
        ShareServer::Qemu => shares_of_qemu(config, words),
        ShareServer::Virtiofs { .. } => {
            for (index, (share, line)) in config.shares.iter().zip(&inherited.shares).enumerate() {
                let tag = escaped(&share.tag);
                words.pair("-chardev", format!("socket,id=share{index},fd={line}"));
                let device = format!("vhost-user-fs-pci,chardev=share{index},tag={tag}");
                words.pair("-device", device);
            }
        }
    }
}

fn shares_of_qemu(config: &MachineConfig, words: &mut Words) {
    for (index, share) in config.shares.iter().enumerate() {
        let from = path(&share.path);
        let mode = if share.read_only { "on" } else { "off" };
        // Owners are kept in attributes: QEMU's user may not give files to others.
        words.pair(
            "-fsdev",
            format!(
                "local,id=share{index},path={from},security_model=mapped-xattr,readonly={mode}"
            ),
        );
        let tag = escaped(&share.tag);
        words.pair("-device", format!("virtio-9p-pci,fsdev=share{index},mount_tag={tag}"));
    }
}

/// Devices of the host given to the guest.
fn given(config: &MachineConfig, inherited: &Inherited, words: &mut Words) {
    if let Some(tpm) = inherited.tpm {
        words.pair("-chardev", format!("socket,id=tpm,fd={tpm}"));
        words.pair("-tpmdev", "emulator,id=tpm,chardev=tpm");
        words.pair("-device", "tpm-crb,tpmdev=tpm");
    }
    for address in &config.pci {
        words.pair("-device", format!("vfio-pci,host={address}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dialect, Share};

    fn config() -> MachineConfig {
        MachineConfig {
            name: "db,1".into(),
            uuid: "00000000-0000-0000-0000-000000000001".into(),
            cpus: 2,
            max_cpus: 2,
            memory: 512 << 20,
            max_memory: 512 << 20,
            disks: vec![Disk {
                name: "root".into(),
                path: "/machine/disks/root.qcow2".into(),
                ..Disk::default()
            }],
            ..MachineConfig::default()
        }
    }

    fn words(config: &MachineConfig) -> String {
        let inherited = Inherited {
            control: 3,
            taps: vec![4, 5],
            tpm: config.tpm.then_some(9),
            shares: vec![10],
        };
        arguments(config, &inherited).join(" ")
    }

    #[test]
    fn always_walled_and_never_with_default_devices() {
        let words = words(&config());
        assert!(words.contains("-nodefaults -no-user-config"));
        assert!(words.contains("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny"));
        assert!(words.contains("-name guest=db,,1"));
        assert!(words.contains("-m size=512M "), "no slots where no memory can come");
        assert!(words.contains("virtio-blk-pci,id=dev-root,drive=d-root,serial=root,bootindex=1"));
        assert!(words.contains("-display none"));
    }

    #[test]
    fn what_is_asked_shows() {
        let nic = Nic {
            tap: "tap-eth0".into(),
            mac: "02:00:00:00:00:05".into(),
            mtu: 1450,
            ipv4: None,
            ipv6: None,
            gateway4: None,
            gateway6: None,
            router6: None,
            dns: Vec::new(),
            search: Vec::new(),
            hostname: "db".into(),
        };
        let share = Share { tag: "data".into(), path: "/shares/0".into(), ..Share::default() };
        let config = MachineConfig {
            max_memory: 1 << 30,
            max_cpus: 4,
            graphics: true,
            watchdog: true,
            nics: vec![nic],
            shares: vec![share],
            tpm: true,
            pci: vec!["0000:01:00.0".into()],
            resume: Some("saved".into()),
            firmware: Firmware::Uefi {
                code: "/usr/share/OVMF/OVMF_CODE.secboot.fd".into(),
                variables: "/machine/disks/vars.fd".into(),
                secure: true,
            },
            ..config()
        };
        let words = words(&config);
        for part in [
            "size=512M,slots=8,maxmem=1024M",
            "cpus=2,maxcpus=4",
            "tap,id=net-tap-eth0,fd=4",
            "mac=02:00:00:00:00:05,host_mtu=1450,romfile=,bus=plug0",
            "mount_tag=data",
            "-vnc unix:/machine/run/vnc.sock",
            "i6300esb",
            "vfio-pci,host=0000:01:00.0",
            "socket,id=tpm,fd=9",
            "tpm-crb,tpmdev=tpm",
            " -S",
            "smm=on",
            "cfi.pflash01,property=secure,value=on",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("fd=5"), "a tap without a card");
    }

    #[test]
    fn whoever_serves_a_directory_sees_the_memory() {
        let share = Share { tag: "data".into(), ..Share::default() };
        let alone = config();
        let program = "/usr/libexec/virtiofsd".into();
        let served = MachineConfig {
            shares: vec![share],
            share_server: ShareServer::Virtiofs { program, dialect: Dialect::VirtioFs },
            ..config()
        };
        assert!(!words(&alone).contains("share=on"), "memory of one that shares nothing");
        let words = words(&served);
        for part in [
            "memory-backend-memfd,share=on,id=ram,size=512M",
            "memory-backend=ram",
            "socket,id=share0,fd=10",
            "vhost-user-fs-pci,chardev=share0,tag=data",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("9p"));
        let more = overhead(&served) - overhead(&alone);
        assert_eq!(more, SERVER + (512 << 20), "as many files as the server holds open");
    }

    #[test]
    fn what_can_be_taken_out_is_in_a_port_and_some_are_free() {
        let mut config = config();
        for (name, bus) in [("data", Bus::Virtio), ("more", Bus::Scsi)] {
            config.disks.push(Disk { name: name.into(), bus, ..Disk::default() });
        }
        let words = words(&config);
        for part in [
            "virtio-blk-pci,id=dev-data,drive=d-data,serial=data,bus=plug0,bootindex=2",
            "virtio-scsi-pci,id=scsi-more,bus=plug1",
            "scsi-hd,id=dev-more,drive=d-more,serial=more,bus=scsi-more.0,bootindex=3",
            "pcie-root-port,id=plug5,chassis=6",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("plug6"));
        let json = disk_devices(&config.disks[1])[0].clone().at("plug2").json();
        assert_eq!(json["driver"], "virtio-blk-pci");
        assert_eq!(json["bus"], "plug2");
    }

    #[test]
    fn cds_are_booted_from_when_they_are_to_be() {
        let mut config = config();
        let drive = Disk { name: "cd0".into(), bus: Bus::Cdrom, ..Disk::default() };
        let cd = Disk { path: "/machine/disks/cd0".into(), ..drive.clone() };
        config.disks.push(cd);
        let empty = Disk { name: "cd1".into(), ..drive };
        config.disks.push(empty);
        assert!(words(&config).contains("-device ide-cd,id=dev-cd1,bus=ide.1,bootindex=3"));
        assert!(!words(&config).contains("d-cd1-file"));
        assert!(words(&config).contains("ide-cd,id=dev-cd0,drive=d-cd0,bus=ide.0,bootindex=2"));
        config.cds_first = true;
        let words = words(&config);
        assert!(
            words.contains("bus=ide.0,bootindex=1") && words.contains("serial=root,bootindex=3")
        );
    }

    #[test]
    fn overhead_counts_each_part() {
        let plain = overhead(&config());
        let kvm = overhead(&MachineConfig { accelerator: Accelerator::Kvm, ..config() });
        assert_eq!(plain - kvm, TRANSLATED);
        assert!(overhead(&MachineConfig { graphics: true, ..config() }) > plain);
    }
}
