//! A machine's screen, asked of its node.

use bytes::Bytes;
use link::Display;
use model::{Result, Uid};

use super::Instances;
use crate::caller::{Caller, Verb};

impl Instances {
    /// Connects to a machine's graphical console. Tells which instance it is, whose name may be
    /// another's tomorrow.
    ///
    /// # Errors
    /// See [`logs`](Self::logs); `Invalid` for a container, `Conflict` for a machine that does not run
    /// or has no screen.
    pub async fn display(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
    ) -> Result<(Uid, Display)> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, "").await?;
        let instance = target.instance.clone();
        Ok((instance, node.display(target).await?))
    }

    /// What a machine's screen shows, as a PNG picture.
    ///
    /// # Errors
    /// See [`display`](Self::display).
    pub async fn screenshot(&self, caller: &Caller, project: &str, name: &str) -> Result<Bytes> {
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, "").await?;
        node.screenshot(target).await
    }
}
