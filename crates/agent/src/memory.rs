//! The desired set on the node's own disk: what it acts on when control is away.
//!
//! One file for each object, so that a change of one costs the writing of one. Files are written off
//! the path of starting anything: the set came from control and can come again. Secrets and configs are
//! never written: an instance that runs has its own in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::stacks::Stacks;
use link::{Desired, NameEntry, ServiceLinks};
use model::error::Context;
use model::{ErrorKind, Noun, Object, Result};
use serde::{Deserialize, Serialize};

use crate::local::replace_file;

const HEAD: &str = "head.json";

/// What is not an object of its own.
#[derive(Serialize, Deserialize)]
struct Head {
    generation: u64,
    node: String,
    names: Vec<Arc<NameEntry>>,
    #[serde(default)]
    services: Vec<Arc<ServiceLinks>>,
    #[serde(default)]
    stacks: Vec<Arc<Stacks>>,
}

/// The directory that keeps the set.
pub struct Memory {
    dir: PathBuf,
    kept: Arc<Desired>,
}

impl Memory {
    /// Opens the directory and reads what is in it. Files that cannot be read are passed over, with
    /// a line in the log.
    pub fn open(dir: PathBuf) -> Result<Self> {
        for kind in ["instance", "network", "volume", "snapshot"] {
            let path = dir.join(kind);
            std::fs::create_dir_all(&path)
                .context(ErrorKind::Unavailable, || format!("cannot make {}", path.display()))?;
        }
        let kept = Arc::new(load(&dir));
        Ok(Self { dir, kept })
    }

    /// The set as it was kept last.
    pub fn desired(&self) -> Arc<Desired> {
        self.kept.clone()
    }

    /// Keeps a newer set; writes what differs from the last one.
    pub fn keep(&mut self, desired: &Arc<Desired>) -> Result<()> {
        keep_all(&self.dir, &self.kept.instances, &desired.instances)?;
        keep_all(&self.dir, &self.kept.networks, &desired.networks)?;
        keep_all(&self.dir, &self.kept.volumes, &desired.volumes)?;
        keep_all(&self.dir, &self.kept.snapshots, &desired.snapshots)?;
        let head = Head {
            generation: desired.generation,
            node: desired.node.clone(),
            names: desired.names.clone(),
            services: desired.services.clone(),
            stacks: desired.stacks.clone(),
        };
        let bytes = serde_json::to_vec(&head).expect("plain data always encodes");
        replace_file(&self.dir.join(HEAD), &bytes)?;
        self.kept = desired.clone();
        Ok(())
    }
}

fn keep_all<N: Noun>(dir: &Path, old: &[Arc<Object<N>>], new: &[Arc<Object<N>>]) -> Result<()> {
    let dir = dir.join(N::KIND.as_str());
    let path = |object: &Object<N>| dir.join(format!("{}.json", object.meta.id));
    let unchanged: BTreeSet<_> =
        old.iter().map(|object| (&object.meta.id, object.meta.generation)).collect();
    for object in new {
        // A changed status is kept by the node itself; only what was asked is remembered here.
        if !unchanged.contains(&(&object.meta.id, object.meta.generation)) {
            replace_file(&path(object), &object.encode())?;
        }
    }
    let present: BTreeSet<_> = new.iter().map(|object| &object.meta.id).collect();
    for object in old.iter().filter(|object| !present.contains(&object.meta.id)) {
        match std::fs::remove_file(path(object)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(ErrorKind::Unavailable, || {
                    format!("cannot remove {}", path(object).display())
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn load(dir: &Path) -> Desired {
    let head = std::fs::read(dir.join(HEAD)).ok();
    let head: Option<Head> = head.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(head) = head else { return Desired::default() };
    Desired {
        generation: head.generation,
        node: head.node,
        names: head.names,
        services: head.services,
        stacks: head.stacks,
        instances: load_all(dir),
        networks: load_all(dir),
        volumes: load_all(dir),
        snapshots: load_all(dir),
        handed: Vec::new(),
    }
}

fn load_all<N: Noun>(dir: &Path) -> Vec<Arc<Object<N>>> {
    let Ok(entries) = std::fs::read_dir(dir.join(N::KIND.as_str())) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let json = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    json.filter_map(|path| {
        let object = std::fs::read(&path).ok().and_then(|bytes| Object::decode(&bytes).ok());
        if object.is_none() {
            tracing::warn!(path = %path.display(), "a remembered object cannot be read");
        }
        object.map(Arc::new)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use model::instance::{Instance, InstanceSpec};
    use model::{Meta, Time, Uid};

    use super::*;

    fn instance(id: u8, generation: u64) -> Arc<Instance> {
        let mut meta = Meta::new("p", "n", Uid::from_bytes([id; 32]), Time::from_unix(0, 0));
        meta.generation = generation;
        Arc::new(Instance::new(meta, InstanceSpec::default()))
    }

    #[test]
    fn the_last_set_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path().to_owned()).unwrap();
        let mut desired = Desired {
            generation: 7,
            node: "n1".into(),
            instances: vec![instance(1, 1), instance(2, 1)],
            ..Default::default()
        };
        memory.keep(&Arc::new(desired.clone())).unwrap();
        desired.generation = 8;
        desired.instances = vec![instance(2, 2)];
        memory.keep(&Arc::new(desired.clone())).unwrap();
        let memory = Memory::open(dir.path().to_owned()).unwrap();
        assert_eq!(*memory.desired(), desired);
    }
}
