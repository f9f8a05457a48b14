//! cloud-init's first-boot data.
