//! `POST /images/{name}/push`.

use std::sync::Arc;

use async_stream::stream;
use axum::Extension;
use axum::extract::State;
use control::Caller;
use futures::StreamExt;
use http::HeaderMap;
use link::image::{Login, Progress};
use model::Error;
use model::error::Code;
use model::image::Reference;
use serde_json::{Value, json};

use super::names::Platform;
use super::progress::{self, Layers};
use super::{Name, Named, auth, names, save};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::{Engine, Shared};

pub(super) async fn push(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(Name(name)): Named,
    query: Query,
    headers: HeaderMap,
) -> Reply {
    let tag = query.text("tag");
    let target = match tag {
        "" => names::parse(&name)?,
        tag => match names::join(&name, tag)? {
            Some(target) => target,
            None => return Err(Failure::bad("invalid reference format")),
        },
    };
    if let Some(platform) = Platform::read(query.text("platform"))? {
        let image = engine.image(&caller, &target.to_string()).await?;
        platform.check(&target.to_string(), &image)?;
    }
    let login = auth::of(&headers, &target.registry);
    let whole = tag.is_empty() && names::is_bare(&name);
    let push = Push { engine, caller, login, target, whole };
    Ok(progress::respond(push.lines()))
}

struct Push {
    engine: Arc<Engine>,
    caller: Caller,
    login: Option<Login>,
    target: Reference,
    /// All tags of the repository.
    whole: bool,
}

impl Push {
    /// Errors come as lines: by then the client has read the first.
    fn lines(self) -> impl futures::Stream<Item = Value> + Send + 'static {
        stream! {
            let repository = self.target.name();
            yield progress::status(format!("The push refers to repository [{repository}]"));
            let tags = match self.tags().await {
                Ok(tags) => tags,
                Err(message) => {
                    yield progress::failure(&message);
                    return;
                }
            };
            for tag in tags {
                let mut lines = std::pin::pin!(self.one(tag));
                while let Some((line, failed)) = lines.next().await {
                    yield line;
                    if failed {
                        return;
                    }
                }
            }
        }
    }

    async fn tags(&self) -> Result<Vec<Reference>, String> {
        let target = &self.target;
        if target.digest.is_some() {
            return Err("cannot push a digest reference".to_owned());
        }
        let tags = save::tags(&self.engine, &self.caller, target).await;
        let tags = tags.map_err(|failure| failure.message)?;
        if !self.whole && !tags.is_empty() {
            return match tags.contains(&target.to_string()) {
                true => Ok(vec![target.clone()]),
                false => Err(format!("tag does not exist: {}", target.familiar())),
            };
        }
        if tags.is_empty() {
            let name = names::familiar_name(target);
            return Err(format!("An image does not exist locally with the tag: {name}"));
        }
        Ok(tags.iter().filter_map(|tag| Reference::parse(tag).ok()).collect())
    }

    /// Pushes one tag; a line that ends all is marked.
    fn one(&self, target: Reference) -> impl futures::Stream<Item = (Value, bool)> + Send + '_ {
        stream! {
            let name = target.to_string();
            let images = self.engine.control.images();
            let image = images.get(&self.caller, "", &name).await;
            let id = image.map(|image| image.id).unwrap_or_default();
            let mut steps = match images.push(&self.caller, "", &name, self.login.clone()).await {
                Ok(steps) => steps,
                Err(error) => {
                    yield (progress::failure(&self.refusal(&error)), true);
                    return;
                }
            };
            let (mut layers, mut tag) = (Layers::default(), target.tag.unwrap_or_default());
            while let Some(step) = steps.next().await {
                match step {
                    Ok(Progress::Layer { digest, phase, done, total }) if digest != id => {
                        for line in layers.pushed(&digest, phase, done, total) {
                            yield (line, false);
                        }
                    }
                    Ok(Progress::Pushed { digest, size }) => {
                        let told = format!("{tag}: digest: {digest} size: {size}");
                        yield (progress::status(told), false);
                        let aux = json!({
                            "Tag": std::mem::take(&mut tag), "Digest": digest, "Size": size,
                        });
                        yield (json!({ "progressDetail": {}, "aux": aux }), false);
                    }
                    // The configuration is no layer.
                    Ok(Progress::Layer { .. } | Progress::Message { .. } | Progress::Done { .. }) => {}
                    Err(error) => yield (progress::failure(&self.refusal(&error)), true),
                }
            }
        }
    }

    /// In Engine's words where clients look for them.
    fn refusal(&self, error: &Error) -> String {
        match (error.code(), &self.login) {
            (Some(Code::LoginWanted), Some(_)) => {
                "unauthorized: authentication required".to_owned()
            }
            (Some(Code::LoginWanted), None) => "no basic auth credentials".to_owned(),
            (Some(Code::AccessDenied), _) => {
                "denied: requested access to the resource is denied".to_owned()
            }
            (Some(_) | None, _) => error.chain(),
        }
    }
}
