//! QEMU's arguments: a value in, words out. QEMU's own documentation is `qemu-system-x86_64(1)`.
//!
//! The machine is a q35 with virtio devices and no default ones. It has the timers every PC has (HPET,
//! PM timer): without them a guest measures its processor's rate against nothing and may hang at boot.

use std::path::Path;

use crate::config::{
    Accelerator, Bus, DIRECTORY, Disk, Firmware, Format, GUEST_AGENT, Kernel, MachineConfig, QMP,
    VNC,
};

/// Ports that devices are plugged into while the guest runs.
const HOT_PLUGS: usize = 4;
/// Slots for memory that is added while the guest runs.
const MEMORY_SLOTS: u32 = 8;
/// Bytes of translated code that the translator keeps.
const TRANSLATED: u64 = 128 << 20;
/// Bytes of QEMU's program data, devices and threads; what it took in measurements, doubled.
const QEMU: u64 = 192 << 20;
/// Bytes of the tables that a disk of the format keeps, of its picture, and of packets, at the most.
const DISK_CACHE: u64 = 32 << 20;
const PICTURE: u64 = 32 << 20;

/// Files the monitor opened and QEMU inherits, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inherited {
    /// The monitor's own end of the control protocol.
    pub control: i32,
    /// The taps, in the order of the network cards.
    pub taps: Vec<i32>,
    /// What leads to the TPM's emulator.
    pub tpm: Option<i32>,
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
    QEMU + translated + disks + picture + tables
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
    for (index, disk) in config.disks.iter().enumerate() {
        plug_disk(disk, index, &mut words);
    }
    cards(config, inherited, &mut words);
    shares(config, &mut words);
    given(config, inherited, &mut words);
    for port in 0..HOT_PLUGS {
        words.pair("-device", format!("pcie-root-port,id=plug{port},chassis={}", port + 1));
    }
    if let Some(state) = &config.resume {
        words.pair("-loadvm", state);
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
        Firmware::Bios | Firmware::Uefi { .. } => "off",
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
    if config.hugepages {
        let size = config.memory >> 20;
        words.pair(
            "-object",
            format!("memory-backend-memfd,id=ram,size={size}M,hugetlb=on,prealloc=on"),
        );
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

/// QEMU's name for the top of a disk. It has 31 characters at most, with what is appended to it here; names
/// of disks have 20, as serial numbers do.
pub fn node_name(disk: &str) -> String {
    format!("d-{disk}")
}

/// QEMU's name for a disk's device.
pub fn device_name(disk: &str) -> String {
    format!("dev-{disk}")
}

/// The file of a disk, and its format on top, as `-blockdev` and `blockdev-add` take them.
pub fn block_nodes(disk: &Disk) -> [serde_json::Value; 2] {
    let name = node_name(&disk.name);
    let file = serde_json::json!({
        "driver": "file",
        "filename": disk.path.to_string_lossy(),
        "node-name": format!("{name}-file"),
        "read-only": disk.read_only,
        "aio": "threads",
        "discard": "unmap",
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
    });
    if !disk.read_only {
        top["detect-zeroes"] = "unmap".into();
    }
    [file, top]
}

fn plug_disk(disk: &Disk, index: usize, words: &mut Words) {
    for node in block_nodes(disk) {
        words.pair("-blockdev", node.to_string());
    }
    let throttled = disk.iops > 0 || disk.bps > 0;
    let mut drive = node_name(&disk.name);
    if throttled {
        let group = format!("limit-{}", disk.name);
        let limits = format!("x-iops-total={},x-bps-total={}", disk.iops, disk.bps);
        words.pair("-object", format!("throttle-group,id={group},{limits}"));
        let node = serde_json::json!({
            "driver": "throttle", "node-name": format!("{drive}-limit"),
            "throttle-group": group, "file": drive,
        });
        words.pair("-blockdev", node.to_string());
        drive = format!("{drive}-limit");
    }
    let name = escaped(&disk.name);
    let common = format!("id={},drive={drive}", device_name(&disk.name));
    // What boots first is the first disk; a machine never boots from what holds its seed.
    let boot = format!("bootindex={}", index + 1);
    match disk.bus {
        Bus::Virtio => {
            words.pair("-device", format!("virtio-blk-pci,{common},serial={name},{boot}"));
        }
        Bus::Scsi => {
            words.pair("-device", format!("virtio-scsi-pci,id=scsi-{index}"));
            words.pair(
                "-device",
                format!("scsi-hd,bus=scsi-{index}.0,{common},serial={name},{boot}"),
            );
        }
        Bus::Sata => {
            words.pair("-device", format!("ide-hd,bus=ide.{index},{common},serial={name},{boot}"));
        }
        Bus::Cdrom => words.pair("-device", format!("ide-cd,bus=ide.{index},{common},{boot}")),
    }
}

fn cards(config: &MachineConfig, inherited: &Inherited, words: &mut Words) {
    let model = if config.windows { "e1000e" } else { "virtio-net-pci" };
    for (index, (nic, tap)) in config.nics.iter().zip(&inherited.taps).enumerate() {
        words.pair("-netdev", format!("tap,id=net{index},fd={tap}"));
        let mut device = format!("{model},id=card{index},netdev=net{index},mac={}", nic.mac);
        if !config.windows {
            device.push_str(&format!(",host_mtu={}", nic.mtu));
        }
        // No network boot: the card's own program would only cost time.
        device.push_str(",romfile=");
        words.pair("-device", device);
    }
}

fn shares(config: &MachineConfig, words: &mut Words) {
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
    use crate::config::{Nic, Share};

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
        arguments(config, &Inherited { control: 3, taps: vec![4, 5], tpm: config.tpm.then_some(9) })
            .join(" ")
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
            "tap,id=net0,fd=4",
            "mac=02:00:00:00:00:05,host_mtu=1450,romfile=",
            "mount_tag=data",
            "-vnc unix:/machine/run/vnc.sock",
            "i6300esb",
            "vfio-pci,host=0000:01:00.0",
            "socket,id=tpm,fd=9",
            "tpm-crb,tpmdev=tpm",
            "-loadvm saved",
            "smm=on",
            "cfi.pflash01,property=secure,value=on",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("fd=5"), "a tap without a card");
    }

    #[test]
    fn bounded_disks_go_through_their_limit() {
        let mut config = config();
        config.disks[0].iops = 100;
        let words = words(&config);
        assert!(words.contains("throttle-group,id=limit-root,x-iops-total=100,x-bps-total=0"));
        assert!(words.contains("drive=d-root-limit"));
    }

    #[test]
    fn overhead_counts_each_part() {
        let plain = overhead(&config());
        let kvm = overhead(&MachineConfig { accelerator: Accelerator::Kvm, ..config() });
        assert_eq!(plain - kvm, TRANSLATED);
        assert!(overhead(&MachineConfig { graphics: true, ..config() }) > plain);
    }
}
