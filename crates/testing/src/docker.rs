//! The Docker API of a node, spoken over its socket without a client of Docker's.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::node::Node;

/// Docker's compose, where `tests/docker/clients` fetched it; says so when it is not there.
#[must_use]
pub fn compose() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let path = cache.join("monohull/docker-clients/plugins/docker-compose");
    let there = path.is_file();
    if !there {
        println!("there is no docker-compose: tests/docker/clients fetches it");
    }
    there.then_some(path)
}

/// The API of one node.
pub struct Docker<'a> {
    node: &'a Node,
    version: &'static str,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers as they came, each with its line's end.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body's lines, each JSON.
    ///
    /// # Panics
    /// When one is none.
    pub fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect()
    }

    /// What the lines say in a field, in order.
    pub fn told(&self, field: &str) -> Vec<String> {
        let lines = self.lines();
        lines.iter().filter_map(|line| line[field].as_str().map(str::to_owned)).collect()
    }

    /// The message of a failure.
    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl<'a> Docker<'a> {
    /// The API of `node` in its newest version.
    pub fn of(node: &'a Node) -> Self {
        Self { node, version: "" }
    }

    /// The same in an older version: `v1.44`.
    pub fn speaking(node: &'a Node, version: &'static str) -> Self {
        Self { node, version }
    }

    /// Asks for something; the connection is closed behind the answer.
    ///
    /// # Errors
    /// When nothing that is HTTP comes back.
    pub fn call(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Result<Reply> {
        let mut socket = UnixStream::connect(self.node.root().join("run/hull/docker.sock"))?;
        let version = match self.version {
            "" => String::new(),
            version => format!("/{version}"),
        };
        let mut head = format!("{method} {version}{path} HTTP/1.0\r\nHost: docker\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        socket.write_all(head.as_bytes())?;
        // A body that is refused early is not read to its end.
        let _ = socket.write_all(body);
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Reply { status: status.context("no status")?, head, body: answer.split_off(end + 4) })
    }

    /// Reads something.
    ///
    /// # Panics
    /// When nothing is answered.
    pub fn get(&self, path: &str) -> Reply {
        self.done("GET", path, &[], b"")
    }

    /// Asks for something with an empty body.
    ///
    /// # Panics
    /// When nothing is answered.
    pub fn post(&self, path: &str) -> Reply {
        self.done("POST", path, &[], b"")
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// When nothing is answered.
    pub fn post_json(&self, path: &str, body: &Value) -> Reply {
        let body = body.to_string();
        self.done("POST", path, &["Content-Type: application/json"], body.as_bytes())
    }

    /// Removes something.
    ///
    /// # Panics
    /// When nothing is answered.
    pub fn delete(&self, path: &str) -> Reply {
        self.done("DELETE", path, &[], b"")
    }

    /// Sends an archive.
    ///
    /// # Panics
    /// When nothing is answered.
    pub fn post_tar(&self, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let headers = [headers, &["Content-Type: application/x-tar"]].concat();
        self.done("POST", path, &headers, body)
    }

    fn done(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let reply = self.call(method, path, headers, body);
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }
}
