//! Control: decides and records.
//!
//! [`Control`] is opened over a store. Each noun has its verbs: [`Control::instances`],
//! [`Control::networks`] and so on give a [`Service`] with get, list, watch, create, update, rename
//! and delete, and the noun's own verbs beside them. Every verb takes the [`Caller`] first, passes
//! [`authorise`], checks everything, makes one commit and wakes whoever reconciles.
//!
//! Where to start: [`service`] for what nouns share, `core` for how a change is made (worked out
//! from the mirror, committed with expectations, worked out again when others were faster), and
//! `reconcile` for the loops that bring about what was asked.
//!
//! Deliberately absent: anything that touches the host. Nodes are told their whole desired set and
//! answer with reports ([`link::ControlPort`]); what cannot be said by a record is asked of them
//! through [`link::NodePort`].

mod apps;
mod batch;
mod caller;
mod catalogs;
mod configs;
mod control;
mod core;
mod event_log;
mod events;
mod explain;
mod failure;
mod handed;
mod images;
mod instances;
mod keyring;
mod keys;
mod mirror;
mod networks;
mod nodes;
mod operations;
mod projects;
mod quotas;
mod reconcile;
mod report;
mod secrets;
pub mod service;
mod services;
mod snapshots;
mod subnets;
mod tokens;
mod users;
mod volumes;

pub use apps::{Apps, Deployed, Wish};
pub use caller::{Caller, Verb, Via, authorise};
pub use catalogs::{Catalogs, Librarian, TakenIn};
pub use configs::Configs;
pub use control::{Config, Control, KeepSecret};
pub use core::{Mode, Random};
pub use events::{EventFilter, Events};
pub use images::Images;
pub use instances::{
    CloneOptions, Condition, Exit, Goal, Instances, RemoveOptions, StopOptions, Verbed,
};
pub use keyring::Keyring;
pub use networks::Networks;
pub use nodes::Nodes;
pub use operations::{Ongoing, Operations};
pub use projects::Projects;
pub use secrets::{Rotated, Secrets};
pub use service::{Change, ChangeKind, Editable, List, ListJson, ListOptions, New, Service};
pub use services::Services;
pub use snapshots::Snapshots;
pub use tasks::Clock;
pub use tokens::{Issued, Proof, Tokens};
pub use users::{Credentials, Users};
pub use volumes::{Pruned, Volumes};
