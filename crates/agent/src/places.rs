//! Where the agent keeps what on this node.

use std::path::{Path, PathBuf};

use model::Uid;
use model::instance::ContainerSpec;

/// The agent's directories.
#[derive(Debug, Clone)]
pub struct Places {
    state: PathBuf,
    run: PathBuf,
}

impl Places {
    /// Below the node's state directory (outlives a reboot) and run directory (does not).
    pub fn new(state: &Path, run: &Path) -> Self {
        Self { state: state.to_owned(), run: run.to_owned() }
    }

    /// The desired set.
    pub fn memory(&self) -> PathBuf {
        self.state.join("desired")
    }

    /// What is remembered of all instances.
    pub fn instances(&self) -> PathBuf {
        self.state.join("instances")
    }

    /// What is remembered of an instance, and the files it finds in its `/etc`.
    pub fn instance(&self, uid: &Uid) -> PathBuf {
        self.instances().join(uid.as_str())
    }

    /// Logs of all instances.
    pub fn all_logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Logs of an instance's containers.
    pub fn logs(&self, uid: &Uid) -> PathBuf {
        self.all_logs().join(uid.as_str())
    }

    /// Log of one container; what is not to be kept is in memory, for those who are attached.
    pub fn log(&self, uid: &Uid, container: &ContainerSpec) -> PathBuf {
        let logs = if container.log.off { self.unkept(uid) } else { self.logs(uid) };
        logs.join(&container.name)
    }

    /// Output of all instances that is not kept.
    pub fn all_unkept(&self) -> PathBuf {
        self.run.join("output")
    }

    /// Output of an instance's containers that is not kept.
    pub fn unkept(&self, uid: &Uid) -> PathBuf {
        self.all_unkept().join(uid.as_str())
    }

    /// Shared memory of an instance whose containers share it.
    pub fn shm(&self, uid: &Uid) -> PathBuf {
        self.run.join("shm").join(uid.as_str())
    }

    /// Secrets and configs of all instances.
    pub fn all_handed(&self) -> PathBuf {
        self.run.join("handed")
    }

    /// Secrets and configs of an instance, in memory.
    pub fn handed(&self, uid: &Uid) -> PathBuf {
        self.all_handed().join(uid.as_str())
    }

    /// Where directories and files in volumes are mounted that instances use alone.
    pub fn all_subpaths(&self) -> PathBuf {
        self.run.join("subpaths")
    }

    /// Where those that an instance uses are mounted.
    pub fn subpaths(&self, uid: &Uid) -> PathBuf {
        self.all_subpaths().join(uid.as_str())
    }

    /// Sockets of a machine, and what it is made of. The name is short: a socket's path has 107
    /// characters at most.
    pub fn machine(&self, uid: &Uid) -> PathBuf {
        self.run.join("machines").join(uid.short())
    }

    /// The disk of an image that carries it compressed as a file.
    pub fn unpacked(&self, image: &str) -> PathBuf {
        self.state.join("unpacked").join(image.trim_start_matches("sha256:"))
    }

    /// Disks on their way in or out.
    pub fn passing(&self) -> PathBuf {
        self.state.join("passing")
    }

    /// What the builder of images keeps.
    pub fn build(&self) -> PathBuf {
        self.state.join("build")
    }

    /// Sockets of a builder that stays.
    pub fn build_run(&self) -> PathBuf {
        self.run.join("build")
    }

    /// What builds are handed, in memory.
    pub fn build_secrets(&self) -> PathBuf {
        self.build_run().join("secrets")
    }

    /// The state directory itself.
    pub fn state(&self) -> &Path {
        &self.state
    }
}
