//! An instance in Engine's words.

pub(super) mod config;
pub(super) mod mounts;
pub(crate) mod networks;
pub(super) mod state;
