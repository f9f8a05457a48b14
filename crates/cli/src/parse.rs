//! Words of the command line and what they mean, one file for each sort. They are Docker's, so that
//! what fingers know works.

pub mod env;
pub mod handed;
pub mod health;
pub mod limit;
pub mod machine;
pub mod mount;
pub mod network;
pub mod port;
pub mod quota;
pub mod security;
pub mod text;
