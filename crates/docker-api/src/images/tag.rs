//! `POST /images/{name}/tag`.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use control::Mode;
use http::StatusCode;

use super::{Name, Named, names};
use crate::Shared;
use crate::failure::{Failure, Reply};
use crate::query::Query;

pub(super) async fn tag(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(Name(name)): Named,
    query: Query,
) -> Reply {
    let Some(new) = names::join(query.text("repo"), query.text("tag"))? else {
        return Err(Failure::bad("invalid reference format"));
    };
    if names::familiar_name(&new) == "sha256" {
        return Err(Failure::bad(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    let image = engine.image(&caller, &name).await?;
    let images = engine.control.images();
    images.tag(&caller, "", &image.id, &new.to_string(), Mode::Apply).await?;
    Ok(StatusCode::CREATED.into_response())
}
