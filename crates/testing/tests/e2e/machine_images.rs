//! Images of machines: disks that are taken in, given out, sent and fetched, and those that are refused.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testing::disk::Disk;
use testing::node::{Node, Outcome, Setup, until, within};
use testing::registry::Registry;

use super::process::{Named, node};

/// A directory with disks of all kinds, all of the same content, which no other test has.
struct Disks(tempfile::TempDir);

impl Disks {
    fn new(mark: &str) -> Self {
        let disks = Self(tempfile::tempdir().unwrap());
        let file = File::create(disks.at("disk.raw")).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"\x80\0\0\0\x83\0\0\0\x08\0\0\0\xf8\x3f", 446).unwrap();
        file.write_all_at(b"\x55\xaa", 510).unwrap();
        file.write_all_at(&b"something ".repeat(100_000), 1 << 20).unwrap();
        file.write_all_at(mark.as_bytes(), 3 << 20).unwrap();
        for format in ["qcow2", "vmdk", "vhdx", "vdi"] {
            disks.make(
                "qemu-img",
                &["convert", "-O", format, "disk.raw", &format!("disk.{format}")],
            );
        }
        disks
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, program: &str, words: &[&str]) {
        let done = Command::new(program).args(words).current_dir(self.0.path()).output();
        let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Takes one in.
    fn import(&self, node: &Node, file: &str, name: &str, more: &[&str]) -> Outcome {
        let path = self.at(file);
        let words = ["image", "import", "--machine", "--name", name, path.to_str().unwrap()];
        node.hull(&[&words, more].concat())
    }
}

fn machine(node: &Node, name: &str) -> Value {
    let shown = node.ok(&["image", "show", "-o", "json", name]);
    serde_json::from_str::<Value>(&shown).unwrap()["machine"].take()
}

/// Nothing is on its way any more, once what other tests are at is done.
fn assert_nothing_left(node: &Node, what: &str) {
    let passing = node.root().join("var/lib/hull/passing");
    until(what, || {
        let left = fs::read_dir(&passing).map_or(0, Iterator::count);
        (left == 0).then_some(())
    });
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

#[test]
fn disks_of_every_format_come_in_and_go_out() {
    let Some(node) = node() else { return };
    let disks = Disks::new("formats");
    disks.make("gzip", &["-k", "disk.qcow2"]);
    disks.make("zstd", &["-q", "disk.raw"]);
    for file in [
        "disk.raw",
        "disk.qcow2",
        "disk.vmdk",
        "disk.vhdx",
        "disk.vdi",
        "disk.qcow2.gz",
        "disk.raw.zst",
    ] {
        let name = format!("vm-{}", file.replace('.', "-"));
        let taken = disks.import(node, file, &name, &[]);
        assert_eq!(taken.code, 0, "{file}: {}", taken.stderr);
        assert_eq!(machine(node, &name)["disk"], "/disk/disk.qcow2", "{file}");
        assert_nothing_left(node, file);
        for out in ["out.raw", "out.qcow2", "out.vmdk"] {
            let path = disks.at(out);
            node.ok(&["image", "export", &name, "-o", path.to_str().unwrap()]);
            let format = out.rsplit('.').next().unwrap();
            disks.make("qemu-img", &["convert", "-f", format, "-O", "raw", out, "back"]);
            assert!(same(&disks.at("back"), &disks.at("disk.raw")), "{file} as {out}");
        }
        assert_nothing_left(node, file);
        node.ok(&["image", "rm", &name]);
    }
    let taken = disks.import(node, "disk.qcow2", "vm-uefi:1", &["--firmware", "secure-boot"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    assert_eq!(machine(node, "vm-uefi:1")["firmware"], "secureBoot");
    let listed = node.ok(&["image", "ls"]);
    let line = listed.lines().find(|line| line.starts_with("vm-uefi:1")).unwrap();
    assert!(line.contains(" machine "), "{listed}");
    node.ok(&["image", "rm", "vm-uefi:1"]);
}

#[test]
fn disks_that_are_refused_leave_nothing() {
    let Some(node) = node() else { return };
    let disks = Disks::new("refused");
    let make = |words: &[&str]| disks.make("qemu-img", words);
    make(&["create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", "backed", "1M"]);
    make(&["create", "-q", "-f", "qcow2", "-o", "data_file=data", "outside", "1M"]);
    make(&["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "flat.vmdk", "1M"]);
    make(&["create", "-q", "-f", "vmdk", "-b", "disk.vmdk", "-F", "vmdk", "child.vmdk"]);
    make(&["create", "-q", "-f", "vpc", "old.vhd", "1M"]);
    fs::copy(disks.at("disk.qcow2"), disks.at("short")).unwrap();
    File::options().write(true).open(disks.at("short")).unwrap().set_len(6 << 16).unwrap();
    fs::copy(disks.at("disk.raw"), disks.at("cut")).unwrap();
    File::options().write(true).open(disks.at("cut")).unwrap().set_len(1 << 20).unwrap();
    let mut harmed = fs::read(disks.at("disk.qcow2")).unwrap();
    harmed[0x3_0000..0x3_4000].fill(0x5a);
    fs::write(disks.at("harmed"), harmed).unwrap();
    fs::write(disks.at("text"), "no disk\n".repeat(1000)).unwrap();
    disks.make("gzip", &["-k", "disk.qcow2"]);
    let packed = fs::read(disks.at("disk.qcow2.gz")).unwrap();
    fs::write(disks.at("half.gz"), &packed[..packed.len() / 2]).unwrap();
    make(&["create", "-q", "-f", "qcow2", "huge", "1M"]);
    let huge = File::options().write(true).open(disks.at("huge")).unwrap();
    huge.write_all_at(&(1_u64 << 60).to_be_bytes(), 24).unwrap();
    let before = node.ok(&["image", "ls", "-o", "json"]);
    for (file, code, expected) in [
        ("backed", 2, "backing file"),
        ("outside", 2, "its data"),
        ("flat.vmdk", 1, "several files"),
        ("child.vmdk", 2, ""),
        ("old.vhd", 1, "vhd"),
        ("short", 2, "cut off"),
        ("cut", 2, "cut off"),
        ("harmed", 2, "damaged"),
        ("text", 2, "is not a disk"),
        ("half.gz", 2, "cut off"),
        ("huge", 2, "is the most"),
    ] {
        let refused = disks.import(node, file, "bad-vm", &[]);
        assert_eq!(refused.code, code, "{file}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{file}: {}", refused.stderr);
        assert!(refused.stderr.contains("bad-vm"), "{file}: {}", refused.stderr);
        assert_nothing_left(node, file);
    }
    let said = disks.import(node, "disk.qcow2", "bad-vm", &["--format", "raw"]);
    assert!(said.stderr.contains("not raw as was said"), "{}", said.stderr);
    let said = disks.import(node, "disk.qcow2", "bad-vm", &["--format", "qed"]);
    assert!(said.stderr.contains("use qcow2, raw"), "{}", said.stderr);
    let nameless = node.hull(&["image", "import", "--machine", disks.at("text").to_str().unwrap()]);
    assert_eq!(nameless.code, 2, "{}", nameless.stderr);
    node.ok(&["image", "pull", "-q", "busybox"]);
    let export = node.hull(&["image", "export", "busybox", "-o", disks.at("x").to_str().unwrap()]);
    assert_eq!(export.code, 2, "{}", export.stderr);
    assert!(export.stderr.contains("not a machine's"), "{}", export.stderr);
    assert!(!disks.at("x").exists());
    assert!(!node.ok(&["image", "ls", "-o", "json"]).contains("bad-vm"));
    assert!(!before.contains("bad-vm"));
}

/// A server that answers each who comes as `answer` says, by what is asked for.
fn serve(answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let path = asked.split(' ').nth(1).unwrap_or_default();
            // One who goes away in the middle is who this is about.
            let _ = answer(path, &mut stream);
        }
    });
    format!("http://{address}")
}

#[test]
fn disks_are_fetched_from_afar() {
    let Some(node) = node() else { return };
    let disks = Disks::new("afar");
    let qcow2 = fs::read(disks.at("disk.qcow2")).unwrap();
    let (whole, raw) = (disks.at("back"), disks.at("disk.raw"));
    let url = serve(move |path, stream| {
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let (length, body) = match path {
            "/disk" => (qcow2.len(), &qcow2[..]),
            // It says less than there is, and more.
            "/less" => (qcow2.len() / 2, &qcow2[..]),
            "/more" => (qcow2.len() * 2, &qcow2[..]),
            "/moved" => return stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /disk\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "/round" => return stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "/stalls" => {
                stream.write_all(head(qcow2.len()).as_bytes())?;
                stream.write_all(&qcow2[..qcow2.len() / 2])?;
                // Held until whoever asked goes.
                let waiting = stream.try_clone()?;
                std::thread::spawn(move || (&waiting).read(&mut [0]).map(drop));
                return Ok(());
            }
            _ => return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        };
        stream.write_all(head(length).as_bytes())?;
        stream.write_all(body)
    });
    let import = |path: &str| {
        node.hull(&["image", "import", "--machine", "--name", "afar", &format!("{url}{path}")])
    };
    for path in ["/disk", "/moved"] {
        let taken = import(path);
        assert_eq!(taken.code, 0, "{path}: {}", taken.stderr);
        node.ok(&["image", "export", "afar", "-o", whole.to_str().unwrap(), "--format", "raw"]);
        assert!(same(&whole, &raw), "{path}");
        node.ok(&["image", "rm", "afar"]);
    }
    for (path, code, expected) in [
        ("/less", 2, "cut off"),
        ("/more", 5, "broke off"),
        ("/round", 5, "cannot be fetched"),
        ("/absent", 3, "404"),
        ("/stalls", 5, "broke off"),
    ] {
        let refused = import(path);
        assert_eq!(refused.code, code, "{path}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{path}: {}", refused.stderr);
        assert_nothing_left(node, path);
        assert_eq!(node.hull(&["image", "show", "afar"]).code, 3, "{path}");
    }
}

#[test]
fn a_disk_that_does_not_fit() {
    if !super::process::able() {
        return;
    }
    let setup = Setup::new().unwrap().root("disk/node");
    let _disk = Disk::mount(setup.base(), "disk", 96 << 20).unwrap();
    let node = setup.start().unwrap();
    let disks = Disks::new("large");
    let file = File::options().write(true).open(disks.at("disk.raw")).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut state = 1_u64;
    for place in 0..192_u64 {
        // No pattern that a disk could be packed by.
        let piece: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 20)
        .collect();
        file.write_all_at(&piece, (place + 8) << 20).unwrap();
    }
    let refused = disks.import(&node, "disk.raw", "large", &[]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("large"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("room") || refused.stderr.contains("free"),
        "{}",
        refused.stderr
    );
    assert_nothing_left(&node, "a disk too large");
    assert_eq!(node.hull(&["image", "show", "large"]).code, 3);
    assert_eq!(node.ok(&["run", "--rm", "busybox", "echo", "works"]), "works");
}

/// A CD that a PC boots from (El Torito, 1995): what is booted says so on the serial line.
fn disc() -> Vec<u8> {
    const SECTOR: usize = 2048;
    let mut disc = vec![0; 40 * SECTOR];
    let mut put = |sector: usize, at: usize, bytes: &[u8]| {
        disc[sector * SECTOR + at..][..bytes.len()].copy_from_slice(bytes);
    };
    put(16, 0, b"\x01CD001\x01");
    put(16, 40, b"HULL-CD");
    put(16, 80, &[40, 0, 0, 0, 0, 0, 0, 40]);
    put(17, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(17, 0x47, &19_u32.to_le_bytes());
    put(18, 0, b"\xffCD001\x01");
    // The catalogue: a valid one, and one entry, of one sector of 512 bytes, without emulation.
    put(19, 0, &[1]);
    put(19, 0x1c, &[0xaa, 0x55, 0x55, 0xaa]);
    put(19, 0x20, &[0x88, 0, 0, 0, 0, 0, 4, 0]);
    put(19, 0x28, &20_u32.to_le_bytes());
    // call here; here: pop si; add si, text - here; next: cs lodsb; test al, al; jz end
    put(20, 0, b"\xe8\0\0\x5e\x83\xc6\x12\x2e\xac\x84\xc0\x74\x06");
    // mov dx, 0x3f8; out dx, al; jmp next; end: jmp end; text:
    put(20, 13, b"\xba\xf8\x03\xee\xeb\xf4\xeb\xfe");
    put(20, 21, b"booted from the disc\r\n\0");
    disc
}

#[test]
fn a_machine_boots_from_a_cd() {
    let Some(node) = node() else { return };
    let disks = Disks::new("cd");
    fs::write(disks.at("boots.iso"), disc()).unwrap();
    assert_eq!(disks.import(node, "boots.iso", "cd-boots", &[]).code, 0);
    assert_eq!(disks.import(node, "disk.qcow2", "cd-blank", &[]).code, 0);
    let it = Named(node, "discs");
    let run = ["run", "-d", "--name", "discs", "--memory", "128m", "--cdrom", "cd-boots"];
    node.ok(&[&run[..], &["--boot", "cdrom", "cd-blank"]].concat());
    until("it has booted", || {
        node.ok(&["logs", "discs"]).contains("booted from the disc").then_some(())
    });
    drop(it);
    // In a guest that boots something else, it is a drive with that disc.
    let it = Named(node, "discs");
    node.ok(&[&run[..], &["hull-tiny"]].concat());
    within(Duration::from_secs(120), "the disc is read", || {
        let read = node.hull(&[
            "exec",
            "discs",
            "sh",
            "-c",
            "modprobe -a ahci sr_mod; tail -c +32769 /dev/sr0 | head -c 47",
        ]);
        read.text().contains("HULL-CD").then_some(())
    });
    let written = node.hull(&["exec", "discs", "sh", "-c", "echo x > /dev/sr0"]);
    assert_ne!(written.code, 0, "a disc was written");
    drop(it);
    let refused = node.hull(&["run", "--rm", "--cdrom", "busybox", "hull-tiny"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("no disk to put in"),
        "{}",
        refused.stderr
    );
    node.ok(&["image", "rm", "cd-boots", "cd-blank"]);
}

#[test]
fn discs_come_and_go_while_a_machine_runs() {
    let Some(node) = node() else { return };
    let disks = Disks::new("discs");
    // The volume's name, where ECMA-119 (section 8.4.7) has it.
    let name = 16 * 2048 + 40;
    for (file, label) in [("one.iso", b"DISC-ONE"), ("two.iso", b"DISC-TWO")] {
        let mut bytes = disc();
        bytes[name..][..8].copy_from_slice(label);
        fs::write(disks.at(file), bytes).unwrap();
        assert_eq!(disks.import(node, file, &file.replace(".iso", "-disc"), &[]).code, 0);
    }
    let it = Named(node, "juke");
    let run = ["run", "-d", "--name", "juke", "--memory", "192m"];
    node.ok(&[&run[..], &["--cdrom", "one-disc", "--cdrom", "", "hull-tiny"]].concat());
    let guest = |script: &str| node.hull(&["exec", "juke", "sh", "-c", script]);
    within(Duration::from_secs(120), "the agent answers", || {
        (guest("modprobe -a ahci sr_mod isofs && ls /dev/sr0 /dev/sr1").code == 0).then_some(())
    });
    // Opened anew, so that the guest's kernel looks what is in.
    let label = |drive: u32| {
        let script = format!("tail -c +{} /dev/sr{drive} 2>/dev/null | head -c 8; true", name + 1);
        guest(&script).text()
    };
    let holds = |drive, expected: &str| {
        until(&format!("drive {drive} holds {expected:?}"), || {
            (label(drive).contains(expected) && label(drive).is_empty() == expected.is_empty())
                .then_some(())
        });
    };
    holds(0, "DISC-ONE");
    holds(1, "");
    node.ok(&["update", "--cdrom", "two-disc", "juke"]);
    holds(0, "DISC-TWO");
    // The name that was asked for comes to mean another image: nothing changes under the guest.
    assert_eq!(disks.import(node, "one.iso", "two-disc", &[]).code, 0);
    node.ok(&["update", "--cdrom", "two-disc", "--cdrom", "one-disc", "juke"]);
    holds(0, "DISC-TWO");
    holds(1, "DISC-ONE");
    // One that the guest holds on to is taken after a while.
    guest("exec 3</dev/sr0; echo 1 > /proc/sys/dev/cdrom/lock; sleep 600 <&3 >/dev/null 2>&1 &");
    node.ok(&["update", "--eject", "juke"]);
    holds(0, "");
    holds(1, "");
    assert_eq!(node.field("juke", "/status/machine/pending"), Value::Null);
    let told = node.hull(&["update", "--cdrom", "no-such-disc", "juke"]);
    assert!(told.stderr.contains("no-such-disc"), "{}", told.stderr);
    let told = node.hull(&["update", "--cdrom", "", "--cdrom", "", "--cdrom", "one-disc", "juke"]);
    assert!(told.stderr.contains("started without it"), "{}", told.stderr);
    node.ok(&["restart", "-t", "0", "juke"]);
    within(Duration::from_secs(120), "the third drive is there", || {
        guest("modprobe -a ahci sr_mod").text();
        label(2).contains("DISC-ONE").then_some(())
    });
    drop(it);
    node.ok(&["image", "rm", "one-disc", "two-disc"]);
}

#[test]
fn a_machine_travels_as_every_image_does() {
    let Some(node) = node() else { return };
    let (disks, registry) = (Disks::new("travels"), Registry::open().unwrap());
    let name = registry.name("team/vm:1");
    let taken = disks.import(node, "disk.qcow2", &name, &["--firmware", "uefi"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let before = machine(node, &name);
    node.ok(&["image", "push", &name]);
    let manifest = registry.manifest("team/vm", "1");
    assert_eq!(manifest["manifest"]["layers"].as_array().map_or(1, Vec::len), 1);
    node.ok(&["image", "rm", &name]);
    node.ok(&["image", "pull", "-q", &name]);
    assert_eq!(machine(node, &name), before);
    let out = disks.at("out.raw");
    node.ok(&["image", "export", &name, "-o", out.to_str().unwrap()]);
    assert!(same(&out, &disks.at("disk.raw")));
    node.ok(&["image", "rm", &name]);
}

#[test]
fn starter_machines_are_told_as_such() {
    let Some(node) = node() else { return };
    node.ok(&["image", "pull", "-q", "hull-tiny"]);
    let tiny = machine(node, "hull-tiny");
    assert_eq!(tiny["kernel"], "/boot/kernel");
    assert_eq!(tiny["initrd"], "/boot/initrd");
    assert!(tiny["commandLine"].as_str().unwrap().contains("ttyS0"), "{tiny}");
    node.ok(&["image", "pull", "-q", "busybox"]);
    assert_eq!(machine(node, "busybox"), Value::Null);
}
