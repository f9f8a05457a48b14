//! What the planner answers: scripts with their answers, and what holds of all answers.

mod properties;
mod scripts;
mod world;
