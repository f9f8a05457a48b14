//! What something waits for, told in one answer.

use serde::{Deserialize, Serialize};

use crate::instance::Reason;
use crate::object::Kind;

/// What all objects of a name wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanations {
    /// One for each.
    pub items: Vec<Explanation>,
}

/// How an object is, and why it is not as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How it is, in a word or a few.
    pub state: String,
    /// It is as it was asked: nothing is waited for.
    pub settled: bool,
    /// What it waits for or what went wrong, each with the smallest change that would help.
    pub reasons: Vec<Reason>,
    /// What the planner answers for each node, where it is about nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeAnswer>,
    /// What it is made of or depends on, as far as that is not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// Whether a node would take an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// It would, or has it.
    pub takes: bool,
    /// Why.
    pub why: String,
}

/// Something that another thing waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}
