//! How images are built.

use super::*;
use crate::write;

const FILE: &str = r#"
services:
  web:
    build:
      context: ./web
      dockerfile: docker/Dockerfile
      args: [VERSION=1, OUTSIDE, NOWHERE]
      labels: {a: b}
      target: release
      no_cache: true
      pull: true
      platforms: [linux/amd64]
      network: none
      extra_hosts: ["h=1.2.3.4"]
      shm_size: 64m
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
      tags: ["web:1"]
      cache_from: [x]
  plain: {build: ., image: "registry/plain", pull_policy: build}
"#;

#[test]
fn what_a_builder_is_told() {
    let outside = BTreeMap::from([("OUTSIDE".to_owned(), "2".to_owned())]);
    let asked = Asked { variables: outside, ..asked() };
    let wanted = read(&files(&[("compose.yaml", FILE)]), &asked).unwrap();
    let web = &service(&wanted, "web").builds["web"];
    let text = |texts: &[(&str, &str)]| -> BTreeMap<String, String> {
        texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!((web.context.as_str(), web.dockerfile.as_str()), ("web", "docker/Dockerfile"));
    assert_eq!(web.args, text(&[("VERSION", "1"), ("OUTSIDE", "2")]));
    assert_eq!(web.labels, text(&[("a", "b")]));
    assert_eq!(web.platforms, ["linux/amd64"]);
    assert_eq!((web.network.as_str(), web.shm_size), ("none", 64 << 20));
    assert_eq!(web.extra_hosts, ["h:1.2.3.4"]);
    assert_eq!(web.ulimits, ["nofile=1:2", "nproc=3:3"]);
    assert!(web.no_cache && web.pull && !web.always && web.unserved.is_empty());
    assert_eq!(service(&wanted, "web").spec.template.spec.containers[0].image, "shop-web");
    let plain = service(&wanted, "plain");
    assert!(plain.builds["plain"].always && plain.builds["plain"].context.is_empty());
    assert_eq!(plain.spec.template.spec.containers[0].image, "registry/plain");
    assert!(wanted.ignored.iter().any(|it| it.what.ends_with("build.cache_from")));
    let again = self::wanted(&write(&wanted).unwrap().text);
    for key in ["web", "plain"] {
        assert_eq!(service(&again, key).builds, service(&wanted, key).builds);
    }
}

#[test]
fn what_no_image_is_built_with_is_for_who_builds() {
    let build = |line: &str| {
        wanted(&format!("services:\n  w:\n    build:\n      context: .\n      {line}\n"))
    };
    for line in [
        "secrets: [x]",
        "ssh: [default]",
        "additional_contexts: {a: ./b}",
        "privileged: true",
        "entitlements: [network.host]",
    ] {
        let wanted = build(line);
        let unserved = &service(&wanted, "w").builds["w"].unserved;
        let place = unserved.first().map(|it| (it.line, it.what.starts_with("services.w.build.")));
        assert_eq!(place, Some((5, true)), "{line}");
    }
    for line in ["secrets: []", "privileged: false", "ssh:"] {
        assert!(service(&build(line), "w").builds["w"].unserved.is_empty(), "{line}");
    }
}

#[test]
fn files_without_a_name_are_read() {
    let file = "services: {w: {build: .}}";
    let wanted = read(&files(&[("compose.yaml", file)]), &Asked::default()).unwrap();
    assert_eq!((wanted.name.as_str(), wanted.services.len()), ("", 1));
}

#[test]
fn what_is_refused() {
    for (line, why) in [
        ("network: mine", "a build cannot be in"),
        ("tags: [\"A B\"]", "is not an image name"),
        ("{dockerfile: a, dockerfile_inline: b}", "two of one thing"),
        ("shm_size: lots", "is not a size"),
        ("extra_hosts: [\"a:b\"]", "are not a host name"),
    ] {
        let braced = line.starts_with('{');
        let text = match braced {
            true => format!("services:\n  w:\n    build: {line}\n"),
            false => format!("services:\n  w:\n    build:\n      {line}\n"),
        };
        let said = refused(&text).join("\n");
        assert!(said.contains(why), "{line}: {said}");
    }
}
