//! The platform itself: how it is, whether the machine is fit, its metrics, its document.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use client::wire::{CheckReport, KeysRotated, Status};
use control::{Caller, ListOptions};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use link::ByteStream;
use link::machine::DiskUsage;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use tokio_util::io::ReaderStream;

use super::objects::{Place, json_bytes, json_value, object_path};
use super::{Pace, Routes};
use crate::admit::By;
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::{Api, download};
use axum::extract::Path as Segments;
use futures::StreamExt;
use model::node::NodeNoun;

/// Media type of the text that Prometheus reads.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Bytes of a backup that are read at once.
const PIECE: usize = 256 << 10;

fn describe(id: &'static str, summary: &str) -> Description {
    Description::new("system", id, summary)
}

pub(super) fn routes(routes: Routes) -> Routes {
    nodes(machine(probes(routes)))
}

fn probes(routes: Routes) -> Routes {
    let alive = describe("healthz", "Tells that the server answers at all.")
        .answers_nothing(200, "It does.");
    let document = describe("openapi", "Shows this document.")
        .answers_bytes("An OpenAPI 3.1 document.", "application/json");
    let ready =
        describe("readyz", "Tells whether the server takes work.").answers_nothing(200, "It does.");
    let metrics = describe("metrics", "Shows metrics in the OpenMetrics text format.")
        .answers_bytes("Metrics.", OPENMETRICS);
    routes
        .add_open(Method::GET, "/healthz", healthz, alive)
        .add_open(Method::GET, "/openapi.json", openapi, document)
        .add(Pace::Prompt, Method::GET, "/readyz", readyz, ready)
        .add(Pace::Prompt, Method::GET, "/metrics", self::metrics, metrics)
}

fn machine(routes: Routes) -> Routes {
    let status = describe("systemStatus", "Tells how the platform is.").answers(
        200,
        "How it is.",
        Named::of::<Status>(),
    );
    let check = describe("checkSystem", "Tells whether this machine is fit.").answers(
        200,
        "What was found.",
        Named::of::<CheckReport>(),
    );
    let usage = describe("diskUsage", "Tells what takes up this machine's disk.").answers(
        200,
        "What does.",
        Named::of::<DiskUsage>(),
    );
    let backup = describe("backup", "Copies the store while it works.")
        .answers_bytes("An SQLite database.", "application/vnd.sqlite3");
    let rotate =
        describe("rotateKeys", "Seals all secrets with a new key and forgets the old ones.")
            .answers(200, "What was done.", Named::of::<KeysRotated>());
    routes
        .add(Pace::Lasting, Method::POST, "/v1/system/keys/rotate", rotate_keys, rotate)
        .add(Pace::Prompt, Method::GET, "/v1/system/status", self::status, status)
        .add(Pace::Lasting, Method::GET, "/v1/system/check", check_here, check)
        .add(Pace::Lasting, Method::GET, "/v1/system/disk-usage", usage_here, usage)
        .add(Pace::Lasting, Method::POST, "/v1/system/backup", self::backup, backup)
}

fn nodes(routes: Routes) -> Routes {
    let check = Description::new("nodes", "checkNode", "Tells whether a machine is fit.").answers(
        200,
        "What was found.",
        Named::of::<CheckReport>(),
    );
    let usage = Description::new("nodes", "nodeDiskUsage", "Tells what takes up a machine's disk.")
        .answers(200, "What does.", Named::of::<DiskUsage>());
    let path = |verb: &str| format!("{}/{verb}", object_path::<NodeNoun>());
    routes.add(Pace::Lasting, Method::GET, &path("check"), check_node, check).add(
        Pace::Lasting,
        Method::GET,
        &path("disk-usage"),
        usage_of_node,
        usage,
    )
}

async fn rotate_keys(State(api): State<Arc<Api>>, By(caller): By) -> Reply<Response> {
    // Whoever leaves in the middle has it go on all the same.
    let secrets = api.control.secrets();
    let work = tokio::spawn(async move { secrets.rotate(&caller).await });
    let done =
        work.await.context(ErrorKind::Internal, || "the change of keys got lost".into())??;
    let control::Rotated { key, sealed, unreadable, forgotten } = done;
    json_value(&KeysRotated { key, sealed, unreadable, forgotten })
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn openapi(State(api): State<Arc<Api>>) -> Response {
    json_bytes(api.document.text())
}

async fn readyz(State(api): State<Arc<Api>>, By(caller): By) -> Reply<&'static str> {
    if node_ready(&api, &caller)? {
        return Ok("ready\n");
    }
    let error = Error::unavailable(format!("node {:?} is not ready", api.node));
    Err(error.next("its agent is starting: try again in a moment").into())
}

fn node_ready(api: &Api, caller: &Caller) -> Result<bool> {
    Ok(api.control.nodes().get(caller, "", &api.node)?.status.ready)
}

async fn metrics(State(api): State<Arc<Api>>, By(caller): By) -> Response {
    // Whoever may not list services is not told of them.
    let services = api.control.services().list(&caller, None, &ListOptions::default());
    let services = services.map(|list| list.items).unwrap_or_default();
    ([(CONTENT_TYPE, OPENMETRICS)], api.meters.render(&services)).into_response()
}

async fn status(State(api): State<Arc<Api>>, By(caller): By) -> Reply<Response> {
    let control = &api.control;
    let node = control.nodes().get(&caller, "", &api.node)?;
    let nodes = control.nodes().list(&caller, None, &ListOptions::default())?;
    let instances = control.instances().list(&caller, None, &ListOptions::default())?;
    let running = instances.items.iter().filter(|instance| instance.status.phase.is_live());
    json_value(&Status {
        version: api.version.clone(),
        node: api.node.clone(),
        addresses: urls(&api.addresses, &node.status.addresses),
        authority: format!("sha256:{}", api.authority),
        ready: node.status.ready,
        started: Some(api.started),
        revision: instances.revision,
        running: running.count() as u64,
        instances: instances.items.len() as u64,
        nodes: nodes.items.len() as u64,
        warnings: node.status.warnings.iter().cloned().chain(control.warnings()).collect(),
    })
}

/// What people write. A listener on every address is reached at the one that others reach best, which
/// the node's report has first: a host name need not resolve.
fn urls(listening: &[SocketAddr], own: &[String]) -> Vec<String> {
    let best = |any: IpAddr| {
        // A listener on every IPv6 address takes IPv4 too, as Linux has it by default.
        let mut own = own.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        own.find(|address| any.is_ipv6() || address.is_ipv4())
    };
    let reached = listening.iter().map(|listener| match listener.ip() {
        any if any.is_unspecified() => {
            SocketAddr::new(best(any).unwrap_or(Ipv4Addr::LOCALHOST.into()), listener.port())
        }
        _ => *listener,
    });
    reached.map(|address| format!("https://{address}")).collect()
}

async fn check_here(State(api): State<Arc<Api>>, By(caller): By) -> Reply<Response> {
    check(&api, &caller, &api.node).await
}

async fn check_node(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Segments(Place { name, .. }): Segments<Place>,
) -> Reply<Response> {
    check(&api, &caller, &name).await
}

async fn check(api: &Api, caller: &Caller, node: &str) -> Reply<Response> {
    let findings = api.control.nodes().check(caller, node).await?;
    json_value(&CheckReport { findings })
}

async fn usage_here(State(api): State<Arc<Api>>, By(caller): By) -> Reply<Response> {
    json_value(&api.control.nodes().disk_usage(&caller, &api.node).await?)
}

async fn usage_of_node(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Segments(Place { name, .. }): Segments<Place>,
) -> Reply<Response> {
    json_value(&api.control.nodes().disk_usage(&caller, &name).await?)
}

async fn backup(
    State(api): State<Arc<Api>>,
    By(caller): By,
    headers: HeaderMap,
) -> Reply<Response> {
    // There is everybody's everything in it.
    control::authorise(&caller, control::Verb::Update, model::Kind::Node, "")?;
    let copy = copy_of_store(&api).await?;
    Ok(download::bytes(&api, &headers, "application/vnd.sqlite3", copy))
}

/// Makes the copy in a file that has no name any more when it is sent: nothing is left of it, however
/// this ends.
async fn copy_of_store(api: &Api) -> Result<ByteStream> {
    let failed = || format!("no room for a copy in {}", api.scratch.display());
    let place = Directory::new(&api.scratch).context(ErrorKind::Exhausted, failed)?;
    let path = place.0.join("store");
    api.control.backup(&path).await?;
    let file = tokio::fs::File::open(&path).await.context(ErrorKind::Internal, failed)?;
    let pieces = ReaderStream::with_capacity(file, PIECE).map(|piece| {
        piece.context(ErrorKind::Internal, || "the copy of the store cannot be read".into())
    });
    Ok(Box::pin(pieces))
}

/// A directory of our own that goes with its owner.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(parent: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(format!("backup-{}", model::Uid::random().short()));
        std::fs::DirBuilder::new().mode(0o700).recursive(false).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_at_the_nodes_own() {
        let own = ["10.0.2.15".to_owned(), "fd00::2".to_owned()];
        let at = |listener: &str, own: &[String]| urls(&[listener.parse().unwrap()], own);
        assert_eq!(at("0.0.0.0:7443", &own), ["https://10.0.2.15:7443"]);
        assert_eq!(at("0.0.0.0:7443", &own[1..]), ["https://127.0.0.1:7443"]);
        assert_eq!(at("[::]:7443", &own[1..]), ["https://[fd00::2]:7443"]);
        assert_eq!(at("127.0.0.1:1", &own), ["https://127.0.0.1:1"]);
    }
}
