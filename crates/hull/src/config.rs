//! The daemon's configuration file and the places on disk that follow from `--root`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use model::error::Context;
use model::{Error, ErrorKind, Result, Span};
use serde::Deserialize;

/// `hull.toml`. Unknown fields are refused, so that a misspelt one is found at once.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This machine.
    pub node: Node,
    /// The API.
    pub api: Api,
    /// Docker's API.
    pub docker: Docker,
    /// The platform's own log.
    pub log: Log,
    /// Networks of instances.
    pub network: Network,
    /// What instances are told of themselves.
    pub metadata: Metadata,
    /// The container engine.
    pub containerd: Containerd,
    /// Builders of images.
    pub build: Build,
    /// Registries: mirrors, plain HTTP, certificates. The one table that is read again when the file
    /// changes, see [`registries`].
    pub registries: images::RegistriesConfig,
    /// How much an image may be before it is refused.
    pub images: images::Limits,
}

/// This machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Its name in the cluster; the host name when empty.
    pub name: String,
}

/// The API.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address and port it listens on with TLS.
    pub listen: SocketAddr,
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 7443)) }
    }
}

/// Docker's API. Its socket is `docker.sock` in the run directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// Whether it is served.
    pub enabled: bool,
    /// Addresses and ports at which it is served with TLS to clients that have a certificate.
    pub listen: Vec<SocketAddr>,
    /// The project whose objects it serves.
    pub project: String,
}

impl Default for Docker {
    fn default() -> Self {
        Self { enabled: true, listen: Vec::new(), project: "default".into() }
    }
}

/// The platform's own log.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Directives as tracing has them: `info`, `info,agent=debug`.
    pub filter: String,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

/// Networks of instances.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// What IPv4 subnets of networks are cut from.
    pub pool: ipnet::Ipv4Net,
}

impl Default for Network {
    fn default() -> Self {
        let pool = ipnet::Ipv4Net::new(std::net::Ipv4Addr::new(10, 128, 0, 0), 9);
        Self { pool: pool.expect("9 is a prefix length") }
    }
}

/// What instances are told of themselves, at `http://169.254.169.254/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// Whether they are. If not, they ask whom the host asks: the cloud it runs in, if any.
    pub enabled: bool,
    /// Port of each network's gateway that answers.
    pub port: u16,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { enabled: true, port: 7480 }
    }
}

/// The container engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Containerd {
    /// Its program; looked for in `PATH` when it has no slash, else taken with the shims beside it.
    pub binary: PathBuf,
}

impl Default for Containerd {
    fn default() -> Self {
        Self { binary: "containerd".into() }
    }
}

/// Builders of images.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// BuildKit's daemon; looked for in `PATH` when it has no slash.
    pub buildkitd: PathBuf,
    /// An image that has it, for a host without; none when empty.
    pub buildkit_image: String,
    /// How long it stays when nobody speaks to it: its caches are warm, and it takes some MiB of memory.
    pub buildkit_idle: Span,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            buildkitd: "buildkitd".into(),
            buildkit_image: "docker.io/moby/buildkit:buildx-stable-1".into(),
            buildkit_idle: Span::seconds(300),
        }
    }
}

impl Config {
    /// Reads the file; the defaults if there is none.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(error)
                    .context(ErrorKind::Unavailable, || format!("cannot read {}", path.display()));
            }
        };
        toml::from_str(&text).map_err(|error| {
            Error::invalid(format!("{} is not right", path.display()))
                .caused_by(error)
                .next("mend the line named, or move the file away to run with the defaults")
        })
    }
}

/// The table of registries as the file has it now. While the file is broken the last good one counts:
/// what could be fetched before can be fetched still.
pub fn registries(path: PathBuf, first: images::RegistriesConfig) -> images::RegistriesSource {
    let known = Mutex::new((changed(&path), first));
    images::RegistriesSource::new(move || {
        let mut known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = changed(&path);
        if known.0 != now {
            known.0 = now;
            match reread(&path) {
                Ok(table) => known.1 = table,
                Err(error) => tracing::warn!(
                    error = error.chain(),
                    "settings of registries stay as they were"
                ),
            }
        }
        known.1.clone()
    })
}

fn reread(path: &Path) -> Result<images::RegistriesConfig> {
    let table = Config::load(path)?.registries;
    table.validate()?;
    Ok(table)
}

/// When the file was last changed; none when it is not there.
fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Where everything of a node is.
#[derive(Debug, Clone)]
pub struct Places {
    /// What everything lies below; `/` unless told otherwise.
    pub root: PathBuf,
    /// State that must outlive a reboot.
    pub state: PathBuf,
    /// Sockets and files of this boot.
    pub run: PathBuf,
    /// Configuration.
    pub etc: PathBuf,
}

impl Places {
    /// The places below `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            state: root.join("var/lib/hull"),
            run: root.join("run/hull"),
            etc: root.join("etc/hull"),
        }
    }

    /// Makes the directories that are missing. Others can pass through the run directory to the API's
    /// socket, whose own mode decides; state is root's alone.
    pub fn create(&self) -> Result<()> {
        for (dir, mode) in [(&self.state, 0o711), (&self.run, 0o711), (&self.etc, 0o755)] {
            create_dir(dir, mode)?;
        }
        Ok(())
    }

    /// The records.
    pub fn store(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// The keys that secrets in the records are sealed with, readable by root only.
    pub fn keyring(&self) -> PathBuf {
        self.state.join("secret.keys")
    }

    /// What names of this node's bridges, links, tables and cgroups carry, for those who clean up
    /// after a platform that is not there to ask.
    pub fn tag(&self) -> PathBuf {
        self.state.join("tag")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.etc.join("hull.toml")
    }

    /// Where a daemon that could not start says why, for `hull up` and `hull status`: its reason in
    /// one line and the next step in another.
    pub fn failure(&self) -> PathBuf {
        self.run.join("failure")
    }

    /// Where the first administrator's token is, readable by root only.
    pub fn admin_token(&self) -> PathBuf {
        self.etc.join("admin.token")
    }
}

/// Makes a directory, and gives the last part of the path this mode.
pub fn create_dir(dir: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)))
        .context(ErrorKind::Unavailable, || format!("cannot make the directory {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hull.toml");
        std::fs::write(&path, "[api]\nlisen = \"0.0.0.0:1\"\n").unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(error.chain().contains("lisen"), "{}", error.chain());
        std::fs::write(&path, "[registries.\"docker.io\"]\nmirrors = [\"http://127.0.0.1:1\"]\n")
            .unwrap();
        assert!(Config::load(&path).unwrap().registries.0.contains_key("docker.io"));
        std::fs::write(&path, "[images]\nratio = 7\nratio-floor = \"1MiB\"\n").unwrap();
        let limits = Config::load(&path).unwrap().images;
        assert_eq!((limits.ratio, limits.ratio_floor.0), (7, 1 << 20));
        assert!(Config::load(&dir.path().join("absent")).is_ok());
    }

    /// Its settings are the lines whose comment sign stands right before a word.
    #[test]
    fn the_reference_is_right_and_gives_the_defaults() {
        let text = include_str!("../../../docs/hull.toml");
        let plain = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
            Some(_) | None => line.to_owned(),
        };
        let text: Vec<String> = text.lines().map(plain).collect();
        let written: Config = toml::from_str(&text.join("\n")).unwrap();
        let Config {
            node,
            api,
            docker,
            log,
            network,
            metadata,
            containerd,
            build,
            registries,
            images,
        } = written;
        let default = Config::default();
        assert_eq!(node.name, default.node.name);
        assert_eq!(api.listen, default.api.listen);
        assert_eq!(
            (docker.enabled, docker.project),
            (default.docker.enabled, default.docker.project)
        );
        assert_eq!(docker.listen.len(), 1, "an example");
        assert_eq!((log.filter, log.json), (default.log.filter, default.log.json));
        assert_eq!(network.pool, default.network.pool);
        assert_eq!(metadata.enabled, default.metadata.enabled);
        assert_eq!(metadata.port, default.metadata.port);
        assert_eq!(containerd.binary, default.containerd.binary);
        assert_eq!(
            (build.buildkitd, build.buildkit_image, build.buildkit_idle),
            (default.build.buildkitd, default.build.buildkit_image, default.build.buildkit_idle)
        );
        assert_eq!(images, default.images);
        assert_eq!(registries.0["docker.io"].mirrors.len(), 2);
        let images::RegistryConfig { mirrors: _, insecure, ca } =
            &registries.0["registry.lab:5000"];
        assert!(!insecure && ca.is_some());
    }

    #[test]
    fn registries_are_read_again_when_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hull.toml");
        let source = registries(path.clone(), images::RegistriesConfig::default());
        // Files written within one tick of the kernel's clock have one time.
        let write = |text: &str, seconds: u64| {
            std::fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        let names = || source.now().0.into_keys().collect::<Vec<_>>();
        assert!(names().is_empty());
        write("[registries.\"a.lab\"]\ninsecure = true\n", 1);
        assert_eq!(names(), ["a.lab"]);
        write("[registries.\"b.lab\"]\nmirrors = [\"no URL\"]\n", 2);
        assert_eq!(names(), ["a.lab"], "a broken file changes nothing");
        std::fs::remove_file(&path).unwrap();
        assert!(names().is_empty());
    }
}
