//! Leases: what is made under one is kept from the garbage collector until it ends.

use std::collections::HashMap;
use std::time::Duration;

use containerd_client::services::v1::{AddResourceRequest, CreateRequest, DeleteRequest, Resource};
use model::{Result, Time};
use tonic::{Request, Status};

use super::status::{Explain, gone};
use super::{Containerd, QUICK, SLOW, SNAPSHOTTER, call, mounts};

/// When the garbage collector ends a lease by itself.
const EXPIRE_LABEL: &str = "containerd.io/gc.expire";

/// Keeps what is made under it. It ends when it is released, or by itself in time if its holder
/// died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    id: String,
}

impl Lease {
    /// The request under this lease.
    pub(super) fn over<T>(
        lease: Option<&Lease>,
        mut request: Request<T>,
    ) -> Result<Request<T>, Status> {
        if let Some(lease) = lease {
            let id = lease.id.parse().map_err(|_| Status::internal("a lease of an odd name"))?;
            request.metadata_mut().insert("containerd-lease", id);
        }
        Ok(request)
    }
}

impl Containerd {
    /// Begins a lease that lasts `longest` unless it is released.
    pub async fn lease(&self, longest: Duration) -> Result<Lease> {
        let id = format!("hull-{:016x}", mounts::fastrand());
        let seconds = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX);
        let end = Time::from_unix(Time::now().0.as_second().saturating_add(seconds), 0);
        let labels = HashMap::from([(EXPIRE_LABEL.to_owned(), end.to_string())]);
        let request = call(CreateRequest { id: id.clone(), labels }, QUICK);
        let answer = self.client().leases().create(request).await;
        answer.explain(|| "a lease cannot be had from containerd".to_owned())?;
        Ok(Lease { id })
    }

    /// Keeps, under a lease, a snapshot that others made.
    pub(super) async fn hold_snapshot(&self, lease: &Lease, name: &str) -> Result<()> {
        let kind = format!("snapshots/{SNAPSHOTTER}");
        let resource = Resource { id: name.to_owned(), r#type: kind };
        let request = AddResourceRequest { id: lease.id.clone(), resource: Some(resource) };
        let answer = self.client().leases().add_resource(call(request, QUICK)).await;
        answer.explain(|| format!("layer {name} cannot be held")).map(drop)
    }

    /// Ends a lease: what nothing refers to may go.
    pub async fn release(&self, lease: &Lease) -> Result<()> {
        let request = call(DeleteRequest { id: lease.id.clone(), sync: false }, QUICK);
        gone(self.client().leases().delete(request).await)
            .explain(|| "a lease of containerd cannot be ended".to_owned())
            .map(drop)
    }

    /// Lets the garbage collector go through now, and waits for it.
    pub async fn collect(&self) -> Result<()> {
        let failed = || "containerd's garbage cannot be collected".to_owned();
        let lease = self.lease(Duration::from_secs(60)).await?;
        let request = call(DeleteRequest { id: lease.id, sync: true }, SLOW);
        gone(self.client().leases().delete(request).await).explain(failed).map(drop)
    }

    /// Ends a lease without waiting. Should it fail, the lease ends by itself later.
    pub(super) fn release_soon(&self, lease: Lease) {
        let engine = self.clone();
        tokio::spawn(async move {
            let _ = engine.release(&lease).await;
        });
    }
}
