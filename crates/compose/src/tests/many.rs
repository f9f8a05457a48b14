//! Several files: merged, extended, included; profiles, variables and what is beside them.

use super::*;

fn read_of(pairs: &[(&str, &str)], asked: &Asked) -> Wanted {
    match read(&files(pairs), asked) {
        Ok(wanted) => wanted,
        Err(refusal) => panic!("{refusal}"),
    }
}

fn main<'a>(wanted: &'a Wanted, key: &str) -> &'a model::instance::ContainerSpec {
    &service(wanted, key).spec.template.spec.containers[0]
}

#[test]
fn an_override_is_merged_by_itself() {
    let wanted = read_of(
        &[
            (
                "compose.yaml",
                "services: {web: {image: a, environment: {A: 1, B: 2}, ports: [\"80\"]}}",
            ),
            (
                "compose.override.yaml",
                "services: {web: {image: b, environment: [B=3], ports: !reset []}}",
            ),
        ],
        &asked(),
    );
    let web = service(&wanted, "web");
    assert_eq!(main(&wanted, "web").image, "b");
    assert_eq!(main(&wanted, "web").env, ["A=1", "B=3"]);
    assert_eq!(web.spec.template.spec.ports, []);
}

#[test]
fn variables_of_the_caller_count_more_than_those_of_files() {
    let pairs = [
        (
            "compose.yaml",
            "services: {web: {image: \"$A:$B\", environment: [C, NOT], env_file: w.env}}",
        ),
        (".env", "A=dot\nB=1\nC=c\n"),
        ("w.env", "D=${B}\nC=file\n"),
    ];
    let asked = Asked { variables: [("A".into(), "caller".into())].into(), ..asked() };
    let wanted = read_of(&pairs, &asked);
    assert_eq!(main(&wanted, "web").image, "caller:1");
    assert_eq!(main(&wanted, "web").env, ["D=1", "C=c"]);
}

#[test]
fn services_extend_others_in_their_own_directory() {
    let pairs = [
        (
            "compose.yaml",
            "services:\n  web:\n    extends: {file: base/common.yaml, service: base}\n    \
             environment: {B: 2}\n  also: {extends: web, image: other}\n",
        ),
        (
            "base/common.yaml",
            "services:\n  root: {image: root, environment: {R: 1}}\n  base:\n    extends: root\n    \
             image: base\n    environment: {A: 1, B: 1}\n    env_file: a.env\n",
        ),
        ("base/a.env", "E=1\n"),
    ];
    let wanted = read_of(&pairs, &asked());
    assert_eq!(main(&wanted, "web").image, "base");
    assert_eq!(main(&wanted, "web").env, ["E=1", "R=1", "A=1", "B=2"]);
    assert_eq!(main(&wanted, "also").image, "other");
}

#[test]
fn apps_are_included() {
    let pairs = [
        (
            "compose.yaml",
            "include:\n  - sub/compose.yaml\n  - {path: [o/a.yaml, o/b.yaml], project_directory: ., \
             env_file: o/vars}\nservices: {web: {image: w, depends_on: [db, other]}}\n",
        ),
        (
            "sub/compose.yaml",
            "services: {db: {image: \"db:$TAG\", env_file: d.env}}\nvolumes: {v: }\n",
        ),
        ("sub/.env", "TAG=7\n"),
        ("sub/d.env", "D=1\n"),
        ("o/a.yaml", "services: {other: {image: \"$NAME\"}}\n"),
        ("o/b.yaml", "services: {other: {env_file: root.env}}\n"),
        ("o/vars", "NAME=named\n"),
        ("root.env", "ROOT=1\n"),
    ];
    let wanted = read_of(&pairs, &asked());
    assert_eq!(main(&wanted, "db").image, "db:7");
    assert_eq!(main(&wanted, "db").env, ["D=1"]);
    assert_eq!(main(&wanted, "other").image, "named");
    assert_eq!(main(&wanted, "other").env, ["ROOT=1"]);
    assert_eq!(wanted.volumes[0].object.key, "v");
    let twice = [
        ("compose.yaml", "include: [a.yaml]\nservices: {web: {image: w}}\n"),
        ("a.yaml", "services: {web: {image: other}}\n"),
    ];
    let faults = refused_of(&twice, &asked());
    assert_eq!(faults, ["compose.yaml:1:11: include[0]: services.web stands in both files"]);
}

#[test]
fn profiles_choose_services() {
    let text = "services:\n  web: {image: w}\n  test: {image: t, profiles: [test], depends_on: [web]}\n  \
                debug: {image: d, profiles: [debug], depends_on: [test]}\n";
    let keys = |profiles: &[&str]| -> Result<Vec<String>, Vec<String>> {
        let asked = Asked { profiles: profiles.iter().map(|it| (*it).into()).collect(), ..asked() };
        match read(&files(&[("compose.yaml", text)]), &asked) {
            Ok(it) => Ok(it.services.iter().map(|it| it.object.key.clone()).collect()),
            Err(refusal) => Err(refusal.faults.iter().map(ToString::to_string).collect()),
        }
    };
    assert_eq!(keys(&[]).unwrap(), ["web"]);
    assert_eq!(keys(&["test"]).unwrap(), ["web", "test"]);
    assert_eq!(keys(&["*"]).unwrap().len(), 3);
    let why = keys(&["debug"]).unwrap_err();
    assert!(why[0].contains("there is no service \"test\""), "{why:?}");
}

#[test]
fn files_that_were_sent_are_mounted_as_configs() {
    let pairs = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: w\n    volumes:\n      - ./conf/nginx.conf:/etc/nginx.conf:ro\n      \
             - ./site:/srv:ro\n      - ./gone:/data\n",
        ),
        ("conf/nginx.conf", "conf"),
        ("site/index.html", "hello"),
        ("site/css/a.css", "a{}"),
    ];
    let faults = refused_of(&pairs, &asked());
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("compose.yaml:7:9: services.web.volumes[2]: "), "{faults:?}");
    let text = pairs[0].1.replace("      - ./gone:/data\n", "");
    let mut sent = pairs.to_vec();
    sent[0].1 = &text;
    let wanted = read_of(&sent, &asked());
    let handed: Vec<_> = main(&wanted, "web")
        .configs
        .iter()
        .map(|it| (it.source.as_str(), it.target.as_str()))
        .collect();
    let expected = [
        ("conf-nginx.conf", "/etc/nginx.conf"),
        ("site-css-a.css", "/srv/css/a.css"),
        ("site-index.html", "/srv/index.html"),
    ];
    assert_eq!(handed, expected);
    assert_eq!(wanted.configs[0].value, b"conf");
    let asked = Asked { directory: Some("/home/me/shop".into()), ..asked() };
    let wanted = read_of(&pairs, &asked);
    let model::instance::MountKind::Bind { source, .. } = &main(&wanted, "web").mounts[2].kind
    else {
        panic!()
    };
    assert_eq!(source, "/home/me/shop/gone");
}

#[test]
fn files_whose_keys_are_alike_are_different_configs() {
    let text = "services:\n  web:\n    image: w\n    configs: [app.conf]\n    volumes:\n      \
                - ./conf/app.conf:/a:ro\n      - ./conf-app.conf:/b:ro\n      \
                - ./app.conf:/c:ro\n      - ./conf/app.conf:/d:ro\nconfigs: {app.conf: {content: own}}\n";
    let wanted = read_of(
        &[
            ("compose.yaml", text),
            ("conf/app.conf", "one"),
            ("conf-app.conf", "two"),
            ("app.conf", "three"),
        ],
        &asked(),
    );
    let value = |target: &str| {
        let handed = &main(&wanted, "web").configs;
        let source = &handed.iter().find(|it| it.target == target).unwrap().source;
        let config = wanted.configs.iter().find(|it| it.object.key == *source).unwrap();
        std::str::from_utf8(&config.value).unwrap()
    };
    assert_eq!(["/a", "/b", "/c", "/d"].map(value), ["one", "two", "three", "one"]);
    assert_eq!(wanted.configs.len(), 4);
}
