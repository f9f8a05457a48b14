//! A machine that speaks QMP and is nothing else: what the tests' scenarios need, with QEMU's words.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// What QEMU 7.2 says first.
pub(super) const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}"#;

struct Machine {
    negotiated: bool,
    status: &'static str,
    devices: BTreeSet<String>,
    objects: BTreeSet<String>,
    nodes: BTreeSet<String>,
    snapshots: BTreeSet<String>,
    jobs: Vec<(String, Option<String>)>,
    second_processor: bool,
    plugged: u64,
    ended: bool,
    events: Vec<Value>,
}

/// A connection to a new fake with a disk called `disk`.
pub(super) fn start() -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let machine = Machine {
        negotiated: false,
        status: "prelaunch",
        devices: BTreeSet::new(),
        objects: BTreeSet::new(),
        nodes: BTreeSet::from(["disk".to_owned()]),
        snapshots: BTreeSet::new(),
        jobs: Vec::new(),
        second_processor: false,
        plugged: 0,
        ended: false,
        events: Vec::new(),
    };
    tokio::spawn(machine.serve(theirs));
    ours
}

/// What two disks and an empty CD drive did.
fn drives() -> Value {
    let below = json!({"node-name": "file", "stats": {"rd_bytes": 9000, "wr_bytes": 9000}});
    json!([
        {"device": "", "node-name": "disk", "qdev": "/machine/peripheral/dev-disk/virtio-backend",
         "stats": {"rd_bytes": 4096, "wr_bytes": 512, "rd_operations": 1, "wr_operations": 1},
         "parent": below, "backing": below},
        {"device": "", "node-name": "more", "stats": {"rd_bytes": 1000, "wr_bytes": 0}},
        {"device": "", "qdev": "dev-cd", "stats": {"rd_bytes": 0, "wr_bytes": 0}},
    ])
}

type Answer = Result<Value, (&'static str, String)>;

fn generic(text: impl Into<String>) -> Answer {
    Err(("GenericError", text.into()))
}

impl Machine {
    async fn serve(mut self, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(format!("{GREETING}\r\n").as_bytes()).await.unwrap();
        while !self.ended
            && let Ok(Some(line)) = lines.next_line().await
        {
            let command: Value = serde_json::from_str(&line).unwrap();
            let name = command["execute"].as_str().unwrap();
            let mut reply = match self.carry_out(name, &command["arguments"]) {
                Ok(answer) => json!({"return": answer}),
                Err((class, desc)) => json!({"error": {"class": class, "desc": desc}}),
            };
            reply["id"] = command["id"].clone();
            for line in std::iter::once(reply).chain(self.events.drain(..)) {
                writer.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
            }
        }
    }

    fn tell(&mut self, name: &str, data: Value) {
        let timestamp = json!({"seconds": 1, "microseconds": 2});
        self.events.push(json!({"timestamp": timestamp, "event": name, "data": data}));
    }

    fn carry_out(&mut self, name: &str, arguments: &Value) -> Answer {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        if name == "qmp_capabilities" {
            self.negotiated = true;
            return Ok(json!({}));
        }
        assert!(self.negotiated, "{name} before the capabilities");
        match name {
            "query-status" => {
                Ok(json!({"status": self.status, "running": self.status == "running"}))
            }
            "cont" | "stop" => Ok(self.turn(name == "cont")),
            "quit" => {
                self.tell("SHUTDOWN", json!({"guest": false, "reason": "host-qmp-quit"}));
                self.ended = true;
                Ok(json!({}))
            }
            "device_add" => self.device_add(arguments),
            "device_del" => self.device_del(text("id")),
            "object-add" if self.objects.contains(&text("id")) => {
                let id = text("id");
                generic(format!("attempt to add duplicate property '{id}' to object"))
            }
            "object-add" => {
                self.objects.insert(text("id"));
                Ok(json!({}))
            }
            "object-del" if self.objects.remove(&text("id")) => Ok(json!({})),
            "query-hotpluggable-cpus" => Ok(self.processors()),
            "query-memory-size-summary" => {
                Ok(json!({"base-memory": 128 << 20, "plugged-memory": self.plugged}))
            }
            "query-balloon" => Ok(json!({"actual": (128 << 20) + self.plugged})),
            "screendump" => {
                fs::write(text("filename"), b"P6\n1 1\n255\n\0\0\0").unwrap();
                Ok(json!({}))
            }
            "blockdev-add" => {
                self.nodes.insert(text("node-name"));
                Ok(json!({}))
            }
            "blockdev-del" | "block_resize" if !self.nodes.contains(&text("node-name")) => {
                let node = text("node-name");
                generic(format!("Cannot find device='' nor node-name='{node}'"))
            }
            "blockdev-del" => {
                self.nodes.remove(&text("node-name"));
                Ok(json!({}))
            }
            "block_resize" => Ok(json!({})),
            "query-blockstats" => Ok(drives()),
            "snapshot-save" | "snapshot-load" | "snapshot-delete" => self.job(name, arguments),
            "transaction" => self.transaction(arguments),
            "query-jobs" => Ok(self.jobs()),
            "job-dismiss" => {
                self.jobs.retain(|(id, _)| *id != text("id"));
                Ok(json!({}))
            }
            _ => Err(("CommandNotFound", format!("The command {name} has not been found"))),
        }
    }

    fn turn(&mut self, on: bool) -> Value {
        self.status = if on { "running" } else { "paused" };
        self.tell(if on { "RESUME" } else { "STOP" }, json!({}));
        json!({})
    }

    fn device_add(&mut self, device: &Value) -> Answer {
        let driver = device["driver"].as_str().unwrap_or_default();
        let id = device["id"].as_str().unwrap_or_default();
        match driver {
            "no-such-device" => {
                return generic("'no-such-device' is not a valid device model name");
            }
            "qemu64-x86_64-cpu" => self.second_processor = true,
            "pc-dimm" if self.plugged > 0 => return generic("a used vmstate area is not there"),
            "pc-dimm" => self.plugged += 128 << 20,
            _ => {}
        }
        if !self.devices.insert(id.to_owned()) {
            return generic(format!("Duplicate device ID '{id}'"));
        }
        Ok(json!({}))
    }

    fn device_del(&mut self, id: String) -> Answer {
        if !self.devices.remove(&id) {
            return Err(("DeviceNotFound", format!("Device '{id}' not found")));
        }
        self.tell("DEVICE_DELETED", json!({"path": format!("/machine/peripheral/{id}")}));
        self.tell("DEVICE_DELETED", json!({"device": id, "path": "/machine/peripheral"}));
        Ok(json!({}))
    }

    fn processors(&self) -> Value {
        let slot = |socket: u32, used: bool| {
            let mut slot = json!({
                "type": "qemu64-x86_64-cpu",
                "vcpus-count": 1,
                "props": {"socket-id": socket, "core-id": 0, "thread-id": 0},
            });
            if used {
                slot["qom-path"] = format!("/machine/unattached/device[{socket}]").into();
            }
            slot
        };
        json!([slot(1, self.second_processor), slot(0, true)])
    }

    fn job(&mut self, name: &str, arguments: &Value) -> Answer {
        let id = arguments["job-id"].as_str().unwrap().to_owned();
        let tag = arguments["tag"].as_str().unwrap().to_owned();
        let error = match name {
            "snapshot-save" if !self.snapshots.insert(tag.clone()) => {
                Some(format!("Snapshot '{tag}' already exists in one or more devices"))
            }
            "snapshot-load" if !self.snapshots.contains(&tag) => {
                Some(format!("Snapshot '{tag}' does not exist in one or more devices"))
            }
            "snapshot-delete" => {
                self.snapshots.remove(&tag);
                None
            }
            _ => None,
        };
        for status in ["created", "running", "waiting", "pending", "concluded"] {
            self.tell("JOB_STATUS_CHANGE", json!({"id": id, "status": status}));
        }
        self.jobs.push((id, error));
        Ok(json!({}))
    }

    fn jobs(&self) -> Value {
        let show = |(id, error): &(String, Option<String>)| {
            let mut job = json!({"id": id, "status": "concluded", "type": "snapshot-save"});
            if let Some(error) = error {
                job["error"] = error.as_str().into();
            }
            job
        };
        self.jobs.iter().map(show).collect()
    }

    fn transaction(&self, arguments: &Value) -> Answer {
        for action in arguments["actions"].as_array().unwrap() {
            let device = action["data"]["device"].as_str().unwrap();
            if !self.nodes.contains(device) {
                return generic(format!("Cannot find device='{device}' nor node-name='{device}'"));
            }
        }
        Ok(json!({}))
    }
}
