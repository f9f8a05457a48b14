//! What an instance can read about itself: the tree of EC2's service (`/latest/meta-data/`) and the
//! documents of OpenStack's (`/openstack/latest/`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::Uid;
use model::instance::{CloudInit, Instance, InstanceStatus, Interface};
use serde_json::json;

/// An instance, as far as it is told to itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct About {
    pub(super) id: Uid,
    pub(super) project: String,
    name: String,
    hostname: String,
    image: String,
    digest: String,
    node: String,
    machine: bool,
    interfaces: Vec<Interface>,
    cloud_init: CloudInit,
}

/// What is found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Versions of EC2's service that clients look for; all are the same here.
const EC2_VERSIONS: &str = "2009-04-04\n2016-09-02\n2018-09-24\n2021-03-23\nlatest\n";
/// The same of OpenStack's.
const OPENSTACK_VERSIONS: &str = "2015-10-15\n2018-08-27\nlatest\n";

impl About {
    /// What is known of an instance that was placed.
    pub(super) fn new(wanted: &Instance, seen: &InstanceStatus, node: &str) -> Option<Self> {
        let main = wanted.spec.main()?;
        let digest = seen.container(&main.name).map(|seen| seen.image_digest.clone());
        let machine = wanted.spec.machine.as_ref();
        let is_machine = machine.is_some() || seen.machine.is_some();
        let hostname = match wanted.spec.hostname.as_str() {
            "" if is_machine => wanted.meta.name.clone(),
            "" => wanted.meta.id.short().to_owned(),
            own => own.to_owned(),
        };
        Some(Self {
            id: wanted.meta.id.clone(),
            project: wanted.meta.project.clone(),
            name: wanted.meta.name.clone(),
            hostname,
            image: main.image.clone(),
            digest: digest.unwrap_or_default(),
            node: node.to_owned(),
            machine: is_machine,
            interfaces: wanted.spec.placement.as_ref()?.interfaces.clone(),
            cloud_init: machine.and_then(|it| it.cloud_init.clone()).unwrap_or_default(),
        })
    }

    /// Whether it has this address on this network.
    pub(super) fn has(&self, network: &Uid, address: Ipv4Addr) -> bool {
        let here = |interface: &&Interface| interface.network_id == *network;
        let has = |interface: &Interface| interface.ipv4.is_some_and(|net| net.addr() == address);
        self.interfaces.iter().find(here).is_some_and(has)
    }

    /// What stands at a path: a document, or the list of what is below it.
    pub(super) fn find(&self, path: &str) -> Option<Found> {
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let text = |text: &str| Some(Found { kind: TEXT, text: text.to_owned() });
        match path[..] {
            [] => text(&format!("{EC2_VERSIONS}openstack/\n")),
            ["openstack"] => text(OPENSTACK_VERSIONS),
            ["openstack", version, ref rest @ ..] if is_version(version) => self.openstack(rest),
            [version, ref rest @ ..] if is_version(version) => self.ec2(rest),
            _ => None,
        }
    }

    fn ec2(&self, path: &[&str]) -> Option<Found> {
        let leaves = self.leaves();
        let path = path.join("/");
        if let Some(text) = leaves.get(&path) {
            let kind = if path.ends_with("document") { JSON } else { TEXT };
            return Some(Found { kind, text: text.clone() });
        }
        let listed = listed(&leaves, &path);
        (!listed.is_empty()).then_some(Found { kind: TEXT, text: listed })
    }

    /// The documents of EC2's tree, by their path below the version.
    fn leaves(&self) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        let mut put = |path: &str, text: &str| {
            if !text.is_empty() {
                leaves.insert(path.to_owned(), text.to_owned());
            }
        };
        let id = self.ec2_id();
        put("meta-data/instance-id", &id);
        put("meta-data/reservation-id", &format!("r-{}", &id[2..]));
        put("meta-data/ami-id", self.image_id());
        put("meta-data/ami-launch-index", "0");
        put("meta-data/instance-type", self.kind());
        put("meta-data/hostname", &self.hostname);
        put("meta-data/local-hostname", &self.hostname);
        put("meta-data/placement/availability-zone", &self.node);
        for (i, key) in self.cloud_init.ssh_keys.iter().enumerate() {
            put(&format!("meta-data/public-keys/{i}/openssh-key"), key);
        }
        for (i, interface) in self.interfaces.iter().enumerate() {
            let own = format!("meta-data/network/interfaces/macs/{}", interface.mac);
            put(&format!("{own}/device-number"), &i.to_string());
            put(&format!("{own}/mac"), &interface.mac);
            put(&format!("{own}/local-hostname"), &self.hostname);
            let (four, six) = (interface.ipv4, interface.ipv6);
            let said = |text: Option<String>| text.unwrap_or_default();
            let address = said(four.map(|net| net.addr().to_string()));
            put(&format!("{own}/local-ipv4s"), &address);
            put(
                &format!("{own}/subnet-ipv4-cidr-block"),
                &said(four.map(|net| net.trunc().to_string())),
            );
            let address6 = said(six.map(|net| net.addr().to_string()));
            put(&format!("{own}/ipv6s"), &address6);
            put(
                &format!("{own}/subnet-ipv6-cidr-blocks"),
                &said(six.map(|net| net.trunc().to_string())),
            );
            if i == 0 {
                put("meta-data/mac", &interface.mac);
                put("meta-data/local-ipv4", &address);
                put("meta-data/ipv6", &address6);
            }
        }
        put("user-data", &self.cloud_init.user_data);
        put("dynamic/instance-identity/document", &self.identity());
        leaves
    }

    fn identity(&self) -> String {
        let address = self.interfaces.iter().find_map(|it| it.ipv4).map(|net| net.addr());
        let document = json!({
            "instanceId": self.ec2_id(),
            "imageId": self.image_id(),
            "instanceType": self.kind(),
            "availabilityZone": self.node,
            "privateIp": address,
            "architecture": std::env::consts::ARCH,
            "version": "2017-09-30",
        });
        format!("{document:#}\n")
    }

    /// An identity in the form that EC2's clients take.
    fn ec2_id(&self) -> String {
        format!("i-{}", &self.id.as_str()[..17])
    }

    fn image_id(&self) -> &str {
        if self.digest.is_empty() { &self.image } else { &self.digest }
    }

    fn kind(&self) -> &'static str {
        if self.machine { "machine" } else { "container" }
    }

    fn openstack(&self, path: &[&str]) -> Option<Found> {
        let CloudInit { user_data, vendor_data, ssh_keys, network_config: _, datasource: _ } =
            &self.cloud_init;
        let document =
            |value: serde_json::Value| Some(Found { kind: JSON, text: format!("{value:#}\n") });
        match path {
            [] => {
                let user = if user_data.is_empty() { "" } else { "user_data\n" };
                let text = format!("meta_data.json\n{user}vendor_data.json\n");
                Some(Found { kind: TEXT, text })
            }
            ["meta_data.json"] => {
                let keys =
                    ssh_keys.iter().enumerate().map(|(i, key)| (format!("key{i}"), json!(key)));
                document(json!({
                    "uuid": self.id,
                    "name": self.name,
                    "hostname": self.hostname,
                    "project_id": self.project,
                    "availability_zone": self.node,
                    "public_keys": keys.collect::<serde_json::Map<_, _>>(),
                }))
            }
            ["vendor_data.json"] if vendor_data.is_empty() => document(json!({})),
            ["vendor_data.json"] => document(json!({ "cloud-init": vendor_data })),
            ["user_data"] if !user_data.is_empty() => {
                Some(Found { kind: TEXT, text: user_data.clone() })
            }
            _ => None,
        }
    }
}

/// `latest`, or a date.
fn is_version(text: &str) -> bool {
    let is_date = || {
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00"
    };
    text == "latest" || text == "1.0" || is_date()
}

/// What is right below a path, a line each; directories end with a stroke. Keys are listed with their
/// names, as EC2 does.
fn listed(leaves: &BTreeMap<String, String>, path: &str) -> String {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let below = leaves.keys().filter_map(|leaf| leaf.strip_prefix(&prefix));
    let entries: BTreeSet<String> = below
        .map(|rest| match rest.split_once('/') {
            Some((number, _)) if path == "meta-data/public-keys" => format!("{number}=key{number}"),
            Some((directory, _)) => format!("{directory}/"),
            None => rest.to_owned(),
        })
        .collect();
    entries.into_iter().map(|entry| entry + "\n").collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn about() -> About {
        let interface = |network: u8, name: &str, ipv6: bool| Interface {
            network: format!("n{network}"),
            network_id: Uid::from_bytes([network; 32]),
            name: name.to_owned(),
            ipv4: Some(format!("10.{network}.0.5/24").parse().unwrap()),
            ipv6: ipv6.then(|| format!("fd00:{network}::5/64").parse().unwrap()),
            mac: format!("02:00:00:00:00:0{network}"),
            aliases: Vec::new(),
        };
        About {
            id: Uid::from_bytes([0xab; 32]),
            project: "default".to_owned(),
            name: "db".to_owned(),
            hostname: "db-1".to_owned(),
            image: "debian:12".to_owned(),
            digest: "sha256:12".to_owned(),
            node: "n1".to_owned(),
            machine: true,
            interfaces: vec![interface(1, "eth0", true), interface(2, "eth1", false)],
            cloud_init: CloudInit {
                user_data: "#cloud-config\n".to_owned(),
                ssh_keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
                ..CloudInit::default()
            },
        }
    }

    #[test]
    fn the_tree_is_walked_as_clients_do() {
        let about = about();
        let macs = "/latest/meta-data/network/interfaces/macs";
        let table = [
            ("/latest", Some("dynamic/\nmeta-data/\nuser-data\n")),
            (
                "/latest/meta-data/",
                Some(
                    "ami-id\nami-launch-index\nhostname\ninstance-id\ninstance-type\nipv6\nlocal-hostname\n\
                     local-ipv4\nmac\nnetwork/\nplacement/\npublic-keys/\nreservation-id\n",
                ),
            ),
            ("/2009-04-04/meta-data/instance-id", Some("i-ababababababababa")),
            ("/latest/meta-data//local-ipv4", Some("10.1.0.5")),
            ("/latest/meta-data/ipv6", Some("fd00:1::5")),
            ("/latest/meta-data/public-keys/", Some("0=key0\n")),
            ("/latest/meta-data/public-keys/0/", Some("openssh-key\n")),
            ("/latest/meta-data/public-keys/0/openssh-key", Some("ssh-ed25519 AAAA ann")),
            (macs, Some("02:00:00:00:00:01/\n02:00:00:00:00:02/\n")),
            (&format!("{macs}/02:00:00:00:00:02/local-ipv4s"), Some("10.2.0.5")),
            (&format!("{macs}/02:00:00:00:00:02/ipv6s"), None),
            (&format!("{macs}/02:00:00:00:00:01/ipv6s"), Some("fd00:1::5")),
            ("/latest/user-data", Some("#cloud-config\n")),
            ("/latest/meta-data/iam/", None),
            ("/latest/meta-data/instance-i", None),
            ("/latest/../etc", None),
            ("/latests/meta-data/", None),
            ("/openstack", Some(OPENSTACK_VERSIONS)),
            ("/openstack/latest/", Some("meta_data.json\nuser_data\nvendor_data.json\n")),
            ("/openstack/2018-08-27/user_data", Some("#cloud-config\n")),
            ("/openstack/latest/vendor_data.json", Some("{}\n")),
            ("/openstack/latest/network_data.json", None),
        ];
        for (path, expected) in table {
            let found = about.find(path).map(|found| found.text);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        let found = about.find("/openstack/latest/meta_data.json").unwrap();
        let meta: serde_json::Value = serde_json::from_str(&found.text).unwrap();
        assert_eq!(meta["public_keys"]["key0"], "ssh-ed25519 AAAA ann");
        assert_eq!((found.kind, &meta["hostname"]), (JSON, &json!("db-1")));
    }

    #[test]
    fn an_address_counts_on_its_network_alone() {
        let about = about();
        let [one, two] = [1, 2].map(|byte| Uid::from_bytes([byte; 32]));
        assert!(about.has(&one, Ipv4Addr::new(10, 1, 0, 5)));
        assert!(about.has(&two, Ipv4Addr::new(10, 2, 0, 5)));
        assert!(!about.has(&one, Ipv4Addr::new(10, 2, 0, 5)));
        assert!(!about.has(&one, Ipv4Addr::new(10, 1, 0, 6)));
    }
}
