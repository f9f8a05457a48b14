//! What is built.

use std::path::PathBuf;

use model::{Error, Result};

/// One build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Names it by; letters, digits and dashes.
    pub id: String,
    /// What the Dockerfile may copy.
    pub context: Context,
    /// The Dockerfile's text; in a remote context, absent: the builder finds it.
    pub dockerfile: Option<String>,
    /// Path of the Dockerfile in a remote context; the usual one when empty.
    pub dockerfile_path: String,
    /// Stage that is built; the last when empty.
    pub target: String,
    /// Values of `ARG`; a name without one is taken away.
    pub arguments: Vec<(String, Option<String>)>,
    /// Labels of the result.
    pub labels: Vec<(String, String)>,
    /// `linux/amd64`; this machine's own when empty.
    pub platform: String,
    /// Take no step from the cache.
    pub no_cache: bool,
    /// One layer in place of those of the steps.
    pub squash: bool,
    /// What `RUN` reaches.
    pub network: Network,
    /// `name:address` for `/etc/hosts` of `RUN`.
    pub extra_hosts: Vec<String>,
    /// Size of `/dev/shm` in bytes; the usual when 0.
    pub shm_size: u64,
    /// `name=soft:hard`.
    pub ulimits: Vec<String>,
    /// Files that steps are handed by id (`RUN --mount=type=secret`).
    pub secrets: Vec<(String, PathBuf)>,
    /// Bounds on all processes of the build together.
    pub limits: Limits,
}

/// What the Dockerfile may copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A directory of the host.
    Directory(PathBuf),
    /// A git repository or an archive, which the builder fetches.
    Remote(String),
}

/// What the builder fetches. Everything else it would take for a directory of the host.
const REMOTE: [&str; 4] = ["http://", "https://", "git://", "github.com/"];

impl Context {
    /// A context that is fetched.
    ///
    /// # Errors
    /// `Invalid` for what names nothing that can be; `Unsupported` for git over SSH, which takes keys.
    pub fn remote(url: &str) -> Result<Self> {
        if url.starts_with("git@") || url.starts_with("ssh://") {
            return Err(Error::unsupported(format!("a context cannot be fetched over SSH: {url}"))
                .at("remote")
                .next("name the repository by https://, or send the context"));
        }
        if !REMOTE.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Err(Error::invalid(format!(
                "remoteURL ({url}) could not be recognized as URL"
            ))
            .at("remote"));
        }
        Ok(Self::Remote(url.to_owned()))
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::Directory(PathBuf::new())
    }
}

/// What `RUN` reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// What the host reaches.
    #[default]
    Host,
    /// What is in a network namespace. The images' place must be there as well.
    Namespace {
        /// A file that leads to it.
        path: PathBuf,
        /// What is asked there for names, as resolv.conf(5) says it; the host's when empty.
        resolv_conf: String,
    },
}

/// Bounds; 0 for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory and swap.
    pub memory_swap: u64,
    /// Weight among others, 2 to 262144, as of Docker; 1024 is usual.
    pub cpu_shares: u64,
    /// Microseconds of processor time in a period.
    pub cpu_quota: u64,
    /// Microseconds of a period.
    pub cpu_period: u64,
    /// Processors, `0-1,3`; all when empty.
    pub cpus: String,
}

/// Where the builder gets images: a registry on the loopback that knows those of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supply {
    /// Its port.
    pub port: u16,
    /// The password it wants, of the user `build`.
    pub password: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;

    #[test]
    fn only_what_is_fetched_is_remote() {
        for url in [
            "https://e.org/x.git#main:sub",
            "http://e.org/x.tar",
            "git://e.org/x",
            "github.com/a/b",
        ] {
            assert_eq!(Context::remote(url).unwrap(), Context::Remote(url.into()));
        }
        for (url, kind) in [
            ("/etc", ErrorKind::Invalid),
            ("../x", ErrorKind::Invalid),
            ("-", ErrorKind::Invalid),
            ("--help", ErrorKind::Invalid),
            ("https://", ErrorKind::Invalid),
            ("file:///etc", ErrorKind::Invalid),
            ("HTTP://e.org", ErrorKind::Invalid),
            ("git@e.org:a/b.git", ErrorKind::Unsupported),
        ] {
            assert_eq!(Context::remote(url).unwrap_err().kind(), kind, "{url}");
        }
    }
}
