//! The planner: computes where things go, and says why.
//!
//! A [`Ledger`] is made of the world as it is known: who holds which port, address and memory.
//! [`Ledger::place`] answers where an instance goes, with everything that is assigned to it, or why
//! every node refuses it; [`Ledger::take`] enters the answer, so that the next question sees it.
//! [`rollout`] says what a service needs next, and [`app`] what an app does. [`subnets`] chooses subnets for networks, [`volumes`]
//! nodes for volumes that no instance uses. [`quota`] says what of a project's quota is used.
//!
//! Deliberately absent: I/O, clocks, randomness and waiting. The same world gives the same answer.

mod addresses;
pub mod app;
mod hold;
mod ledger;
mod place;
mod ports;
pub mod quota;
mod reach;
mod refusal;
pub mod rollout;
pub mod subnets;
pub mod volumes;

pub use addresses::{Cursors, mac};
pub use hold::{has_ended, holds, is_over};
pub use ledger::{Ledger, World};
pub use place::Decision;
pub use ports::ports_are_given;
pub use refusal::{Cause, NodeRefusal, Refusal};
