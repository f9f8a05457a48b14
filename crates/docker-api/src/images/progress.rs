//! Lines of JSON that tell how far something is, as clients draw their bars from.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use link::image::LayerPhase;
use serde_json::{Value, json};

/// The answer that has a line for each value, as they come.
pub(crate) fn respond(values: impl Stream<Item = Value> + Send + 'static) -> Response {
    let lines = values.map(|value| Ok::<_, Infallible>(Bytes::from(format!("{value}\r\n"))));
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

/// A sentence.
pub(super) fn status(text: impl Into<String>) -> Value {
    json!({ "status": text.into() })
}

/// A sentence about a tag or a layer.
pub(super) fn status_of(id: &str, text: impl Into<String>) -> Value {
    json!({ "status": text.into(), "id": id })
}

/// How a failure in the middle is told.
pub(crate) fn failure(message: &str) -> Value {
    json!({ "errorDetail": { "message": message }, "error": message })
}

/// Says of each layer what it has not said yet.
#[derive(Default)]
pub(super) struct Layers(HashMap<String, Told>);

#[derive(Default)]
struct Told {
    begun: bool,
    here: bool,
    downloaded: bool,
    over: bool,
}

impl Layers {
    /// News of a pull.
    pub(super) fn pulled(
        &mut self,
        digest: &str,
        phase: LayerPhase,
        done: u64,
        total: u64,
    ) -> Vec<Value> {
        let id = super::names::short(digest);
        let told = self.0.entry(digest.to_owned()).or_default();
        let mut lines = Vec::new();
        if told.over || told.here {
            return lines;
        }
        if phase == LayerPhase::Exists {
            told.here = true;
            lines.push(moved(id, "Already exists", 0, 0));
            return lines;
        }
        if !told.begun {
            told.begun = true;
            lines.push(moved(id, "Pulling fs layer", 0, 0));
        }
        match phase {
            LayerPhase::Waiting | LayerPhase::Exists => {}
            LayerPhase::Downloading | LayerPhase::Uploading => {
                lines.push(moved(id, "Downloading", done, total));
            }
            LayerPhase::Verifying => lines.push(moved(id, "Verifying Checksum", 0, 0)),
            LayerPhase::Unpacking => {
                told.download_complete(id, &mut lines);
                lines.push(moved(id, "Extracting", total, total));
            }
            LayerPhase::Done => {
                told.download_complete(id, &mut lines);
                told.over = true;
                lines.push(moved(id, "Pull complete", 0, 0));
            }
        }
        lines
    }

    /// News of a push.
    pub(super) fn pushed(
        &mut self,
        digest: &str,
        phase: LayerPhase,
        done: u64,
        total: u64,
    ) -> Vec<Value> {
        let id = super::names::short(digest);
        let told = self.0.entry(digest.to_owned()).or_default();
        let mut lines = Vec::new();
        if told.over || told.here {
            return lines;
        }
        if !told.begun {
            told.begun = true;
            lines.push(moved(id, "Preparing", 0, 0));
        }
        match phase {
            LayerPhase::Waiting => {}
            LayerPhase::Exists => {
                told.here = true;
                lines.push(moved(id, "Layer already exists", 0, 0));
            }
            LayerPhase::Downloading
            | LayerPhase::Uploading
            | LayerPhase::Verifying
            | LayerPhase::Unpacking => lines.push(moved(id, "Pushing", done, total)),
            LayerPhase::Done => {
                told.over = true;
                lines.push(moved(id, "Pushed", 0, 0));
            }
        }
        lines
    }
}

impl Told {
    fn download_complete(&mut self, id: &str, lines: &mut Vec<Value>) {
        if !std::mem::replace(&mut self.downloaded, true) {
            lines.push(moved(id, "Download complete", 0, 0));
        }
    }
}

/// A layer that moved on.
fn moved(id: &str, action: &str, done: u64, total: u64) -> Value {
    let detail = match total {
        0 => json!({}),
        total => json!({ "current": done, "total": total }),
    };
    json!({ "status": action, "progressDetail": detail, "id": id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lines: Vec<Value>) -> Vec<String> {
        lines.iter().map(|line| line["status"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_layer_that_is_pulled() {
        let mut layers = Layers::default();
        let mut told = Vec::new();
        for (phase, done) in [
            (LayerPhase::Waiting, 0),
            (LayerPhase::Downloading, 5),
            (LayerPhase::Downloading, 9),
            (LayerPhase::Unpacking, 9),
            (LayerPhase::Done, 9),
            (LayerPhase::Done, 9),
        ] {
            told.extend(words(layers.pulled("sha256:aa", phase, done, 9)));
        }
        let expected = [
            "Pulling fs layer",
            "Downloading",
            "Downloading",
            "Download complete",
            "Extracting",
            "Pull complete",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_layer_that_is_there() {
        let mut layers = Layers::default();
        let here = layers.pulled("sha256:aa", LayerPhase::Exists, 0, 9);
        assert_eq!(words(here), ["Already exists"]);
        assert!(layers.pulled("sha256:aa", LayerPhase::Done, 9, 9).is_empty());
        let sent = layers.pushed("sha256:bb", LayerPhase::Exists, 0, 9);
        assert_eq!(words(sent), ["Preparing", "Layer already exists"]);
    }
}
