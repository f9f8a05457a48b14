//! What BuildKit is told (buildkitd.toml(5) of BuildKit's `docs/buildkitd.toml.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::{Error, Result};
use serde::Serialize;

/// How a registry is reached by BuildKit itself: for what the platform cannot fetch for it, which is what
/// only the client's login opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// Any certificate does, and plain HTTP where HTTPS is not spoken.
    pub insecure: bool,
    /// A file of certificates to trust.
    pub ca: Option<PathBuf>,
}

/// Where BuildKit asks first for every image: a registry on the loopback that knows those of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Its port.
    pub port: u16,
    /// The beginning of its paths, which nobody else knows.
    pub secret: String,
}

/// What BuildKit is told.
pub(crate) struct Told<'a> {
    pub(crate) root: &'a Path,
    pub(crate) socket: &'a Path,
    pub(crate) traces: &'a Path,
    pub(crate) runc: &'a Path,
    pub(crate) cgroup: &'a str,
    pub(crate) mirror: &'a Mirror,
    pub(crate) registries: &'a BTreeMap<String, Registry>,
}

#[derive(Serialize)]
struct File<'a> {
    root: &'a Path,
    #[serde(rename = "insecure-entitlements")]
    entitlements: [&'a str; 1],
    grpc: Grpc,
    otel: Otel<'a>,
    cdi: Cdi,
    worker: Workers<'a>,
    registry: BTreeMap<String, Table<'a>>,
}

#[derive(Serialize)]
struct Grpc {
    address: [String; 1],
}

#[derive(Serialize)]
struct Otel<'a> {
    #[serde(rename = "socketPath")]
    socket: &'a Path,
}

#[derive(Serialize)]
struct Cdi {
    disabled: bool,
}

#[derive(Serialize)]
struct Workers<'a> {
    oci: Oci<'a>,
    containerd: Containerd,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Oci<'a> {
    enabled: bool,
    binary: &'a Path,
    network_mode: &'a str,
    default_cgroup_parent: &'a str,
}

#[derive(Serialize)]
struct Containerd {
    enabled: bool,
}

#[derive(Serialize, Default)]
struct Table<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ca: Vec<&'a Path>,
}

/// The file.
///
/// # Errors
/// `Internal` for a path that is no text.
pub(crate) fn file(told: &Told<'_>) -> Result<String> {
    let place = format!("127.0.0.1:{}", told.mirror.port);
    let mut registry: BTreeMap<String, Table<'_>> = BTreeMap::new();
    for (host, settings) in told.registries {
        let mirror = format!("{place}/{}/{}", told.mirror.secret, super::component(host));
        let insecure = settings.insecure.then_some(true);
        let ca = settings.ca.iter().map(PathBuf::as_path).collect();
        let table = Table { mirrors: vec![mirror], http: insecure, insecure, ca };
        registry.insert(host.clone(), table);
    }
    registry.insert(place, Table { http: Some(true), ..Table::default() });
    let file = File {
        root: told.root,
        // What BuildKit takes for the host's network is that of builds.
        entitlements: ["network.host"],
        grpc: Grpc { address: [format!("unix://{}", told.socket.display())] },
        otel: Otel { socket: told.traces },
        cdi: Cdi { disabled: true },
        worker: Workers {
            oci: Oci {
                enabled: true,
                binary: told.runc,
                network_mode: "host",
                default_cgroup_parent: told.cgroup,
            },
            containerd: Containerd { enabled: false },
        },
        registry,
    };
    toml::to_string(&file)
        .map_err(|error| Error::internal("BuildKit cannot be told its settings").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_asked_first() {
        let registries = BTreeMap::from([
            ("docker.io".to_owned(), Registry::default()),
            ("h:5".to_owned(), Registry { insecure: true, ca: Some("/a \"b\".pem".into()) }),
        ]);
        let mirror = Mirror { port: 7, secret: "s".into() };
        let told = Told {
            root: Path::new("/r"),
            socket: Path::new("/s/b.sock"),
            traces: Path::new("/s/t.sock"),
            runc: Path::new("/usr/bin/runc"),
            cgroup: "/hull/kit",
            mirror: &mirror,
            registries: &registries,
        };
        let file: toml::Table = toml::from_str(&file(&told).unwrap()).unwrap();
        let registry = file["registry"].as_table().unwrap();
        assert_eq!(registry["h:5"]["mirrors"][0].as_str(), Some("127.0.0.1:7/s/h__5"));
        assert_eq!(registry["h:5"]["ca"][0].as_str(), Some("/a \"b\".pem"));
        assert_eq!(registry["127.0.0.1:7"]["http"].as_bool(), Some(true));
        assert!(registry["docker.io"].get("insecure").is_none());
        assert_eq!(file["worker"]["oci"]["defaultCgroupParent"].as_str(), Some("/hull/kit"));
        assert_eq!(file["grpc"]["address"][0].as_str(), Some("unix:///s/b.sock"));
    }
}
