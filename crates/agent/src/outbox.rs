//! Reports on their way to control: in order, in batches, again and again until they are taken.

use std::sync::Arc;
use std::time::Duration;

use link::{ControlPort, Report};
use tokio::sync::mpsc;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const BATCH: usize = 256;

/// Where rooms of the agent put what they saw. Never blocks.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Report>,
}

impl Outbox {
    /// Makes the outbox and the task that empties it; the task ends when every clone is dropped and
    /// the rest is delivered, or can't be.
    pub fn start(
        node: String,
        control: Arc<dyn ControlPort>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(deliver(node, control, inbox));
        (Self { queue }, task)
    }

    /// Puts a report in.
    pub fn put(&self, report: Report) {
        // The task ends only after the last sender; nothing is lost by a closed channel.
        let _ = self.queue.send(report);
    }
}

async fn deliver(
    node: String,
    control: Arc<dyn ControlPort>,
    mut inbox: mpsc::UnboundedReceiver<Report>,
) {
    let mut batch = Vec::new();
    let mut wait = FIRST_WAIT;
    loop {
        if batch.is_empty() && inbox.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        while let Ok(report) = inbox.try_recv() {
            batch.push(report);
        }
        forget_superseded(&mut batch);
        match control.report(&node, batch.clone()).await {
            Ok(()) => {
                batch.clear();
                wait = FIRST_WAIT;
            }
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "control did not take a report, trying again"
                );
                if inbox.is_closed() {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Drops what a later report about the same object replaces, so that a long absence of control does
/// not make a long queue. Events and removals stay.
fn forget_superseded(batch: &mut Vec<Report>) {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Report> = Vec::with_capacity(batch.len());
    for report in batch.drain(..).rev() {
        let replaced = match &report {
            Report::Instance(id, _) => !seen.insert(('i', id.to_string())),
            Report::Network(id, _) => !seen.insert(('n', id.to_string())),
            Report::Volume(id, _) => !seen.insert(('v', id.to_string())),
            Report::Snapshot(id, _) => !seen.insert(('s', id.to_string())),
            Report::Node(_) => !seen.insert(('m', String::new())),
            Report::Removed(..) | Report::Kept(..) | Report::Event(_) => false,
        };
        if !replaced {
            kept.push(report);
        }
    }
    kept.reverse();
    *batch = kept;
}

#[cfg(test)]
mod tests {
    use model::instance::InstanceStatus;
    use model::{Kind, Uid};

    use super::*;

    #[test]
    fn only_the_last_status_of_an_object_is_sent() {
        let id = Uid::from_bytes([1; 32]);
        let status = |runs| {
            let status = InstanceStatus { runs, ..Default::default() };
            Report::Instance(id.clone(), Box::new(status))
        };
        let removed = Report::Removed(Kind::Instance, id.clone());
        let mut batch = vec![status(1), removed.clone(), status(2), status(3)];
        forget_superseded(&mut batch);
        assert_eq!(batch, [removed, status(3)]);
    }
}
