//! Whatever clients send is refused or read, and never brings the engine down.

use bollard_stubs::models::{
    ContainerCreateBody, ExecConfig, HostConfig, NetworkCreateRequest, VolumeCreateRequest,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{body, containers, filters, streams, times, version};

/// JSON of all shapes, under names that requests have.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("HostConfig"),
        Just("Cmd"),
        Just("Mounts"),
        Just("RestartPolicy"),
        Just("Name"),
        Just("Binds"),
        Just("PortBindings"),
        Just("NetworkingConfig"),
        Just("Labels"),
        Just("Env"),
        Just("IPAM"),
        Just("Options"),
        Just("Type"),
        Just("ExposedPorts"),
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| json!(map)),
        ]
    })
}

fn read_all(bytes: &[u8]) {
    let _ = body::parse::<ContainerCreateBody>(bytes);
    let _ = body::parse::<HostConfig>(bytes);
    let _ = body::parse::<ExecConfig>(bytes);
    let _ = body::parse::<NetworkCreateRequest>(bytes);
    let _ = body::parse::<VolumeCreateRequest>(bytes);
}

proptest! {
    #[test]
    fn bodies_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_all(&bytes);
    }

    #[test]
    fn bodies_of_any_json(document in document()) {
        read_all(document.to_string().as_bytes());
        containers::translate_any(document);
    }

    #[test]
    fn words_of_any_text(text in ".{0,40}") {
        let _ = times::time(&text);
        let _ = times::span(&text);
        let _ = containers::size_of(&text);
        let _ = streams::detach_keys(&text);
        let _ = text.parse::<version::ApiVersion>();
        let _ = filters::Filters::parse(&text, &["label"]);
        containers::translate_any(json!({
            "Image": "x", "Cmd": ["x"],
            "HostConfig": {
                "Binds": [&text], "Tmpfs": { &text: &text }, "ExtraHosts": [&text], "Dns": [&text],
                "SecurityOpt": [&text], "PortBindings": { &text: [{ "HostPort": &text, "HostIp": &text }] },
                "NetworkMode": &text, "PidMode": &text, "CpusetCpus": &text,
            },
        }));
    }
}
