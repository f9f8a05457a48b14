//! Work that streams its progress is an operation too, so that others can see it.

use std::collections::HashMap;

use axum::response::Response;
use client::wire::stream::OPERATION;
use control::Ongoing;
use futures::StreamExt;
use http::HeaderValue;
use link::ResultStream;
use link::image::Progress;
use model::Error;

/// Passes progress on and keeps the operation's account of it. When the caller leaves, both end.
pub(crate) fn tracked(
    ongoing: Ongoing,
    mut progress: ResultStream<Progress>,
) -> ResultStream<Progress> {
    Box::pin(async_stream::stream! {
        let mut layers = Layers::default();
        while let Some(item) = progress.next().await {
            match item {
                Ok(item) => {
                    if layers.take_in(&item) {
                        let (done, total) = layers.sum();
                        ongoing.progress(done, total);
                    }
                    if matches!(item, Progress::Done { .. }) {
                        finish(ongoing, Ok(())).await;
                        yield Ok(item);
                        return;
                    }
                    yield Ok(item);
                }
                Err(error) => {
                    finish(ongoing, Err(&error)).await;
                    yield Err(error);
                    return;
                }
            }
        }
        let error = Error::internal("the work ended without saying how");
        finish(ongoing, Err(&error)).await;
        yield Err(error);
    })
}

/// Writes down how an operation ended. The work is done then, so a failure to say so is only logged.
pub(crate) async fn finish(ongoing: Ongoing, outcome: Result<(), &Error>) {
    if let Err(error) = ongoing.finish(outcome).await {
        tracing::warn!(error = error.chain(), "an operation's end was not written down");
    }
}

/// Names the operation in the answer's head.
pub(crate) fn name_in(mut response: Response, name: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(name) {
        response.headers_mut().insert(OPERATION, value);
    }
    response
}

/// Bytes done and to do, by layer.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    /// Whether it says anything about bytes.
    fn take_in(&mut self, progress: &Progress) -> bool {
        match progress {
            Progress::Layer { digest, phase: _, done, total } => {
                let known = self.0.entry(digest.clone()).or_default();
                // A layer is moved and then unpacked: what was moved counts.
                *known = (known.0.max(*done), known.1.max(*total));
                true
            }
            Progress::Message { .. } | Progress::Pushed { .. } | Progress::Done { .. } => false,
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1))
    }
}
