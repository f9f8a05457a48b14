//! A registry of a test's own: the reference one, as Debian ships it (package `docker-registry`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::node::until;

const PROGRAM: &str = "docker-registry";

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
    pub fn manifest(&self, repository: &str, tag: &str) -> serde_json::Value {
        let path = self.home.path().join("data/docker/registry/v2");
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        let digest = std::fs::read_to_string(path.join(link)).unwrap_or_default();
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let two = hex.get(..2).unwrap_or_default();
        let data = std::fs::read(path.join(format!("blobs/sha256/{two}/{hex}/data")));
        let data = data.unwrap_or_else(|error| panic!("{repository}:{tag}: {error}"));
        let manifest: serde_json::Value = serde_json::from_slice(&data).unwrap_or_default();
        serde_json::json!({ "digest": digest, "manifest": manifest })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that has ended by itself is gone too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
