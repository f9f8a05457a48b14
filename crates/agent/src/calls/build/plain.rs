//! Builds for clients that speak no builder's language: by BuildKit where it is here, else by buildah.

use build::kit::Lines;
use futures::StreamExt;
use link::build::{BuildRequest, BuildSecrets, BuildStep};
use link::{ByteStream, ResultStream};
use model::{Error, Result};

use super::{Calls, asked, builder, kit, refuse_platform};

/// Builds; what is told of it is text.
pub(super) async fn build(
    calls: &Calls,
    request: BuildRequest,
    secrets: BuildSecrets,
    archive: ByteStream,
) -> Result<ResultStream<BuildStep>> {
    let request = BuildRequest { plain: false, session: None, ..request };
    // Each builder says it otherwise, or not at all: BuildKit takes what it has for another platform's.
    refuse_platform(&request.platform)?;
    if !request.remote.is_empty() {
        build::Context::remote(&request.remote)?;
    }
    if !by_kit(calls).await? {
        if request.contained {
            return Err(Error::forbidden(
                "only BuildKit builds for who is no admin, and it is not here",
            )
            .next("ask an admin to build, or to have BuildKit on the node: [build] in hull.toml"));
        }
        return super::by_buildah(calls, request, Some(secrets), archive).await;
    }
    let request = BuildRequest { session: Some(String::new()), ..request };
    let steps = asked::build(calls, request, secrets, archive).await?;
    let mut lines = Lines::default();
    let told = move |step| match step {
        Ok(BuildStep::Trace { message }) => Ok(BuildStep::Text { text: lines.read(&message) }),
        other => other,
    };
    Ok(steps.map(told).boxed())
}

/// Whether BuildKit is here and starts. Where it does not, buildah may.
async fn by_kit(calls: &Calls) -> Result<bool> {
    if !kit::is_here(&calls.context).await? {
        return Ok(false);
    }
    match calls.kit.user(&calls.context).await {
        Ok(_) => Ok(true),
        Err(error) if builder(calls).is_err() => Err(error),
        Err(error) => {
            tracing::warn!(error = error.chain(), "BuildKit is passed over");
            Ok(false)
        }
    }
}
