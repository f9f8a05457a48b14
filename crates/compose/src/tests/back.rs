//! What was written is read as what it was.

use proptest::prelude::*;

use super::*;
use crate::{variable, write};

/// A file that has most of what there is.
const ALL: &str = r##"
services:
  web:
    image: nginx
    command: ["sh", "-c", "echo $$HOME", ""]
    entrypoint: []
    environment: {A: "x y", B: "$$1", NUMBER: "0123", EMPTY: ""}
    working_dir: /srv
    user: "1000:1000"
    group_add: [audio]
    tty: true
    init: true
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true", "seccomp=unconfined"]
    read_only: true
    cpus: 0.5
    cpu_shares: 512
    mem_limit: 128m
    mem_reservation: 64m
    memswap_limit: 256m
    pids_limit: 100
    shm_size: 32m
    oom_score_adj: -100
    ulimits: {nofile: {soft: 1000, hard: 2000}, nproc: 50}
    devices: ["/dev/null:/dev/x:r"]
    blkio_config: {weight: 300, device_read_bps: [{path: /dev/sda, rate: 1m}]}
    volumes:
      - {type: volume, source: data, target: /data, volume: {nocopy: true, subpath: a}}
      - {type: bind, source: /etc/hostname, target: /h, read_only: true}
      - /anonymous
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o700}}
    tmpfs: ["/run:size=2m,mode=755,uid=9"]
    secrets: [pw, {source: pw, target: /etc/pw, uid: "5", mode: 0400}]
    configs: [{source: conf, target: /etc/conf, mode: 0440}]
    healthcheck: {test: ["CMD", "true"], interval: 5s, retries: 7}
    logging: {driver: local, options: {max-size: 1m, max-file: "2"}}
    labels: {a: "1", "b.c": ""}
    annotations: {x: y}
    hostname: h
    domainname: d.example
    networks: {back: {aliases: [w], ipv4_address: 10.9.0.7}, front: {gw_priority: 1}}
    ports: ["8080:80", "127.0.0.1:5000-5002:5000-5002/udp", "[::1]::90", "9"]
    dns: [1.1.1.1]
    dns_search: [example.com]
    extra_hosts: ["x:10.0.0.1", "gw=host-gateway"]
    sysctls: {net.core.somaxconn: 1024}
    depends_on:
      db: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully, required: false}
    deploy:
      replicas: 3
      labels: {l: m}
      endpoint_mode: dnsrr
      update_config: {parallelism: 2, delay: 5s, order: start-first, failure_action: rollback, max_failure_ratio: 0.25, monitor: 20s}
      placement: {constraints: ["node.labels.zone==a", "node.labels.disk != hdd", "node.hostname==n1"]}
    x-monohull: {drain: 30s, affinity: client_address, names: {mail: smtp.example.org}, metadata: {k: [1, true, "x", null]}}
  aside:
    image: busybox
    network_mode: service:web
    volumes_from: ["web:ro"]
    x-monohull: {once: true}
  db:
    image: debian-cloud
    networks: [back]
    x-monohull:
      cpus: 2
      memory: 2g
      max_memory: 4g
      root_size: 20g
      disks: [{volume: disk, size: 50g, bus: scsi, iops: 500, cache: none}]
      firmware: uefi
      tpm: true
      cloud_init: {user_data: "#cloud-config\npackages: [x]\n", ssh_keys: [ssh-ed25519 AAAA me]}
      health: {http: {port: 80, path: /up}, interval: 3s}
    restart: on-failure:4
  job: {image: busybox, restart: "on-failure:2", networks: [back]}
  everywhere: {image: busybox, network_mode: host, pid: host, deploy: {mode: global}}
  nightly: {image: busybox, restart: "no", x-monohull: {schedule: {times: "@daily", time_zone: Europe/Vienna}}}
networks:
  back: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.1, aux_addresses: {x: 10.9.0.9}}]}, driver_opts: {com.docker.network.driver.mtu: 1400}}
  front: {external: true, name: outside}
volumes:
  data: {labels: {x: y}, name: named}
  other: {driver: some-plugin, driver_opts: {a: b}}
secrets:
  pw: {environment: PASSWORD}
configs:
  conf: {content: "a = $${b}\n"}
"##;

fn again(wanted: &Wanted) -> (Wanted, String) {
    let written = write(wanted).unwrap();
    assert_eq!(written.left_out, [""; 0]);
    let mut pairs = written.files.clone();
    pairs.insert("compose.yaml".into(), written.text.clone().into_bytes());
    let secrets = wanted
        .secrets
        .iter()
        .map(|it| (variable(&it.object.key), String::from_utf8_lossy(&it.value).into_owned()));
    let asked = Asked { variables: secrets.collect(), ..asked() };
    match read(&pairs, &asked) {
        Ok(read) => (read, written.text),
        Err(refusal) => panic!("{}\n{refusal}", written.text),
    }
}

/// Services by key: those of one kind have no order.
fn sorted(mut wanted: Wanted) -> Wanted {
    wanted.services.sort_by(|one, other| one.object.key.cmp(&other.object.key));
    for service in &mut wanted.services {
        service.line = 0;
        service.spec.depends_on.sort_by(|one, other| one.service.cmp(&other.service));
    }
    wanted.networks.sort_by(|one, other| one.object.key.cmp(&other.object.key));
    wanted.volumes.sort_by(|one, other| one.object.key.cmp(&other.object.key));
    wanted.ignored.clear();
    wanted
}

#[test]
fn all_of_it_comes_back() {
    let variables = [("PASSWORD".to_owned(), "hush".to_owned())].into();
    let asked = Asked { variables, ..asked() };
    let first = match read(&files(&[("compose.yaml", ALL)]), &asked) {
        Ok(first) => first,
        Err(refusal) => panic!("{refusal}"),
    };
    assert_eq!(first.ignored, []);
    let (second, text) = again(&first);
    for (one, other) in sorted(first).services.into_iter().zip(sorted(second.clone()).services) {
        assert_eq!(one, other, "{text}");
    }
    let first = read(&files(&[("compose.yaml", ALL)]), &asked).unwrap();
    assert_eq!(sorted(first), sorted(second), "{text}");
    assert!(!text.contains("hush"));
}

#[test]
fn each_secret_has_a_variable_of_its_own() {
    let keys = ["a-b", "a_b", "a.b", "A-b", "ab", "a_x2db", "a-x2db", "a__b", "a-_b", "a_-b"];
    let names: std::collections::BTreeSet<String> = keys.iter().map(|it| variable(it)).collect();
    assert_eq!(names.len(), keys.len(), "{names:?}");
    assert_eq!(variable("db_password"), "SECRET_DB_PASSWORD");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Texts of any kind come back as they were: nothing is taken for a number, a variable or a mark.
    #[test]
    fn any_text_comes_back(value in "\\PC{0,40}", word in "[ -~]{0,20}", lines in "[a-z$\n #:'\"-]{0,60}") {
        let mut first = wanted("services: {web: {image: x}}\nconfigs: {c: {content: x}}\n");
        first.configs[0].value = lines.clone().into_bytes();
        let container = &mut first.services[0].spec.template.spec.containers[0];
        container.env = vec![format!("A={value}"), format!("B={lines}")];
        container.command = Some(vec![word.clone(), value.clone()]);
        first.services[0].spec.template.labels.insert("label".into(), word);
        let (second, text) = again(&first);
        prop_assert_eq!(sorted(first), sorted(second), "{}", text);
    }
}
