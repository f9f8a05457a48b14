//! Building images, by the builder that the node has.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_stream::stream;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use client::wire::{BuildQuery, TAR};
use control::Caller;
use futures::StreamExt;
use http::Method;
use link::build::{BuildHanded, BuildReach, BuildRequest, BuildSecret, BuildStep};
use link::image::Progress;
use link::{ByteStream, ResultStream};
use model::data::{Data, MOST_BYTES};
use model::image::Reference;
use model::{Error, Result};
use serde::Deserialize;

use super::{describe, path, streamed};
use crate::admit::By;
use crate::body::Params;
use crate::document::Named;
use crate::refusal::Reply;
use crate::routes::{Pace, Routes};
use crate::{Api, upload};

/// Secrets of one build.
const MOST_SECRETS: usize = 32;

pub(super) fn routes(routes: Routes) -> Routes {
    let building =
        describe("buildImage", "Builds an image from a context with a Dockerfile in it.")
            .query::<BuildQuery>()
            .bytes(TAR)
            .answers_lines("What the builder says, and the image.", Named::of::<Progress>());
    routes.add(Pace::Lasting, Method::POST, &path("build"), build, building)
}

async fn build(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(query): Params<BuildQuery>,
    body: Body,
) -> Reply<Response> {
    let node = query.node.clone();
    let asked = secrets(&query)?;
    let project = query.project.clone();
    let request = read(query)?;
    let title = match request.names.first() {
        Some(name) => format!("build {name}"),
        None => "build an image".to_owned(),
    };
    let mut body = upload::bytes(body);
    let secrets = values(asked, &mut body).await?;
    let handed = BuildHanded { project, secrets };
    let work = work(&api, &caller, &node, request, handed, body);
    streamed(&api, &caller, &title, work).await
}

fn read(query: BuildQuery) -> Result<BuildRequest> {
    let BuildQuery {
        names,
        dockerfile,
        remote,
        target,
        arguments,
        labels,
        platform,
        no_cache,
        pull,
        network,
        extra_hosts,
        shm_size,
        ulimits,
        secrets: _,
        project: _,
        node: _,
    } = query;
    let arguments = pairs(&arguments).map_err(|error| error.at("arguments"))?;
    Ok(BuildRequest {
        names: list(&names).iter().map(|name| full(name)).collect::<Result<_>>()?,
        dockerfile,
        remote,
        target,
        arguments: arguments.into_iter().map(|(name, value)| (name, Some(value))).collect(),
        labels: pairs(&labels).map_err(|error| error.at("labels"))?.into_iter().collect(),
        platform,
        no_cache,
        pull,
        reach: match network.as_str() {
            "" | "default" => BuildReach::World,
            "host" => BuildReach::Host,
            "none" => BuildReach::Nothing,
            other => {
                return Err(Error::invalid(format!("a build cannot be in the network {other:?}"))
                    .at("network")
                    .next("leave it out, or say host or none"));
            }
        },
        extra_hosts: list(&extra_hosts),
        shm_size,
        ulimits: list(&ulimits),
        plain: true,
        ..BuildRequest::default()
    })
}

/// A name in full, which a digest is no part of: it is known when the image is.
fn full(name: &str) -> Result<String> {
    let reference = Reference::parse(name).map_err(|error| error.at("names"))?;
    if reference.digest.is_some() {
        return Err(Error::invalid(format!(
            "{name:?} has a digest, and the image is not there yet"
        ))
        .at("names")
        .next("name it with a tag"));
    }
    Ok(reference.to_string())
}

/// A secret as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Asked {
    /// So many bytes of the body.
    Bytes(usize),
    /// One of the project's.
    Named(String),
}

fn secrets(query: &BuildQuery) -> Result<BTreeMap<String, Asked>> {
    if query.secrets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let asked: BTreeMap<String, Asked> = serde_json::from_str(&query.secrets).map_err(|error| {
        Error::invalid("it is no JSON object of numbers and names")
            .at("secrets")
            .caused_by(error)
            .next("{\"ID\": 12, \"OTHER\": \"NAME\"}")
    })?;
    let large = |asked: &Asked| matches!(asked, Asked::Bytes(count) if *count > MOST_BYTES);
    if asked.len() > MOST_SECRETS || asked.values().any(large) {
        return Err(Error::invalid(format!(
            "a build is handed {MOST_SECRETS} secrets of {MOST_BYTES} bytes at most"
        ))
        .at("secrets"));
    }
    Ok(asked)
}

/// Takes the values from the beginning of the body; the archive is what is left of it.
async fn values(
    asked: BTreeMap<String, Asked>,
    body: &mut ByteStream,
) -> Result<BTreeMap<String, BuildSecret>> {
    let mut found = BTreeMap::new();
    let mut rest = Bytes::new();
    for (id, asked) in asked {
        let secret = match asked {
            Asked::Named(name) => BuildSecret::Named(name),
            Asked::Bytes(count) => {
                let mut value = Vec::with_capacity(count);
                while value.len() < count {
                    if rest.is_empty() {
                        rest = body.next().await.ok_or_else(|| {
                            Error::invalid("the body ends within the secrets").at("secrets")
                        })??;
                    }
                    value.extend(rest.split_to(rest.len().min(count - value.len())));
                }
                BuildSecret::Value(Data::new(value))
            }
        };
        found.insert(id, secret);
    }
    if !rest.is_empty() {
        let after = std::mem::replace(body, Box::pin(futures::stream::empty()));
        *body = Box::pin(futures::stream::once(async { Ok(rest) }).chain(after));
    }
    Ok(found)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(text).map_err(|error| {
        Error::invalid("it is no JSON object of texts")
            .caused_by(error)
            .next("{\"NAME\": \"VALUE\"}")
    })
}

/// The build, told as other work on images is.
async fn work(
    api: &Arc<Api>,
    caller: &Caller,
    node: &str,
    request: BuildRequest,
    handed: BuildHanded,
    body: ByteStream,
) -> Result<ResultStream<Progress>> {
    let images = api.control.images();
    let mut steps = images.build_handed(caller, node, request, handed, body).await?;
    let (caller, node) = (caller.clone(), node.to_owned());
    Ok(Box::pin(stream! {
        let mut lines = Lines::default();
        while let Some(step) = steps.next().await {
            match step {
                Ok(BuildStep::Text { text }) => {
                    for text in lines.push(&text) {
                        yield Ok(Progress::Message { text });
                    }
                }
                // Nobody who asks for lines gets any.
                Ok(BuildStep::Trace { .. }) => {}
                Ok(BuildStep::Failed { message, .. }) => {
                    yield Err(Error::invalid(format!("the build failed: {}", message.trim())));
                    return;
                }
                Ok(BuildStep::Built { id, .. }) => {
                    yield images.get(&caller, &node, &id).await
                        .map(|image| Progress::Done { images: vec![image], unchanged: false });
                    return;
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    }))
}

/// Pieces of text, put together to lines.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn push(&mut self, text: &str) -> Vec<String> {
        self.0.push_str(text);
        let whole = self.0.rfind('\n').map_or(0, |end| end + 1);
        let whole: String = self.0.drain(..whole).collect();
        whole.lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let query = BuildQuery {
            names: "a, h:5/b:1".into(),
            arguments: r#"{"A":"1,2\n3"}"#.into(),
            network: "none".into(),
            ulimits: "nofile=1:2".into(),
            ..BuildQuery::default()
        };
        let request = read(query).unwrap();
        assert_eq!(request.names, ["docker.io/library/a:latest", "h:5/b:1"]);
        assert_eq!(request.arguments, [("A".to_owned(), Some("1,2\n3".to_owned()))]);
        assert_eq!(request.reach, BuildReach::Nothing);
        assert!(request.plain);
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for (field, bad) in [
            ("names", BuildQuery { names: "A b".into(), ..BuildQuery::default() }),
            ("names", BuildQuery { names: digest, ..BuildQuery::default() }),
            ("network", BuildQuery { network: "mine".into(), ..BuildQuery::default() }),
            ("labels", BuildQuery { labels: "[1]".into(), ..BuildQuery::default() }),
        ] {
            assert_eq!(read(bad).unwrap_err().field(), Some(field));
        }
    }

    #[tokio::test]
    async fn secrets_stand_before_the_archive() {
        let asked =
            |text: &str| secrets(&BuildQuery { secrets: text.into(), ..BuildQuery::default() });
        let body = |parts: &[&'static str]| -> ByteStream {
            let parts: Vec<_> =
                parts.iter().map(|it| Ok(Bytes::from_static(it.as_bytes()))).collect();
            Box::pin(futures::stream::iter(parts))
        };
        let all = asked(r#"{"b": 3, "a": 4, "c": "ours"}"#).unwrap();
        let mut sent = body(&["on", "e!tw", "oARCH", "IVE"]);
        let found = values(all.clone(), &mut sent).await.unwrap();
        let value = |text: &str| BuildSecret::Value(Data::new(text));
        let expected =
            [("a", value("one!")), ("b", value("two")), ("c", BuildSecret::Named("ours".into()))];
        assert_eq!(found, expected.map(|(id, secret)| (id.to_owned(), secret)).into());
        let rest: Vec<Bytes> = sent.map(Result::unwrap).collect().await;
        assert_eq!(rest.concat(), b"ARCHIVE");
        assert!(values(all, &mut body(&["one!t"])).await.is_err());
        for bad in ["[]", r#"{"a": -1}"#, r#"{"a": 9999999}"#, r#"{"a": null}"#] {
            assert_eq!(asked(bad).unwrap_err().field(), Some("secrets"), "{bad}");
        }
    }

    #[test]
    fn lines_are_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.push("one\ntw"), ["one"]);
        assert_eq!(lines.push("o"), [""; 0]);
        assert_eq!(lines.push("\n\nthree\n"), ["two", "", "three"]);
    }
}
