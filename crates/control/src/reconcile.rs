//! The loops that bring about what was asked. Each pass reads all it needs from the mirror, can be
//! repeated, does not retry inside, and reports what it did.
//!
//! | loop | does |
//! |---|---|
//! | `catalogs` | has the sources of catalogs read |
//! | `placement` | gives instances and volumes their nodes, addresses and ports, or says why not |
//! | `desired` | tells each node its whole desired set |
//! | `removal` | takes away what has come to its end or was asked to go |
//! | `liveness` | says which nodes answer |
//! | `apps` | makes, changes and removes the objects of apps |
//! | `services` | makes and removes instances of services |
//! | `usage` | writes who uses which volume, secret and config, and what is used of quotas |
//! | `operations` | writes how far long work is, and forgets what is long done |
//! | `events` | writes events down, a little later than they happen |
//! | `retention` | forgets tokens that expired long ago |

pub(crate) mod apps;
pub(crate) mod catalogs;
pub(crate) mod desired;
pub(crate) mod events;
pub(crate) mod liveness;
pub(crate) mod operations;
pub(crate) mod placement;
pub(crate) mod removal;
pub(crate) mod retention;
pub(crate) mod services;
mod stacks;
pub(crate) mod usage;

use std::sync::Arc;
use std::time::Duration;

use model::Kind;
use tasks::{Tasks, Timing, Wake};

use crate::core::Core;

/// The finalizer of objects that a node has: it is taken off when the node reports them removed.
pub(crate) const AGENT: &str = "agent";

/// What is looked at again though nothing seems to have changed.
const SLOW: Duration = Duration::from_secs(300);

/// What asks the loops for a pass.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    pub(crate) apps: Wake,
    pub(crate) catalogs: Wake,
    pub(crate) liveness: Wake,
    pub(crate) operations: Wake,
    pub(crate) services: Wake,
}

/// Starts all loops.
pub(crate) fn start(core: &Arc<Core>, tasks: &Tasks, node_grace: Duration) {
    let on_change = |kinds: &[Kind]| {
        let wake = Wake::new();
        core.mirror.on_change(kinds, wake.clone());
        wake
    };
    let slow = Timing::every(SLOW);
    let placed = [Kind::Instance, Kind::Network, Kind::Node, Kind::Snapshot, Kind::Volume];
    let placed = [&placed[..], &[Kind::Project]].concat();
    tasks.spawn(placement::Placement::new(core.clone()), slow, on_change(&placed));
    let removed = [Kind::Instance, Kind::Network, Kind::Snapshot, Kind::Volume];
    tasks.spawn(removal::Removal(core.clone()), slow, on_change(&removed));
    let told = [&removed[..], &[Kind::App, Kind::Config, Kind::Secret, Kind::Service]].concat();
    tasks.spawn(desired::Desires(core.clone()), slow, on_change(&told));
    let kept = [Kind::Service, Kind::Instance, Kind::Node];
    // What instances are refused for want of.
    let kept = [&kept[..], &[Kind::Network, Kind::Volume, Kind::Secret, Kind::Config]].concat();
    core.mirror.on_change(&kept, core.wakes.services.clone());
    let services = services::Services::new(core.clone());
    let soon = slow.linger(Duration::from_millis(50));
    tasks.spawn(services, soon, core.wakes.services.clone());
    let parts = [Kind::App, Kind::Service, Kind::Network, Kind::Volume, Kind::Secret, Kind::Config];
    core.mirror.on_change(&parts, core.wakes.apps.clone());
    core.mirror.on_change(&[Kind::Instance, Kind::Snapshot], core.wakes.apps.clone());
    tasks.spawn(apps::Apps::new(core.clone()), soon, core.wakes.apps.clone());
    core.mirror.on_change(&[Kind::Catalog], core.wakes.catalogs.clone());
    let minutely = Timing::every(Duration::from_secs(60));
    let catalogs = catalogs::Catalogs::new(core.clone());
    tasks.spawn(catalogs, minutely, core.wakes.catalogs.clone());
    let lazy = slow.linger(Duration::from_millis(200));
    let used = [Kind::Config, Kind::Instance, Kind::Project, Kind::Secret, Kind::Service];
    let usage = on_change(&[&used[..], &[Kind::Volume]].concat());
    tasks.spawn(usage::Usage(core.clone()), lazy, usage);
    let liveness = liveness::Liveness::new(core.clone(), node_grace);
    core.mirror.on_change(&[Kind::Node], core.wakes.liveness.clone());
    tasks.spawn(liveness, Timing::every(node_grace), core.wakes.liveness.clone());
    let second = slow.linger(Duration::from_secs(1));
    tasks.spawn(operations::Operations(core.clone()), second, core.wakes.operations.clone());
    tasks.spawn(events::Events(core.clone()), second, core.events.dirty.clone());
    let hourly = Timing::every(Duration::from_secs(3600));
    tasks.spawn(retention::Retention(core.clone()), hourly, Wake::new());
}
