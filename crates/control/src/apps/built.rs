//! Images that are built for an app. Their names stay the same, so what a service runs is written down by
//! their ids: one that was built anew is a change, and going back goes back to the one that was.

use std::time::Duration;

use model::app::AppObjects;
use model::image::is_digest;
use model::instance::{ContainerSpec, PullPolicy};
use model::{Error, ErrorKind, Result};

use super::Wish;
use crate::core::{Core, Mode};

/// How long a node may take to show an image.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wished, with the ids of the images that are here. A plan may be made before they are.
pub(super) async fn pinned(core: &Core, wish: &Wish, mode: Mode) -> Result<AppObjects> {
    let mut objects = wish.objects.clone();
    for service in &mut objects.services {
        let Some(built) = wish.built.get(&service.object.key) else { continue };
        let containers = service.spec.template.spec.containers.iter_mut();
        for container in containers.filter(|it| built.contains(&it.name)) {
            pin(core, container, mode)
                .await
                .map_err(|error| error.at(format!("services.{}.build", container.name)))?;
        }
    }
    Ok(objects)
}

async fn pin(core: &Core, container: &mut ContainerSpec, mode: Mode) -> Result<()> {
    if container.pull == PullPolicy::Always {
        return Ok(());
    }
    let asked = core.node_port(&core.node)?;
    let shown = tokio::time::timeout(PATIENCE, asked.image_show(container.image.clone())).await;
    let late =
        |_| Error::unavailable("the node does not say which images it has").next("try again");
    match shown.map_err(late)? {
        Ok(image) if is_digest(&image.id) => container.image_id = image.id,
        Ok(_) => {}
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // It is fetched when the service starts, if it is in a registry.
        Err(_) if container.pull == PullPolicy::Missing || mode == Mode::Plan => {}
        Err(_) => {
            return Err(Error::not_found(format!("image {:?} is not built yet", container.image))
                .next(format!(
                    "hull app up --build, or hull image build -t {} DIR",
                    container.image
                )));
        }
    }
    Ok(())
}
