//! A registry of a test's own: the reference one, as Debian ships it (package `docker-registry`).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::Digest;

use crate::node::until;

const PROGRAM: &str = "docker-registry";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BLOB: &str = "application/octet-stream";

/// Whom a guarded registry knows.
pub const USER: &str = "ann";
/// Her password.
pub const PASSWORD: &str = "s3cret-word";
/// bcrypt of the password.
const HTPASSWD: &str = "ann:$2y$04$abcdefghijklmnopqrstuuzQDw2v3CQSMowG.sq3X.nH1lfmlmQMW\n";

/// A registry on a port of its own. Ends when it is dropped, and with the test's thread.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    home: tempfile::TempDir,
}

/// One request, from the registry's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD` …
    pub method: String,
    /// From `/v2/` on.
    pub path: String,
    /// What was answered.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

impl Registry {
    /// One that everybody may use.
    pub fn open() -> Result<Self> {
        Self::start("")
    }

    /// One that wants [`USER`] and [`PASSWORD`] for everything.
    pub fn guarded() -> Result<Self> {
        Self::start("auth: { htpasswd: { realm: test, path: HOME/htpasswd } }\n")
    }

    fn start(auth: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("hull-registry-").tempdir()?;
        let place = home.path().display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{ level: info }}\n\
             storage: {{ filesystem: {{ rootdirectory: HOME/data }}, delete: {{ enabled: true }} }}\n\
             http: {{ addr: \"127.0.0.1:0\" }}\n{auth}"
        );
        std::fs::write(home.path().join("config.yml"), config.replace("HOME", &place))?;
        std::fs::write(home.path().join("htpasswd"), HTPASSWD)?;
        let log = std::fs::File::create(home.path().join("log"))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program().context("docker-registry is neither installed nor unpacked")?)
            .arg("serve")
            .arg(home.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the registry cannot be started")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self { address, child, home };
        registry.address = until("the registry says where it listens", || {
            let log = registry.log();
            let (_, rest) = log.split_once("listening on ")?;
            rest.split(['"', ',', ' ', '\n']).next()?.parse().ok()
        });
        Ok(registry)
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// An image's name there.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Puts an image of these layers there, whose configuration says that they are `claimed`: plain
    /// tars, lowest first.
    pub fn put_image(
        &self,
        repository: &str,
        tag: &str,
        layers: &[&[u8]],
        claimed: &[&[u8]],
    ) -> Result<()> {
        let diff_ids: Vec<String> = claimed.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        for blob in layers.iter().chain([&config.as_slice()]) {
            self.put_blob(repository, blob)?;
        }
        let part = |kind: &str, data: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": media_type, "digest": digest(data), "size": data.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": part("config.v1+json", &config),
            "layers": layers.iter().map(|layer| part("layer.v1.tar", layer)).collect::<Vec<_>>(),
        });
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.send("PUT", &path, MANIFEST, manifest.to_string().as_bytes()).map(drop)
    }

    /// Distribution specification, "Pushing a blob monolithically": POST then PUT.
    fn put_blob(&self, repository: &str, data: &[u8]) -> Result<()> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.send("POST", &path, BLOB, &[])?;
        let place = begun.lines().find_map(|line| line.strip_prefix("Location: "));
        let place = place.context("no place to send a blob to")?;
        let (_, path) = place.split_once(&self.address.to_string()).context("another place")?;
        self.send("PUT", &format!("{path}&digest={}", digest(data)), BLOB, data).map(drop)
    }

    /// Sends a request that must be taken; the head of the answer.
    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let mut socket = TcpStream::connect(self.address)?;
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        )?;
        socket.write_all(body)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        Ok(answer)
    }

    /// All requests so far, as the access log has them.
    pub fn requests(&self) -> Vec<Request> {
        self.log().lines().filter_map(request).collect()
    }

    /// How often the content of blobs was sent, whole or from some byte on.
    pub fn downloads(&self) -> Vec<Request> {
        let mut all = self.requests();
        all.retain(|request| request.method == "GET" && request.path.contains("/blobs/sha256:"));
        all.retain(|request| matches!(request.status, 200 | 206));
        all
    }

    /// A document as it is kept there: its digest and its JSON.
    ///
    /// # Panics
    /// When it is not there.
    pub fn manifest(&self, repository: &str, tag: &str) -> Value {
        let path = self.home.path().join("data/docker/registry/v2");
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        let digest = std::fs::read_to_string(path.join(link)).unwrap_or_default();
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let two = hex.get(..2).unwrap_or_default();
        let data = std::fs::read(path.join(format!("blobs/sha256/{two}/{hex}/data")));
        let data = data.unwrap_or_else(|error| panic!("{repository}:{tag}: {error}"));
        let manifest: Value = serde_json::from_slice(&data).unwrap_or_default();
        json!({ "digest": digest, "manifest": manifest })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that has ended by itself is gone too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(data)))
}

/// The installed program, else the one that `make images` unpacked.
fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let unpacked = cache.map(|cache| cache.join("monohull/registry/package/usr/bin"));
    let mut places = std::env::split_paths(&paths).chain(unpacked);
    places.find_map(|place| Some(place.join(PROGRAM)).filter(|program| program.is_file()))
}

/// A line in the combined log format: `… "GET /v2/x HTTP/1.1" 200 1716 …`.
fn request(line: &str) -> Option<Request> {
    let mut parts = line.split('"');
    let (asked, answered) = (parts.nth(1)?, parts.next()?);
    let (mut asked, mut answered) = (asked.split(' '), answered.split_whitespace());
    let (method, path) = (asked.next()?.to_owned(), asked.next()?.to_owned());
    let (status, bytes) = (answered.next()?.parse().ok()?, answered.next()?.parse().ok()?);
    path.starts_with("/v2/").then_some(Request { method, path, status, bytes })
}
