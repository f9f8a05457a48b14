//! What other programs read from a seed.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use machines::config::{Nic, Share};
use machines::seed::{Seed, build, build_config_drive};
use model::instance::CloudInit;
use tempfile::TempDir;

/// Says whether a program is here; with `HULL_E2E` set it must be.
fn present(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    let can = found.status.success();
    assert!(can || std::env::var_os("HULL_E2E").is_none(), "{program} is not there");
    if !can {
        eprintln!("skipped: {program} is not there");
    }
    can
}

fn read(program: &str, arguments: &[&str], image: &Path) -> String {
    let done = Command::new(program).args(arguments).arg(image).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn seed() -> Seed {
    let nic = Nic {
        tap: "tap0".to_owned(),
        mac: "02:00:00:00:00:0A".to_owned(),
        mtu: 1450,
        ipv4: Some("10.7.0.5/24".parse().unwrap()),
        ipv6: Some("fd00:7::5/64".parse().unwrap()),
        gateway4: Some("10.7.0.1".parse().unwrap()),
        gateway6: Some("fd00:7::1".parse().unwrap()),
        router6: None,
        dns: ["10.7.0.1", "fd00:7::1"].map(|server| server.parse().unwrap()).to_vec(),
        search: vec!["app.hull.internal".to_owned()],
        hostname: "db-1".to_owned(),
    };
    let other =
        Nic { mac: "02:00:00:00:00:0b".to_owned(), ipv6: None, gateway4: None, ..nic.clone() };
    let share = |tag: &str, target: &str, read_only| Share {
        tag: tag.to_owned(),
        path: format!("/shares/{tag}").into(),
        target: target.to_owned(),
        read_only,
    };
    Seed {
        instance_id: "1f2e".to_owned(),
        hostname: "db-1".to_owned(),
        cloud_init: CloudInit {
            user_data: "#cloud-config\nusers:\n- name: ann\n  gecos: Änn\n".to_owned(),
            vendor_data: "#cloud-config\npackages: [jq]\n".to_owned(),
            network_config: String::new(),
            ssh_keys: vec!["ssh-ed25519 AAAA ann@example".to_owned()],
            datasource: None,
        },
        nics: vec![nic, other],
        shares: vec![share("data", "/srv/it's", false), share("conf", "/etc/app", true)],
        files: Vec::new(),
        copied: false,
    }
}

fn written(directory: &TempDir, image: &[u8]) -> PathBuf {
    let path = directory.path().join("seed.iso");
    fs::write(&path, image).unwrap();
    path
}

#[test]
fn labels_are_what_guests_look_for() {
    if !present("blkid") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let images = [(build(&seed()), "cidata"), (build_config_drive(&seed()), "config-2")];
    for (image, label) in images {
        let image = written(&directory, &image.unwrap());
        let seen = read("blkid", &["-p", "-o", "export"], &image);
        assert!(seen.contains("TYPE=iso9660\n"), "{seen}");
        assert!(seen.contains(&format!("LABEL={label}\n")), "{seen}");
    }
}

#[test]
fn files_have_their_names_and_contents() {
    if !present("isoinfo") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let image = written(&directory, &build(&seed()).unwrap());
    for names in ["-R", "-J"] {
        let list = read("isoinfo", &["-f", names, "-i"], &image);
        let mut list: Vec<&str> = list.lines().collect();
        list.sort_unstable();
        assert_eq!(
            list,
            ["/meta-data", "/network-config", "/user-data", "/vendor-data"],
            "{names}"
        );
        let text = read("isoinfo", &[names, "-x", "/user-data", "-i"], &image);
        assert_eq!(text, seed().cloud_init.user_data);
    }
    let image = written(&directory, &build_config_drive(&seed()).unwrap());
    for names in ["-R", "-J"] {
        let list = read("isoinfo", &["-f", names, "-i"], &image);
        assert!(list.contains("/openstack/latest/vendor_data.json\n"), "{list}");
        let path = "/openstack/latest/user_data";
        assert_eq!(
            read("isoinfo", &[names, "-x", path, "-i"], &image),
            seed().cloud_init.user_data
        );
    }
}
