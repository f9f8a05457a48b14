//! The whole of control over a real store, with an agent that plays a node.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod support;

mod apps;
mod change;
mod crash;
mod events;
mod instances;
mod lists;
mod networks;
mod nodes;
mod operations;
mod quotas;
mod scale;
mod secrets;
mod services;
mod tokens;
mod users;
mod volumes;
mod waiting;
