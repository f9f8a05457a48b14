//! Follows the engine's events and wakes whom they concern.

use std::sync::Arc;
use std::time::Duration;

use containers::EngineEvent;
use futures::StreamExt;
use tasks::Wake;

use crate::context::Context;
use crate::observe::owner;

const AGAIN: Duration = Duration::from_secs(1);

/// Wakes the task of each instance that the engine saw something of; all of them when events may
/// have been missed. Ends never.
pub async fn follow_engine(context: Arc<Context>, leftovers: Wake) {
    loop {
        match context.engine.events().await {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    take(&context, &leftovers, &event);
                }
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "engine's events cannot be followed");
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn take(context: &Context, leftovers: &Wake, event: &EngineEvent) {
    let id = match event {
        EngineEvent::Resync => {
            for (_, handle) in context.roster.all() {
                handle.poke.notify_one();
            }
            return leftovers.wake();
        }
        // Whoever runs a further process waits for it.
        EngineEvent::ExecExited { .. } => return,
        EngineEvent::Exited { id, .. }
        | EngineEvent::OutOfMemory { id }
        | EngineEvent::Paused { id }
        | EngineEvent::Resumed { id } => id,
    };
    if let Some(handle) = owner(id).and_then(|uid| context.roster.get(&uid)) {
        handle.poke.notify_one();
    }
}
