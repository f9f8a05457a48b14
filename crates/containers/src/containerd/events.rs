//! What happens, told as it happens, through restarts of containerd.

use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom, TaskPaused, TaskResumed};
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use futures::StreamExt;
use model::Time;
use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Containerd, QUICK, call, mounts, unbounded, wire};
use crate::engine::{ContainerId, EngineEvent, Events, ExecId, Exit};

/// Events that may wait for a slow consumer before containerd waits too.
const BACKLOG: usize = 256;

/// Our own event, by which a subscription is known to work.
const PROBE: &str = "/hull/probe";

/// Waits between tries to subscribe while containerd is away, doubling.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Wait between probes. containerd answers a subscription only with its first event, so one sent
/// before it was registered is lost and another must follow.
const PROBE_AGAIN: Duration = Duration::from_millis(20);

impl Containerd {
    /// Events from now on, for as long as they are wanted.
    pub(super) fn follow_events(&self) -> Events {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let engine = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.tell(&sender) => {}
                () = sender.closed() => {}
            }
        });
        ReceiverStream::new(receiver).boxed()
    }

    /// Subscribes again and again; each time the consumer is told to look for itself.
    async fn tell(&self, sender: &mpsc::Sender<EngineEvent>) {
        let mut wait = RETRY.0;
        loop {
            if let Ok(mut stream) = self.subscribe().await {
                wait = RETRY.0;
                if sender.send(EngineEvent::Resync).await.is_err() {
                    return;
                }
                while let Ok(Some(envelope)) = stream.message().await {
                    if let Some(event) = event(&envelope)
                        && sender.send(event).await.is_err()
                    {
                        return;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = RETRY.1.min(wait * 2);
        }
    }

    /// A subscription that has been seen to work: nothing after this is missed.
    async fn subscribe(&self) -> Result<Streaming<Envelope>, Status> {
        let mark = format!("{PROBE}/{:016x}", mounts::fastrand());
        let topics =
            ["/tasks/exit", "/tasks/oom", "/tasks/paused", "/tasks/resumed", mark.as_str()];
        let filters = topics
            .iter()
            .map(|topic| format!("namespace==\"{}\",topic==\"{topic}\"", super::NAMESPACE))
            .collect();
        let mut client = self.client().events();
        let subscribed = client.subscribe(unbounded(SubscribeRequest { filters }));
        let opened = tokio::select! {
            opened = subscribed => opened,
            failed = self.probe(&mark) => Err(failed),
        };
        Ok(opened?.into_inner())
    }

    /// Sends probes until it fails to.
    async fn probe(&self, mark: &str) -> Status {
        loop {
            let event = Any { type_url: "google.protobuf.Empty".to_owned(), value: Vec::new() };
            let request = PublishRequest { topic: mark.to_owned(), event: Some(event) };
            if let Err(status) = self.client().events().publish(call(request, QUICK)).await {
                return status;
            }
            tokio::time::sleep(PROBE_AGAIN).await;
        }
    }
}

/// An event of containerd's as one of ours; `None` for what concerns nobody.
fn event(envelope: &Envelope) -> Option<EngineEvent> {
    let value = envelope.event.as_ref()?.value.as_slice();
    let id = |text: &str| ContainerId::parse(text).ok();
    match envelope.topic.as_str() {
        "/tasks/exit" => exit(&TaskExit::decode(value).ok()?),
        "/tasks/oom" => {
            let id = id(&TaskOom::decode(value).ok()?.container_id)?;
            Some(EngineEvent::OutOfMemory { id })
        }
        "/tasks/paused" => {
            Some(EngineEvent::Paused { id: id(&TaskPaused::decode(value).ok()?.container_id)? })
        }
        "/tasks/resumed" => {
            Some(EngineEvent::Resumed { id: id(&TaskResumed::decode(value).ok()?.container_id)? })
        }
        _ => None,
    }
}

fn exit(end: &TaskExit) -> Option<EngineEvent> {
    let id = ContainerId::parse(&end.container_id).ok()?;
    let at = wire::time(end.exited_at).unwrap_or_else(Time::now);
    let exit = Exit { code: wire::code(end.exit_status), at };
    if end.id == end.container_id {
        return Some(EngineEvent::Exited { id, exit });
    }
    let exec = ExecId::parse(&end.id).ok()?;
    Some(EngineEvent::ExecExited { id, exec, exit })
}
