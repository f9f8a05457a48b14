//! Files of older forms.

use model::instance::{MountKind, NetworkMode};

use super::*;

#[test]
fn the_first_form() {
    let wanted = wanted(
        "web:\n  image: web\n  links: [\"db:database\"]\n  volumes_from: [data]\n  net: bridge\n  \
         log_driver: json-file\n  log_opt: {max-size: 1m}\n  cpu_shares: 100\n  mem_limit: 64m\n  \
         volumes: [\"cache:/cache\"]\n  dockerfile: D\n  build: .\ndb:\n  image: db\ndata:\n  \
         image: busybox\n  command: /bin/true\n  volumes: [/var/lib/x, \"named:/n\"]\n",
    );
    let web = service(&wanted, "web");
    let container = &web.spec.template.spec.containers[0];
    let names: Vec<_> = container.mounts.iter().map(|it| it.volume().unwrap()).collect();
    assert_eq!(names, ["cache", "data.var-lib-x", "named"]);
    assert_eq!(container.log.max_size, model::quantity::Bytes::mib(1));
    assert_eq!(web.builds["web"].dockerfile, "D");
    assert_eq!(web.spec.depends_on[0].service, "db");
    let NetworkMode::Networks { attachments } = &service(&wanted, "db").spec.template.spec.network
    else {
        panic!()
    };
    assert_eq!(attachments[0].aliases, ["db", "database"]);
    let keys: Vec<_> = wanted.volumes.iter().map(|it| it.object.key.as_str()).collect();
    assert_eq!(keys, ["cache", "named", "data.var-lib-x"]);
}

#[test]
fn whose_network_is_anothers_is_its_sidekick() {
    for text in [
        "a: {image: a, ports: [\"80:80\"]}\nb: {image: b, net: \"container:a\", volumes_from: [a]}\n",
        "services:\n  a: {image: a, ports: [\"80:80\"]}\n  b: {image: b, network_mode: \"service:a\", \
         volumes_from: [a]}\n",
    ] {
        let wanted = wanted(text);
        assert_eq!(wanted.services.len(), 1);
        let spec = &wanted.services[0].spec.template.spec;
        let names: Vec<_> = spec.containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(spec.containers[1].volumes_from[0].container, "a");
        let NetworkMode::Networks { attachments } = &spec.network else { panic!() };
        assert_eq!(attachments[0].aliases, ["a", "b"]);
    }
    let circle = refused(
        "services:\n  a: {image: a, network_mode: \"service:b\"}\n  b: {image: b, network_mode: \"service:a\"}\n",
    );
    assert!(circle.iter().any(|it| it.contains("sidekicks of each other")), "{circle:?}");
}

#[test]
fn second_and_third_form() {
    let wanted = wanted(
        "version: '2.4'\nservices:\n  web:\n    image: w\n    cpu_quota: 50000\n    mem_reservation: 32m\n    \
         volume_driver: local\n    depends_on: {db: {condition: service_started}}\n    \
         network_mode: none\n  db: {image: d, scale: 2}\nnetworks: {x: {external: {name: outside}}}\n",
    );
    assert_eq!(wanted.networks[0].object.name, "outside");
    assert!(wanted.networks[0].object.external);
    assert_eq!(service(&wanted, "web").spec.template.spec.network, NetworkMode::None);
    let mounts = &service(&wanted, "web").spec.template.spec.containers[0].mounts;
    assert!(mounts.iter().all(|it| matches!(it.kind, MountKind::Volume { .. })));
}
