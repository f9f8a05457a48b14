//! The nouns of the platform: what was asked (*spec*), what was seen (*status*), and the rules that
//! tell good input from bad.
//!
//! Nothing here does I/O, reads a clock or waits, so every other room can use it. Start at
//! [`object`] for the frame all nouns share, then [`instance`], the noun most of the house is about.

pub mod address;
pub mod app;
pub mod capability;
pub mod catalog;
pub mod config;
pub mod data;
pub mod error;
pub mod event;
pub mod explain;
pub mod id;
pub mod image;
pub mod instance;
pub mod meta;
pub mod name;
pub mod network;
pub mod node;
pub mod object;
pub mod operation;
pub mod project;
pub mod quantity;
pub mod role;
pub mod secret;
pub mod selector;
pub mod service;
pub mod signal;
pub mod template;
pub mod time;
pub mod token;
pub mod user;
pub mod volume;

pub use error::{Error, ErrorKind, Result};
pub use id::Uid;
pub use meta::Meta;
pub use object::{Kind, Noun, Object};
pub use quantity::{Bytes, Cpus, Span};
pub use signal::Signal;
pub use time::Time;
