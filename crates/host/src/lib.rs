//! This machine: what it is ([`facts`]), how busy it is ([`usage`]), and whether it is fit for the
//! platform ([`checks`], the work behind `hull check`).
//!
//! Nothing here changes the machine for longer than a check takes. What `/proc` and `/sys` tell is
//! read from there; programs are run only to ask for their version.

pub mod checks;
pub mod facts;
pub mod usage;

pub use checks::{Area, Check, Outcome, Port, Protocol, Report, Settings};
pub use facts::Facts;
pub use usage::{Meter, Usage};
