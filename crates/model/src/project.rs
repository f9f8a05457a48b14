//! Project: the tenancy boundary.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::object::{Kind, Noun, Object};
use crate::quantity::{Bytes, Cpus};

/// The project that is there from the first start.
pub const DEFAULT_PROJECT: &str = "default";

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectNoun;

/// A project.
pub type Project = Object<ProjectNoun>;

/// What was asked of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectSpec {
    /// For people.
    pub description: String,
    /// Most that what is in it may have together.
    #[serde(skip_serializing_if = "Quota::is_unbounded")]
    pub quota: Quota,
}

/// Most that the things of a project may have together. What is absent has no bound.
///
/// Instances, processors and memory count for what runs or is to run; volumes and storage for what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Quota {
    /// Instances that run, or are to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Their processors, by the limits of their containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Their memory, by the limits of their containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<u64>,
    /// What volumes may hold, by their sizes, and root disks of machines that were given a size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Bytes>,
}

impl Quota {
    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

/// What the things of a project have together, of what a quota can bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Used {
    /// Instances that run, or are to run.
    pub instances: u64,
    /// Their processors, as far as they have limits.
    pub cpus: Cpus,
    /// Their memory, as far as they have limits.
    pub memory: Bytes,
    /// Volumes.
    pub volumes: u64,
    /// Sizes of volumes and of machines' root disks, as far as they have any.
    pub storage: Bytes,
}

/// One of the things that a quota bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Instances that run, or are to run.
    Instances,
    /// Processors.
    Cpus,
    /// Memory.
    Memory,
    /// Volumes.
    Volumes,
    /// Sizes of disks.
    Storage,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Resource; 5] = [
        Resource::Instances,
        Resource::Cpus,
        Resource::Memory,
        Resource::Volumes,
        Resource::Storage,
    ];

    /// Its word in a quota: `memory`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Instances => "instances",
            Resource::Cpus => "cpus",
            Resource::Memory => "memory",
            Resource::Volumes => "volumes",
            Resource::Storage => "storage",
        }
    }

    /// How much of it a quota allows: a number, thousandths of processors, or bytes.
    #[must_use]
    pub fn bound(self, quota: &Quota) -> Option<u64> {
        match self {
            Resource::Instances => quota.instances,
            Resource::Cpus => quota.cpus.map(Cpus::milli),
            Resource::Memory => quota.memory.map(|bytes| bytes.0),
            Resource::Volumes => quota.volumes,
            Resource::Storage => quota.storage.map(|bytes| bytes.0),
        }
    }

    /// Bounds it in a quota, or no longer.
    pub fn set_bound(self, quota: &mut Quota, bound: Option<u64>) {
        match self {
            Resource::Instances => quota.instances = bound,
            Resource::Cpus => quota.cpus = bound.map(Cpus::from_milli),
            Resource::Memory => quota.memory = bound.map(Bytes),
            Resource::Volumes => quota.volumes = bound,
            Resource::Storage => quota.storage = bound.map(Bytes),
        }
    }

    /// Reads an amount of it as people write it, into what [`Resource::bound`] is in.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn read(self, text: &str) -> Result<u64> {
        match self {
            Resource::Cpus => text.parse().map(Cpus::milli),
            Resource::Memory | Resource::Storage => text.parse::<Bytes>().map(|bytes| bytes.0),
            Resource::Instances | Resource::Volumes => text.parse().map_err(|_| {
                Error::invalid(format!("{text:?} is no number of {}", self.as_str()))
                    .next("write a whole number")
            }),
        }
    }

    /// How much of it is used, in what [`Resource::bound`] is in.
    #[must_use]
    pub fn amount(self, used: &Used) -> u64 {
        match self {
            Resource::Instances => used.instances,
            Resource::Cpus => used.cpus.milli(),
            Resource::Memory => used.memory.0,
            Resource::Volumes => used.volumes,
            Resource::Storage => used.storage.0,
        }
    }

    /// An amount of it for people: `1.5`, `4 GiB`.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        match self {
            Resource::Instances | Resource::Volumes => amount.to_string(),
            Resource::Cpus => Cpus::from_milli(amount).to_string(),
            Resource::Memory | Resource::Storage => Bytes(amount).to_string(),
        }
    }
}

impl FromStr for Resource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Resource::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
            let known = Resource::ALL.map(Resource::as_str).join(", ");
            Error::invalid(format!("there is no quota for {text:?}"))
                .next(format!("one of {known}"))
        })
    }
}

/// What was seen of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectStatus {
    /// What of its quota is used; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

impl Noun for ProjectNoun {
    const KIND: Kind = Kind::Project;
    const IN_PROJECT: bool = false;
    type Spec = ProjectSpec;
    type Status = ProjectStatus;

    fn validate(_: &ProjectSpec) -> Result<()> {
        Ok(())
    }
}
