//! Catalogs: where templates come from, what formats they are written in, what they ask, and the Compose
//! files that they become.
//!
//! A [`sources`] gives a [`Tree`] of files; [`formats::read`] lists the templates in it;
//! [`answers::settle`] completes and checks the answers to their questions; [`render::render`] makes
//! Compose files of both. Everything in a catalog was written by a stranger: sizes, depths, times and
//! paths are bounded, and a template that is broken is listed with its problem and hides no other.
//!
//! Deliberately absent: what becomes of the files. They are read by `compose` and applied by `control`.

pub mod answers;
pub mod formats;
mod go_template;
mod library;
pub mod render;
pub mod signers;
pub mod sources;
pub mod tree;
mod version;
mod yaml;

pub use answers::Answers;
pub use library::{Content, Library, Rendered};
pub use tree::Tree;
pub use version::within;
