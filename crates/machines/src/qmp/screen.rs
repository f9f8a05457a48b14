//! What the graphical console shows.

use std::path::Path;

use model::Result;
use serde_json::json;

use super::Qmp;

impl Qmp {
    /// Lets QEMU write what the screen shows to a file it can reach, as a PPM picture (`P6`), which
    /// every QEMU can.
    ///
    /// # Errors
    ///
    /// `Conflict` when the machine has no screen, or the file cannot be written.
    pub async fn screendump(&self, file: &Path) -> Result<()> {
        self.command("screendump", json!({"filename": file.to_string_lossy()})).await
    }
}
