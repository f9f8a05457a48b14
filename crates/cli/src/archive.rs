//! Archives on the user's side: files of this machine into a tar stream, and a tar stream into files
//! of this machine.
//!
//! What comes out of an instance was written by somebody who may wish the user ill: [`unpack`]
//! creates nothing outside the directory it is given, whatever names and links the archive has.

pub mod context;
mod ignore;
mod pack;
mod unpack;

pub use pack::{Source, pack};
pub use unpack::{Place, unpack};
