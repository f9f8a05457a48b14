//! Where the files of catalogs come from.

pub mod archive;
pub mod builtin;
pub mod directory;
pub mod git;
