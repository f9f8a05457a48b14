//! HTTP listeners of front-ends: a local socket whose peer the kernel names, and TLS, with bounds on
//! everything a peer controls.
//!
//! [`Listeners`] opens and serves them; each request carries its [`Peer`] as an extension. Deliberately
//! absent: who may do what, and every route.

mod bounds;
mod connection;
mod held;
mod lingering;
mod listeners;
mod peer;
mod socket;
mod tls;
mod upgraded;

pub use bounds::Bounds;
pub use listeners::{Listeners, Opened, Settings};
pub use peer::{Certificate, Peer};
pub use upgraded::{Connection, Gone, Reader, Writer};
