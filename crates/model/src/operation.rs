//! Operation: long work with progress.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::instance::Reason;
use crate::object::{Kind, Noun, Object};
use crate::time::Time;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationNoun;

/// An operation.
pub type Operation = Object<OperationNoun>;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationSpec {
    /// For people: `pull nginx`.
    pub title: String,
    /// Who asked for it.
    pub by: String,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationStatus {
    /// Where it is in its life.
    pub phase: OperationPhase,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Work done and to do, in units of the operation's own; bytes for a pull.
    pub done: u64,
    /// 0 while not known.
    pub total: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
}

/// Where an operation is in its life: `Running` ends in `Done` or `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperationPhase {
    /// Under way.
    #[default]
    Running,
    /// It succeeded.
    Done,
    /// It failed; `reason` says why. Also what was under way when the platform was killed.
    Failed,
}

impl Noun for OperationNoun {
    const KIND: Kind = Kind::Operation;
    const IN_PROJECT: bool = false;
    type Spec = OperationSpec;
    type Status = OperationStatus;

    fn validate(_: &OperationSpec) -> Result<()> {
        Ok(())
    }
}
