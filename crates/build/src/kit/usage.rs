//! What BuildKit keeps between builds.

use bytes::Bytes;
use model::{Error, Result, Time};
use prost::Message;

use super::control;
use super::daemon::Daemon;
use super::frames::Frames;
use super::{proxy, wire};
use crate::cache::{Cache, CacheRecord};

const USAGE: &str = "/moby.buildkit.v1.Control/DiskUsage";
const PRUNE: &str = "/moby.buildkit.v1.Control/Prune";
/// Bytes of an answer: tens of thousands of records.
const LARGEST: usize = 64 << 20;

/// What is read of a `UsageRecord`.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int64, tag = "4")]
    size: i64,
    #[prost(message, optional, tag = "6")]
    created: Option<prost_types::Timestamp>,
    #[prost(string, tag = "9")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct PruneRequest {
    #[prost(bool, tag = "2")]
    all: bool,
}

impl Daemon {
    /// All that is kept.
    ///
    /// # Errors
    /// `Unavailable` when BuildKit is gone.
    pub async fn cache(&self) -> Result<Vec<CacheRecord>> {
        let mut all = Vec::new();
        for message in self.ask(USAGE, &[]).await? {
            let fields = wire::fields(&message).unwrap_or_default();
            let records = fields.iter().filter(|it| it.number == 1).filter_map(|it| it.value);
            all.extend(records.filter_map(|it| Record::decode(it).ok()).map(record));
        }
        Ok(all)
    }

    /// Removes what is kept and not in use: with `all` everything, else what no later build would take up.
    ///
    /// # Errors
    /// `Unavailable` when BuildKit is gone.
    pub async fn prune(&self, all: bool) -> Result<Cache> {
        let request = PruneRequest { all }.encode_to_vec();
        let mut pruned = Cache::default();
        for message in self.ask(PRUNE, &request).await? {
            if let Ok(gone) = Record::decode(message).map(record) {
                pruned.freed.0 += gone.size.0;
                pruned.removed.push(gone.id);
            }
        }
        Ok(pruned)
    }

    async fn ask(&self, path: &str, message: &[u8]) -> Result<Vec<Bytes>> {
        let (kit, _connection) = self.connect().await?;
        let (parts, body) = kit.pass(control::request(path, message)).await.into_parts();
        let gone = |told: String| Error::unavailable(format!("BuildKit does not answer: {told}"));
        if let Some(told) = proxy::failure(&parts.headers) {
            return Err(gone(told));
        }
        let body = proxy::whole(body, LARGEST).await;
        let body = body.map_err(|error| gone(error.to_string()))?;
        if let Some(told) = body.trailers().and_then(proxy::failure) {
            return Err(gone(told));
        }
        let mut frames = Frames::default();
        frames.push(&body.to_bytes());
        Ok(std::iter::from_fn(|| frames.next().ok().flatten().map(|it| it.message)).collect())
    }
}

fn record(record: Record) -> CacheRecord {
    let created = record.created.filter(|created| created.seconds > 0);
    CacheRecord {
        id: record.id,
        name: record.description,
        created: created.map(|it| Time::from_unix(it.seconds, it.nanos)),
        size: model::Bytes(u64::try_from(record.size).unwrap_or(0)),
    }
}
