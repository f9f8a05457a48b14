//! Images of this node.

pub(crate) mod config;
