//! The agent: it makes a node have what it should have, and says what it sees.
//!
//! What should be comes from control as a whole ([`link::Desired`]) and is kept on the node's disk
//! ([`memory`]); what is done about an instance next is one pure function ([`decide`]); the steps of
//! doing it stand in one list ([`steps`]). Each instance has a task of its own ([`worker`]); volumes,
//! names, leftovers and the node itself have passes ([`reconcile`]). What cannot be said by a record
//! (logs, terminals, archives) is asked of the agent directly ([`calls`]).
//!
//! Deliberately absent: the store. The agent never reads or writes it, and works on when control is
//! away.

mod agent;
mod build_network;
mod calls;
mod content;
mod context;
pub mod decide;
mod ends;
mod fabric;
mod farewell;
mod guests;
mod health;
mod image_store;
mod local;
mod memory;
mod metadata;
pub mod observe;
mod outbox;
mod places;
mod reconcile;
mod steps;
mod worker;

pub use agent::{Agent, BuildKit, Config, Drivers};
pub use content::ContainerdContent;
pub use places::Places;
