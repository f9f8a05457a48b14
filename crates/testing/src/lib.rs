//! What tests of the whole house share. The tests themselves are in `tests/`.

pub mod boot;
pub mod cable;
pub mod disk;
pub mod docker;
pub mod inventory;
pub mod land;
pub mod mortal;
pub mod node;
pub mod plugin;
pub mod registry;
pub mod terminal;

use std::path::PathBuf;

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies two levels below the root").to_owned()
}
