//! The reconciler loop: something that looks at the world and brings it nearer to what was asked.
//!
//! A [`Pass`] takes no input, reads all it needs, can be repeated without harm and does not retry
//! inside. [`Tasks`] runs each one when it is woken and on a slow timer, keeps what it reported,
//! and stops them all together.
//!
//! Deliberately absent: what passes do, and any order between them.

mod clock;
mod report;
mod run;
mod wake;

pub use clock::Clock;
pub use report::{Outcome, Report};
pub use run::{Pass, Tasks, Timing};
pub use wake::Wake;
