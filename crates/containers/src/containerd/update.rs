//! Changes the limits of a container.

use containerd_client::services::v1::UpdateTaskRequest;
use model::Result;
use model::instance::Resources;

use super::status::Explain;
use super::{Containerd, SLOW, call, wire};
use crate::engine::ContainerId;
use crate::spec::{self, oci};

impl Containerd {
    /// At once if it runs, then in its record for later runs.
    pub(super) async fn update_resources(
        &self,
        id: &ContainerId,
        resources: &Resources,
    ) -> Result<Vec<String>> {
        let mut record = self.record(id).await?;
        merge(&mut record.config.spec.resources, resources);
        let mut warnings = Vec::new();
        let mut limits =
            spec::resources(&record.config.spec.resources, &self.inner.host, &mut warnings)?;
        if self.task(id).await?.is_some() {
            self.update_task(id, &limits).await?;
        }
        if let Some(linux) = &mut record.spec.linux {
            let devices = linux.resources.take().map(|old| old.devices);
            limits.devices = devices.unwrap_or_default();
            linux.resources = Some(limits);
        }
        self.update_record(&record).await?;
        Ok(warnings)
    }

    async fn update_task(&self, id: &ContainerId, limits: &oci::Resources) -> Result<()> {
        let request = UpdateTaskRequest {
            container_id: id.to_string(),
            resources: Some(wire::json(wire::RESOURCES, limits)?),
            ..UpdateTaskRequest::default()
        };
        let answer = self.client().tasks().update(call(request, SLOW)).await;
        answer.explain(|| format!("the limits of container {id} cannot be changed")).map(drop)
    }
}

/// Puts what is given over what there is. Ways to say the same thing take each other's place.
fn merge(old: &mut Resources, new: &Resources) {
    let Resources {
        cpus,
        cpu_shares,
        cpu_period,
        cpu_quota,
        cpuset_cpus,
        cpuset_mems,
        memory,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        pids,
        blkio_weight,
        blkio_throttle,
        oom_kill_disable,
    } = new.clone();
    if cpus.is_some() {
        (old.cpu_period, old.cpu_quota) = (None, None);
    }
    if cpu_period.is_some() || cpu_quota.is_some() {
        old.cpus = None;
    }
    let grown = memory.zip(old.memory_swap).filter(|(memory, swap)| {
        memory_swap.is_none() && *swap > 0 && u64::try_from(*swap).unwrap_or(0) < memory.0
    });
    if grown.is_some() {
        // The old bound on both cannot stand; what follows from the new memory takes its place.
        old.memory_swap = None;
    }
    old.cpus = cpus.or(old.cpus);
    old.cpu_shares = cpu_shares.or(old.cpu_shares);
    old.cpu_period = cpu_period.or(old.cpu_period);
    old.cpu_quota = cpu_quota.or(old.cpu_quota);
    old.memory = memory.or(old.memory);
    old.memory_reservation = memory_reservation.or(old.memory_reservation);
    old.memory_swap = memory_swap.or(old.memory_swap);
    old.memory_swappiness = memory_swappiness.or(old.memory_swappiness);
    old.pids = pids.or(old.pids);
    old.blkio_weight = blkio_weight.or(old.blkio_weight);
    old.oom_kill_disable |= oom_kill_disable;
    for (place, given) in [(&mut old.cpuset_cpus, cpuset_cpus), (&mut old.cpuset_mems, cpuset_mems)]
    {
        if !given.is_empty() {
            *place = given;
        }
    }
    if !blkio_throttle.is_empty() {
        old.blkio_throttle = blkio_throttle;
    }
}
