//! What an image's name stands for when an instance is made, is what the instance runs.
//!
//! Somebody may pull or build another image of the name before the instance is first started; its
//! command, ports and environment were read from the first.

use std::time::Duration;

use model::image::is_digest;
use model::instance::{InstanceSpec, PullPolicy};

use crate::core::Core;

/// How long a node may take to show an image.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the ids of the images that are here. One that is not is pulled when the instance is started,
/// and one that is to be pulled at each start is to be another.
pub(super) async fn pin(core: &Core, spec: &mut InstanceSpec) {
    let open = |image: &str, pull| image.is_empty() && pull != PullPolicy::Always;
    let containers = spec.init.iter_mut().chain(&mut spec.containers);
    for container in containers.filter(|it| open(&it.image_id, it.pull)) {
        let Some(node) = only_node(core) else { return };
        let asked = node.image_show(container.image.clone());
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(image)) if is_digest(&image.id) => container.image_id = image.id,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let (image, cause) = (&container.image, error.chain());
                tracing::debug!(image, cause, "an instance is made before its image is here");
            }
            Err(_) => tracing::warn!(image = container.image, "a node does not show its image"),
        }
    }
}

/// The node that the instance will come to, where there is no choice: another's images are others.
fn only_node(core: &Core) -> Option<std::sync::Arc<dyn link::NodePort>> {
    let single = core.read(|state| state.nodes.iter().count() == 1);
    single.then(|| core.node_port(&core.node).ok()).flatten()
}
