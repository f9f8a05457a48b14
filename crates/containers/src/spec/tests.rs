//! Whole specifications, kept as snapshots.

use model::Bytes;
use model::image::ImageConfig;
use model::instance::{
    ContainerSpec, Mount, MountKind, Propagation, Resources, Seccomp, Ulimit, UserMapping,
};

use super::*;
use crate::engine::{Bind, ContainerConfig, ContainerId, Namespace, UserNamespace};

fn config(spec: ContainerSpec) -> ContainerConfig {
    let mut config = ContainerConfig::new(ContainerId::parse("web-1").unwrap(), "sha256:c", spec);
    config.hostname = "web".to_owned();
    config.image_config = ImageConfig {
        env: vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()],
        command: vec!["sh".to_owned()],
        user: "app".to_owned(),
        workdir: "/srv".to_owned(),
        ..ImageConfig::default()
    };
    config
}

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "app:x:1000:1000::/srv:/bin/sh\n").unwrap();
    std::fs::write(root.path().join("etc/group"), "app:x:1000:\nlogs:x:40:app\n").unwrap();
    root
}

fn generated(config: &ContainerConfig) -> Generated {
    let root = root();
    let rootfs = Rootfs::at(root.path()).unwrap();
    let init = Init { source: "/usr/bin/tini-static".into() };
    let host = HostFacts::able();
    generate(config, &Inputs { host: &host, rootfs: &rootfs, init: Some(&init) }).unwrap()
}

/// The specification without its filter, which has tests of its own.
fn shown(config: &ContainerConfig) -> String {
    let mut generated = generated(config);
    assert!(generated.warnings.is_empty(), "{:?}", generated.warnings);
    if let Some(linux) = &mut generated.spec.linux {
        linux.seccomp = None;
    }
    serde_json::to_string_pretty(&generated.spec).unwrap()
}

#[test]
fn the_plainest_container() {
    insta::assert_snapshot!(shown(&config(ContainerSpec::default())));
}

#[test]
fn a_container_with_everything() {
    let mut config = config(ContainerSpec {
        command: Some(vec!["serve".to_owned(), "--fast".to_owned()]),
        env: vec!["LANG=de".to_owned()],
        workdir: "/data".to_owned(),
        user: "0".to_owned(),
        groups: vec!["logs".to_owned()],
        tty: true,
        init: true,
        no_new_privileges: true,
        read_only: true,
        shm_size: Some(Bytes::mib(16)),
        oom_score_adj: Some(300),
        mounts: vec![
            Mount {
                kind: MountKind::Tmpfs {
                    size: Some(Bytes::mib(8)),
                    mode: Some(0o700),
                    options: vec!["exec".to_owned()],
                },
                target: "/tmp".to_owned(),
                read_only: false,
                disk: None,
            },
            Mount {
                kind: MountKind::Volume {
                    name: "data".to_owned(),
                    subpath: String::new(),
                    no_copy: false,
                },
                target: "/data".to_owned(),
                read_only: false,
                disk: None,
            },
        ],
        ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 1024, hard: 4096 }],
        resources: Resources { memory: Some(Bytes::mib(64)), ..Resources::default() },
        seccomp: Seccomp::Unconfined,
        ..ContainerSpec::default()
    });
    config.domainname = "example".to_owned();
    config.network = Namespace::Path("/run/netns/web".into());
    config.binds = vec![
        Bind::new("/volumes/data/deep", "/data/deep").read_only(),
        Bind {
            propagation: Propagation::Rslave,
            recursive: false,
            ..Bind::new("/volumes/data", "/data")
        },
    ];
    config.sysctls.insert("net.core.somaxconn".to_owned(), "100".to_owned());
    insta::assert_snapshot!(shown(&config));
}

#[test]
fn a_container_of_the_host() {
    let mut config = config(ContainerSpec {
        privileged: true,
        seccomp: Seccomp::Default,
        ..ContainerSpec::default()
    });
    config.network = Namespace::Host;
    config.pid = Namespace::Host;
    config.ipc = Namespace::Host;
    config.uts = Namespace::Host;
    config.cgroup = Namespace::Host;
    let mut generated = generated(&config);
    let linux = generated.spec.linux.as_mut().unwrap();
    assert!(linux.seccomp.is_none());
    assert!(linux.devices.iter().any(|device| device.path == "/dev/null"));
    linux.devices.clear();
    insta::assert_snapshot!(serde_json::to_string_pretty(&generated.spec).unwrap());
}

#[test]
fn a_container_with_users_of_its_own() {
    let mut config = config(ContainerSpec::default());
    config.user =
        UserNamespace::Mapped(UserMapping { first_uid: 100_000, first_gid: 200_000, size: 65536 });
    config.network = Namespace::Path("/run/netns/web".into());
    let spec = generated(&config).spec;
    let linux = spec.linux.unwrap();
    assert_eq!(linux.uid_mappings, Some(vec![oci::IdMapping::new(100_000, 65536)]));
    assert_eq!(linux.gid_mappings, Some(vec![oci::IdMapping::new(200_000, 65536)]));
    assert!(linux.sysctl.is_empty());
    let sys = spec.mounts.iter().find(|mount| mount.destination == "/sys").unwrap();
    assert_eq!(sys.kind, "bind");
}

#[test]
fn a_container_without_an_init_on_the_machine_is_warned() {
    let root = root();
    let rootfs = Rootfs::at(root.path()).unwrap();
    let host = HostFacts::able();
    let config = config(ContainerSpec { init: true, ..ContainerSpec::default() });
    let made = generate(&config, &Inputs { host: &host, rootfs: &rootfs, init: None }).unwrap();
    assert_eq!(made.warnings.len(), 1);
    assert_eq!(made.spec.process.unwrap().args, ["sh"]);
}

#[test]
fn what_cannot_run_is_refused_by_its_field() {
    let root = root();
    let rootfs = Rootfs::at(root.path()).unwrap();
    let host = HostFacts::able();
    for (spec, field) in [
        (ContainerSpec { user: "nobody".to_owned(), ..ContainerSpec::default() }, "user"),
        (ContainerSpec { groups: vec!["x".to_owned()], ..ContainerSpec::default() }, "groups"),
        (
            ContainerSpec {
                seccomp: Seccomp::Profile("no".to_owned()),
                ..ContainerSpec::default()
            },
            "seccomp",
        ),
        (
            ContainerSpec { device_rules: vec!["x".to_owned()], ..ContainerSpec::default() },
            "deviceRules",
        ),
    ] {
        let config = config(spec);
        let inputs = Inputs { host: &host, rootfs: &rootfs, init: None };
        let error = generate(&config, &inputs).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}
