//! The API over its real listeners, by its real client, on a real control with a real store; only
//! the node is played.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod agent;
mod console;
mod documents;
mod errors;
mod events;
mod http2;
mod images;
mod instances;
mod leaks;
mod leases;
mod limits;
mod node;
mod nouns;
mod raw;
mod security;
mod sessions;
mod sign_ins;
mod speed;
mod streams;
mod system;
mod tokens;
mod watches;
mod world;
