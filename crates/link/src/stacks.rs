//! What instances may read of the apps of their project.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Uid;
use model::meta::Labels;
use serde::{Deserialize, Serialize};

/// A project's apps and the nodes they are on, for instances that ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stacks {
    /// The project's name.
    pub project: String,
    /// Its apps, in order of name.
    pub stacks: Vec<Stack>,
    /// The nodes, in order of name.
    pub hosts: Vec<StackHost>,
    /// The project's networks, in order of name.
    #[serde(default)]
    pub networks: Vec<StackNetwork>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackNetwork {
    /// Its identity.
    pub id: Uid,
    /// Its name.
    pub name: String,
    /// Whether who names no network is on it.
    pub default: bool,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stack {
    /// Its identity.
    pub id: Uid,
    /// Its name.
    pub name: String,
    /// What its files call services, sidekicks included.
    pub services: Vec<StackService>,
}

/// What an app's files call a service: the first one of an instance, or a sidekick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackService {
    /// The identity of the service that makes the instances; sidekicks share it.
    pub id: Uid,
    /// What the files call it.
    pub name: String,
    /// The first one of the instances that it is part of.
    pub primary: String,
    /// The others of those instances, where it is the first one.
    pub sidekicks: Vec<String>,
    /// How many instances it shall have; absent where nodes decide.
    pub scale: Option<u32>,
    /// The address that leads to all that are ready.
    pub address: Option<IpAddr>,
    /// Whether all are ready.
    pub ready: bool,
    /// `port:port/protocol`.
    pub ports: Vec<String>,
    /// Its labels.
    pub labels: Labels,
    /// What its author has written for it to read.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// What it links to, `app/service`, and what it calls that.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Its containers, one in each instance.
    pub containers: Vec<StackContainer>,
}

/// A container of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackContainer {
    /// The instance.
    pub instance: Uid,
    /// A name of its own.
    pub name: String,
    /// Whether it is the first one of its instance, which speaks for it.
    pub first: bool,
    /// Counts the instances of the service from 1; nodes' numbers where there is one on each.
    pub index: u32,
    /// Addresses of the instance, the first network's first.
    pub addresses: Vec<IpAddr>,
    /// The first network.
    #[serde(default)]
    pub network: Option<Uid>,
    /// Its hardware address there.
    pub mac: String,
    /// Labels of the instance.
    pub labels: Labels,
    /// The node's name.
    pub node: String,
    /// Whether it runs.
    pub running: bool,
    /// `healthy`, `unhealthy` or `initializing`; absent where nothing is checked.
    pub health: Option<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackHost {
    /// Its identity.
    pub id: Uid,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Option<String>,
    /// Its labels.
    pub labels: Labels,
}
