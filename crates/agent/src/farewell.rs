//! The machine goes down: instances end as they wish to, before it ends them.
//!
//! Nothing is recorded. What the next boot finds is what a power cut leaves, only that programs had the
//! time to put their data in order; what should run is started again on the same path.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::agent::Agent;
use crate::context::Context;
use crate::observe::engine_id;
use crate::steps::end_as_wished;
use crate::worker::Handle;

impl Agent {
    /// Ends what runs, each container with its own signal and in the time that it is given, all
    /// instances at the same time, and all within `deadline`. Only after [`Agent::shutdown`]: who
    /// still acts would start them again.
    pub async fn end_instances(&self, deadline: Duration) {
        let context = self.context();
        let ending = context.roster.all().into_iter().map(|(uid, handle)| async move {
            end(context, &uid, &handle).await;
        });
        if tokio::time::timeout(deadline, join_all(ending)).await.is_err() {
            tracing::warn!(?deadline, "instances take longer to end than the machine waits");
        }
    }
}

/// The last container first, as with every stop.
async fn end(context: &Context, uid: &model::Uid, handle: &Arc<Handle>) {
    let (wanted, local) = (handle.wanted.borrow().clone(), handle.known.borrow().clone());
    for container in wanted.spec.all_containers().collect::<Vec<_>>().into_iter().rev() {
        let Some(id) = engine_id(uid, &wanted.spec, &container.name) else { continue };
        let engine = context.engine.as_ref();
        if let Err(error) = end_as_wished(engine, &id, &local, &wanted, container).await {
            tracing::warn!(
                instance = %wanted.meta.name, error = error.chain(), "cannot end before the machine"
            );
        }
    }
}
