//! What containers printed.

use std::time::Duration;

use bytes::Bytes;
use containers::logs::{LogRecord as Kept, ReadOptions, Reader, Stream, kept};
use futures::StreamExt;
use link::ResultStream;
use link::instance::{LogRecord, LogsRequest, Target};
use model::instance::{ContainerState, Phase};
use model::{Error, Result};
use tokio::sync::watch;

use super::{Calls, Found};
use crate::local::Local;

/// How long a log may take to be whole when its container has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Reads a container's log, of all runs that are kept.
pub async fn logs(
    calls: &Calls,
    target: &Target,
    request: LogsRequest,
) -> Result<ResultStream<LogRecord>> {
    let found = calls.find(target)?;
    if found.container.log.off {
        return Err(Error::unsupported(format!(
            "what {} prints is not kept",
            found.instance.title()
        ))
        .next("attach to it, or make it anew with a log"));
    }
    let dir = calls.context.places.log(&found.instance.meta.id, &found.container);
    // Removal waits for who reads.
    let guard = found.handle.logs.clone().read_owned().await;
    let name = found.container.name.clone();
    if is_over(&found.handle.known.borrow(), &name) {
        // Its last words may still be on their way to the log.
        kept(&dir, LAST_WORDS).await?;
    }
    let options = ReadOptions {
        follow: request.follow.then(|| when(&found, move |known| is_over(known, &name))),
        since: request.since,
        until: request.until,
        tail: request.tail,
        hold: false,
    };
    let both = request.stdout == request.stderr;
    let wanted = move |record: &Kept| both || request.stderr == (record.stream == Stream::Stderr);
    let records = Reader::open(dir, options)?.filter_map(move |record| {
        let _ = &guard;
        let record = match record {
            Ok(record) => wanted(&record).then(|| Ok(told(record))),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(record)
    });
    Ok(Box::pin(records))
}

fn told(record: Kept) -> LogRecord {
    LogRecord {
        time: record.time,
        stderr: record.stream == Stream::Stderr,
        complete: !record.partial,
        bytes: written(record),
    }
}

/// The bytes as the container wrote them, with the line's end if it ended.
pub fn written(record: Kept) -> Bytes {
    if record.partial {
        return record.bytes;
    }
    let mut bytes = Vec::with_capacity(record.bytes.len() + 1);
    record.write_to(&mut bytes);
    bytes.into()
}

/// Whether a container prints nothing more unless somebody starts it.
fn is_over(known: &Local, container: &str) -> bool {
    let seen = known.status.container(container).map(|seen| seen.state).unwrap_or_default();
    match known.status.phase {
        Phase::Exited | Phase::Failed | Phase::Removing => true,
        Phase::Pending => known.status.runs == 0,
        Phase::Running | Phase::Paused => seen == ContainerState::Exited,
        Phase::Creating | Phase::Restarting => false,
    }
}

/// A flag that becomes true when `over` first holds for what is known of the instance.
pub fn when(
    found: &Found,
    mut over: impl FnMut(&Local) -> bool + Send + 'static,
) -> watch::Receiver<bool> {
    let mut known = found.handle.known.clone();
    let (flag, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while !over(&known.borrow_and_update()) {
            let gone = tokio::select! {
                changed = known.changed() => changed.is_err(),
                () = flag.closed() => return,
            };
            if gone {
                break;
            }
        }
        flag.send_replace(true);
    });
    receiver
}
