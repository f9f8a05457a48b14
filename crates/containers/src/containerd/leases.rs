//! Leases: what is made under one is kept from the garbage collector until it ends.

use std::collections::HashMap;
use std::time::Duration;

use containerd_client::services::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, ListRequest, Resource,
};
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
        self.begin_lease(format!("hull-{:016x}", mounts::fastrand()), longest).await
    }

    /// The lease for a piece of work of this name. One that a killed process left is taken up, so
    /// that the work goes on with what it kept and lets go of it at its end; but not shortly before
    /// it ends by itself.
    pub async fn lease_of(&self, work: &str, longest: Duration) -> Result<Lease> {
        use sha2::Digest;
        let id = format!("hull-{}", &hex::encode(sha2::Sha256::digest(work))[..16]);
        match self.end_of_lease(&id).await? {
            None => self.begin_lease(id, longest).await,
            Some(end) if end.since(Time::now()) > longest / 2 => Ok(Lease { id }),
            Some(_) => self.lease(longest).await,
        }
    }

    async fn end_of_lease(&self, id: &str) -> Result<Option<Time>> {
        let request = call(ListRequest { filters: vec![format!("id=={id}")] }, QUICK);
        let answer = self.client().leases().list(request).await;
        let leases = answer.explain(|| "leases of containerd cannot be listed".to_owned())?;
        let found = leases.into_inner().leases.into_iter().find(|lease| lease.id == id);
        Ok(found.and_then(|lease| lease.labels.get(EXPIRE_LABEL)?.parse().ok()))
    }

    async fn begin_lease(&self, id: String, longest: Duration) -> Result<Lease> {
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

    /// Keeps, under a lease, a blob that is there or is about to come.
    pub async fn hold_blob(&self, lease: &Lease, digest: &str) -> Result<()> {
        let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
        let request = AddResourceRequest { id: lease.id.clone(), resource: Some(resource) };
        let answer = self.client().leases().add_resource(call(request, QUICK)).await;
        answer.explain(|| format!("blob {digest} cannot be held")).map(drop)
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
