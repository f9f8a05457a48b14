//! What is asked of a node about the graphical console of a machine.

use async_trait::async_trait;
use bytes::Bytes;
use model::Result;
use tokio::sync::mpsc;

use crate::ByteStream;
use crate::instance::Target;

/// A connection to a machine's graphical console: bytes of the remote framebuffer protocol
/// (RFC 6143), which nobody in between reads. Dropping either end ends it.
pub struct Display {
    /// To the machine. Bounded.
    pub input: mpsc::Sender<Bytes>,
    /// From the machine.
    pub output: ByteStream,
}

/// What is asked of a node about the graphical console of a machine. Each call refuses with `Invalid`
/// an instance that is a container, and with `Conflict` one that does not run or has no screen.
#[async_trait]
pub trait ConsoleCalls: Send + Sync {
    /// Connects to the screen, the keyboard and the mouse.
    async fn display(&self, target: Target) -> Result<Display>;

    /// What the screen shows, as a PNG picture.
    async fn screenshot(&self, target: Target) -> Result<Bytes>;
}
