//! Images against registries real and misbehaving, and against archives sound and hostile.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "only tests use it")]

mod archives;
mod auth;
mod faults;
mod flights;
mod hostile;
mod kill;
mod local;
mod mock;
mod pulls;
mod real;
mod sample;
mod store;
mod tls;
