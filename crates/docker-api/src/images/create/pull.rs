//! Pulls: lines that tell how far they are. What goes wrong before the first line is a status.

use std::sync::Arc;

use async_stream::stream;
use axum::response::Response;
use control::Caller;
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use link::ResultStream;
use link::image::{LayerPhase, Login, Progress, PullRequest};
use model::error::Code;
use model::image::Reference;
use model::instance::PullPolicy;
use model::{Error, ErrorKind};
use serde_json::Value;

use crate::Engine;
use crate::failure::{Failure, Reply};
use crate::images::progress::{self, Layers};
use crate::images::{auth, names};

/// Pulls one tag or digest, or all tags of a repository that is named without.
pub(super) async fn pull(
    engine: Arc<Engine>,
    caller: Caller,
    image: &str,
    tag: &str,
    platform: String,
    headers: &HeaderMap,
) -> Reply {
    // Clients write a colon and no tag for all tags.
    let name = image.strip_suffix(':').unwrap_or(image);
    let mut reference = names::parse(name)?;
    if names::familiar_name(&reference) == "scratch" {
        return Err(Failure::new(StatusCode::FORBIDDEN, "'scratch' is a reserved name"));
    }
    let whole = tag.is_empty() && names::is_bare(name);
    match tag {
        "" => {}
        digest if digest.starts_with("sha256:") => {
            reference = names::parse(&format!("{}@{digest}", reference.name()))?;
        }
        tag => {
            reference.tag = Some(names::checked_tag(&reference, tag)?);
            reference.digest = None;
        }
    }
    let login = auth::of(headers, &reference.registry);
    let pull = Pull { engine, caller, platform, login };
    match whole {
        true => pull.all(reference).await,
        false => pull.one(reference).await,
    }
}

const NEWER: &str = "Downloaded newer image";
const UP_TO_DATE: &str = "Image is up to date";

struct Pull {
    engine: Arc<Engine>,
    caller: Caller,
    platform: String,
    login: Option<Login>,
}

impl Pull {
    async fn begin(&self, reference: &Reference) -> Reply<ResultStream<Progress>> {
        let request = PullRequest {
            name: reference.to_string(),
            platform: self.platform.clone(),
            policy: PullPolicy::Always,
            login: self.login.clone(),
        };
        let steps = self.engine.control.images().pull(&self.caller, "", request).await;
        steps.map_err(|error| self.refusal(reference, error))
    }

    fn refusal(&self, reference: &Reference, error: Error) -> Failure {
        refusal(reference, self.login.is_some(), error)
    }

    async fn one(self, reference: Reference) -> Reply<Response> {
        let mut steps = self.begin(&reference).await?;
        let first = match steps.next().await {
            // Engine finds out only after its first line that there is nothing for a platform.
            Some(Err(error)) if is_of_the_image(&error) => Err(error),
            Some(Err(error)) => return Err(self.refusal(&reference, error)),
            Some(Ok(step)) => Ok(step),
            None => return Err(Failure::from(Error::internal("a pull ended without a word"))),
        };
        let steps = futures::stream::iter([first]).chain(steps).boxed();
        Ok(progress::respond(tell(reference, steps, self.login.is_some())))
    }

    async fn all(self, repository: Reference) -> Reply<Response> {
        let (images, name) = (self.engine.control.images(), repository.to_string());
        let found = images.tags(&self.caller, "", &name, self.login.clone()).await;
        let tags = found.map_err(|error| self.refusal(&repository, error))?;
        let name = names::familiar_name(&repository);
        Ok(progress::respond(stream! {
            let mut newer = false;
            for tag in tags {
                let reference = Reference { tag: Some(tag), ..repository.clone() };
                match self.begin(&reference).await {
                    Ok(steps) => {
                        let mut lines =
                            std::pin::pin!(tell(reference, steps, self.login.is_some()));
                        while let Some(line) = lines.next().await {
                            // How it went is told once, of all.
                            if let Some(status) = status_of(&line) {
                                newer |= status.starts_with(NEWER);
                                continue;
                            }
                            let failed = line.get("error").is_some();
                            yield line;
                            if failed {
                                return;
                            }
                        }
                    }
                    Err(failure) => {
                        yield progress::failure(&failure.message);
                        return;
                    }
                }
            }
            let word = if newer { NEWER } else { UP_TO_DATE };
            yield progress::status(format!("Status: {word} for {name}"));
        }))
    }
}

/// What the last line of a pull tells, if it is that.
fn status_of(line: &Value) -> Option<&str> {
    line["status"].as_str()?.strip_prefix("Status: ")
}

/// The lines of one pull.
fn tell(
    reference: Reference,
    mut steps: ResultStream<Progress>,
    shown: bool,
) -> impl Stream<Item = Value> + Send + 'static {
    stream! {
        let version = reference.digest.clone().or(reference.tag.clone()).unwrap_or_default();
        let from = format!("Pulling from {}", reference.repository);
        yield progress::status_of(&version, from);
        let mut layers = Layers::default();
        // Of an image that is here already, layers are not spoken of.
        let mut held = Some(Vec::new());
        while let Some(step) = steps.next().await {
            match step {
                Ok(Progress::Layer { digest, phase, done, total }) => {
                    let lines = layers.pulled(&digest, phase, done, total);
                    match &mut held {
                        Some(held) if phase == LayerPhase::Exists => held.extend(lines),
                        Some(_) | None => {
                            for line in held.take().into_iter().flatten().chain(lines) {
                                yield line;
                            }
                        }
                    }
                }
                Ok(Progress::Done { images, unchanged }) => {
                    if !unchanged {
                        for line in held.take().into_iter().flatten() {
                            yield line;
                        }
                    }
                    for line in done(&reference, images.first(), unchanged) {
                        yield line;
                    }
                }
                Ok(Progress::Message { .. } | Progress::Pushed { .. }) => {}
                Err(error) => yield progress::failure(&refusal(&reference, shown, error).message),
            }
        }
    }
}

fn done(reference: &Reference, image: Option<&model::image::Image>, unchanged: bool) -> Vec<Value> {
    let digest = image.map(|image| image.digest.clone()).unwrap_or_default();
    let word = if unchanged { UP_TO_DATE } else { NEWER };
    let name = match &reference.digest {
        Some(digest) => format!("{}@{digest}", names::familiar_name(reference)),
        None => reference.familiar(),
    };
    vec![
        progress::status(format!("Digest: {digest}")),
        progress::status(format!("Status: {word} for {name}")),
    ]
}

/// It was found, and cannot be had here.
fn is_of_the_image(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

/// In Engine's words; `shown` says whether a login was.
pub(in crate::images) fn refusal(reference: &Reference, shown: bool, error: Error) -> Failure {
    let told = error.chain();
    let registry = registry_words(&told, error.code());
    let name = names::familiar_name(reference);
    let not_found = |text: String| Failure::not_found(text);
    match (error.kind(), &registry) {
        (ErrorKind::NotFound, Some((code, words))) if code == "MANIFEST_UNKNOWN" => {
            not_found(format!("manifest for {} not found: {words}", reference.familiar()))
        }
        (ErrorKind::NotFound, Some((code, words))) if code == "NAME_UNKNOWN" => {
            not_found(format!("repository {name} not found: {words}"))
        }
        (ErrorKind::NotFound, Some((code, words))) if code == "DENIED" => denied(&name, words),
        (ErrorKind::NotFound, Some((code, _))) if code == "UNAUTHORIZED" => match shown {
            true => Failure::new(StatusCode::UNAUTHORIZED, "unauthorized: authentication required"),
            false if reference.registry == "docker.io" => {
                denied(&name, "denied: requested access to the resource is denied")
            }
            false => Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "Head \"{}/v2/{}/manifests/{}\": no basic auth credentials",
                    auth::address(&reference.registry),
                    reference.repository,
                    reference.tag.as_deref().unwrap_or("latest")
                ),
            ),
        },
        (ErrorKind::NotFound, None | Some(_)) => {
            let words = "manifest unknown: manifest unknown";
            not_found(format!("manifest for {} not found: {words}", reference.familiar()))
        }
        (ErrorKind::Unauthenticated | ErrorKind::Forbidden, _) => {
            denied(&name, "denied: requested access to the resource is denied")
        }
        (ErrorKind::Unavailable | ErrorKind::Exhausted, _) => {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, told)
        }
        (ErrorKind::Unsupported, _) if error.code() == Some(Code::PlatformMissing) => {
            Failure::not_found(told)
        }
        _ => error.into(),
    }
}

fn denied(name: &str, words: &str) -> Failure {
    Failure::not_found(format!(
        "pull access denied for {name}, repository does not exist or may require 'docker login': \
         {words}"
    ))
}

/// The code that the registry itself answered with, and its words as Engine repeats them:
/// `… answers 404: MANIFEST_UNKNOWN (manifest unknown)`.
fn registry_words(told: &str, fault: Option<Code>) -> Option<(String, String)> {
    let (_, rest) = told.rsplit_once(" answers ")?;
    let (_, rest) = rest.split_once(": ").unwrap_or(("", ""));
    let code: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
    if code.is_empty() {
        let denied = matches!(fault, Some(Code::LoginWanted | Code::AccessDenied));
        return denied.then(|| ("UNAUTHORIZED".to_owned(), String::new()));
    }
    let spoken = code.to_lowercase().replace('_', " ");
    let message = rest[code.len()..].trim();
    let message = message.strip_prefix('(').and_then(|it| it.split_once(')')).map(|(it, _)| it);
    let words = match message {
        Some(message) if code == "DENIED" || !message.is_empty() => format!("{spoken}: {message}"),
        Some(_) | None => format!("{spoken}: {spoken}"),
    };
    Some((code, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_refuse() {
        let reference = Reference::parse("h:5/app:1").unwrap();
        let told = |message: &str, shown| {
            let error = Error::not_found(message);
            let failure = refusal(
                &reference,
                shown,
                match message.contains("401") {
                    true => error.coded(Code::LoginWanted),
                    false => error,
                },
            );
            (failure.status.as_u16(), failure.message)
        };
        assert_eq!(
            told("x; h answers 404: MANIFEST_UNKNOWN (manifest unknown)", false),
            (
                404,
                "manifest for h:5/app:1 not found: manifest unknown: manifest unknown".to_owned()
            )
        );
        assert_eq!(
            told("x; h answers 404: NAME_UNKNOWN (repository name not known to registry)", false).1,
            "repository h:5/app not found: name unknown: repository name not known to registry"
        );
        let (status, message) = told("x; h answers 401: DENIED (requested access)", false);
        assert_eq!(status, 404);
        assert!(message.starts_with("pull access denied for h:5/app, repository does not exist"));
        assert_eq!(told("x; h answers 401", true).0, 401);
        assert!(told("x; h answers 401", false).1.ends_with("no basic auth credentials"));
    }
}
