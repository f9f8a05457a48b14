//! How images are built.

use super::*;
use crate::{SecretSource, write};

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
      secrets:
        - npm
        - {source: cert, target: server.crt}
        - {source: ours, target: /run/secrets/shared}
  plain: {build: ., image: "registry/plain", pull_policy: build}
secrets:
  npm: {environment: NPM_TOKEN}
  cert: {file: ./tls/server.crt}
  ours: {external: true, name: theirs}
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
    let from: Vec<_> = web.secrets.iter().map(|(id, it)| (id.as_str(), it.from.clone())).collect();
    let expected = [
        ("npm", SecretSource::Environment("NPM_TOKEN".into())),
        ("server.crt", SecretSource::File("tls/server.crt".into())),
        ("shared", SecretSource::Platform("theirs".into())),
    ];
    assert_eq!(from, expected);
    assert_eq!((web.secrets["shared"].place.line, web.secrets["shared"].place.column), (22, 11));
    assert!(wanted.secrets.is_empty(), "they are no objects of the app's: {:?}", wanted.secrets);
    let mut again = self::wanted(&write(&wanted).unwrap().text);
    for key in ["web", "plain"] {
        let again = again.services.iter_mut().find(|it| it.object.key == key).unwrap();
        let builds = &service(&wanted, key).builds;
        for (container, build) in &mut again.builds {
            for (id, secret) in &mut build.secrets {
                secret.place = builds[container].secrets[id].place.clone();
            }
        }
        assert_eq!(again.builds, *builds);
    }
}

#[test]
fn what_no_image_is_built_with_is_for_who_builds() {
    let build = |line: &str| {
        let secrets = "secrets: {x: {external: true}}";
        wanted(&format!("services:\n  w:\n    build:\n      context: .\n      {line}\n{secrets}\n"))
    };
    for line in [
        "secrets: [{source: x, uid: '0'}]",
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
fn a_secret_of_a_service_is_the_apps_too() {
    let text = "services:\n  w:\n    build: {context: ., secrets: [a, b]}\n    secrets: [a]\n\
                secrets: {a: {environment: A}, b: {file: b}, c: {environment: A}}\n";
    let asked = Asked { variables: [("A".into(), "1".into())].into(), ..asked() };
    let wanted = read(&files(&[("compose.yaml", text)]), &asked).unwrap();
    let keys: Vec<&str> = wanted.secrets.iter().map(|it| it.object.key.as_str()).collect();
    assert_eq!(keys, ["a", "c"], "b is nobody's but the build's, and is not read");
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
        ("secrets: [gone]", "4:17: services.w.build.secrets[0]: secrets has no \"gone\""),
        ("secrets: [{target: x}]", "a source is missing"),
        ("secrets: [{source: gone, target: 'a,src=/etc'}]", "cannot be the id"),
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
