//! containerd's record of a container.

use std::collections::HashMap;

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, GetContainerRequest,
    UpdateContainerRequest,
};
use model::Result;
use prost_types::FieldMask;

use super::status::{Explain, gone};
use super::{Containerd, QUICK, RUNTIME, SNAPSHOTTER, call, wire};
use crate::engine::{ContainerConfig, ContainerId};
use crate::spec::oci;

/// The name of the extension that holds the description a container was made from.
const DESCRIPTION: &str = "io.monohull.container";

/// A record, read.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) config: ContainerConfig,
    pub(super) spec: oci::Spec,
}

impl Record {
    fn read(container: &Container) -> Result<Self> {
        Ok(Self {
            config: wire::from_json(container.extensions.get(DESCRIPTION))?,
            spec: wire::from_json(container.spec.as_ref())?,
        })
    }

    /// The program it runs, for messages.
    pub(super) fn program(&self) -> &str {
        let process = self.spec.process.as_ref();
        process.and_then(|process| process.args.first()).map_or("", String::as_str)
    }
}

impl Containerd {
    /// The record of a container.
    pub(super) async fn record(&self, id: &ContainerId) -> Result<Record> {
        let request = call(GetContainerRequest { id: id.to_string() }, QUICK);
        let answer = self.client().containers().get(request).await;
        let found = gone(answer).explain(|| format!("container {id} cannot be looked up"))?;
        let missing = || model::Error::not_found(format!("the engine has no container {id}"));
        let container =
            found.and_then(|answer| answer.into_inner().container).ok_or_else(missing)?;
        Record::read(&container)
    }

    /// Makes a record; false if there is one already, which stays as it is.
    pub(super) async fn create_record(&self, record: &Record) -> Result<bool> {
        let config = &record.config;
        let description = wire::json(DESCRIPTION, config)?;
        let container = Container {
            id: config.id.to_string(),
            labels: config.labels.clone().into_iter().collect(),
            image: config.image.clone(),
            runtime: Some(Runtime {
                name: RUNTIME.to_owned(),
                options: Some(self.runtime_options()),
            }),
            spec: Some(wire::json(wire::SPEC, &record.spec)?),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: config.id.to_string(),
            extensions: HashMap::from([(DESCRIPTION.to_owned(), description)]),
            ..Container::default()
        };
        let request = call(CreateContainerRequest { container: Some(container) }, QUICK);
        match self.client().containers().create(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(false),
            Err(status) => Err(super::status::error(
                status,
                format!("container {} cannot be recorded", config.id),
            )),
        }
    }

    /// Puts a new specification and description in a record.
    pub(super) async fn update_record(&self, record: &Record) -> Result<()> {
        let id = &record.config.id;
        let description = wire::json(DESCRIPTION, &record.config)?;
        let container = Container {
            id: id.to_string(),
            spec: Some(wire::json(wire::SPEC, &record.spec)?),
            extensions: HashMap::from([(DESCRIPTION.to_owned(), description)]),
            ..Container::default()
        };
        let paths = vec!["spec".to_owned(), format!("extensions.{DESCRIPTION}")];
        let request = UpdateContainerRequest {
            container: Some(container),
            update_mask: Some(FieldMask { paths }),
        };
        let answer = self.client().containers().update(call(request, QUICK)).await;
        answer.explain(|| format!("container {id} cannot be changed")).map(drop)
    }

    /// Removes a record; one that is gone is removed.
    pub(super) async fn delete_record(&self, id: &ContainerId) -> Result<()> {
        let request = call(DeleteContainerRequest { id: id.to_string() }, QUICK);
        gone(self.client().containers().delete(request).await)
            .explain(|| format!("container {id} cannot be removed"))
            .map(drop)
    }

    pub(super) fn runtime_options(&self) -> prost_types::Any {
        wire::runc_options(self.inner.run.join("runc").to_string_lossy().into_owned())
    }
}

/// What the description in a record says, without its specification; `None` for a container that is
/// not ours.
pub(super) fn description(container: &Container) -> Option<ContainerConfig> {
    wire::from_json(container.extensions.get(DESCRIPTION)).ok()
}
