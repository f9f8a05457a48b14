//! The platform itself.

use link::ByteStream;
use link::machine::DiskUsage;
use model::Result;

use crate::Client;
use crate::wire::{CheckReport, KeysRotated, Status};

/// The platform.
#[derive(Debug, Clone)]
pub struct System {
    client: Client,
}

impl System {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// How it is.
    pub async fn status(&self) -> Result<Status> {
        self.client.get("/v1/system/status").value().await
    }

    /// Whether the machine is fit.
    pub async fn check(&self) -> Result<CheckReport> {
        self.client.get("/v1/system/check").value().await
    }

    /// What takes up the disk.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        self.client.get("/v1/system/disk-usage").value().await
    }

    /// Seals all secrets with a new key.
    pub async fn rotate_keys(&self) -> Result<KeysRotated> {
        self.client.post("/v1/system/keys/rotate").value().await
    }

    /// A consistent copy of the store, taken while it works.
    pub async fn backup(&self) -> Result<ByteStream> {
        self.client.post("/v1/system/backup").stream().await.map(|(_, copy)| copy)
    }

    /// Whether it answers at all; needs no token.
    pub async fn healthy(&self) -> Result<()> {
        self.client.get("/healthz").done().await
    }

    /// Whether it takes work.
    pub async fn ready(&self) -> Result<()> {
        self.client.get("/readyz").done().await
    }
}
