//! Files of the present form.

use model::instance::{MountKind, NetworkMode, Probe, RestartPolicy};
use model::quantity::Bytes;
use model::service::{DependencyCondition, ServiceMode};

use super::*;

const SHOP: &str = r#"
name: shop
services:
  web:
    image: nginx:1.27
    command: nginx -g 'daemon off;'
    ports: ["8080:80"]
    environment: {MODE: prod, LEVEL: 3, PLAIN: }
    volumes:
      - data:/data
      - type: tmpfs
        target: /run
        tmpfs: {size: 1m}
    networks: {front: {aliases: [www]}, back: }
    depends_on:
      db: {condition: service_healthy}
    deploy: {replicas: 3, labels: {a: b}}
  db:
    image: postgres
    healthcheck: {test: pg_isready, interval: 2s}
    mem_limit: 256m
    restart: unless-stopped
    networks: [back]
volumes:
  data:
networks:
  front:
  back: {internal: true}
"#;

#[test]
fn a_plain_file() {
    let wanted = wanted(SHOP);
    assert_eq!(wanted.name, "shop");
    let web = service(&wanted, "web");
    let spec = &web.spec.template.spec;
    let container = &spec.containers[0];
    assert_eq!((container.name.as_str(), container.image.as_str()), ("web", "nginx:1.27"));
    let command: Vec<String> = ["nginx", "-g", "daemon off;"].map(Into::into).into();
    assert_eq!(container.command, Some(command));
    assert_eq!(container.env, ["MODE=prod", "LEVEL=3"]);
    assert_eq!((spec.ports[0].host, spec.ports[0].target), (Some(8080), 80));
    assert_eq!(container.mounts[0].volume(), Some("data"));
    assert!(matches!(
        container.mounts[1].kind,
        MountKind::Tmpfs { size: Some(Bytes(1_048_576)), .. }
    ));
    assert_eq!(web.spec.mode, ServiceMode::Replicated { replicas: 3 });
    assert_eq!(web.object.labels["a"], "b");
    assert_eq!(web.spec.depends_on[0].condition, DependencyCondition::Healthy);
    let NetworkMode::Networks { attachments } = &spec.network else { panic!() };
    assert_eq!(attachments[0].network, "front");
    assert_eq!(attachments[0].aliases, ["www", "web"]);
    let db = &service(&wanted, "db").spec.template.spec;
    assert_eq!(db.restart, RestartPolicy::UnlessStopped);
    let health = db.containers[0].health.as_ref().unwrap();
    let line = vec!["/bin/sh".into(), "-c".into(), "pg_isready".into()];
    assert_eq!(health.probe, Probe::Exec { command: line });
    let keys: Vec<_> = wanted.networks.iter().map(|it| it.object.key.as_str()).collect();
    assert_eq!(keys, ["front", "back"]);
    assert!(wanted.networks[1].spec.internal);
    assert_eq!(wanted.ignored, []);
}

#[test]
fn everything_at_fault_is_told_at_once() {
    let faults = refused(
        "services:\n  web:\n    image: Not An Image\n    ports: [x]\n    depends_on: [gone]\n    \
         volumes: [\"data:/data\"]\n",
    );
    assert_eq!(faults.len(), 4, "{faults:#?}");
    assert!(faults[0].starts_with("compose.yaml:3:12: services.web.image: "), "{}", faults[0]);
    assert!(faults[1].starts_with("compose.yaml:4:13: services.web.ports[0]: "), "{}", faults[1]);
}
