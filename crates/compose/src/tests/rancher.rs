//! Rancher's files.

use model::instance::{NetworkMode, Probe};
use model::quantity::{Bytes, Span};
use model::service::{ServiceMode, UpdateOrder};

use super::*;

fn both(docker: &str, rancher: &str) -> Wanted {
    let pairs = [("docker-compose.yml", docker), ("rancher-compose.yml", rancher)];
    match read(&files(&pairs), &asked()) {
        Ok(wanted) => wanted,
        Err(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn a_group_with_data_config_and_scale() {
    let wanted = both(
        r#"
masters:
  image: conf
  labels:
    io.rancher.container.hostname_override: container_name
    io.rancher.sidekicks: base, data
    io.rancher.scheduler.affinity:host_label: es=true,!old
    io.rancher.scheduler.affinity:container_label_ne: io.rancher.stack_service.name=$${stack_name}/$${service_name}
  volumes_from: [data]
data:
  labels: {io.rancher.container.start_once: true}
  volumes: [/usr/share/data]
  entrypoint: /bin/true
  image: es
base:
  image: es
  net: "container:masters"
  volumes_from: [data]
  external_links: ["logs/syslog:syslog"]
kopf:
  image: kopf
  links: ["masters:es"]
  labels: {io.rancher.scheduler.global: 'true', io.rancher.container.pull_image: always}
"#,
        r#"
.catalog: {name: ES, questions: [{variable: x, type: int}]}
masters:
  scale: 3
  metadata: {es: {yml: {"cluster.name": "c", "shards": 5}}}
  health_check: {port: 9200, request_line: "GET / HTTP/1.0", interval: 5000, response_timeout: 3000, unhealthy_threshold: 4, strategy: recreate}
  upgrade_strategy: {start_first: true}
  retain_ip: true
  drain_timeout_ms: 15000
"#,
    );
    let masters = service(&wanted, "masters");
    let spec = &masters.spec.template.spec;
    let names: Vec<_> = spec.containers.iter().map(|it| (it.name.as_str(), it.once)).collect();
    assert_eq!(names, [("masters", false), ("data", true), ("base", false)]);
    assert_eq!(spec.containers[2].volumes_from[0].container, "data");
    assert_eq!(masters.spec.mode, ServiceMode::Replicated { replicas: 3 });
    assert_eq!(masters.spec.update.order, UpdateOrder::StartFirst);
    assert_eq!(masters.spec.access.drain, Some(Span::seconds(15)));
    assert_eq!(masters.metadata["masters"]["es"]["yml"]["shards"], 5);
    assert_eq!(spec.nodes.labels, "!old,es=true");
    let health = spec.containers[0].health.as_ref().unwrap();
    assert_eq!(health.probe, Probe::Http { port: 9200, path: "/".into(), tls: false });
    assert_eq!((health.interval, health.retries), (Span::seconds(5), 4));
    let hosts: Vec<_> = spec.extra_hosts.iter().map(|it| (&*it.name, &*it.address)).collect();
    assert_eq!(hosts, [("data", "127.0.0.1"), ("base", "127.0.0.1")]);
    let NetworkMode::Networks { attachments } = &spec.network else { panic!() };
    assert_eq!(attachments[0].aliases, ["masters", "data", "base", "es"]);
    assert_eq!(attachments[1].network, "logs_default");
    assert!(
        wanted.networks.iter().any(|it| it.object.external && it.object.name == "logs_default")
    );
    assert_eq!(service(&wanted, "kopf").spec.mode, ServiceMode::Global {});
    let told: Vec<_> = wanted.ignored.iter().map(|it| it.what.as_str()).collect();
    assert!(told.contains(&"services.masters.retain_ip"), "{told:?}");
}

#[test]
fn what_is_no_container_becomes_ports_hosts_and_names() {
    let wanted = both(
        r#"
version: '2'
services:
  lb:
    image: rancher/lb-service-haproxy:v0.9
    ports: ["80:80/tcp"]
  web: {image: web, links: [outside, db, "named:mail"]}
  one: {image: one}
  outside: {image: rancher/external-service}
  named: {image: rancher/external-service}
  db:
    image: rancher/dns-service
    links: [one]
"#,
        r#"
version: '2'
services:
  lb:
    lb_config:
      port_rules:
        - {source_port: 80, target_port: 8080, service: web, protocol: http}
        - {source_port: 443, target_port: 8443, service: web, protocol: https, hostname: a.example}
  outside: {external_ips: [10.1.2.3]}
  named: {hostname: smtp.example.org.}
"#,
    );
    let keys: Vec<_> = wanted.services.iter().map(|it| it.object.key.as_str()).collect();
    assert_eq!(keys, ["web", "one"]);
    let web = &service(&wanted, "web").spec.template.spec;
    let ports: Vec<_> = web.ports.iter().map(|it| (it.host, it.target)).collect();
    assert_eq!(ports, [(Some(80), 8080), (Some(443), 8443)]);
    assert_eq!(web.extra_hosts[0].name, "outside");
    let names: Vec<_> = web.extra_names.iter().map(|it| (&*it.name, &*it.target)).collect();
    assert_eq!(names, [("mail", "smtp.example.org"), ("named", "smtp.example.org")]);
    assert_eq!(service(&wanted, "one").spec.template.spec.extra_names.len(), 1);
    let NetworkMode::Networks { attachments } = &service(&wanted, "one").spec.template.spec.network
    else {
        panic!()
    };
    assert_eq!(attachments[0].aliases, ["one", "db"]);
    let clash = [
        (
            "docker-compose.yml",
            "lb: {image: rancher/load-balancer-service, ports: [80], links: [a]}\na: {image: a}\nb: {image: b}\n",
        ),
        (
            "rancher-compose.yml",
            "lb:\n  lb_config:\n    port_rules:\n      - {source_port: 80, service: a}\n      - {source_port: 80, service: b}\n",
        ),
    ];
    let faults = refused_of(&clash, &asked());
    assert!(faults[0].contains("port 80 leads to \"a\" already"), "{faults:?}");
}

#[test]
fn the_older_load_balancer() {
    let wanted = both(
        "lb:\n  image: rancher/load-balancer-service\n  ports: [\"8080:80\", \"443:443\"]\n  links: [web]\n  \
         labels: {io.rancher.loadbalancer.target.web: \"8080=3000\"}\nweb: {image: w}\n",
        "lb: {scale: 1}\n",
    );
    let ports: Vec<_> = service(&wanted, "web")
        .spec
        .template
        .spec
        .ports
        .iter()
        .map(|it| (it.host, it.target))
        .collect();
    assert_eq!(ports, [(Some(8080), 3000)]);
}

#[test]
fn a_virtual_machine() {
    let wanted = both(
        "vm:\n  type: virtualMachine\n  image: rancher/vm-ubuntu\n  vcpu: 2\n  memory: 1024\n  userdata: |\n    \
         #cloud-config\n  disks:\n    - {name: root, root: true, size: 20g}\n    - {name: data, size: 10g}\n",
        "vm: {scale: 2}\n",
    );
    let spec = &service(&wanted, "vm").spec.template.spec;
    let machine = spec.machine.as_ref().unwrap();
    assert_eq!(machine.root_size, Some(Bytes::gib(20)));
    assert_eq!(machine.cloud_init.as_ref().unwrap().user_data, "#cloud-config\n");
    assert_eq!(spec.containers[0].resources.memory, Some(Bytes::gib(1)));
    assert_eq!(spec.containers[0].resources.cpus.unwrap().milli(), 2000);
    assert_eq!(spec.containers[0].mounts[0].disk.as_ref().unwrap().size, Some(Bytes::gib(10)));
}

#[test]
fn a_sidekick_of_several_is_one_for_each() {
    let wanted = both(
        "a: {image: a, labels: {io.rancher.sidekicks: data}, volumes_from: [data], links: [b]}\n\
         b: {image: b, labels: {io.rancher.sidekicks: data}, volumes_from: [data]}\n\
         data: {image: d, volumes: [/data], labels: {io.rancher.container.start_once: 'true'}}\n",
        "a: {scale: 2}\n",
    );
    for key in ["a", "b"] {
        let containers = &service(&wanted, key).spec.template.spec.containers;
        let names: Vec<_> = containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, [key, "data"]);
        assert_eq!(containers[0].volumes_from[0].container, "data");
    }
}

#[test]
fn ranchers_words_in_the_compose_file() {
    let wanted = wanted(
        "version: '2'\nservices:\n  web:\n    image: w\n    container_name: known\n    \
         health_check: {port: 80}\n    retain_ip: true\n    metadata: {a: 1}\n",
    );
    let web = service(&wanted, "web");
    let container = &web.spec.template.spec.containers[0];
    assert_eq!(container.health.as_ref().unwrap().probe, Probe::Tcp { port: 80 });
    assert_eq!(web.metadata["web"]["a"], 1);
    let NetworkMode::Networks { attachments } = &web.spec.template.spec.network else { panic!() };
    assert_eq!(attachments[0].aliases, ["web", "known"]);
}
