//! Disks and network cards of machines that run: put in, taken out, grown, bounded, emptied.
//!
//! The guest is `hull-tiny`: it has drivers for what is plugged in, and does nothing with a new card until
//! it is told to.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::node::{Node, until, within};

use super::machines::Line;
use super::process::{Named, mortal, node, sh};

const PATIENCE: Duration = Duration::from_secs(120);

/// Leaves a machine running whose agent answers.
fn machine<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    let words = ["run", "-d", "--name", name, "--memory", "192m"];
    node.ok(&[&words, flags, &["hull-tiny"]].concat());
    answers(node, name);
    named
}

fn answers(node: &Node, name: &str) {
    within(PATIENCE, "the agent answers", || {
        (node.hull(&["exec", name, "true"]).code == 0).then_some(())
    });
}

/// The guest's disks: serial number and size in MiB of each, and the device's name.
fn disks(node: &Node, name: &str) -> Vec<(String, u64, String)> {
    let script = "for d in /sys/block/vd* /sys/block/sd*; do [ -e $d ] || continue; \
                  s=$(cat $d/serial 2>/dev/null || echo scsi); echo ${s:-none} $(cat $d/size) ${d##*/}; done";
    let told = node.ok(&["exec", name, "sh", "-c", script]);
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let serial = words.next().unwrap_or_default();
        let sectors: u64 = words.next().and_then(|size| size.parse().ok()).unwrap_or_default();
        (serial, sectors / 2048, words.next().unwrap_or_default())
    };
    told.lines().map(line).collect()
}

fn size(node: &Node, name: &str, disk: &str) -> Option<u64> {
    disks(node, name).iter().find(|(serial, _, _)| serial == disk).map(|(_, size, _)| *size)
}

/// Waits until the guest has a disk of so many MiB, or none.
fn await_disk(node: &Node, name: &str, disk: &str, wanted: Option<u64>) {
    until(&format!("disk {disk} has {wanted:?}"), || {
        (size(node, name, disk) == wanted).then_some(())
    });
}

/// What a disk is called in the guest, as soon as the guest has taken notice of it.
fn device(node: &Node, name: &str, disk: &str) -> String {
    let found = until(&format!("disk {disk} is there"), || {
        disks(node, name).into_iter().find(|(serial, _, _)| serial == disk)
    });
    format!("/dev/{}", found.2)
}

fn guest(node: &Node, name: &str, script: &str) -> String {
    node.ok(&["exec", name, "sh", "-c", script])
}

/// The file of a volume's disk on the node.
fn file_of(node: &Node, volume: &str) -> PathBuf {
    let shown = node.ok(&["volume", "show", "-o", "json", volume]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let id = shown.pointer("/meta/id").and_then(Value::as_str).unwrap().to_owned();
    let place = node.root().join("var/lib/hull/volumes/volumes").join(id);
    ["data/disk.qcow2", "mount/data/disk.qcow2"]
        .map(|file| place.join(file))
        .into_iter()
        .find(|file| file.exists())
        .expect("the disk's file")
}

#[test]
fn disks_come_go_and_grow_while_it_runs() {
    let Some(node) = node() else { return };
    let it = machine(node, "bay", &["--disk", "bay-boot,size=32m"]);
    await_disk(node, "bay", "bay-boot", Some(32));
    node.ok(&[
        "update",
        "--disk",
        "bay-hot,size=48m",
        "--disk",
        "bay-scsi,size=16m,bus=scsi",
        "bay",
    ]);
    await_disk(node, "bay", "bay-hot", Some(48));
    until("the SCSI disk is there", || {
        disks(node, "bay")
            .iter()
            .any(|(_, size, name)| *size == 16 && name.starts_with("sd"))
            .then_some(())
    });
    let names = |names: &[&str]| {
        let has = node.field("bay", "/status/machine/disks");
        let has: Vec<&str> =
            has.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(has, names);
    };
    names(&["root", "bay-boot", "bay-hot", "bay-scsi"]);
    let hot = device(node, "bay", "bay-hot");
    guest(node, "bay", &format!("echo kept > {hot}; sync"));

    // Grown while it is used: the guest sees it at once.
    node.ok(&["update", "--disk", "bay-hot,size=64m", "--disk", "bay-boot,size=40m", "bay"]);
    await_disk(node, "bay", "bay-hot", Some(64));
    await_disk(node, "bay", "bay-boot", Some(40));
    let root = disks(node, "bay").iter().find(|(_, _, name)| name == "vda").unwrap().1;
    let larger = format!("{}m", root + 64);
    node.ok(&["update", "--root-size", &larger, "bay"]);
    until("the root is larger", || {
        disks(node, "bay")
            .iter()
            .any(|(_, size, name)| name == "vda" && *size == root + 64)
            .then_some(())
    });
    for flags in [["--disk", "bay-hot,size=8m"], ["--root-size", "1m"]] {
        let refused = node.hull(&["update", flags[0], flags[1], "bay"]);
        assert!(
            refused.code == 2 && refused.stderr.contains("do not shrink"),
            "{}",
            refused.stderr
        );
    }
    let used = node.hull(&["volume", "rm", "bay-hot"]);
    assert_eq!(used.code, 4, "{}", used.stderr);
    // A snapshot knows those that came.
    node.ok(&["snapshot", "create", "bay", "one"]);
    let memory = node.hull(&["snapshot", "create", "--memory", "bay", "two"]);
    assert!(memory.code == 4 && memory.stderr.contains("plugged in"), "{}", memory.stderr);
    node.ok(&["snapshot", "rm", "bay", "one"]);

    node.ok(&[
        "update",
        "--disk-rm",
        "bay-hot",
        "--disk-rm",
        "bay-boot",
        "--disk-rm",
        "bay-scsi",
        "bay",
    ]);
    await_disk(node, "bay", "bay-hot", None);
    await_disk(node, "bay", "bay-boot", None);
    names(&["root"]);
    assert_eq!(node.hull(&["update", "--disk-rm", "bay-hot", "bay"]).code, 3);
    // Another machine may have it, and what was written is in it.
    let other = machine(node, "bay2", &["--disk", "bay-hot"]);
    assert_eq!(size(node, "bay2", "bay-hot"), Some(64));
    let there = device(node, "bay2", "bay-hot");
    assert_eq!(guest(node, "bay2", &format!("head -c 4 {there}")), "kept");
    let taken = node.hull(&["update", "--disk", "bay-hot", "bay"]);
    assert!(taken.stderr.contains("one machine at a time"), "{}", taken.stderr);
    drop(other);
    // What waited comes when it can: with the next start at the latest.
    node.ok(&["restart", "-t", "0", "bay"]);
    answers(node, "bay");
    assert_eq!(size(node, "bay", "bay-hot"), Some(64));
    node.ok(&["stop", "-t", "0", "bay"]);
    let larger = format!("{}m", root + 96);
    node.ok(&["update", "--root-size", &larger, "--disk", "bay-hot,size=80m", "bay"]);
    node.ok(&["start", "bay"]);
    answers(node, "bay");
    assert_eq!(size(node, "bay", "bay-hot"), Some(80), "grown while it was stopped");
    assert!(disks(node, "bay").iter().any(|(_, size, name)| name == "vda" && *size == root + 96));
    drop(it);
    node.ok(&["volume", "rm", "bay-hot", "bay-boot", "bay-scsi"]);
}

/// `hull volume grow`, also where the disk fills a volume that has a size.
#[test]
fn a_volume_that_is_grown_is_a_larger_disk() {
    let Some(node) = node() else { return };
    node.ok(&["volume", "create", "--size", "320m", "filled"]);
    let flags = ["--disk", "filled", "--disk", "plain,size=16m"];
    let it = machine(node, "grower", &flags);
    let before = size(node, "grower", "filled").expect("the disk");
    assert!((200..320).contains(&before), "{before} MiB in a volume of 320");
    node.ok(&["volume", "grow", "filled", "400m"]);
    until("the guest sees it", || {
        let size = size(node, "grower", "filled")?;
        (size >= before + 70 && size < 400).then_some(())
    });
    // To its end.
    let device = device(node, "grower", "filled");
    let last = size(node, "grower", "filled").unwrap_or_default() - 1;
    let write = format!("dd if=/dev/urandom of={device} bs=1M seek={last} count=1 conv=fsync 2>&1");
    guest(node, "grower", &write);
    node.ok(&["volume", "grow", "--plan", "plain", "24m"]);
    assert_eq!(size(node, "grower", "plain"), Some(16));
    node.ok(&["volume", "grow", "plain", "24m"]);
    await_disk(node, "grower", "plain", Some(24));
    let refused = node.hull(&["volume", "grow", "plain", "8m"]);
    assert!(refused.code == 2 && refused.stderr.contains("do not shrink"), "{}", refused.stderr);
    drop(it);
    node.ok(&["volume", "rm", "filled", "plain"]);
}

#[test]
fn a_disk_without_room_stops_the_guest_until_there_is_some() {
    let Some(node) = node() else { return };
    node.ok(&["volume", "create", "--size", "32m", "tight"]);
    sh(node, &["-v", "tight:/v"], "dd if=/dev/zero of=/v/ballast bs=1M count=10 2>&1");
    let it = machine(node, "filler", &["--disk", "tight,size=64m"]);
    let device = device(node, "filler", "tight");
    let script =
        format!("dd if=/dev/urandom of={device} bs=1M count=20 conv=fsync; echo done > /root/done");
    node.ok(&["exec", "-d", "filler", "sh", "-c", &script]);
    node.await_field("filler", "/status/reason/code", &json!("DiskFull"));
    assert!(node.ok(&["ps"]).contains("disk full"));
    let refused = node.hull(&["exec", "filler", "true"]);
    assert!(refused.code == 4 && refused.stderr.contains("no room"), "{}", refused.stderr);
    let ballast = file_of(node, "tight").with_file_name("ballast");
    std::fs::remove_file(ballast).unwrap();
    until("it goes on", || {
        node.hull(&["exec", "filler", "cat", "/root/done"]).text().contains("done").then_some(())
    });
    assert_eq!(node.field("filler", "/status/reason"), Value::Null);
    drop(it);
    node.ok(&["volume", "rm", "tight"]);
}

#[test]
fn a_disk_that_the_guest_does_not_give_up() {
    let Some(node) = node() else { return };
    let it = machine(node, "holds", &["--disk", "held,size=16m"]);
    // Its kernel stands still, and QEMU does not.
    let mut line = Line::of(node, "holds");
    line.types("halt -f");
    until("it stands still", || {
        node.ok(&["logs", "holds"]).contains("System halted").then_some(())
    });
    let told = node.hull(&["update", "--disk-rm", "held", "holds"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stderr.contains("not before its next start"), "{}", told.stderr);
    let pending = node.field("holds", "/status/machine/pending").to_string();
    assert!(pending.contains("held") && pending.contains("still there"), "{pending}");
    let names = node.field("holds", "/status/machine/disks").to_string();
    assert!(names.contains("held"), "{names}");
    node.ok(&["restart", "-t", "0", "holds"]);
    answers(node, "holds");
    assert_eq!(size(node, "holds", "held"), None);
    assert_eq!(node.field("holds", "/status/machine/pending"), Value::Null);
    drop(it);
    node.ok(&["volume", "rm", "held"]);
}

/// Seconds that so many small writes take in the guest.
fn writes(node: &Node, name: &str, device: &str, count: u32) -> Duration {
    let begun = Instant::now();
    guest(
        node,
        name,
        &format!("dd if=/dev/zero of={device} bs=4096 count={count} oflag=direct 2>&1"),
    );
    begun.elapsed()
}

#[test]
fn disks_are_bounded_and_what_is_emptied_comes_back() {
    let Some(node) = node() else { return };
    let flags = ["--disk", "slow,size=64m,iops=40", "--root-iops", "20"];
    let it = machine(node, "bound", &flags);
    let root = || {
        let begun = Instant::now();
        guest(node, "bound", "dd if=/dev/vda of=/dev/null bs=4096 count=100 iflag=direct 2>&1");
        begun.elapsed()
    };
    let bounded = root();
    assert!(bounded > Duration::from_millis(3500), "100 reads at 20 a second in {bounded:?}");
    node.ok(&["update", "--root-iops", "0", "bound"]);
    let free = root();
    assert!(free < bounded / 2, "the root unbounded in {free:?}, bounded in {bounded:?}");
    let slow = device(node, "bound", "slow");
    let bounded = writes(node, "bound", &slow, 200);
    assert!(bounded > Duration::from_millis(3500), "200 writes at 40 a second in {bounded:?}");
    node.ok(&["update", "--disk", "slow,iops=0", "bound"]);
    let free = writes(node, "bound", &slow, 200);
    assert!(free < bounded / 2, "unbounded in {free:?}, bounded in {bounded:?}");
    node.ok(&[
        "update",
        "--disk",
        "slow,bps=100k",
        "--disk",
        "quick,size=64m,iops=40,cache=none",
        "bound",
    ]);
    let quick = device(node, "bound", "quick");
    for device in [&slow, &quick] {
        let bounded = writes(node, "bound", device, 200);
        assert!(bounded > Duration::from_millis(3500), "{device} in {bounded:?}");
    }
    node.ok(&["update", "--disk", "slow,bps=0", "bound"]);

    let file = file_of(node, "slow");
    let taken = || file.metadata().unwrap().blocks() * 512;
    guest(node, "bound", &format!("dd if=/dev/urandom of={slow} bs=1M count=32; sync"));
    let full = taken();
    assert!(full >= 32 << 20, "{full}");
    guest(node, "bound", &format!("blkdiscard {slow}"));
    until("the space comes back", || (taken() < full / 4).then_some(()));
    drop(it);
    node.ok(&["volume", "rm", "slow", "quick"]);
}

#[test]
fn a_guest_tells_of_itself() {
    let Some(node) = node() else { return };
    let _it = machine(node, "teller", &[]);
    let inspected = || -> Value { serde_json::from_str(&node.ok(&["inspect", "teller"])).unwrap() };
    let it = inspected();
    let address = it.pointer("/spec/placement/interfaces/0/ipv4").and_then(Value::as_str);
    let address = address.unwrap_or_else(|| panic!("no address: {it:#}"));
    let has = |it: &Value| -> Vec<String> {
        let cards = it.pointer("/status/machine/guest/interfaces").and_then(Value::as_array);
        let cards = cards.into_iter().flatten().flat_map(|card| card["addresses"].as_array());
        cards.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    assert!(has(&it).iter().any(|it| it == address), "{it:#}");
    guest(node, "teller", "ip addr add 198.51.100.7/32 dev lo");
    assert!(has(&inspected()).contains(&"198.51.100.7/32".to_owned()), "{:#}", inspected());
    // Frozen, it tells nothing, and everything else is shown all the same.
    node.ok(&["pause", "teller"]);
    assert_eq!(inspected().pointer("/status/machine/guest"), None);
}

#[test]
fn network_cards_come_and_go_while_it_runs() {
    let Some(node) = node() else { return };
    node.ok(&["network", "create", "--subnet", "198.18.79.0/24", "carded"]);
    let it = machine(node, "cards", &[]);
    node.ok(&["network", "connect", "--ip", "198.18.79.9", "--alias", "dealt", "carded", "cards"]);
    let address = || {
        // Nobody in this guest asks for an address by himself.
        guest(
            node,
            "cards",
            "ip link set eth1 up && udhcpc -s /etc/init.d/dhcp -q -n -f -i eth1 >/dev/null 2>&1; ip -4 addr show eth1",
        )
    };
    until("the new card has its address", || address().contains("198.18.79.9/24").then_some(()));
    for name in ["cards", "dealt"] {
        let script = format!("wget -qO- http://{name}/ >/dev/null && echo reached");
        until("it is reached there", || {
            (sh(node, &["--network", "carded"], &script) == "reached").then_some(())
        });
    }
    let networks = || node.field("cards", "/status/machine/networks");
    assert_eq!(networks(), json!(["default", "carded"]));
    node.ok(&["network", "disconnect", "carded", "cards"]);
    until("the card is gone", || {
        (!guest(node, "cards", "ls /sys/class/net").contains("eth1")).then_some(())
    });
    assert_eq!(networks(), json!(["default"]));
    // Also the one it began with, and back again.
    node.ok(&["network", "disconnect", "default", "cards"]);
    until("the first is gone", || {
        (!guest(node, "cards", "ls /sys/class/net").contains("eth0")).then_some(())
    });
    node.ok(&["network", "connect", "default", "cards"]);
    let script =
        "ip link set eth0 up; udhcpc -s /etc/init.d/dhcp -q -n -f -i eth0 >/dev/null 2>&1; true";
    until("it is reached as before", || {
        guest(node, "cards", script);
        (sh(node, &[], "wget -qO- http://cards/ >/dev/null && echo reached") == "reached")
            .then_some(())
    });
    drop(it);
    node.ok(&["network", "rm", "carded"]);
}

#[test]
fn the_platform_dies_while_devices_come_and_go() {
    if node().is_none() {
        return;
    }
    let Some(node) = &mortal() else { return };
    let dies_at = |place: &str, during: &[&str]| {
        node.dies_at(place, during);
        // The platform answers before it has taken over what runs.
        until("the machine is asked again", || {
            (node.hull(&["exec", "one", "true"]).code == 0).then_some(())
        });
    };
    node.ok(&["image", "pull", "hull-tiny"]);
    node.ok(&["network", "create", "second"]);
    let it = machine(node, "one", &[]);
    let settled = || {
        let generation = node.field("one", "/meta/generation");
        node.await_field("one", "/status/observedGeneration", &generation);
        assert_eq!(node.field("one", "/status/machine/pending"), Value::Null);
    };
    for round in ["first", "again"] {
        dies_at("refit.plugged", &["update", "--disk", "data,size=16m", "one"]);
        await_disk(node, "one", "data", Some(16));
        settled();
        dies_at("refit.unplugged", &["update", "--disk-rm", "data", "one"]);
        await_disk(node, "one", "data", None);
        settled();
        dies_at("refit.carded", &["network", "connect", "second", "one"]);
        until(&format!("{round}: the card answers"), || {
            let script =
                "ip link set eth1 up && udhcpc -s /etc/init.d/dhcp -q -n -f -i eth1 2>&1; true";
            guest(node, "one", script).contains("obtained").then_some(())
        });
        settled();
        node.ok(&["network", "disconnect", "second", "one"]);
    }
    node.ok(&["volume", "rm", "data"]);
    drop(it);
}

/// An app's volumes are called after the app and themselves, which is more than a serial number holds.
#[test]
fn volumes_of_long_names_are_disks_that_are_told_apart() {
    let Some(node) = node() else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = "services:\n  vm:\n    image: hull-tiny\n    x-monohull:\n      memory: 192m\n      disks:\n        \
                - {volume: measurements-of-summer, size: 16m}\n        \
                - {volume: measurements-of-winter, size: 24m}\n";
    std::fs::write(dir.path().join("compose.yaml"), text).unwrap();
    struct Gone<'a>(&'a Node);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            self.0.hull(&["app", "down", "--volumes", "long-named"]);
        }
    }
    let _gone = Gone(node);
    let path = dir.path().to_str().unwrap();
    node.ok(&["app", "up", "--detach", "--name", "long-named", path]);
    let vm = "long-named-vm-1";
    within(PATIENCE, "the machine is there", || {
        (node.hull(&["exec", vm, "true"]).code == 0).then_some(())
    });
    let of_size = |size: u64| {
        let all = disks(node, vm);
        all.into_iter().find(|(_, has, _)| *has == size).map(|(serial, _, _)| serial)
    };
    let (summer, winter) = (of_size(16).unwrap(), of_size(24).unwrap());
    assert_ne!(summer, winter);
    for serial in [&summer, &winter] {
        assert!(serial.len() == 20 && serial.starts_with("measurement-"), "{serial}");
    }
    let hot = "a-volume-with-quite-a-long-name";
    node.ok(&["update", "--disk", &format!("{hot},size=40m"), vm]);
    until("it is plugged in", || of_size(40));
    assert!(of_size(40).unwrap().starts_with("a-volume-wi-"));
    node.ok(&["update", "--disk-rm", hot, vm]);
    until("it is taken out", || of_size(40).is_none().then_some(()));
    node.ok(&["volume", "rm", hot]);
    node.ok(&["snapshot", "create", vm, "before"]);
    node.ok(&["snapshot", "rm", vm, "before"]);
}
