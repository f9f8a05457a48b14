//! What is kept between builds: images of steps and what was fetched for them.

use model::{Bytes, Error, Result, Time};
use serde::Deserialize;

use crate::builder::Builder;
use crate::process::Ended;

/// Bytes of a list of images: ten thousand of them.
const LIST: usize = 8 << 20;

/// An image of a step, or one that steps began with.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheRecord {
    /// Its id.
    pub id: String,
    /// A name, if it has one.
    pub name: String,
    /// When it was made.
    pub created: Option<Time>,
    /// Bytes it takes with all it stands on.
    pub size: Bytes,
}

/// What a pruning took away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cache {
    /// Ids of what is gone.
    pub removed: Vec<String>,
    /// Bytes given back.
    pub freed: Bytes,
}

#[derive(Deserialize)]
struct Raw {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    size: String,
}

impl Builder {
    /// All that is kept.
    ///
    /// # Errors
    /// `Internal` when the builder cannot tell.
    pub async fn cache(&self) -> Result<Vec<CacheRecord>> {
        if !self.room().join("storage").exists() {
            return Ok(Vec::new());
        }
        let text = self.ask(&["images", "--all", "--no-trunc", "--json"]).await?;
        let text = if text.trim().is_empty() { "[]" } else { text.as_str() };
        let raw: Option<Vec<Raw>> = serde_json::from_str(text).map_err(|error| {
            Error::internal("the builder's list of images cannot be read").caused_by(error)
        })?;
        Ok(raw.unwrap_or_default().into_iter().map(record).collect())
    }

    /// Removes what is kept: with `all` everything, else what no image that was built needs.
    ///
    /// # Errors
    /// `Conflict` while a build runs; `Internal` when the builder fails.
    pub async fn prune(&self, all: bool) -> Result<Cache> {
        let before = self.cache().await?;
        if before.is_empty() {
            return Ok(Cache::default());
        }
        let _alone = self.alone()?;
        let size = self.disk().await;
        // Of builds that broke off, containers are left that hold images.
        self.ask(&["rm", "--all"]).await?;
        let words: &[&str] =
            if all { &["rmi", "--all", "--force"] } else { &["rmi", "--prune", "--force"] };
        self.ask(words).await?;
        let after = self.cache().await?;
        let gone = |record: &&CacheRecord| !after.iter().any(|kept| kept.id == record.id);
        let removed = before.iter().filter(gone).map(|record| record.id.clone()).collect();
        Ok(Cache { removed, freed: Bytes(size.saturating_sub(self.disk().await)) })
    }

    /// Asks the builder about its own store.
    async fn ask(&self, words: &[&str]) -> Result<String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let (output, error, ended) = self.program(words, None)?.start_bare()?.read(LIST).await?;
        match ended {
            Ended::Well => Ok(output),
            Ended::Badly { .. } => {
                let last = error.lines().last().unwrap_or_default().to_owned();
                Err(Error::internal(format!("the builder fails: {last}")))
            }
        }
    }

    /// Bytes of all layers on the disk.
    async fn disk(&self) -> u64 {
        let storage = self.room().join("storage");
        let sum = tokio::task::spawn_blocking(move || sum(&storage));
        sum.await.unwrap_or_default()
    }
}

fn record(raw: Raw) -> CacheRecord {
    CacheRecord {
        id: raw.id,
        name: raw.names.and_then(|names| names.into_iter().next()).unwrap_or_default(),
        created: (raw.created > 0).then(|| Time::from_unix(raw.created, 0)),
        size: size(&raw.size),
    }
}

/// `1.98 MB`, in thousands.
fn size(text: &str) -> Bytes {
    let mut words = text.split_whitespace();
    let number: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let unit = match words.next().unwrap_or("B") {
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => 1.0,
    };
    Bytes((number * unit) as u64)
}

fn sum(directory: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => sum(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_behind_a_pruning_that_waits() {
        let room = tempfile::tempdir().unwrap();
        let store: std::sync::Arc<tokio::sync::RwLock<()>> = Default::default();
        let builder = Builder::at("/bin/true".into(), room.path(), "", store);
        let first = builder.busy().await;
        let error = builder.alone().unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::Conflict);
        let second = builder.busy().await;
        drop((first, second));
        assert!(builder.alone().is_ok());
    }

    #[test]
    fn sizes_as_people_read_them() {
        for (text, bytes) in [("1.98 MB", 1_980_000), ("5 B", 5), ("2 GB", 2_000_000_000), ("", 0)]
        {
            assert_eq!(size(text), Bytes(bytes), "{text}");
        }
    }
}
