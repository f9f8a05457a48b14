//! What the planner answers: scripts with their answers, and what holds of all answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod properties;
mod quota;
mod scripts;
mod world;
