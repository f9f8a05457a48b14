//! An agent that has done what is desired as soon as it hears of it.

use std::sync::Arc;

use control::Control;
use link::{ControlPort, Desired, Report};
use model::instance::{
    ContainerState, ContainerStatus, Health, Instance, InstanceStatus, Phase, RunState,
};
use model::node::NodeStatus;
use model::volume::{VolumePhase, VolumeStatus};
use model::{Kind, Time};

use crate::world::NODE;

/// Reports until control goes.
pub async fn run(control: Arc<Control>) {
    let ready = NodeStatus {
        ready: true,
        seen: Some(Time::now()),
        cpus: model::Cpus::from_milli(64_000),
        memory: model::Bytes::mib(1 << 20),
        ..NodeStatus::default()
    };
    let first = vec![Report::Node(Box::new(ready))];
    if control.report(NODE, first).await.is_err() {
        return;
    }
    let mut desired = control.desired(NODE);
    loop {
        let now = desired.borrow_and_update().clone();
        let reports = reports(&now);
        if !reports.is_empty() && control.report(NODE, reports).await.is_err() {
            return;
        }
        if desired.changed().await.is_err() {
            return;
        }
    }
}

fn reports(desired: &Desired) -> Vec<Report> {
    let mut reports = Vec::new();
    for instance in &desired.instances {
        let id = instance.meta.id.clone();
        if instance.meta.deleted.is_some() {
            reports.push(Report::Removed(Kind::Instance, id));
            continue;
        }
        let status = status(instance);
        if status != instance.status {
            reports.push(Report::Instance(id, Box::new(status)));
        }
    }
    for volume in &desired.volumes {
        let id = volume.meta.id.clone();
        if volume.meta.deleted.is_some() {
            reports.push(Report::Removed(Kind::Volume, id));
        } else if volume.status.phase != VolumePhase::Ready {
            let status = VolumeStatus {
                phase: VolumePhase::Ready,
                observed_generation: volume.meta.generation,
                ..VolumeStatus::default()
            };
            reports.push(Report::Volume(id, status));
        }
    }
    for network in desired.networks.iter().filter(|network| network.meta.deleted.is_some()) {
        reports.push(Report::Removed(Kind::Network, network.meta.id.clone()));
    }
    for snapshot in desired.snapshots.iter().filter(|snapshot| snapshot.meta.deleted.is_some()) {
        reports.push(Report::Removed(Kind::Snapshot, snapshot.meta.id.clone()));
    }
    reports
}

fn status(instance: &Instance) -> InstanceStatus {
    let (phase, state, exit_code) = match instance.spec.run {
        RunState::Running => (Phase::Running, ContainerState::Running, None),
        RunState::Paused => (Phase::Paused, ContainerState::Paused, None),
        RunState::Stopped => (Phase::Exited, ContainerState::Exited, Some(143)),
    };
    let finished = exit_code.map(|_| Time::from_unix(1_700_000_000, 0));
    let containers = instance.spec.all_containers().map(|container| ContainerStatus {
        name: container.name.clone(),
        state,
        exit_code,
        finished,
        health: Health::Unchecked,
        ..ContainerStatus::default()
    });
    InstanceStatus {
        phase,
        observed_generation: instance.meta.generation,
        runs: instance.spec.runs,
        containers: containers.collect(),
        ..InstanceStatus::default()
    }
}
