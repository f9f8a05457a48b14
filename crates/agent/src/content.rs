//! Pending.
pub struct ContainerdContent;
