//! The graphical console of a machine.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::console::PNG;
use client::wire::{ConsoleTicket, TicketQuery};
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use model::instance::InstanceNoun;
use model::{Error, Time};

use super::instances::path;
use super::objects::{Place, describe, json_value};
use super::streams::websocket_or;
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::Params;
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::tickets::{LIFETIME, Ticket};
use crate::{Api, display};

fn about(verb: &str, summary: &str) -> Description {
    describe::<InstanceNoun>(verb, false, summary.into())
}

pub(super) fn routes(routes: Routes) -> Routes {
    let ticket = about("openConsoleOf", "Gives a ticket for a machine's graphical console.")
        .answers(200, "Worth one connection within a minute.", Named::of::<ConsoleTicket>());
    let vnc = about("consoleOf", "Connects to a machine's graphical console over a WebSocket.")
        .query::<TicketQuery>()
        .answers_nothing(101, "Binary messages follow: the remote framebuffer protocol, RFC 6143.");
    let screenshot = about("screenshotOf", "Shows what a machine's screen shows.")
        .answers_bytes("A picture.", PNG);
    routes
        .add(Pace::Prompt, Method::POST, &path("console"), open, ticket)
        .add(Pace::Lasting, Method::GET, &path("console/vnc"), connect, vnc)
        .add(Pace::Prompt, Method::GET, &path("console/screenshot"), self::screenshot, screenshot)
}

/// Connects once to find out whether it can be done: the ticket's user should hear of it now.
async fn open(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
) -> Reply<Response> {
    let (instance, _) = api.control.instances().display(&caller, &project, &name).await?;
    let ticket = api.tickets.issue(&caller, instance, Instant::now())?;
    let lifetime = i64::try_from(LIFETIME.as_secs()).unwrap_or_default();
    let expires = Time::from_unix(Time::now().0.as_second() + lifetime, 0);
    let answer = json_value(&ConsoleTicket { ticket, expires })?;
    Ok(([(CACHE_CONTROL, "no-store")], answer).into_response())
}

async fn connect(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(TicketQuery { ticket: _ }): Params<TicketQuery>,
    ticket: Option<Extension<Ticket>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply<Response> {
    let Some(Extension(ticket)) = ticket else {
        return Err(Error::unauthenticated("a console is opened with a ticket")
            .next("ask for one: POST …/console")
            .into());
    };
    let upgrade = websocket_or(upgrade, "connect by WebSocket (RFC 6455); viewers of VNC do")?;
    let (instance, display) = api.control.instances().display(&caller, &project, &name).await?;
    if instance != ticket.instance {
        return Err(Error::forbidden(format!("the ticket is not for instance {name:?}")).into());
    }
    Ok(display::upgrade(&api, upgrade, display))
}

async fn screenshot(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
) -> Reply<Response> {
    let picture = api.control.instances().screenshot(&caller, &project, &name).await?;
    let headers = [(CONTENT_TYPE, PNG), (CACHE_CONTROL, "no-store")];
    Ok((headers, picture).into_response())
}
