//! Docker's `config.json` (docker/cli, `cli/config/configfile`): key `auths`, one entry a registry.
//! What else stands in the file is kept.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind as IoKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::Credentials;

/// The key under which Docker keeps Docker Hub's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A file of credentials, readable by its owner only. Each change rewrites it in one step.
#[derive(Debug, Clone)]
pub struct CredentialFile {
    path: PathBuf,
}

impl CredentialFile {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What is kept for `registry` (`docker.io`, `localhost:5000`).
    pub fn get(&self, registry: &str) -> Result<Option<Credentials>> {
        let document = self.read()?;
        let entry = auths(&document).find(|(key, _)| host_of(key) == registry);
        entry.map(|(_, value)| self.decode(registry, value)).transpose().map(Option::flatten)
    }

    /// Registries for which something is kept.
    pub fn registries(&self) -> Result<Vec<String>> {
        Ok(auths(&self.read()?).map(|(key, _)| host_of(key).to_owned()).collect())
    }

    /// Keeps `credentials` for `registry`. [`crate::Puller::login`] checks them first.
    pub fn put(&self, registry: &str, credentials: &Credentials) -> Result<()> {
        let mut document = self.read()?;
        let auths = self.auths_mut(&mut document)?;
        auths.retain(|key, _| host_of(key) != registry);
        auths.insert(key_of(registry).to_owned(), encode(credentials));
        self.write(&document)
    }

    /// Forgets what is kept for `registry`; says whether there was something.
    pub fn remove(&self, registry: &str) -> Result<bool> {
        let mut document = self.read()?;
        let auths = self.auths_mut(&mut document)?;
        let before = auths.len();
        auths.retain(|key, _| host_of(key) != registry);
        let found = auths.len() < before;
        if found {
            self.write(&document)?;
        }
        Ok(found)
    }

    fn read(&self) -> Result<Map<String, Value>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(self.unreadable(error)),
        };
        // The cause is left out: serde quotes what it read, and that may be a password.
        serde_json::from_slice(&text).map_err(|_| self.refuse("is not a JSON object"))
    }

    fn decode(&self, registry: &str, entry: &Value) -> Result<Option<Credentials>> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::Identity { token: token.to_owned() }));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::Bearer { token: token.to_owned() }));
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Ok(Some(basic(user, password)));
        }
        let Some(auth) = text("auth") else { return Ok(None) };
        let broken = || self.refuse(&format!("has an unreadable \"auth\" for {registry}"));
        let decoded = BASE64.decode(auth.trim()).map_err(|_| broken())?;
        let decoded = String::from_utf8(decoded).map_err(|_| broken())?;
        let (user, password) = decoded.split_once(':').ok_or_else(broken)?;
        Ok(Some(basic(user, password.trim_end_matches('\0'))))
    }

    fn auths_mut<'a>(
        &self,
        document: &'a mut Map<String, Value>,
    ) -> Result<&'a mut Map<String, Value>> {
        let auths = document.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        auths.as_object_mut().ok_or_else(|| self.refuse("has an \"auths\" that is not an object"))
    }

    /// Writes beside the file, syncs, and renames over it; the new file is 0600 from the first byte.
    fn write(&self, document: &Map<String, Value>) -> Result<()> {
        self.replace(document).context(ErrorKind::Internal, || {
            format!("the credentials cannot be written to {}", self.path.display())
        })
    }

    fn replace(&self, document: &Map<String, Value>) -> std::io::Result<()> {
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new()
            .prefix(".config.json.")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        serde_json::to_writer_pretty(&mut file, document)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }

    fn unreadable(&self, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            IoKind::PermissionDenied => ErrorKind::Forbidden,
            _ => ErrorKind::Internal,
        };
        let message = format!("the credentials in {} cannot be read", self.path.display());
        Error::new(kind, message).caused_by(error)
    }

    fn refuse(&self, why: &str) -> Error {
        Error::invalid(format!("the credentials file {} {why}", self.path.display()))
            .next("repair the file, or remove it and log in again")
    }
}

fn auths(document: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    document.get("auths").and_then(Value::as_object).into_iter().flatten()
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
}

fn encode(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Basic { user, password } => {
            json!({ "auth": BASE64.encode(format!("{user}:{password}")) })
        }
        // Docker writes the user `<token>` beside an identity token.
        Credentials::Identity { token } => {
            json!({ "auth": BASE64.encode("<token>:"), "identitytoken": token })
        }
        Credentials::Bearer { token } => json!({ "registrytoken": token }),
    }
}

fn key_of(registry: &str) -> &str {
    if registry == "docker.io" { HUB_KEY } else { registry }
}

/// The registry a key stands for: keys may carry a scheme and a path, Docker Hub's always does.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_new_directory() -> (tempfile::TempDir, CredentialFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = CredentialFile::new(directory.path().join("deep/config.json"));
        (directory, file)
    }

    #[test]
    fn what_is_put_is_got_and_only_the_owner_reads_it() {
        let (_directory, file) = in_new_directory();
        assert_eq!(file.get("docker.io").unwrap(), None);
        for credentials in [
            basic("ann", "pa:ss"),
            Credentials::Identity { token: "refresh".into() },
            Credentials::Bearer { token: "bearer".into() },
        ] {
            file.put("docker.io", &credentials).unwrap();
            file.put("localhost:5000", &credentials).unwrap();
            assert_eq!(file.get("docker.io").unwrap(), Some(credentials.clone()));
            assert_eq!(file.get("localhost:5000").unwrap(), Some(credentials));
        }
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(file.remove("docker.io").unwrap());
        assert!(!file.remove("docker.io").unwrap());
        assert_eq!(file.registries().unwrap(), ["localhost:5000"]);
    }

    #[test]
    fn reads_what_docker_wrote_and_keeps_the_rest() {
        let (_directory, file) = in_new_directory();
        fs::create_dir_all(file.path.parent().unwrap()).unwrap();
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uOnBhc3M="},
            "https://quay.io":{"username":"bob","password":"x"},"empty.io":{}},
            "HttpHeaders":{"User-Agent":"me"}}"#;
        fs::write(&file.path, text).unwrap();
        assert_eq!(file.get("docker.io").unwrap(), Some(basic("ann", "pass")));
        assert_eq!(file.get("quay.io").unwrap(), Some(basic("bob", "x")));
        assert_eq!(file.get("empty.io").unwrap(), None);
        file.put("quay.io", &basic("eve", "y")).unwrap();
        let document = file.read().unwrap();
        assert_eq!(document["HttpHeaders"]["User-Agent"], "me");
        assert_eq!(auths(&document).count(), 3);
    }

    #[test]
    fn a_broken_file_is_refused_without_a_word_of_its_content() {
        let (_directory, file) = in_new_directory();
        fs::create_dir_all(file.path.parent().unwrap()).unwrap();
        for text in [r#""s3cret""#, r#"{"auths":{"a.io":{"auth":"s3cret!"}}}"#] {
            fs::write(&file.path, text).unwrap();
            let error = file.get("a.io").unwrap_err();
            assert!(!error.chain().contains("s3cret"), "{}", error.chain());
        }
        let shown = format!("{:?}", basic("ann", "s3cret"));
        assert!(!shown.contains("s3cret") && !shown.contains("ann"));
    }
}
