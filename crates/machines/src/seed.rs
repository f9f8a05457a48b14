//! cloud-init's first-boot data, as a CD that the guest finds by its label.
//!
//! | module | holds |
//! |---|---|
//! | [`user_data`] | what cloud-init takes, and what is refused before a guest fails by it |
//! | [`vendor_data`] | the platform's own part: shared directories are mounted at each boot |
//! | [`network`] | the cards' addresses, as network configuration |
//! | [`disc`] | the ISO 9660 image |
//!
//! The same first-boot data gives the same bytes.

mod disc;
mod network;
mod user_data;
mod vendor_data;

use model::Result;
use model::instance::CloudInit;
use serde_json::json;

use self::disc::Entry;
use crate::config::{Nic, Share};

/// What a guest is to know at its first boot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seed {
    /// Its identity. With another one a guest takes itself for new, and does all anew.
    pub instance_id: String,
    /// The name it gives itself.
    pub hostname: String,
    /// What the user asked for.
    pub cloud_init: CloudInit,
    /// Its cards; they are called `eth0`, `eth1`, … in this order.
    pub nics: Vec<Nic>,
    /// Directories it mounts.
    pub shares: Vec<Share>,
    /// Files of one of those directories that it puts in places of their own.
    pub files: Vec<SharedFile>,
    /// Its disks are copies of another machine's: what that one gave itself of an identity goes.
    pub copied: bool,
}

/// A file of a shared directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFile {
    /// Where the guest has it from.
    pub source: String,
    /// Where it is to be.
    pub target: String,
}

/// Refuses what no guest could make use of.
///
/// # Errors
/// `Invalid`, at the field, with line and column.
pub fn check(cloud_init: &CloudInit) -> Result<()> {
    let CloudInit { user_data, vendor_data, network_config, ssh_keys, datasource: _ } = cloud_init;
    user_data::check(user_data).map_err(|error| error.at("userData"))?;
    user_data::check(vendor_data).map_err(|error| error.at("vendorData"))?;
    network::check(network_config).map_err(|error| error.at("networkConfig"))?;
    user_data::check_keys(ssh_keys).map_err(|error| error.at("sshKeys"))
}

/// The image for cloud-init's data source NoCloud: a disc labelled `cidata`.
///
/// # Errors
/// `Invalid`: see [`check`].
pub fn build(seed: &Seed) -> Result<Vec<u8>> {
    check(&seed.cloud_init)?;
    let mut meta = json!({ "instance-id": seed.instance_id, "local-hostname": seed.hostname });
    if !seed.cloud_init.ssh_keys.is_empty() {
        meta["public-keys"] = json!(seed.cloud_init.ssh_keys);
    }
    let network = match seed.cloud_init.network_config.as_str() {
        "" => pretty(&network::version1(&seed.nics)),
        own => own.to_owned(),
    };
    // JSON is YAML, and nothing in it needs quoting by rules of our own.
    let files = [
        ("meta-data", pretty(&meta)),
        ("user-data", seed.cloud_init.user_data.clone()),
        ("vendor-data", vendor_data::merged(&seed.cloud_init.vendor_data, seed)),
        ("network-config", network),
    ];
    let files = files.into_iter().map(|(name, text)| Entry::file(name, text)).collect();
    disc::write("cidata", files)
}

/// The image for systems that read OpenStack's config drive (Windows with cloudbase-init, systems set
/// up by Ignition): a disc labelled `config-2`. Network configuration of the user's own has no place
/// on it.
///
/// # Errors
/// `Invalid`: see [`check`].
pub fn build_config_drive(seed: &Seed) -> Result<Vec<u8>> {
    check(&seed.cloud_init)?;
    let CloudInit { user_data, vendor_data, network_config, ssh_keys, datasource: _ } =
        &seed.cloud_init;
    let mut meta = json!({
        "uuid": seed.instance_id,
        "name": seed.hostname,
        "hostname": seed.hostname,
    });
    if !ssh_keys.is_empty() {
        let named = ssh_keys.iter().enumerate().map(|(i, key)| (format!("key{i}"), json!(key)));
        meta["public_keys"] = named.collect::<serde_json::Map<_, _>>().into();
    }
    let mut files = vec![Entry::file("meta_data.json", pretty(&meta))];
    if network_config.is_empty() {
        files.push(Entry::file("network_data.json", pretty(&network::openstack(&seed.nics))));
    }
    if !user_data.is_empty() {
        files.push(Entry::file("user_data", user_data.clone()));
    }
    let vendor = vendor_data::merged(vendor_data, seed);
    if !vendor.is_empty() {
        files.push(Entry::file("vendor_data.json", pretty(&json!({ "cloud-init": vendor }))));
    }
    let latest = Entry::directory("latest", files);
    disc::write("config-2", vec![Entry::directory("openstack", vec![latest])])
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn nic() -> Nic {
        Nic {
            tap: "tap0".to_owned(),
            mac: "02:00:00:00:00:0A".to_owned(),
            mtu: 1450,
            ipv4: Some("10.7.0.5/24".parse().unwrap()),
            ipv6: Some("fd00:7::5/64".parse().unwrap()),
            gateway4: Some("10.7.0.1".parse().unwrap()),
            gateway6: Some("fd00:7::1".parse().unwrap()),
            router6: Some("fe80::1".parse().unwrap()),
            dns: ["10.7.0.1", "fd00:7::1"].map(|server| server.parse().unwrap()).to_vec(),
            search: vec!["app.hull.internal".to_owned()],
            hostname: "db-1".to_owned(),
        }
    }

    pub(super) fn seed() -> Seed {
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
                user_data: "#cloud-config\nusers:\n- name: ann\n".to_owned(),
                vendor_data: "#cloud-config\npackages: [jq]\n".to_owned(),
                network_config: String::new(),
                ssh_keys: vec!["ssh-ed25519 AAAA ann@example".to_owned()],
                datasource: None,
            },
            nics: vec![nic()],
            shares: vec![share("data", "/srv/it's", false), share("conf", "/etc/app", true)],
            files: Vec::new(),
            copied: false,
        }
    }

    #[test]
    fn the_same_seed_is_the_same_image() {
        for make in [build, build_config_drive] {
            let (one, other) = (make(&seed()).unwrap(), make(&seed()).unwrap());
            assert!(one == other);
            assert_eq!(one.len() % 2048, 0);
            // Of the clock's time nothing is left: a date has a year since 1900 and a month.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let year = u8::try_from(70 + now.as_secs() / 31_556_952).unwrap();
            assert!(!one.windows(2).any(|date| date[0] == year && (1..=12).contains(&date[1])));
            let mut seed = seed();
            seed.instance_id.push('0');
            assert!(make(&seed).unwrap() != one);
        }
    }

    #[test]
    fn what_no_guest_could_use_is_refused_where_it_is() {
        let with = |change: fn(&mut CloudInit)| {
            let mut seed = seed();
            change(&mut seed.cloud_init);
            seed
        };
        let table = [
            (with(|data| data.user_data = "hello\n".into()), "userData", "\"hello\""),
            (
                with(|data| data.user_data = "#cloud-config\na: 1\nb: [\nc: 2\n".into()),
                "userData",
                "(line 3, column 4)",
            ),
            (
                with(|data| data.user_data = "#cloud-config\n- a\n".into()),
                "userData",
                "(line 2, column 1)",
            ),
            (
                with(|data| data.user_data = "#cloud-config-archive\na: b\n".into()),
                "userData",
                "(line 2, column 1)",
            ),
            (with(|data| data.vendor_data = "#clod-config\n".into()), "vendorData", "clod"),
            (with(|data| data.user_data = "#!".repeat(1 << 20)), "userData", "more than 1048576"),
            (with(|data| data.user_data = "#!/bin/sh\n\0".into()), "userData", "zero byte"),
            (
                with(|data| data.network_config = "ethernets: {}".into()),
                "networkConfig",
                "no version",
            ),
            (with(|data| data.network_config = "version: 3".into()), "networkConfig", "version 3"),
            (with(|data| data.network_config = "{".into()), "networkConfig", "(line 1"),
            (with(|data| data.ssh_keys = vec!["secret".into()]), "sshKeys", "key 1"),
            (with(|data| data.ssh_keys = vec!["ssh-rsa A\nx y".into()]), "sshKeys", "key 1"),
        ];
        for (seed, field, says) in table {
            for make in [build, build_config_drive] {
                let error = make(&seed).unwrap_err();
                assert_eq!(error.field(), Some(field), "{error}");
                assert!(error.chain().contains(says), "{says}: {}", error.chain());
            }
        }
    }

    #[test]
    fn what_cloud_init_takes_is_taken() {
        for text in [
            "",
            "\n#cloud-config\n",
            "#cloud-config\n{}\n",
            "#Cloud-Config\na: 1\na: 2\n0: x\nyes: no\n",
            "#cloud-config\n# only a remark\n",
            "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    a: b\n",
            "#!/bin/sh\necho {\n",
            "#include\nhttp://example/\n",
            "## template: jinja\n#cloud-config\n{% if a %}\n",
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x--\n",
            "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x--\n",
        ] {
            let cloud_init = CloudInit { user_data: text.to_owned(), ..CloudInit::default() };
            check(&cloud_init).unwrap_or_else(|error| panic!("{text:?}: {}", error.chain()));
        }
        for text in ["version: 2\nethernets: {}\n", "network:\n  version: 1\n  config: []\n"] {
            let cloud_init = CloudInit { network_config: text.to_owned(), ..CloudInit::default() };
            check(&cloud_init).unwrap_or_else(|error| panic!("{text:?}: {}", error.chain()));
        }
    }
}
