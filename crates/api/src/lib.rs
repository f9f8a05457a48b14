//! The native HTTP API: TLS for everyone with a token, a local socket for this machine's
//! administrators. And the console, a web application for browsers that speaks to it (`assets`).
//!
//! It translates and decides nothing: a request becomes a call of `control` with the caller's name,
//! the answer becomes JSON or a stream. What goes over the wire is defined in [`client::wire`] and
//! described by `openapi/hull.json`, which is generated from the routes ([`openapi`]). Start at
//! [`bind`]; the routes are in `routes/`, one file a noun.

mod admit;
mod assets;
mod body;
mod config;
mod display;
mod document;
mod download;
mod lease;
mod meters;
mod operation;
mod page;
mod patch;
mod rate;
mod refusal;
mod routes;
mod server;
mod session;
mod shape;
mod sign_in;
mod status;
mod tickets;
mod upload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use control::Control;
use model::Time;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Limits};
pub use server::{Server, bind};

use document::Document;
use meters::Meters;
use rate::Rates;
use sign_in::SignIns;
use tickets::Tickets;

/// What the routes share.
pub(crate) struct Api {
    /// Addresses listened on.
    addresses: Vec<SocketAddr>,
    audit: Arc<audit::Log>,
    authority: String,
    control: Arc<Control>,
    document: Document,
    library: catalog::Library,
    limits: Limits,
    meters: Meters,
    node: String,
    rates: Rates,
    scratch: PathBuf,
    sign_ins: SignIns,
    /// How often somebody may try a password, by where they come from.
    sign_in_rates: Rates,
    started: Time,
    /// Cancelled when the server stops: streams and sessions end then.
    stop: CancellationToken,
    tickets: Tickets,
    /// What is put aside.
    uploads: upload::Room,
    version: String,
}

/// The OpenAPI 3.1 document of the API, as `/openapi.json` serves it.
pub fn openapi() -> String {
    let document = routes::document();
    String::from_utf8_lossy(&document.text()).into_owned()
}
