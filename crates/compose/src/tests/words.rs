//! What single fields are refused for, or taken as.

use super::*;

/// The first fault of a service with this line.
fn fault(line: &str) -> String {
    let text = format!("services:\n  w:\n    image: x\n    {line}\n");
    refused(&text).remove(0)
}

#[test]
fn what_cannot_be_honoured_says_where_and_why() {
    for (line, why) in [
        ("ports: [\"a:b\"]", "4:13: services.w.ports[0]: \"a:b\" is not a port"),
        ("cpus: lots", "4:11: services.w.cpus: \"lots\" is not a number of processors"),
        ("mem_limit: 1x", "4:16: services.w.mem_limit: \"1x\" is not a size"),
        (
            "stop_grace_period: soon",
            "services.w.stop_grace_period: \"soon\" is not a length of time",
        ),
        ("restart: sometimes", "is none of no, always, on-failure, unless-stopped"),
        ("command: \"a 'b\"", "lacks a closing quote"),
        ("enviroment: {A: 1}", "services.w.enviroment: there is no such field; environment is one"),
        ("memory: 1g", "there is no"),
        ("gpus: all", "services.w.gpus: the platform gives no GPUs"),
        ("provider: {type: x}", "runs no programs beside Compose"),
        ("post_start: [{command: x}]", "runs no hooks"),
        ("pid: service:y", "that of another service cannot be had"),
        ("network_mode: container:x", "which is not of this app"),
        ("networks: [gone]", "networks has no \"gone\""),
        ("volumes: [\"gone:/x\"]", "volumes has no \"gone\""),
        ("volumes: [\"/a:b/c:ro\"]", "is not an absolute path inside"),
        ("secrets: [gone]", "secrets has no \"gone\""),
        ("healthcheck: {test: [x]}", "a list begins with CMD"),
        ("depends_on: {w: {condition: later}}", "is none of service_started"),
        ("tty: maybe", "\"maybe\" is neither true nor false"),
        ("image: [a]", "a text belongs here, not a list"),
        ("ulimits: {nofiles: 1}", "is not a limit of processes"),
        ("x-monohull: {disk: 1}", "there is no such field"),
        ("deploy: {mode: everywhere}", "is none of replicated, global"),
        ("deploy: {placement: {constraints: [x]}}", "is not KEY==VALUE"),
        ("extra_hosts: [\"a:b\"]", "are not a host name and an address"),
        ("userns_mode: x", "users are mapped by the node's settings"),
        ("volumes: [{type: npipe, target: /x}]", "is none of volume, bind and tmpfs"),
        ("devices: [\"vendor.com/gpu=0\"]", "devices by kind (CDI) are not known"),
    ] {
        let said = match line.starts_with("image") {
            true => refused(&format!("services:\n  w:\n    {line}\n")).remove(0),
            false => fault(line),
        };
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn what_is_left_out_of_account_is_told() {
    for (line, why) in [
        ("develop: {watch: []}", "watches no sources"),
        ("platform: linux/arm64", "own kind of processor"),
        ("pull_policy: daily", "not looked for by the clock"),
        ("logging: {driver: syslog}", "logs are kept by the platform"),
        ("security_opt: [\"label:disable\"]", "SELinux"),
        ("deploy: {resources: {reservations: {cpus: '1'}}}", "processors are not reserved"),
        ("environment: {A: $NOT}", "variable NOT is not set"),
        ("volumes: [\"/a:/b\", \"/c:/b\"]", "mounted twice"),
    ] {
        let wanted = wanted(&format!("services:\n  w:\n    image: x\n    {line}\n"));
        assert!(
            wanted.ignored.iter().any(|it| it.why.contains(why)),
            "{line}: {:?}",
            wanted.ignored
        );
        assert!(wanted.ignored.iter().all(|it| it.line == 4), "{line}: {:?}", wanted.ignored);
    }
}

#[test]
fn anchors_are_taken_apart() {
    let wanted = wanted(
        "x-base: &base\n  image: x\n  environment: &env {A: 1, B: 1}\nservices:\n  w:\n    <<: *base\n    \
         environment: {<<: *env, B: 2}\n",
    );
    assert_eq!(wanted.services[0].spec.template.spec.containers[0].env, ["B=2", "A=1"]);
}

#[test]
fn texts_stay_as_they_were_written() {
    let wanted = wanted(
        "services: {w: {image: x, environment: {A: 0755, B: 1.10, C: yes, D: 1e3, E: 'null', F: null}}}",
    );
    let env = &wanted.services[0].spec.template.spec.containers[0].env;
    assert_eq!(env[..], ["A=0755", "B=1.10", "C=yes", "D=1e3", "E=null"]);
}
