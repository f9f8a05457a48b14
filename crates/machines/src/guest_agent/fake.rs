//! An agent that answers as qemu-guest-agent 7.2 does, with this machine in the place of the guest.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Listens at `socket` until its test ends; one client at a time.
pub(super) fn start(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut agent = Agent::default();
        for client in listener.incoming() {
            agent.serve(client.unwrap());
        }
    });
}

#[derive(Default)]
struct Agent {
    last: i64,
    /// Whether what was plugged in is in use.
    plugged_online: bool,
    files: HashMap<i64, File>,
    processes: HashMap<i64, Started>,
}

struct Started {
    child: Child,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
}

type Answer = Result<Value, String>;

impl Agent {
    fn serve(&mut self, client: UnixStream) {
        let mut writer = client.try_clone().unwrap();
        let mut reader = BufReader::new(client);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let from = line.iter().rposition(|byte| *byte == 0xff).map_or(0, |at| at + 1);
            let answer = self.answer(&line[from..]);
            line.clear();
            if writer.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, line: &[u8]) -> Vec<u8> {
        let Ok(command) = serde_json::from_slice::<Value>(line) else {
            return b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n"
                .into();
        };
        let name = command["execute"].as_str().unwrap();
        let arguments = &command["arguments"];
        if name == "guest-sync-delimited" {
            return [
                &b"\xff"[..],
                json!({"return": arguments["id"]}).to_string().as_bytes(),
                b"\n",
            ]
            .concat();
        }
        let known = self.carry_out(name, arguments);
        let reply = match known {
            Some(Ok(answer)) => json!({"return": answer}),
            Some(Err(desc)) => json!({"error": {"class": "GenericError", "desc": desc}}),
            None => {
                let desc = format!("The command {name} has not been found");
                json!({"error": {"class": "CommandNotFound", "desc": desc}})
            }
        };
        format!("{reply}\n").into_bytes()
    }

    fn carry_out(&mut self, name: &str, arguments: &Value) -> Option<Answer> {
        let handle = arguments["handle"].as_i64().unwrap_or_default();
        Some(match name {
            "guest-ping" => Ok(json!({})),
            "guest-info" => {
                let known = |name: &str| json!({"name": name, "enabled": true, "new": 1});
                let names = ["guest-ping", "guest-exec", "guest-file-open"];
                Ok(json!({"version": "7.2.0", "supported_commands": names.map(known)}))
            }
            "guest-get-host-name" => Ok(json!({"host-name": "fake"})),
            "guest-network-get-interfaces" => Ok(json!([{
                "name": "lo",
                "ip-addresses": [
                    {"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}
                ],
                "statistics": {},
            }])),
            "guest-get-vcpus" => Ok(json!([
                {"logical-id": 0, "online": true, "can-offline": false},
                {"logical-id": 1, "online": self.plugged_online, "can-offline": true},
            ])),
            "guest-set-vcpus" => {
                assert_eq!(arguments, &json!({"vcpus": [{"logical-id": 1, "online": true}]}));
                self.plugged_online = true;
                Ok(json!(1))
            }
            "guest-get-memory-block-info" => Ok(json!({"size": 128 << 20})),
            "guest-get-memory-blocks" => Ok(json!([
                {"phys-index": 0, "online": true, "can-offline": false},
                {"phys-index": 32, "online": false, "can-offline": true},
                {"phys-index": 33, "online": self.plugged_online, "can-offline": true},
            ])),
            // One that the guest cannot put to use stays as it is.
            "guest-set-memory-blocks" => {
                self.plugged_online = true;
                Ok(json!([
                    {"phys-index": 32, "response": "operation-failed", "error-code": 12},
                    {"phys-index": 33, "response": "success"},
                ]))
            }
            "guest-exec" => self.exec(arguments),
            "guest-exec-status" => self.status(arguments["pid"].as_i64().unwrap()),
            "guest-file-open" => self.open(arguments),
            "guest-file-close" => self.files.remove(&handle).map(|_| json!({})).ok_or_else(gone),
            "guest-file-read" => self.with(handle, |file| {
                let mut bytes = vec![0; arguments["count"].as_u64().unwrap() as usize];
                let length = file.read(&mut bytes)?;
                let buffer = STANDARD.encode(&bytes[..length]);
                Ok(json!({"count": length, "buf-b64": buffer, "eof": length == 0}))
            }),
            "guest-file-write" => self.with(handle, |file| {
                let bytes = STANDARD.decode(arguments["buf-b64"].as_str().unwrap()).unwrap();
                file.write_all(&bytes)?;
                Ok(json!({"count": bytes.len(), "eof": false}))
            }),
            "guest-file-seek" => self.with(handle, |file| {
                let position = file.seek(SeekFrom::Start(arguments["offset"].as_u64().unwrap()))?;
                Ok(json!({"position": position, "eof": false}))
            }),
            "guest-file-flush" => Ok(json!({})),
            _ => return None,
        })
    }

    fn with(&mut self, handle: i64, act: impl Fn(&mut File) -> std::io::Result<Value>) -> Answer {
        let file = self.files.get_mut(&handle).ok_or_else(gone)?;
        act(file).map_err(|error| error.to_string())
    }

    fn open(&mut self, arguments: &Value) -> Answer {
        let path = arguments["path"].as_str().unwrap();
        let mut options = OpenOptions::new();
        match arguments["mode"].as_str().unwrap() {
            "r" => options.read(true),
            "r+" => options.read(true).write(true),
            "w" => options.write(true).create(true).truncate(true),
            mode => return Err(format!("invalid file open mode '{mode}'")),
        };
        let file =
            options.open(path).map_err(|error| format!("failed to open '{path}': {error}"))?;
        self.last += 1;
        self.files.insert(self.last, file);
        Ok(json!(self.last))
    }

    fn exec(&mut self, arguments: &Value) -> Answer {
        let args = arguments["arg"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
        let mut command = Command::new(arguments["path"].as_str().unwrap());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("Guest agent failed: {error}"))?;
        let input = STANDARD.decode(arguments["input-data"].as_str().unwrap()).unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        let stdout = gather(child.stdout.take().unwrap());
        let stderr = gather(child.stderr.take().unwrap());
        let pid = i64::from(child.id());
        self.processes.insert(pid, Started { child, stdout, stderr });
        Ok(json!({"pid": pid}))
    }

    fn status(&mut self, pid: i64) -> Answer {
        let started = self.processes.get_mut(&pid).ok_or(format!("PID {pid} does not exist"))?;
        let open = !started.stdout.is_finished() || !started.stderr.is_finished();
        let Some(status) = started.child.try_wait().unwrap().filter(|_| !open) else {
            return Ok(json!({"exited": false}));
        };
        let started = self.processes.remove(&pid).unwrap();
        let mut answer = json!({
            "exited": true,
            "out-data": STANDARD.encode(started.stdout.join().unwrap()),
            "err-data": STANDARD.encode(started.stderr.join().unwrap()),
        });
        match status.code() {
            Some(code) => answer["exitcode"] = code.into(),
            None => answer["signal"] = status.signal().into(),
        }
        Ok(answer)
    }
}

fn gone() -> String {
    "handle has not been found".to_owned()
}

fn gather(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
