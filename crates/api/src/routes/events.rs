//! What happened.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use client::wire::EventsQuery;
use control::EventFilter;
use futures::stream;
use http::Method;
use link::ResultStream;
use model::event::Event;
use model::selector::Selector;
use model::{Error, Kind, Result};

use super::{Pace, Routes};
use crate::admit::By;
use crate::body::Params;
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::{Api, download};

pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Tells what happened, oldest first, and with `watch=true` what is to come.";
    let description = Description::new("events", "readEvents", summary)
        .query::<EventsQuery>()
        .answers_lines("One event a line.", Named::of::<Event>());
    routes.add(Pace::Lasting, Method::GET, "/v1/events", read, description)
}

async fn read(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(query): Params<EventsQuery>,
) -> Reply<Response> {
    let filter = filter(&query)?;
    let EventsQuery { watch, since, until, limit, .. } = query;
    let events = api.control.events();
    if watch {
        let stream = events.watch(&caller, since, until, filter)?;
        return Ok(download::lines(&api, stream));
    }
    let mut list = events.list(&caller, since, until, &filter)?;
    let surplus = limit.map_or(0, |limit| list.len().saturating_sub(limit as usize));
    list.drain(..surplus);
    let stream: ResultStream<Event> = Box::pin(stream::iter(list.into_iter().map(Ok)));
    Ok(download::lines(&api, stream))
}

fn filter(query: &EventsQuery) -> Result<EventFilter> {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let kinds = words(&query.kinds).iter().map(|word| kind(word)).collect::<Result<_>>()?;
    Ok(EventFilter {
        projects: words(&query.projects),
        kinds,
        actions: words(&query.actions),
        objects: words(&query.objects),
        details: Selector::parse(&query.details).map_err(|error| error.at("details"))?,
    })
}

fn kind(word: &str) -> Result<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.into_iter().map(Kind::as_str).collect();
        Error::invalid(format!("there is no kind {word:?}"))
            .at("kinds")
            .next(format!("take one of {}", known.join(", ")))
    })
}
