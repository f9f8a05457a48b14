//! Compose files in the words of [`model`], and why not.
//!
//! [`read`] takes files and says what they [want](Wanted): services, networks, volumes, secrets, configs,
//! and what of the files is left out of account. What cannot be honoured is [refused](Refusal) with file,
//! line and column, everything at once. It reads the Compose Specification
//! (<https://github.com/compose-spec/compose-spec>) and the older forms that are found in the wild.
//!
//! Nothing here looks at a clock, a network or a disk: files come through [`Files`]. They are hostile: every
//! size, depth and length is bounded, and no path leaves the root.
//!
//! Start at `read.rs`: `load.rs` makes one tree of many files, `service.rs` reads a service of it,
//! `assemble.rs` puts services together.

mod asked;
mod assemble;
mod env_file;
mod field;
mod files;
mod interpolate;
mod load;
mod merge;
mod old;
mod rancher;
mod read;
mod resource;
pub mod schema;
mod service;
#[cfg(test)]
mod tests;
mod told;
mod wanted;
mod write;
mod yaml;

pub use asked::Asked;
pub use files::Files;
pub use read::read;
pub use told::{Note, Refusal};
pub use wanted::{
    Build, BuildSecret, Named, SecretSource, Wanted, WantedConfig, WantedNetwork, WantedSecret,
    WantedService, WantedVolume,
};
pub use write::{Written, variable, write};
