//! `POST /containers/{name}/wait`.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use control::Condition;
use futures::{FutureExt, StreamExt};
use serde_json::json;

use super::show::state;
use super::{find, id_of};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::{Shared, words};

/// The head of the answer goes at once: clients begin to wait before they start the container, and
/// take the head as the sign that the waiting has begun.
pub(super) async fn wait(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let condition = match query.text("condition") {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => return Err(Failure::bad(format!("invalid condition: \"{other}\""))),
    };
    let instance = find(&engine, &caller, &name)?;
    let instances = engine.control.instances();
    let wait = |until| instances.wait(&caller, &engine.project, id_of(&instance), until);
    // An end after which it is started again is an end, too.
    let running = instance.status.phase.is_live() || state::word(&instance) == "restarting";
    let waiting = match condition {
        Condition::NotRunning if running => {
            let (next, last) = (wait(Condition::NextExit)?, wait(condition)?);
            futures::future::select(next, last).map(|first| first.factor_first().0).boxed()
        }
        _ => wait(condition)?,
    };
    let stop = engine.stop.clone();
    let answer = async move {
        let ended = tokio::select! {
            ended = waiting => ended,
            () = stop.cancelled() => Err(model::Error::unavailable("the engine is stopping")),
        };
        let answer = match ended {
            // Why it could not be started is told by whoever started it.
            Ok(exit) => match exit.error {
                None => json!({ "StatusCode": exit.code }),
                Some(_) => json!({ "StatusCode": words::exit_code(exit.fault) }),
            },
            Err(error) => json!({ "StatusCode": 0, "Error": { "Message": error.chain() } }),
        };
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{answer}\n")))
    };
    let body = Body::from_stream(futures::stream::once(answer).boxed());
    Ok(([(http::header::CONTENT_TYPE, "application/json")], body).into_response())
}
